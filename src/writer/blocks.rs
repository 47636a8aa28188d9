//! Opening and sealing blocks.
//!
//! The rules of `docs/DURABILITY.md` that are kept here: a header is written one block ahead (W3),
//! and a block is opened for runs only once a flush that began after its header was written has
//! returned (W2); the header that starts a life, or follows a failure, is flushed before its first
//! run (W4); a run is admitted only with room for the index and the trailer (W12); bad and pinned
//! slots burn their sequences (W13).

use super::core::{Core, WriteKind};
use super::fault::{Phase, slots_of};
use crate::base::geometry::{Geometry, Position, Sequence};
use crate::base::time::{Now, TimeRange, Timestamp, US_PER_S};
use crate::block::chunk::ChunkSummary;
use crate::block::header::VoidRange;
use crate::block::index::{Fence, INDEX_PAGE_LEN, IndexBuilder, MAX_INDEX_PAGES, summary_every};
use crate::block::pack::RunPlace;
use crate::block::trailer::BlockSpan;
use crate::block::{BlockHeader, BlockId, BlockTrailer, ChunkEntry, PAGE_LEN, RunHeader};
use crate::frame::StreamId;
use crate::io::buffer::Buffer;
use crate::table::{RowState, TableRow, skew_of};
use crate::volume::load::{row_nonce, sealed_row};
use crate::volume::void::live_voids;

/// A wall-clock step forward that seals the block, in microseconds.
const STEP_FORWARD_US: i64 = 2 * US_PER_S;
/// A step back that does. Slewing moves the clock by less from tick to tick.
const STEP_BACK_US: i64 = 20_000;

/// An index of this length fills its block: what one more run can add must fit its fences too.
const INDEX_FULL_LEN: usize = MAX_INDEX_PAGES * INDEX_PAGE_LEN / 2;

/// A header that was written for a block to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    id: BlockId,
    state: HeaderState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderState {
    /// Submitted.
    Submitted,
    /// Written; no flush that would cover it has begun.
    Written,
    /// A flush has begun since.
    Flushing,
    /// That flush has returned.
    Durable,
}

impl Ahead {
    /// Whether the header was submitted to `slot` and nothing is known of it yet.
    pub(super) fn is_under_way_to(&self, slot: u64) -> bool {
        self.id.slot == slot && self.state == HeaderState::Submitted
    }

    pub(super) fn flush_begins(&mut self) {
        if self.state == HeaderState::Written {
            self.state = HeaderState::Flushing;
        }
    }

    pub(super) fn flush_succeeded(&mut self) {
        if self.state == HeaderState::Flushing {
            self.state = HeaderState::Durable;
        }
    }
}

/// The block that runs are appended to.
#[derive(Debug)]
pub(super) struct OpenBlock {
    pub(super) id: BlockId,
    tag: u64,
    /// Where the next run begins, in bytes.
    position: u32,
    first_run: u64,
    last_run: u64,
    utc_offset_us: i64,
    pub(super) index: IndexBuilder,
    span: Option<BlockSpan>,
    run_span: Option<BlockSpan>,
    frame_count: u64,
    last_arrival: Timestamp,
}

impl OpenBlock {
    fn new(
        id: BlockId,
        geometry: &Geometry,
        now: &Now,
        index: IndexBuilder,
        last: Timestamp,
    ) -> Self {
        Self {
            id,
            tag: id.tag(),
            position: geometry.align_up(PAGE_LEN as u64) as u32,
            first_run: 0,
            last_run: 0,
            utc_offset_us: now.utc_offset_us(),
            index,
            span: None,
            run_span: None,
            frame_count: 0,
            last_arrival: last,
        }
    }

