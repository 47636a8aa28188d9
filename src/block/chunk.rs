//! A chunk: consecutive frames of one stream, behind one header.
//!
//! The header and the frame entries share one checksum; each frame has its own, so reading a frame
//! verifies it once and never sums its neighbours. Deltas chain from entry to entry; where one
//! does not fit, an escape entry before it carries the full value.

use zerocopy::little_endian::{I32, I64, U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::crc32c;
use super::{DecodeError, part};
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::{MAX_TRACK_COUNT, StreamId};

/// Length of a chunk header without its entries, in bytes.
pub const CHUNK_HEADER_LEN: usize = 80;
/// Length of a frame entry in bytes.
pub const FRAME_ENTRY_LEN: usize = 16;
/// The most entries of a chunk, escapes included.
pub const MAX_CHUNK_ENTRIES: usize = 16_384;
/// The longest chunk of more than one frame, in bytes.
pub const MAX_CHUNK_LEN: usize = 1 << 20;

const MAGIC: [u8; 4] = *b"CHNK";
const SUMMED_FROM: usize = 8;
const LEN_BITS: u32 = 24;
const LEN_MASK: u32 = (1 << LEN_BITS) - 1;

const TRACK: u8 = 0x0f;
const KEY: u8 = 0x10;
const LEADING: u8 = 0x20;
const RECORD: u8 = 0x40;
const ESCAPE: u8 = 0x80;

const ESCAPE_TIME: u32 = 1;
const ESCAPE_CLOCK: u32 = 2;
const ESCAPE_ORDINAL: u32 = 3;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawChunk {
    magic: [u8; 4],
    crc: U32,
    tag: U64,
    stream: U64,
    first_ordinal: U64,
    time: I64,
    arrival_us: I64,
    clock: I64,
    len: U32,
    entry_count: U16,
    reserved: U16,
    offset: U32,
    arrival_span_us: U32,
    reserved_2: [u8; 8],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    word: U32,
    time_delta: I32,
    clock_delta: I32,
    crc: U32,
}

const _: () = {
    assert!(size_of::<RawChunk>() == CHUNK_HEADER_LEN);
    assert!(size_of::<RawEntry>() == FRAME_ENTRY_LEN);
};

/// A frame or record on its way into a chunk.
#[derive(Clone, Debug)]
pub struct PendingFrame {
    /// Its ordinal; for a record, the ordinal of the next frame.
    pub ordinal: u64,
    /// Boot clock at its push, in microseconds.
    pub arrival_us: i64,
    /// Presentation time.
    pub time: Timestamp,
    /// The camera's clock.
    pub clock: i64,
    /// Track, below 16.
    pub track: u8,
    /// Whether decoding can start here.
    pub key: bool,
    /// Whether it cannot be decoded when decoding starts at the key frame before it.
    pub leading: bool,
    /// Whether the payload is a [record](super::record), not a frame.
    pub record: bool,
    /// The bytes, at most 8 MiB.
    pub payload: bytes::Bytes,
}

/// The deltas of a chunk, as they chain from entry to entry.
struct Chain {
    time: i64,
    ordinal: u64,
    clocks: [i64; MAX_TRACK_COUNT],
}

impl Chain {
    fn new(time: i64, ordinal: u64, clock: i64) -> Self {
        Self {
            time,
            ordinal,
            clocks: [clock; MAX_TRACK_COUNT],
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "four bits index an array of sixteen"
    )]
    fn clock(&mut self, track: u8) -> &mut i64 {
        &mut self.clocks[usize::from(track & TRACK)]
    }

    /// Hands the entries of `frame` to `put`: escapes where a delta does not fit, then its own.
    fn encode(&mut self, frame: &PendingFrame, crc: u32, put: &mut impl FnMut(RawEntry)) {
        let mut flags = frame.track & TRACK;
        flags |= if frame.key { KEY } else { 0 };
        flags |= if frame.leading { LEADING } else { 0 };
        flags |= if frame.record { RECORD } else { 0 };
        if frame.ordinal != self.ordinal {
            put(escape(ESCAPE_ORDINAL, flags, frame.ordinal.cast_signed()));
            self.ordinal = frame.ordinal;
        }
        let time_delta = delta(self.time, frame.time.0).unwrap_or_else(|| {
            put(escape(ESCAPE_TIME, flags, frame.time.0));
            0
        });
        let clock = self.clock(frame.track);
        let clock_delta = delta(*clock, frame.clock).unwrap_or_else(|| {
            put(escape(ESCAPE_CLOCK, flags, frame.clock));
            0
        });
        *clock = frame.clock;
        self.time = frame.time.0;
        self.ordinal = self.ordinal.wrapping_add(u64::from(!frame.record));
        put(RawEntry {
            word: word(frame.payload.len() as u32, flags),
            time_delta: time_delta.into(),
            clock_delta: clock_delta.into(),
            crc: crc.into(),
        });
    }
}

fn delta(from: i64, to: i64) -> Option<i32> {
    i32::try_from(to.checked_sub(from)?).ok()
}

fn word(low: u32, flags: u8) -> U32 {
    ((low & LEN_MASK) | u32::from(flags) << LEN_BITS).into()
}

fn escape(kind: u32, flags: u8, value: i64) -> RawEntry {
    // The value takes the place of the two deltas, low half first.
    RawEntry {
        word: word(kind, flags & TRACK | ESCAPE),
        time_delta: (value as i32).into(),
        clock_delta: ((value >> 32) as i32).into(),
        crc: 0.into(),
    }
}

impl RawEntry {
    /// The full value of an escape.
    fn value(&self) -> i64 {
        let low = self.time_delta.get().cast_unsigned();
        i64::from(self.clock_delta.get()) << 32 | i64::from(low)
    }
}

/// What a chunk came to hold, for the directory, the index and the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSummary {
    /// Length in bytes.
    pub len: u32,
    /// Times of its frames; of its records where it has no frames.
    pub times: TimeRange,
    /// Its first frame, counted over frames and records; none where it has records only.
    pub first_frame: Option<u16>,
    /// The first key frame of track 0, counted over frames and records.
    pub first_key: Option<u16>,
    /// The last such key frame.
    pub last_key: Option<u16>,
    /// Frames, records not counted.
    pub frame_count: u16,
    /// Whether it holds records.
    pub has_records: bool,
    /// Bytes of frames.
    pub payload_len: u64,
    /// Boot clock of the first push.
    pub first_arrival_us: i64,
    /// Boot clock of the last push.
    pub last_arrival_us: i64,
    /// The largest difference between a frame's time and its arrival in UTC, in microseconds.
    pub skew_us: u64,
}

