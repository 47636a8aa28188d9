//! Playing: what is read becomes what is shown, at the right time. Pure decisions.
//!
//! A [`Player`] plays any number of streams of any number of sources on one clock. It is told
//! what time it is (`now_us`, the boot clock), what was read, and what the user wants; it answers
//! with [`Action`]s. It has no thread, clock, device or randomness of its own: the same calls
//! give the same actions. Who reads, waits and owns the sinks is `manager`'s business.
//!
//! # How it is driven
//!
//! ```text
//! loop {
//!     while let Some(action) = player.poll(now) { do it }
//!     wait until wake_at(), a command, or something was read and wants_more() for its source
//!     command(..), feed(..), read_up_to(..), caught_up(..), ended(..)
//! }
//! ```
//!
//! After every call but [`wants_more`](Player::wants_more), [`time`](Player::time),
//! [`state`](Player::state) and [`wake_at`](Player::wake_at), poll until there is no more action:
//! commands take effect, and the clock waits and goes on, in [`poll`](Player::poll) only.
//!
//! # What comes out
//!
//! * Per stream a [`Setup`](crate::frame::Item::Setup) comes before the first frame after every
//!   seek, map, start, rejoin and change; and again only when it differs.
//! * Within a track frames keep the recorded order. Between tracks and streams they go by release
//!   time. The release time of a picture is the least time of it and of the later frames of its
//!   track up to the next key frame; that of sound is its own time. What is recorded behind a
//!   setup or a gap does not pass it.
//! * A frame is delivered when the head has reached its release time, once. Frames that were
//!   read late are delivered late, in order.
//! * A seek, a map and a rejoin deliver from the newest key frame at or before the target all
//!   that is released by then: as [`Preroll`](crate::frame::Item::Preroll) what is shown before
//!   the target, but for the picture that is to be seen there (the one with the greatest time at
//!   or before the target). Pictures that are shown later are plain frames. Sound before the
//!   target is left out.
//! * Gaps come at their `start`, or as soon as what was recorded before them was delivered.

mod action;
mod command;

pub use self::action::{Action, Event, Load, LoadId, State};
pub use self::command::{Command, Limits, SourceId, Speed, StreamKey};

use crate::base::error::{Error, Result};
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::Recorded;

/// What an item counts for in the cache beside its payload, in bytes.
pub const ENTRY_LEN: u64 = 128;

/// Plays streams. See the [module](self).
///
/// Memory: [`Limits::cache_len`], and a few hundred bytes for each mapped stream.
#[derive(Debug)]
#[doc(alias("FileCacheThread", "FileCacherThread"))]
pub struct Player {
    limits: Limits,
}

impl Player {
    /// A player that has no streams and no position.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Plays a stream from now on, too. It joins at its newest key frame at or before the head,
    /// as after a seek, once that was read. The source is read anew from there; what is fed twice
    /// is delivered once. Does nothing when the stream is mapped already.
    pub fn map(&mut self, key: StreamKey) {
        let _ = (key, self.limits);
    }

    /// Plays a stream no longer; nothing more of it is delivered. With its last stream a source
    /// is no longer read. Does nothing when the stream is not mapped.
    pub fn unmap(&mut self, key: StreamKey) {
        let _ = key;
    }

    /// Does what the user wants.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::base::error::ErrorKind::Invalid) for a speed out of range and an empty
    /// loop. Nothing was changed.
    pub fn command(&mut self, now_us: i64, command: Command) -> Result<()> {
        let _ = now_us;
        command.check()
    }

    /// Takes what a load brings, in recorded order. Ignored when `load` is not the read under
    /// way, or the stream is not mapped. Always taken, also when the source does not
    /// [want more](Self::wants_more).
    ///
    /// Payloads are kept as they are for as long as the cache holds the frame: the caller hands
    /// over bytes that do not hold on to a scarce buffer.
    ///
    /// Within a stream, frames that are not behind the last one by (`sequence`, `ordinal`) are
    /// dropped as fed before, unless a seek came between.
    pub fn feed(&mut self, source: SourceId, load: LoadId, recorded: Recorded) {
        let _ = (source, load, recorded);
    }

    /// Everything of the load's streams up to `time` has been fed: progress, also where the
    /// streams have no frames. Frames at or before `time` that come later after all are delivered
    /// late. Need not be called where streams have frames, but a stream without any is known to
    /// be in a gap only by this.
    pub fn read_up_to(&mut self, source: SourceId, load: LoadId, time: Timestamp) {
        let _ = (source, load, time);
    }

    /// Everything that is recorded now was fed; more may come, because the recording goes on. It
    /// holds until the next load, and may be called again and again.
    pub fn caught_up(&mut self, source: SourceId, load: LoadId) {
        let _ = (source, load);
    }

    /// Nothing more comes from this load; with an error, because it failed.
    pub fn ended(&mut self, source: SourceId, load: LoadId, error: Option<Error>) {
        let _ = (source, load, error);
    }

    /// What the source holds now, from its first frame to its last; none when it holds nothing.
    /// To be called before the first load and whenever blocks were sealed or overwritten. It
    /// tells where reverse and steps back find the start, and where `Play` begins without a
    /// position; playing forward does not depend on it. May be called for sources without streams.
    pub fn set_extent(&mut self, source: SourceId, range: Option<TimeRange>) {
        let _ = (source, range);
    }

    /// Back pressure: the caller takes from the source's ring only while this is true. It becomes
    /// true again by [`poll`](Self::poll).
    pub fn wants_more(&self, source: SourceId) -> bool {
        let _ = source;
        false
    }

    /// What to do next, at `now_us`; none when there is nothing more to do. `now_us` never goes
    /// back; where it does, it counts as the latest that was given.
    pub fn poll(&mut self, now_us: i64) -> Option<Action> {
        let _ = now_us;
        None
    }

    /// When [`poll`](Self::poll) has something to do if nothing else happens: not after its next
    /// action is due. None when only a call can bring more.
    pub fn wake_at(&self) -> Option<i64> {
        None
    }

    /// The current time of the recording, the head; none while the player is stopped.
    pub fn time(&self, now_us: i64) -> Option<Timestamp> {
        let _ = now_us;
        None
    }

    /// What the player does.
    pub fn state(&self) -> State {
        State::Stopped
    }
}
