//! What blocks hold, as a reader finds it: by index, by live runs, or by walking.

use bytes::Bytes;

use super::plan::{Span, Wanted};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::Position;
use crate::block::{BlockId, ChunkEntry, DecodeStart, RunHeader, StreamSection};
use crate::frame::StreamId;
use crate::io::buffer::{Buffer, BufferPool};
use crate::io::{Completion, Device, Op, Request};
use crate::table::{RowState, TableRow};
use crate::volume::fetch::Fetcher;
use crate::volume::index::{BlockContents, Hole};
use crate::volume::void::Verdict;
use crate::volume::{Volume, index, load, walk};

/// How many reads of one block are under way at a time.
const READS_IN_FLIGHT: usize = 4;

/// The chunks of some streams in one block.
#[derive(Clone, Debug)]
pub(super) struct BlockIndex {
    pub(super) id: BlockId,
    pub(super) sections: Vec<StreamSection>,
    /// In the order of their places.
    pub(super) holes: Vec<Hole>,
}

/// Reads of one block, in order: so many submitted, so many taken.
#[derive(Debug)]
pub(super) struct Reads<'s> {
    spans: &'s [Span],
    submitted: usize,
    taken: usize,
    /// Completions that came before their turn; never more than are under way.
    done: Vec<Completion>,
}

impl<'s> Reads<'s> {
    pub(super) fn new(spans: &'s [Span]) -> Self {
        Self {
            spans,
            submitted: 0,
            taken: 0,
            done: Vec::new(),
        }
    }
}

/// The blocks of a volume through a device of the reader's own.
pub(super) struct Blocks<'b> {
    pub(super) volume: &'b Volume,
    pub(super) device: &'b mut dyn Device,
    pub(super) pool: &'b BufferPool,
    pub(super) verdict: Verdict,
    /// Nothing behind this place is looked at (R3).
    pub(super) limit: Position,
}

