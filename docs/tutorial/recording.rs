//! What the lessons share: a place to work in, and a recording of the built-in cameras to look at.
//! How it is made is told in lesson 1.
#![allow(dead_code, reason = "each lesson uses a part of it")]

use std::path::PathBuf;
use std::sync::Arc;

use camring::base::time::{Clock, ManualClock, Now, Timestamp, US_PER_S};
use camring::frame::{FrameSink, Item, StreamId};
use camring::ingest::builtin::{BuiltinCamera, cameras};
use camring::volume::{CreateOptions, VolumeSize};
use camring::writer::{Producer, WriterOptions};
use camring::{Result, Volume, Writer};
use tempfile::TempDir;

/// When the recordings of the lessons begin: 2023-11-14, 22:13:20 UTC.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000 * US_PER_S);

/// So many seconds after the beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    START.plus_us(seconds * US_PER_S)
}

/// A time as seconds after the beginning.
pub(crate) fn shown(time: Timestamp) -> String {
    let ms = time.us_since(START) / 1000;
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// A directory for a lesson's volumes: the first argument of the program, or else a temporary one,
/// which goes with the value.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl Place {
    /// Finds or makes it.
    ///
    /// # Errors
    ///
    /// When no temporary directory can be made.
    pub(crate) fn new() -> std::io::Result<Self> {
        if let Some(path) = std::env::args_os().nth(1) {
            let (path, temporary) = (path.into(), None);
            return Ok(Self { path, temporary });
        }
        let temporary = tempfile::tempdir()?;
        Ok(Self {
            path: temporary.path().to_owned(),
            temporary: Some(temporary),
        })
    }

    /// The path of something in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Built-in cameras that are being recorded, on a clock that is moved by hand, so that seconds pass
/// at once.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The volume's writer.
    pub(crate) writer: Writer,
    sink: IntoVolume,
    cameras: Vec<BuiltinCamera>,
    clock: ManualClock,
}

impl Recording {
    /// Makes a volume of 64 blocks in `dir`, and opens it for recording `count` cameras.
    pub(crate) fn begin(dir: PathBuf, count: u32, start: Timestamp) -> Result<Self> {
        let options = CreateOptions {
            size: VolumeSize::Blocks(64),
            block_len: Some(128 << 10),
            replace: true,
        };
        Volume::create(&dir, &options, &mut |_, _| {})?;
        let clock = ManualClock::new(Now {
            boot_us: 0,
            utc_us: start.0,
        });
        let options = WriterOptions {
            clock: Arc::new(clock.clone()),
            ..WriterOptions::default()
        };
        let writer = Writer::open(dir, options)?;
        let mut producer = writer.producer()?;
        producer.set_waiting(true);
        Ok(Self {
            writer,
            sink: IntoVolume(producer),
            cameras: cameras(count)?,
            clock,
        })
    }

    /// Records the next seconds; they are on stable storage then.
    pub(crate) fn run(&mut self, seconds: i64) -> Result<()> {
        for _ in 0..seconds {
            for camera in &mut self.cameras {
                while let Some(item) = camera.due(self.clock.now()) {
                    self.sink.accept(camera.stream(), item)?;
                }
            }
            self.clock.advance_us(US_PER_S.unsigned_abs());
            self.writer.commit()?;
        }
        Ok(())
    }

    /// Ends the recording in order.
    pub(crate) fn close(self) -> Result<()> {
        self.writer.close().map(drop)
    }
}

/// The way from a camera into the volume.
#[derive(Debug)]
struct IntoVolume(Producer);

impl FrameSink for IntoVolume {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        match item {
            Item::Setup(setup) => self.0.add_stream(stream, (*setup).clone()),
            Item::Frame(frame) | Item::Preroll(frame) => self.0.push(stream, frame),
            Item::Gap(_) => Ok(()),
        }
    }
}
