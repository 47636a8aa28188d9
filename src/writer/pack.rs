//! Packing: what waits becomes runs of the open block.

use super::blocks::OpenBlock;
use super::core::{Core, PackedChunk, PackedRun, WriteKind};
use super::stage::{PlannedChunk, Room, Stage, Stream};
use crate::base::geometry::Sequence;
use crate::base::sync::Arc;
use crate::block::chunk::PendingFrame;
use crate::block::pack::RunPacker;
use crate::block::record::Record;
use crate::block::{ChunkEntry, DecodeStart};
use crate::io::buffer::Buffer;

/// How much is gathered before a run is packed without waiting for the tick, in bytes.
pub(super) const GATHER_LEN: usize = 1 << 20;

impl Core {
    /// Packs and submits as many runs as are due, and as buffers and blocks allow.
    pub(super) fn pack(&mut self) {
        self.seal_at_clock_step();
        let gather_len = GATHER_LEN.min(self.geometry().block_len() as usize / 4);
        while !self.has_nothing_to_pack() {
            let is_awaited = self.is_commit_awaited && self.commit_target.is_none();
            let is_due = self.commit_len.is_some() || is_awaited || self.is_write_due;
            if !is_due && self.stage.pending_len() < gather_len {
                return;
            }
            if !self.has_block() {
                return;
            }
            let room = self.room(gather_len);
            let Some(block) = &self.block else { return };
            let mut plan = std::mem::take(&mut self.plan);
            let len = self
                .stage
                .plan(room, |dense| block.index.holds(dense), &mut plan);
            let is_full = plan.is_empty();
            let packed = !is_full && self.pack_run(&plan, len);
            self.plan = plan;
            if is_full {
                let summary = self.block.as_mut().filter(|block| block.is_fresh());
                if summary.is_some_and(|block| block.index.drop_absent()) {
                    continue;
                }
                assert!(
                    !self.is_fresh_block(),
                    "a frame that fits no block was let in"
                );
                self.seal();
            } else if !packed {
                return;
            }
        }
        self.is_write_due = false;
        self.note_packed(0);
        if self.is_closing && self.block.is_some() {
            self.end_last_block();
        }
    }

    fn room(&self, gather_len: usize) -> Room {
        let left = self
            .block
            .as_ref()
            .map_or(0, |block| block.room_len(&self.geometry()));
        // What the planned length may gain by padding.
        let padding = self.geometry().unit_len() as usize;
        let block_len = left.saturating_sub(padding);
        Room {
            target_len: gather_len.min(block_len),
            block_len,
            slice_us: self.commit_us,
        }
    }

    /// Once all that was pending at the beginning of a commit is packed, its flush is due.
    fn note_packed(&mut self, len: usize) {
        self.note_awaited();
        let Some(left) = self.commit_len else { return };
        let left = if self.has_nothing_to_pack() {
            0
        } else {
            left.saturating_sub(len)
        };
        self.commit_len = Some(left).filter(|left| *left > 0);
        if left == 0 && !(self.unflushed.is_empty() && self.sealed.is_empty()) {
            self.want_flush();
        }
    }

    /// Somebody waits for the frames that were pending when they asked, each stream's up to its
    /// own: others may have come between. Once all are packed, what is packed now is their commit.
    fn note_awaited(&mut self) {
        if !self.is_commit_awaited || self.commit_target.is_some() {
            return;
        }
        let is_all_packed = self.has_nothing_to_pack();
        let stage = &self.stage;
        self.awaited
            .retain(|(dense, goal)| !is_all_packed && !stage.has_packed(*dense, *goal));
        if self.awaited.is_empty() {
            let last = self.unflushed.back().map(|run| run.header.position());
            self.commit_target = Some(last.unwrap_or(self.durable));
            if last.is_some() {
                self.want_flush();
            }
        }
    }

