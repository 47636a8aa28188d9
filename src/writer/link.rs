//! The way to the thread of a recording, for all who ask something of it.

use std::sync::mpsc;
use std::time::Duration;

use super::completion::{Completion, completion};
use super::gate::Gate;
use super::status::{StatusCells, WriterStatus};
use super::{Command, closed};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::Position;
use crate::base::sync::Arc;
use crate::volume::Volume;

/// The way to the thread of a recording. Clones lead to the same one.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) gate: Arc<Gate>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) status: Arc<StatusCells>,
}

impl Link {
    pub(super) fn volume(&self) -> &Volume {
        &self.gate.volume
    }

    pub(super) fn status(&self) -> WriterStatus {
        self.status.read(&self.gate)
    }

    pub(super) fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| closed())?;
        self.gate.waker.wake();
        Ok(())
    }

    /// Begins a commit.
    pub(super) fn commit(&self) -> Completion {
        let (promise, completion) = completion();
        // A promise that could not be sent is dropped, which answers.
        let _ = self.send(Command::Commit(promise));
        completion
    }

    /// Commits, and waits for it; no longer than `patience`.
    pub(super) fn commit_within(&self, patience: Duration) -> Result<Position> {
        let in_time = self.commit().wait_at_most(patience);
        in_time.unwrap_or_else(|| {
            let text = format!("the commit has not ended within {} s", patience.as_secs());
            let remedy = "The disk is stuck or overloaded: its kernel log may say why";
            Err(Error::new(ErrorKind::Busy, text).with_remedy(remedy))
        })
    }
}
