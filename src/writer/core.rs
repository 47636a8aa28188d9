//! The writer's state machine: from pending frames to committed runs.
//!
//! Everything happens in [`Core::turn`], on one thread, with the time as an argument. The rules of
//! the order of writes and flushes are those of `docs/DURABILITY.md`; each is named where it is
//! kept. What happens after a failure is in `fault`, how blocks are opened and sealed in `blocks`.

use std::collections::VecDeque;
use std::fmt;

use super::blocks::{Ahead, OpenBlock};
use super::fault::Phase;
use super::keeper::KeeperFeed;
use super::numbers::RingPlace;
use super::pack::GATHER_LEN;
use super::producer::{Message, ProducerEnd};
use super::quota::Quota;
use super::stage::{PlannedChunk, Stage, Stream};
use crate::base::error::Result;
use crate::base::geometry::{Geometry, Nonce, Position, Sequence};
use crate::base::sync::{Arc, AtomicU64, Ordering};
use crate::base::time::{Now, TimeRange, Timestamp};
use crate::block::chunk::PendingFrame;
use crate::block::header::{SlotRange, VoidRange};
use crate::block::index::IndexBuilder;
use crate::block::{DecodeStart, RunHeader};
use crate::io::buffer::{Buffer, BufferPool};
use crate::io::{Completion, Device, Op, Request};
use crate::table::{RowState, TableRow};
use crate::volume::locate::Located;
use crate::volume::{Volume, VolumeFeed};

/// The token of a flush; writes have small ones.
pub(super) const FLUSH_TOKEN: u64 = u64::MAX;
/// How often what was pushed is written while somebody follows without waiting for the commit, in
/// microseconds. More often costs such a viewer's recording space: a write is padded, and each of
/// its chunks has a header.
const WATCHED_US: i64 = 40_000;

/// One opening of the volume for writing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// Its random mark.
    pub(super) nonce: Nonce,
    /// How many lives there were, this one included.
    pub(super) number: u64,
    /// The boot that its boot clock belongs to.
    pub(super) boot_id: [u8; 16],
}

/// A write that was submitted.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) kind: WriteKind,
    /// The slot that it goes to, to retire it if it fails.
    pub(super) slot: u64,
    is_done: bool,
}

/// What a write brought to disk.
#[derive(Debug)]
pub(super) enum WriteKind {
    Header(Sequence),
    Run,
    Index,
    Trailer(TableRow),
}

/// A run that is not durable yet, with all that is needed to write it again elsewhere.
#[derive(Debug)]
pub(super) struct PackedRun {
    pub(super) header: Arc<RunHeader>,
    pub(super) chunks: Vec<PackedChunk>,
    pub(super) span: TableRow,
}

/// The frames of a chunk, and what its stream knew before them.
#[derive(Debug)]
pub(super) struct PackedChunk {
    pub(super) dense: u32,
    pub(super) frames: Vec<PendingFrame>,
    /// Whether the first frame is a repeated setup that the stage never held.
    pub(super) with_setup: bool,
    pub(super) last_key: Option<DecodeStart>,
    pub(super) last_sequence: Sequence,
    pub(super) setup: bytes::Bytes,
}

/// A flush under way, and what is durable when it succeeds.
#[derive(Debug)]
pub(super) struct FlushUnderWay {
    pub(super) position: Position,
    pub(super) run_count: usize,
    pub(super) sealed_count: usize,
}

/// What the writer's thread has to know from the volume when it starts.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) located: Located,
    pub(super) life: Life,
    pub(super) head: Sequence,
    pub(super) end: Position,
    pub(super) voids: Vec<VoidRange>,
    pub(super) void_from: Option<Position>,
    pub(super) compat: (u64, u64),
    pub(super) bad: Vec<SlotRange>,
    pub(super) pins: Vec<SlotRange>,
    pub(super) commit_us: i64,
    pub(super) volume_quota: Arc<Quota>,
    pub(super) pushed_len: Arc<AtomicU64>,
}

