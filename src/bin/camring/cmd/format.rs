//! `camring create --partition`: formats a partition, after somebody has said that it is the right
//! one.

use camring::io::gpt::PartUuid;
use camring::volume::VolumeSize;
use camring::volume::create::partition::{Formatting, PartitionOptions};
use camring::volume::devices::suitable::Allowed;
use camring::{Error, ErrorKind};

use super::consent::{self, Answer};
use super::create;
use crate::args::Create;
use crate::error::{Exit, Outcome};
use crate::output::printable;
use crate::size;

pub(super) fn run(args: &Create, partuuid: PartUuid) -> Outcome {
    let size = args.size.map(VolumeSize::Bytes);
    let options = PartitionOptions {
        size: size.or(args.blocks.map(VolumeSize::Blocks)),
        block_len: create::block_len(args)?,
        allowed: Allowed {
            replace: args.force,
            system_disk: args.on.allow_system_disk,
        },
        discard: args.on.discard,
    };
    let formatting = Formatting::prepare(&args.dir, partuuid, &options)?;
    let victim = describe(&formatting);
    if args.dry_run {
        let geometry = formatting.geometry();
        formatting.cancel();
        return create::tell_plan(args, geometry, Some(&victim));
    }
    if let Err(error) = confirm(args, &victim) {
        formatting.cancel();
        return Err(error);
    }
    create::tell(args, &formatting.run()?)?;
    Ok(Exit::Ok)
}

/// Which partition it is, and what is on it.
fn describe(formatting: &Formatting<'_>) -> String {
    let (device, entry) = (formatting.device(), formatting.entry());
    let (path, len) = (device.path.display(), size::format(device.len));
    let name = match printable(&entry.name) {
        name if name.is_empty() => String::new(),
        name => format!(" \"{name}\""),
    };
    let content = printable(&formatting.content().to_string());
    let number = entry.number;
    let disk = device.disk_name();
    format!("all of {path}{name}, partition {number} of {disk}, {len}, which holds {content}")
}

/// Whoever can answer is asked, and has to type it; where nobody can, --yes has to be given.
fn confirm(args: &Create, victim: &str) -> anyhow::Result<()> {
    if args.yes || consent::ask(victim)? == Answer::Yes {
        return Ok(());
    }
    let text = format!("nothing was changed; it would destroy {victim}");
    let remedy = format!(
        "To format it, type {} in full, or give --yes",
        consent::WORD
    );
    Err(Error::new(ErrorKind::Exists, text)
        .with_remedy(remedy)
        .into())
}
