//! `cargo xtask accept`: the bounds that only a real clock on a real machine can show.
//!
//! The checks are the integration test `accept` (no libtest harness, release build), which prints
//! one line for each: `ACCEPT name | bound | measured | ok`, or `miss`, or `skip`. This runs them
//! and prints the table; what a check does is no business of this file.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::args::Args;
use crate::process::cargo;
use crate::setup::{self, Purpose};
use crate::{Command, Result, root};

pub(crate) const COMMAND: Command = Command {
    name: "accept",
    usage: "[CHECK ...]",
    summary: "Measures the bounds on this machine; fails when one is missed.",
    run,
};

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Check {
    name: String,
    bound: String,
    measured: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The bound holds.
    Ok,
    /// The bound does not hold.
    Miss,
    /// It could not be measured here; `measured` says why.
    Skip,
}

fn run(args: &mut Args) -> Result {
    if !root().join("tests/accept/main.rs").is_file() {
        return Err("there are no checks: tests/accept/main.rs does not exist".to_owned());
    }
    setup::install(Purpose::Test)?;
    let mut process = cargo(&["test", "--release", "--test", "accept", "--"]);
    process.args(args.rest()).stdout(Stdio::piped());
    let mut child = process
        .spawn()
        .map_err(|e| format!("cannot start cargo: {e}"))?;
    let mut checks = Vec::new();
    for line in BufReader::new(child.stdout.take().ok_or("no output")?)
        .lines()
        .map_while(std::io::Result::ok)
    {
        println!("{line}");
        checks.extend(parse(&line)?);
    }
    let status = child.wait().map_err(|e| format!("cargo: {e}"))?;
    print!("\n{}", table(&checks));
    judge(&checks, status.success())
}

/// The check that a line reports; none when the line is about something else.
fn parse(line: &str) -> Result<Option<Check>> {
    let Some(fields) = line.strip_prefix("ACCEPT ") else {
        return Ok(None);
    };
    let fields: Vec<&str> = fields.split('|').map(str::trim).collect();
    let [name, bound, measured, verdict] = fields[..] else {
        return Err(format!("this line has not four fields: {line}"));
    };
    let verdict = match verdict {
        "ok" => Verdict::Ok,
        "miss" => Verdict::Miss,
        "skip" => Verdict::Skip,
        other => return Err(format!("'{other}' is no verdict: {line}")),
    };
    let [name, bound, measured] = [name, bound, measured].map(str::to_owned);
    Ok(Some(Check {
        name,
        bound,
        measured,
        verdict,
    }))
}

fn table(checks: &[Check]) -> String {
    let heading = row("check", "bound", "measured", "verdict");
    let rows = checks.iter().map(|check| {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Miss => "MISS",
            Verdict::Skip => "skipped",
        };
        row(&check.name, &check.bound, &check.measured, verdict)
    });
    [heading].into_iter().chain(rows).collect()
}

fn row(name: &str, bound: &str, measured: &str, verdict: &str) -> String {
    format!("{name:36} {bound:28} {measured:28} {verdict}\n")
}

/// All is well when something was measured, nothing was missed, and the checks ran to their end.
fn judge(checks: &[Check], ended_well: bool) -> Result {
    let count = |verdict| {
        checks
            .iter()
            .filter(|check| check.verdict == verdict)
            .count()
    };
    let [ok, missed, skipped] = [Verdict::Ok, Verdict::Miss, Verdict::Skip].map(count);
    let summary = format!("{ok} held, {missed} missed, {skipped} skipped");
    println!("{summary}");
    if missed > 0 {
        return Err(format!("bounds were missed: {summary}"));
    }
    if !ended_well {
        return Err("the checks did not run to their end".to_owned());
    }
    if ok == 0 {
        return Err("no bound was measured".to_owned());
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn check(line: &str) -> Check {
        parse(line).unwrap().unwrap()
    }

    #[test]
    fn a_report_line_becomes_a_row() {
        let seen = check("ACCEPT reopen after kill | <= 2 s | 0.31 s | ok");
        assert_eq!(seen.name, "reopen after kill");
        assert_eq!(seen.bound, "<= 2 s");
        assert_eq!(seen.verdict, Verdict::Ok);
        assert!(table(&[seen]).contains("0.31 s"));
    }

    #[test]
    fn other_lines_are_passed_over_and_broken_ones_are_refused() {
        assert_eq!(parse("running 3 checks"), Ok(None));
        assert!(parse("ACCEPT reopen | <= 2 s | ok").is_err());
        assert!(parse("ACCEPT reopen | <= 2 s | 1 s | fine").is_err());
    }

    #[test]
    fn a_miss_a_crash_and_an_empty_run_all_fail() {
        let held = || check("ACCEPT a | b | c | ok");
        assert!(judge(&[held()], true).is_ok());
        assert!(judge(&[held(), check("ACCEPT a | b | c | miss")], true).is_err());
        assert!(judge(&[held()], false).is_err());
        assert!(judge(&[check("ACCEPT a | b | no disk | skip")], true).is_err());
        assert!(judge(&[], true).is_err());
    }
}
