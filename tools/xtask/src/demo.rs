//! `cargo xtask demo`: the main job of camring, with neither a camera nor a server.
//!
//! The demonstration itself is a command of the program; this only gets it built and started.

use crate::args::Args;
use crate::process::{cargo, run_shown};
use crate::setup::{self, Purpose};
use crate::{Command, Result, root};

pub(crate) const COMMAND: Command = Command {
    name: "demo",
    usage: "[-- ARGS]",
    summary: "Installs what the build needs, builds, and runs `camring demo ARGS`.",
    run,
};

fn run(args: &mut Args) -> Result {
    setup::install(Purpose::Build)?;
    run_shown(cargo(&["build", "--release", "--bin", "camring"]))?;
    let mut program = std::process::Command::new(program_path());
    program.arg("demo").args(args.rest());
    run_shown(program)
}

/// Where cargo puts the program; `CARGO_TARGET_DIR` moves it.
fn program_path() -> std::path::PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    target.join("release/camring")
}