    /// Packs the planned run and submits it; `false` when no buffer is free.
    fn pack_run(&mut self, plan: &[PlannedChunk], len: usize) -> bool {
        let geometry = self.geometry();
        let len = geometry.align_up(len as u64) as usize;
        let Some(mut buffer) = self.buffer(len) else {
            return false;
        };
        let Some(block) = self.block.as_mut() else {
            return false;
        };
        // W8: numbers count on through the segment; W7: the run carries the watermark.
        self.run_number += 1;
        let place = block.place(self.run_number, self.durable, &self.now);
        let directory = Vec::with_capacity(plan.len());
        let mut packer = RunPacker::new(&mut buffer, place, plan.len(), directory);
        let before = self.stage.pending_len();
        let pack = |planned| pack_chunk(&mut self.stage, block, &mut packer, planned);
        let chunks = plan.iter().filter_map(pack).collect();
        let header = Arc::new(packer.finish(&geometry));
        let span = block.end_run(&header);
        let offset = geometry.offset_of_slot(block.id.slot) + u64::from(header.offset);
        let (slot, len) = (block.id.slot, header.len as usize);
        tracing::trace!(
            block = header.id.sequence,
            run = header.run,
            len,
            "run packed"
        );
        self.unflushed.push_back(PackedRun {
            header,
            chunks,
            span,
        });
        self.submit_write(WriteKind::Run, slot, offset, len, buffer);
        self.note_packed(before.saturating_sub(self.stage.pending_len()));
        true
    }

    /// A buffer of at least `len` bytes; none while all are in flight.
    pub(super) fn buffer(&self, len: usize) -> Option<Buffer> {
        if len <= self.pool.buffer_len() {
            return self.pool.take();
        }
        // Frames beyond the pool's buffers are rare; while one is on its way the pool drains.
        Buffer::allocate(len)
            .inspect_err(|e| tracing::warn!("{e}"))
            .ok()
    }
}

/// Takes the frames of a planned chunk and packs them; keeps what it takes to do so again
/// elsewhere.
fn pack_chunk(
    stage: &mut Stage,
    block: &mut OpenBlock,
    packer: &mut RunPacker<'_>,
    planned: &PlannedChunk,
) -> Option<PackedChunk> {
    let dense = planned.dense;
    let mut frames = Vec::with_capacity(planned.count + 1);
    let stream = stage.streams.get(dense as usize)?;
    let (id, setup) = (stream.id, stream.setup.clone());
    let (last_key, last_sequence) = (stream.last_key, stream.last_sequence);
    stage.take(planned, &mut frames);
    if planned.with_setup
        && let Some(first) = frames.first()
    {
        let repeated = setup_record(&setup, first);
        frames.insert(0, repeated);
    }
    for frame in frames.iter().filter(|frame| !frame.record) {
        let len = frame.payload.len();
        tracing::trace!(
            stream = id.0,
            ordinal = frame.ordinal,
            key = frame.key,
            len,
            "frame"
        );
    }
    let (entry, summary) = packer.add(id, last_key, frames.iter());
    let count = u32::from(summary.frame_count);
    block.note_chunk(dense, id, last_sequence, entry, count, &summary);
    for record in frames.iter().filter(|frame| frame.record) {
        block.index.add_record(dense, &record.payload);
    }
    let stream = stage.streams.get_mut(dense as usize)?;
    stream.note_packed(&frames, block.id.sequence, &entry, summary.last_key);
    let with_setup = planned.with_setup;
    Some(PackedChunk {
        dense,
        frames,
        with_setup,
        last_key,
        last_sequence,
        setup,
    })
}

/// The setup in force as a record before `first`, the first frame of its stream in a block.
fn setup_record(setup: &bytes::Bytes, first: &PendingFrame) -> PendingFrame {
    PendingFrame {
        record: true,
        key: false,
        leading: false,
        track: 0,
        payload: setup.clone(),
        ..*first
    }
}

impl Stream {
    /// Takes note of a chunk that was packed from `frames` into block `sequence`.
    fn note_packed(
        &mut self,
        frames: &[PendingFrame],
        sequence: Sequence,
        entry: &ChunkEntry,
        last_key: Option<u16>,
    ) {
        self.last_sequence = sequence;
        let key = last_key.map(|frame| DecodeStart {
            sequence,
            offset: entry.offset,
            len: entry.len,
            frame,
        });
        self.last_key = key.or(self.last_key);
        let setups = frames
            .iter()
            .filter(|f| f.record && Record::is_setup(&f.payload));
        if let Some(setup) = setups.last() {
            self.setup = setup.payload.clone();
        }
    }
}
