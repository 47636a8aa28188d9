//! The streams that are asked for, each one history of all the volumes that have it: a camera that
//! moved from one to another.

use std::path::PathBuf;

use camring::base::time::{TimeRange, Timestamp};
use camring::frame::StreamId;
use camring::volume::{StreamInfo, Stretch, history};
use camring::{Error, ErrorKind, Result, Volume};

use crate::args::StreamChoice;
use crate::time;

/// A stream.
#[derive(Debug)]
pub(super) struct History {
    /// The number that it goes under: that of the first volume which has it.
    pub(super) slot: StreamId,
    /// Its name there.
    pub(super) name: String,
    /// The volumes that have it, by their place in the command line, and its number there.
    pub(super) parts: Vec<(usize, StreamId)>,
}

/// Opens the volumes.
///
/// # Errors
///
/// As [`Volume::open`].
pub(super) fn open(dirs: &[PathBuf]) -> Result<Vec<Volume>> {
    dirs.iter().map(Volume::open).collect()
}

/// Finds the streams.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound) for one that no volume has, [`Invalid`](ErrorKind::Invalid)
/// for one that is asked for twice.
pub(super) fn find(volumes: &[Volume], choices: &[StreamChoice]) -> Result<Vec<History>> {
    let mut histories: Vec<History> = Vec::new();
    for choice in choices {
        let history = find_one(volumes, choice)?;
        if histories.iter().any(|other| other.slot == history.slot) {
            let text = format!("stream {} is asked for twice", history.slot);
            return Err(Error::invalid(text).with_remedy("Each stream is played once"));
        }
        histories.push(history);
    }
    Ok(histories)
}

/// Finds a stream.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound) when no volume has it.
pub(super) fn find_one(volumes: &[Volume], choice: &StreamChoice) -> Result<History> {
    let text = choice.to_string();
    let mut history: Option<History> = None;
    let mut refused = None;
    for (n, volume) in volumes.iter().enumerate() {
        match volume.find_stream(&text) {
            Ok(stream) => match &mut history {
                Some(history) => history.parts.push((n, stream.id)),
                none => *none = Some(History::begin(n, stream)),
            },
            Err(error) => refused = Some(error),
        }
    }
    let nowhere = || Error::invalid("there is no volume to look in");
    history.ok_or_else(|| refused.unwrap_or_else(nowhere))
}

/// All streams of the volumes. Those of one name are one history; those without a name, of one
/// number.
pub(super) fn all(volumes: &[Volume]) -> Vec<History> {
    let mut histories: Vec<History> = Vec::new();
    for (n, volume) in volumes.iter().enumerate() {
        for stream in volume.streams() {
            let name = &stream.setup.name;
            let known = histories.iter_mut().find(|history| {
                let is_same =
                    *name == history.name && (!name.is_empty() || stream.id == history.slot);
                // Streams of one volume are different ones.
                is_same && history.parts.iter().all(|(other, _)| *other != n)
            });
            match known {
                Some(history) => history.parts.push((n, stream.id)),
                None => histories.push(History::begin(n, stream)),
            }
        }
    }
    histories
}

impl History {
    /// One that volume `n` has begun.
    pub(super) fn begin(n: usize, stream: StreamInfo) -> Self {
        Self {
            slot: stream.id,
            name: stream.setup.name.clone(),
            parts: vec![(n, stream.id)],
        }
    }

    /// The streams that it is made of.
    pub(super) fn streams<'v>(
        &self,
        volumes: &'v [Volume],
    ) -> impl Iterator<Item = (&'v Volume, StreamId)> {
        let parts = self.parts.iter();
        parts.filter_map(|(n, stream)| Some((volumes.get(*n)?, *stream)))
    }

    /// From its first frame to its last.
    pub(super) fn time_range(&self, volumes: &[Volume]) -> Option<TimeRange> {
        let streams = self.streams(volumes);
        let ranges = streams.filter_map(|(volume, stream)| volume.stream_time_range(stream));
        ranges.reduce(|all, range| all.union(&range))
    }

    /// When it was recorded within `range`, and why not.
    pub(super) fn timeline(&self, volumes: &[Volume], range: TimeRange) -> Vec<Stretch> {
        history::merge(&self.timelines(volumes, range))
    }

    fn timelines(&self, volumes: &[Volume], range: TimeRange) -> Vec<Vec<Stretch>> {
        let streams = self.streams(volumes);
        streams
            .map(|(volume, stream)| volume.timeline(stream, range))
            .collect()
    }

    /// Which of its streams to read within `range`, and when, in order of time.
    pub(super) fn turns<'v>(
        &self,
        volumes: &'v [Volume],
        range: TimeRange,
    ) -> Vec<(&'v Volume, StreamId, TimeRange)> {
        let streams: Vec<_> = self.streams(volumes).collect();
        let turns = history::turns(&self.timelines(volumes, range));
        let turn = |(n, range): (usize, TimeRange)| {
            let (volume, stream) = streams.get(n)?;
            Some((*volume, *stream, range))
        };
        turns.into_iter().filter_map(turn).collect()
    }
}

/// From the first frame of all histories to the last.
fn range(volumes: &[Volume], histories: &[History]) -> Option<TimeRange> {
    let ranges = histories.iter().filter_map(|h| h.time_range(volumes));
    ranges.reduce(|all, range| all.union(&range))
}

/// Where playing begins that was asked to begin `at` some time.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound) when nothing is recorded, or nothing at that time or later.
pub(super) fn start(
    volumes: &[Volume],
    histories: &[History],
    at: Option<Timestamp>,
) -> Result<Timestamp> {
    let Some(range) = range(volumes, histories) else {
        let error = Error::new(ErrorKind::NotFound, "there is nothing to play");
        let remedy = "It was never recorded, or the ring has overwritten it";
        return Err(error.with_remedy(remedy));
    };
    let at = at.unwrap_or(range.start).max(range.start);
    if at > range.end && !is_recorded(volumes)? {
        let at = time::format(at);
        let (from, to) = (time::format(range.start), time::format(range.end));
        let error = Error::new(ErrorKind::NotFound, format!("nothing is recorded at {at}"));
        return Err(error.with_remedy(format!("It was recorded from {from} to {to}")));
    }
    Ok(at)
}

/// Whether there is something live.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound) when nobody records.
pub(super) fn check_live(volumes: &[Volume]) -> Result<()> {
    if is_recorded(volumes)? {
        return Ok(());
    }
    let error = Error::new(ErrorKind::NotFound, "nobody records, so nothing is live");
    Err(error.with_remedy("Play what was recorded, from --at on"))
}

fn is_recorded(volumes: &[Volume]) -> Result<bool> {
    for volume in volumes {
        if volume.medium().is_being_written()? {
            return Ok(true);
        }
    }
    Ok(false)
}
