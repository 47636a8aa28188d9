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
//!   read late are delivered late, in order; so are those for which the cache had no room.
//! * A seek, a map and a rejoin deliver from the newest key frame at or before the target all
//!   that is released by then: as [`Preroll`](crate::frame::Item::Preroll) what is shown before
//!   the target, but for the picture that is to be seen there (the one with the greatest time at
//!   or before the target). Pictures that are shown later are plain frames. Sound before the
//!   target is left out.
//! * A gap comes at its `start`, or as soon as what was recorded before it was delivered; when it
//!   is told once more with its end, it comes at its end.

mod action;
mod clock;
mod command;
mod drive;
mod lane;
mod report;
mod reverse;
mod room;
mod seek;
mod source;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

pub use self::action::{Action, Event, Load, LoadId, State};
pub use self::command::{Command, Limits, SourceId, Speed, StreamKey};
pub use self::lane::ENTRY_LEN;

use self::clock::Clock;
use self::report::Told;
use self::source::Source;
use crate::base::error::{Error, Result};
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::Recorded;

/// What is read ahead at least, whatever the limits say.
const MIN_AHEAD_US: i64 = 100_000;

/// Plays streams. See the [module](self).
///
/// Memory: [`Limits::cache_len`], and a few hundred bytes for each mapped stream.
#[derive(Debug)]
#[doc(alias("FileCacheThread", "FileCacherThread"))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what the user set, each on its own"
)]
pub struct Player {
    limits: Limits,
    sources: BTreeMap<SourceId, Source>,
    load_count: u64,

    mode: Mode,
    is_playing: bool,
    is_reverse: bool,
    skip_gaps: bool,
    looped: Option<TimeRange>,
    live_uncommitted: bool,

    /// The latest that was given.
    now_us: i64,
    clock: Clock,
    /// Where the clock was at the last poll; it means something with a position only.
    head: Timestamp,
    has_position: bool,
    /// Where the player goes; the data is not there yet.
    seek: Option<Timestamp>,
    /// Whether that is to find the picture before the head.
    search: bool,
    /// Pictures that are still to be stepped, forward or back.
    steps: i32,
    /// From where the head jumped back at the last clock step.
    stepped_from: Option<Timestamp>,
    /// Whether the head waits for data, since when, and for which time.
    is_waiting: bool,
    wait_us: i64,
    awaited: Timestamp,

    /// Whether something happened since the last poll.
    is_dirty: bool,
    /// What one turn of a poll has brought about; told before anything else is done.
    pending: VecDeque<Event>,
    told: Told,
}

/// How a player gets from what is read to what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Stopped,
    Forward,
    Backward,
    Live,
}