    /// Whether it has no run yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.first_run == 0
    }

    /// How long the next run and what it adds to the index may be together, in bytes (W12).
    pub(super) fn room_len(&self, geometry: &Geometry) -> usize {
        let index =
            geometry.align_up(self.index.encoded_len() as u64) + u64::from(geometry.unit_len());
        if self.index.encoded_len() > INDEX_FULL_LEN {
            return 0;
        }
        let end = u64::from(geometry.block_len()) - geometry.align_up(PAGE_LEN as u64);
        end.saturating_sub(index)
            .saturating_sub(self.position.into()) as usize
    }

    /// What the next run has in common with its block.
    pub(super) fn place(&mut self, run: u64, mark: Position, now: &Now) -> RunPlace {
        if self.first_run == 0 {
            self.first_run = run;
            // The block lies in the clock segment of its first run.
            self.utc_offset_us = now.utc_offset_us();
        }
        self.last_run = run;
        self.run_span = None;
        RunPlace {
            id: self.id,
            tag: self.tag,
            run,
            offset: self.position,
            mark,
            utc_offset_us: now.utc_offset_us(),
            packed_boot_us: now.boot_us,
        }
    }

    pub(super) fn note_chunk(
        &mut self,
        dense: u32,
        stream: StreamId,
        previous: Sequence,
        entry: ChunkEntry,
        frame_count: u32,
        summary: &ChunkSummary,
    ) {
        self.index.add_chunk(
            dense,
            stream,
            previous,
            entry,
            frame_count,
            summary.payload_len,
        );
        self.frame_count += u64::from(frame_count);
        let utc = |boot_us: i64| Timestamp(boot_us.saturating_add(self.utc_offset_us));
        let arrivals = TimeRange::new(utc(summary.first_arrival_us), utc(summary.last_arrival_us));
        let chunk = BlockSpan {
            arrivals,
            times: summary.times,
            skew_us: summary.skew_us,
        };
        self.run_span = Some(union(self.run_span, chunk));
    }

    /// What the trailer says once the index of `index_len` bytes stands behind the runs.
    fn trailer(&self, index_len: u32, fences: Vec<Fence>) -> BlockTrailer {
        let at = TimeRange {
            start: self.last_arrival,
            end: self.last_arrival,
        };
        BlockTrailer {
            id: self.id,
            first_run: self.first_run,
            last_run: self.last_run,
            runs_end: self.position,
            index_offset: self.position,
            index_len,
            stream_count: self.index.stream_count(),
            chunk_count: self.index.chunk_count(),
            frame_count: self.frame_count,
            utc_offset_us: self.utc_offset_us,
            span: self.span.unwrap_or(BlockSpan {
                arrivals: at,
                times: at,
                skew_us: 0,
            }),
            fences,
        }
    }

    /// The run is packed; returns what it adds to the block's row.
    pub(super) fn end_run(&mut self, header: &RunHeader) -> TableRow {
        self.position = header.end();
        let at = TimeRange {
            start: self.last_arrival,
            end: self.last_arrival,
        };
        let empty = BlockSpan {
            arrivals: at,
            times: at,
            skew_us: 0,
        };
        let mut span = self.run_span.take().unwrap_or(empty);
        // What rows are searched by never goes back, whatever the clocks do.
        span.arrivals.start = span.arrivals.start.max(self.last_arrival);
        span.arrivals.end = span.arrivals.end.max(span.arrivals.start);
        span.skew_us = span.skew_us.max(skew_of(&span.arrivals, &span.times));
        self.last_arrival = span.arrivals.end;
        self.span = Some(union(self.span, span));
        TableRow {
            sequence: self.id.sequence,
            nonce: row_nonce(&self.id),
            state: RowState::Open,
            arrivals: span.arrivals,
            times: span.times,
            skew_us: span.skew_us,
        }
    }
}

fn union(all: Option<BlockSpan>, one: BlockSpan) -> BlockSpan {
    all.map_or(one, |all| BlockSpan {
        arrivals: all.arrivals.union(&one.arrivals),
        times: all.times.union(&one.times),
        skew_us: all.skew_us.max(one.skew_us),
    })
}

impl Core {
    /// Whether the open block has no run yet.
    pub(super) fn is_fresh_block(&self) -> bool {
        self.block.as_ref().is_some_and(OpenBlock::is_fresh)
    }