/// Length that `frames` have as a chunk: entries and bytes. Saturates.
pub fn chunk_len<'a>(frames: impl Iterator<Item = &'a PendingFrame> + Clone) -> usize {
    let Some(first) = frames.clone().next() else {
        return CHUNK_HEADER_LEN;
    };
    let mut chain = Chain::new(first.time.0, first.ordinal, first.clock);
    let (mut entries, mut payload) = (0_usize, 0_usize);
    for frame in frames {
        chain.encode(frame, 0, &mut |_| entries += 1);
        payload = payload.saturating_add(frame.payload.len());
    }
    CHUNK_HEADER_LEN
        .saturating_add(entries * FRAME_ENTRY_LEN)
        .saturating_add(payload)
}

/// The most that one frame adds to a chunk beyond its payload, in bytes.
pub const MAX_FRAME_OVERHEAD_LEN: usize = 4 * FRAME_ENTRY_LEN;

/// Writes `frames`, at least one, as a chunk to the beginning of `bytes`.
///
/// Each payload is copied once, and summed while it is in the cache. `offset` is the place of the
/// chunk in its block; `utc_offset_us` maps arrivals to UTC.
///
/// # Panics
///
/// If `frames` are none or more than 16,384 entries, or `bytes` is shorter than [`chunk_len`].
pub fn encode<'a>(
    bytes: &mut [u8],
    tag: u64,
    stream: StreamId,
    offset: u32,
    utc_offset_us: i64,
    frames: impl Iterator<Item = &'a PendingFrame> + Clone,
) -> ChunkSummary {
    let len = chunk_len(frames.clone());
    assert!(
        len <= bytes.len(),
        "a chunk of {len} bytes in {}",
        bytes.len()
    );
    let (head, rest) = bytes.split_at_mut(CHUNK_HEADER_LEN);
    let payload_len: usize = frames.clone().map(|frame| frame.payload.len()).sum();
    let (entries, mut room) = rest.split_at_mut(len - CHUNK_HEADER_LEN - payload_len);
    let entry_count = entries.len() / FRAME_ENTRY_LEN;
    assert!(
        (1..=MAX_CHUNK_ENTRIES).contains(&entry_count),
        "{entry_count} entries"
    );
    let mut summary = Summing::default();
    let mut raw = RawChunk::new_zeroed();
    let mut chain = None;
    let mut places = entries.chunks_exact_mut(FRAME_ENTRY_LEN);
    for frame in frames {
        let chain = chain.get_or_insert_with(|| {
            raw.first_ordinal = frame.ordinal.into();
            raw.time = frame.time.0.into();
            raw.arrival_us = frame.arrival_us.into();
            raw.clock = frame.clock.into();
            Chain::new(frame.time.0, frame.ordinal, frame.clock)
        });
        let (to, left) = room.split_at_mut(frame.payload.len());
        to.copy_from_slice(&frame.payload);
        let crc = crc32c(to);
        room = left;
        chain.encode(frame, crc, &mut |entry| {
            if let Some(place) = places.next() {
                place.copy_from_slice(entry.as_bytes());
            }
        });
        summary.add(frame, utc_offset_us);
    }
    let summary = summary.finish(len as u32, payload_len as u64);
    raw.magic = MAGIC;
    raw.tag = tag.into();
    raw.stream = stream.0.into();
    raw.len = summary.len.into();
    raw.entry_count = (entry_count as u16).into();
    raw.offset = offset.into();
    let span = summary
        .last_arrival_us
        .saturating_sub(summary.first_arrival_us);
    raw.arrival_span_us = u32::try_from(span).unwrap_or(u32::MAX).into();
    head.copy_from_slice(raw.as_bytes());
    let header_len = CHUNK_HEADER_LEN + entry_count * FRAME_ENTRY_LEN;
    let crc = crc32c(bytes.get(SUMMED_FROM..header_len).unwrap_or_default());
    bytes
        .get_mut(4..8)
        .unwrap_or_default()
        .copy_from_slice(&crc.to_le_bytes());
    summary
}

