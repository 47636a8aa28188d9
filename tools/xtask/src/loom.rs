//! `cargo xtask loom`: every order in which threads may meet, for the small protocols.
//!
//! The models live in `tests/loom.rs` and run the code that ships, built under a cfg of its own
//! in a target folder of its own, so that no other build is made anew.

use std::process::Command as Process;

use crate::args::Args;
use crate::process::{cargo, run_shown};
use crate::{Command, Result, root};

pub(crate) const COMMAND: Command = Command {
    name: "loom",
    usage: "[MODEL]",
    summary: "Runs the models of `tests/loom.rs`, or those whose name contains MODEL.",
    run,
};

fn run(args: &mut Args) -> Result {
    if !exists() {
        return Err("tests/loom.rs does not exist".to_owned());
    }
    let mut process = process();
    process.arg("--").args(args.rest());
    run_shown(process)
}

/// Are there models at all?
pub(crate) fn exists() -> bool {
    root().join("tests/loom.rs").is_file()
}

/// The command that builds and runs them.
pub(crate) fn process() -> Process {
    let mut process = cargo(&[
        "test",
        "--release",
        "--no-default-features",
        "--test",
        "loom",
        "--target-dir",
        "target/loom",
    ]);
    process.env("RUSTFLAGS", "--cfg camring_loom");
    process
}
