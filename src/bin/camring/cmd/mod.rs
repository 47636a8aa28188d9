//! The commands, a file for each. They read with `Reader`, record with `Writer`, and leave the
//! form of what they print to `output`.

mod about;
mod blocks;
#[cfg(feature = "rtsp")]
mod camera;
mod commit;
mod consent;
mod create;
mod demo;
mod demo_record;
mod devices;
mod dump;
mod export;
mod format;
mod gap;
mod history;
mod info;
mod place;
mod play;
mod rebuild;
#[cfg(feature = "rtsp")]
mod record;
mod streams;
mod timeline;
mod verify;

use camring::frame::{GapCause, Item};

use crate::args::Command;
use crate::error::Outcome;
use crate::screen::Screen;

/// Does what was asked for.
pub(crate) fn run(command: &Command, screen: &Screen) -> Outcome {
    match command {
        Command::Create(args) => create::run(args, screen),
        Command::Devices(args) => devices::run(args),
        #[cfg(feature = "rtsp")]
        Command::Record(args) => record::run(args, screen),
        #[cfg(feature = "rtsp")]
        Command::Camera(args) => camera::run(args),
        Command::Info(args) => info::run(args),
        Command::Streams(args) => streams::run(args),
        Command::Timeline(args) => timeline::run(args),
        Command::Blocks(args) => blocks::run(args),
        Command::Dump(args) => dump::run(args),
        Command::Commit(args) => commit::run(args),
        Command::Verify(args) => verify::run(args, screen),
        Command::Rebuild(args) => rebuild::run(args),
        Command::Export(args) => export::run(args, screen),
        Command::Play(args) => play::run(args, screen),
        Command::Demo(args) => demo::run(args, screen),
        Command::Completions(args) => about::completions(args),
        Command::Man => about::man(),
        Command::DemoRecord(args) => demo_record::run(args),
    }
}

/// Whether `item` says that something which is on disk could not be read.
fn is_loss(item: &Item) -> bool {
    let is_lost = |cause| matches!(cause, GapCause::Damaged | GapCause::Overwritten);
    matches!(item, Item::Gap(gap) if is_lost(gap.cause))
}
