//! The user: what is asked of the player, and what that is to bring about.

use std::collections::BTreeSet;

use camring::base::time::{TimeRange, Timestamp};
use camring::player::{Command, Speed, State, StreamKey};

use crate::model::Came;
use crate::recording::{MS, Stream};
use crate::scenario::{Menu, Scenario};

impl Scenario {
    /// The user does something.
    pub(crate) fn act(&mut self) {
        match self.menu {
            Menu::Small => self.act_simply(),
            _ => self.act_freely(),
        }
        self.settle();
    }

    fn act_simply(&mut self) {
        match self.below(12) {
            0..=3 => self.seek_anywhere(),
            4 | 5 => self.play(),
            6 => self.command(Command::Pause),
            7 => self.set_speed(),
            8 => self.skip_gaps(),
            9 => self.map_or_unmap(),
            // Standing still, nothing is shown anew.
            10 if self.player.state() == State::Playing => self.turn_round(),
            _ if self.is_settled() && !self.is_backward => {
                let count = 1 + self.below(3) as i32;
                self.command(Command::Step(count));
            }
            _ => {}
        }
    }

    fn act_freely(&mut self) {
        match self.below(17) {
            0..=2 => self.seek_anywhere(),
            3..=5 => self.play(),
            6 => self.pause(),
            7 => self.set_speed(),
            8 => self.skip_gaps(),
            9 | 10 => self.map_or_unmap(),
            11 | 12 => self.turn_round(),
            13 => self.set_loop(),
            14 if self.stepping.is_none() => self.get_stuck(),
            _ if self.is_settled() && self.stepping.is_none() && self.stuck.is_none() => {
                self.step();
            }
            _ => {}
        }
    }

    fn is_settled(&self) -> bool {
        matches!(self.player.state(), State::Playing | State::Standing)
    }

    fn seek_anywhere(&mut self) {
        let target = self.random_time();
        self.seek(target);
    }

    pub(crate) fn seek(&mut self, target: i64) {
        self.sent_to(target, true);
        (self.is_backward, self.went_back) = (self.wants_reverse, false);
        self.note("seek");
        self.command(Command::Seek(Timestamp(target)));
    }

    pub(crate) fn play(&mut self) {
        // A search for a picture that is given up goes back to where it began.
        let is_searching = self.stepping.take().is_some() && !self.is_settled();
        if is_searching {
            let head = self.head().unwrap_or_default();
            self.sent_to(head, true);
            self.is_backward = self.wants_reverse;
        } else if self.wants_reverse && !self.went_back && self.player.state() == State::Standing {
            self.note("backward from standing");
            self.settle();
            let head = self.head().unwrap_or_default();
            self.sent_to(head, false);
            self.is_backward = true;
        } else if !self.is_settled() {
            self.is_backward = self.wants_reverse;
        }
        self.command(Command::Play);
    }

    fn pause(&mut self) {
        if self.stepping.take().is_some() && !self.is_settled() {
            let head = self.head().unwrap_or_default();
            self.sent_to(head, true);
        }
        self.command(Command::Pause);
    }

    fn set_speed(&mut self) {
        let speed = [125, 500, 1000, 2000, 8000, 64_000][self.below(6) as usize];
        self.command(Command::SetSpeed(Speed(speed)));
    }

    fn skip_gaps(&mut self) {
        self.skips = self.below(2) == 0;
        self.command(Command::SkipGaps(self.skips));
    }

    fn set_loop(&mut self) {
        let start = self.random_time();
        let end = start + (200 + self.below(5000) as i64) * MS;
        self.looped = (self.below(3) > 0).then_some((start, end));
        let range = TimeRange::new(Timestamp(start), Timestamp(end));
        self.command(Command::Loop(self.looped.map(|_| range)));
    }

    fn map_or_unmap(&mut self) {
        let keys: Vec<_> = self.streams.keys().copied().collect();
        let key = keys[self.below(keys.len() as u64) as usize];
        if self.menu >= Menu::Full && self.stepping.is_some() {
            return;
        }
        let is_standing = !self.is_backward && self.player.state() == State::Standing;
        if self.mapped.remove(&key).is_some() {
            self.trace(|| format!("unmap {key:?}"));
            self.player.unmap(key);
        } else if self.menu >= Menu::Full || is_standing {
            self.map(key);
        }
    }

    fn map(&mut self, key: StreamKey) {
        let state = self.player.state();
        self.note(match state {
            State::Standing => "map while standing",
            State::Playing if self.went_back => "map while playing backward",
            State::Playing => "map while playing",
            _ => "map",
        });
        let target = self.head().unwrap_or_default();
        let mut came = Came::at(target, !self.went_back);
        came.is_joining = !self.went_back;
        self.mapped.insert(key, came);
        self.trace(|| format!("map {key:?}"));
        self.player.map(key);
        // Standing, it joins where the head is once it was read.
        for _ in 0..1000 {
            if state != State::Standing {
                break;
            }
            self.tick();
            if self.is_satisfied() {
                break;
            }
        }
    }

    fn turn_round(&mut self) {
        if self.stepping.is_some() {
            return;
        }
        self.wants_reverse = !self.wants_reverse;
        let head = self.head().unwrap_or_default();
        match self.player.state() {
            State::Playing => {
                self.sent_to(head, !self.wants_reverse);
                self.is_backward = self.wants_reverse;
                self.note("turn while playing");
            }
            State::Standing if self.went_back => {
                self.sent_to(head, true);
                self.is_backward = false;
                self.note("turn while standing");
            }
            State::Standing => self.is_backward &= self.wants_reverse,
            _ => self.is_backward = self.wants_reverse,
        }
        self.went_back &= self.wants_reverse;
        self.command(Command::SetReverse(self.wants_reverse));
    }

    /// The times to which steps go.
    fn step_times(&self) -> BTreeSet<i64> {
        let mapped = || self.mapped.keys().map(|key| &self.streams[key]);
        let has_pictures = mapped().any(Stream::has_pictures);
        let of_them = mapped().filter(|stream| stream.has_pictures() == has_pictures);
        of_them.flat_map(Stream::times).collect()
    }

    fn step(&mut self) {
        let head = self.head().unwrap_or_default();
        let count = 1 + self.below(3);
        let is_back = self.below(2) == 0;
        let is_mixed = count > 1 || self.went_back;
        if self.went_back {
            self.sent_to(head, true);
        }
        (self.is_backward, self.went_back) = (false, false);
        let times = self.step_times();
        let steps: Vec<_> = if is_back {
            let before = times.range(..head).rev();
            before.take(count as usize).copied().collect()
        } else {
            let after = times.range(head + 1..);
            after.take(count as usize).copied().collect()
        };
        let is_short = steps.len() < count as usize;
        let to = steps.last().copied();
        if is_back {
            self.sent_to(to.unwrap_or(head), true);
            let came = self.mapped.values_mut();
            came.for_each(|came| came.is_mixed = is_mixed);
        }
        self.note(if is_back { "step back" } else { "step" });
        self.has_ended = false;
        self.stepping = Some((to.filter(|_| is_back || !is_short), is_short));
        let count = if is_back {
            -(count as i32)
        } else {
            count as i32
        };
        self.command(Command::Step(count));
    }
}
