//! `cargo xtask crash`: the crash simulation for as long as one likes.
//!
//! The trials are the integration test `crash`, in a release build; this chooses how many states
//! they look at and where they begin. What a trial does is no business of this file.

use crate::args::Args;
use crate::process::{cargo, run_shown};
use crate::{Command, Result};

pub(crate) const COMMAND: Command = Command {
    name: "crash",
    usage: "[--states N] [--seed S]",
    summary: "Simulates N states of a disk after power cuts, failures and rot, from seed S on.",
    run,
};

/// How many states are looked at where nobody says.
const STATE_COUNT: u64 = 1_000_000;

/// The random tests: each looks at a third of the states.
const TESTS: [&str; 3] = [
    "nothing_durable_is_lost_and_nothing_lost_comes_back_after_power_cuts",
    "nothing_durable_is_lost_when_writes_and_flushes_fail_too",
    "what_the_disk_has_spoilt_without_a_word_is_told_and_never_served",
];

fn run(args: &mut Args) -> Result {
    let states = number(args, "--states", STATE_COUNT)?;
    let seed = number(args, "--seed", 1)?;
    args.finish()?;
    let mut process = cargo(&["test", "--release", "--test", "crash", "--"]);
    process.args(["--nocapture", "--test-threads", "1"]);
    process.args(TESTS);
    process.env(
        "CAMRING_STATES",
        states.div_ceil(TESTS.len() as u64).to_string(),
    );
    process.env("CAMRING_SEED", seed.to_string());
    run_shown(process)
}

/// The number behind `option`.
fn number(args: &mut Args, option: &str, default: u64) -> Result<u64> {
    let Some(value) = args.value(option)? else {
        return Ok(default);
    };
    let digits = value.replace(['_', ','], "");
    let number = digits.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{option} needs a number of at least 1, and '{value}' is none"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_is_named_exists() {
        let main = std::fs::read_to_string(crate::root().join("tests/crash/main.rs")).unwrap();
        for test in TESTS {
            assert!(main.contains(&format!("fn {test}()")), "{test}");
        }
    }
}
