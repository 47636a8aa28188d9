//! `camring info`: what a volume is, and how it fares.
use crate::args::Read;
use crate::error::Outcome;
pub(super) fn run(args: &Read) -> Outcome {
    let _ = args;
    anyhow::bail!("this command is not built yet")
}
