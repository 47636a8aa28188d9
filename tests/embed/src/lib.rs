//! A program of somebody else, which embeds camring to record data of its own: temperatures, one
//! frame a second. It uses the public API alone, with default features off.

use std::path::Path;

use bytes::Bytes;
use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Codec, Frame, Item, StreamId, StreamSetup, TrackSetup};
use camring::reader::{Query, Reader, Select, Until};
use camring::volume::{CreateOptions, Volume, VolumeSize};
use camring::writer::{Producer, Writer, WriterOptions};

/// The stream of the only sensor.
pub const SENSOR: StreamId = StreamId(9);

/// A sensor's recorder.
#[derive(Debug)]
pub struct Recorder {
    writer: Writer,
    producer: Producer,
}

impl Recorder {
    /// Records into the volume in `dir`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// camring's.
    pub fn open(dir: &Path) -> camring::Result<Self> {
        if Volume::open(dir).is_err() {
            let size = VolumeSize::Blocks(16);
            let options = CreateOptions {
                size,
                block_len: Some(256 << 10),
                replace: false,
            };
            Volume::create(dir, &options, &mut |_, _| {})?;
        }
        let writer = Writer::open(dir, WriterOptions::default())?;
        let mut producer = writer.producer()?;
        let track = TrackSetup {
            codec: Codec::Private,
            clock_rate_hz: 1,
            width_px: 0,
            height_px: 0,
            channel_count: 0,
            extra: Bytes::from_static(b"celsius"),
        };
        let setup = StreamSetup {
            name: "boiler".to_owned(),
            tracks: vec![track],
        };
        producer.add_stream(SENSOR, setup)?;
        Ok(Self { writer, producer })
    }

    /// Records what the sensor says in second `second`.
    ///
    /// # Errors
    ///
    /// camring's.
    pub fn record(&mut self, second: i64, celsius: f64) -> camring::Result<()> {
        self.producer.push(
            SENSOR,
            Frame {
                track: 0,
                key: true,
                leading: false,
                time: Timestamp(second * 1_000_000),
                clock: second,
                payload: Bytes::copy_from_slice(&celsius.to_le_bytes()),
            },
        )
    }

    /// Waits until everything is on disk.
    ///
    /// # Errors
    ///
    /// camring's.
    pub fn commit(&self) -> camring::Result<()> {
        self.writer.commit().map(drop)
    }

    /// The same for programs that have tasks instead of threads.
    ///
    /// # Errors
    ///
    /// camring's.
    pub async fn commit_async(&self) -> camring::Result<()> {
        self.writer.commit_async().await.map(drop)
    }

    /// The volume, to look into while it is being recorded.
    pub fn volume(&self) -> &Volume {
        self.writer.volume()
    }

    /// Ends the recording.
    ///
    /// # Errors
    ///
    /// camring's.
    pub fn close(self) -> camring::Result<()> {
        drop(self.producer);
        self.writer.close().map(drop)
    }
}

/// What was recorded from second `from` to second `to`.
///
/// # Errors
///
/// camring's.
pub fn history(volume: &Volume, from: i64, to: i64) -> camring::Result<Vec<(i64, f64)>> {
    let range = TimeRange {
        start: Timestamp(from * 1_000_000),
        end: Timestamp(to * 1_000_000),
    };
    let mut reader = Reader::open(volume)?;
    let items = reader.read(Query::time([SENSOR], range))?;
    Ok(items
        .filter_map(|recorded| reading(&recorded.item))
        .filter(|r| r.0 >= from)
        .collect())
}

/// Follows the recording, and hands each reading to `take` as soon as it is written, until it says
/// that it has enough.
///
/// # Errors
///
/// camring's.
pub fn follow(volume: &Volume, take: &mut dyn FnMut(i64, f64) -> bool) -> camring::Result<()> {
    let mut reader = Reader::open(volume)?;
    let query = Query {
        streams: vec![SENSOR],
        select: Select::Time(TimeRange::ALL),
        until: Until::Written,
    };
    for recorded in reader.read(query)? {
        if let Some((second, celsius)) = reading(&recorded.item)
            && !take(second, celsius)
        {
            break;
        }
    }
    Ok(())
}

/// The first `count` readings, as soon as they are written, for a task.
///
/// # Errors
///
/// camring's.
pub async fn follow_async(volume: &Volume, count: usize) -> camring::Result<Vec<(i64, f64)>> {
    let mut reader = Reader::open(volume)?;
    let query = Query {
        streams: vec![SENSOR],
        select: Select::Time(TimeRange::ALL),
        until: Until::Written,
    };
    let mut frames = reader.read(query)?;
    let mut readings = Vec::new();
    while readings.len() < count
        && let Some(recorded) = frames.next_async().await
    {
        readings.extend(reading(&recorded.item));
    }
    Ok(readings)
}

fn reading(item: &Item) -> Option<(i64, f64)> {
    let Item::Frame(frame) = item else {
        return None;
    };
    let bytes = frame.payload.first_chunk()?;
    Some((frame.time.0 / 1_000_000, f64::from_le_bytes(*bytes)))
}
