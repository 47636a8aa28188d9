//! `camring info`: what a volume is, and how it fares.
use crate::args::Dump;
use crate::error::Outcome;
pub(super) fn run(args: &Dump) -> Outcome {
    let _ = args;
    anyhow::bail!("this command is not built yet")
}
