//! Which streams of which volumes are played: each that was asked for is one history, of all the
//! volumes that have it.

use std::path::PathBuf;

use camring::base::time::{TimeRange, Timestamp};
use camring::frame::StreamId;
use camring::{Error, ErrorKind, Result, Volume};

use crate::args::StreamChoice;
use crate::time;

/// A stream that is played.
#[derive(Debug)]
pub(super) struct History {
    /// The number that it is played under: that of the first volume which has it.
    pub(super) slot: StreamId,
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

fn find_one(volumes: &[Volume], choice: &StreamChoice) -> Result<History> {
    let text = choice.to_string();
    let mut parts = Vec::new();
    let mut refused = None;
    for (n, volume) in volumes.iter().enumerate() {
        match volume.find_stream(&text) {
            Ok(stream) => parts.push((n, stream.id)),
            Err(error) => refused = Some(error),
        }
    }
    match (parts.first(), refused) {
        (Some((_, slot)), _) => Ok(History { slot: *slot, parts }),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::invalid("there is no volume to play from")),
    }
}

/// From the first frame of all histories to the last.
fn range(volumes: &[Volume], histories: &[History]) -> Option<TimeRange> {
    let parts = histories.iter().flat_map(|history| &history.parts);
    let ranges = parts.filter_map(|(n, stream)| volumes.get(*n)?.stream_time_range(*stream));
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
