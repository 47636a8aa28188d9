//! What `--to` writes: Matroska, into files or to stdout.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;

use camring::export::{MatroskaFiles, MatroskaSink, NumberedFiles, Summary};
use camring::frame::filter::{Join, Receiver};
use camring::frame::{FrameSink, Item, StreamId, StreamSetup};
use camring::{Error, ErrorKind, Result};
use serde::Serialize;

use super::Input;
use crate::output::View;
use crate::{size, time};

/// Where Matroska goes.
#[derive(Debug)]
pub(super) enum Target {
    Files(Box<MatroskaFiles<NumberedFiles>>),
    Stdout(Box<MatroskaSink<File>>),
}

/// What was written.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    files: Vec<Part>,
    /// Frames that came faster than they could be written.
    pub(super) lost_count: u64,
}

#[derive(Debug, Serialize)]
struct Part {
    path: String,
    from: String,
    to: String,
    len_us: i64,
    frame_count: u64,
    /// Its length in bytes.
    len: u64,
}

impl Target {
    /// Opens a new file at `path`.
    pub(super) fn file(path: &Path) -> Result<Self> {
        let files = MatroskaFiles::begin(NumberedFiles::new(path))?;
        Ok(Self::Files(Box::new(files)))
    }

    /// Takes stdout.
    pub(super) fn stdout() -> Result<Self> {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            let error = Error::invalid("Matroska is nothing for a terminal");
            return Err(error.with_remedy("Pipe it into a player: --to - | mpv -"));
        }
        // A file of its own, as the standard library's stdout keeps back half lines.
        let own = stdout.as_fd().try_clone_to_owned();
        let file = File::from(own.map_err(|e| Error::io("open stdout", e))?);
        Ok(Self::Stdout(Box::new(MatroskaSink::live(file))))
    }

    /// Writes what comes from `receiver` of `members`, streams and what is known of them, in a
    /// thread of its own, and tells `inputs` of the end.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub(super) fn start(
        self,
        receiver: Receiver,
        members: Vec<(StreamId, Arc<StreamSetup>)>,
        inputs: SyncSender<Input>,
    ) -> io::Result<()> {
        let work = move || {
            let written = self.write(receiver, members);
            // Nobody waits for it any more when the program ends.
            let _ = inputs.send(Input::Written(written));
        };
        thread::Builder::new()
            .name("camring-matroska".to_owned())
            .spawn(work)
            .map(drop)
    }

    fn write(
        mut self,
        receiver: Receiver,
        members: Vec<(StreamId, Arc<StreamSetup>)>,
    ) -> Result<Written> {
        let [(slot, _), _, ..] = members[..] else {
            pump(&receiver, &mut self)?;
            return self.finish(receiver.lost_count());
        };
        let mut all = Join::new(slot, members, self);
        pump(&receiver, &mut all)?;
        all.into_next().finish(receiver.lost_count())
    }

    fn finish(self, lost_count: u64) -> Result<Written> {
        let done = match self {
            Self::Files(files) => files.finish().map(|files| files.done().to_vec()),
            Self::Stdout(sink) => sink.finish().map(|_| Vec::new()),
        };
        let done = done.map_err(|error| match error.kind() {
            ErrorKind::NotFound => no_frame(),
            _ => error,
        })?;
        let files = done.iter().map(|(path, summary)| Part::of(path, summary));
        Ok(Written {
            files: files.collect(),
            lost_count,
        })
    }
}

impl FrameSink for Target {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        match self {
            Self::Files(files) => files.accept(stream, item),
            Self::Stdout(sink) => sink.accept(stream, item),
        }
    }
}

fn pump(receiver: &Receiver, sink: &mut impl FrameSink) -> Result<()> {
    while let Some((stream, item)) = receiver.recv() {
        sink.accept(stream, item)?;
    }
    Ok(())
}

fn no_frame() -> Error {
    let text = "nothing was played with which a Matroska file can begin";
    Error::new(ErrorKind::NotFound, text).with_remedy("Begin earlier with --at, or play longer")
}

impl Part {
    fn of(path: &Path, summary: &Summary) -> Self {
        Self {
            path: path.display().to_string(),
            from: time::format(summary.start),
            to: time::format(summary.end),
            len_us: summary.end.us_since(summary.start),
            frame_count: summary.frame_count,
            len: summary.len,
        }
    }
}

impl View for Written {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for Part {
            path,
            from,
            to,
            len_us,
            frame_count,
            len,
        } in &self.files
        {
            let (span, len) = (time::format_span(*len_us), size::format(*len));
            writeln!(
                out,
                "{path}: {span}, {frame_count} frames, {len}, from {from} to {to}"
            )?;
        }
        Ok(())
    }
}
