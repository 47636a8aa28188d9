//! Who reads the status lines: a program that may be slow, stop, or die, without harm to the
//! recording.
//!
//! Lines are written by a thread of their own, so that the cameras never wait for a reader.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use camring::{Error, ErrorKind};
use serde::Serialize;

use crate::output::write_json_line;

/// How many lines may wait for the reader; what comes then is left out.
const QUEUE_LEN: usize = 64;
/// How long the reader may take for the last lines.
const PATIENCE: Duration = Duration::from_secs(2);

/// The reader of the JSON lines on stdout.
#[derive(Debug)]
pub(super) struct Listener {
    lines: SyncSender<Vec<u8>>,
    ended: Receiver<io::Result<()>>,
    /// Whether its trouble was told.
    is_told: bool,
}

impl Listener {
    /// Begins to write.
    ///
    /// # Errors
    ///
    /// There can be no thread for it.
    pub(super) fn new() -> anyhow::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE_LEN);
        let (end, ended) = channel();
        let write_all = move || {
            // Nobody may wait for it any more.
            let _ = end.send(write(&queue));
        };
        let thread = thread::Builder::new().name("camring-status".to_owned());
        thread
            .spawn(write_all)
            .context("starting the thread of the status lines")?;
        Ok(Self {
            lines,
            ended,
            is_told: false,
        })
    }

    /// Tells `document`, if the reader keeps up. That it does not is logged once.
    pub(super) fn tell(&mut self, document: &impl Serialize) {
        let mut line = Vec::new();
        let sent = match write_json_line(document, &mut line) {
            Ok(()) => self.lines.try_send(line),
            Err(_) => return,
        };
        let why = match sent {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "nobody reads the status lines",
            Err(TrySendError::Disconnected(_)) => "the status lines cannot be written any more",
        };
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::error!("{why}; the recording goes on");
        }
    }

    /// Waits for a moment until the last line is written.
    ///
    /// # Errors
    ///
    /// [`Failed`](ErrorKind::Failed): lines are missing.
    pub(super) fn finish(self) -> camring::Result<()> {
        drop(self.lines);
        let why = match self.ended.recv_timeout(PATIENCE) {
            Ok(Ok(())) if !self.is_told => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(())) | Err(_) => "nobody read them".to_owned(),
        };
        // The error of the system is told in words: to others it would look like a reader of our
        // output that has had enough.
        let text = format!("the status lines could not be written: {why}");
        Err(Error::new(ErrorKind::Failed, text).with_remedy("The recording itself went on"))
    }
}

fn write(queue: &Receiver<Vec<u8>>) -> io::Result<()> {
    let mut out = io::stdout();
    queue.iter().try_for_each(|line| {
        out.write_all(&line)?;
        out.flush()
    })
}
