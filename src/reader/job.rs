//! One read: from a query to items.
//!
//! Stored blocks come first, then the runs that the recording in this process has written lately,
//! and, if asked for, those that it goes on to write.

use std::collections::{HashMap, VecDeque};

use super::blocks::{BlockIndex, Blocks, Reads, within};
use super::deliver::Deliverer;
use super::outlet::Outlet;
use super::plan::{Wanted, spans};
use super::query::{Query, Select, Until};
use super::start::{StartAt, start_of};
use bytes::Bytes;

use crate::base::error::{ErrorKind, Result};
use crate::base::geometry::{Position, Sequence};
use crate::base::time::TimeRange;
use crate::block::record::Record;
use crate::block::run::DirectoryEntry;
use crate::block::{ChunkView, RunHeader, StreamSection};
use crate::frame::{GapCause, Recorded, StreamId};
use crate::io::Device;
use crate::io::buffer::BufferPool;
use crate::table::{RowState, TableRow};
use crate::volume::Volume;
use crate::volume::live::LiveCursor;

/// Where the items of a read go.
pub(super) trait Takes {
    /// Takes an item; may wait until there is room.
    fn send(&mut self, item: Recorded) -> Flow;

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
        Self::send(self, item)
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

    fn wait(&mut self, _: &mut dyn Device, _: &dyn Fn() -> bool) -> Result<Flow> {
        Ok(Err(Stop::Cancelled))
    }

    fn after_read(&mut self, _: &TableRow) {}

    fn note_missing(&mut self, _: Sequence) {}
}

