//! What a volume holds of one camera, read back frame by frame. Payloads are summed up, not kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use camring::base::geometry::Sequence;
use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Frame, Gap, Item, Recorded, StreamSetup};
use camring::reader::{Query, Reader};
use camring::volume::Volume;

use crate::rtsp_server::parts;

/// A frame as it was read.
#[derive(Clone, Debug)]
pub(crate) struct StoredFrame {
    pub(crate) track: u8,
    pub(crate) rate_hz: u32,
    pub(crate) key: bool,
    pub(crate) time: Timestamp,
    pub(crate) clock: i64,
    pub(crate) len: usize,
    /// CRC-32 of the whole payload.
    pub(crate) sum: u32,
    /// The sums that the server's log has too.
    pub(crate) parts: Vec<u32>,
}

/// What was read of one stream, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) frames: Vec<StoredFrame>,
    /// The setups, each with the number of frames before it.
    pub(crate) setups: Vec<(usize, Arc<StreamSetup>)>,
    /// The gaps, each with the number of frames before it.
    pub(crate) gaps: Vec<(usize, Gap)>,
    next_ordinal: u64,
}

impl Stored {
    /// Reads all blocks of `volume`; what they hold, by stream.
    pub(crate) fn read_all(volume: &Volume) -> BTreeMap<u64, Self> {
        let blocks = volume.blocks_in(TimeRange::ALL);
        let sequences: Vec<Sequence> = blocks.iter().map(|row| row.sequence).collect();
        let mut reader = Reader::open(volume).unwrap();
        let mut items = reader.read(Query::blocks(sequences)).unwrap();
        let mut streams = BTreeMap::<u64, Self>::new();
        for recorded in &mut items {
            streams.entry(recorded.stream.0).or_default().take(recorded);
        }
        assert_eq!(items.missing_count(), 0);
        streams
    }

    fn take(&mut self, recorded: Recorded) {
        match recorded.item {
            Item::Setup(setup) => self.setups.push((self.frames.len(), setup)),
            Item::Gap(gap) => self.gaps.push((self.frames.len(), gap)),
            Item::Frame(frame) | Item::Preroll(frame) => {
                assert_eq!(recorded.ordinal, self.next_ordinal, "an ordinal is missing");
                self.next_ordinal += 1;
                let frame = self.sum_up(&frame);
                self.frames.push(frame);
            }
        }
    }

    fn sum_up(&self, frame: &Frame) -> StoredFrame {
        let (_, setup) = self.setups.last().expect("a setup comes before any frame");
        let track = &setup.tracks[usize::from(frame.track)];
        let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &frame.payload);
        StoredFrame {
            track: frame.track,
            rate_hz: track.clock_rate_hz,
            key: frame.key,
            time: frame.time,
            clock: frame.clock,
            len: frame.payload.len(),
            sum: u32::try_from(sum).unwrap(),
            parts: parts(track.codec, &frame.payload),
        }
    }

    /// The frames of one track.
    pub(crate) fn track(&self, track: u8) -> Vec<StoredFrame> {
        let frames = self.frames.iter();
        frames.filter(|f| f.track == track).cloned().collect()
    }
}
