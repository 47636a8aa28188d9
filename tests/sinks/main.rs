//! Sinks besides the Matroska file: elementary streams, and recordings that start and stop while
//! items flow. ffmpeg reads what they write, and took apart the clips that go in.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and a test that is skipped says so"
)]

#[path = "../matroska/clip.rs"]
#[allow(dead_code, reason = "each suite uses a part of it")]
mod clip;
mod raw;
mod recorder;

use camring::base::time::Timestamp;
use camring::frame::{Item, StreamId, StreamSetup};

use crate::clip::Clip;

const STREAM: StreamId = StreamId(7);
const START: Timestamp = Timestamp(1_795_000_000_123_456);

/// The setup of a stream whose tracks are `clips`.
fn setup(clips: &[&Clip]) -> Item {
    let setup = StreamSetup {
        name: "Yard".into(),
        tracks: clips.iter().map(|clip| clip.setup.clone()).collect(),
    };
    Item::Setup(setup.into())
}

fn have_tools(test: &str) -> bool {
    ["ffmpeg", "ffprobe"]
        .iter()
        .all(|tool| clip::has_tool(test, tool))
}
