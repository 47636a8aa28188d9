//! `camring export`: a stretch of one stream, of one or more volumes, as Matroska files.

mod files;
mod report;

use std::path::Path;

use camring::base::time::TimeRange;
use camring::export::MatroskaFiles;
use camring::frame::{FrameSink as _, Item, StreamId};
use camring::reader::{Query, Reader};
use camring::{Error, Volume};
use rustix::io::Errno;

use self::files::Files;
pub(super) use self::report::Report;
use super::history::{self, History};
use super::place;
use crate::args::Export;
use crate::error::{Exit, Outcome};
use crate::interrupt::Interrupt;
use crate::output;
use crate::screen::{Bar, Screen};
use crate::time;

pub(super) fn run(args: &Export, screen: &Screen) -> Outcome {
    check_output(args)?;
    let volumes = history::open(&args.dirs)?;
    let job = Job {
        volumes: &volumes,
        history: &history::find_one(&volumes, &args.stream)?,
        range: args.range.checked()?,
        path: &args.output,
        force: args.force,
    };
    let bar = screen.share_bar("Exporting");
    let (report, exit) = export(&job, &Interrupt::catch()?, &bar)?;
    drop(bar);
    output::show(&report, args.format.is_json())?;
    Ok(exit)
}

fn check_output(args: &Export) -> camring::Result<()> {
    if args.output == Path::new("-") {
        let error = Error::invalid("an export is a file that is complete or not there");
        return Err(
            error.with_remedy("For stdout take `camring play --to -`; a file called - is ./-")
        );
    }
    place::check_output(&args.output, &args.dirs)
}

/// What is to be exported, and to where.
#[derive(Debug)]
pub(super) struct Job<'j> {
    pub(super) volumes: &'j [Volume],
    pub(super) history: &'j History,
    pub(super) range: TimeRange,
    /// The first file; others get a number.
    pub(super) path: &'j Path,
    /// Whether files that are there are replaced.
    pub(super) force: bool,
}

/// Does `job`. A file appears under its name only once it is complete.
///
/// # Errors
///
/// [`NotFound`](camring::ErrorKind::NotFound) when there is nothing to export,
/// [`Exists`](camring::ErrorKind::Exists) when a file is there already, and what else the reader,
/// the sink and the file system have to say.
pub(super) fn export(
    job: &Job<'_>,
    interrupt: &Interrupt,
    bar: &Bar,
) -> anyhow::Result<(Report, Exit)> {
    let mut files = MatroskaFiles::begin(Files::new(job.path, job.force)?)?;
    let mut report = Report::default();
    let span = job.span();
    for turn in job.turns()? {
        let mut reader = Reader::open(turn.volume)?;
        let mut frames = reader.read(Query::time([turn.stream], turn.range))?;
        if turn.is_later {
            report.go_on_at(turn.range.start);
        }
        for recorded in frames.by_ref().filter(|recorded| turn.has(&recorded.item)) {
            if let Some(signal) = interrupt.caught() {
                // The file that is not complete goes when `files` does.
                report.set_files(&files.files().done);
                return Ok((report, signal.exit_of_unfinished()));
            }
            report.note(&recorded.item);
            if let Some(time) = report.last_time {
                let done = |us: i64| us.max(0).unsigned_abs();
                bar.set(
                    done(time.us_since(span.start)),
                    done(span.end.us_since(span.start)),
                );
            }
            let accepted = files.accept(job.history.slot, recorded.item);
            accepted.map_err(|error| job.not_written(error))?;
        }
        frames.finish()?;
    }
    if report.frame_count == 0 {
        return Err(job.nothing().into());
    }
    let finished = files.finish().map_err(|error| job.not_written(error))?;
    report.set_files(&finished.done);
    let exit = report.exit();
    Ok((report, exit))
}

/// A stretch that is read from one volume.
struct Turn<'v> {
    volume: &'v Volume,
    stream: StreamId,
    range: TimeRange,
    /// Whether another volume comes before it.
    is_later: bool,
}

impl Turn<'_> {
    /// Whether an item that is read in this turn is not of the turn before.
    fn has(&self, item: &Item) -> bool {
        match item {
            Item::Frame(frame) | Item::Preroll(frame) => {
                !self.is_later || frame.time >= self.range.start
            }
            Item::Setup(_) | Item::Gap(_) => true,
        }
    }

    /// Begins at a key frame, so that what follows can be decoded: at the one that its first frame
    /// needs, if the turn before has that time, too.
    fn hand_over(&mut self, before: &mut Turn<'_>) -> camring::Result<()> {
        let mut reader = Reader::open(self.volume)?;
        let mut frames = reader.read(Query::time([self.stream], self.range))?;
        let key = frames.find_map(|recorded| match recorded.item {
            Item::Frame(frame) if frame.key => Some(frame.time),
            _ => None,
        });
        if let Some(key) = key
            && before.range.start < key
            && key < self.range.start
        {
            before.range.end = key.plus_us(-1);
            self.range.start = key;
        }
        Ok(())
    }
}

impl<'j> Job<'j> {
    /// What is read, in order: all of the range, from one volume after the other.
    fn turns(&self) -> camring::Result<Vec<Turn<'j>>> {
        if let [(n, stream)] = self.history.parts[..] {
            let volume = self.volumes.get(n).into_iter();
            let whole = |volume| Turn {
                volume,
                stream,
                range: self.range,
                is_later: false,
            };
            return Ok(volume.map(whole).collect());
        }
        let mut turns: Vec<Turn<'j>> = Vec::new();
        for (volume, stream, range) in self.history.turns(self.volumes, self.range) {
            let (start, end) = (
                range.start.max(self.range.start),
                range.end.min(self.range.end),
            );
            let mut turn = Turn {
                volume,
                stream,
                range: TimeRange { start, end },
                is_later: !turns.is_empty(),
            };
            if let Some(before) = turns.last_mut() {
                turn.hand_over(before)?;
                // It also tells of the gap behind it.
                before.range.end = turn.range.start.plus_us(-1);
            }
            turns.push(turn);
        }
        Ok(turns)
    }

    /// What the stream has of the range, as far as that is known.
    fn span(&self) -> TimeRange {
        let all = self.history.time_range(self.volumes);
        let all = all.unwrap_or(self.range);
        TimeRange::new(self.range.start.max(all.start), self.range.end.min(all.end))
    }

    /// `error` from writing the files: the sink knows neither their names nor what to do.
    fn not_written(&self, error: camring::Error) -> camring::Error {
        let no_room = [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error);
        match error.raw_os_error() {
            Some(code) if no_room.contains(&code) => error
                .at(self.path.display())
                .with_remedy("Make room there, or choose another place with -o"),
            _ => error,
        }
    }

    fn nothing(&self) -> camring::Error {
        let (id, name) = (self.history.slot, output::printable(&self.history.name));
        let name = if name.is_empty() {
            name
        } else {
            format!(" ({name})")
        };
        let text = format!("stream {id}{name} has no frame in that time");
        let error = camring::Error::new(camring::ErrorKind::NotFound, text);
        match self.history.time_range(self.volumes) {
            Some(all) => {
                let (from, to) = (time::format(all.start), time::format(all.end));
                error.with_remedy(format!("It was recorded from {from} to {to}"))
            }
            None => error.with_remedy("It was never recorded, or the ring has overwritten it"),
        }
    }
}
