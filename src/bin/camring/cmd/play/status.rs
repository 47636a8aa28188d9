//! The status line: where playing is, how fast, what is cached, and which stream has a gap.

use std::collections::BTreeMap;
use std::fmt;

use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Gap, StreamId};
use camring::manager::{Event, SourceId, Speed, State};

use crate::time;

/// What is known of the playing.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) time: Option<Timestamp>,
    pub(super) speed: Speed,
    pub(super) is_reverse: bool,
    /// Whether time is to pass.
    pub(super) is_playing: bool,
    pub(super) state: State,
    /// What else there is to say; until the next key.
    pub(super) note: Option<&'static str>,
    is_waiting: bool,
    cached: BTreeMap<SourceId, TimeRange>,
    /// The newest gap of each slot.
    gaps: BTreeMap<StreamId, Gap>,
}

impl Status {
    /// Playing is to begin, at `speed`.
    pub(super) fn new(speed: Speed) -> Self {
        Self {
            time: None,
            speed,
            is_reverse: false,
            is_playing: true,
            state: State::Stopped,
            note: None,
            is_waiting: false,
            cached: BTreeMap::new(),
            gaps: BTreeMap::new(),
        }
    }

    /// Takes note of what has happened.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Time(time) => self.time = Some(*time),
            Event::Cached {
                source,
                range: Some(range),
            } => drop(self.cached.insert(*source, *range)),
            Event::Cached {
                source,
                range: None,
            } => drop(self.cached.remove(source)),
            Event::Gap { slot, gap } => drop(self.gaps.insert(*slot, *gap)),
            Event::Waiting(is_waiting) => self.is_waiting = *is_waiting,
            Event::End => {
                self.is_playing = false;
                self.note = Some("end of the recording");
            }
            Event::State(state) => self.state = *state,
            Event::Jumped { to, .. } => self.time = Some(*to),
            _ => {}
        }
    }

    fn doing(&self) -> &'static str {
        match self.state {
            _ if self.is_waiting => "waiting",
            State::Live => "live",
            State::Stopped if self.is_playing => "waiting",
            State::Stopped => "stopped",
            State::Seeking => "seeking",
            State::Playing if self.is_reverse => "backward",
            State::Playing => "playing",
            State::Standing => "paused",
        }
    }

    /// The gaps in which the current time lies.
    fn open_gaps(&self) -> impl Iterator<Item = (&StreamId, &Gap)> {
        self.gaps.iter().filter(|(_, gap)| {
            self.time
                .is_some_and(|time| gap.start <= time && gap.end.is_none_or(|end| time < end))
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time.map(time::format);
        let time = time.as_deref().unwrap_or("-");
        let Speed(speed) = self.speed;
        let speed = f64::from(speed) / 1_000.0;
        write!(f, "{time}  {} {speed}x", self.doing())?;
        let cached = self.cached.values().copied();
        let cached = cached.reduce(|all, range| all.union(&range));
        if let (Some(range), Some(time)) = (cached, self.time) {
            let before = time::format_span(time.us_since(range.start).max(0));
            let after = time::format_span(range.end.us_since(time).max(0));
            write!(f, "  cached -{before} +{after}")?;
        }
        for (slot, gap) in self.open_gaps() {
            write!(f, "  gap in {slot}: {}", gap.cause)?;
        }
        match self.note {
            Some(note) => write!(f, "  {note}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use camring::frame::GapCause;

    use super::*;

    #[test]
    fn the_line_says_time_speed_cache_and_gap() {
        let at = |us: i64| Timestamp(1_795_000_000_000_000 + us);
        let mut status = Status::new(Speed(500));
        assert_eq!(status.to_string(), "-  waiting 0.5x");
        let source = SourceId(0);
        let range = Some(TimeRange::new(at(0), at(3_500_000)));
        let gap = |end| Event::Gap {
            slot: StreamId(7),
            gap: Gap {
                cause: GapCause::NoSignal,
                start: at(500_000),
                end,
                lost_count: None,
            },
        };
        status.note(&Event::State(State::Playing));
        status.note(&Event::Cached { source, range });
        status.note(&gap(None));
        status.note(&Event::Time(at(1_000_000)));
        let line = status.to_string();
        let ends = "  playing 0.5x  cached -1.0 s +2.5 s  gap in 7: no signal";
        assert!(line.ends_with(ends), "{line}");
        status.note(&gap(Some(at(1_000_000))));
        assert!(!status.to_string().contains("gap"), "it has ended");
        status.note(&Event::End);
        assert!(status.to_string().ends_with("  end of the recording"));
    }
}
