//! The trailer page: the last 4 KiB of a sealed block.
//!
//! It sums up the block, says where the index is, and holds one checksum per 64 KiB page of the
//! index, so that a seek reads only the pages of its stream. A trailer alone proves nothing about
//! runs beyond the durable watermark: recovery counts runs.

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::crc32c;
use super::index::{Fence, INDEX_PAGE_LEN, MAX_INDEX_PAGES};
use super::{BlockId, DecodeError, PAGE_LEN};
use crate::base::geometry::{Geometry, Nonce, Position, VolumeId};
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::StreamId;

const MAGIC: [u8; 8] = *b"CAMRINGT";
const SUMMED_FROM: usize = 12;

/// What a block holds as a whole; becomes its row in the blocktable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSpan {
    /// Arrivals mapped to UTC, never before those of an earlier block: what rows are searched by.
    pub arrivals: TimeRange,
    /// Presentation times of all frames.
    pub times: TimeRange,
    /// The largest difference between a frame's time and its arrival, in microseconds.
    pub skew_us: u64,
}

/// What the trailer of a block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTrailer {
    /// Which block it is.
    pub id: BlockId,
    /// Number of its first run.
    pub first_run: u64,
    /// Number of its last run.
    pub last_run: u64,
    /// Where its runs end, in bytes from its beginning.
    pub runs_end: u32,
    /// Where the index begins, in bytes from the beginning of the block.
    pub index_offset: u32,
    /// Length of the index in bytes.
    pub index_len: u32,
    /// How many streams it holds.
    pub stream_count: u32,
    /// How many chunks it holds.
    pub chunk_count: u32,
    /// How many frames it holds.
    pub frame_count: u64,
    /// UTC minus boot clock of its runs, in microseconds.
    pub utc_offset_us: i64,
    /// What it spans.
    pub span: BlockSpan,
    /// One entry per 64 KiB of the index.
    pub fences: Vec<Fence>,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFence {
    stream: U64,
    offset: U32,
    crc: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTrailer {
    magic: [u8; 8],
    crc: U32,
    page_count: U32,
    volume: [u8; 16],
    nonce: [u8; 16],
    slot: U64,
    sequence: U64,
    first_run: U64,
    last_run: U64,
    runs_end: U32,
    index_offset: U32,
    index_len: U32,
    stream_count: U32,
    chunk_count: U32,
    reserved: U32,
    frame_count: U64,
    utc_offset_us: I64,
    first_arrival: I64,
    last_arrival: I64,
    first_time: I64,
    last_time: I64,
    skew_us: U64,
    rest: [u8; 96],
    fences: [RawFence; MAX_INDEX_PAGES],
}

const _: () = {
    assert!(size_of::<RawTrailer>() == PAGE_LEN);
    assert!(std::mem::offset_of!(RawTrailer, first_run) == 64);
    assert!(std::mem::offset_of!(RawTrailer, frame_count) == 104);
    assert!(std::mem::offset_of!(RawTrailer, fences) == 256);
};

impl BlockTrailer {
    /// The place of its last run.
    pub fn last_position(&self) -> Position {
        Position {
            sequence: self.id.sequence,
            run: self.last_run,
        }
    }

    /// Writes the trailer into the first page of `page`.
    ///
    /// # Panics
    ///
    /// If `page` is shorter than 4 KiB or there are more fences than it holds.
    pub fn encode(&self, page: &mut [u8]) {
        assert!(self.fences.len() <= MAX_INDEX_PAGES && page.len() >= PAGE_LEN);
        let mut raw = RawTrailer::new_zeroed();
        raw.magic = MAGIC;
        raw.page_count = (self.fences.len() as u32).into();
        raw.volume = self.id.volume.0;
        raw.nonce = self.id.nonce.0;
        raw.slot = self.id.slot.into();
        raw.sequence = self.id.sequence.into();
        raw.first_run = self.first_run.into();
        raw.last_run = self.last_run.into();
        raw.runs_end = self.runs_end.into();
        raw.index_offset = self.index_offset.into();
        raw.index_len = self.index_len.into();
        raw.stream_count = self.stream_count.into();
        raw.chunk_count = self.chunk_count.into();
        raw.frame_count = self.frame_count.into();
        raw.utc_offset_us = self.utc_offset_us.into();
        raw.first_arrival = self.span.arrivals.start.0.into();
        raw.last_arrival = self.span.arrivals.end.0.into();
        raw.first_time = self.span.times.start.0.into();
        raw.last_time = self.span.times.end.0.into();
        raw.skew_us = self.span.skew_us.into();
        for (to, from) in raw.fences.iter_mut().zip(&self.fences) {
            *to = RawFence {
                stream: from.first_stream.0.into(),
                offset: from.first_section.unwrap_or(u32::MAX).into(),
                crc: from.crc.into(),
            };
        }
        raw.crc = crc32c(raw.as_bytes().get(SUMMED_FROM..).unwrap_or_default()).into();
        raw.write_to_prefix(page)
            .unwrap_or_else(|_| unreachable!("the length was asserted above"));
    }

    /// Reads the trailer page of block `id` at the beginning of `bytes`.
    ///
    /// # Errors
    ///
    /// [`NoMagic`](DecodeError::NoMagic) (the block is not sealed),
    /// [`Checksum`](DecodeError::Checksum), [`Foreign`](DecodeError::Foreign), or
    /// [`Range`](DecodeError::Range) when a place lies outside the block.
    pub fn decode(bytes: &[u8], id: &BlockId, geometry: &Geometry) -> Result<Self, DecodeError> {
        let (raw, _) =
            RawTrailer::ref_from_prefix(bytes).map_err(|_| DecodeError::Range("page length"))?;
        if raw.magic != MAGIC {
            return Err(DecodeError::NoMagic);
        }
        if raw.crc.get() != crc32c(raw.as_bytes().get(SUMMED_FROM..).unwrap_or_default()) {
            return Err(DecodeError::Checksum);
        }
        let found = BlockId {
            volume: VolumeId(raw.volume),
            slot: raw.slot.get(),
            sequence: raw.sequence.get(),
            nonce: Nonce(raw.nonce),
        };
        if found != *id {
            return Err(DecodeError::Foreign);
        }
        let (runs_end, index_offset) = (raw.runs_end.get(), raw.index_offset.get());
        let index_len = raw.index_len.get();
        let index_end = u64::from(index_offset) + u64::from(index_len);
        let page_count = (index_len as usize).div_ceil(INDEX_PAGE_LEN);
        let fits = runs_end >= PAGE_LEN as u32
            && runs_end.is_multiple_of(geometry.unit_len())
            && runs_end <= index_offset
            && index_offset.is_multiple_of(geometry.unit_len())
            && index_end <= u64::from(geometry.block_len() - PAGE_LEN as u32)
            && page_count == raw.page_count.get() as usize;
        let fences = raw.fences.get(..page_count).filter(|_| fits);
        let fences = fences.ok_or(DecodeError::Range("place of the index"))?;
        let runs = (raw.first_run.get(), raw.last_run.get());
        if runs.0 == 0 || runs.0 > runs.1 || runs.1 == Position::WHOLE {
            return Err(DecodeError::Range("run number"));
        }
        let time = |raw: I64| Timestamp(raw.get());
        Ok(Self {
            id: found,
            first_run: runs.0,
            last_run: runs.1,
            runs_end,
            index_offset,
            index_len,
            stream_count: raw.stream_count.get(),
            chunk_count: raw.chunk_count.get(),
            frame_count: raw.frame_count.get(),
            utc_offset_us: raw.utc_offset_us.get(),
            span: BlockSpan {
                arrivals: TimeRange::new(time(raw.first_arrival), time(raw.last_arrival)),
                times: TimeRange::new(time(raw.first_time), time(raw.last_time)),
                skew_us: raw.skew_us.get(),
            },
            fences: fences.iter().map(fence).collect(),
        })
    }
}

fn fence(raw: &RawFence) -> Fence {
    Fence {
        first_stream: StreamId(raw.stream.get()),
        first_section: Some(raw.offset.get()).filter(|at| (*at as usize) < INDEX_PAGE_LEN),
        crc: raw.crc.get(),
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests {
    use super::*;

    fn sample() -> (BlockTrailer, Geometry) {
        let id = BlockId {
            volume: VolumeId([7; 16]),
            slot: 4,
            sequence: 5,
            nonce: Nonce([9; 16]),
        };
        let span = BlockSpan {
            arrivals: TimeRange {
                start: Timestamp(10),
                end: Timestamp(20),
            },
            times: TimeRange {
                start: Timestamp(-3),
                end: Timestamp(19),
            },
            skew_us: 13,
        };
        let fences = vec![
            Fence {
                first_stream: StreamId(3),
                first_section: Some(0),
                crc: 1,
            },
            Fence {
                first_stream: StreamId(u64::MAX),
                first_section: None,
                crc: 2,
            },
        ];
        let trailer = BlockTrailer {
            id,
            first_run: 8,
            last_run: 11,
            runs_end: 100 * 4096,
            index_offset: 100 * 4096,
            index_len: 70_000,
            stream_count: 2,
            chunk_count: 9,
            frame_count: 99,
            utc_offset_us: -1,
            span,
            fences,
        };
        (trailer, Geometry::new(1 << 20, 16, 4096).unwrap())
    }

    #[test]
    fn a_trailer_comes_back_as_it_was() {
        let (trailer, geometry) = sample();
        let mut page = [0xff; PAGE_LEN];
        trailer.encode(&mut page);
        assert_eq!(
            BlockTrailer::decode(&page, &trailer.id, &geometry).unwrap(),
            trailer
        );
    }

    #[test]
    fn bit_flips_and_foreign_trailers_are_refused() {
        let (trailer, geometry) = sample();
        let mut page = [0; PAGE_LEN];
        trailer.encode(&mut page);
        for bit in 0..PAGE_LEN * 8 {
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(
                BlockTrailer::decode(&page, &trailer.id, &geometry).is_err(),
                "bit {bit}"
            );
            page[bit / 8] ^= 1 << (bit % 8);
        }
        let other = BlockId {
            nonce: Nonce([8; 16]),
            ..trailer.id
        };
        assert_eq!(
            BlockTrailer::decode(&page, &other, &geometry),
            Err(DecodeError::Foreign)
        );
    }

    #[test]
    fn an_index_outside_the_block_is_refused() {
        let (good, geometry) = sample();
        let refused = |change: &dyn Fn(&mut BlockTrailer)| {
            let mut trailer = good.clone();
            change(&mut trailer);
            let mut page = [0; PAGE_LEN];
            trailer.encode(&mut page);
            assert!(
                BlockTrailer::decode(&page, &good.id, &geometry).is_err(),
                "{trailer:?}"
            );
        };
        refused(&|t| t.index_offset = (1 << 20) - 4096);
        refused(&|t| t.index_offset = 4096);
        refused(&|t| t.index_len = u32::MAX);
        refused(&|t| t.index_len = 60_000);
        refused(&|t| t.first_run = 0);
        refused(&|t| t.last_run = 7);
    }
}
