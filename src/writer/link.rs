//! The way to the thread of a recording, for all who ask something of it.

use std::sync::mpsc;
use std::time::Duration;

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

    /// Commits, and waits for it; no longer than `patience`, if there is a limit to it.
    pub(super) fn commit(&self, patience: Option<Duration>) -> Result<Position> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(Command::Commit(reply))?;
        let Some(patience) = patience else {
            return answer.recv().map_err(|_| closed()).flatten();
        };
        match answer.recv_timeout(patience) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(closed()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let text = format!("the commit has not ended within {} s", patience.as_secs());
                let remedy = "The disk is stuck or overloaded: its kernel log may say why";
                Err(Error::new(ErrorKind::Busy, text).with_remedy(remedy))
            }
        }
    }
}