    /// The next sequence behind `sequence` whose slot may be written (W13).
    pub(super) fn next_usable(&self, sequence: Sequence) -> Option<Sequence> {
        let geometry = self.geometry();
        let usable = |sequence: &Sequence| {
            let slot = geometry.slot_of(*sequence);
            !self
                .bad
                .iter()
                .chain(&self.pins)
                .any(|range| range.contains(slot))
        };
        (sequence + 1..=sequence + geometry.slot_count()).find(usable)
    }

    /// Whether a block is open for runs; opens the next one, or begins a segment, if that can be
    /// done now.
    pub(super) fn has_block(&mut self) -> bool {
        if self.block.is_some() {
            return true;
        }
        if self.phase == Phase::Ready && self.ahead.is_empty() {
            self.begin_segment();
            return false;
        }
        let durable = self
            .ahead
            .pop_front_if(|ahead| ahead.state == HeaderState::Durable);
        let Some(next) = durable else {
            // W2: its header has to be covered by a flush first.
            self.want_flush();
            return false;
        };
        let mut index = std::mem::take(&mut self.spare_index);
        let every = summary_every(self.geometry().slot_count());
        if next.id.sequence.is_multiple_of(every) {
            self.summarize(next.id.sequence, &mut index);
        }
        let last = self.last_arrival;
        self.block = Some(OpenBlock::new(
            next.id,
            &self.geometry(),
            &self.now,
            index,
            last,
        ));
        tracing::trace!(
            block = next.id.sequence,
            slot = next.id.slot,
            "block opened"
        );
        if self.ahead.is_empty() {
            self.write_header_ahead();
        }
        true
    }

    /// A life, or what follows a failure, begins with a header that is flushed before any run (W4).
    /// It says that everything before it is decided.
    fn begin_segment(&mut self) {
        let Some(sequence) = self.next_usable(self.headers_written) else {
            return self.give_up_volume("every slot is bad or pinned");
        };
        if let Some(from) = self.void_from.take() {
            self.voids.push(VoidRange { from, to: sequence });
            let voids = self.voids.clone();
            self.volume.with_state(|state| state.verdict.voids = voids);
        }
        self.first_sequence.get_or_insert(sequence);
        self.durable = Position::end_of(sequence - 1);
        self.run_number = 0;
        self.phase = Phase::Opening;
        self.write_header(sequence);
        self.want_flush();
    }

    /// Writes the header of the block behind the newest one.
    fn write_header_ahead(&mut self) {
        match self.next_usable(self.headers_written) {
            Some(sequence) => self.write_header(sequence),
            None => self.give_up_volume("every slot is bad or pinned"),
        }
    }

    /// Submits the header of block `sequence`. It carries the watermark (W7), the nonce of the life
    /// (W9), and all void ranges that still matter (W10).
    fn write_header(&mut self, sequence: Sequence) {
        let geometry = self.geometry();
        let slot = geometry.slot_of(sequence);
        let id = BlockId {
            volume: self.located.volume,
            slot,
            sequence,
            nonce: self.life.nonce,
        };
        let kept = self.kept_sequences();
        self.voids = live_voids(&self.voids, sequence, geometry.slot_count(), &kept);
        let header = BlockHeader {
            id,
            geometry,
            compat: self.compat.0,
            read_only_compat: self.compat.1,
            life: self.life.number,
            written_utc_us: self.now.utc_us,
            written_boot_us: self.now.boot_us,
            boot_id: self.life.boot_id,
            mark: self.durable,
            bad: self.bad.clone(),
            pins: self.pins.clone(),
            voids: self.voids.clone(),
        };
        let len = geometry.align_up(PAGE_LEN as u64) as usize;
        let mut buffer = match Buffer::allocate(len) {
            Ok(buffer) => buffer,
            Err(e) => return self.give_up_volume(&e.to_string()),
        };
        header.encode(&mut buffer);
        // From here on the block that was in the slot is gone: readers must know first.
        let nonce = row_nonce(&id);
        self.feed.table.set(
            &geometry,
            TableRow {
                sequence,
                nonce,
                ..TableRow::default()
            },
        );
        self.feed.table.set_head(sequence);
        self.headers_written = sequence;
        self.ahead.push_back(Ahead {
            id,
            state: HeaderState::Submitted,
        });
        let offset = geometry.offset_of_slot(slot);
        self.submit_write(WriteKind::Header(sequence), slot, offset, len, buffer);
    }

