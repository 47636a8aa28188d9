//! One source in the cache: its streams, the read under way, and how far it has come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::action::{Load, LoadId};
use super::lane::STEP_US;
use super::reverse::Back;
use super::stream::{Next, Stream};
use crate::base::time::{TimeRange, Timestamp, US_PER_S};
use crate::frame::{Frame, Item, Recorded, StreamId};

/// By how much the streams of one read may be apart: they are recorded in chunks.
const SKEW_US: i64 = US_PER_S;

#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about a read, each on its own"
)]
pub(super) struct Source {
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) extent: Option<TimeRange>,
    /// The bytes that it may hold.
    pub(super) share_len: u64,

    /// The read under way, and the one that is to replace it.
    pub(super) load: Option<LoadId>,
    pub(super) asked: Option<Load>,
    /// Whether the caller was told to read, and not to end it.
    pub(super) is_reading: bool,
    /// Where the read was to begin.
    from: Timestamp,
    /// When it was asked for, and when it last brought something.
    pub(super) load_us: i64,
    pub(super) progress_us: i64,
    pub(super) has_progress: bool,
    /// The clock goes on without it.
    pub(super) is_stalled: bool,
    read_to: Option<Timestamp>,
    /// How far earlier reads had come, as long as all streams that play were fed by them.
    was_read_to: Option<Timestamp>,
    /// The newest time of a frame that is surely no mistake.
    newest: Option<Timestamp>,
    pub(super) is_caught_up: bool,
    pub(super) is_ended: bool,
    pub(super) failure: Option<String>,

    /// How many clock steps were crossed.
    pub(super) epoch: u64,
    /// The newest time before each clock step that was fed and not crossed yet.
    pub(super) steps: VecDeque<Timestamp>,
    /// Whether all that was recorded before the next clock step is due.
    pub(super) is_hurried: bool,

    /// The next items of the streams that play.
    schedule: BTreeSet<(u64, Timestamp, StreamId)>,
    /// Streams whose next picture may or may not be the one to be seen.
    held: BTreeSet<StreamId>,
    /// Streams that wait until they can join, and whether they go on from where they were.
    pub(super) joining: BTreeMap<StreamId, bool>,
    /// Whether some began before they had what they need, because the share was used up.
    pub(super) is_early: bool,
    /// Those of them that have what they need.
    pub(super) ready: BTreeSet<StreamId>,

    /// Bytes of all streams, and of what is still to be delivered.
    pub(super) len: u64,
    ahead_len: u64,
    /// Whether its share is used up by what is still to be delivered.
    pub(super) is_full: bool,
    pub(super) back: Back,
}

/// Reads.
impl Source {
    /// Forgets everything that is cached, and reads anew.
    pub(super) fn begin(&mut self, what: Load) {
        let streams = std::mem::take(&mut self.streams).into_keys();
        *self = Self {
            streams: streams.map(|id| (id, Stream::default())).collect(),
            extent: self.extent,
            share_len: self.share_len,
            is_reading: self.is_reading,
            asked: Some(what),
            from: match what {
                Load::At(time) => time,
                Load::Range(range) => range.start,
                Load::Live { .. } | Load::Nothing => Timestamp::MAX,
            },
            ..Self::default()
        };
    }

    /// Reads on with all streams, from `head` or the live edge; what is cached stays.
    pub(super) fn extend(&mut self, what: Load, head: Timestamp) {
        if self.is_caught_up || self.is_ended {
            self.was_read_to = self.was_read_to.max(self.edge());
        }
        if self.is_ended {
            self.rejoin();
        }
        self.was_read_to = self.horizon();
        if matches!(what, Load::At(_)) {
            self.make_way(head);
        }
        (self.read_to, self.newest) = (None, None);
        (self.is_caught_up, self.is_ended) = (false, false);
        (self.load, self.asked) = (None, Some(what));
        self.from = self.from.max(head);
        if self.from == Timestamp::MAX {
            self.from = head;
        }
        self.streams
            .values_mut()
            .for_each(Stream::expect_repetition);
    }

