//! Which pending frames go into the next run: pure decisions.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::geometry::Sequence;
use crate::base::sync::Arc;
use crate::block::chunk::{
    CHUNK_HEADER_LEN, MAX_CHUNK_ENTRIES, MAX_CHUNK_LEN, MAX_FRAME_OVERHEAD_LEN, PendingFrame,
};
use crate::block::index::IndexBuilder;
use crate::block::record::Record;
use crate::block::run::{DIRECTORY_ENTRY_LEN, MAX_RUN_CHUNKS, RUN_HEADER_LEN};
use crate::block::{CHUNK_ALIGN, DecodeStart};
use crate::frame::StreamId;

use super::quota::Quota;

/// A time step within a chunk that begins a new chunk, in microseconds: the index would claim the
/// time between as recorded.
const TIME_STEP_US: u64 = 2_000_000;
/// The most frames of a chunk, so that its entries fit however many escapes they need.
const MAX_CHUNK_FRAMES: usize = MAX_CHUNK_ENTRIES / 4 - 1;

/// A stream as the writer's thread knows it.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its number.
    pub id: StreamId,
    /// Frames that wait to be packed.
    pub pending: VecDeque<PendingFrame>,
    /// The setup in force behind what was packed, as a record.
    pub setup: Bytes,
    /// Whether the volume does not know it yet, or knows it otherwise: worth a block of its own.
    pub is_news: bool,
    /// Its newest key frame that was packed.
    pub last_key: Option<DecodeStart>,
    /// The newest block that holds it; 0 for none.
    pub last_sequence: Sequence,
    /// How many of its frames and records were packed; less again when they were packed in vain.
    pub packed_count: u64,
    /// Given back when frames are durable.
    pub quota: Arc<Quota>,
}

/// A chunk of the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlannedChunk {
    /// The stream's dense number.
    pub dense: u32,
    /// How many of its pending frames, from the oldest on.
    pub count: usize,
    /// Whether its setup is repeated before them, because the block does not hold the stream yet.
    pub with_setup: bool,
}

/// What fits into a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Frames are taken until the run is about this long, in bytes.
    pub target_len: usize,
    /// The run and what it adds to the index may not be longer than this together, in bytes.
    pub block_len: usize,
    /// Frames are taken that came no later than this after the oldest one that waits, in
    /// microseconds. Behind a backlog the streams go forward side by side, so that none is durable
    /// long before another, and none is overwritten long before another.
    pub slice_us: i64,
}

/// Pending frames of all streams, and the order in which they are packed.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// All streams, by dense number.
    pub streams: Vec<Stream>,
    /// Dense numbers of the streams with pending frames: those that waited longest first.
    waiting: VecDeque<u32>,
    pending_len: usize,
    /// How many pending frames are no records.
    frame_count: usize,
}

