//! `camring create`: makes a volume, and says what was made.

use std::io::Write;
use std::ops::ControlFlow;

use camring::ErrorKind;
use camring::base::geometry::Geometry;
use camring::volume::locate::Located;
use camring::volume::{CreateOptions, Volume, VolumeSize};

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
    let made = made.map_err(|error| match error.kind() {
        ErrorKind::Exists if !args.force => {
            error.with_remedy("Choose another place, or --force, which destroys all its recordings")
        }
        _ => error,
    });
    let Some(volume) = made? else {
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
