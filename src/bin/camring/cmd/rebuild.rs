//! `camring rebuild`: makes the directory of a volume anew from its data.

use std::io::Write;

use camring::volume::rebuild::{plan, rebuild};

use crate::args::Rebuild;
use crate::error::{Exit, Outcome};
use crate::size;

pub(super) fn run(args: &Rebuild) -> Outcome {
    let located = if args.dry_run {
        plan(&args.data, &args.dir)?
    } else {
        rebuild(&args.data, &args.dir)?
    };
    let geometry = located.geometry;
    writeln!(
        anstream::stdout().lock(),
        "{}{}: volume {}, {} in {} blocks of {}",
        if args.dry_run { "Would make " } else { "" },
        args.dir.display(),
        located.volume,
        size::format(geometry.device_len()),
        geometry.slot_count(),
        size::format(u64::from(geometry.block_len())),
    )?;
    Ok(Exit::Ok)
}
