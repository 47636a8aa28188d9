//! Keys, one by one as they are pressed.

use std::io::{self, IsTerminal as _, Stdin};
use std::sync::mpsc::SyncSender;
use std::thread;

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::Input;

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Pause,
    Back,
    Ahead,
    StepBack,
    StepAhead,
    Slower,
    Faster,
    Reverse,
    Live,
    Quit,
}

/// A terminal that hands over each key at once and shows none, until this is dropped.
#[derive(Debug)]
pub(super) struct Keyboard {
    stdin: Stdin,
    before: Termios,
}

/// Whether somebody can press keys: not where the program runs in the background of a shell.
pub(super) fn is_there() -> bool {
    let stdin = io::stdin();
    let foreground = tcgetpgrp(&stdin);
    stdin.is_terminal() && !foreground.is_ok_and(|group| group != getpgrp())
}

impl Keyboard {
    /// Sends keys to `inputs` from now on.
    ///
    /// # Errors
    ///
    /// When the terminal refuses, or no thread can be started.
    pub(super) fn open(inputs: SyncSender<Input>) -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut modes = before.clone();
        // Ctrl-C stays a signal.
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        tcsetattr(&stdin, OptionalActions::Now, &modes)?;
        let keyboard = Self { stdin, before };
        // It ends with the program: a read from a terminal cannot be called off.
        thread::Builder::new()
            .name("camring-keys".to_owned())
            .spawn(move || read(&inputs))?;
        Ok(keyboard)
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
    }
}

fn read(inputs: &SyncSender<Input>) {
    let mut parser = Parser::default();
    let mut bytes = [0; 64];
    loop {
        let count = match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(0) => return,
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        };
        let bytes = bytes.get(..count).unwrap_or_default();
        for key in bytes.iter().filter_map(|byte| parser.take(*byte)) {
            if inputs.send(Input::Key(key)).is_err() {
                return;
            }
        }
    }
}

/// Finds keys in what a terminal sends.
#[derive(Debug, Default)]
enum Parser {
    #[default]
    Start,
    /// Behind an escape.
    Escaped,
    /// In a control sequence.
    Control,
}

impl Parser {
    fn take(&mut self, byte: u8) -> Option<Key> {
        match (std::mem::take(self), byte) {
            (_, 0x1b) => *self = Self::Escaped,
            // Digits are parameters, such as those of Shift and an arrow.
            (Self::Escaped, b'[' | b'O') | (Self::Control, b'0'..=b';') => *self = Self::Control,
            (Self::Control, b'C') => return Some(Key::Ahead),
            (Self::Control, b'D') => return Some(Key::Back),
            (Self::Control, _) => {}
            (Self::Start | Self::Escaped, byte) => return plain(byte),
        }
        None
    }
}

fn plain(byte: u8) -> Option<Key> {
    Some(match byte {
        b' ' => Key::Pause,
        b',' => Key::StepBack,
        b'.' => Key::StepAhead,
        b'[' => Key::Slower,
        b']' => Key::Faster,
        b'r' => Key::Reverse,
        b'l' => Key::Live,
        b'q' => Key::Quit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<Key> {
        let mut parser = Parser::default();
        text.bytes().filter_map(|byte| parser.take(byte)).collect()
    }

    #[test]
    fn arrows_are_found_in_both_of_their_forms() {
        assert_eq!(
            keys("\u{1b}[C\u{1b}[D\u{1b}OC\u{1b}OD\u{1b}[1;2C"),
            [Key::Ahead, Key::Back, Key::Ahead, Key::Back, Key::Ahead]
        );
    }

    #[test]
    fn other_keys_and_their_sequences_mean_nothing() {
        assert_eq!(
            keys("x\u{1b}[A\u{1b}[3~\u{1b}OPz\u{1b}\u{1b}q"),
            [Key::Quit]
        );
        assert_eq!(keys("[]"), [Key::Slower, Key::Faster]);
    }
}
