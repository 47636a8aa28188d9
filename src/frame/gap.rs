//! Why frames are missing: the record of every loss.

use std::fmt;

use crate::base::time::Timestamp;

/// Why frames are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GapCause {
    /// The camera cannot be reached, or sends nothing.
    NoSignal,
    /// Packets were lost on the way.
    PacketLoss,
    /// The disk could not keep up, and the queue was full.
    QueueFull,
    /// A frame was longer than the volume takes.
    Oversize,
    /// The recorder was not running.
    Restart,
    /// The device failed.
    Disk,
    /// There was nothing to record, by schedule or by choice.
    Idle,
    /// Not stored, found when reading: the key frame needed for decoding was overwritten.
    NoKeyFrame,
    /// Not stored, found when reading: the ring overwrote the frames while they were read.
    Overwritten,
    /// Not stored, found when reading: stored bytes fail their checks.
    Damaged,
}

impl GapCause {
    /// All causes that are kept on disk, in the order of their codes from 1.
    pub const STORED: [Self; 7] = [
        Self::NoSignal,
        Self::PacketLoss,
        Self::QueueFull,
        Self::Oversize,
        Self::Restart,
        Self::Disk,
        Self::Idle,
    ];

    /// The cause in a word or two, as the command line prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSignal => "no signal",
            Self::PacketLoss => "packet loss",
            Self::QueueFull => "queue full",
            Self::Oversize => "oversize",
            Self::Restart => "restart",
            Self::Disk => "disk",
            Self::Idle => "idle",
            Self::NoKeyFrame => "no key frame",
            Self::Overwritten => "overwritten",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for GapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stretch of a stream without frames.
///
/// A gap that begins is told without an `end`; when frames come again it is told once more, with
/// the same `cause` and `start`, and with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub cause: GapCause,
    /// The time of the last frame before the gap, or when it was noticed.
    pub start: Timestamp,
    /// The time of the first frame after it; none while it lasts.
    pub end: Option<Timestamp>,
    /// How many frames are missing; none where nobody can know.
    pub lost_count: Option<u64>,
}
