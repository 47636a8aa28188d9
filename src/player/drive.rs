//! What a player does next: joins, the clock, what is due, and what follows when nothing is.

use super::action::{Action, Event};
use super::command::{SourceId, StreamKey};
use super::lane::STEP_US;
use super::source::Source;
use super::stream::Stream;
use super::{Mode, Player};
use crate::base::time::{TimeRange, Timestamp, US_PER_S};
use crate::frame::{Item, StreamId};

/// How long streams that were mapped while playing may read before the clock waits for them.
const GRACE_US: i64 = US_PER_S / 2;

/// A source at the live edge that is this far behind another is in a gap: nobody waits for it.
const EDGE_US: i64 = 2 * US_PER_S;

/// The shortest gap that is skipped.
const SKIP_US: i64 = US_PER_S;

/// Up to where the head may go, and whether that is the newest that there is.
#[derive(Clone, Copy, Debug)]
struct Bound {
    time: Timestamp,
    is_edge: bool,
}

impl Player {
    pub(super) fn forward(&mut self) -> Option<Action> {
        loop {
            self.settle();
            self.run_clock();
            if self.give_up(self.blocking()) {
                continue;
            }
            if let Some(event) = self.pending.pop_front() {
                return Some(Action::Event(event));
            }
            if let Some(action) = self.deliver_due() {
                return Some(action);
            }
            if !self.go_on() {
                return None;
            }
            if self.mode == Mode::Backward {
                return self.backward();
            }
        }
    }

    /// Follows the recording: whatever there is, at once.
    pub(super) fn live(&mut self) -> Option<Action> {
        let nexts = self.sources.iter().filter_map(|(id, source)| {
            let (epoch, release, stream) = source.next()?;
            Some((epoch, release, *id, stream))
        });
        let (_, _, source, stream) = nexts.min()?;
        let item = self.take(source, stream)?;
        if let Item::Frame(frame) = &item {
            let time = frame.time;
            if self.has_position && time.plus_us(STEP_US) < self.head {
                let from = self.head;
                self.pending.push_back(Event::Jumped { from, to: time });
                self.set_head(time);
            } else if !self.has_position || time > self.head {
                self.set_head(time);
            }
            self.has_position = true;
        }
        let key = StreamKey { source, stream };
        let due_us = self.now_us;
        Some(Action::Deliver { key, item, due_us })
    }

    fn take(&mut self, source: SourceId, stream: StreamId) -> Option<Item> {
        let source = self.sources.get_mut(&source)?;
        let item = source.update(stream, Stream::deliver).flatten()?;
        self.told.is_picture = matches!(&item, Item::Frame(frame) if frame.track == 0);
        Some(item)
    }

    fn deliver_due(&mut self) -> Option<Action> {
        let nexts = self.sources.iter().filter_map(|(id, source)| {
            let (release, stream) = source.next_due()?;
            Some((release, *id, stream))
        });
        let (release, source, stream) = nexts.min().filter(|(due, ..)| *due <= self.head)?;
        let is_burst = self.sources.get(&source)?.is_burst(stream, release);
        let item = self.take(source, stream)?;
        let due_us = if is_burst {
            self.now_us
        } else {
            self.clock.due_us(release, self.now_us)
        };
        let key = StreamKey { source, stream };
        Some(Action::Deliver { key, item, due_us })
    }

    /// Lets streams join that can.
    fn settle(&mut self) {
        if let Some(target) = self.seek {
            self.settle_seek(target);
            return;
        }
        let head = self.head;
        let ids: Vec<_> = self.joining_sources().collect();
        for id in ids {
            let Some(source) = self.sources.get_mut(&id) else {
                continue;
            };
            if source.is_full {
                source.aim(head);
            }
            if source.is_complete(head) {
                source.complete_held();
                self.start_all(id, head, true);
            } else if source.is_full {
                self.start_all(id, head, false);
            } else {
                source.review_ready(head);
                for stream in source.ready.clone() {
                    self.start(id, stream, head, true);
                }
            }
        }
    }

    fn joining_sources(&self) -> impl Iterator<Item = SourceId> {
        let joining = self.sources.iter();
        joining
            .filter(|(_, source)| source.is_joining())
            .map(|(id, _)| *id)
    }

    /// A seek is over when every stream has what it needs, or its source stalls.
    fn settle_seek(&mut self, target: Timestamp) {
        let ids: Vec<_> = self.joining_sources().collect();
        if !self.search {
            for id in &ids {
                let source = self.sources.get_mut(id);
                let Some(source) = source else { continue };
                if source.is_complete(target) {
                    source.complete_held();
                } else if source.is_full {
                    source.is_early = true;
                    self.start_all(*id, target, false);
                }
            }
        }
        if self.sources.values().any(|s| s.awaits(target)) {
            return;
        }
        self.seek = None;
        if self.search {
            self.searched();
            return;
        }
        for id in ids {
            let source = self.sources.get(&id);
            if source.is_some_and(|s| s.is_complete(target) || !s.is_stalled) {
                self.start_all(id, target, true);
            }
        }
    }

