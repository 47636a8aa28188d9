//! The cues: where in the file players find the key frames.

use super::cluster::Millis;
use super::ebml::{self, put_bytes, put_uint};

/// The most cues that are kept; 1 MiB of memory, and 18 hours at one key frame per second.
const MAX_COUNT: usize = 64 << 10;
/// Cues are at least this far apart at first.
const SPACING_MS: i64 = 500;

/// One place to seek to.
#[derive(Clone, Copy, Debug)]
struct Cue {
    time: Millis,
    /// Of the cluster, from the start of the segment's body.
    position: u64,
}

/// The places to seek to, in the order of the file.
///
/// Their number is bounded: where a file has more key frames, every second cue goes and the
/// spacing doubles. Players then decode a little more before they show the place sought.
#[derive(Debug)]
pub(super) struct Cues {
    list: Vec<Cue>,
    spacing_ms: i64,
    max_count: usize,
    latest: Option<Millis>,
}

impl Cues {
    pub(super) fn new() -> Self {
        Self {
            list: Vec::new(),
            spacing_ms: SPACING_MS,
            max_count: MAX_COUNT,
            latest: None,
        }
    }

    /// Whether a key frame at `time` is to begin a cluster, and to get a cue. If it does, the
    /// next one is due a while later.
    pub(super) fn take_due(&mut self, time: Millis) -> bool {
        let is_due = self
            .latest
            .is_none_or(|latest| time.since(latest) >= self.spacing_ms);
        if is_due {
            self.latest = Some(time);
        }
        is_due
    }

    /// Adds the cluster that begins with a key frame at `time`.
    pub(super) fn push(&mut self, time: Millis, position: u64) {
        if self.list.len() >= self.max_count {
            let mut is_odd = false;
            self.list.retain(|_| {
                is_odd = !is_odd;
                is_odd
            });
            self.spacing_ms = self.spacing_ms.saturating_mul(2);
        }
        self.list.push(Cue { time, position });
    }

    /// The element, with times from `zero`.
    pub(super) fn encode(&self, track_number: u8, zero: Millis) -> Vec<u8> {
        let mut body = Vec::new();
        for cue in &self.list {
            let time_ms = u64::try_from(cue.time.since(zero)).unwrap_or_default();
            let mut position = Vec::new();
            put_uint(&mut position, ebml::CUE_TRACK, u64::from(track_number));
            put_uint(&mut position, ebml::CUE_CLUSTER_POSITION, cue.position);
            let mut point = Vec::new();
            put_uint(&mut point, ebml::CUE_TIME, time_ms);
            put_bytes(&mut point, ebml::CUE_TRACK_POSITIONS, &position);
            put_bytes(&mut body, ebml::CUE_POINT, &point);
        }
        let mut out = Vec::new();
        put_bytes(&mut out, ebml::CUES, &body);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of key frames, two a second, in room for a hundred cues.
    #[test]
    fn cues_get_sparser_instead_of_more() {
        let mut cues = Cues::new();
        cues.max_count = 100;
        for n in 0..172_800_i64 {
            let time = Millis(n * 500);
            if cues.take_due(time) {
                cues.push(time, n.cast_unsigned());
            }
            assert!(cues.list.len() <= 100);
        }
        let times: Vec<i64> = cues.list.iter().map(|cue| cue.time.0).collect();
        assert_eq!(times.first(), Some(&0));
        assert!(times.len() > 40, "{times:?}");
        let later = times.iter().skip(1);
        let widest_ms = times.iter().zip(later).map(|(a, b)| b - a).max();
        assert!(widest_ms <= Some(86_400_000 / 40), "{widest_ms:?}");
    }
}
