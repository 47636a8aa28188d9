//! A volume as a manager plays it: its reader, and the read under way.
//!
//! A volume that another process records is a snapshot. Where a read that follows the recording has
//! come to its end, the volume is opened anew, and read on from there.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use super::SourceId;
use super::renewal::{Renewal, Renewed};
use crate::base::error::Result;
use crate::base::geometry::Sequence;
use crate::base::time::{Clock as _, SystemClock, TimeRange, Timestamp, US_PER_S};
use crate::frame::{Item, Recorded, StreamId};
use crate::player::{Load, LoadId, Player};
use crate::reader::{Feed, Query, Reader, Select, Step, Until, Waker};
use crate::volume::Volume;

/// How many steps are taken in one go, before the player may act on them.
const STEP_COUNT: usize = 256;

/// The shortest time between two openings of a volume that another process records.
const RENEWAL_US: i64 = US_PER_S / 2;

/// How far a stream may lie behind the newest frame when the volume is read on: by more, and what
/// was recorded of it since the last reading may be missed.
const OVERLAP_US: i64 = 5 * US_PER_S;

/// A volume that is played.
pub(super) struct Source {
    id: SourceId,
    volume: Volume,
    /// What the player wants.
    job: Option<Job>,
    feed: Option<Feed>,
    /// The volume as it is opened anew, to go on with the job.
    renewal: Option<Renewal>,
    /// When it was last opened anew.
    renewed_us: Option<i64>,
    /// Whether another process recorded it when it was last looked at.
    is_written: bool,
    /// Made for the first read.
    reader: Option<Reader>,
    waker: Waker,
    /// Our waker, as the volume numbers it.
    waker_number: u64,
    /// What the player and the listeners were told last.
    told: Option<(Sequence, Option<TimeRange>)>,
}

/// A read, and how far it is.
#[derive(Debug)]
struct Job {
    load: LoadId,
    streams: Vec<StreamId>,
    what: Load,
    /// The place of the newest frame of each stream, and the time of the newest of all.
    places: BTreeMap<StreamId, (Sequence, u64)>,
    newest: Option<Timestamp>,
    /// Whether the volume was opened anew: what is read now begins with what was read before.
    is_again: bool,
}

impl Job {
    fn range(&self) -> TimeRange {
        let start = match (self.newest, self.what) {
            (Some(newest), _) => newest.plus_us(-OVERLAP_US),
            (None, Load::At(time)) => time,
            (None, Load::Range(range)) => return range,
            (None, Load::Live { .. } | Load::Nothing) => Timestamp::MAX,
        };
        TimeRange::new(start, Timestamp::MAX)
    }

    /// How far it goes where this process records.
    fn until(&self) -> Until {
        match self.what {
            Load::Live { uncommitted: true } => Until::Written,
            Load::Live { .. } | Load::At(_) => Until::Committed,
            Load::Range(_) | Load::Nothing => Until::Now,
        }
    }

    /// Whether it goes on as more is recorded.
    fn follows(&self) -> bool {
        self.until() != Until::Now
    }

    /// Takes note of an item; false when it was there before.
    fn is_new(&mut self, recorded: &Recorded) -> bool {
        let place = (recorded.sequence, recorded.ordinal);
        let known = self.places.get(&recorded.stream);
        if self.is_again && known.is_some_and(|known| place <= *known) {
            return false;
        }
        if let Item::Frame(frame) | Item::Preroll(frame) = &recorded.item {
            self.places.insert(recorded.stream, place);
            self.newest = Some(frame.time);
        }
        true
    }
}

impl Source {
    pub(super) fn new(id: SourceId, volume: Volume, waker: Waker) -> Self {
        let waker_number = volume.wake_on_change(waker.clone());
        Self {
            id,
            volume,
            job: None,
            feed: None,
            renewal: None,
            renewed_us: None,
            is_written: false,
            reader: None,
            waker,
            waker_number,
            told: None,
        }
    }

    /// What the volume holds now, if that is new.
    pub(super) fn news(&mut self) -> Option<(Sequence, Option<TimeRange>)> {
        let head = self.volume.table().head();
        if self.told.is_some_and(|(told, _)| told == head) {
            return None;
        }
        let range = self.volume.time_range();
        self.told = Some((head, range));
        self.told
    }

    /// What the volume holds, as it was told last.
    pub(super) fn range(&self) -> Option<TimeRange> {
        self.told.and_then(|(_, range)| range)
    }