    /// The blocks in bad and pinned slots.
    fn kept_sequences(&self) -> Vec<Sequence> {
        let slots = slots_of(&self.bad).chain(slots_of(&self.pins));
        slots
            .map(|slot| self.feed.table.table().row(slot).sequence)
            .collect()
    }

    pub(super) fn header_written(&mut self, sequence: Sequence) {
        let ahead = self
            .ahead
            .iter_mut()
            .find(|ahead| ahead.id.sequence == sequence);
        if let Some(ahead) = ahead {
            ahead.state = HeaderState::Written;
        }
    }

    /// The flush of a segment's first header has returned: runs may follow (W4).
    pub(super) fn segment_flushed(&mut self) {
        let first = self.ahead.front().map(|ahead| ahead.state);
        if self.phase == Phase::Opening && first == Some(HeaderState::Durable) {
            self.phase = Phase::Ready;
            self.feed.durable.set(self.durable);
        }
    }

    /// A step of the wall clock seals the block, so that a block lies in one clock segment (W14).
    pub(super) fn seal_at_clock_step(&mut self) {
        let Some(block) = self.block.as_ref().filter(|block| block.first_run != 0) else {
            return;
        };
        let step = self.now.utc_offset_us().saturating_sub(block.utc_offset_us);
        if !(-STEP_BACK_US..=STEP_FORWARD_US).contains(&step) {
            tracing::warn!(
                step_us = step,
                "the wall clock has stepped; the block is sealed"
            );
            self.seal();
        }
    }

    /// Seals the open block at the end of a recording; one without runs is left as it is (W15).
    pub(super) fn end_last_block(&mut self) {
        if self.is_fresh_block() {
            self.block = None;
        } else {
            self.seal();
        }
    }

    /// Writes index and trailer of the open block, then the header ahead, and asks for a flush (W3).
    pub(super) fn seal(&mut self) {
        let Some(mut block) = self.block.take() else {
            return;
        };
        self.last_arrival = block.last_arrival;
        let geometry = self.geometry();
        let index_len = block.index.encoded_len();
        let padded = geometry.align_up(index_len as u64) as usize;
        let page_len = geometry.align_up(PAGE_LEN as u64) as usize;
        let buffers = (Buffer::allocate(padded), Buffer::allocate(page_len));
        let (mut index_buffer, mut trailer_buffer) = match buffers {
            (Ok(index), Ok(trailer)) => (index, trailer),
            (Err(e), _) | (_, Err(e)) => return self.give_up_volume(&e.to_string()),
        };
        let fences = block.index.encode(&mut index_buffer, block.first_run);
        index_buffer
            .get_mut(index_len..padded)
            .unwrap_or_default()
            .fill(0);
        let trailer = block.trailer(index_len as u32, fences);
        trailer.encode(
            trailer_buffer
                .get_mut(page_len - PAGE_LEN..)
                .unwrap_or_default(),
        );
        let slot = block.id.slot;
        let base = geometry.offset_of_slot(slot);
        let offset = base + u64::from(block.position);
        self.submit_write(WriteKind::Index, slot, offset, padded, index_buffer);
        let offset = base + u64::from(geometry.block_len()) - page_len as u64;
        let row = sealed_row(&trailer);
        self.submit_write(
            WriteKind::Trailer(row),
            slot,
            offset,
            page_len,
            trailer_buffer,
        );
        tracing::trace!(
            block = block.id.sequence,
            runs_end = block.position,
            "block sealed"
        );
        block.index.clear();
        self.spare_index = block.index;
        if !self.is_closing {
            self.write_header_ahead();
        }
        self.want_flush();
    }
}
