//! SIGINT and SIGTERM as a request to come to an end. The second one ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Exit;

/// Why the program is to come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: somebody has changed his mind.
    Interrupt,
    /// SIGTERM: the usual way to end a program that runs for ever.
    Terminate,
}

impl Signal {
    /// How a program ends that should not have been stopped.
    pub(crate) fn exit_of_unfinished(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Failed,
        }
    }
}

/// The signals that were caught since this was made.
#[derive(Debug)]
pub(crate) struct Interrupt {
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

impl Interrupt {
    /// Catches both signals from now on.
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let catch = |signal| {
            let flag = Arc::new(AtomicBool::new(false));
            // In this order: at the first signal the flag is not yet set.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&flag))?;
            flag::register(signal, Arc::clone(&flag))?;
            Ok::<_, std::io::Error>(flag)
        };
        let what = "catching signals";
        Ok(Self {
            interrupted: catch(SIGINT).context(what)?,
            terminated: catch(SIGTERM).context(what)?,
        })
    }

    /// The signal that was caught, if one was.
    pub(crate) fn caught(&self) -> Option<Signal> {
        // Relaxed: nothing is handed over with the flags.
        if self.interrupted.load(Ordering::Relaxed) {
            return Some(Signal::Interrupt);
        }
        let terminated = self.terminated.load(Ordering::Relaxed);
        terminated.then_some(Signal::Terminate)
    }
}
