//! `camring completions` and `camring man`: the command line, described for shells and for `man`.

use std::io::{self, Write};

use clap::{Command, CommandFactory as _};

use crate::args::{Cli, Completions};
use crate::error::{Exit, Outcome};

pub(super) fn completions(args: &Completions) -> Outcome {
    let mut command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "camring", &mut script);
    print(&script)
}

/// One page with all commands, as `man -l` reads it.
pub(super) fn man() -> Outcome {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    write_commands(&command, "camring", &mut page)?;
    print(&page)
}

/// Writes a section for each command below `command`, whose name in full is `above`.
fn write_commands(command: &Command, above: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let is_shown = |part: &&Command| !part.is_hide_set() && part.get_name() != "help";
    for part in command.get_subcommands().filter(is_shown) {
        let name = format!("{above} {}", part.get_name());
        let man = clap_mangen::Man::new(part.clone());
        writeln!(page, ".SH \"{name}\"")?;
        man.render_description_section(page)?;
        man.render_synopsis_section(page)?;
        man.render_options_section(page)?;
        man.render_extra_section(page)?;
        write_commands(part, &name, page)?;
    }
    Ok(())
}

fn print(text: &[u8]) -> Outcome {
    let mut out = std::io::stdout().lock();
    out.write_all(text)?;
    out.flush()?;
    Ok(Exit::Ok)
}
