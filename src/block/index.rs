//! The index of a block: for each stream, where its chunks are.
//!
//! Sections are sorted by stream. The index is summed in pages of 64 KiB; the trailer's fences
//! hold the checksums and say which stream begins where, so that looking up one stream of
//! thousands reads one page. Every 1,024th index is a summary of all streams.

use std::collections::BTreeMap;

use bytes::Bytes;
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::crc32c;
use super::record::Record;
use super::{DecodeError, part};
use crate::base::geometry::Sequence;
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::StreamId;

/// How much of an index one checksum covers, in bytes.
pub const INDEX_PAGE_LEN: usize = 64 << 10;
/// The most pages of an index.
pub const MAX_INDEX_PAGES: usize = 240;
/// The index of every so many blocks is a summary, more often in a ring of fewer than twice as many.
const MAX_SUMMARY_EVERY: u64 = 1024;

/// Marks the length of a chunk that holds nothing but records.
const NO_FRAMES: u32 = 1 << 31;

const SECTION_HEADER_LEN: usize = 64;
const ENTRY_LEN: usize = 48;
const RECORD_HEADER_LEN: usize = 8;

/// Where decoding must start to show the first frame of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeStart {
    /// The block of the key frame.
    pub sequence: Sequence,
    /// The chunk of the key frame, in bytes from the beginning of its block.
    pub offset: u32,
    /// The length of that chunk in bytes.
    pub len: u32,
    /// The key frame in that chunk, counted over frames and records.
    pub frame: u16,
}

/// A chunk as the index lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Where it begins, in bytes from the beginning of its block.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
    /// The run that holds it.
    pub run: u64,
    /// Times of its frames; of its records where it has no frames.
    pub times: TimeRange,
    /// Whether it holds frames, not only records.
    pub has_frames: bool,
    /// Its first key frame, counted over frames and records.
    pub first_key: Option<u16>,
    /// Where decoding must start to show its first frame; none where no key frame came before.
    pub start: Option<DecodeStart>,
}

/// What the index knows of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSection {
    /// The stream.
    pub stream: StreamId,
    /// The last block before this one that holds it; 0 for none.
    pub previous: Sequence,
    /// Its frames in this block.
    pub frame_count: u32,
    /// Their bytes.
    pub payload_len: u64,
    /// The latest time of its frames: in this block, or else in block `previous`.
    pub last_time: Timestamp,
    /// Its chunks, in the order of their places; none where a summary lists a stream that the
    /// block does not hold.
    pub chunks: Vec<ChunkEntry>,
    /// The setup in force at the beginning and all records of the block, each with the number of
    /// the chunk (in this section) that it comes with. Without chunks, the setup in force and the
    /// gap that lasts.
    pub records: Vec<(u32, Record)>,
}

/// A stream that a summary lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentStream {
    /// The stream.
    pub stream: StreamId,
    /// The last block that holds it.
    pub previous: Sequence,
    /// The latest time of its frames.
    pub last_time: Timestamp,
    /// The setup in force, and the gap that lasts if there is one, as encoded records.
    pub records: Vec<Bytes>,
}

/// One page of the index, as the trailer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The stream of the first section that begins in the page; of the section that goes through
    /// it where none begins.
    pub first_stream: StreamId,
    /// Where that section begins, in bytes from the beginning of the page; none where none does.
    pub first_section: Option<u32>,
    /// CRC-32C of the page.
    pub crc: u32,
}

/// After how many blocks a summary follows the one before, in a ring of `slot_count` blocks: 1,024,
/// or the greatest power of two of which the ring holds two. The index of each block whose sequence
/// is a multiple lists also the streams that the block does not hold.
pub fn summary_every(slot_count: u64) -> u64 {
    let half = (slot_count / 2).clamp(1, MAX_SUMMARY_EVERY);
    1 << half.ilog2()
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSection {
    stream: U64,
    len: U32,
    chunk_count: U32,
    records_len: U32,
    frame_count: U32,
    previous: U64,
    first_time: I64,
    last_time: I64,
    payload_len: U64,
    reserved: [u8; 8],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    offset: U32,
    len: U32,
    first_time: I64,
    last_time: I64,
    start_sequence: U64,
    start_offset: U32,
    start_len: U32,
    start_frame: U16,
    first_key: U16,
    run: U32,
}

const _: () = {
    assert!(size_of::<RawSection>() == SECTION_HEADER_LEN);
    assert!(size_of::<RawEntry>() == ENTRY_LEN);
};

/// Gathers the index of the open block, one chunk at a time.
///
/// Sections are addressed by a dense number that the caller gives each stream, and keep their
/// memory from block to block, so that adding a chunk does not allocate in the long run.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    sections: Vec<Section>,
    used: Vec<u32>,
    /// Streams that are listed and not held, by number.
    absent: BTreeMap<StreamId, Section>,
    encoded_len: usize,
    chunk_count: u32,
}

