//! The project's own commands. `cargo xtask help` lists them.
//!
//! Each command is a module. This file only chooses between them; it needs no system library
//! and no crate, so that it builds on a machine that has nothing but Rust and a linker.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to the terminal"
)]

mod accept;
mod args;
mod crash;
mod demo;
mod fuzz;
mod help;
mod loom;
mod process;
mod setup;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use args::Args;

/// What a command gives back: nothing, or one message for the user.
type Result<T = ()> = std::result::Result<T, String>;

/// One word after `cargo xtask`.
struct Command {
    name: &'static str,
    usage: &'static str,
    summary: &'static str,
    run: fn(&mut Args) -> Result,
}

const COMMANDS: &[Command] = &[
    help::COMMAND,
    setup::COMMAND,
    demo::COMMAND,
    test::COMMAND,
    tidy::COMMAND,
    loom::COMMAND,
    fuzz::COMMAND,
    crash::COMMAND,
    accept::COMMAND,
];

fn main() -> ExitCode {
    let mut args = Args::from_environment();
    let name = args.next_word().unwrap_or_else(|| "help".to_owned());
    let command = COMMANDS.iter().find(|command| command.name == name);
    let outcome = match command {
        Some(command) => (command.run)(&mut args),
        None => Err(format!(
            "there is no command '{name}'; `cargo xtask help` lists them"
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the checkout.
fn root() -> PathBuf {
    // Clones that share a target folder share this program: cargo says which one is meant.
    let asked = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = asked.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.ancestors().nth(2).map_or(here.clone(), Path::to_owned)
}