#[derive(Default)]
struct Summing {
    frames: Option<TimeRange>,
    records: Option<TimeRange>,
    arrivals: Option<(i64, i64)>,
    first_frame: Option<u16>,
    keys: Option<(u16, u16)>,
    index: u16,
    frame_count: u16,
    skew_us: u64,
}

impl Summing {
    fn add(&mut self, frame: &PendingFrame, utc_offset_us: i64) {
        let at = TimeRange {
            start: frame.time,
            end: frame.time,
        };
        let times = if frame.record {
            &mut self.records
        } else {
            &mut self.frames
        };
        *times = Some(times.map_or(at, |all| all.union(&at)));
        let (first, _) = *self
            .arrivals
            .get_or_insert((frame.arrival_us, frame.arrival_us));
        self.arrivals = Some((first, frame.arrival_us));
        if !frame.record {
            self.frame_count += 1;
            self.first_frame.get_or_insert(self.index);
            let arrival_utc = frame.arrival_us.saturating_add(utc_offset_us);
            self.skew_us = self.skew_us.max(frame.time.0.abs_diff(arrival_utc));
            if frame.key && frame.track == 0 {
                let (first, _) = self.keys.unwrap_or((self.index, self.index));
                self.keys = Some((first, self.index));
            }
        }
        self.index += 1;
    }

    fn finish(self, len: u32, payload_len: u64) -> ChunkSummary {
        let (first_arrival_us, last_arrival_us) = self.arrivals.unwrap_or_default();
        let none = TimeRange {
            start: Timestamp(0),
            end: Timestamp(0),
        };
        ChunkSummary {
            len,
            times: self.frames.or(self.records).unwrap_or(none),
            first_frame: self.first_frame,
            first_key: self.keys.map(|keys| keys.0),
            last_key: self.keys.map(|keys| keys.1),
            frame_count: self.frame_count,
            has_records: self.records.is_some(),
            payload_len,
            first_arrival_us,
            last_arrival_us,
            skew_us: self.skew_us,
        }
    }
}

/// A frame or record inside a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameView {
    /// Its ordinal; for a record, the ordinal of the next frame.
    pub ordinal: u64,
    /// Presentation time.
    pub time: Timestamp,
    /// The camera's clock.
    pub clock: i64,
    /// Track, below 16.
    pub track: u8,
    /// Whether decoding can start here.
    pub key: bool,
    /// Whether it cannot be decoded when decoding starts at the key frame before it.
    pub leading: bool,
    /// Whether it is a [record](super::record), not a frame.
    pub record: bool,
    /// Where its bytes begin, counted from the beginning of the chunk.
    pub offset: u32,
    /// How many bytes it has.
    pub len: u32,
    crc: u32,
}

impl FrameView {
    /// The bytes of the frame, checked, out of the bytes of its chunk.
    ///
    /// # Errors
    ///
    /// [`Checksum`](DecodeError::Checksum): the bytes are damaged or torn.
    pub fn payload<'a>(&self, chunk: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let bytes = part(chunk, self.offset as usize, self.len as usize)
            .ok_or(DecodeError::Range("place of a frame"))?;
        if crc32c(bytes) != self.crc {
            return Err(DecodeError::Checksum);
        }
        Ok(bytes)
    }
}

