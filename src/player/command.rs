//! What a player is asked for: commands, and the limits that it keeps to.

use std::fmt;

use crate::base::error::{Error, Result};
use crate::base::time::{TimeRange, Timestamp, US_PER_S};
use crate::frame::StreamId;

/// A volume, as the player sees it: a number that the caller chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The volume.
    pub source: SourceId,
    /// The stream in it.
    pub stream: StreamId,
}

/// How fast time passes in the recording, in thousandths: 1000 is as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Speed(pub u32);

impl Speed {
    /// As it was recorded.
    pub const NORMAL: Self = Self(1000);
    /// The slowest, an eighth.
    pub const SLOWEST: Self = Self(125);
    /// The fastest, 64-fold.
    pub const FASTEST: Self = Self(64_000);

    /// This speed, if it is one that a player plays at.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::base::error::ErrorKind::Invalid) when it is not between
    /// [`SLOWEST`](Self::SLOWEST) and [`FASTEST`](Self::FASTEST).
    pub fn checked(self) -> Result<Self> {
        if self >= Self::SLOWEST && self <= Self::FASTEST {
            return Ok(self);
        }
        let message = format!("a speed of {} thousandths is out of range", self.0);
        Err(Error::invalid(message).with_remedy("Take 125 (an eighth) to 64000 (64-fold)"))
    }
}

impl Default for Speed {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// What a [`Player`](super::Player) keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the cache may hold, all sources together: payloads, and
    /// [`ENTRY_LEN`](super::ENTRY_LEN) for each item. Divided evenly among the sources that have
    /// streams. It is passed by what was under way when
    /// [`wants_more`](super::Player::wants_more) became false, one item per source, and, when a source comes,
    /// by what the others have read ahead already. A quarter of each share is kept for what was
    /// delivered last. When a stream is mapped, what its source has read ahead is cut down to
    /// half of the share, and read again behind what the stream joins with. A stream joins with
    /// what was fed by then, when the share is used up before everything up to the head was.
    pub cache_len: u64,
    /// How far ahead of the head a source is read at normal speed; at twice the speed, twice as
    /// far. At least 100 ms; less counts as that.
    pub ahead_us: i64,
    /// How often the current time is told while it moves; 0 for after each delivered picture.
    pub period_us: i64,
    /// How long the clock waits for a source that delivers nothing, before it goes on without.
    pub stall_us: i64,
}

impl Default for Limits {
    /// 256 MiB, 2 s ahead, the time every 300 ms, patience for 5 s.
    fn default() -> Self {
        Self {
            cache_len: 256 << 20,
            ahead_us: 2 * US_PER_S,
            period_us: 300_000,
            stall_us: 5 * US_PER_S,
        }
    }
}

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Goes to a time, shows the picture of that time, and then goes on as before: standing,
    /// playing, in either direction. The way there is the same in both directions; backward, the
    /// key frames at or before the time follow, also one that was decoded on the way. Leaves
    /// live. A seek during a seek replaces it. After a stop, or at first, the player stands there.
    #[doc(alias = "seekStreamsCall")]
    Seek(Timestamp),
    /// Time passes. Without a position it begins at the start of what is recorded (at its end in
    /// reverse), as soon as [`set_extent`](super::Player::set_extent) has told one. At the end of
    /// the recording, and after a read that failed, it looks whether there is more by now. While live it does nothing; after a
    /// pause in live it plays on from there, no longer live.
    #[doc(alias = "playStreamsCall")]
    Play,
    /// Time stands still. Reading goes on until the cache has what lies ahead.
    #[doc(alias = "stopStreamsCall")]
    Pause,
    /// Stands still, forgets the position and all that is cached, ends all reads. Speed,
    /// direction, gaps and loop stay as they are set.
    #[doc(alias = "clearCall")]
    Stop,
    /// So many pictures forward or, where negative, back; then stands. Only pictures of mapped
    /// streams count; where no stream has pictures, frames of any kind. At an end of the
    /// recording it stops early with [`Event::End`](super::Event::End). 0 is a pause. Steps add
    /// up while they are under way. Without a position it does nothing.
    Step(i32),
    /// How fast time passes, at once; [`Invalid`](crate::base::error::ErrorKind::Invalid) out of
    /// range.
    SetSpeed(Speed),
    /// Backward, or forward again, from the head. Backward, only key frames of track 0 are
    /// delivered, the newest first; nothing is shown anew when it turns that way. Leaves live.
    SetReverse(bool),
    /// Whether the head jumps over stretches in which no mapped stream has anything.
    SkipGaps(bool),
    /// Plays a stretch again and again; none to go on behind it.
    /// [`Invalid`](crate::base::error::ErrorKind::Invalid) when it is empty.
    Loop(Option<TimeRange>),
    /// Follows the recording: everything is delivered as soon as it is fed, from the newest key
    /// frame of each stream on.
    Live {
        /// Also what a power cut may still take back.
        uncommitted: bool,
    },
}

impl Command {
    /// Whether a player can do this.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::base::error::ErrorKind::Invalid) for a speed out of range and an empty
    /// loop.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::SetSpeed(speed) => speed.checked().map(drop),
            Self::Loop(Some(range)) if range.start >= range.end => {
                let message = format!("a loop from {} to {} is empty", range.start, range.end);
                Err(Error::invalid(message).with_remedy("Give an end that is after the start"))
            }
            _ => Ok(()),
        }
    }
}