    /// Forgets the far half of what lies ahead until half of the share is free. The next read
    /// brings it again, behind what it is for.
    fn make_way(&mut self, head: Timestamp) {
        let edge = self.edge().filter(|_| self.steps.is_empty());
        let mut ahead_us = edge.map_or(0, |edge| edge.us_since(head));
        while self.ahead_len > self.share_len / 2 && ahead_us > 0 {
            ahead_us /= 2;
            let cut = head.plus_us(ahead_us);
            let streams = self.streams.values_mut();
            streams.for_each(|stream| stream.forget_behind(cut));
            self.was_read_to = self.was_read_to.min(Some(cut));
            self.reschedule_all();
        }
    }

    /// All streams wait until they can begin anew at `target`.
    pub(super) fn join_all(&mut self, target: Timestamp) {
        for stream in self.streams.values_mut() {
            stream.wait_at(target, self.epoch);
        }
        let streams = self.streams.keys();
        self.joining = streams.map(|id| (*id, false)).collect();
        self.is_early = false;
        self.ready.clear();
        self.held.clear();
        self.schedule.clear();
        self.sum();
        for id in self.joining.keys().copied().collect::<Vec<_>>() {
            self.note_ready(id, target);
        }
    }

    /// Whether a seek to `target` finds here what it needs.
    pub(super) fn covers(&self, target: Timestamp) -> bool {
        if self.load.is_none() || self.epoch > 0 || !self.steps.is_empty() {
            return false;
        }
        self.covered_from() <= target && self.is_read_to(target)
    }

    /// From where on seeks find what they need.
    pub(super) fn covered_from(&self) -> Timestamp {
        let streams = self.streams.values();
        let each = streams.map(|stream| stream.covered_from(self.from));
        each.max().unwrap_or(self.from)
    }

    fn is_read_to(&self, target: Timestamp) -> bool {
        let is_at_edge = self.is_caught_up || self.is_ended && self.edge() >= Some(target);
        is_at_edge || self.load_horizon() >= Some(target)
    }

    pub(super) fn is_current(&self, load: LoadId) -> bool {
        self.load == Some(load) && self.asked.is_none()
    }

    pub(super) fn read_up_to(&mut self, time: Timestamp) {
        self.note_progress();
        self.read_to = self.read_to.max(Some(time));
    }

    /// The read is over. One that failed does not tell what there is: a seek reads anew.
    pub(super) fn end(&mut self, has_failed: bool) {
        self.note_progress();
        self.is_ended = true;
        if has_failed {
            self.load = None;
        } else {
            self.streams.values_mut().for_each(Stream::release_gaps);
        }
        self.reschedule_all();
    }

    pub(super) fn caught_up(&mut self) {
        if self.is_caught_up {
            return;
        }
        self.note_progress();
        self.is_caught_up = true;
        self.streams.values_mut().for_each(Stream::release_gaps);
        self.reschedule_all();
    }
}

/// How far it is.
impl Source {
    /// Up to where all streams are fed, as far as the read tells.
    fn horizon(&self) -> Option<Timestamp> {
        self.load_horizon().max(self.was_read_to)
    }

    /// Up to where the read under way has come.
    fn load_horizon(&self) -> Option<Timestamp> {
        let newest = self.newest.map(|newest| newest.plus_us(-SKEW_US));
        newest.max(self.read_to)
    }

    /// The newest time that is known of.
    pub(super) fn edge(&self) -> Option<Timestamp> {
        let last = self.schedule.last().map(|(_, release, _)| *release);
        last.max(self.newest)
            .max(self.read_to)
            .max(self.was_read_to)
    }

    /// Up to where the head may go for this source; none where it does not matter.
    pub(super) fn limit(&self, head: Timestamp) -> Option<Timestamp> {
        if self.is_ended || self.is_stalled || !self.steps.is_empty() || self.is_caught_up {
            return None;
        }
        if self.is_full && self.next_due().is_some() && !self.is_behind(head) {
            // Nothing is read before that is delivered, and the head stops there anyway.
            return None;
        }
        Some(self.horizon().unwrap_or(Timestamp::MIN))
    }

