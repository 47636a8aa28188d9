//! What moves on stderr: progress bars and a status line, and the log between them.
//!
//! Nothing moves where stderr is no terminal. What a command has found out goes to stdout, by
//! `output`.

use std::io::{self, IsTerminal as _, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::EnvFilter;

use crate::terminal::Terminal;

/// How often what moves is drawn at most.
const FRAMES_PER_S: u8 = 20;

/// The place on stderr where bars are drawn.
#[derive(Clone, Debug)]
pub(crate) struct Screen(MultiProgress);

impl Screen {
    /// The screen; nothing moves on it if `quiet` says so.
    pub(crate) fn new(quiet: bool) -> Self {
        let target = if quiet || !io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::term_like_with_hz(Box::new(Terminal::default()), FRAMES_PER_S)
        };
        Self(MultiProgress::with_draw_target(target))
    }

    /// Whether somebody sees what moves.
    pub(crate) fn is_live(&self) -> bool {
        !self.0.is_hidden()
    }

    /// A bar for work that is measured in bytes.
    pub(crate) fn bytes_bar(&self, doing: &'static str) -> Bar {
        self.bar(
            doing,
            "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
        )
    }

    /// A bar for work whose steps mean nothing to people.
    pub(crate) fn share_bar(&self, doing: &'static str) -> Bar {
        self.bar(doing, "{msg} {wide_bar} {percent}% {eta}")
    }

    /// A line whose text changes.
    pub(crate) fn line(&self) -> Bar {
        self.bar("", "{wide_msg}")
    }

    /// Does something that writes to the terminal, with the bars out of the way.
    pub(crate) fn apart<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }

    fn bar(&self, doing: &'static str, template: &str) -> Bar {
        // The templates are ours; the default style is no reason to fail.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style).with_message(doing);
        Bar(self.0.add(bar))
    }

    /// Shows what the library logs, which is warnings, and what the commands do; more if asked for;
    /// what `RUST_LOG` says if it is set.
    pub(crate) fn show_log(&self, verbose: u8, quiet: bool) {
        let filter = match (quiet, verbose) {
            (true, _) => "error",
            (false, 0) => "warn,camring::cmd=info",
            (false, 1) => "warn,camring=info",
            (false, _) => "info,camring=debug",
        };
        let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
            Ok(text) if !text.is_empty() => EnvFilter::builder().parse_lossy(text),
            _ => EnvFilter::new(filter),
        };
        let screen = self.clone();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            // What may not have colours has them taken out where it is written.
            .with_ansi(true)
            // It would tell of lines that cannot be written by `eprintln`, which panics for the
            // same reason, in the middle of a recording.
            .log_internal_errors(false)
            .with_writer(move || screen.clone())
            .init();
    }
}

/// Writes to stderr, with the bars out of the way.
impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| anstream::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        anstream::stderr().flush()
    }
}

/// Something that moves, and is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Shows that `done` of `total` is done.
    pub(crate) fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Changes the text.
    pub(crate) fn say(&self, text: String) {
        self.0.set_message(text);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
