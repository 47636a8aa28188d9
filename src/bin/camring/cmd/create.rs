//! `camring create`: makes a volume, and says what was made. Before one is destroyed, it says which.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use camring::base::geometry::Geometry;
use camring::volume::locate::Located;
use camring::volume::{CreateOptions, Volume, VolumeSize};
use camring::{Error, ErrorKind};

use super::consent::{self, Answer};
use super::format;
use crate::args::Create;
use crate::error::{Exit, Outcome};
use crate::interrupt::{Interrupt, Signal};
use crate::screen::Screen;
use crate::{size, time};

/// The bitrate for which the length of the recording is told, in bits per second.
const EXAMPLE_BIT_S: u64 = 100_000_000;

pub(super) fn run(args: &Create, screen: &Screen) -> Outcome {
    if let Some(partuuid) = args.on.partition {
        return format::run(args, partuuid);
    }
    let options = options(args)?;
    let plan =
        Volume::plan_creation(&args.dir, &options).map_err(|error| with_remedy(error, args))?;
    let victim = plan.replaces.then(|| describe(&args.dir));
    if args.dry_run {
        return tell_plan(args, plan.geometry, victim.as_deref());
    }
    if let Some(victim) = victim {
        confirm(args, &victim)?;
    }
    let interrupt = Interrupt::catch()?;
    let bar = screen.bytes_bar("Writing zeroes");
    let mut caught = None;
    let made = Volume::create_until(&args.dir, &options, &mut |done, total| {
        bar.set(done, total);
        caught = interrupt.caught();
        match caught {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    });
    drop(bar);
    let Some(volume) = made.map_err(|error| with_remedy(error, args))? else {
        return Ok(caught.map_or(Exit::Failed, Signal::exit_of_unfinished));
    };
    tell(args, &volume.located())?;
    Ok(Exit::Ok)
}

/// Says what was made.
pub(super) fn tell(args: &Create, made: &Located) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let (dir, id, size) = (args.dir.display(), made.volume, measures(made.geometry));
    writeln!(out, "{dir}: volume {id}, {size}")?;
    let (rate, kept) = kept(made.geometry);
    writeln!(out, "At {rate} Mbit/s it keeps the last {kept}.")?;
    Ok(())
}

fn with_remedy(error: Error, args: &Create) -> Error {
    match error.kind() {
        ErrorKind::Exists if !args.force => {
            error.with_remedy("Choose another place, or --force, which destroys all its recordings")
        }
        _ => error,
    }
}

pub(super) fn tell_plan(args: &Create, geometry: Geometry, victim: Option<&str>) -> Outcome {
    let mut out = anstream::stdout().lock();
    let (dir, size) = (args.dir.display(), measures(geometry));
    writeln!(out, "Would make {dir}: a volume, {size}")?;
    let (rate, kept) = kept(geometry);
    writeln!(out, "At {rate} Mbit/s it would keep the last {kept}.")?;
    if let Some(victim) = victim {
        writeln!(out, "Would destroy {victim}")?;
    }
    Ok(Exit::Ok)
}

/// What is in `dir`, which holds a volume or what is left of one.
fn describe(dir: &Path) -> String {
    let place = dir.display();
    let volume = match Volume::open(dir) {
        Ok(volume) => volume,
        Err(error) => return format!("{place}: what cannot be read as a volume ({error})"),
    };
    let (id, size) = (volume.id(), measures(volume.geometry()));
    let streams = match volume.streams().len() {
        1 => "1 stream".to_owned(),
        count => format!("{count} streams"),
    };
    let recorded = match volume.time_range() {
        Some(times) => {
            let (from, to) = (time::format(times.start), time::format(times.end));
            format!("recorded from {from} to {to}")
        }
        None => "nothing recorded".to_owned(),
    };
    format!("{place}: volume {id}, {size}, {streams}, {recorded}")
}

/// Says what will be destroyed. Whoever can answer is asked, and has to type it; where nobody can,
/// `--force` was the answer.
fn confirm(args: &Create, victim: &str) -> anyhow::Result<()> {
    let answer = if args.yes {
        Answer::Nobody
    } else {
        consent::ask(victim)?
    };
    if answer == Answer::Nobody {
        tracing::warn!("--force destroys {victim}");
    }
    if answer != Answer::No {
        return Ok(());
    }
    let text = format!("{} stays as it is", args.dir.display());
    let remedy = format!(
        "To replace it, type {} in full, or give --yes",
        consent::WORD
    );
    Err(Error::new(ErrorKind::Exists, text)
        .with_remedy(remedy)
        .into())
}

/// The size of a volume, for people.
pub(super) fn measures(geometry: Geometry) -> String {
    let len = size::format(geometry.device_len());
    let count = geometry.slot_count();
    let block_len = size::format(u64::from(geometry.block_len()));
    format!("{len} in {count} blocks of {block_len}")
}

/// A bitrate in Mbit/s, and how long a ring lasts at it.
fn kept(geometry: Geometry) -> (u64, String) {
    let kept_us = u128::from(geometry.device_len()) * 8_000_000 / u128::from(EXAMPLE_BIT_S);
    let kept = time::format_span(i64::try_from(kept_us).unwrap_or(i64::MAX));
    (EXAMPLE_BIT_S / 1_000_000, kept)
}

fn options(args: &Create) -> camring::Result<CreateOptions> {
    let size = match (args.size, args.blocks) {
        (Some(len), _) => VolumeSize::Bytes(len),
        // clap has made sure that one of them is there.
        (None, blocks) => VolumeSize::Blocks(blocks.unwrap_or_default()),
    };
    Ok(CreateOptions {
        size,
        block_len: block_len(args)?,
        replace: args.force,
    })
}

pub(super) fn block_len(args: &Create) -> camring::Result<Option<u32>> {
    let block_len = args.block_size.map(|len| {
        u32::try_from(len).map_err(|_| {
            camring::Error::invalid(format!("blocks of {}", size::format(len)))
                .with_remedy("Blocks have from 64 KiB to 64 MiB")
        })
    });
    block_len.transpose()
}
