//! The run header: what one write put into a block, and where its chunks are.
//!
//! A run header stands at the beginning of a run, on an alignment unit, so that another process
//! can walk an open block with one read per run. Its checksum covers itself and the directory of
//! chunks behind it, not the chunks: they have their own.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::crc32c;
use super::{BlockId, CHUNK_ALIGN, ChunkEntry, DecodeError, DecodeStart, part};
use crate::base::geometry::{Geometry, Nonce, Position, VolumeId};
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::StreamId;

const MAGIC: [u8; 8] = *b"CAMRINGR";
const SUMMED_FROM: usize = 12;

/// Length of a run header without its directory, in bytes.
pub const RUN_HEADER_LEN: usize = 128;
/// Length of a directory entry in bytes.
pub const DIRECTORY_ENTRY_LEN: usize = 64;
/// The most chunks of a run.
pub const MAX_RUN_CHUNKS: usize = 4096;

/// A chunk as the directory of its run lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The stream of all its frames.
    pub stream: StreamId,
    /// Where it is and what it holds; `offset` counts from the beginning of the block.
    pub chunk: ChunkEntry,
    /// How many frames it holds, records not counted.
    pub frame_count: u16,
    /// Whether it holds records (setups or gaps).
    pub has_records: bool,
}

/// What the header of a run says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunHeader {
    /// The block that the run belongs to.
    pub id: BlockId,
    /// Its number, counted from 1 through the life.
    pub run: u64,
    /// Where it begins in the block, in bytes.
    pub offset: u32,
    /// Its length in bytes: header, directory, chunks and padding to the alignment unit.
    pub len: u32,
    /// All runs up to here are durable, or decided to be void.
    pub mark: Position,
    /// UTC minus boot clock when the run was packed, in microseconds.
    pub utc_offset_us: i64,
    /// Boot clock when the run was packed, in microseconds.
    pub packed_boot_us: i64,
    /// The chunks, in the order of their places.
    pub chunks: Vec<DirectoryEntry>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRun {
    magic: [u8; 8],
    crc: U32,
    header_len: U32,
    volume: [u8; 16],
    nonce: [u8; 16],
    slot: U64,
    sequence: U64,
    run: U64,
    len: U32,
    chunk_count: U32,
    mark_sequence: U64,
    mark_run: U64,
    utc_offset_us: I64,
    packed_boot_us: I64,
    offset: U32,
    reserved: [u8; 12],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    stream: U64,
    first_time: I64,
    last_time: I64,
    start_sequence: U64,
    start_offset: U32,
    start_len: U32,
    start_frame: U16,
    first_key: U16,
    offset: U32,
    len: U32,
    frame_count: U16,
    flags: U16,
    reserved: [u8; 8],
}

impl RawRun {
    fn id(&self) -> BlockId {
        BlockId {
            volume: VolumeId(self.volume),
            slot: self.slot.get(),
            sequence: self.sequence.get(),
            nonce: Nonce(self.nonce),
        }
    }
}

const HAS_RECORDS: u16 = 1;

const _: () = {
    assert!(size_of::<RawRun>() == RUN_HEADER_LEN);
    assert!(size_of::<RawEntry>() == DIRECTORY_ENTRY_LEN);
    assert!(std::mem::offset_of!(RawRun, run) == 64);
    assert!(std::mem::offset_of!(RawRun, mark_sequence) == 80);
    assert!(std::mem::offset_of!(RawRun, offset) == 112);
};

/// Length of the header of a run with `chunk_count` chunks, directory included, in bytes.
pub const fn header_len(chunk_count: usize) -> usize {
    RUN_HEADER_LEN + chunk_count * DIRECTORY_ENTRY_LEN
}

impl RunHeader {
    /// Where the run ends in the block, in bytes.
    pub fn end(&self) -> u32 {
        self.offset.saturating_add(self.len)
    }

    /// Its place in volume order.
    pub fn position(&self) -> Position {
        Position {
            sequence: self.id.sequence,
            run: self.run,
        }
    }

