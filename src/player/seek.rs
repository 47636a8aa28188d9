//! Going somewhere: commands, seeks, steps, and streams that come and go.

use super::action::{Event, Load};
use super::command::{Command, StreamKey};
use super::lane::Kind;
use super::source::Source;
use super::stream::Stream;
use super::{Mode, Player};
use crate::base::time::Timestamp;

impl Player {
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Seek(time) => self.begin_seek(time),
            Command::Play => self.play(),
            Command::Pause => self.pause(),
            Command::Stop => self.stop(),
            Command::Step(count) => self.begin_step(count),
            Command::SetSpeed(speed) => self.clock.set_speed(speed, self.now_us),
            Command::SetReverse(is_reverse) => self.turn(is_reverse),
            Command::SkipGaps(skip_gaps) => self.skip_gaps = skip_gaps,
            Command::Loop(range) => self.looped = range,
            Command::Live { uncommitted } => self.begin_live(uncommitted),
        }
    }

    /// Sources that have streams.
    pub(super) fn active(&mut self) -> impl Iterator<Item = &mut Source> {
        let sources = self.sources.values_mut();
        sources.filter(|source| !source.streams.is_empty())
    }

    /// Goes to `target`, and then on as before.
    pub(super) fn begin_seek(&mut self, target: Timestamp) {
        let has_cache = self.mode == Mode::Forward;
        self.has_position = true;
        self.steps = 0;
        self.search = false;
        self.stepped_from = None;
        self.stand(target);
        self.mode = Mode::Forward;
        self.clock.set_reverse(false, self.now_us);
        self.seek = Some(target);
        for source in self.active() {
            if !(has_cache && source.covers(target)) {
                source.begin(Load::At(target));
            }
            source.is_hurried = false;
            source.is_stalled = false;
            source.join_all(target);
        }
    }

    /// The head stands at `target`, and nothing is waited for.
    pub(super) fn stand(&mut self, target: Timestamp) {
        self.clock.run(false, self.now_us);
        self.set_head(target);
        self.seek = None;
        self.is_waiting = false;
        self.wait_us = self.now_us;
    }

    fn play(&mut self) {
        if self.mode == Mode::Live {
            return;
        }
        self.is_playing = true;
        self.steps = 0;
        if self.search {
            self.begin_seek(self.head);
            return;
        }
        let head = self.head;
        if self.mode == Mode::Forward {
            for source in self.active().filter(|source| source.is_ended) {
                source.extend(Load::At(head), head);
            }
        }
        if self.mode == Mode::Backward {
            self.active().for_each(|source| source.back.try_again());
        }
    }

    /// Without a position, playing begins as soon as it is known where.
    pub(super) fn begin_somewhere(&mut self) {
        let is_reverse = self.is_reverse;
        let extents = self.active().filter_map(|source| source.extent);
        let start = if is_reverse {
            extents.map(|extent| extent.end).max()
        } else {
            extents.map(|extent| extent.start).min()
        };
        if let Some(start) = start {
            self.begin_seek(start);
        }
    }

    fn pause(&mut self) {
        self.leave_live();
        self.is_playing = false;
        self.steps = 0;
        if self.search {
            self.begin_seek(self.head);
        }
    }

    fn stop(&mut self) {
        self.stand(Timestamp::default());
        (self.is_playing, self.has_position, self.search) = (false, false, false);
        self.steps = 0;
        self.mode = Mode::Stopped;
        for source in self.sources.values_mut() {
            source.begin(Load::Nothing);
        }
    }

    fn turn(&mut self, is_reverse: bool) {
        if self.mode == Mode::Live {
            self.is_reverse = is_reverse;
            self.leave_live();
            return;
        }
        if self.is_reverse == is_reverse {
            return;
        }
        self.is_reverse = is_reverse;
        if self.mode == Mode::Backward {
            self.begin_seek(self.head);
        }
    }

    fn begin_live(&mut self, uncommitted: bool) {
        self.stand(self.head);
        self.clock.set_reverse(false, self.now_us);
        self.mode = Mode::Live;
        self.live_uncommitted = uncommitted;
        (self.is_playing, self.has_position, self.search) = (true, false, false);
        self.steps = 0;
        for source in self.active() {
            source.begin(Load::Live { uncommitted });
            source.join_all(Timestamp::MIN);
            source.start_live();
        }
    }

    /// Goes on from where live was: what is recorded from there on is read.
    fn leave_live(&mut self) {
        if self.mode != Mode::Live {
            return;
        }
        if !self.has_position {
            self.stop();
            return;
        }
        self.mode = Mode::Forward;
        self.stand(self.head);
        let head = self.head;
        for source in self.active() {
            source.cross_all();
            source.extend(Load::At(head), head);
        }
    }
}

