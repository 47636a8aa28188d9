//! Other programs: started, shown or recorded, and stopped when they take too long.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Result, root};

/// How often a recorded program is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);
/// How long the output of a program that has ended may stay open.
const LINGER: Duration = Duration::from_secs(5);

/// `cargo ARGS` in the checkout.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(root());
    command
}

/// `cargo +nightly ARGS` in the checkout.
///
/// The variables by which rustup passed on the toolchain that runs xtask would win over
/// `+nightly`, so they are taken away.
pub(crate) fn cargo_nightly(args: &[&str]) -> Command {
    let mut command = cargo(&["+nightly"]);
    command.args(args);
    for inherited in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC"] {
        command.env_remove(inherited);
    }
    command
}

/// Runs a program in the user's terminal, after a line that shows it.
pub(crate) fn run_shown(mut command: Command) -> Result {
    let line = command_line(&command);
    println!("$ {line}");
    let status = command
        .status()
        .map_err(|e| format!("cannot start `{line}`: {e}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{line}` failed ({status})"))
}

/// What a program prints, when it exists and succeeds.
pub(crate) fn output_of(mut command: Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// Is this a program on the search path?
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The command as one would type it.
pub(crate) fn command_line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    for arg in command.get_args() {
        let word = arg.to_string_lossy();
        let plain = !word.is_empty() && !word.contains([' ', '\'', '"', '$', '*']);
        words.push(if plain {
            word.into_owned()
        } else {
            format!("'{word}'")
        });
    }
    words.join(" ")
}

/// What became of a recorded program.
pub(crate) struct Recording {
    /// It ended by itself, with success.
    pub(crate) success: bool,
    /// Everything it printed, line by line in the order of arrival.
    pub(crate) output: String,
}

/// Runs a program, writes what it prints to `log`, and stops it after `limit`.
pub(crate) fn record(mut command: Command, log: &Path, limit: Duration) -> Result<Recording> {
    let line = command_line(&command);
    let mut file = open_log(log)?;
    // The log is a help for people: a full disk must not hide the outcome.
    let _ = writeln!(file, "$ {line}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start `{line}`: {e}"))?;
    let sink = Arc::new(Mutex::new((String::new(), file)));
    let readers = [
        child.stdout.take().map(|pipe| drain(pipe, &sink)),
        child.stderr.take().map(|pipe| drain(pipe, &sink)),
    ];
    let status = wait_at_most(&mut child, limit);
    let all_ended = pipes_close(&readers.into_iter().flatten().collect::<Vec<_>>());
    let mut output = sink.lock().map(|sink| sink.0.clone()).unwrap_or_default();
    if status.is_none() {
        let note = format!("stopped after {} s: out of time\n", limit.as_secs());
        output.push_str(&note);
    }
    if !all_ended {
        output.push_str("it left a process behind, which holds the output open\n");
    }
    let success = all_ended && status.is_some_and(|status| status.success());
    Ok(Recording { success, output })
}

/// The log file, to append to.
pub(crate) fn open_log(log: &Path) -> Result<File> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    }
    let options = File::options().create(true).append(true).open(log);
    options.map_err(|e| format!("cannot write {}: {e}", log.display()))
}

/// Copies lines into text and log, from a thread of its own, so that neither pipe fills up.
fn drain(pipe: impl Read + Send + 'static, sink: &Arc<Mutex<(String, File)>>) -> JoinHandle<()> {
    let sink = Arc::clone(sink);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe)
            .split(b'\n')
            .map_while(std::io::Result::ok)
        {
            let line = String::from_utf8_lossy(&line);
            let Ok(mut sink) = sink.lock() else { return };
            sink.0.push_str(&line);
            sink.0.push('\n');
            let _ = writeln!(sink.1, "{line}");
        }
    })
}

/// Waits for the ends of the pipes; false when some process outlives the program that started it.
fn pipes_close(readers: &[JoinHandle<()>]) -> bool {
    let end = Instant::now() + LINGER;
    while !readers.iter().all(JoinHandle::is_finished) {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

/// The exit status, or none when the time ran out and the program was killed.
fn wait_at_most(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= end {
            kill_tree(child.id());
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Kills a process and all that it started: cargo's tests hold our pipes open.
///
/// A process group would take Ctrl-C away from the children, so the tree is walked instead.
fn kill_tree(top: u32) {
    let parents = parents_of_all();
    let mut doomed = vec![top];
    let mut next = 0;
    while let Some(&parent) = doomed.get(next) {
        doomed.extend(parents.iter().filter(|p| p.1 == parent).map(|p| p.0));
        next += 1;
    }
    let list: Vec<String> = doomed.iter().map(ToString::to_string).collect();
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -9 {}", list.join(" "))])
        .stderr(Stdio::null())
        .status();
}

/// (process, parent) of every process.
fn parents_of_all() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may hold anything; the parent is the second word after it.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((process, parent.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn log_of(test: &str) -> std::path::PathBuf {
        let name = format!("xtask-{test}-{}.log", std::process::id());
        std::env::temp_dir().join(name)
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_pipes_and_the_outcome_are_recorded() {
        let log = log_of("both");
        let script = shell("echo out; echo err >&2; exit 3");
        let seen = record(script, &log, Duration::from_mins(1)).unwrap();
        assert!(!seen.success);
        assert!(seen.output.contains("out\n") && seen.output.contains("err\n"));
        let kept = std::fs::read_to_string(&log).unwrap();
        assert!(kept.starts_with("$ sh -c ") && kept.contains("err\n"));
        std::fs::remove_file(&log).unwrap();
    }

    /// A server that a test forgot to stop must not stop the whole tier.
    #[test]
    fn a_process_left_behind_is_reported_and_not_waited_for() {
        let log = log_of("left");
        let script = shell("sleep 20 & exit 0");
        let began = Instant::now();
        let seen = record(script, &log, Duration::from_mins(1)).unwrap();
        assert!(!seen.success);
        assert!(seen.output.contains("left a process behind"));
        assert!(began.elapsed() < Duration::from_secs(15));
        std::fs::remove_file(&log).unwrap();
    }

    /// The grandchild holds the pipe open: were it not killed, the test would last an hour.
    #[test]
    fn a_program_out_of_time_is_killed_with_its_children() {
        let log = log_of("late");
        let script = shell("sleep 3600 & wait");
        let seen = record(script, &log, Duration::from_millis(200)).unwrap();
        assert!(!seen.success);
        assert!(seen.output.contains("out of time"));
        std::fs::remove_file(&log).unwrap();
    }
}
