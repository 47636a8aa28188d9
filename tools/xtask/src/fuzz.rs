//! `cargo xtask fuzz`: searches for inputs that break the parsers.
//!
//! A target is a file of `fuzz/fuzz_targets`. Its known inputs lie in `fuzz/corpus/TARGET` and
//! are replayed on stable by `tests/fuzz_corpus.rs`; new ones go to `target/fuzz-corpus`, so that
//! a run leaves the checkout as it was.

use std::process::Command as Process;

use crate::args::Args;
use crate::process::{cargo_nightly, on_path, output_of, run_shown};
use crate::{Command, Result, root};

pub(crate) const COMMAND: Command = Command {
    name: "fuzz",
    usage: "[TARGET [SECONDS]]",
    summary: "Lists the fuzz targets, or runs one (60 s; needs nightly and cargo-fuzz).",
    run,
};

fn run(args: &mut Args) -> Result {
    let known = targets();
    let Some(target) = args.next_word() else {
        println!("{}", known.join("\n"));
        return Ok(());
    };
    let seconds = args.next_word().unwrap_or_else(|| "60".to_owned());
    let seconds = seconds
        .parse()
        .map_err(|_| format!("'{seconds}' is not a number of seconds"))?;
    args.finish()?;
    if !known.contains(&target) {
        return Err(format!(
            "there is no target '{target}'; there are: {}",
            known.join(", ")
        ));
    }
    if !has_nightly() || !on_path("cargo-fuzz") {
        return Err("fuzzing needs `rustup toolchain install nightly` and `cargo install --locked cargo-fuzz`".to_owned());
    }
    run_shown(search(&target, seconds)?)
}

/// The names of the targets, sorted.
pub(crate) fn targets() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root().join("fuzz/fuzz_targets")) else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".rs").map(str::to_owned)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Is there a nightly toolchain? libFuzzer's instrumentation needs its flags.
pub(crate) fn has_nightly() -> bool {
    let mut rustup = Process::new("rustup");
    rustup.args(["toolchain", "list"]);
    output_of(rustup).is_some_and(|list| list.lines().any(|line| line.starts_with("nightly")))
}

/// The command that builds every target.
pub(crate) fn build() -> Process {
    cargo_nightly(&["fuzz", "build"])
}

/// The command that runs one target for so many seconds.
///
/// # Errors
///
/// When the folder for new inputs cannot be made.
pub(crate) fn search(target: &str, seconds: u32) -> Result<Process> {
    let found = root().join("target/fuzz-corpus").join(target);
    std::fs::create_dir_all(&found).map_err(|e| format!("cannot make {}: {e}", found.display()))?;
    let mut process = cargo_nightly(&["fuzz", "run", target]);
    process
        .arg(found)
        .arg(root().join("fuzz/corpus").join(target));
    process.arg("--").arg(format!("-max_total_time={seconds}"));
    // One input may take ten seconds, no more: a hang is a defect like a crash.
    process.args(["-timeout=10", "-rss_limit_mb=2048"]);
    Ok(process)
}
