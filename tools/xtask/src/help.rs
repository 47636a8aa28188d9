//! `cargo xtask help`: one line for each command.

use crate::args::Args;
use crate::{COMMANDS, Command, Result};

pub(crate) const COMMAND: Command = Command {
    name: "help",
    usage: "",
    summary: "Lists the commands.",
    run,
};

fn run(args: &mut Args) -> Result {
    println!("The commands of the project:\n");
    for command in COMMANDS {
        println!("  cargo xtask {} {}", command.name, command.usage);
        println!("      {}", command.summary);
    }
    args.finish()
}
