//! `cargo xtask setup`: installs what the project needs and the machine does not have.
//!
//! It prints what is missing before it touches anything, needs no root when nothing is, and
//! otherwise says which command would do it.

mod packages;

use std::os::unix::fs::MetadataExt;
use std::process::Command as Process;

use crate::args::Args;
use crate::process::{command_line, on_path, output_of, run_shown};
use crate::{Command, Result, fuzz};
use packages::Package;

pub(crate) const COMMAND: Command = Command {
    name: "setup",
    usage: "[--for build|test] [--check]",
    summary: "Installs the Debian packages that are missing; `--check` only names them.",
    run,
};

/// What the machine is to be made fit for; each purpose includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Compile the default features.
    Build,
    /// Run the default tier of tests.
    Test,
}

fn run(args: &mut Args) -> Result {
    let purpose = match args.value("--for")?.as_deref() {
        Some("build") => Purpose::Build,
        Some("test") | None => Purpose::Test,
        Some(other) => return Err(format!("--for takes build or test, not '{other}'")),
    };
    let check = args.flag("--check");
    args.finish()?;
    if !check {
        install(purpose)?;
        println!("Everything is there.");
        return Ok(());
    }
    let missing = packages::missing(purpose);
    if missing.is_empty() {
        println!("Nothing is missing.");
        return Ok(());
    }
    print_missing(&missing);
    Err("packages are missing; `cargo xtask setup` installs them".to_owned())
}

/// Installs what is missing for `purpose`.
///
/// # Errors
///
/// When something is missing and cannot be installed; the message holds the command to type.
pub(crate) fn install(purpose: Purpose) -> Result {
    let missing = packages::missing(purpose);
    if !missing.is_empty() {
        print_missing(&missing);
        install_packages(&missing)?;
    }
    if purpose == Purpose::Test {
        install_rust_components()?;
        install_cargo_fuzz()?;
    }
    Ok(())
}

fn print_missing(missing: &[&Package]) {
    println!("\nMissing Debian packages:");
    for package in missing {
        println!("  {:28} {}", package.name, package.reason);
    }
}

fn install_packages(missing: &[&Package]) -> Result {
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if !on_path("apt-get") {
        return Err(format!(
            "this machine has no apt-get; install by other means what these packages bring: {}",
            names.join(" ")
        ));
    }
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&names);
    if !may_become_root() {
        return Err(format!(
            "installing needs root; run: sudo apt-get update && sudo {}",
            command_line(&apt_get(&install))
        ));
    }
    run_shown(as_root(&apt_get(&["update"])))?;
    run_shown(as_root(&apt_get(&install)))
}

fn apt_get(args: &[&str]) -> Process {
    let mut command = Process::new("apt-get");
    command.args(args);
    command
}

/// The command, through sudo unless we are root, and without questions.
fn as_root(command: &Process) -> Process {
    let mut words = Vec::new();
    if !is_root() {
        words.push("sudo".into());
    }
    words.push("env".into());
    words.push("DEBIAN_FRONTEND=noninteractive".into());
    words.push(command.get_program().to_owned());
    words.extend(command.get_args().map(ToOwned::to_owned));
    let mut words = words.into_iter();
    let mut command = Process::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Root already, or sudo that works: silently, or by asking in a terminal.
fn may_become_root() -> bool {
    let mut sudo = Process::new("sudo");
    sudo.args(["-n", "true"]);
    is_root()
        || output_of(sudo).is_some()
        || (on_path("sudo") && std::io::IsTerminal::is_terminal(&std::io::stdin()))
}

/// rustup's minimal profile brings neither rustfmt nor clippy.
fn install_rust_components() -> Result {
    for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        let mut version = Process::new(program);
        version.arg("--version");
        if output_of(version).is_none() {
            let mut rustup = Process::new("rustup");
            rustup.args(["component", "add", component]);
            run_shown(rustup)?;
        }
    }
    Ok(())
}

/// Fuzzing needs a nightly toolchain; without one, its driver would be of no use.
fn install_cargo_fuzz() -> Result {
    if !fuzz::has_nightly() || on_path("cargo-fuzz") {
        return Ok(());
    }
    println!("\nMissing: cargo-fuzz, which drives the fuzz targets (about two minutes)");
    let mut install = Process::new("cargo");
    install.args(["install", "--locked", "cargo-fuzz"]);
    run_shown(install)
}
