//! The terminal on stderr, for what moves on it. It may hang up at any time, and that must not harm
//! whoever draws.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;

/// The size that is assumed where nobody tells it: columns, lines.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// The terminal. What it cannot take any more is lost: indicatif, which draws, panics at an error,
/// and a recording would end with its window.
#[derive(Debug, Default)]
pub(crate) struct Terminal {
    /// What is drawn and not yet shown.
    pending: Mutex<String>,
}

impl Terminal {
    fn draw(&self, text: &str) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.push_str(text);
    }

    /// Moves the cursor `count` places in a direction, by the letter that terminals have for it.
    fn move_cursor(&self, count: usize, direction: char) {
        // None would be taken for one.
        if count > 0 {
            self.draw(&format!("\u{1b}[{count}{direction}"));
        }
    }

    fn size() -> (u16, u16) {
        match rustix::termios::tcgetwinsize(io::stderr()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => USUAL_SIZE,
        }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        Self::size().0
    }

    fn height(&self) -> u16 {
        Self::size().1
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D');
        Ok(())
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.draw(s);
        self.draw("\n");
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.draw(s);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        // It may be gone.
        let _ = io::stderr().write_all(pending.as_bytes());
        pending.clear();
        Ok(())
    }
}