impl Player {
    /// A player that has no streams and no position.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            sources: BTreeMap::new(),
            load_count: 0,
            mode: Mode::Stopped,
            is_playing: false,
            is_reverse: false,
            skip_gaps: false,
            looped: None,
            live_uncommitted: false,
            now_us: i64::MIN,
            clock: Clock::default(),
            head: Timestamp::default(),
            has_position: false,
            seek: None,
            search: false,
            steps: 0,
            stepped_from: None,
            is_waiting: false,
            wait_us: i64::MIN,
            awaited: Timestamp::MIN,
            is_dirty: false,
            pending: VecDeque::new(),
            told: Told::default(),
        }
    }

    /// Plays a stream from now on, too. It joins at its newest key frame at or before the head,
    /// as after a seek, once that was read. The source is read anew from there; what is fed twice
    /// is delivered once. Does nothing when the stream is mapped already.
    pub fn map(&mut self, key: StreamKey) {
        self.is_dirty = true;
        self.add(key);
    }

    /// Plays a stream no longer; nothing more of it is delivered. With its last stream a source
    /// is no longer read. Does nothing when the stream is not mapped.
    pub fn unmap(&mut self, key: StreamKey) {
        self.touch();
        self.remove(key);
    }

    /// Does what the user wants.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::base::error::ErrorKind::Invalid) for a speed out of range and an empty
    /// loop. Nothing was changed.
    pub fn command(&mut self, now_us: i64, command: Command) -> Result<()> {
        command.check()?;
        self.touch();
        self.pass(now_us);
        self.obey(command);
        Ok(())
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
        let (mode, search) = (self.mode, self.search);
        let head = self.seek.unwrap_or(self.head);
        let Some(source) = self.loading(source, load) else {
            return;
        };
        if mode == Mode::Backward {
            source.feed_back(recorded);
        } else {
            source.feed(recorded, head);
            source.make_room(head, search);
        }
    }

    /// Everything of the load's streams up to `time` has been fed: progress, also where the
    /// streams have no frames. Frames at or before `time` that come later after all are delivered
    /// late. Where it is not called, a stream is taken to have nothing up to a second before the
    /// newest frame of its source; a source without any frames is known to be in a gap only by
    /// this.
    pub fn read_up_to(&mut self, source: SourceId, load: LoadId, time: Timestamp) {
        if let Some(source) = self.loading(source, load) {
            source.read_up_to(time);
        }
    }

    /// Everything that is recorded now was fed; more may come, because the recording goes on. It
    /// holds until the next load, and may be called again and again.
    pub fn caught_up(&mut self, source: SourceId, load: LoadId) {
        let mode = self.mode;
        if let Some(source) = self
            .loading(source, load)
            .filter(|_| mode != Mode::Backward)
        {
            source.caught_up();
        }
    }

    /// Nothing more comes from this load; with an error, because it failed. After a failure the
    /// others play on; with the next `Play` the source is read again, and its streams rejoin.
    pub fn ended(&mut self, source: SourceId, load: LoadId, error: Option<Error>) {
        let mode = self.mode;
        let Some(source) = self.loading(source, load) else {
            return;
        };
        if mode == Mode::Backward {
            source.end_back(error.is_some());
        } else {
            source.end(error.is_some());
        }
        source.failure = error.map(|error| error.to_string());
    }

    /// What the source holds now, from its first frame to its last; none when it holds nothing.
    /// To be called before the first load and whenever blocks were sealed or overwritten. It
    /// tells where reverse finds the start, and where `Play` begins without a position; playing
    /// forward does not depend on it. May be called for sources without streams.
    pub fn set_extent(&mut self, source: SourceId, range: Option<TimeRange>) {
        self.is_dirty = true;
        self.sources.entry(source).or_default().extent = range;
    }

    /// Back pressure: the caller takes from the source's ring only while this is true. It becomes
    /// true again by [`poll`](Self::poll).
    pub fn wants_more(&self, source: SourceId) -> bool {
        let Some(source) = self.sources.get(&source) else {
            return false;
        };
        if source.load.is_none() || source.asked.is_some() || source.is_ended {
            return false;
        }
        match self.mode {
            Mode::Stopped => false,
            Mode::Backward => true,
            Mode::Live => !source.is_full,
            Mode::Forward => {
                let is_stepping = self.steps != 0;
                let ahead_us = if is_stepping {
                    i64::MAX
                } else {
                    self.scaled_ahead_us()
                };
                let skips = self.skip_gaps && self.is_playing;
                source.wants_more(self.head, ahead_us, skips)
            }
        }
    }

    /// What to do next, at `now_us`; none when there is nothing more to do. `now_us` never goes
    /// back; where it does, it counts as the latest that was given.
    pub fn poll(&mut self, now_us: i64) -> Option<Action> {
        self.pass(now_us);
        let action = self.decide();
        self.is_dirty &= action.is_some();
        action
    }

    /// When [`poll`](Self::poll) has something to do if nothing else happens: not after its next
    /// action is due. None when only a call can bring more.
    pub fn wake_at(&self) -> Option<i64> {
        if self.is_dirty {
            return Some(self.now_us);
        }
        let next = match self.mode {
            Mode::Stopped | Mode::Live => None,
            Mode::Forward => self.wake_forward(),
            Mode::Backward => self.wake_backward(),
        };
        let wake = next.into_iter().chain(self.wake_report()).min()?;
        Some(wake.max(self.now_us))
    }

    /// Bytes that the cache holds: payloads, and [`ENTRY_LEN`] for each item.
    pub fn cached_len(&self) -> u64 {
        self.sources.values().map(Source::cached_len).sum()
    }

    /// The current time of the recording, the head, as far as the last poll let it go; none while
    /// the player is stopped, and in live before the first frame.
    pub fn time(&self, now_us: i64) -> Option<Timestamp> {
        if !self.has_position {
            return None;
        }
        let at = self.clock.at(now_us.max(self.now_us));
        Some(match self.mode {
            Mode::Forward => at.min(self.bound_time()).max(self.head),
            Mode::Backward => at.max(self.bound_back_time()).min(self.head),
            Mode::Stopped | Mode::Live => self.head,
        })
    }
}

