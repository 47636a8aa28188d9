//! The question before something is destroyed.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use anyhow::Context as _;

/// What has to be typed.
pub(super) const WORD: &str = "yes";
/// How much of what is typed is read, in bytes.
const MAX_ANSWER_LEN: u64 = 1_024;

/// What somebody has said to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// There is no terminal.
    Nobody,
}

/// Asks whether `victim` may be destroyed.
pub(super) fn ask(victim: &str) -> anyhow::Result<Answer> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(Answer::Nobody);
    }
    let mut screen = anstream::stderr();
    write!(screen, "This destroys {victim}\nType {WORD} to go on: ")?;
    screen.flush()?;
    let mut answer = String::new();
    let mut input = io::stdin().lock().take(MAX_ANSWER_LEN);
    input.read_line(&mut answer).context("reading the answer")?;
    Ok(match answer.trim() {
        WORD => Answer::Yes,
        _ => Answer::No,
    })
}
