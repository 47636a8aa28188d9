//! What a recording tells those who watch it.

use crate::base::geometry::{Position, Sequence, VolumeId};
use crate::base::time::TimeRange;
use crate::frame::StreamId;

/// Something happened to a volume that is being recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Everything up to `position` is on stable storage.
    Committed {
        /// The volume.
        volume: VolumeId,
        /// The new durable watermark.
        position: Position,
        /// What was committed of each stream.
        streams: Vec<(StreamId, TimeRange)>,
        /// All that the volume holds.
        times: Option<TimeRange>,
    },
    /// A block is full, and its index is on stable storage.
    #[doc(alias = "new_block_cb")]
    Sealed {
        /// The volume.
        volume: VolumeId,
        /// The block.
        sequence: Sequence,
        /// What the block holds.
        block_times: TimeRange,
        /// All that the volume holds.
        times: Option<TimeRange>,
    },
    /// A write or flush failed; what was not durable is being written to another block.
    Fault {
        /// The volume.
        volume: VolumeId,
        /// The block that was being written.
        sequence: Sequence,
        /// What the device reported.
        message: String,
    },
    /// The volume takes no more data. What was committed stays readable.
    Failed {
        /// The volume.
        volume: VolumeId,
        /// Why.
        message: String,
    },
}
