//! The `camring` program: a thin shell around the library's public interface.

mod args;
mod cmd;
#[cfg(feature = "rtsp")]
mod credentials;
mod error;
mod interrupt;
mod output;
mod screen;
mod size;
mod terminal;
mod time;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    cli.color.apply();
    if cli.utc {
        time::print_utc();
    }
    if cli.bytes {
        size::print_bytes();
    }
    let screen = screen::Screen::new(cli.quiet);
    screen.show_log(cli.verbose, cli.quiet);
    error::finish(cmd::run(&cli.command, &screen))
}