    /// Writes header and directory to the beginning of `bytes`.
    ///
    /// # Panics
    ///
    /// If `bytes` is shorter than [`header_len`] or the run has more than [`MAX_RUN_CHUNKS`].
    pub fn encode(&self, bytes: &mut [u8]) {
        let len = header_len(self.chunks.len());
        assert!(self.chunks.len() <= MAX_RUN_CHUNKS && bytes.len() >= len);
        let mut raw = RawRun::new_zeroed();
        raw.magic = MAGIC;
        raw.header_len = (len as u32).into();
        raw.volume = self.id.volume.0;
        raw.nonce = self.id.nonce.0;
        raw.slot = self.id.slot.into();
        raw.sequence = self.id.sequence.into();
        raw.run = self.run.into();
        raw.len = self.len.into();
        raw.chunk_count = (self.chunks.len() as u32).into();
        raw.mark_sequence = self.mark.sequence.into();
        raw.mark_run = self.mark.run.into();
        raw.utc_offset_us = self.utc_offset_us.into();
        raw.packed_boot_us = self.packed_boot_us.into();
        raw.offset = self.offset.into();
        let (head, directory) = bytes.split_at_mut(RUN_HEADER_LEN);
        for (entry, to) in self
            .chunks
            .iter()
            .zip(directory.chunks_exact_mut(DIRECTORY_ENTRY_LEN))
        {
            to.copy_from_slice(raw_entry(entry).as_bytes());
        }
        head.copy_from_slice(raw.as_bytes());
        let crc = crc32c(bytes.get(SUMMED_FROM..len).unwrap_or_default());
        let place = bytes.get_mut(8..12).unwrap_or_default();
        place.copy_from_slice(&crc.to_le_bytes());
    }

    /// How many bytes the header at the beginning of `bytes` claims to have, so that a reader
    /// knows how much to fetch; between 128 bytes and the longest possible header.
    ///
    /// # Errors
    ///
    /// [`NoMagic`](DecodeError::NoMagic) or [`Range`](DecodeError::Range).
    pub fn claimed_len(bytes: &[u8]) -> Result<usize, DecodeError> {
        let (raw, _) =
            RawRun::ref_from_prefix(bytes).map_err(|_| DecodeError::Range("run header length"))?;
        if raw.magic != MAGIC {
            return Err(DecodeError::NoMagic);
        }
        let count = raw.chunk_count.get() as usize;
        if count > MAX_RUN_CHUNKS || raw.header_len.get() as usize != header_len(count) {
            return Err(DecodeError::Range("number of chunks"));
        }
        Ok(header_len(count))
    }

    /// Which block the header at the beginning of `bytes` claims to belong to; not checked.
    ///
    /// # Errors
    ///
    /// [`NoMagic`](DecodeError::NoMagic) or [`Range`](DecodeError::Range).
    pub fn claimed_id(bytes: &[u8]) -> Result<BlockId, DecodeError> {
        let (raw, _) =
            RawRun::ref_from_prefix(bytes).map_err(|_| DecodeError::Range("run header length"))?;
        if raw.magic != MAGIC {
            return Err(DecodeError::NoMagic);
        }
        Ok(raw.id())
    }