/// The writer's state.
pub(super) struct Core {
    pub(super) device: Box<dyn Device>,
    pub(super) pool: BufferPool,
    pub(super) located: Located,
    pub(super) volume: Volume,
    pub(super) feed: VolumeFeed,
    pub(super) keeper: KeeperFeed,
    pub(super) life: Life,
    pub(super) now: Now,
    pub(super) phase: Phase,
    pub(super) stage: Stage,
    pub(super) producers: Vec<ProducerEnd>,
    pub(super) block: Option<OpenBlock>,
    /// Headers that were written for blocks to come, oldest first.
    pub(super) ahead: VecDeque<Ahead>,
    /// The greatest sequence over all headers that were ever written.
    pub(super) headers_written: Sequence,
    pub(super) durable: Position,
    pub(super) voids: Vec<VoidRange>,
    /// The beginning of a void range whose end is the next block to be opened.
    pub(super) void_from: Option<Position>,
    /// Compatible and read-only compatible features, carried on.
    pub(super) compat: (u64, u64),
    pub(super) bad: Vec<SlotRange>,
    pub(super) pins: Vec<SlotRange>,
    /// Writes in the order of their submission; the first has the token `first_token`.
    pub(super) writes: VecDeque<Write>,
    pub(super) first_token: u64,
    pub(super) unflushed: VecDeque<PackedRun>,
    /// How many of `unflushed` are completely written.
    pub(super) completed_count: usize,
    /// Rows of sealed blocks whose trailers are written, not durable.
    pub(super) sealed: VecDeque<TableRow>,
    pub(super) flush: Option<FlushUnderWay>,
    /// A flush is due once every write before this token is done.
    pub(super) flush_after: Option<u64>,
    /// The block that the life began with; none while nothing was written.
    pub(super) first_sequence: Option<Sequence>,
    /// Bytes that have to be packed before the commit that is under way may flush.
    pub(super) commit_len: Option<usize>,
    /// What waits is written now, whether or not it is enough, for those who watch.
    pub(super) is_write_due: bool,
    /// When that was so last.
    written_us: i64,
    next_tick_us: i64,
    pub(super) commit_us: i64,
    /// Arrivals of blocks never go back.
    pub(super) last_arrival: Timestamp,
    pub(super) run_number: u64,
    pub(super) failures_in_a_row: u32,
    pub(super) is_closing: bool,
    pub(super) volume_quota: Arc<Quota>,
    /// Bytes that producers have pushed since the last turn.
    pushed_len: Arc<AtomicU64>,
    pub(super) plan: Vec<PlannedChunk>,
    /// Where the commit that somebody waits for ends; none until all of it is packed.
    pub(super) commit_target: Option<Position>,
    pub(super) is_commit_awaited: bool,
    /// What it waits for besides: streams, and how many of their frames have to be packed.
    pub(super) awaited: Vec<(u32, u64)>,
    /// Bytes written in this life.
    pub(super) written_len: u64,
    /// Flushes that succeeded in this life.
    pub(super) flush_count: u64,
    /// The memory of the last block's index, for the next one.
    pub(super) spare_index: IndexBuilder,
}

impl Core {
    pub(super) fn new(
        device: Box<dyn Device>,
        pool: BufferPool,
        (volume, feed): (Volume, VolumeFeed),
        keeper: KeeperFeed,
        start: Start,
        now: Now,
    ) -> Self {
        let last = feed.table.table().blocks().last();
        Self {
            device,
            pool,
            located: start.located,
            volume,
            keeper,
            life: start.life,
            now,
            phase: Phase::Ready,
            stage: Stage::default(),
            producers: Vec::new(),
            block: None,
            ahead: VecDeque::new(),
            headers_written: start.head,
            durable: start.end,
            voids: start.voids,
            void_from: start.void_from,
            compat: start.compat,
            bad: start.bad,
            pins: start.pins,
            writes: VecDeque::new(),
            first_token: 0,
            unflushed: VecDeque::new(),
            completed_count: 0,
            sealed: VecDeque::new(),
            flush: None,
            flush_after: None,
            first_sequence: None,
            commit_len: None,
            is_write_due: false,
            written_us: now.boot_us,
            next_tick_us: now.boot_us.saturating_add(start.commit_us),
            commit_us: start.commit_us,
            last_arrival: last.map_or(Timestamp::MIN, |row| row.arrivals.end),
            run_number: 0,
            failures_in_a_row: 0,
            is_closing: false,
            volume_quota: start.volume_quota,
            pushed_len: start.pushed_len,
            plan: Vec::new(),
            commit_target: None,
            is_commit_awaited: false,
            awaited: Vec::new(),
            written_len: 0,
            flush_count: 0,
            spare_index: IndexBuilder::default(),
            feed,
        }
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.located.geometry
    }

