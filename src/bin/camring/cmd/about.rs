//! `camring completions` and `camring man`: the command line, described for shells and for `man`.

use std::io::Write;

use clap::CommandFactory as _;

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
    for part in command.get_subcommands().filter(|part| !part.is_hide_set()) {
        let man = clap_mangen::Man::new(part.clone());
        writeln!(page, ".SH \"camring {}\"", part.get_name())?;
        man.render_description_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_options_section(&mut page)?;
        man.render_extra_section(&mut page)?;
    }
    print(&page)
}

fn print(text: &[u8]) -> Outcome {
    let mut out = std::io::stdout().lock();
    out.write_all(text)?;
    out.flush()?;
    Ok(Exit::Ok)
}