/// Streams that come and go.
impl Player {
    pub(super) fn add(&mut self, key: StreamKey) {
        let source = self.sources.entry(key.source).or_default();
        if source.streams.contains_key(&key.stream) {
            return;
        }
        let is_first = source.streams.is_empty();
        source.add(key.stream);
        let head = self.head;
        match self.mode {
            Mode::Stopped => {}
            Mode::Forward if self.search => {
                // It reads from before the head, and nothing was delivered yet.
                source.begin(Load::At(head.plus_us(-1)));
                source.join_all(head);
            }
            Mode::Forward if is_first => {
                source.begin(Load::At(head));
                source.join_all(head);
            }
            Mode::Forward => source.extend(Load::At(head), head),
            Mode::Backward => source.begin_back(head),
            Mode::Live => {
                let uncommitted = self.live_uncommitted;
                source.extend(Load::Live { uncommitted }, head);
                source.start_live();
            }
        }
        self.share();
    }

    pub(super) fn remove(&mut self, key: StreamKey) {
        let Some(source) = self.sources.get_mut(&key.source) else {
            return;
        };
        if !source.streams.contains_key(&key.stream) {
            return;
        }
        source.remove(key.stream);
        if source.streams.is_empty() {
            source.begin(Load::Nothing);
        }
        self.share();
    }

    /// Divides the cache.
    fn share(&mut self) {
        let count = self.active().count().max(1) as u64;
        let share_len = self.limits.cache_len / count;
        let (head, search) = (self.head, self.search);
        for source in self.sources.values_mut() {
            source.set_share(share_len);
            source.make_room(head, search);
        }
    }
}

/// Steps.
impl Player {
    fn begin_step(&mut self, count: i32) {
        self.leave_live();
        if !self.has_position {
            return;
        }
        self.is_playing = false;
        self.steps = if count == 0 {
            0
        } else {
            self.steps.saturating_add(count)
        };
        let steps = self.steps;
        if self.mode == Mode::Backward {
            self.begin_seek(self.head);
            self.steps = steps;
        }
        self.wait_us = self.now_us;
    }

    /// The next step, now that nothing is due; false when it has to wait for data.
    pub(super) fn step(&mut self) -> bool {
        let is_done = if self.steps > 0 {
            self.step_forward()
        } else {
            self.step_back()
        };
        self.is_waiting = !is_done;
        is_done
    }

    /// What a step goes to: pictures, or sound where there are none.
    fn step_kind(&self) -> Kind {
        let mut streams = self.sources.values().flat_map(|s| s.streams.values());
        if streams.any(Stream::has_picture_lane) {
            Kind::Pictures
        } else {
            Kind::Sound
        }
    }

    fn step_forward(&mut self) -> bool {
        let kind = self.step_kind();
        let head = self.head;
        let times = self.sources.values().flat_map(|source| {
            let playing = source.streams.values().filter(|stream| stream.is_playing());
            playing.filter_map(|stream| stream.time_after(head, source.epoch, kind))
        });
        let next = times.min();
        self.awaited = next.unwrap_or(Timestamp::MAX);
        if !self
            .sources
            .values()
            .all(|s| s.knows(self.awaited) || s.streams.is_empty())
        {
            return false;
        }
        if let Some(next) = next {
            self.steps -= 1;
            self.set_head(next);
            return true;
        }
        // No picture is left here: what else there is leads on, to a clock step or the end.
        let due = self.sources.values().filter_map(Source::next_due).min();
        if let Some((due, _)) = due {
            self.set_head(due.max(head));
            return true;
        }
        if self
            .sources
            .values()
            .any(|source| source.at_step().is_some())
        {
            return false;
        }
        self.end_steps();
        true
    }

    fn end_steps(&mut self) {
        self.steps = 0;
        self.pending.push_back(Event::End);
    }

    fn step_back(&mut self) -> bool {
        let head = self.head;
        let is_cached = |source: &Source| {
            source.epoch == 0 && source.steps.is_empty() && source.is_complete(head)
        };
        let sources = || self.sources.values().filter(|s| !s.streams.is_empty());
        let from = sources().map(Source::covered_from).max();
        let before = self.picture_before();
        if sources().all(is_cached) && before.is_some() && before >= from {
            self.step_to(before);
            return true;
        }
        if self.head == Timestamp::MIN || from.is_none() {
            self.end_steps();
            return true;
        }
        self.stand(head);
        (self.search, self.seek) = (true, Some(head));
        for source in self.active() {
            source.begin(Load::At(head.plus_us(-1)));
            source.join_all(head);
        }
        true
    }

    fn picture_before(&self) -> Option<Timestamp> {
        let kind = self.step_kind();
        let times = self.sources.values().flat_map(|source| {
            let streams = source.streams.values();
            streams.filter_map(|stream| stream.time_before(self.head, source.epoch, kind))
        });
        times.max()
    }

    fn step_to(&mut self, before: Option<Timestamp>) {
        let steps = self.steps + 1;
        self.begin_seek(before.unwrap_or(self.head));
        self.steps = steps;
    }

    /// What lies before the head was read: goes to the last picture there.
    pub(super) fn searched(&mut self) {
        let before = self.picture_before();
        if before.is_some() {
            self.step_to(before);
        } else {
            self.begin_seek(self.head);
            self.end_steps();
        }
    }
}