    /// Does all that can be done at `now` without waiting.
    pub(super) fn turn(&mut self, now: Now) {
        self.now = now;
        while let Some(done) = self.device.reap() {
            self.complete(done);
        }
        self.pushed_len.store(0, Ordering::Relaxed);
        self.collect();
        if now.boot_us >= self.next_tick_us {
            self.next_tick_us = now.boot_us.saturating_add(self.commit_us);
            self.begin_commit();
        }
        self.is_write_due |= self.watched_us() <= now.boot_us;
        if self.is_write_due {
            self.written_us = now.boot_us;
        }
        self.advance();
        self.submit_flush();
    }

    /// How long the thread may sleep if nothing else wakes it, in microseconds; `None` for ever.
    pub(super) fn sleep_us(&self, now: Now) -> Option<u64> {
        let is_idle = self.producers.is_empty() && self.is_committed();
        let wake_us = self.next_tick_us.min(self.watched_us());
        let left = wake_us.saturating_sub(now.boot_us).max(0);
        (!is_idle).then_some(left.cast_unsigned())
    }

    /// When what was pushed is to be written for those who watch; never where nobody does.
    fn watched_us(&self) -> i64 {
        if !self.volume.is_watched() {
            return i64::MAX;
        }
        self.written_us.saturating_add(WATCHED_US)
    }

    /// Whether nothing waits that would be packed now.
    pub(super) fn has_nothing_to_pack(&self) -> bool {
        self.stage.is_empty() || self.waits_for_news()
    }

    /// Whether the life has not begun, and only gaps of known streams wait (W15): a recorder that is started again
    /// and again while its cameras are off would push what was recorded out of the ring. The time
    /// without a frame is told as a restart later.
    fn waits_for_news(&self) -> bool {
        self.first_sequence.is_none() && !self.stage.has_news()
    }

    /// Whether nothing waits, is written or flushed.
    pub(super) fn is_committed(&self) -> bool {
        self.has_nothing_to_pack()
            && self.writes.is_empty()
            && self.unflushed.is_empty()
            && self.sealed.is_empty()
            && self.flush.is_none()
    }

    /// Takes what producers have pushed since the last turn.
    pub(super) fn collect(&mut self) {
        // A stream that went from one producer to another is taken in this order; each pass takes
        // at least the beginning of such a chain.
        let mut is_complete = false;
        while !is_complete {
            is_complete = true;
            for at in 0..self.producers.len() {
                is_complete &= self.collect_from(at);
            }
        }
        self.producers.retain(|producer| !producer.is_gone());
        self.discard_if_failed();
    }

    /// Takes what one producer has pushed; says whether nothing of it has to wait for another one.
    fn collect_from(&mut self, at: usize) -> bool {
        // What is pushed meanwhile is left for the next turn, so that this ends.
        let count = self.producers.get(at).map_or(0, ProducerEnd::len);
        for _ in 0..count {
            let next = self.producers.get(at).and_then(ProducerEnd::peek);
            if let Some(Message::Stream {
                after: Some(after), ..
            }) = next
                && !self.has_taken(after)
            {
                return false;
            }
            let Some(message) = self.producers.get_mut(at).and_then(ProducerEnd::pop) else {
                return true;
            };
            match message {
                Message::Stream { dense, stream, .. } => self.add_stream(dense as usize, stream),
                Message::Frame { dense, frame } => self.stage.push(dense, frame),
            }
        }
        if count > 0 {
            self.producers
                .get(at)
                .into_iter()
                .for_each(ProducerEnd::tell_room);
        }
        true
    }

    /// Whether everything before `place` was taken.
    fn has_taken(&self, place: &RingPlace) -> bool {
        let mut producers = self.producers.iter();
        let end = producers.find(|end| end.taken.producer == place.producer);
        // A producer that is gone was emptied before.
        end.is_none_or(|end| end.taken.message_count >= place.message_count)
    }

    fn add_stream(&mut self, dense: usize, stream: Option<Box<Stream>>) {
        let len = self.stage.streams.len().max(dense + 1);
        let unknown = || Stream::unknown(&self.volume_quota);
        self.stage.streams.resize_with(len, unknown);
        if let Some((stream, place)) = stream.zip(self.stage.streams.get_mut(dense)) {
            *place = *stream;
        }
    }

    /// Whether there is something to do without waiting.
    pub(super) fn has_work(&self) -> bool {
        let gather = GATHER_LEN as u64;
        self.producers.iter().any(ProducerEnd::is_half_full)
            || self.pushed_len.load(Ordering::Relaxed) >= gather
    }

