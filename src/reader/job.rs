//! One read: from a query to items.
//!
//! Stored blocks come first, then the runs that the recording in this process has written lately,
//! and, if asked for, those that it goes on to write.

use std::collections::{HashMap, VecDeque};

use super::blocks::{BlockIndex, Blocks, Reads, within};
use super::deliver::Deliverer;
use super::outlet::{Outlet, Step};
use super::plan::{Wanted, spans};
use super::query::{Query, Select, Until};
use super::start::{Begin, StartAt, shown_at, start_of};
use bytes::Bytes;

use crate::base::error::{ErrorKind, Result};
use crate::base::geometry::{Position, Sequence};
use crate::base::time::{TimeRange, Timestamp};
use crate::block::record::Record;
use crate::block::{ChunkView, StreamSection};
use crate::frame::{GapCause, Recorded, StreamId};
use crate::io::Device;
use crate::io::buffer::BufferPool;
use crate::table::{RowState, TableRow};
use crate::volume::Volume;

/// Where the items of a read go.
pub(super) trait Takes {
    /// Takes an item; may wait until there is room.
    fn send(&mut self, item: Recorded) -> Flow;

    /// Everything that was sent so far reaches to about `time`: the blocks behind are read next.
    fn up_to(&mut self, time: Timestamp) -> Flow;

    /// Everything that is recorded now was sent; the read waits for more.
    fn caught_up(&mut self) -> Flow;

    /// Waits until `has_more`, or nobody wants more.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) when the kernel refuses to wait.
    fn wait(&mut self, device: &mut dyn Device, has_more: &dyn Fn() -> bool) -> Result<Flow>;

    /// Bytes of the block in `row` were read; they have not been checked yet.
    fn after_read(&mut self, row: &TableRow);

    /// A block that was asked for is not in the ring.
    fn note_missing(&mut self, sequence: Sequence);
}

impl Takes for Outlet {
    fn send(&mut self, item: Recorded) -> Flow {
        Self::send(self, Step::Item(item))
    }

    fn up_to(&mut self, time: Timestamp) -> Flow {
        Self::send(self, Step::UpTo(time))
    }

    fn caught_up(&mut self) -> Flow {
        Self::send(self, Step::CaughtUp)
    }

    fn wait(&mut self, device: &mut dyn Device, has_more: &dyn Fn() -> bool) -> Result<Flow> {
        Self::wait(self, device, has_more)
    }

    fn after_read(&mut self, row: &TableRow) {
        Self::after_read(self, row);
    }

    fn note_missing(&mut self, sequence: Sequence) {
        Self::note_missing(self, sequence);
    }
}

/// Keeps everything; a read that would wait for more ends.
impl Takes for Vec<Recorded> {
    fn send(&mut self, item: Recorded) -> Flow {
        self.push(item);
        Ok(())
    }

    fn up_to(&mut self, _: Timestamp) -> Flow {
        Ok(())
    }

    fn caught_up(&mut self) -> Flow {
        Ok(())
    }

    fn wait(&mut self, _: &mut dyn Device, _: &dyn Fn() -> bool) -> Result<Flow> {
        Ok(Err(Stop::Cancelled))
    }

    fn after_read(&mut self, _: &TableRow) {}

    fn note_missing(&mut self, _: Sequence) {}
}

/// A read under way.
pub(super) struct Job<'j> {
    pub(super) blocks: Blocks<'j>,
    pub(super) outlet: &'j mut dyn Takes,
    pub(super) deliverer: Deliverer,
    /// Sorted; empty for all.
    pub(super) streams: Vec<StreamId>,
    pub(super) begins: HashMap<StreamId, Begin>,
    pub(super) range: TimeRange,
    pub(super) out: VecDeque<Recorded>,
}

/// Why a read ends early.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nobody takes the items any more.
    Cancelled,
}

pub(super) type Flow = std::result::Result<(), Stop>;

/// Reads what `query` asks for and hands it to `outlet`.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io) when the kernel refuses to wait. Blocks that cannot be read become gaps.
pub(super) fn run(
    volume: &Volume,
    device: &mut dyn Device,
    pool: &BufferPool,
    query: &Query,
    outlet: &mut dyn Takes,
) -> Result<()> {
    let limit = match query.until {
        Until::Written => volume.completed(),
        Until::Now | Until::Committed => volume.readable(),
    };
    let blocks = Blocks {
        volume,
        device,
        pool,
        verdict: volume.verdict(),
        limit,
    };
    let mut streams = query.streams.clone();
    streams.sort_unstable();
    streams.dedup();
    let (deliverer, range) = match &query.select {
        Select::Time(range) | Select::Shown(range) => (Deliverer::for_range(*range), *range),
        Select::Blocks(_) => (Deliverer::for_blocks(), TimeRange::ALL),
    };
    let mut job = Job {
        blocks,
        outlet,
        deliverer,
        streams,
        begins: HashMap::new(),
        range,
        out: VecDeque::new(),
    };
    let flow = match &query.select {
        Select::Time(range) => job.time(*range, query.until, false)?,
        Select::Shown(range) => job.time(*range, query.until, true)?,
        Select::Blocks(sequences) => job.list(sequences)?,
    };
    if flow == Ok(()) {
        job.deliverer.finish(&mut job.out);
        let _ = job.send();
    }
    Ok(())
}

