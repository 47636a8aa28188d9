//! The file `timeline`: streams and timelines up to some block, so that opening a volume does not
//! read every index. A cache with a checksum in its first line.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::replace_file;
use super::locate::Located;
use super::registry::Registry;
use super::timeline::Timeline;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::Sequence;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::block::DecodeStart;
use crate::block::checksum::crc32c;
use crate::block::record::Record;
use crate::frame::{StreamId, StreamSetup};

/// Name of the file in the directory of a volume.
pub const TIMELINE_NAME: &str = "timeline";

/// The version of the file: one of another is not used.
const SCHEMA: u32 = 2;

/// The longest file that is read, in bytes.
const MAX_LEN: u64 = 1 << 30;

/// What the file keeps.
#[derive(Clone, Debug, Default)]
pub struct Cached {
    /// The last block that is covered.
    pub sequence: Sequence,
    /// The nonce of that block, as its row keeps it.
    pub nonce: u64,
    /// The streams.
    pub registry: Registry,
    /// Their timelines.
    pub timeline: Timeline,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    schema: u32,
    volume: String,
    sequence: Sequence,
    nonce: u64,
    streams: Vec<StoredStream>,
    timeline: Timeline,
}

#[derive(Serialize, Deserialize)]
struct StoredStream {
    id: u64,
    /// The setup as a record, in hexadecimal digits.
    setup: String,
    last_sequence: Sequence,
    last_time: Option<i64>,
    /// Block, offset, length and frame of the newest key frame.
    last_key: Option<(u64, u32, u32, u16)>,
}

/// The identity of the volume that the file in `dir` belongs to, if it can be read.
pub fn volume_of(dir: &Path) -> Option<String> {
    read(dir).map(|stored| stored.volume)
}

fn read(dir: &Path) -> Option<Stored> {
    let file = std::fs::File::open(dir.join(TIMELINE_NAME)).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_LEN).read_to_end(&mut bytes).ok()?;
    let (sum, text) = bytes.split_at_checked(bytes.iter().position(|b| *b == b'\n')?)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    let text = text.get(1..).filter(|text| crc32c(text) == sum)?;
    let stored: Stored = serde_json::from_slice(text).ok()?;
    Some(stored).filter(|stored| stored.schema == SCHEMA)
}

/// Reads the file in `dir`; none where it is missing, damaged, or of another volume.
pub fn load(dir: &Path, located: &Located) -> Option<Cached> {
    let stored = read(dir).filter(|stored| stored.volume == located.volume.to_string())?;
    let mut registry = Registry::default();
    for stream in stored.streams {
        let id = StreamId(stream.id);
        let setup = Record::decode(&from_hex(&stream.setup)?).ok()?;
        let Record::Setup(setup) = setup else {
            return None;
        };
        registry.set_setup(id, Arc::new(setup));
        let key = stream
            .last_key
            .map(|(sequence, offset, len, frame)| DecodeStart {
                sequence,
                offset,
                len,
                frame,
            });
        if let Some(time) = stream.last_time {
            registry.add_frames(id, stream.last_sequence, Timestamp(time), key);
        }
    }
    let Stored {
        sequence,
        nonce,
        timeline,
        ..
    } = stored;
    Some(Cached {
        sequence,
        nonce,
        registry,
        timeline,
    })
}

/// Writes the file in `dir`, all or nothing.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io); the file is as it was.
pub fn save(
    dir: &Path,
    located: &Located,
    covered: (Sequence, u64),
    registry: &Registry,
    timeline: Timeline,
) -> Result<()> {
    let (sequence, nonce) = covered;
    let streams = registry.iter().map(|stream| StoredStream {
        id: stream.id.0,
        setup: to_hex(&Record::Setup(StreamSetup::clone(&stream.setup)).encode()),
        last_sequence: stream.last_sequence,
        last_time: stream.last_time.map(|time| time.0),
        last_key: stream
            .last_key
            .map(|key| (key.sequence, key.offset, key.len, key.frame)),
    });
    let volume = located.volume.to_string();
    let streams = streams.collect();
    let stored = Stored {
        schema: SCHEMA,
        volume,
        sequence,
        nonce,
        streams,
        timeline,
    };
    let text = serde_json::to_vec(&stored)
        .map_err(|e| Error::new(ErrorKind::Io, "could not write JSON").with_source(e))?;
    let mut bytes = format!("{:08x}\n", crc32c(&text)).into_bytes();
    bytes.extend(text);
    replace_file(&dir.join(TIMELINE_NAME), &bytes)
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