    /// When the oldest frame that is not durable was pushed, on the boot clock.
    pub(super) fn oldest_arrival_us(&self) -> Option<i64> {
        let unflushed = self.unflushed.front().and_then(|run| run.chunks.first());
        let packed = unflushed.and_then(|chunk| chunk.frames.first());
        let waiting = || self.stage.oldest().filter(|_| !self.waits_for_news());
        packed.or_else(waiting).map(|frame| frame.arrival_us)
    }

    pub(super) fn submit_write(
        &mut self,
        kind: WriteKind,
        slot: u64,
        offset: u64,
        len: usize,
        buffer: Buffer,
    ) {
        let token = self.first_token + self.writes.len() as u64;
        self.writes.push_back(Write {
            kind,
            slot,
            is_done: false,
        });
        self.written_len += len as u64;
        self.device.submit(Request {
            token,
            op: Op::Write,
            offset,
            len,
            buffer: Some(buffer),
        });
    }

    fn complete(&mut self, done: Completion) {
        if self.phase == Phase::Draining {
            return self.drained(&done);
        }
        if done.token == FLUSH_TOKEN {
            let Some(flush) = self.flush.take() else {
                return;
            };
            return match done.result {
                Ok(()) => self.flushed(&flush),
                Err(e) => self.fail(&format!("flush: {e}"), None),
            };
        }
        let number = done.token.wrapping_sub(self.first_token) as usize;
        let Some(write) = self.writes.get_mut(number) else {
            return;
        };
        write.is_done = true;
        if let Err(e) = done.result {
            let slot = write.slot;
            return self.fail(&format!("write to slot {slot}: {e}"), Some(slot));
        }
        while let Some(write) = self.writes.pop_front_if(|write| write.is_done) {
            self.first_token += 1;
            self.written(&write.kind);
        }
    }

    /// A request that was under way when another one failed.
    fn drained(&mut self, done: &Completion) {
        let number = done.token.wrapping_sub(self.first_token) as usize;
        let slot = self.writes.get(number).map(|write| write.slot);
        if let (Err(_), Some(slot)) = (&done.result, slot) {
            self.retire(slot);
        }
    }

    /// A write and all before it are done.
    fn written(&mut self, kind: &WriteKind) {
        match kind {
            WriteKind::Header(sequence) => self.header_written(*sequence),
            WriteKind::Index => {}
            WriteKind::Trailer(row) => self.sealed.push_back(*row),
            WriteKind::Run => {
                let Some(run) = self.unflushed.get(self.completed_count) else {
                    return;
                };
                self.completed_count += 1;
                let row = self
                    .feed
                    .table
                    .table()
                    .block(run.span.sequence)
                    .unwrap_or(run.span);
                self.feed
                    .table
                    .set(&self.located.geometry, merged(row, &run.span));
                self.feed.live.append(run.header.clone());
                self.feed.completed.set(run.header.position());
                self.keeper.wake_readers();
            }
        }
    }

    /// Forgets all writes and the flush: the device has nothing in flight any more.
    pub(super) fn forget_writes(&mut self) {
        self.first_token += self.writes.len() as u64;
        self.writes.clear();
        self.flush = None;
        self.flush_after = None;
    }

    /// Waits until a request has finished or `timeout_us` have passed.
    pub(super) fn wait(&mut self, timeout_us: Option<u64>) -> Result<()> {
        self.device.wait(timeout_us)
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, durable up to {:?}", self.phase, self.durable)
    }
}

/// The row of an open block with one more run in it.
fn merged(row: TableRow, run: &TableRow) -> TableRow {
    if row.state == RowState::Empty {
        return *run;
    }
    TableRow {
        arrivals: TimeRange {
            start: row.arrivals.start,
            end: run.arrivals.end,
        },
        times: row.times.union(&run.times),
        skew_us: row.skew_us.max(run.skew_us),
        ..row
    }
}

impl Stream {
    /// Stands in for a stream that was never announced.
    fn unknown(quota: &Arc<Quota>) -> Self {
        Self {
            id: crate::frame::StreamId::default(),
            pending: VecDeque::new(),
            setup: bytes::Bytes::new(),
            is_news: false,
            last_key: None,
            last_sequence: 0,
            packed_count: 0,
            quota: quota.clone(),
        }
    }
}