    /// Begins a read, in place of the one under way.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub(super) fn load(&mut self, load: LoadId, streams: Vec<StreamId>, what: Load) -> Result<()> {
        (self.job, self.feed, self.renewal) = (None, None, None);
        let end = self.volume.time_range().map(|range| range.end);
        let is_beyond = match what {
            Load::Nothing => return Ok(()),
            Load::At(time) => end.is_none_or(|end| time >= end),
            Load::Range(_) => false,
            Load::Live { .. } => true,
        };
        self.job = Some(Job {
            load,
            streams,
            what,
            places: BTreeMap::new(),
            newest: None,
            is_again: false,
        });
        self.is_written = self.is_written_elsewhere();
        if self.is_written && is_beyond {
            self.renew()
        } else {
            self.read()
        }
    }

    fn is_written_elsewhere(&self) -> bool {
        // Where that cannot be known, what is there is played to its end.
        let is_written = || self.volume.medium().is_being_written().unwrap_or(false);
        !self.volume.is_recording() && self.volume.dir().is_some() && is_written()
    }

    fn read(&mut self) -> Result<()> {
        let Some(job) = &self.job else {
            return Ok(());
        };
        let is_here = self.volume.is_recording();
        let query = Query {
            streams: job.streams.clone(),
            select: Select::Shown(job.range()),
            until: if is_here { job.until() } else { Until::Now },
        };
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.volume)?),
        };
        self.feed = Some(reader.feed(query, self.waker.clone())?);
        Ok(())
    }

    /// Opens the volume anew, soon, to go on with the job.
    fn renew(&mut self) -> Result<()> {
        let now_us = SystemClock.now().boot_us;
        let wait_us = self.renewed_us.map_or(0, |renewed_us| {
            RENEWAL_US.saturating_sub(now_us.saturating_sub(renewed_us))
        });
        let delay = Duration::from_micros(u64::try_from(wait_us).unwrap_or(0));
        let (old, waker) = (self.reader.take(), self.waker.clone());
        self.renewal = Some(Renewal::begin(&self.volume, old, delay, waker)?);
        Ok(())
    }

    /// Goes on where the volume was opened anew.
    fn go_on(&mut self, renewed: Renewed) -> Result<()> {
        self.volume.forget_waker(self.waker_number);
        self.waker_number = renewed.volume.wake_on_change(self.waker.clone());
        self.volume = renewed.volume;
        self.reader = Some(renewed.reader);
        self.is_written = renewed.is_written;
        self.renewed_us = Some(SystemClock.now().boot_us);
        let told = (self.volume.table().head(), self.volume.time_range());
        // Also its newest block may have grown.
        self.told = self.told.filter(|before| *before == told);
        if let Some(job) = &mut self.job {
            job.is_again = true;
        }
        self.read()
    }

    /// Whether the player wants more, and there is more.
    pub(super) fn is_ready(&self, player: &Player) -> bool {
        let is_renewed = self.renewal.as_ref().is_some_and(Renewal::is_ready);
        let is_read = || self.feed.as_ref().is_some_and(Feed::is_ready);
        is_renewed || player.wants_more(self.id) && is_read()
    }

    /// Feeds the player what was read, as long as it wants more.
    pub(super) fn feed(&mut self, player: &mut Player) {
        if let Some(renewed) = self.renewal.as_ref().and_then(Renewal::take) {
            self.renewal = None;
            let begun = renewed.and_then(|renewed| self.go_on(renewed));
            self.fail_if(begun, player);
        }
        for _ in 0..STEP_COUNT {
            if !player.wants_more(self.id) {
                return;
            }
            let (Some(job), Some(feed)) = (&mut self.job, &mut self.feed) else {
                return;
            };
            let load = job.load;
            match feed.poll() {
                Poll::Pending => return,
                Poll::Ready(Some(Step::Item(recorded))) => {
                    if job.is_new(&recorded) {
                        player.feed(self.id, load, recorded);
                    }
                }
                Poll::Ready(Some(Step::UpTo(time))) => player.read_up_to(self.id, load, time),
                Poll::Ready(Some(Step::CaughtUp)) => player.caught_up(self.id, load),
                Poll::Ready(None) => self.end_read(player),
            }
        }
    }

    /// All was read that was there when the volume was opened.
    fn end_read(&mut self, player: &mut Player) {
        let failed = self.feed.take().and_then(|feed| feed.finish().err());
        let Some(job) = &self.job else {
            return;
        };
        let load = job.load;
        if failed.is_some() || !self.is_written || !job.follows() {
            player.ended(self.id, load, failed);
            return;
        }
        player.caught_up(self.id, load);
        let begun = self.renew();
        self.fail_if(begun, player);
    }

    fn fail_if(&mut self, begun: Result<()>, player: &mut Player) {
        let Err(error) = begun else { return };
        if let Some(job) = &self.job {
            player.ended(self.id, job.load, Some(error));
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.volume.forget_waker(self.waker_number);
    }
}
