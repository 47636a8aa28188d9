//! What the server sent beside what was stored: what is missing, what is there twice, what differs.
//!
//! A frame belongs to the unit of the log that is as far from the first one by the server's clock as
//! the frame is by the camera's clock (RTP time). The clips are played in a loop, so their bytes
//! alone would not tell.

use std::fmt;

use crate::rtsp_server::Unit;
use crate::stored::StoredFrame;

/// Times may differ by this much, in microseconds.
pub(crate) const TOLERANCE_US: i64 = 1_000;

/// How the frames of one track compare with the log of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Units that the server sent, from the first stored key frame on.
    pub(crate) sent_count: usize,
    /// Units among these that are not stored.
    pub(crate) missing_count: usize,
    /// Frames that are no unit of the log, or come twice, or not in the order of the log.
    pub(crate) stray_count: usize,
    /// Frames whose bytes or key flag differ.
    pub(crate) damaged_count: usize,
    /// The greatest difference between the distance of two frames that follow each other and that
    /// of their units, in microseconds.
    pub(crate) max_step_us: i64,
    /// The same of any two frames of the track.
    pub(crate) max_error_us: i64,
    /// What the frames' UTC is ahead of the server's clock at the end, in microseconds.
    pub(crate) ahead_us: i64,
    /// What went wrong first.
    first_trouble: Option<String>,
}

impl Comparison {
    /// Compares the frames of one track with what the server sent of it. `is_complete` says that
    /// everything in the log has had the time to arrive; otherwise units behind the last frame
    /// are left out.
    pub(crate) fn of(frames: &[StoredFrame], units: &[Unit], is_complete: bool) -> Self {
        let mut found = Self::default();
        let Some(first) = frames.iter().position(|frame| frame.key) else {
            found.missing_count = units.len();
            found.trouble(|| "no key frame was stored".to_owned());
            return found;
        };
        let frames = &frames[first..];
        let is_first = |unit: &Unit| unit.key && unit.parts == frames[0].parts;
        let Some(start) = units.iter().position(is_first) else {
            found.stray_count = frames.len();
            found.trouble(|| "the first frame is not in the log".to_owned());
            return found;
        };
        let count = found.walk(frames, &units[start..]);
        found.sent_count = if is_complete {
            units.len() - start
        } else {
            count
        };
        if found.sent_count > count {
            found.missing_count += found.sent_count - count;
            found.trouble(|| format!("all from unit {} on is missing", start + count));
        }
        found
    }

    /// Goes through frames and units side by side. Returns the number of units up to the last frame.
    fn walk(&mut self, frames: &[StoredFrame], units: &[Unit]) -> usize {
        let mut next = 0;
        let mut aheads_us = Vec::new();
        for (number, frame) in frames.iter().enumerate() {
            let clock_us = clock_us(&frames[0], frame);
            let is_of = |unit: &Unit| (clock_us - pts_us(&units[0], unit)).abs() <= TOLERANCE_US;
            let Some(skipped) = units[next..].iter().position(is_of) else {
                self.stray_count += 1;
                self.trouble(|| format!("frame {number} is not where the log has it"));
                continue;
            };
            if skipped > 0 {
                self.missing_count += skipped;
                self.trouble(|| format!("{skipped} units before frame {number} are missing"));
            }
            let unit = &units[next + skipped];
            next += skipped + 1;
            if frame.parts != unit.parts || frame.key != unit.key {
                self.damaged_count += 1;
                self.trouble(|| format!("frame {number} differs"));
            }
            aheads_us.push(frame.time.0 - unit.pts_ns / 1_000);
        }
        self.look_at_times(&aheads_us);
        next
    }

    /// Looks at what the time of each frame is ahead of the server's clock.
    fn look_at_times(&mut self, aheads_us: &[i64]) {
        let steps_us = aheads_us.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        self.max_step_us = steps_us.max().unwrap_or(0);
        let least_us = aheads_us.iter().min().copied().unwrap_or(0);
        let most_us = aheads_us.iter().max().copied().unwrap_or(0);
        self.max_error_us = most_us - least_us;
        self.ahead_us = aheads_us.last().copied().unwrap_or(0);
    }

    fn trouble(&mut self, what: impl Fn() -> String) {
        self.first_trouble.get_or_insert_with(what);
    }

    /// Units that are not stored, and frames that are not as they were sent.
    pub(crate) fn fault_count(&self) -> usize {
        self.missing_count + self.stray_count + self.damaged_count
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sent, {} missing, {} stray, {} differ, times differ by {} us ({} from frame to frame)",
            self.sent_count,
            self.missing_count,
            self.stray_count,
            self.damaged_count,
            self.max_error_us,
            self.max_step_us
        )?;
        match &self.first_trouble {
            Some(trouble) => write!(f, "; {trouble}"),
            None => Ok(()),
        }
    }
}

/// How long after `first` the frame was taken, by the camera's clock.
fn clock_us(first: &StoredFrame, frame: &StoredFrame) -> i64 {
    (frame.clock - first.clock) * 1_000_000 / i64::from(frame.rate_hz)
}

/// The same by the server's log.
fn pts_us(first: &Unit, unit: &Unit) -> i64 {
    (unit.pts_ns - first.pts_ns) / 1_000
}
