//! A volume that another process records, opened anew: to see what has come since.
//!
//! Opening reads from disk, so a thread of its own does it. What is then read is `source`'s
//! business.

use std::fmt;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::{Arc, lock};
use crate::reader::{Reader, Waker};
use crate::volume::Volume;

/// A volume that is being opened anew. Dropping it calls that off.
pub(super) struct Renewal {
    outcome: Arc<Mutex<Option<Result<Renewed>>>>,
    _called_off: Sender<()>,
}

/// A volume that was opened anew.
pub(super) struct Renewed {
    pub(super) volume: Volume,
    pub(super) reader: Reader,
    /// Whether there may be more later.
    pub(super) is_written: bool,
}

impl Renewal {
    /// Opens `volume` anew in `delay`; `waker` is woken when that is done. `old` is no longer
    /// needed, and goes in the same thread.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) when no thread can be started.
    pub(super) fn begin(
        volume: &Volume,
        old: Option<Reader>,
        delay: Duration,
        waker: Waker,
    ) -> Result<Self> {
        let outcome = Arc::new(Mutex::new(None));
        let (called_off, is_called_off) = channel();
        let (volume, result) = (volume.clone(), Arc::clone(&outcome));
        let work = move || {
            drop(old);
            if waits(&is_called_off, delay) {
                *lock(&result) = Some(renew(&volume));
                waker.wake();
            }
        };
        std::thread::Builder::new()
            .name("camring-renewal".to_owned())
            .spawn(work)
            .map_err(|e| Error::io("start a thread", e))?;
        Ok(Self {
            outcome,
            _called_off: called_off,
        })
    }

    /// Whether [`take`](Self::take) has something.
    pub(super) fn is_ready(&self) -> bool {
        lock(&self.outcome).is_some()
    }

    /// What came of it, once it is done.
    pub(super) fn take(&self) -> Option<Result<Renewed>> {
        lock(&self.outcome).take()
    }
}

/// Waits for `delay`; false when it is called off.
fn waits(is_called_off: &Receiver<()>, delay: Duration) -> bool {
    is_called_off.recv_timeout(delay) == Err(RecvTimeoutError::Timeout)
}

fn renew(volume: &Volume) -> Result<Renewed> {
    let no_dir = || Error::new(ErrorKind::Failed, "the volume has no directory");
    // Before it is opened: what is written until nobody writes any more must be seen.
    let is_written = volume.medium().is_being_written()?;
    let volume = Volume::open(volume.dir().ok_or_else(no_dir)?)?;
    let reader = Reader::open(&volume)?;
    Ok(Renewed {
        volume,
        reader,
        is_written,
    })
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal")
    }
}
