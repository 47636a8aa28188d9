//! A volume as a manager plays it: its reader, and the read under way.

use std::task::Poll;

use super::SourceId;
use crate::base::error::Result;
use crate::base::geometry::Sequence;
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::StreamId;
use crate::player::{Load, LoadId, Player};
use crate::reader::{Feed, Query, Reader, Select, Step, Until, Waker};
use crate::volume::Volume;

/// How many steps are taken in one go, before the player may act on them.
const STEP_COUNT: usize = 256;

/// A volume that is played.
pub(super) struct Source {
    id: SourceId,
    volume: Volume,
    feed: Option<(LoadId, Feed)>,
    /// Made for the first read.
    reader: Option<Reader>,
    /// Our waker, as the volume numbers it.
    waker_number: u64,
    /// What the player and the listeners were told last.
    told: Option<(Sequence, Option<TimeRange>)>,
}

impl Source {
    pub(super) fn new(id: SourceId, volume: Volume, waker: Waker) -> Self {
        let waker_number = volume.wake_on_change(waker);
        Self {
            id,
            volume,
            reader: None,
            feed: None,
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
    pub(super) fn load(
        &mut self,
        load: LoadId,
        streams: Vec<StreamId>,
        what: Load,
        waker: Waker,
    ) -> Result<()> {
        self.feed = None;
        let follow = |until| {
            if self.volume.is_recording() {
                until
            } else {
                Until::Now
            }
        };
        let (range, until) = match what {
            Load::Nothing => return Ok(()),
            Load::At(time) => (
                TimeRange::new(time, Timestamp::MAX),
                follow(Until::Committed),
            ),
            Load::Range(range) => (range, Until::Now),
            Load::Live { uncommitted } => {
                let until = if uncommitted {
                    Until::Written
                } else {
                    Until::Committed
                };
                (
                    TimeRange::new(Timestamp::MAX, Timestamp::MAX),
                    follow(until),
                )
            }
        };
        let query = Query {
            streams,
            select: Select::Shown(range),
            until,
        };
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.volume)?),
        };
        self.feed = Some((load, reader.feed(query, waker)?));
        Ok(())
    }

    /// Whether the player wants more, and there is more.
    pub(super) fn is_ready(&self, player: &Player) -> bool {
        let is_ready = |(_, feed): &(LoadId, Feed)| feed.is_ready();
        player.wants_more(self.id) && self.feed.as_ref().is_some_and(is_ready)
    }

    /// Feeds the player what was read, as long as it wants more.
    pub(super) fn feed(&mut self, player: &mut Player) {
        for _ in 0..STEP_COUNT {
            if !player.wants_more(self.id) {
                return;
            }
            let Some((load, feed)) = &mut self.feed else {
                return;
            };
            let load = *load;
            match feed.poll() {
                Poll::Pending => return,
                Poll::Ready(Some(Step::Item(recorded))) => player.feed(self.id, load, recorded),
                Poll::Ready(Some(Step::UpTo(time))) => player.read_up_to(self.id, load, time),
                Poll::Ready(Some(Step::CaughtUp)) => player.caught_up(self.id, load),
                Poll::Ready(None) => {
                    let failed = self.feed.take().and_then(|(_, feed)| feed.finish().err());
                    player.ended(self.id, load, failed);
                }
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.volume.forget_waker(self.waker_number);
    }
}