impl Stage {
    /// Bytes that wait to be packed.
    pub(super) fn pending_len(&self) -> usize {
        self.pending_len
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether anything waits that is worth to begin a block: a frame, or a stream that the volume
    /// does not know.
    pub(super) fn has_news(&self) -> bool {
        let mut waiting = self.waiting.iter();
        let stream = |dense: &u32| self.streams.get(*dense as usize);
        self.frame_count > 0 || waiting.any(|dense| stream(dense).is_some_and(|s| s.is_news))
    }

    /// A pending frame that is among the next to be packed.
    pub(super) fn oldest(&self) -> Option<&PendingFrame> {
        let first = self.waiting.front()?;
        self.streams.get(*first as usize)?.pending.front()
    }

    /// Adds a frame of stream number `dense`; frames of unknown streams are not taken.
    pub(super) fn push(&mut self, dense: u32, frame: PendingFrame) {
        let Some(stream) = self.streams.get_mut(dense as usize) else {
            return;
        };
        if stream.pending.is_empty() {
            self.waiting.push_back(dense);
        }
        self.pending_len += cost(&frame);
        self.frame_count += usize::from(!frame.record);
        stream.pending.push_back(frame);
    }

    /// Puts a frame that was packed in vain back before all pending ones of its stream.
    pub(super) fn push_back_front(&mut self, dense: u32, frame: PendingFrame) {
        let Some(stream) = self.streams.get_mut(dense as usize) else {
            return;
        };
        if stream.pending.is_empty() {
            self.waiting.push_front(dense);
        }
        self.pending_len += cost(&frame);
        self.frame_count += usize::from(!frame.record);
        stream.packed_count -= 1;
        stream.pending.push_front(frame);
    }

    /// For each stream with pending frames, what its count of packed ones is once they are packed.
    pub(super) fn goals(&self) -> Vec<(u32, u64)> {
        let goal = |dense: &u32| {
            let stream = self.streams.get(*dense as usize)?;
            Some((*dense, stream.packed_count + stream.pending.len() as u64))
        };
        self.waiting.iter().filter_map(goal).collect()
    }

    /// Whether stream number `dense` has come to `goal`.
    pub(super) fn has_packed(&self, dense: u32, goal: u64) -> bool {
        let stream = self.streams.get(dense as usize);
        stream.is_none_or(|stream| stream.packed_count >= goal)
    }

    /// Decides on the chunks of the next run and puts them into `plan`, which stays empty when not
    /// even one frame fits. `holds` says whether the open block holds a stream already. Returns
    /// an upper bound of the run's length in bytes.
    pub(super) fn plan(
        &self,
        room: Room,
        holds: impl Fn(u32) -> bool,
        plan: &mut Vec<PlannedChunk>,
    ) -> usize {
        plan.clear();
        let mut total = Total {
            run_len: RUN_HEADER_LEN + CHUNK_ALIGN,
            index_len: 0,
            room,
        };
        let horizon_us = self.oldest_arrival_us().saturating_add(room.slice_us);
        for dense in &self.waiting {
            let Some(stream) = self.streams.get(*dense as usize) else {
                continue;
            };
            let mut with_setup = !holds(*dense) && !begins_with_setup(stream);
            let mut from = 0;
            let is_due = |frame: &&PendingFrame| frame.arrival_us <= horizon_us;
            while stream.pending.get(from).as_ref().is_some_and(is_due)
                && plan.len() < MAX_RUN_CHUNKS
            {
                let frames = stream.pending.range(from..).take_while(is_due);
                let extra = if with_setup { stream.setup.len() } else { 0 };
                let count = total.take_chunk(frames, extra, with_setup, plan.is_empty());
                if count == 0 {
                    return total.run_len;
                }
                plan.push(PlannedChunk {
                    dense: *dense,
                    count,
                    with_setup,
                });
                (from, with_setup) = (from + count, false);
            }
        }
        total.run_len
    }

    /// When the oldest pending frame came, on the boot clock.
    fn oldest_arrival_us(&self) -> i64 {
        let streams = self.waiting.iter();
        let streams = streams.filter_map(|dense| self.streams.get(*dense as usize));
        let oldest = streams.filter_map(|stream| stream.pending.front());
        oldest.map(|frame| frame.arrival_us).min().unwrap_or(0)
    }

    /// Moves the frames of a planned chunk to the end of `to`.
    pub(super) fn take(&mut self, chunk: &PlannedChunk, to: &mut Vec<PendingFrame>) {
        let Some(stream) = self.streams.get_mut(chunk.dense as usize) else {
            return;
        };
        for frame in stream
            .pending
            .drain(..chunk.count.min(stream.pending.len()))
        {
            self.pending_len -= cost(&frame);
            self.frame_count -= usize::from(!frame.record);
            stream.packed_count += 1;
            to.push(frame);
        }
        if stream.pending.is_empty() {
            // A plan takes from the front, so the stream is found at once.
            if let Some(at) = self.waiting.iter().position(|dense| *dense == chunk.dense) {
                self.waiting.remove(at);
            }
        }
    }
}

/// What a frame counts for in the stage, in bytes.
fn cost(frame: &PendingFrame) -> usize {
    frame.payload.len() + MAX_FRAME_OVERHEAD_LEN
}

fn begins_with_setup(stream: &Stream) -> bool {
    let first = stream.pending.front();
    first.is_some_and(|frame| frame.record && Record::is_setup(&frame.payload))
        || stream.setup.is_empty()
}

struct Total {
    run_len: usize,
    index_len: usize,
    room: Room,
}

impl Total {
    /// How many of `frames` make the next chunk; 0 when the run is full. The first chunk of a run
    /// takes one frame however long it is, as long as the block has room for it.
    fn take_chunk<'f>(
        &mut self,
        frames: impl Iterator<Item = &'f PendingFrame>,
        extra_len: usize,
        with_setup: bool,
        is_first: bool,
    ) -> usize {
        let head = CHUNK_HEADER_LEN + DIRECTORY_ENTRY_LEN + 2 * CHUNK_ALIGN;
        let setup = if with_setup {
            extra_len + MAX_FRAME_OVERHEAD_LEN
        } else {
            0
        };
        let mut chunk_len = head + setup;
        let mut index_len = IndexBuilder::max_growth(extra_len);
        let (mut count, mut has_frames, mut last_time) = (0, false, None);
        for frame in frames {
            let step =
                last_time.is_some_and(|last: i64| last.abs_diff(frame.time.0) > TIME_STEP_US);
            if count >= MAX_CHUNK_FRAMES || has_frames && (frame.record || step) {
                break;
            }
            let frame_len = cost(frame);
            let records = if frame.record {
                IndexBuilder::max_growth(frame.payload.len())
            } else {
                0
            };
            let run_len = self.run_len + chunk_len + frame_len;
            let full = run_len + self.index_len + index_len + records > self.room.block_len;
            let enough = run_len > self.room.target_len || chunk_len + frame_len > MAX_CHUNK_LEN;
            let must = is_first && count == 0;
            if full || enough && !must {
                break;
            }
            chunk_len += frame_len;
            index_len += records;
            count += 1;
            if !frame.record {
                (has_frames, last_time) = (true, Some(frame.time.0));
            }
        }
        if count > 0 {
            self.run_len += chunk_len;
            self.index_len += index_len;
        }
        count
    }
}

impl Stage {
    /// Takes everything that waits, stream by stream.
    pub(super) fn clear(&mut self) -> Vec<(u32, PendingFrame)> {
        let mut all = Vec::new();
        for dense in self.waiting.drain(..) {
            let Some(stream) = self.streams.get_mut(dense as usize) else {
                continue;
            };
            all.extend(stream.pending.drain(..).map(|frame| (dense, frame)));
        }
        (self.pending_len, self.frame_count) = (0, 0);
        all
    }
}
