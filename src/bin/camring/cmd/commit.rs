//! `camring commit`: has the program that records put all it has on stable storage.

use std::io::Write;

use camring::base::geometry::Position;
use camring::writer::ControlClient;

use crate::args::Commit;
use crate::error::{Exit, Outcome};

pub(super) fn run(args: &Commit) -> Outcome {
    let Position { sequence, run } = ControlClient::connect(&args.dir)?.commit()?;
    let place = match run {
        Position::WHOLE if sequence == 0 => "Nothing was recorded yet.".to_owned(),
        Position::WHOLE => {
            format!("On stable storage: everything, up to the end of block {sequence}.")
        }
        run => format!("On stable storage: everything, up to run {run} in block {sequence}."),
    };
    writeln!(anstream::stdout().lock(), "{place}")?;
    Ok(Exit::Ok)
}