impl Player {
    fn decide(&mut self) -> Option<Action> {
        if let Some(load) = self.ask() {
            return Some(load);
        }
        let event = self.pending.pop_front().or_else(|| self.notice());
        if event.is_some() {
            return event.map(Action::Event);
        }
        if self.mode == Mode::Stopped && self.is_playing {
            self.begin_somewhere();
            if let Some(load) = self.ask() {
                return Some(load);
            }
        }
        let action = match self.mode {
            Mode::Stopped => None,
            Mode::Forward => self.forward(),
            Mode::Backward => self.backward(),
            Mode::Live => self.live(),
        };
        // A loop or a step may have begun a read.
        let action = action.or_else(|| self.ask());
        action.or_else(|| self.report().map(Action::Event))
    }

    /// What has to be told before anything is done.
    fn notice(&mut self) -> Option<Event> {
        let now_us = self.now_us;
        for (id, source) in &mut self.sources {
            if std::mem::take(&mut source.has_progress) {
                source.progress_us = now_us;
            }
            if let Some(message) = source.failure.take() {
                let source = *id;
                return Some(Event::Failed { source, message });
            }
        }
        self.report_state().or_else(|| self.report_picture())
    }

    /// The next read that is to be told.
    fn ask(&mut self) -> Option<Action> {
        for (id, source) in &mut self.sources {
            let Some(what) = source.asked.take() else {
                continue;
            };
            let has_streams = what != Load::Nothing;
            if !has_streams && !source.is_reading {
                continue;
            }
            self.load_count += 1;
            let load = LoadId(self.load_count);
            source.is_reading = has_streams;
            source.load = Some(load).filter(|_| has_streams);
            (source.load_us, source.progress_us) = (self.now_us, self.now_us);
            let streams = source.streams.keys().copied();
            return Some(Action::Load {
                source: *id,
                load,
                streams: streams.filter(|_| has_streams).collect(),
                what,
            });
        }
        None
    }

    /// The source, if `load` is its read under way.
    fn loading(&mut self, source: SourceId, load: LoadId) -> Option<&mut Source> {
        let source = self.sources.get_mut(&source)?;
        if !source.is_current(load) {
            return None;
        }
        self.is_dirty = true;
        self.told.is_cache_old = true;
        Some(source)
    }

    fn touch(&mut self) {
        self.is_dirty = true;
        self.told.is_cache_old = true;
    }

    /// Lets time pass.
    fn pass(&mut self, now_us: i64) {
        self.now_us = self.now_us.max(now_us);
    }

    /// How far ahead is read at the current speed.
    fn scaled_ahead_us(&self) -> i64 {
        let speed = i64::from(self.clock.speed().max(Speed::NORMAL).0);
        self.limits.ahead_us.max(MIN_AHEAD_US).saturating_mul(speed) / 1000
    }
}
