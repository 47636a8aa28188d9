//! A cluster: some seconds of frames behind one time, and the unit that is written.
//!
//! A cluster of a file is gathered in memory and written whole, with its length, so that a file
//! whose writing stops is sound up to its last cluster. A live one has no length and ends where
//! the next one begins, so that each of its frames can be written at once. When a cluster ends is
//! the sink's decision.

use super::ebml::{self, put_id, put_len, put_uint, put_wide_len};
use crate::base::time::Timestamp;

/// The bytes of a block before its payload: track, time, flags.
const BLOCK_HEAD_LEN: u64 = 4;
/// The flag of a block that is a key frame.
const FLAG_KEY: u8 = 0x80;

/// A time on the grid of whole milliseconds since 1970 UTC.
///
/// Each time is rounded by itself, so times that follow each other differ by what they should,
/// to 1 ms, however long the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Millis(pub(super) i64);

impl Millis {
    /// The nearest whole millisecond.
    pub(super) fn of(time: Timestamp) -> Self {
        Self(time.0.saturating_add(500).div_euclid(1_000))
    }

    /// Milliseconds from `earlier` to here.
    pub(super) fn since(self, earlier: Self) -> i64 {
        // Both are thousandths of an i64, so this cannot overflow.
        self.0 - earlier.0
    }

    /// The same point in microseconds.
    pub(super) fn timestamp(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(1_000))
    }
}

/// The frames of one cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The time of its first frame, to which all others are relative.
    pub(super) start: Millis,
    /// The time of its earliest frame.
    pub(super) earliest: Millis,
    /// Whether it begins with a key frame that players may seek to.
    pub(super) is_cue: bool,
    blocks: Vec<u8>,
}

impl Cluster {
    /// An empty cluster that begins at `start`.
    pub(super) fn new(start: Millis, is_cue: bool) -> Self {
        Self {
            start,
            earliest: start,
            is_cue,
            blocks: Vec::new(),
        }
    }

    /// Empties it for frames from `start` on, and keeps its memory.
    pub(super) fn restart(&mut self, start: Millis, is_cue: bool) {
        self.start = start;
        self.earliest = start;
        self.is_cue = is_cue;
        self.blocks.clear();
    }

    /// Length of all its blocks in bytes.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether a frame at `time` can be expressed relative to the start.
    pub(super) fn reaches(&self, time: Millis) -> bool {
        i16::try_from(time.since(self.start)).is_ok()
    }

    /// Appends a frame that [`reaches`](Self::reaches); `track_number` is at most 126.
    pub(super) fn push(&mut self, track_number: u8, time: Millis, key: bool, payload: &[u8]) {
        debug_assert!(self.reaches(time), "the sink starts a new cluster first");
        self.earliest = self.earliest.min(time);
        let offset = i16::try_from(time.since(self.start)).unwrap_or_default();
        put_id(&mut self.blocks, ebml::SIMPLE_BLOCK);
        put_len(&mut self.blocks, BLOCK_HEAD_LEN + payload.len() as u64);
        put_len(&mut self.blocks, u64::from(track_number));
        self.blocks.extend(offset.to_be_bytes());
        self.blocks.push(if key { FLAG_KEY } else { 0 });
        self.blocks.extend_from_slice(payload);
    }

    /// The bytes before the blocks, and the blocks. `zero` is where the file's time begins.
    pub(super) fn parts(&self, zero: Millis) -> (Vec<u8>, &[u8]) {
        let time = self.timestamp(zero);
        let mut head = Vec::new();
        put_id(&mut head, ebml::CLUSTER);
        put_len(&mut head, (time.len() + self.blocks.len()) as u64);
        head.extend(time);
        (head, &self.blocks)
    }

    /// Begins a live cluster, which has no length: it ends where the next one begins.
    pub(super) fn open(&mut self, zero: Millis) {
        let time = self.timestamp(zero);
        put_id(&mut self.blocks, ebml::CLUSTER);
        put_wide_len(&mut self.blocks, None);
        self.blocks.extend(time);
    }

    /// The bytes of a live cluster that are not written yet.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.blocks
    }

    /// All bytes of a live cluster so far are written.
    pub(super) fn set_written(&mut self) {
        self.blocks.clear();
    }

    fn timestamp(&self, zero: Millis) -> Vec<u8> {
        let start_ms = u64::try_from(self.start.since(zero)).unwrap_or_default();
        let mut time = Vec::new();
        put_uint(&mut time, ebml::CLUSTER_TIMESTAMP, start_ms);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_each_by_itself_and_also_before_1970() {
        let of = |us| Millis::of(Timestamp(us)).0;
        assert_eq!([of(0), of(499), of(500), of(1_499)], [0, 0, 1, 1]);
        assert_eq!([of(-500), of(-501), of(-1_500)], [0, -1, -1]);
        // 30 frames per second: the error does not add up.
        for n in 0..10_000_i64 {
            assert!((of(n * 33_333) * 1_000 - n * 33_333).abs() <= 500);
        }
        let span = Millis::of(Timestamp::MAX).since(Millis::of(Timestamp::MIN));
        assert!(span > 0);
    }
}