#[derive(Debug, Default)]
struct Section {
    stream: StreamId,
    previous: Sequence,
    /// For a stream that is not held.
    last_time: Timestamp,
    frame_count: u32,
    payload_len: u64,
    chunks: Vec<ChunkEntry>,
    records: Vec<u8>,
}

impl IndexBuilder {
    /// Length that the index has now, in bytes.
    pub fn encoded_len(&self) -> usize {
        self.encoded_len
    }

    /// How much a chunk of a stream adds at most, its records of `records_len` bytes included.
    pub fn max_growth(records_len: usize) -> usize {
        SECTION_HEADER_LEN + ENTRY_LEN + RECORD_HEADER_LEN + records_len.next_multiple_of(8) + 8
    }

    /// How many chunks it lists.
    pub fn chunk_count(&self) -> u32 {
        self.chunk_count
    }

    /// How many streams it lists.
    pub fn stream_count(&self) -> u32 {
        (self.used.len() + self.absent.len()) as u32
    }

    /// Whether stream number `dense` has a section yet.
    pub fn holds(&self, dense: u32) -> bool {
        self.sections
            .get(dense as usize)
            .is_some_and(|section| !section.chunks.is_empty())
    }

    /// Lists `stream` for a summary, until a chunk of it comes.
    pub fn add_absent(&mut self, absent: &AbsentStream) {
        let mut section = Section {
            stream: absent.stream,
            previous: absent.previous,
            last_time: absent.last_time,
            ..Section::default()
        };
        for record in &absent.records {
            section.add_record(record);
        }
        self.encoded_len += section.encoded_len();
        if let Some(before) = self.absent.insert(absent.stream, section) {
            self.encoded_len -= before.encoded_len();
        }
    }

    /// Takes `stream` off the list again.
    pub fn remove_absent(&mut self, stream: StreamId) {
        if let Some(listed) = self.absent.remove(&stream) {
            self.encoded_len -= listed.encoded_len();
        }
    }

    /// Gives up the summary; the chunks stay. Returns whether there was one.
    pub fn drop_absent(&mut self) -> bool {
        let lens = self.absent.values().map(Section::encoded_len);
        self.encoded_len -= lens.sum::<usize>();
        !std::mem::take(&mut self.absent).is_empty()
    }

    /// Adds a chunk of `stream`, whose dense number is `dense`. `previous` is the last block
    /// before this one that holds the stream.
    pub fn add_chunk(
        &mut self,
        dense: u32,
        stream: StreamId,
        previous: Sequence,
        chunk: ChunkEntry,
        frame_count: u32,
        payload_len: u64,
    ) {
        let at = dense as usize;
        if self.sections.len() <= at {
            self.sections.resize_with(at + 1, Section::default);
        }
        let Some(section) = self.sections.get_mut(at) else {
            return;
        };
        if section.chunks.is_empty() {
            (section.stream, section.previous) = (stream, previous);
            self.used.push(dense);
            self.encoded_len += SECTION_HEADER_LEN;
            if let Some(listed) = self.absent.remove(&stream) {
                self.encoded_len -= listed.encoded_len();
            }
        }
        section.frame_count = section.frame_count.saturating_add(frame_count);
        section.payload_len += payload_len;
        section.chunks.push(chunk);
        self.encoded_len += ENTRY_LEN;
        self.chunk_count += 1;
    }

    /// Adds an encoded record that came with the newest chunk of stream number `dense`.
    pub fn add_record(&mut self, dense: u32, record: &[u8]) {
        let Some(section) = self.sections.get_mut(dense as usize) else {
            return;
        };
        let before = section.records.len().next_multiple_of(8);
        section.add_record(record);
        self.encoded_len += section.records.len().next_multiple_of(8) - before;
    }

