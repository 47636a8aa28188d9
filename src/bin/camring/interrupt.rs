//! SIGINT, SIGTERM and SIGHUP as a request to come to an end. The second one of a kind ends the
//! program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Exit;

/// Why the program is to come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: somebody has changed his mind.
    Interrupt,
    /// SIGTERM: the usual way to end a program that runs for ever. SIGHUP: its terminal is gone.
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
    hung_up: Arc<AtomicBool>,
}

impl Interrupt {
    /// Catches the signals from now on; SIGHUP only where `nohup` has not asked to ignore it.
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
        let hung_up = if ignores_hangup() {
            Arc::default()
        } else {
            catch(SIGHUP).context(what)?
        };
        Ok(Self {
            interrupted: catch(SIGINT).context(what)?,
            terminated: catch(SIGTERM).context(what)?,
            hung_up,
        })
    }

    /// The signal that was caught, if one was.
    pub(crate) fn caught(&self) -> Option<Signal> {
        // Relaxed: nothing is handed over with the flags.
        if self.interrupted.load(Ordering::Relaxed) {
            return Some(Signal::Interrupt);
        }
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let is_to_end = is_set(&self.terminated) || is_set(&self.hung_up);
        is_to_end.then_some(Signal::Terminate)
    }
}

/// Whether this program was started to go on without its terminal.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signals are counted from 1.
    mask.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}
