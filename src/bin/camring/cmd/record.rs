//! `camring record`.
use crate::args::camera::Record;
use crate::error::Outcome;
use crate::screen::Screen;
pub(super) fn run(args: &Record, _: &Screen) -> Outcome {
    let _ = args;
    anyhow::bail!("this command is not built yet")
}