    /// Reads the header at `offset` of block `id`; `bytes` begin there.
    ///
    /// # Errors
    ///
    /// - [`NoMagic`](DecodeError::NoMagic): no run was written here.
    /// - [`Checksum`](DecodeError::Checksum): torn or damaged.
    /// - [`Foreign`](DecodeError::Foreign): left by an earlier turn of the ring, or misdirected.
    /// - [`Range`](DecodeError::Range): a chunk or the run itself does not fit into the block.
    pub fn decode(
        bytes: &[u8],
        id: &BlockId,
        geometry: &Geometry,
        offset: u32,
    ) -> Result<Self, DecodeError> {
        let len = Self::claimed_len(bytes)?;
        let bytes = part(bytes, 0, len).ok_or(DecodeError::Range("run header length"))?;
        let (raw, directory) =
            RawRun::ref_from_prefix(bytes).map_err(|_| DecodeError::Range("run header length"))?;
        if raw.crc.get() != crc32c(bytes.get(SUMMED_FROM..).unwrap_or_default()) {
            return Err(DecodeError::Checksum);
        }
        let found = raw.id();
        if found != *id || raw.offset.get() != offset {
            return Err(DecodeError::Foreign);
        }
        let run_len = raw.len.get();
        let end = u64::from(offset) + u64::from(run_len);
        let aligned = run_len % geometry.unit_len() == 0;
        if !aligned || (run_len as usize) < len || end > u64::from(geometry.block_len()) {
            return Err(DecodeError::Range("run length"));
        }
        let directory = <[RawEntry]>::ref_from_bytes(directory)
            .map_err(|_| DecodeError::Range("directory length"))?;
        let run = raw.run.get();
        let chunks = directory
            .iter()
            .map(|raw| entry(raw, run, offset as usize + len, end as usize))
            .collect::<Result<_, _>>()?;
        let own = Position {
            sequence: found.sequence,
            run,
        };
        let mark = Position {
            sequence: raw.mark_sequence.get(),
            run: raw.mark_run.get(),
        };
        if mark >= own {
            return Err(DecodeError::Range("durable watermark"));
        }
        if run == 0 || run == Position::WHOLE {
            return Err(DecodeError::Range("run number"));
        }
        Ok(Self {
            id: found,
            run,
            offset,
            len: run_len,
            mark: Position {
                sequence: raw.mark_sequence.get(),
                run: raw.mark_run.get(),
            },
            utc_offset_us: raw.utc_offset_us.get(),
            packed_boot_us: raw.packed_boot_us.get(),
            chunks,
        })
    }
}

fn raw_entry(entry: &DirectoryEntry) -> RawEntry {
    let chunk = &entry.chunk;
    let start = chunk.start.unwrap_or_default();
    RawEntry {
        stream: entry.stream.0.into(),
        first_time: chunk.times.start.0.into(),
        last_time: chunk.times.end.0.into(),
        start_sequence: start.sequence.into(),
        start_offset: start.offset.into(),
        start_len: start.len.into(),
        start_frame: start.frame.into(),
        first_key: chunk.first_key.unwrap_or(u16::MAX).into(),
        offset: chunk.offset.into(),
        len: chunk.len.into(),
        frame_count: entry.frame_count.into(),
        flags: if entry.has_records { HAS_RECORDS } else { 0 }.into(),
        reserved: [0; 8],
    }
}

fn entry(raw: &RawEntry, run: u64, from: usize, to: usize) -> Result<DirectoryEntry, DecodeError> {
    let offset = raw.offset.get() as usize;
    let inside = offset.is_multiple_of(CHUNK_ALIGN)
        && offset >= from
        && offset
            .checked_add(raw.len.get() as usize)
            .is_some_and(|end| end <= to);
    if !inside {
        return Err(DecodeError::Range("place of a chunk"));
    }
    let start = DecodeStart {
        sequence: raw.start_sequence.get(),
        offset: raw.start_offset.get(),
        len: raw.start_len.get(),
        frame: raw.start_frame.get(),
    };
    Ok(DirectoryEntry {
        stream: StreamId(raw.stream.get()),
        chunk: ChunkEntry {
            offset: raw.offset.get(),
            len: raw.len.get(),
            run,
            times: TimeRange::new(
                Timestamp(raw.first_time.get()),
                Timestamp(raw.last_time.get()),
            ),
            has_frames: raw.frame_count.get() != 0,
            first_key: Some(raw.first_key.get()).filter(|frame| *frame != u16::MAX),
            start: Some(start).filter(|start| start.sequence != 0),
        },
        frame_count: raw.frame_count.get(),
        has_records: raw.flags.get() & HAS_RECORDS != 0,
    })
}
