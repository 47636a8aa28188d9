//! The disk: what it hands over, and when.

use std::collections::{BTreeSet, VecDeque};

use camring::base::error::Error;
use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Recorded, StreamId};
use camring::player::{Command, Load, LoadId, SourceId, Speed, StreamKey};

use crate::recording::MS;
use crate::scenario::{Menu, Scenario};

/// A read under way.
#[derive(Debug, Default)]
pub(crate) struct Read {
    load: LoadId,
    /// What is still to be handed over, with arrivals.
    items: VecDeque<(i64, Recorded)>,
    pub(crate) is_over: bool,
}

impl Scenario {
    pub(crate) fn set_extents(&mut self) {
        let sources: BTreeSet<_> = self.streams.keys().map(|key| key.source).collect();
        for source in sources {
            let mine = self.streams.iter().filter(|(key, _)| key.source == source);
            let times = mine.flat_map(|(_, stream)| stream.frames.iter().map(|frame| frame.time));
            let times: Vec<_> = times.collect();
            let ends = times.iter().min().zip(times.iter().max());
            let range = ends.map(|(a, b)| TimeRange::new(Timestamp(*a), Timestamp(*b)));
            self.player.set_extent(source, range);
        }
    }

    /// Every source hands over a little.
    pub(crate) fn hand_over(&mut self) {
        let sources: Vec<_> = self.reads.keys().copied().collect();
        let now_us = self.now_us;
        self.stuck = self.stuck.filter(|(_, until_us)| *until_us > now_us);
        for source in sources {
            if self.stuck.is_some_and(|(stuck, _)| stuck == source) {
                continue;
            }
            // Nobody else stalls meanwhile.
            let least = u64::from(self.stuck.is_some());
            let count = self.random.below(self.pace + 1).max(least);
            for _ in 0..count {
                if !self.hand_over_one(source) {
                    break;
                }
                self.settle();
            }
        }
    }

    fn hand_over_one(&mut self, source: SourceId) -> bool {
        let wants_more = self.player.wants_more(source);
        let Some(read) = self.reads.get_mut(&source) else {
            return false;
        };
        if read.is_over || !wants_more {
            return false;
        }
        let load = read.load;
        if self.may_fail && self.random.below(2000) == 0 {
            read.is_over = true;
            self.fail(source, load);
            return true;
        }
        let Some((arrival, item)) = read.items.pop_front() else {
            read.is_over = true;
            self.player.ended(source, load, None);
            return true;
        };
        self.player.feed(source, load, item);
        if self.random.below(10) == 0 {
            // What arrived by then was fed, also pictures that are shown later.
            let up_to = Timestamp(arrival - 600 * MS);
            self.player.read_up_to(source, load, up_to);
        }
        true
    }

    /// A read fails; nothing more comes before the source is read again.
    fn fail(&mut self, source: SourceId, load: LoadId) {
        self.trace(|| format!("{source} fails"));
        self.broken.insert(source);
        self.were_broken.insert(source);
        self.interrupt(source);
        let error = Error::io("the disk is gone", std::io::Error::other("made up"));
        self.player.ended(source, load, Some(error));
    }

    /// The streams of a source may lose what lies ahead, and join later.
    fn interrupt(&mut self, source: SourceId) {
        self.were_stuck.insert(source);
        for (key, came) in &mut self.mapped {
            came.is_joining |= key.source == source && !self.went_back;
        }
    }

    pub(crate) fn load(
        &mut self,
        source: SourceId,
        load: LoadId,
        streams: &[StreamId],
        what: Load,
    ) {
        let mut items = Vec::new();
        for id in streams {
            let key = StreamKey {
                source,
                stream: *id,
            };
            let stream = &self.streams[&key];
            let (from, to) = match what {
                Load::At(time) => (time.0, i64::MAX),
                Load::Range(range) => (range.start.0, range.end.0),
                Load::Live { .. } | Load::Nothing => continue,
            };
            let last = stream.frames.iter().rposition(|frame| frame.time <= to);
            if let (Some(first), Some(last)) = (stream.start(from), last) {
                items.extend(stream.read(*id, first, last + 1));
            }
        }
        items.sort_by_key(|(arrival, _)| *arrival);
        let read = Read {
            load,
            items: items.into(),
            is_over: what == Load::Nothing,
        };
        self.reads.insert(source, read);
        self.broken.remove(&source);
    }

    /// A source hands over nothing for a while.
    pub(crate) fn get_stuck(&mut self) {
        let source = SourceId(self.below(3) as u32);
        let until_us = self.now_us + self.below(8_000) as i64 * MS;
        self.stuck = Some((source, until_us));
        self.heads.clear();
        self.interrupt(source);
        self.note("disk stuck");
        let (mut count, mut pause) = (40, 300);
        if self.menu >= Menu::Stalls {
            (count, pause) = (80, 150);
            if self.below(2) == 0 {
                // So fast that the clock goes on without it before it comes back.
                self.command(Command::SetSpeed(Speed(4000)));
                self.play();
                self.settle();
            }
        }
        for _ in 0..self.below(count) {
            self.now_us += self.random.below(pause) as i64 * MS;
            self.tick();
        }
    }

    /// Whether the player has all that it wants to have.
    pub(crate) fn is_satisfied(&self) -> bool {
        let mut reads = self.reads.iter();
        reads.all(|(source, read)| read.is_over || !self.player.wants_more(*source))
    }
}