impl Job<'_> {
    fn wanted(&self) -> Option<Vec<StreamId>> {
        Some(self.streams.clone()).filter(|streams| !streams.is_empty())
    }

    /// Blocks in the order of a list.
    fn list(&mut self, sequences: &[Sequence]) -> Result<Flow> {
        for sequence in sequences {
            let row = self.blocks.volume.table().block(*sequence);
            let Some(row) = row.filter(|row| row.state != RowState::Empty) else {
                self.outlet.note_missing(*sequence);
                continue;
            };
            if let Err(stop) = self.block(&row)? {
                return Ok(Err(stop));
            }
        }
        Ok(Ok(()))
    }

    /// A range of time; as it is to be shown, if `is_shown`.
    fn time(&mut self, range: TimeRange, until: Until, is_shown: bool) -> Result<Flow> {
        if range.is_empty() {
            return Ok(Ok(()));
        }
        // The list first, then the table: a block that is sealed in between is in both.
        let live = self.blocks.volume.live();
        let live_from = live
            .next()
            .and_then(|next| next.run().map(|run| run.id.sequence));
        let rows = self.blocks.volume.blocks_in(range);
        self.find_begins(&rows, &range, until, is_shown);
        let last = match until {
            Until::Now => rows.last().map_or(0, |row| row.sequence),
            Until::Committed | Until::Written => Sequence::MAX,
        };
        let first = rows.first().map_or(Sequence::MAX, |row| row.sequence);
        for row in self.stored(first, last, live_from) {
            if let Err(stop) = self.block(&row)? {
                return Ok(Err(stop));
            }
            if let Err(stop) = self.outlet.up_to(row.times.end) {
                return Ok(Err(stop));
            }
        }
        if let Err(stop) = self.lost_blocks(&range) {
            return Ok(Err(stop));
        }
        self.live(live, until)
    }

    /// What was found lost when the volume was opened, and is not in the table.
    fn lost_blocks(&mut self, range: &TimeRange) -> Flow {
        let volume = self.blocks.volume;
        for row in volume.lost_blocks() {
            let now = volume.table().block(row.sequence);
            let is_told = now.is_some_and(|now| now.nonce == row.nonce);
            if !is_told && row.times.overlaps(range) {
                self.lost_block(row, ErrorKind::Damaged)?;
            }
        }
        Ok(())
    }

    /// The blocks to read that are not `live_from` on: those of the range, from `first` to `last`,
    /// and those before it that streams need for their first picture. A stream that was silent for
    /// long needs old ones; what lies between is not looked at.
    fn stored(
        &self,
        first: Sequence,
        last: Sequence,
        live_from: Option<Sequence>,
    ) -> Vec<TableRow> {
        let begins: Vec<_> = self.begins.values().collect();
        let Some(earliest) = begins.iter().map(|begin| begin.at.sequence).min() else {
            return Vec::new();
        };
        let range = first.max(earliest)..=last;
        let is_needed = |sequence: Sequence| {
            let needs = |begin: &&Begin| (begin.at.sequence..=begin.wanted).contains(&sequence);
            range.contains(&sequence) || begins.iter().any(needs)
        };
        let is_stored = |row: &TableRow| {
            let is_live = live_from.is_some_and(|from| row.sequence >= from);
            !is_live && is_needed(row.sequence)
        };
        let all = self.blocks.volume.table().blocks();
        all.filter(is_stored).collect()
    }

    fn find_begins(&mut self, rows: &[TableRow], range: &TimeRange, until: Until, is_shown: bool) {
        let streams = match self.wanted() {
            Some(streams) => streams,
            None => self
                .blocks
                .volume
                .streams()
                .iter()
                .map(|stream| stream.id)
                .collect(),
        };
        for stream in streams {
            let shown = is_shown.then(|| shown_at(&mut self.blocks, stream, range.start));
            let begin = shown
                .flatten()
                .or_else(|| start_of(&mut self.blocks, rows, stream, range))
                .or_else(|| self.begin_without_frames(stream, until));
            if let Some(begin) = begin {
                self.begins.insert(stream, begin);
            }
        }
    }

    /// Where a stream begins that has nothing in the range yet. Read live, it begins at the key
    /// frame that the next frames need: as if what is newest were asked for.
    fn begin_without_frames(&mut self, stream: StreamId, until: Until) -> Option<Begin> {
        if until == Until::Now {
            let (at, wanted) = (StartAt::NOWHERE, 0);
            return Some(Begin { at, wanted });
        }
        let (sequence, time) = self.newest_of(stream)?;
        let row = self.blocks.volume.table().block(sequence)?;
        let range = TimeRange::new(time, time);
        start_of(&mut self.blocks, &[row], stream, &range)
    }

    /// The block and the time of the newest frames of a stream. What was written last is in the list
    /// of live runs a little before the volume knows it.
    fn newest_of(&self, stream: StreamId) -> Option<(Sequence, Timestamp)> {
        let volume = self.blocks.volume;
        // In this order: a block that is sealed in between is in both.
        let live = volume.live().runs();
        let live = live.filter(|run| self.blocks.counts(run.position()));
        let own = live.filter_map(|run| {
            let mut own = run.chunks.iter().filter(|entry| entry.stream == stream);
            let framed = own.rfind(|entry| entry.chunk.has_frames)?;
            Some((run.id.sequence, framed.chunk.times.end))
        });
        let known = || {
            let known = volume.stream(stream)?;
            Some((known.last_sequence, known.last_time?))
        };
        own.last().or_else(known)
    }

    /// A stored block.
    fn block(&mut self, row: &TableRow) -> Result<Flow> {
        let wanted = self.wanted();
        let index = match self.blocks.index(row, wanted.as_deref()) {
            Ok(index) => index,
            // A request is left under way only where the kernel refuses to wait for it.
            Err(e) if self.blocks.device.in_flight() > 0 => return Err(e),
            Err(e) => return Ok(self.lost_block(row, e.kind())),
        };
        let mut chunks = Vec::new();
        for section in &index.sections {
            let visible = self.visible(row.sequence, section);
            if let Some(first) = visible.first() {
                self.set_up(row.sequence, section, first);
            }
            chunks.extend(visible);
        }
        chunks.sort_unstable_by_key(|wanted| wanted.chunk.offset);
        let mut rest = chunks.as_slice();
        for hole in &index.holes {
            let before = rest.partition_point(|wanted| wanted.chunk.offset < hole.end);
            let (chunks, behind) = rest.split_at(before);
            if let Err(stop) = self.chunks(row, &index, chunks)? {
                return Ok(Err(stop));
            }
            if hole.times.overlaps(&self.range) {
                self.lost(row.sequence, hole.times, GapCause::Damaged);
            }
            rest = behind;
        }
        self.chunks(row, &index, rest)
    }

    /// The chunks of a section that are to be read.
    fn visible(&self, sequence: Sequence, section: &StreamSection) -> Vec<Wanted> {
        let stream = section.stream;
        let before = |offset: u32| self.is_before(stream, sequence, offset);
        let counts = |run| self.blocks.counts(Position { sequence, run });
        let chunks = section.chunks.iter();
        let visible = chunks.filter(|chunk| counts(chunk.run) && !before(chunk.offset));
        let wanted = visible.map(|chunk| Wanted {
            stream,
            chunk: *chunk,
        });
        if self.deliverer.is_done(stream) {
            again(wanted, sequence, &self.range)
        } else {
            wanted.collect()
        }
    }

    /// Whether a chunk lies before the beginning of its stream.
    pub(super) fn is_before(&self, stream: StreamId, sequence: Sequence, offset: u32) -> bool {
        let begin = self.begins.get(&stream);
        begin.is_some_and(|Begin { at, .. }| (sequence, offset) < (at.sequence, at.offset))
    }

    /// The setup in force at the first chunk that is read.
    fn set_up(&mut self, sequence: Sequence, section: &StreamSection, first: &Wanted) {
        let is_first = |chunk: &&crate::block::ChunkEntry| chunk.offset == first.chunk.offset;
        let number = section
            .chunks
            .iter()
            .take_while(|chunk| !is_first(chunk))
            .count() as u32;
        let mut setups = section
            .records
            .iter()
            .filter_map(|(at, record)| match record {
                Record::Setup(setup) if *at < number || *at == 0 => Some(setup),
                _ => None,
            });
        if let Some(setup) = setups.next_back() {
            self.deliverer
                .set_up(section.stream, sequence, setup.clone(), &mut self.out);
        }
    }

    /// Reads chunks of one block and delivers them.
    pub(super) fn chunks(
        &mut self,
        row: &TableRow,
        index: &BlockIndex,
        wanted: &[Wanted],
    ) -> Result<Flow> {
        let spans = spans(wanted, self.blocks.volume.geometry().unit_len());
        let tag = index.id.tag();
        let volume = self.blocks.volume;
        let mut reads = Reads::new(&spans);
        while let Some((span, bytes)) = self.blocks.next_read(&index.id, &mut reads)? {
            self.outlet.after_read(row);
            // R2, after the read: the row tells whether the writer was here meanwhile.
            let now = volume.table().block(row.sequence);
            let is_current = now.is_some_and(|now| now.nonce == row.nonce);
            for wanted in wanted.get(span.chunks.clone()).unwrap_or_default() {
                let bytes = bytes.as_ref().ok().filter(|_| is_current);
                let bytes = bytes.map(|bytes| within(bytes, span, &wanted.chunk));
                self.chunk(row, tag, wanted, bytes, is_current);
            }
            if let Err(stop) = self.send() {
                self.blocks.abandon(&mut reads)?;
                return Ok(Err(stop));
            }
        }
        Ok(self.send())
    }

    /// Delivers a chunk whose bytes were read and are believed (R1), or what its loss means.
    fn chunk(
        &mut self,
        row: &TableRow,
        tag: u64,
        wanted: &Wanted,
        bytes: Option<Bytes>,
        is_current: bool,
    ) {
        let Wanted { stream, chunk } = wanted;
        let view = bytes.and_then(|bytes| {
            let view = ChunkView::decode(&bytes, tag, *stream, chunk.offset).ok()?;
            Some((view, bytes))
        });
        let Some((view, bytes)) = view else {
            let cause = if is_current {
                GapCause::Damaged
            } else {
                GapCause::Overwritten
            };
            let sequence = row.sequence;
            return self
                .deliverer
                .lost(*stream, sequence, chunk.times, cause, &mut self.out);
        };
        let place = (row.sequence, chunk.offset);
        let own = self
            .begins
            .get(stream)
            .filter(|begin| (begin.at.sequence, begin.at.offset) == place);
        let first = own.map_or(0, |begin| begin.at.frame);
        self.deliverer
            .chunk(row.sequence, &view, &bytes, first, &mut self.out);
    }

    /// A block that cannot be read: a gap for every wanted stream. In a list of blocks, one that
    /// the ring has just taken is missing like those that it took before.
    fn lost_block(&mut self, row: &TableRow, kind: ErrorKind) -> Flow {
        let cause = match kind {
            ErrorKind::Overwritten if self.begins.is_empty() => {
                self.outlet.note_missing(row.sequence);
                return Ok(());
            }
            ErrorKind::Overwritten => GapCause::Overwritten,
            _ => GapCause::Damaged,
        };
        self.lost(row.sequence, row.times, cause);
        self.send()
    }

    /// Tells all wanted streams that something of block `sequence` is lost.
    fn lost(&mut self, sequence: Sequence, times: TimeRange, cause: GapCause) {
        let is_list = self.begins.is_empty();
        let begun = |stream: &StreamId| {
            let begin = self.begins.get(stream);
            is_list || begin.is_some_and(|begin| begin.at.sequence <= sequence)
        };
        let streams: Vec<_> = self.wanted().unwrap_or_else(|| {
            let known = self.blocks.volume.streams().into_iter();
            known.map(|known| known.id).filter(begun).collect()
        });
        for stream in streams {
            self.deliverer
                .lost(stream, sequence, times, cause, &mut self.out);
        }
    }

    pub(super) fn send(&mut self) -> Flow {
        while let Some(item) = self.out.pop_front() {
            self.outlet.send(item)?;
        }
        Ok(())
    }
}

/// The chunks with which a stream comes back into `range`, after a clock went back: from the key
/// frame on that they need, where this block holds it.
fn again(
    chunks: impl Iterator<Item = Wanted>,
    sequence: Sequence,
    range: &TimeRange,
) -> Vec<Wanted> {
    let all: Vec<_> = chunks.collect();
    let inside = all.iter().find(|wanted| wanted.chunk.times.overlaps(range));
    let Some(Wanted { chunk, .. }) = inside else {
        return Vec::new();
    };
    let start = chunk.start.filter(|start| start.sequence == sequence);
    let from = start.map_or(chunk.offset, |start| start.offset.min(chunk.offset));
    let behind = |wanted: &Wanted| wanted.chunk.offset >= from;
    all.into_iter().filter(behind).collect()
}