    /// Whether the read under way has not come to the head, because earlier ones brought what
    /// lies ahead: what it brings now is due at once and needs no room.
    fn is_behind(&self, head: Timestamp) -> bool {
        let mut streams = self.streams.values();
        let is_early = self.newest.max(self.read_to) < Some(head);
        is_early && !self.is_joining() && streams.any(Stream::is_repeated)
    }

    /// Whether everything at or before `time` was fed, or nothing is to be waited for.
    pub(super) fn knows(&self, time: Timestamp) -> bool {
        let is_read = self.limit(time).is_none_or(|limit| limit >= time);
        self.is_caught_up || self.is_full || is_read
    }

    /// Whether streams that join at `target` need not wait for more.
    pub(super) fn is_complete(&self, target: Timestamp) -> bool {
        self.is_ended
            || self.is_caught_up
            || !self.steps.is_empty()
            || self.load_horizon() >= Some(target)
    }

    /// Whether streams wait for what they need to begin.
    pub(super) fn is_joining(&self) -> bool {
        !self.joining.is_empty() || !self.held.is_empty()
    }

    /// Whether some of them lack it.
    fn is_short(&self) -> bool {
        self.joining.len() > self.ready.len() || self.has_held()
    }

    /// Streams that were ready for an earlier head may not be so for `head`.
    pub(super) fn review_ready(&mut self, head: Timestamp) {
        let (streams, epoch) = (&self.streams, self.epoch);
        let known = |id: &StreamId| streams.get(id).and_then(|stream| stream.known(epoch));
        self.ready
            .retain(|id| known(id).is_some_and(|known| known > head));
        self.weigh();
    }

    /// Whether a seek to `target` has to wait for it.
    pub(super) fn awaits(&self, target: Timestamp) -> bool {
        let is_stuck = || self.is_full && self.next_due().is_some_and(|(due, _)| due > target);
        let is_short = self.is_short() || self.is_early && !is_stuck();
        is_short && !self.is_stalled && !self.is_complete(target)
    }

    /// Whether it brings what is being recorded now.
    pub(super) fn is_at_edge(&self) -> bool {
        self.is_caught_up && !self.is_ended && !self.is_stalled && self.steps.is_empty()
    }

    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether more is to be read, so that what lies within `ahead_us` of the head is there; with
    /// `skips`, of the next item.
    pub(super) fn wants_more(&self, head: Timestamp, ahead_us: i64, skips: bool) -> bool {
        if self.is_full {
            return self.is_behind(head);
        }
        let Some((_, release, _)) = self.next() else {
            return true;
        };
        let mut from = if skips { head.max(release) } else { head };
        if !self.steps.is_empty() {
            from = self.start_of(self.fed_epoch()).unwrap_or(Timestamp::MAX);
        }
        let to = from.plus_us(ahead_us);
        // What earlier reads have brought lacks the streams that were mapped since.
        let horizon = self.load_horizon();
        self.is_short() || horizon.is_none_or(|horizon| horizon <= to)
    }

    /// The first release of an epoch.
    fn start_of(&self, epoch: u64) -> Option<Timestamp> {
        let mut from = self.schedule.range((epoch, Timestamp::MIN, StreamId(0))..);
        from.next().map(|(_, release, _)| *release)
    }

    /// Whether all before the next clock step was delivered; then when it goes on behind it.
    pub(super) fn at_step(&self) -> Option<Timestamp> {
        let (epoch, release, _) = self.next()?;
        let is_there = epoch > self.epoch && self.joining.is_empty();
        is_there.then_some(release)
    }

    /// Whether all that was recorded around a clock step was fed, as far as can be told.
    pub(super) fn is_past_step(&self, release: Timestamp) -> bool {
        let is_read = self.newest >= Some(release.plus_us(SKEW_US)) || self.read_to.is_some();
        is_read || self.is_full || self.is_stalled || self.is_ended || self.is_caught_up
    }

    /// What is due next: its epoch, time and stream.
    pub(super) fn next(&self) -> Option<(u64, Timestamp, StreamId)> {
        self.schedule.first().copied()
    }

