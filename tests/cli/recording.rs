//! A volume in which the built-in cameras were recorded, at no time at all: the clock is made up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use camring::base::time::{ManualClock, Now, Timestamp};
use camring::frame::{Frame, Item, StreamId};
use camring::ingest::builtin;
use camring::volume::{CreateOptions, VolumeSize};
use camring::writer::{Producer, WriterOptions};
use camring::{Volume, Writer};

use crate::program::folder;

/// When the cameras begin, on a whole second.
pub(crate) const START: Timestamp = Timestamp(1_795_000_000_000_000);
/// How long they are recorded, in microseconds.
pub(crate) const LEN_US: i64 = 20_000_000;

/// What was recorded, and where.
pub(crate) struct Recording {
    folder: tempfile::TempDir,
    frames: Vec<(StreamId, Frame)>,
}

impl Recording {
    /// Records the four cameras for 20 s into 16 blocks of 256 KiB.
    pub(crate) fn new() -> Self {
        let folder = folder();
        let now = now(0);
        let clock = ManualClock::new(now);
        let writer = Self::open(&folder.path().join("volume"), clock.clone());
        let mut producer = writer.producer().unwrap();
        let mut cameras = builtin::cameras(4).unwrap();
        let mut frames = Vec::new();
        let step_us = 20_000;
        for us in (0..=LEN_US).step_by(20_000) {
            for camera in &mut cameras {
                while let Some(item) = camera.due(crate::recording::now(us)) {
                    push(&mut producer, camera.stream(), item, &mut frames);
                }
            }
            clock.advance_us(step_us);
            if us % 500_000 == 0 {
                writer.commit().unwrap();
            }
        }
        drop(producer);
        writer.close().unwrap();
        Self { folder, frames }
    }

    fn open(dir: &Path, clock: ManualClock) -> Writer {
        let size = VolumeSize::Blocks(16);
        let options = CreateOptions {
            size,
            block_len: Some(256 << 10),
            replace: false,
        };
        Volume::create(dir, &options, &mut |_, _| {}).unwrap();
        let options = WriterOptions {
            clock: Arc::new(clock),
            ..WriterOptions::default()
        };
        Writer::open(dir, options).unwrap()
    }

    /// The directory that holds the volume, and what tests put beside it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The volume's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.folder().join("volume")
    }

    /// The frames of a track, in order.
    pub(crate) fn track(&self, stream: u64, track: u8) -> Vec<&Frame> {
        let is_of = |(id, frame): &&(StreamId, Frame)| id.0 == stream && frame.track == track;
        let frames = self.frames.iter().filter(is_of);
        frames.map(|(_, frame)| frame).collect()
    }
}

fn push(
    producer: &mut Producer,
    stream: StreamId,
    item: Item,
    frames: &mut Vec<(StreamId, Frame)>,
) {
    use camring::frame::FrameSink as _;
    if let Item::Frame(frame) = &item {
        frames.push((stream, frame.clone()));
    }
    producer.accept(stream, item).unwrap();
}

/// Both clocks `us` microseconds after the beginning.
fn now(us: i64) -> Now {
    Now {
        boot_us: 1_000_000 + us,
        utc_us: START.0 + us,
    }
}

/// A time `ms` milliseconds after the beginning, as an argument.
pub(crate) fn at(ms: i64) -> String {
    let total_ms = START.0 / 1_000 + ms;
    format!("@{}.{:03}", total_ms / 1_000, total_ms % 1_000)
}