    /// Writes the index to the beginning of `bytes` and returns its fences.
    ///
    /// # Panics
    ///
    /// If `bytes` is shorter than [`encoded_len`](Self::encoded_len).
    pub fn encode(&self, bytes: &mut [u8], first_run: u64) -> Vec<Fence> {
        let len = self.encoded_len;
        assert!(
            bytes.len() >= len,
            "an index of {len} bytes in {}",
            bytes.len()
        );
        let held = self.used.iter();
        let held = held.filter_map(|dense| self.sections.get(*dense as usize));
        let mut all: Vec<_> = held.chain(self.absent.values()).collect();
        all.sort_unstable_by_key(|section| section.stream);
        let mut starts = Vec::with_capacity(all.len());
        let mut room = bytes.get_mut(..len).unwrap_or_default();
        let mut at = 0;
        for section in all {
            starts.push((at, section.stream));
            let (to, rest) = room.split_at_mut(section.encoded_len());
            section.encode(to, first_run);
            at += to.len();
            room = rest;
        }
        let index = bytes.get(..len).unwrap_or_default();
        fences(index, &starts)
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        for dense in self.used.drain(..) {
            if let Some(section) = self.sections.get_mut(dense as usize) {
                section.chunks.clear();
                section.records.clear();
                (section.frame_count, section.payload_len) = (0, 0);
            }
        }
        self.absent.clear();
        (self.encoded_len, self.chunk_count) = (0, 0);
    }
}

impl Section {
    /// Adds a record that comes with the newest chunk.
    fn add_record(&mut self, record: &[u8]) {
        let chunk = (self.chunks.len() as u32).saturating_sub(1);
        self.records.extend(chunk.to_le_bytes());
        self.records.extend((record.len() as u32).to_le_bytes());
        self.records.extend(record);
    }

    fn encoded_len(&self) -> usize {
        let records = self.records.len().next_multiple_of(8);
        SECTION_HEADER_LEN + self.chunks.len() * ENTRY_LEN + records
    }

    fn encode(&self, to: &mut [u8], first_run: u64) {
        let times = self
            .chunks
            .iter()
            .map(|chunk| chunk.times)
            .reduce(|a, b| a.union(&b));
        let times = times.unwrap_or(TimeRange::new(self.last_time, self.last_time));
        let raw = RawSection {
            stream: self.stream.0.into(),
            len: (to.len() as u32).into(),
            chunk_count: (self.chunks.len() as u32).into(),
            records_len: (self.records.len() as u32).into(),
            frame_count: self.frame_count.into(),
            previous: self.previous.into(),
            first_time: times.start.0.into(),
            last_time: times.end.0.into(),
            payload_len: self.payload_len.into(),
            reserved: [0; 8],
        };
        let (head, rest) = to.split_at_mut(SECTION_HEADER_LEN);
        head.copy_from_slice(raw.as_bytes());
        let (entries, records) = rest.split_at_mut(self.chunks.len() * ENTRY_LEN);
        for (chunk, to) in self.chunks.iter().zip(entries.chunks_exact_mut(ENTRY_LEN)) {
            to.copy_from_slice(raw_entry(chunk, first_run).as_bytes());
        }
        let (filled, padding) = records.split_at_mut(self.records.len());
        filled.copy_from_slice(&self.records);
        padding.fill(0);
    }
}

fn raw_entry(chunk: &ChunkEntry, first_run: u64) -> RawEntry {
    let start = chunk.start.unwrap_or_default();
    RawEntry {
        offset: chunk.offset.into(),
        len: (chunk.len | if chunk.has_frames { 0 } else { NO_FRAMES }).into(),
        first_time: chunk.times.start.0.into(),
        last_time: chunk.times.end.0.into(),
        start_sequence: start.sequence.into(),
        start_offset: start.offset.into(),
        start_len: start.len.into(),
        start_frame: start.frame.into(),
        first_key: chunk.first_key.unwrap_or(u16::MAX).into(),
        run: (chunk.run.saturating_sub(first_run) as u32).into(),
    }
}

fn fences(index: &[u8], starts: &[(usize, StreamId)]) -> Vec<Fence> {
    let mut starts = starts.iter().copied().peekable();
    let mut through = StreamId::default();
    let fence = |(number, page): (usize, &[u8])| {
        let from = number * INDEX_PAGE_LEN;
        let begins = starts.next_if(|(at, _)| *at < from + page.len());
        let (first_stream, first_section) = match begins {
            Some((at, stream)) => (stream, Some((at - from) as u32)),
            None => (through, None),
        };
        through = first_stream;
        while let Some((_, stream)) = starts.next_if(|(at, _)| *at < from + page.len()) {
            through = stream;
        }
        Fence {
            first_stream,
            first_section,
            crc: crc32c(page),
        }
    };
    index
        .chunks(INDEX_PAGE_LEN)
        .enumerate()
        .map(fence)
        .collect()
}

/// Whether `page`, the page that `fence` describes, is as it was written.
pub fn page_is_whole(page: &[u8], fence: &Fence) -> bool {
    crc32c(page) == fence.crc
}