    /// What is due next of what may be delivered before the next clock step.
    pub(super) fn next_due(&self) -> Option<(Timestamp, StreamId)> {
        let (epoch, release, stream) = self.next()?;
        let release = if self.is_hurried || epoch < self.epoch {
            Timestamp::MIN
        } else {
            release
        };
        (epoch <= self.epoch).then_some((release, stream))
    }

    /// Bytes of everything that is cached.
    pub(super) fn cached_len(&self) -> u64 {
        self.len + self.back.cached_len()
    }

    /// Whether what is due at `release` belongs to the way to where the stream was sent.
    pub(super) fn is_burst(&self, id: StreamId, release: Timestamp) -> bool {
        let target = self.streams.get(&id).and_then(Stream::target);
        target.is_some_and(|(epoch, target)| epoch == self.epoch && release <= target)
    }

    /// From the oldest frame that is cached to the newest that is known.
    pub(super) fn cached(&self) -> Option<TimeRange> {
        let oldest = self.streams.values().filter_map(Stream::oldest).min()?;
        Some(TimeRange::new(oldest, self.newest.max(Some(oldest))?))
    }
}

/// Feeding.
impl Source {
    /// Takes an item; streams that wait are ready once they are fed behind `head`.
    pub(super) fn feed(&mut self, recorded: Recorded, head: Timestamp) {
        self.note_progress();
        let id = recorded.stream;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        match recorded.item {
            Item::Setup(setup) => stream.set_up(setup),
            Item::Gap(gap) => {
                self.update(id, |stream| stream.gap(gap));
            }
            Item::Frame(frame) | Item::Preroll(frame) => {
                let place = (recorded.sequence, recorded.ordinal);
                if self.update(id, |stream| stream.is_new(place)) == Some(true) {
                    self.push(id, place, frame);
                    self.note_ready(id, head);
                }
            }
        }
    }

    fn push(&mut self, id: StreamId, place: (u64, u64), frame: Frame) {
        self.enter_epoch(id, &frame);
        let fed = self.update(id, |stream| (stream.push(place, frame), stream.epoch));
        if let Some((Some(settled), epoch)) = fed
            && epoch == self.fed_epoch()
        {
            self.newest = self.newest.max(Some(settled));
        }
    }

    /// The epoch of what is fed now.
    fn fed_epoch(&self) -> u64 {
        self.epoch + self.steps.len() as u64
    }

    /// Finds out whether a clock was set back before `frame`.
    fn enter_epoch(&mut self, id: StreamId, frame: &Frame) {
        let fed_epoch = self.fed_epoch();
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let is_step = stream.is_step(frame);
        if stream.epoch < fed_epoch {
            // The source has stepped. What was recorded just before may come after it.
            let before = self.steps.back().copied().unwrap_or(Timestamp::MIN);
            let newest = self.newest.unwrap_or(frame.time);
            let is_straggler = !is_step
                && frame.time.plus_us(STEP_US) >= before
                && frame.time > newest.plus_us(STEP_US);
            if !is_straggler {
                stream.enter_epoch(fed_epoch);
            }
        } else if is_step {
            stream.enter_epoch(fed_epoch + 1);
            let before = self.newest.unwrap_or(frame.time);
            self.steps.push_back(before);
            self.newest = None;
            (self.read_to, self.was_read_to) = (None, None);
        }
    }

    /// Streams that ran dry while the clock went on without the source begin anew.
    fn rejoin(&mut self) {
        let dry = self.streams.iter_mut();
        let dry = dry.filter(|(_, stream)| stream.is_playing() && !stream.has_next());
        for (id, stream) in dry {
            stream.wait();
            self.joining.insert(*id, true);
        }
    }

    /// The read brought something.
    fn note_progress(&mut self) {
        self.has_progress = true;
        if std::mem::take(&mut self.is_stalled) {
            self.rejoin();
        }
    }

    fn note_ready(&mut self, id: StreamId, head: Timestamp) {
        let epoch = self.epoch;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let is_joining = self.joining.contains_key(&id);
        if !is_joining && !self.held.contains(&id) {
            return;
        }
        let target = stream.target().filter(|_| !is_joining);
        let target = target.map_or(head, |(_, target)| target);
        if stream.known(epoch).is_none_or(|known| known <= target) {
            return;
        }
        if is_joining {
            self.ready.insert(id);
            self.weigh();
        } else {
            self.update(id, Stream::complete);
        }
    }

