//! What a player tells by itself: the time, what is cached, what it does.

use std::collections::BTreeMap;

use super::action::{Event, State};
use super::command::SourceId;
use super::{Mode, Player};
use crate::base::time::{TimeRange, Timestamp};

/// The shortest time between two reports of what is cached.
const CACHED_PERIOD_US: i64 = 300_000;

/// What was told last, and when.
#[derive(Debug, Default)]
pub(super) struct Told {
    state: State,
    is_waiting: bool,
    time: Option<Timestamp>,
    time_us: Option<i64>,
    /// Whether a picture was delivered that the time has not been told of.
    pub(super) is_picture: bool,
    /// Whether the cache may have changed.
    pub(super) is_cache_old: bool,
    cached: BTreeMap<SourceId, TimeRange>,
    cached_us: Option<i64>,
}

impl Player {
    /// What the player does, where that changed.
    pub(super) fn report_state(&mut self) -> Option<Event> {
        let state = self.state();
        if state != self.told.state {
            self.told.state = state;
            return Some(Event::State(state));
        }
        None
    }

    /// What else there is to tell when nothing is to be done.
    pub(super) fn report(&mut self) -> Option<Event> {
        let state = self.report_state();
        if state.is_some() {
            return state;
        }
        if self.is_waiting != self.told.is_waiting {
            self.told.is_waiting = self.is_waiting;
            return Some(Event::Waiting(self.is_waiting));
        }
        self.report_time().or_else(|| self.report_cached())
    }

    /// The time, after each picture where the period is 0.
    pub(super) fn report_picture(&mut self) -> Option<Event> {
        let is_picture = std::mem::take(&mut self.told.is_picture);
        (is_picture && self.limits.period_us <= 0).then(|| self.tell_time())
    }

    fn report_time(&mut self) -> Option<Event> {
        let is_new = self.has_position && self.told.time != Some(self.head);
        let is_moving = self.is_playing && self.seek.is_none();
        let is_early = self.time_at().is_some_and(|at| at > self.now_us);
        if !is_new || self.seek.is_some() || is_moving && is_early {
            return None;
        }
        Some(self.tell_time())
    }

    fn tell_time(&mut self) -> Event {
        (self.told.time, self.told.time_us) = (Some(self.head), Some(self.now_us));
        Event::Time(self.head)
    }

    fn time_at(&self) -> Option<i64> {
        let period_us = self.limits.period_us.max(1);
        let told_us = self.told.time_us.filter(|_| self.limits.period_us > 0)?;
        Some(told_us.saturating_add(period_us))
    }

    fn report_cached(&mut self) -> Option<Event> {
        if !self.told.is_cache_old || self.cached_at().is_some_and(|at| at > self.now_us) {
            return None;
        }
        for (id, source) in &self.sources {
            let range = source.cached().filter(|_| self.mode != Mode::Stopped);
            if self.told.cached.get(id) == range.as_ref() {
                continue;
            }
            match range {
                Some(range) => drop(self.told.cached.insert(*id, range)),
                None => drop(self.told.cached.remove(id)),
            }
            let source = *id;
            return Some(Event::Cached { source, range });
        }
        (self.told.is_cache_old, self.told.cached_us) = (false, Some(self.now_us));
        None
    }

    fn cached_at(&self) -> Option<i64> {
        let period_us = self.limits.period_us.max(CACHED_PERIOD_US);
        Some(self.told.cached_us?.saturating_add(period_us))
    }

    /// When the next report is due.
    pub(super) fn wake_report(&self) -> Option<i64> {
        let time = self.time_at().filter(|_| self.seek.is_none());
        let is_new = self.has_position && self.told.time != Some(self.head);
        let time = if is_new {
            time
        } else {
            // A clock that runs has something new to tell a moment later. While live, the head
            // moves with what is fed only.
            let time = time.filter(|_| self.clock.is_running());
            time.map(|at| at.max(self.now_us.saturating_add(1)))
        };
        let cached = self.cached_at().filter(|_| self.told.is_cache_old);
        time.into_iter().chain(cached).min()
    }

    /// What the player does.
    pub fn state(&self) -> State {
        match self.mode {
            Mode::Stopped => State::Stopped,
            Mode::Live => State::Live,
            _ if self.seek.is_some() => State::Seeking,
            _ if self.is_playing => State::Playing,
            _ => State::Standing,
        }
    }
}