    fn start_all(&mut self, id: SourceId, target: Timestamp, is_complete: bool) {
        let Some(source) = self.sources.get(&id) else {
            return;
        };
        let ready = source.ready.clone();
        for stream in source.joining.keys().copied().collect::<Vec<_>>() {
            self.start(id, stream, target, is_complete || ready.contains(&stream));
        }
    }

    fn start(&mut self, id: SourceId, stream: StreamId, target: Timestamp, is_complete: bool) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        if let Some(range) = source.start(stream, target, is_complete) {
            let key = StreamKey { source: id, stream };
            self.pending.push_back(Event::LeftOut { key, range });
        }
    }

    /// Lets the clock run as far as the data goes.
    fn run_clock(&mut self) {
        let is_going = self.is_playing && !self.is_reverse;
        let may_run = is_going && self.seek.is_none() && self.steps == 0;
        if may_run {
            let bound = self.bound();
            // It stops at whatever is due, so that what was read by then counts behind it.
            let due = self.sources.values().filter_map(Source::next_due).min();
            let due = due.map_or(Timestamp::MAX, |(due, _)| due);
            let head = self.clock.at(self.now_us).min(due).max(self.head);
            if head >= bound.time {
                let stand = bound.time.max(self.head);
                self.hold(stand);
                self.is_waiting = !bound.is_edge;
                self.awaited = stand.plus_us(1);
            } else {
                self.clock.run(true, self.now_us);
                self.head = head;
                self.is_waiting = false;
                self.wait_us = self.now_us;
            }
        } else {
            self.hold(self.head);
            if self.steps == 0 {
                self.is_waiting = false;
            }
            if self.seek.is_none() && self.steps == 0 {
                self.wait_us = self.now_us;
            }
        }
    }

    /// Lets the head stand.
    pub(super) fn hold(&mut self, at: Timestamp) {
        if self.clock.is_running() {
            self.clock.run(false, self.now_us);
            self.wait_us = self.now_us;
        }
        self.set_head(at);
    }

    /// Up to where the head may go.
    pub(super) fn bound_time(&self) -> Timestamp {
        self.bound().time
    }

    fn bound(&self) -> Bound {
        let mut time = Timestamp::MAX;
        let mut is_edge = false;
        let newest = self.sources.values().filter_map(Source::edge).max();
        for source in self.sources.values().filter(|s| !s.streams.is_empty()) {
            let holds = source.is_joining()
                && !source.is_stalled
                && self.now_us.saturating_sub(source.load_us) >= GRACE_US;
            let limit = source.limit(self.head).map(|limit| limit.max(self.head));
            let limit = if holds { Some(self.head) } else { limit };
            if let Some(limit) = limit.filter(|limit| *limit <= time) {
                (time, is_edge) = (limit, false);
            }
            let edge = source.edge().filter(|_| source.is_at_edge());
            let edge = edge.filter(|edge| {
                *edge >= self.head && edge.plus_us(EDGE_US) >= newest.unwrap_or(*edge)
            });
            if let Some(edge) = edge.filter(|edge| *edge < time) {
                (time, is_edge) = (edge, true);
            }
        }
        if time == Timestamp::MAX {
            (time, is_edge) = (newest.unwrap_or(self.head).max(self.head), true);
        }
        if let Some(range) = self.looped
            && range.end <= time
            && range.end >= self.head
        {
            (time, is_edge) = (range.end, true);
        }
        Bound { time, is_edge }
    }

    /// Gives up on sources that brought nothing for too long while they were waited for.
    pub(super) fn give_up(&mut self, blocking: Vec<SourceId>) -> bool {
        let (now_us, wait_us, stall_us) = (self.now_us, self.wait_us, self.limits.stall_us);
        let mut has_any = false;
        for id in blocking {
            if let Some(source) = self.sources.get_mut(&id)
                && now_us.saturating_sub(source.progress_us.max(wait_us)) >= stall_us
            {
                source.is_stalled = true;
                has_any = true;
            }
        }
        has_any
    }

    /// Sources that the head waits for.
    fn blocking(&self) -> Vec<SourceId> {
        let target = self.seek;
        let blocks = |source: &Source| {
            let is_short = source
                .limit(self.head)
                .is_some_and(|limit| limit < self.awaited);
            let is_held = self.is_waiting && (is_short || source.is_joining());
            let is_sought = target.is_some_and(|target| source.awaits(target));
            let at_step =
                self.is_playing && source.at_step().is_some_and(|at| !source.is_past_step(at));
            !source.is_stalled && !source.is_ended && (is_held || is_sought || at_step)
        };
        let sources = self.sources.iter();
        sources
            .filter(|(_, source)| blocks(source))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Nothing is due at the head. Does what is to be done then; false when that is nothing.
    fn go_on(&mut self) -> bool {
        if self.free_held() {
            return true;
        }
        if self.seek.is_some() || !(self.is_playing || self.steps != 0) {
            return false;
        }
        if self.steps == 0 && self.is_reverse {
            self.begin_backward();
            return true;
        }
        if self.cross_steps() {
            return true;
        }
        if self.steps != 0 {
            return self.step();
        }
        if let Some(range) = self.looped
            && self.head >= range.end
        {
            self.jump_to(range.start);
            return true;
        }
        self.finish() || self.skip_gap()
    }

    /// A source whose share is used up cannot bring what a held picture waits for.
    fn free_held(&mut self) -> bool {
        let mut sources = self.sources.values_mut();
        let stuck = sources.find(|source| source.is_full && source.has_held());
        let Some(source) = stuck else { return false };
        source.complete_held();
        true
    }

    /// Goes on behind a clock step where all before it was delivered.
    fn cross_steps(&mut self) -> bool {
        let head = self.head;
        if let Some(from) = self.stepped_from {
            let is_near = |end: &Timestamp| end.us_since(from).saturating_abs() <= STEP_US;
            let late = self.sources.values_mut().find(|source| {
                let waits = source
                    .next_due()
                    .is_some_and(|(due, _)| due > head.plus_us(STEP_US));
                !source.is_hurried && waits && source.steps.front().is_some_and(is_near)
            });
            if let Some(source) = late {
                source.is_hurried = true;
                return true;
            }
        }
        // With a full share, what lies between the head and the step would block it for ever.
        let stuck = |source: &&mut Source| {
            let waits = source
                .next_due()
                .is_some_and(|(due, _)| due > head.plus_us(STEP_US));
            source.is_full && !source.is_hurried && !source.steps.is_empty() && waits
        };
        if let Some(source) = self.sources.values_mut().find(stuck) {
            source.is_hurried = true;
            return true;
        }
        let mut sources = self.sources.values_mut();
        let found = sources.find_map(|source| {
            let at = source.at_step().filter(|at| source.is_past_step(*at))?;
            Some((source, at))
        });
        let Some((source, at)) = found else {
            return false;
        };
        source.cross_step();
        if at.plus_us(STEP_US) < head {
            self.stepped_from = Some(head);
            self.pending.push_back(Event::Jumped { from: head, to: at });
            self.set_head(at);
        }
        true
    }

    /// Stands, or begins the loop again, when nothing more is recorded.
    fn finish(&mut self) -> bool {
        let mut sources = self.sources.values().filter(|s| !s.streams.is_empty());
        let has_any = self.sources.values().any(|s| !s.streams.is_empty());
        let is_over = sources.all(|s| s.is_ended && s.next().is_none() && !s.is_joining());
        if !has_any || !is_over {
            return false;
        }
        if let Some(range) = self.looped
            && self.head > range.start
        {
            self.jump_to(range.start);
            return true;
        }
        self.is_playing = false;
        self.pending.push_back(Event::End);
        true
    }

    fn skip_gap(&mut self) -> bool {
        if !self.skip_gaps {
            return false;
        }
        let next = self.sources.values().filter_map(Source::next_due).min();
        let Some((next, _)) = next.filter(|(due, _)| *due > self.head.plus_us(SKIP_US)) else {
            return false;
        };
        let leaves = |range: TimeRange| self.head <= range.end && next >= range.end;
        if self.looped.is_some_and(leaves) {
            // Out of a loop time leads, or it would go round without end in no time.
            return false;
        }
        let knows = |source: &Source| {
            source.streams.is_empty() || source.knows(next) && !source.is_joining()
        };
        if !self.sources.values().all(knows) {
            return false;
        }
        let from = self.head;
        self.pending.push_back(Event::Jumped { from, to: next });
        self.set_head(next);
        true
    }

    /// As a seek, and says so.
    pub(super) fn jump_to(&mut self, to: Timestamp) {
        let from = self.head;
        self.pending.push_back(Event::Jumped { from, to });
        self.begin_seek(to);
    }

    pub(super) fn set_head(&mut self, head: Timestamp) {
        self.head = head;
        self.clock.set(head, self.now_us);
    }

    /// When the clock or somebody's patience makes a difference.
    pub(super) fn wake_forward(&self) -> Option<i64> {
        let due = self.sources.values().filter_map(Source::next_due).min();
        let due = due.and_then(|(due, _)| self.clock.when(due));
        let bound = self.clock.when(self.bound().time);
        let bound = bound.filter(|_| self.clock.is_running());
        let patience = self.blocking().into_iter().filter_map(|id| {
            let source = self.sources.get(&id)?;
            let since_us = source.progress_us.max(self.wait_us);
            Some(since_us.saturating_add(self.limits.stall_us))
        });
        let grace = self.sources.values().filter(|s| s.is_joining());
        let grace = grace.map(|s| s.load_us.saturating_add(GRACE_US));
        let grace = grace.filter(|at| *at > self.now_us && self.clock.is_running());
        patience.chain(grace).chain(due).chain(bound).min()
    }
}