impl Blocks<'_> {
    /// Whether the run at `position` counts, and may be seen.
    pub(super) fn counts(&self, position: Position) -> bool {
        position <= self.limit && self.verdict.counts(position)
    }

    /// Whether the block of `row` is still in its slot.
    pub(super) fn is_current(&self, row: &TableRow) -> bool {
        let now = self.volume.table().block(row.sequence);
        now.is_some_and(|now| now.nonce == row.nonce)
    }

    /// Whether the key frame at `start` can still be read.
    pub(super) fn holds_key(&self, _stream: StreamId, start: &DecodeStart) -> bool {
        let row = self.volume.table().block(start.sequence);
        row.is_some_and(|row| row.state != RowState::Empty)
            && !self
                .verdict
                .voids
                .iter()
                .any(|void| start.sequence > void.from.sequence && start.sequence < void.to)
    }

    /// What the block of `row` holds of `wanted` streams, which are sorted, or of all.
    ///
    /// # Errors
    ///
    /// [`Overwritten`](ErrorKind::Overwritten), [`Damaged`](ErrorKind::Damaged),
    /// [`Io`](ErrorKind::Io).
    pub(super) fn index(
        &mut self,
        row: &TableRow,
        wanted: Option<&[StreamId]>,
    ) -> Result<BlockIndex> {
        let found = self.find_index(row, wanted);
        if !self.is_current(row) {
            return Err(overwritten(row));
        }
        found
    }

    fn find_index(&mut self, row: &TableRow, wanted: Option<&[StreamId]>) -> Result<BlockIndex> {
        let geometry = self.volume.geometry();
        let id = self.id(row)?;
        // The list first, then the row: a block that is sealed meanwhile leaves the list behind that.
        let live: Vec<_> = self
            .volume
            .live()
            .runs()
            .filter(|run| run.id == id)
            .collect();
        let now = self.volume.table().block(row.sequence);
        let state = now.map_or(row.state, |now| now.state);
        let mut fetch = Fetcher::new(&mut *self.device);
        let (limit, verdict) = (self.limit, &self.verdict);
        let counts = |position| position <= limit && verdict.counts(position);
        let BlockContents { sections, holes } = match state {
            RowState::Sealed => {
                index::sections_of_block(&mut fetch, &geometry, &id, wanted, counts)
            }
            RowState::Open => {
                let runs = live.iter().filter(|run| counts(run.position()));
                let runs: Vec<_> = runs.map(|run| only(run, wanted)).collect();
                BlockContents {
                    sections: index::sections_of_runs(&mut fetch, &geometry, runs.iter()),
                    holes: Vec::new(),
                }
            }
            _ => index::walked_sections(&mut fetch, &geometry, &id, wanted, counts),
        };
        Ok(BlockIndex {
            id,
            sections,
            holes,
        })
    }

    /// The identity of the block of `row`.
    pub(super) fn id(&mut self, row: &TableRow) -> Result<BlockId> {
        let located = self.volume.located();
        let slot = located.geometry.slot_of(row.sequence);
        let mut fetch = Fetcher::new(&mut *self.device);
        let id = walk::id_of_block(&mut fetch, &located, slot, row.sequence)?;
        id.filter(|id| load::row_nonce(id) == row.nonce)
            .ok_or_else(|| overwritten(row))
    }

    /// The bytes of a chunk, and the identity of its block.
    pub(super) fn chunk(&mut self, row: &TableRow, chunk: &ChunkEntry) -> Result<(Bytes, BlockId)> {
        let id = self.id(row)?;
        let wanted = [Wanted {
            stream: StreamId(0),
            chunk: *chunk,
        }];
        let unit_len = self.volume.geometry().unit_len();
        let spans = super::plan::spans(&wanted, unit_len);
        let span = spans.first().ok_or_else(|| overwritten(row))?;
        let mut reads = Reads::new(&spans);
        let (_, bytes) = self
            .next_read(&id, &mut reads)?
            .ok_or_else(|| overwritten(row))?;
        Ok((within(&bytes?, span, chunk), id))
    }

    /// The next of `reads` of block `id`, in order; several are under way at a time.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) when the kernel refuses to wait; a read that fails is returned as its
    /// error.
    pub(super) fn next_read<'s>(
        &mut self,
        id: &BlockId,
        reads: &mut Reads<'s>,
    ) -> Result<Option<(&'s Span, Result<Bytes>)>> {
        let base = self.volume.geometry().offset_of_slot(id.slot);
        while reads.submitted < reads.taken + READS_IN_FLIGHT
            && let Some(span) = reads.spans.get(reads.submitted)
        {
            let len = span.len as usize;
            let buffer = Some(self.buffer(len)?);
            let offset = base + u64::from(span.offset);
            let token = reads.submitted as u64;
            self.device.submit(Request {
                token,
                op: Op::Read,
                offset,
                len,
                buffer,
            });
            reads.submitted += 1;
        }
        let Some(span) = reads.spans.get(reads.taken) else {
            return Ok(None);
        };
        let completion = self.completion(reads)?;
        reads.taken += 1;
        Ok(Some((span, bytes_of(completion, span))))
    }

    /// Waits for the reads that are under way and drops them.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) when the kernel refuses to wait.
    pub(super) fn abandon(&mut self, reads: &mut Reads<'_>) -> Result<()> {
        while reads.taken < reads.submitted {
            self.completion(reads)?;
            reads.taken += 1;
        }
        Ok(())
    }

    /// The completion of the oldest read that was not taken.
    fn completion(&mut self, reads: &mut Reads<'_>) -> Result<Completion> {
        let number = reads.taken as u64;
        loop {
            if let Some(at) = reads.done.iter().position(|done| done.token == number) {
                return Ok(reads.done.swap_remove(at));
            }
            match self.device.reap() {
                Some(completion) => reads.done.push(completion),
                None => self.device.wait(None)?,
            }
        }
    }

    fn buffer(&self, len: usize) -> Result<Buffer> {
        let pooled = Some(()).filter(|()| len <= self.pool.buffer_len());
        // A consumer that keeps its frames keeps their buffers: then more are made.
        pooled
            .and_then(|()| self.pool.take())
            .map_or_else(|| Buffer::allocate(len), Ok)
    }
}

fn bytes_of(done: Completion, span: &Span) -> Result<Bytes> {
    let place = format_args!("read {} bytes at {} of a block", span.len, span.offset).to_string();
    done.result.map_err(|e| Error::io(place, e))?;
    let buffer = done
        .buffer
        .ok_or_else(|| Error::invalid("the device returned no buffer"))?;
    Ok(buffer.into_bytes(span.len as usize))
}

/// The bytes of `chunk` out of those of its span.
pub(super) fn within(bytes: &Bytes, span: &Span, chunk: &ChunkEntry) -> Bytes {
    let from = (chunk.offset.saturating_sub(span.offset) as usize).min(bytes.len());
    let end = from.saturating_add(chunk.len as usize).min(bytes.len());
    bytes.slice(from..end)
}

/// `run` with the chunks of `wanted` streams only.
fn only(run: &RunHeader, wanted: Option<&[StreamId]>) -> RunHeader {
    let mut run = run.clone();
    if let Some(wanted) = wanted {
        run.chunks
            .retain(|entry| wanted.binary_search(&entry.stream).is_ok());
    }
    run
}

pub(super) fn overwritten(row: &TableRow) -> Error {
    let text = format!("block {} was overwritten", row.sequence);
    Error::new(ErrorKind::Overwritten, text)
}