/// A checked chunk header with its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkView {
    /// The stream of all frames.
    pub stream: StreamId,
    /// Length in bytes.
    pub len: u32,
    /// Boot clock at the first push, in microseconds.
    pub arrival_us: i64,
    /// From the first push to the last, in microseconds; saturated.
    pub arrival_span_us: u32,
    /// The frames and records, in the order of their pushes.
    pub frames: Vec<FrameView>,
}

impl ChunkView {
    /// Reads the chunk at `offset` of the block with `tag`; `bytes` are at least the whole chunk.
    /// The frames' own checksums are left to [`FrameView::payload`].
    ///
    /// # Errors
    ///
    /// - [`NoMagic`](DecodeError::NoMagic), [`Checksum`](DecodeError::Checksum): torn or damaged.
    /// - [`Foreign`](DecodeError::Foreign): the chunk of another block, turn, stream or place.
    /// - [`Range`](DecodeError::Range): an entry is impossible, or does not fit into the chunk.
    pub fn decode(
        bytes: &[u8],
        tag: u64,
        stream: StreamId,
        offset: u32,
    ) -> Result<Self, DecodeError> {
        let (raw, _) =
            RawChunk::ref_from_prefix(bytes).map_err(|_| DecodeError::Range("chunk length"))?;
        if raw.magic != MAGIC {
            return Err(DecodeError::NoMagic);
        }
        let count = usize::from(raw.entry_count.get());
        let header_len = CHUNK_HEADER_LEN + count * FRAME_ENTRY_LEN;
        if count == 0 || count > MAX_CHUNK_ENTRIES || header_len > raw.len.get() as usize {
            return Err(DecodeError::Range("number of frame entries"));
        }
        let entries = part(bytes, CHUNK_HEADER_LEN, header_len - CHUNK_HEADER_LEN)
            .and_then(|entries| <[RawEntry]>::ref_from_bytes(entries).ok())
            .ok_or(DecodeError::Range("chunk length"))?;
        let summed = part(bytes, SUMMED_FROM, header_len - SUMMED_FROM).unwrap_or_default();
        if raw.crc.get() != crc32c(summed) {
            return Err(DecodeError::Checksum);
        }
        if raw.tag.get() != tag || raw.stream.get() != stream.0 || raw.offset.get() != offset {
            return Err(DecodeError::Foreign);
        }
        if raw.len.get() as usize > bytes.len() {
            return Err(DecodeError::Range("chunk length"));
        }
        let chain = Chain::new(raw.time.get(), raw.first_ordinal.get(), raw.clock.get());
        Ok(Self {
            stream,
            len: raw.len.get(),
            arrival_us: raw.arrival_us.get(),
            arrival_span_us: raw.arrival_span_us.get(),
            frames: decode_entries(entries, chain, header_len as u32, raw.len.get())?,
        })
    }
}

fn decode_entries(
    entries: &[RawEntry],
    mut chain: Chain,
    mut offset: u32,
    end: u32,
) -> Result<Vec<FrameView>, DecodeError> {
    let mut frames = Vec::with_capacity(entries.len());
    for entry in entries {
        let [low, mid, high, flags] = entry.word.to_bytes();
        let low = u32::from_le_bytes([low, mid, high, 0]);
        let track = flags & TRACK;
        if flags & ESCAPE != 0 {
            match low {
                ESCAPE_TIME => chain.time = entry.value(),
                ESCAPE_CLOCK => *chain.clock(track) = entry.value(),
                ESCAPE_ORDINAL => chain.ordinal = entry.value().cast_unsigned(),
                _ => return Err(DecodeError::Range("kind of escape")),
            }
            continue;
        }
        let add = |value: i64, delta: I32| value.wrapping_add(i64::from(delta.get()));
        chain.time = add(chain.time, entry.time_delta);
        let clock = chain.clock(track);
        *clock = add(*clock, entry.clock_delta);
        let clock = *clock;
        let next = offset.checked_add(low).filter(|next| *next <= end);
        let next = next.ok_or(DecodeError::Range("length of a frame"))?;
        let record = flags & RECORD != 0;
        frames.push(FrameView {
            ordinal: chain.ordinal,
            time: Timestamp(chain.time),
            clock,
            track,
            key: flags & KEY != 0,
            leading: flags & LEADING != 0,
            record,
            offset,
            len: low,
            crc: entry.crc.get(),
        });
        chain.ordinal = chain.ordinal.wrapping_add(u64::from(!record));
        offset = next;
    }
    if offset != end {
        return Err(DecodeError::Range("sum of the frames' lengths"));
    }
    Ok(frames)
}

#[cfg(test)]
mod tests;
