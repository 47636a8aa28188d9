//! SIGINT, SIGTERM and SIGHUP as a request to come to an end. A second SIGINT or SIGTERM ends the
//! program at once. A program that runs for ever may take SIGHUP as a request to read files anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::Exit;

/// What fails if a signal cannot be caught.
const CATCHING: &str = "catching signals";

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
    /// Never set unless SIGHUP asks for it.
    #[cfg_attr(
        not(feature = "rtsp"),
        allow(dead_code, reason = "only `record` reads files anew")
    )]
    is_to_reload: Arc<AtomicBool>,
}

impl Interrupt {
    /// Catches the signals from now on; SIGHUP only where `nohup` has not asked to ignore it.
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        Self::with_hangup(catch_hangup()?, Arc::default())
    }

    fn with_hangup(
        hung_up: Arc<AtomicBool>,
        is_to_reload: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            interrupted: catch_end(SIGINT)?,
            terminated: catch_end(SIGTERM)?,
            hung_up,
            is_to_reload,
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

#[cfg_attr(
    not(feature = "rtsp"),
    allow(dead_code, reason = "only `record` reads files anew")
)]
impl Interrupt {
    /// As [`catch`](Self::catch), but SIGHUP asks for [a reload](Self::takes_reload).
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub(crate) fn catch_with_reload() -> anyhow::Result<Self> {
        Self::with_hangup(Arc::default(), catch_hangup()?)
    }

    /// Whether files are to be read anew. It is said once for each time that it was asked for.
    pub(crate) fn takes_reload(&self) -> bool {
        // Relaxed: nothing is handed over with the flag.
        self.is_to_reload.swap(false, Ordering::Relaxed)
    }
}

/// Catches a signal that asks for an end: the flag is set at the first, and the program ends at the
/// second.
fn catch_end(signal: i32) -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    // In this order: at the first signal the flag is not yet set.
    flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&flag))
        .context(CATCHING)?;
    flag::register(signal, Arc::clone(&flag)).context(CATCHING)?;
    Ok(flag)
}

/// Catches SIGHUP: the flag is set each time. Where a terminal ends, its shell sends one and the
/// kernel another, so the second is no sign of impatience.
fn catch_hangup() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    if !ignores_hangup() {
        flag::register(SIGHUP, Arc::clone(&flag)).context(CATCHING)?;
    }
    Ok(flag)
}

/// Whether this program was started to go on without its terminal.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signals are counted from 1.
    mask.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}
