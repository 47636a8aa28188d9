//! A weather station that keeps its measurements in a camring volume: an application that has its
//! own kind of frames and knows nothing of cameras.

use std::path::Path;

use bytes::Bytes;
use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Codec, Frame, Item, StreamId, StreamSetup, TrackSetup};
use camring::reader::{Query, Select, Until};
use camring::volume::{CreateOptions, VolumeSize};
use camring::writer::{Producer, WriterOptions};
use camring::{Reader, Result, Volume, Writer};

/// The station's one stream.
pub const STATION: StreamId = StreamId(1815);

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// When, in seconds since 1970.
    pub time_s: i64,
    /// Air pressure in hectopascal.
    pub pressure_hpa: f64,
    /// Temperature in degrees Celsius.
    pub temperature_c: f64,
}

impl Measurement {
    fn to_frame(self) -> Frame {
        let values = [self.pressure_hpa, self.temperature_c];
        let payload: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Frame {
            track: 0,
            // Each can be understood by itself.
            key: true,
            leading: false,
            time: Timestamp(self.time_s * 1_000_000),
            clock: 0,
            payload: Bytes::from(payload),
        }
    }

    fn from_frame(frame: &Frame) -> Option<Self> {
        let (pressure, temperature) = frame.payload.split_first_chunk()?;
        Some(Self {
            time_s: frame.time.0 / 1_000_000,
            pressure_hpa: f64::from_le_bytes(*pressure),
            temperature_c: f64::from_le_bytes(*temperature.first_chunk()?),
        })
    }
}

/// A station that is measuring.
#[derive(Debug)]
pub struct Station {
    writer: Writer,
    producer: Producer,
}

impl Station {
    /// Makes a place for measurements.
    ///
    /// # Errors
    ///
    /// What camring says.
    pub fn create(dir: &Path) -> Result<()> {
        let options = CreateOptions {
            size: VolumeSize::Blocks(16),
            block_len: Some(64 << 10),
            replace: false,
        };
        Volume::create(dir, &options, &mut |_, _| {}).map(drop)
    }

    /// Starts to measure.
    ///
    /// # Errors
    ///
    /// What camring says.
    pub fn start(dir: &Path) -> Result<Self> {
        let writer = Writer::open(dir, WriterOptions::default())?;
        let mut producer = writer.producer()?;
        let track = TrackSetup {
            codec: Codec::Private,
            clock_rate_hz: 1,
            width_px: 0,
            height_px: 0,
            channel_count: 0,
            extra: Bytes::from_static(b"hPa, degrees Celsius"),
        };
        let setup = StreamSetup {
            name: "weather".to_owned(),
            tracks: vec![track],
        };
        producer.add_stream(STATION, setup)?;
        Ok(Self { writer, producer })
    }

    /// Keeps a measurement.
    ///
    /// # Errors
    ///
    /// What camring says.
    pub fn keep(&mut self, measurement: Measurement) -> Result<()> {
        self.producer.push(STATION, measurement.to_frame())
    }

    /// Makes sure that everything is on the disk.
    ///
    /// # Errors
    ///
    /// What camring says.
    pub fn save(&self) -> Result<()> {
        self.writer.commit().map(drop)
    }

    /// The measurements, to be looked at.
    pub fn volume(&self) -> &Volume {
        self.writer.volume()
    }

    /// Ends.
    ///
    /// # Errors
    ///
    /// What camring says.
    pub fn stop(self) -> Result<()> {
        drop(self.producer);
        self.writer.close().map(drop)
    }
}

/// The measurements between two times, both in seconds.
///
/// # Errors
///
/// What camring says.
pub fn between(volume: &Volume, first_s: i64, last_s: i64) -> Result<Vec<Measurement>> {
    let at = |time_s: i64| Timestamp(time_s * 1_000_000);
    let range = TimeRange::new(at(first_s), at(last_s));
    let mut reader = Reader::open(volume)?;
    let items = reader.read(Query::time([STATION], range))?;
    Ok(items.filter_map(|item| measurement(&item.item)).collect())
}

/// Hands over each measurement as soon as it is safe, until `take` has enough.
///
/// # Errors
///
/// What camring says.
pub fn follow(volume: &Volume, mut take: impl FnMut(Measurement) -> bool) -> Result<()> {
    let mut reader = Reader::open(volume)?;
    let query = Query {
        streams: vec![STATION],
        select: Select::Time(TimeRange::ALL),
        until: Until::Committed,
    };
    let mut items = reader.read(query)?;
    while let Some(recorded) = items.next() {
        if measurement(&recorded.item).is_some_and(|measurement| !take(measurement)) {
            break;
        }
    }
    Ok(())
}

fn measurement(item: &Item) -> Option<Measurement> {
    match item {
        Item::Frame(frame) => Measurement::from_frame(frame),
        _ => None,
    }
}
