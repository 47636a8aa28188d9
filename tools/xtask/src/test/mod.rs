//! `cargo xtask test`: the default tier, as numbered steps.
//!
//! A step that fails does not stop the ones after it. Each writes its log; what it printed is
//! shown only when it failed. At the end stand the failures, the skips with their reasons, the
//! time, and one line of counts.

mod report;
mod skips;
mod steps;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::process::{Recording, open_log, record};
use crate::{Command, Result, root};
use report::{Counts, excerpt};
use steps::STEPS;

pub(crate) const COMMAND: Command = Command {
    name: "test",
    usage: "[--check-skips]",
    summary: "Runs the default tier of tests; with CI=true, the skips must be the expected ones.",
    run,
};

/// The whole tier on two cores; what `setup` downloads is not counted.
const MAX_TOTAL: Duration = Duration::from_mins(20);

/// What a step comes to.
pub(crate) enum Verdict {
    Passed,
    /// With one line that says what failed.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

/// What a step may do: run programs within the time that is left, and note things.
pub(crate) struct Session {
    log: PathBuf,
    deadline: Instant,
    output: String,
}

impl Session {
    /// Runs a program and keeps what it prints.
    pub(crate) fn run(&mut self, process: Process) -> Recording {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let recording = record(process, &self.log, left).unwrap_or_else(|message| Recording {
            success: false,
            output: format!("{message}\n"),
        });
        self.output.push_str(&recording.output);
        recording
    }

    /// Runs programs up to the first that fails.
    pub(crate) fn run_all(&mut self, processes: impl IntoIterator<Item = Process>) -> Verdict {
        for process in processes {
            let line = crate::process::command_line(&process);
            if !self.run(process).success {
                return Verdict::Failed(format!("`{line}` failed"));
            }
        }
        Verdict::Passed
    }

    /// Adds lines to what the step prints.
    pub(crate) fn note(&mut self, text: &str) {
        self.output.push_str(text);
        // The log is a help for people: a full disk must not hide the outcome.
        let _ = open_log(&self.log).and_then(|mut log| {
            std::io::Write::write_all(&mut log, text.as_bytes()).map_err(|e| e.to_string())
        });
    }
}

/// What the whole tier came to.
#[derive(Default)]
struct Totals {
    counts: Counts,
    failures: Vec<String>,
    skips: BTreeSet<String>,
}

fn run(args: &mut Args) -> Result {
    let asked = args.flag("--check-skips");
    args.finish()?;
    let check_skips = asked || std::env::var("CI").is_ok_and(|value| value == "true");
    let logs = root().join("target/xtask");
    // Yesterday's logs would be appended to.
    let _ = std::fs::remove_dir_all(&logs);
    println!("Logs are in target/xtask.");

    let mut totals = Totals::default();
    let mut start = Instant::now();
    for (number, step) in (1..).zip(STEPS) {
        let log = logs.join(format!("{number:02}-{}.log", step.name));
        print!("{number:2} {:12} ", step.name);
        let _ = std::io::Write::flush(&mut std::io::stdout());
        let began = Instant::now();
        let mut session = Session {
            log,
            deadline: start + MAX_TOTAL,
            output: String::new(),
        };
        let verdict = (step.run)(&mut session);
        totals.add(step.name, &verdict, &session.output, began.elapsed());
        if step.name == steps::SETUP {
            start = Instant::now();
        }
    }
    conclude(&totals, start.elapsed(), check_skips)
}

impl Totals {
    /// Prints the end of the step's line, and adds its counts.
    fn add(&mut self, name: &str, verdict: &Verdict, output: &str, time: Duration) {
        let mut counts = report::counts(output);
        let seconds = time.as_secs_f64();
        match verdict {
            Verdict::Passed => {
                counts.passed += usize::from(counts.is_zero());
                println!("ok      {seconds:6.1} s  {} passed", counts.passed);
            }
            Verdict::Failed(why) => {
                counts.failed = counts.failed.max(1);
                println!("FAILED  {seconds:6.1} s  {why}\n\n{}\n", excerpt(output));
                self.failures.push(format!("{name}: {why}"));
                self.failures.extend(report::failed_tests(output));
            }
            Verdict::Skipped(why) => {
                println!("skipped {seconds:6.1} s  {why}");
                self.skips.insert(format!("{name}: {why}"));
            }
        }
        self.skips.extend(report::skips(output));
        self.counts.add(&counts);
    }
}

fn conclude(totals: &Totals, time: Duration, check_skips: bool) -> Result {
    print_list("Failed:", &totals.failures);
    print_list("Skipped:", &totals.skips);
    let differences = skips::differences(&skips::expected()?, &totals.skips);
    print_list("Differences from tests/expected-skips.txt:", &differences);
    let total = format!(
        "{:.0} s of at most {} s",
        time.as_secs_f64(),
        MAX_TOTAL.as_secs()
    );
    println!("\nTime without setup: {total}");
    let Counts { passed, failed } = totals.counts;
    println!(
        "{passed} passed, {failed} failed, {} skipped",
        totals.skips.len()
    );
    if failed > 0 {
        return Err("the tier failed".to_owned());
    }
    if time > MAX_TOTAL {
        return Err(format!("the tier took too long: {total}"));
    }
    if check_skips && !differences.is_empty() {
        return Err("the skips are not the expected ones".to_owned());
    }
    Ok(())
}

fn print_list<'a>(title: &str, lines: impl IntoIterator<Item = &'a String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        println!("\n{title}");
    }
    for line in lines {
        println!("  {line}");
    }
}