    /// Changes a stream and keeps the books.
    pub(super) fn update<R>(
        &mut self,
        id: StreamId,
        change: impl FnOnce(&mut Stream) -> R,
    ) -> Option<R> {
        let stream = self.streams.get_mut(&id)?;
        let (next, len, ahead_len) = (stream.next(), stream.len(), stream.ahead_len());
        let result = change(stream);
        self.len = self.len - len + stream.len();
        self.ahead_len = self.ahead_len - ahead_len + stream.ahead_len();
        let now = stream.next();
        if next != now {
            if let Next::Due(epoch, release) = next {
                self.schedule.remove(&(epoch, release, id));
            }
            self.held.remove(&id);
            match now {
                Next::Due(epoch, release) => drop(self.schedule.insert((epoch, release, id))),
                Next::Held => drop(self.held.insert(id)),
                Next::Nothing => {}
            }
        }
        self.weigh();
        Some(result)
    }

    /// Whether the share is used up; with some slack, so that it does not flap. A quarter is for
    /// what was delivered last.
    fn weigh(&mut self) {
        let full_len = self.share_len - self.share_len / 4;
        if self.ahead_len >= full_len.max(1) {
            self.is_full = true;
        } else if self.ahead_len <= self.share_len / 2 {
            self.is_full = false;
        }
    }

    pub(super) fn sum(&mut self) {
        self.len = self.streams.values().map(Stream::len).sum();
        self.ahead_len = self.streams.values().map(Stream::ahead_len).sum();
        self.weigh();
    }

    /// What was recorded before the clock steps was delivered already.
    pub(super) fn cross_all(&mut self) {
        while !self.steps.is_empty() {
            self.cross_step();
        }
        self.is_hurried = false;
    }

    fn reschedule_all(&mut self) {
        self.schedule.clear();
        self.held.clear();
        for (id, stream) in &self.streams {
            match stream.next() {
                Next::Due(epoch, release) => drop(self.schedule.insert((epoch, release, *id))),
                Next::Held => drop(self.held.insert(*id)),
                Next::Nothing => {}
            }
        }
        self.sum();
    }

    pub(super) fn set_share(&mut self, share_len: u64) {
        self.share_len = share_len;
        self.weigh();
    }

    /// A stream is mapped; it waits until it can join.
    pub(super) fn add(&mut self, id: StreamId) {
        let mut stream = Stream::default();
        stream.epoch = self.epoch;
        self.streams.insert(id, stream);
        self.joining.insert(id, false);
        self.weigh();
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        self.update(id, |stream| *stream = Stream::default());
        self.streams.remove(&id);
        self.joining.remove(&id);
        self.ready.remove(&id);
        self.back.forget(id);
    }
}

/// Beginning, clock steps.
impl Source {
    /// A stream begins at `target`. Returns what it left out.
    pub(super) fn start(
        &mut self,
        id: StreamId,
        target: Timestamp,
        is_complete: bool,
    ) -> Option<TimeRange> {
        let goes_on = self.joining.remove(&id)?;
        self.ready.remove(&id);
        if !goes_on {
            // It may have been mapped since.
            self.was_read_to = None;
        }
        let epoch = self.epoch;
        self.update(id, |stream| {
            stream.start(target, epoch, is_complete, goes_on)
        })
        .flatten()
    }

    /// Streams that follow the recording begin with the first key frame that is fed.
    pub(super) fn start_live(&mut self) {
        for id in self.joining.keys().copied().collect::<Vec<_>>() {
            self.start(id, Timestamp::MIN, true);
        }
    }

    /// Nothing more is to be waited for.
    pub(super) fn complete_held(&mut self) {
        for id in std::mem::take(&mut self.held) {
            self.update(id, Stream::complete);
        }
    }

    /// Goes on behind the next clock step.
    pub(super) fn cross_step(&mut self) {
        self.steps.pop_front();
        self.epoch += 1;
        self.is_hurried = false;
        self.streams.values_mut().for_each(Stream::forget_delivered);
    }
}
