//! Running the program, with an end to all patience.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The longest that a program of a test may run.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program with `args`, which are separated by spaces; `{}` stands for `dir`.
pub(crate) fn camring(dir: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_camring"));
    let dir = dir.to_str().unwrap();
    command.args(args.split(' ').map(|arg| arg.replace("{}", dir)));
    for name in [
        "RUST_LOG",
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "CAMRING_COLOR",
        "CAMRING_CREDENTIALS",
        "CAMRING_TRANSPORT",
    ] {
        command.env_remove(name);
    }
    command.env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// What a program has left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program to its end.
pub(crate) fn run(dir: &Path, args: &str) -> Ended {
    end(&mut camring(dir, args))
}

/// Runs `command` to its end.
pub(crate) fn end(command: &mut Command) -> Ended {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(command).end()
}

/// Runs the program, which must succeed, and returns what it prints.
pub(crate) fn succeed(dir: &Path, args: &str) -> String {
    let ended = run(dir, args);
    assert_eq!(ended.code, Some(0), "{args}: {ended:?}");
    ended.stdout
}

/// Runs the program, which must print one JSON document of the known version.
pub(crate) fn json(dir: &Path, args: &str) -> Value {
    let text = succeed(dir, args);
    let value: Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args}: {e}: {text}"));
    assert_eq!(value["schema"], 1, "{args}");
    value
}

/// A program that runs. It does not outlive this value, nor a minute.
pub(crate) struct Running {
    pid: Pid,
    stdout: Option<BufReader<ChildStdout>>,
    ended: mpsc::Receiver<(Option<i32>, String)>,
}

impl Running {
    /// Starts `command`.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        let pid = Pid::from_child(&child);
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(wait(child)));
        Self { pid, stdout, ended }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("its output goes elsewhere");
        stdout.read_line(&mut line).unwrap();
        line
    }

    /// Reads no more of what it prints: it writes into a closed pipe from here on.
    pub(crate) fn hang_up(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended; then there is nothing to tell it.
        let _ = kill_process(self.pid, signal);
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&self) -> bool {
        rustix::process::test_kill_process(self.pid).is_ok()
    }

    /// Waits until it has ended.
    pub(crate) fn end(mut self) -> Ended {
        let stdout = self.stdout.take().map(|mut from| {
            thread::spawn(move || {
                let mut text = String::new();
                from.read_to_string(&mut text).unwrap();
                text
            })
        });
        let Ok((code, stderr)) = self.ended.recv_timeout(PATIENCE) else {
            self.signal(Signal::KILL);
            panic!("the program does not end");
        };
        let stdout = stdout.map(|thread| thread.join().unwrap());
        Ended {
            code,
            stdout: stdout.unwrap_or_default(),
            stderr,
        }
    }
}

fn wait(mut child: Child) -> (Option<i32>, String) {
    let mut stderr = String::new();
    if let Some(mut from) = child.stderr.take() {
        from.read_to_string(&mut stderr).unwrap();
    }
    (child.wait().unwrap().code(), stderr)
}

/// A directory of a test's own.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
