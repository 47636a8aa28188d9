//! What a player answers with: what to read, what to hand on, what to tell.

use super::command::{SourceId, StreamKey};
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::{Item, StreamId};

/// Numbers the reads of a player, from 1, never twice. At most one read per source is under way;
/// what comes from another is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub u64);

/// What the caller is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read. It replaces the read of the source that is under way.
    Load {
        /// From where.
        source: SourceId,
        /// What the player calls this read.
        load: LoadId,
        /// The streams, sorted. Empty for [`Load::Nothing`] only.
        streams: Vec<StreamId>,
        /// Which part.
        what: Load,
    },
    /// Hand an item to the sinks of a stream.
    Deliver {
        /// Whose it is.
        key: StreamKey,
        /// [`Item::Preroll`] for frames that are to be decoded and not to be shown.
        item: Item,
        /// When it was due, on the clock that [`poll`](super::Player::poll) is given; never
        /// after the `now_us` of the poll that returned it. What is delivered at once (after a
        /// seek, live) is due at that poll.
        due_us: i64,
    },
    /// Tell whoever listens.
    Event(Event),
}

/// Which part of a source is to be read. Each stream is fed in recorded order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Per stream: from the newest key frame at or before this time, also when a gap lies
    /// between, or else from its first key frame; and all that follows, on and on to the live
    /// edge.
    At(Timestamp),
    /// Per stream: from the newest key frame at or before the start, to the end; then
    /// [`ended`](super::Player::ended).
    Range(TimeRange),
    /// Per stream: from the newest key frame, and what is recorded from now on.
    Live {
        /// Also what a power cut may still take back.
        uncommitted: bool,
    },
    /// The read under way ends, and there is no other.
    Nothing,
}

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The current time, every [`period_us`](super::Limits::period_us) while it moves, and once
    /// where it comes to stand.
    Time(Timestamp),
    /// What the cache holds of a source, from the oldest to the newest; told when it changed, at
    /// most every 300 ms or period, whichever is longer.
    Cached {
        /// The source.
        source: SourceId,
        /// None when it holds nothing.
        range: Option<TimeRange>,
    },
    /// A source stalled or its read failed, and the clock went on without it: frames of a stream
    /// were left out.
    /// Comes before the first item of the stream behind them.
    LeftOut {
        /// The stream.
        key: StreamKey,
        /// From the last frame that was delivered to the picture with which it goes on. Of a
        /// stream without pictures to the sound, or to the head where no more was read.
        range: TimeRange,
    },
    /// The clock waits for data, or goes on.
    Waiting(bool),
    /// Nothing more is recorded in this direction, and all was delivered: the player stands.
    End,
    /// The head jumped by itself: over a gap, back to the start of a loop, or where the
    /// recorder's clock was set back.
    Jumped {
        /// From where.
        from: Timestamp,
        /// To where.
        to: Timestamp,
    },
    /// A read ended with an error. The source counts as ended until the next seek or play; what
    /// was left out by then is told.
    Failed {
        /// The source.
        source: SourceId,
        /// What was wrong.
        message: String,
    },
    /// The player does something else than before.
    State(State),
}

/// What a player does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has no position.
    #[default]
    Stopped,
    /// It goes to a position: the picture is not there yet.
    Seeking,
    /// It has a position, and time stands still.
    Standing,
    /// Time passes.
    Playing,
    /// It follows the recording.
    Live,
}
