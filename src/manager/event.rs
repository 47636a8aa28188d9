//! What a manager tells those who watch it.

use super::{SourceId, State};
use crate::base::geometry::Sequence;
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::{Gap, Item, StreamId};

/// Told of every [`Event`], on the manager's thread, which it must not hold up.
pub type EventSink = Box<dyn FnMut(&Event) + Send>;

/// Something happened while playing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The current time.
    #[doc(alias = "current_time_callback")]
    Time(Timestamp),
    /// What the cache holds of a volume has changed.
    #[doc(alias = "timelimits_callback")]
    Cached {
        /// The volume.
        source: SourceId,
        /// From the oldest frame to the newest; none when it holds nothing.
        range: Option<TimeRange>,
    },
    /// A volume has new blocks, or has lost old ones to the ring.
    #[doc(alias = "new_block_cb")]
    NewBlock {
        /// The volume.
        source: SourceId,
        /// Its newest block.
        sequence: Sequence,
        /// What it holds now.
        range: Option<TimeRange>,
        /// What all volumes hold now.
        all: Option<TimeRange>,
    },
    /// A stream has a gap here. It joins again by itself.
    Gap {
        /// The slot that it is played to.
        slot: StreamId,
        /// The gap.
        gap: Gap,
    },
    /// A frame or a gap has gone into the queue of a slot. Told only where
    /// [`ManagerOptions::tell_items`](super::ManagerOptions::tell_items) says so.
    Delivered {
        /// The slot.
        slot: StreamId,
        /// The frame or the gap.
        item: Item,
        /// How long after it was due, in microseconds; what is delivered at once, after a seek and
        /// live, is due when its turn comes.
        late_us: i64,
    },
    /// The disk was too slow: the clock went on, and frames of a stream were left out.
    LeftOut {
        /// The slot.
        slot: StreamId,
        /// From the last frame that was played to the one with which it goes on.
        range: TimeRange,
    },
    /// The clock waits for the disk, or goes on.
    Waiting(bool),
    /// Nothing more is recorded in this direction: time stands still.
    End,
    /// The time jumped by itself: over a gap, to the start of a loop, or because the clock of the
    /// recorder was set back.
    Jumped {
        /// From where.
        from: Timestamp,
        /// To where.
        to: Timestamp,
    },
    /// A volume cannot be read.
    Failed {
        /// The volume.
        source: SourceId,
        /// Why.
        message: String,
    },
    /// A sink has refused an item, and was dropped.
    SinkEnded {
        /// The slot.
        slot: StreamId,
        /// What it said.
        message: String,
    },
    /// The manager does something else than before.
    State(State),
}