impl StreamSection {
    /// Reads the section at the beginning of `bytes`, which must have been checked, and returns it
    /// with its length. `first_run` is the trailer's; `block_len` bounds the places of chunks.
    ///
    /// # Errors
    ///
    /// [`Range`](DecodeError::Range) when a length or place is impossible, or the section is cut:
    /// [`section_len`](Self::section_len) tells how long it claims to be.
    pub fn decode(
        bytes: &[u8],
        first_run: u64,
        block_len: u32,
    ) -> Result<(Self, usize), DecodeError> {
        let len = Self::section_len(bytes)?;
        let bytes = part(bytes, 0, len).ok_or(DecodeError::Range("length of a section"))?;
        let (raw, rest) = RawSection::ref_from_prefix(bytes)
            .map_err(|_| DecodeError::Range("length of a section"))?;
        let entries_len = raw.chunk_count.get() as usize * ENTRY_LEN;
        let entries = part(rest, 0, entries_len)
            .and_then(|entries| <[RawEntry]>::ref_from_bytes(entries).ok())
            .ok_or(DecodeError::Range("number of chunks"))?;
        let records = part(rest, entries_len, raw.records_len.get() as usize)
            .ok_or(DecodeError::Range("length of records"))?;
        let chunks = entries
            .iter()
            .map(|raw| chunk_entry(raw, first_run, block_len))
            .collect::<Result<_, _>>()?;
        let section = Self {
            stream: StreamId(raw.stream.get()),
            previous: raw.previous.get(),
            frame_count: raw.frame_count.get(),
            payload_len: raw.payload_len.get(),
            last_time: Timestamp(raw.last_time.get()),
            chunks,
            records: decode_records(records)?,
        };
        Ok((section, len))
    }

    /// How long the section at the beginning of `bytes` claims to be, in bytes; at least 64.
    ///
    /// # Errors
    ///
    /// [`Range`](DecodeError::Range) when the header is cut or the parts do not add up.
    pub fn section_len(bytes: &[u8]) -> Result<usize, DecodeError> {
        let (raw, _) = RawSection::ref_from_prefix(bytes)
            .map_err(|_| DecodeError::Range("length of a section"))?;
        let records = u64::from(raw.records_len.get()).next_multiple_of(8);
        let len = SECTION_HEADER_LEN as u64
            + u64::from(raw.chunk_count.get()) * ENTRY_LEN as u64
            + records;
        if len != u64::from(raw.len.get()) {
            return Err(DecodeError::Range("length of a section"));
        }
        Ok(len as usize)
    }

    /// Times of all its chunks.
    pub fn times(&self) -> Option<TimeRange> {
        self.chunks
            .iter()
            .map(|chunk| chunk.times)
            .reduce(|a, b| a.union(&b))
    }
}

fn chunk_entry(raw: &RawEntry, first_run: u64, block_len: u32) -> Result<ChunkEntry, DecodeError> {
    let len = raw.len.get() & !NO_FRAMES;
    let end = u64::from(raw.offset.get()) + u64::from(len);
    let run = first_run.checked_add(u64::from(raw.run.get()));
    let run = run.filter(|_| end <= u64::from(block_len));
    let start = DecodeStart {
        sequence: raw.start_sequence.get(),
        offset: raw.start_offset.get(),
        len: raw.start_len.get(),
        frame: raw.start_frame.get(),
    };
    Ok(ChunkEntry {
        offset: raw.offset.get(),
        len,
        has_frames: raw.len.get() & NO_FRAMES == 0,
        run: run.ok_or(DecodeError::Range("place of a chunk"))?,
        times: TimeRange::new(
            Timestamp(raw.first_time.get()),
            Timestamp(raw.last_time.get()),
        ),
        first_key: Some(raw.first_key.get()).filter(|frame| *frame != u16::MAX),
        start: Some(start).filter(|start| start.sequence != 0),
    })
}

fn decode_records(mut bytes: &[u8]) -> Result<Vec<(u32, Record)>, DecodeError> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (chunk, rest) =
            U32::ref_from_prefix(bytes).map_err(|_| DecodeError::Range("length of records"))?;
        let (len, rest) =
            U32::ref_from_prefix(rest).map_err(|_| DecodeError::Range("length of records"))?;
        let (record, rest) = rest
            .split_at_checked(len.get() as usize)
            .ok_or(DecodeError::Range("length of records"))?;
        match Record::decode(record) {
            Ok(record) => records.push((chunk.get(), record)),
            // A later release knows more kinds; the rest of the index is as good as before.
            Err(DecodeError::Version(_)) => {}
            Err(e) => return Err(e),
        }
        bytes = rest;
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
