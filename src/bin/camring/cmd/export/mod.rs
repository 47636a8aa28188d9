//! `camring export`: a stretch of one stream as Matroska files.

mod files;
mod report;

use std::path::Path;

use camring::Volume;
use camring::base::time::TimeRange;
use camring::export::MatroskaFiles;
use camring::frame::FrameSink as _;
use camring::reader::{Query, Reader};
use camring::volume::StreamInfo;
use rustix::io::Errno;

use self::files::Files;
pub(super) use self::report::Report;
use crate::args::Export;
use crate::error::{Exit, Outcome};
use crate::interrupt::Interrupt;
use crate::output;
use crate::screen::{Bar, Screen};
use crate::time;

pub(super) fn run(args: &Export, screen: &Screen) -> Outcome {
    let volume = Volume::open(&args.dir)?;
    let stream = volume.find_stream(&args.stream.to_string())?;
    let job = Job {
        volume: &volume,
        stream: &stream,
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

/// What is to be exported, and to where.
#[derive(Debug)]
pub(super) struct Job<'j> {
    pub(super) volume: &'j Volume,
    pub(super) stream: &'j StreamInfo,
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
    let mut reader = Reader::open(job.volume)?;
    let span = job.span();
    let mut frames = reader.read(Query::time([job.stream.id], job.range))?;
    for recorded in frames.by_ref() {
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
        let accepted = files.accept(job.stream.id, recorded.item);
        accepted.map_err(|error| job.not_written(error))?;
    }
    frames.finish()?;
    if report.frame_count == 0 {
        return Err(job.nothing().into());
    }
    let finished = files.finish().map_err(|error| job.not_written(error))?;
    report.set_files(&finished.done);
    let exit = report.exit();
    Ok((report, exit))
}

impl Job<'_> {
    /// What the stream has of the range, as far as that is known.
    fn span(&self) -> TimeRange {
        let all = self
            .volume
            .stream_time_range(self.stream.id)
            .unwrap_or(self.range);
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
        let (id, name) = (self.stream.id, output::printable(&self.stream.setup.name));
        let name = if name.is_empty() {
            name
        } else {
            format!(" ({name})")
        };
        let text = format!("stream {id}{name} has no frame in that time");
        let error = camring::Error::new(camring::ErrorKind::NotFound, text);
        match self.volume.stream_time_range(self.stream.id) {
            Some(all) => {
                let (from, to) = (time::format(all.start), time::format(all.end));
                error.with_remedy(format!("It was recorded from {from} to {to}"))
            }
            None => error.with_remedy("It was never recorded, or the ring has overwritten it"),
        }
    }
}