/// A read under way.
pub(super) struct Job<'j> {
    blocks: Blocks<'j>,
    outlet: &'j mut dyn Takes,
    deliverer: Deliverer,
    /// Sorted; empty for all.
    streams: Vec<StreamId>,
    starts: HashMap<StreamId, StartAt>,
    range: TimeRange,
    out: VecDeque<Recorded>,
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
        Select::Time(range) => (Deliverer::for_range(*range), *range),
        Select::Blocks(_) => (Deliverer::for_blocks(), TimeRange::ALL),
    };
    let mut job = Job {
        blocks,
        outlet,
        deliverer,
        streams,
        starts: HashMap::new(),
        range,
        out: VecDeque::new(),
    };
    let flow = match &query.select {
        Select::Time(range) => job.time(*range, query.until)?,
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

    /// A range of time.
    fn time(&mut self, range: TimeRange, until: Until) -> Result<Flow> {
        // The list first, then the table: a block that is sealed in between is in both.
        let live = self.blocks.volume.live();
        let live_from = live
            .next()
            .and_then(|next| next.run().map(|run| run.id.sequence));
        let rows = self.blocks.volume.blocks_in(range);
        self.find_starts(&rows, &range, until);
        let first = self.starts.values().map(|start| start.sequence).min();
        let last = match until {
            Until::Now => rows.last().map_or(0, |row| row.sequence),
            Until::Committed | Until::Written => Sequence::MAX,
        };
        let stored: Vec<_> = first.map_or_else(Vec::new, |first| {
            let all = self.blocks.volume.table().blocks();
            let is_live = |sequence| live_from.is_some_and(|from| sequence >= from);
            let within = |row: &TableRow| row.sequence >= first && row.sequence <= last;
            all.filter(|row| within(row) && !is_live(row.sequence))
                .collect()
        });
        for row in stored {
            if let Err(stop) = self.block(&row)? {
                return Ok(Err(stop));
            }
        }
        self.live(live, until)
    }

    fn find_starts(&mut self, rows: &[TableRow], range: &TimeRange, until: Until) {
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
            let start = start_of(&mut self.blocks, rows, stream, range);
            if let Some(start) = start.or_else(|| self.start_without_frames(stream, until)) {
                self.starts.insert(stream, start);
            }
        }
    }

    /// Where a stream begins that has nothing in the range yet. Read live, it begins at the key
    /// frame that the next frames need: as if what is newest were asked for.
    fn start_without_frames(&mut self, stream: StreamId, until: Until) -> Option<StartAt> {
        if until == Until::Now {
            return Some(StartAt::NOWHERE);
        }
        let volume = self.blocks.volume;
        let known = volume.stream(stream)?;
        let row = volume.table().block(known.last_sequence)?;
        let time = known.last_time?;
        let range = TimeRange::new(time, time);
        start_of(&mut self.blocks, &[row], stream, &range)
    }

    /// A stored block.
    fn block(&mut self, row: &TableRow) -> Result<Flow> {
        let wanted = self.wanted();
        let index = match self.blocks.index(row, wanted.as_deref()) {
            Ok(index) => index,
            Err(e) if e.kind() == ErrorKind::Io && e.raw_os_error().is_none() => return Err(e),
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
        self.chunks(row, &index, &chunks)
    }

    /// The chunks of a section that are to be read.
    fn visible(&self, sequence: Sequence, section: &StreamSection) -> Vec<Wanted> {
        let stream = section.stream;
        let from = self.starts.get(&stream);
        let before = |offset: u32| {
            from.is_some_and(|from| (sequence, offset) < (from.sequence, from.offset))
        };
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
    fn chunks(&mut self, row: &TableRow, index: &BlockIndex, wanted: &[Wanted]) -> Result<Flow> {
        let spans = spans(wanted, self.blocks.volume.geometry().unit_len());
        let tag = index.id.tag();
        let volume = self.blocks.volume;
        let mut reads = Reads::new(&spans);
        while let Some((span, bytes)) = self.blocks.next_read(&index.id, &mut reads)? {
            self.outlet.after_read(row);
            // After the read: the row tells whether the writer was here meanwhile.
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

    /// Delivers a chunk whose bytes were read, or what its loss means.
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
            .starts
            .get(stream)
            .filter(|start| (start.sequence, start.offset) == place);
        let first = own.map_or(0, |start| start.frame);
        self.deliverer
            .chunk(row.sequence, &view, &bytes, first, &mut self.out);
    }

    /// A block that cannot be read: a gap for every wanted stream.
    fn lost_block(&mut self, row: &TableRow, kind: ErrorKind) -> Flow {
        let cause = match kind {
            ErrorKind::Overwritten => GapCause::Overwritten,
            _ => GapCause::Damaged,
        };
        let streams: Vec<_> = self.wanted().unwrap_or_else(|| {
            let begun = self
                .starts
                .iter()
                .filter(|(_, start)| start.sequence <= row.sequence);
            begun.map(|(stream, _)| *stream).collect()
        });
        for stream in streams {
            self.deliverer
                .lost(stream, row.sequence, row.times, cause, &mut self.out);
        }
        self.send()
    }

    /// The runs that were written lately, and those to come.
    fn live(&mut self, mut at: LiveCursor, until: Until) -> Result<Flow> {
        loop {
            self.blocks.limit = match until {
                Until::Now => self.blocks.limit,
                Until::Committed => self.blocks.volume.durable(),
                Until::Written => self.blocks.volume.completed(),
            };
            let next = at.next();
            let run = next.as_ref().and_then(LiveCursor::run).cloned();
            match (next, run) {
                (Some(next), Some(run)) if run.position() <= self.blocks.limit => {
                    at = next;
                    if let Err(stop) = self.live_run(&run)? {
                        return Ok(Err(stop));
                    }
                }
                _ if until == Until::Now || self.is_done() => return Ok(Ok(())),
                _ => {
                    let (volume, limit) = (self.blocks.volume, self.blocks.limit);
                    let has_more = || {
                        let written = until == Until::Written;
                        let now = if written {
                            volume.completed()
                        } else {
                            volume.durable()
                        };
                        now > limit || !volume.is_recording()
                    };
                    let was_over = !volume.is_recording();
                    if let Err(stop) = self.outlet.wait(self.blocks.device, &has_more)? {
                        return Ok(Err(stop));
                    }
                    if was_over && at.next().is_none() {
                        return Ok(Ok(()));
                    }
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        !self.streams.is_empty() && self.streams.iter().all(|s| self.deliverer.is_done(*s))
    }

    fn live_run(&mut self, run: &RunHeader) -> Result<Flow> {
        let sequence = run.id.sequence;
        if !self.blocks.verdict.counts(run.position()) {
            return Ok(Ok(()));
        }
        let row = self.blocks.volume.table().block(sequence);
        let is_wanted = |entry: &&DirectoryEntry| {
            let stream = &entry.stream;
            (self.streams.is_empty() || self.streams.binary_search(stream).is_ok())
                && (!self.deliverer.is_done(*stream) || entry.chunk.times.overlaps(&self.range))
        };
        let before = |stream: &StreamId, offset: u32| {
            let from = self.starts.get(stream);
            from.is_some_and(|from| (sequence, offset) < (from.sequence, from.offset))
        };
        let mut wanted = Vec::new();
        let mut setups = Vec::new();
        for entry in run.chunks.iter().filter(is_wanted) {
            let chunk = Wanted {
                stream: entry.stream,
                chunk: entry.chunk,
            };
            match before(&entry.stream, entry.chunk.offset) {
                false => wanted.push(chunk),
                true if entry.has_records => setups.push(chunk),
                true => {}
            }
        }
        let index = BlockIndex {
            id: run.id,
            sections: Vec::new(),
        };
        let Some(row) = row else {
            // The ring has gone around since the run was written.
            for Wanted { stream, chunk } in wanted {
                let cause = GapCause::Overwritten;
                self.deliverer
                    .lost(stream, sequence, chunk.times, cause, &mut self.out);
            }
            return Ok(self.send());
        };
        for chunk in setups {
            // Decoding starts behind it, with the setup that it holds.
            let Ok((bytes, id)) = self.blocks.chunk(&row, &chunk.chunk) else {
                continue;
            };
            let view = ChunkView::decode(&bytes, id.tag(), chunk.stream, chunk.chunk.offset);
            if let Ok(view) = view {
                self.deliverer
                    .chunk(sequence, &view, &bytes, u16::MAX, &mut self.out);
            }
        }
        self.chunks(&row, &index, &wanted)
    }

    fn send(&mut self) -> Flow {
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
