//! How the program ends: exit codes, and the one line that says what went wrong.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use camring::ErrorKind;

/// The program's exit codes. Others may come; what a script does not know means failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Failed.
    Failed = 1,
    /// The arguments make no sense; clap uses the same number.
    Usage = 2,
    /// Done as far as possible: damage was found on the way.
    Damage = 3,
    /// There is no volume at that place, or nothing of the name that was asked for in it.
    NotFound = 10,
    /// Another process holds the volume or the device.
    Locked = 11,
    /// Going on would destroy data, and `--force` was not given.
    WouldDestroy = 12,
    /// Stopped by SIGINT.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a command returns: how it ended, or why it could not go on.
pub(crate) type Outcome = anyhow::Result<Exit>;

/// Ends the program: says on stderr what went wrong, if something did.
pub(crate) fn finish(outcome: Outcome) -> ExitCode {
    let error = match outcome {
        Ok(exit) => return exit.into(),
        // Whoever read our output has had enough of it; that is not a failure.
        Err(error) if is_broken_pipe(&error) => return Exit::Ok.into(),
        Err(error) => error,
    };
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    // There is nobody left to tell when stderr is closed.
    let _ = writeln!(anstream::stderr(), "{red}camring:{red:#} {}", line(&error));
    exit_of(&error).into()
}

/// The exit code for an error.
fn exit_of(error: &anyhow::Error) -> Exit {
    let Some(error) = error.downcast_ref::<camring::Error>() else {
        return Exit::Failed;
    };
    match error.kind() {
        ErrorKind::Invalid => Exit::Usage,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Exists => Exit::WouldDestroy,
        ErrorKind::Busy => Exit::Locked,
        ErrorKind::Damaged => Exit::Damage,
        _ => Exit::Failed,
    }
}

/// The error with all that it is about, in one line.
fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for (n, cause) in error.chain().enumerate() {
        let separator = if n == 0 { "" } else { ": " };
        // Writing to a string cannot fail.
        let _ = write!(line, "{separator}{cause}");
        if cause.is::<camring::Error>() {
            // It names its own causes, and ends with what to do.
            break;
        }
    }
    line.replace('\n', " ")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let error = cause.downcast_ref::<std::io::Error>();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a panic is how a test fails")]

    use anyhow::Context as _;
    use camring::Error;

    use super::*;

    fn engine(kind: ErrorKind) -> anyhow::Error {
        Error::new(kind, "block 7 is bad")
            .with_remedy("Replace the disk")
            .into()
    }

    #[test]
    fn each_kind_of_error_has_its_exit_code() {
        let code = |kind| exit_of(&engine(kind)) as u8;
        assert_eq!(code(ErrorKind::Invalid), 2);
        assert_eq!(code(ErrorKind::NotFound), 10);
        assert_eq!(code(ErrorKind::Exists), 12);
        assert_eq!(code(ErrorKind::Busy), 11);
        assert_eq!(code(ErrorKind::Unsupported), 1);
        assert_eq!(code(ErrorKind::Damaged), 3);
        assert_eq!(code(ErrorKind::Overwritten), 1);
        assert_eq!(code(ErrorKind::Full), 1);
        assert_eq!(code(ErrorKind::Failed), 1);
        assert_eq!(code(ErrorKind::Io), 1);
        assert_eq!(exit_of(&anyhow::anyhow!("anything else")) as u8, 1);
    }

    #[test]
    fn the_code_is_found_under_what_was_being_done() {
        let error = engine(ErrorKind::Busy).context("recording camera 3");
        assert_eq!(exit_of(&error), Exit::Locked);
        assert_eq!(
            line(&error),
            "recording camera 3: block 7 is bad. Replace the disk"
        );
    }

    #[test]
    fn a_cause_is_said_once() {
        let source = std::io::Error::other("the cable is out");
        let error = Err::<(), _>(Error::io("read block 7", source)).context("verifying");
        let error = error.expect_err("it is one");
        assert_eq!(
            line(&error),
            "verifying: could not read block 7: the cable is out"
        );
    }

    #[test]
    fn a_reader_that_has_had_enough_is_no_failure() {
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(
            &anyhow::Error::new(pipe).context("printing")
        ));
        let disk = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!is_broken_pipe(&disk.into()));
    }
}
