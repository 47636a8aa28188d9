//! Packing: from pending frames to the bytes of a run.
//!
//! A run is planned first, because its directory stands before its chunks; then every payload is
//! copied once. Which frames go into which run is `writer`'s decision.

use super::chunk::{self, ChunkSummary, PendingFrame};
use super::run::{self, DirectoryEntry, RunHeader};
use super::{BlockId, CHUNK_ALIGN, ChunkEntry, DecodeStart};
use crate::base::geometry::{Geometry, Position};
use crate::frame::StreamId;

/// What is the same for all chunks of a run.
#[derive(Clone, Copy, Debug)]
pub struct RunPlace {
    /// The block.
    pub id: BlockId,
    /// The tag of `id`.
    pub tag: u64,
    /// The number of the run.
    pub run: u64,
    /// Where the run begins in the block, in bytes.
    pub offset: u32,
    /// The durable watermark.
    pub mark: Position,
    /// UTC minus boot clock, in microseconds.
    pub utc_offset_us: i64,
    /// Boot clock, in microseconds.
    pub packed_boot_us: i64,
}

/// Length of a run whose chunks have these lengths, without padding, in bytes.
pub fn run_len(chunk_lens: impl ExactSizeIterator<Item = usize>) -> usize {
    let head = run::header_len(chunk_lens.len()).next_multiple_of(CHUNK_ALIGN);
    chunk_lens.fold(head, |len, chunk| {
        len.saturating_add(chunk.next_multiple_of(CHUNK_ALIGN))
    })
}

/// Packs a run, chunk by chunk, into a buffer.
#[derive(Debug)]
pub struct RunPacker<'a> {
    bytes: &'a mut [u8],
    place: RunPlace,
    at: usize,
    chunks: Vec<DirectoryEntry>,
}

impl<'a> RunPacker<'a> {
    /// Starts a run of `chunk_count` chunks at the beginning of `bytes`. `directory` lends its
    /// memory and is given back by [`finish`](Self::finish).
    pub fn new(
        bytes: &'a mut [u8],
        place: RunPlace,
        chunk_count: usize,
        mut directory: Vec<DirectoryEntry>,
    ) -> Self {
        directory.clear();
        let at = run::header_len(chunk_count).next_multiple_of(CHUNK_ALIGN);
        let from = run::header_len(chunk_count);
        bytes.get_mut(from..at).unwrap_or_default().fill(0);
        Self {
            bytes,
            place,
            at,
            chunks: directory,
        }
    }

    /// Adds a chunk; `start` is where decoding of its first frame must start, if its first frame
    /// is not a key frame.
    ///
    /// # Panics
    ///
    /// If the chunk does not fit: the run was planned with [`run_len`].
    pub fn add<'f>(
        &mut self,
        stream: StreamId,
        start: Option<DecodeStart>,
        frames: impl Iterator<Item = &'f PendingFrame> + Clone,
    ) -> (ChunkEntry, ChunkSummary) {
        let offset = self.place.offset + self.at as u32;
        let (_, room) = self.bytes.split_at_mut(self.at);
        let summary = chunk::encode(
            room,
            self.place.tag,
            stream,
            offset,
            self.place.utc_offset_us,
            frames,
        );
        let own = DecodeStart {
            sequence: self.place.id.sequence,
            offset,
            len: summary.len,
            frame: 0,
        };
        let entry = ChunkEntry {
            offset,
            len: summary.len,
            run: self.place.run,
            times: summary.times,
            first_key: summary.first_key,
            start: if summary.first_key == Some(0) {
                Some(own)
            } else {
                start
            },
        };
        self.chunks.push(DirectoryEntry {
            stream,
            chunk: entry,
            frame_count: summary.frame_count,
            has_records: summary.has_records,
        });
        let end = summary.len as usize;
        let padded = end.next_multiple_of(CHUNK_ALIGN);
        room.get_mut(end..padded).unwrap_or_default().fill(0);
        self.at += padded;
        (entry, summary)
    }

    /// Writes the header and the padding. The first `len` bytes of the buffer are the run then.
    ///
    /// # Panics
    ///
    /// If other than the announced number of chunks was added, or the padding does not fit.
    pub fn finish(self, geometry: &Geometry) -> RunHeader {
        let len = geometry.align_up(self.at as u64) as usize;
        let header = RunHeader {
            id: self.place.id,
            run: self.place.run,
            offset: self.place.offset,
            len: len as u32,
            mark: self.place.mark,
            utc_offset_us: self.place.utc_offset_us,
            packed_boot_us: self.place.packed_boot_us,
            chunks: self.chunks,
        };
        let head = run::header_len(header.chunks.len()).next_multiple_of(CHUNK_ALIGN);
        let first = header
            .chunks
            .first()
            .map_or(head as u32, |c| c.chunk.offset - header.offset);
        assert_eq!(
            first as usize, head,
            "the directory has another length than was announced"
        );
        header.encode(self.bytes);
        let (_, padding) = self.bytes.split_at_mut(self.at);
        padding.get_mut(..len - self.at).unwrap_or_default().fill(0);
        header
    }
}
