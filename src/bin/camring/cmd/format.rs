//! `camring create --partition`: formats a partition, after somebody has said that it is the right
//! one.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use anyhow::Context as _;
use camring::io::gpt::PartUuid;
use camring::volume::VolumeSize;
use camring::volume::create::partition::{Formatting, PartitionOptions};
use camring::volume::devices::suitable::Allowed;
use camring::{Error, ErrorKind};

use super::create;
use crate::args::Create;
use crate::error::{Exit, Outcome};
use crate::output::printable;
use crate::size;

/// What has to be typed before a partition is formatted.
const CONSENT: &str = "yes";
/// How much of what is typed is read, in bytes.
const MAX_ANSWER_LEN: u64 = 1_024;

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
        let mut out = anstream::stdout().lock();
        let (dir, measures) = (args.dir.display(), create::measures(formatting.geometry()));
        formatting.cancel();
        writeln!(out, "Would make {dir}: a volume, {measures}")?;
        writeln!(out, "Would destroy {victim}")?;
        return Ok(Exit::Ok);
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
    if args.yes {
        return Ok(());
    }
    let mut answer = String::new();
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        let mut screen = anstream::stderr();
        write!(screen, "This destroys {victim}\nType {CONSENT} to go on: ")?;
        screen.flush()?;
        let mut input = io::stdin().lock().take(MAX_ANSWER_LEN);
        input.read_line(&mut answer).context("reading the answer")?;
    }
    if answer.trim() == CONSENT {
        return Ok(());
    }
    let text = format!("nothing was changed; it would destroy {victim}");
    let remedy = format!("To format it, type {CONSENT} in full, or give --yes");
    Err(Error::new(ErrorKind::Exists, text)
        .with_remedy(remedy)
        .into())
}
