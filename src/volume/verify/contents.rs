//! The check of one block: its bytes in, findings out. Pure.

use std::collections::BTreeMap;

use super::report::{Damage, DamagedPart, Findings};
use crate::base::geometry::{Geometry, Position};
use crate::base::time::TimeRange;
use crate::block::record::Record;
use crate::block::run::DirectoryEntry;
use crate::block::{BlockId, BlockTrailer, ChunkEntry, ChunkView, PAGE_LEN, RunHeader, part};
use crate::frame::StreamId;
use crate::volume::walk;

/// What is known of a block before it is checked.
pub(super) struct Expected<'e> {
    pub(super) id: BlockId,
    pub(super) geometry: Geometry,
    /// Says of a run of the block whether it counts.
    pub(super) counts: &'e dyn Fn(Position) -> bool,
    /// Whether index and trailer are on disk, if they were ever written.
    pub(super) is_settled: bool,
    /// Whether the block is known to be sealed.
    pub(super) is_sealed: bool,
    /// The last run that is known to be durable; none where the block has no such run, or it is
    /// not known.
    pub(super) committed: Option<u64>,
    /// Presentation times of the block.
    pub(super) times: Option<TimeRange>,
}

/// What a block turned out to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) is_sealed: bool,
    /// Its first and last run that count.
    pub(super) runs: Option<(u64, u64)>,
    /// Whether its first run is missing.
    pub(super) is_cut_before: bool,
    /// The newest watermark in its runs.
    pub(super) mark: Position,
    pub(super) times: Option<TimeRange>,
}

/// A stretch between runs in which no run can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) from: u32,
    pub(super) to: u32,
    /// Times of the chunks that the index has there.
    pub(super) times: Option<TimeRange>,
    /// The stream of one of them.
    pub(super) stream: Option<StreamId>,
    /// Whether they are of several streams.
    pub(super) is_shared: bool,
}

/// What the directories and chunks say of one stream, to compare the index with.
#[derive(Default)]
pub(super) struct Known {
    pub(super) chunks: Vec<ChunkEntry>,
    /// Its records, each with the number of its chunk.
    pub(super) records: Vec<(u32, Record)>,
    pub(super) frame_count: u32,
    pub(super) payload_len: u64,
    /// A chunk could not be read.
    pub(super) is_partial: bool,
}

/// Checks the block whose bytes are `bytes`.
pub(super) fn check(bytes: &[u8], expected: &Expected<'_>, findings: &mut Findings) -> Shape {
    let mut check = Check {
        bytes,
        expected,
        tag: expected.id.tag(),
        times: expected.times,
        findings,
        streams: BTreeMap::new(),
    };
    check.all()
}

/// A check under way.
pub(super) struct Check<'c> {
    pub(super) bytes: &'c [u8],
    pub(super) expected: &'c Expected<'c>,
    tag: u64,
    /// Presentation times of the block, as well as they are known.
    times: Option<TimeRange>,
    findings: &'c mut Findings,
    /// What the runs hold of each stream.
    pub(super) streams: BTreeMap<StreamId, Known>,
}

impl Check<'_> {
    fn all(&mut self) -> Shape {
        let (id, geometry) = (&self.expected.id, &self.expected.geometry);
        let trailer = self.trailer();
        let end = trailer
            .as_ref()
            .map_or(self.bytes.len(), |trailer| trailer.runs_end as usize);
        let bytes = part(self.bytes, 0, end).unwrap_or(self.bytes);
        let mut runs = walk::runs_in(bytes, id, geometry);
        runs.retain(|run| (self.expected.counts)(run.position()));
        self.times = self.times.or_else(|| times_of(&runs));
        let mut holes = self.holes(&runs, trailer.as_ref());
        self.numbers(&runs, trailer.as_ref());
        self.marks(&runs);
        for run in &runs {
            self.findings.run_count += 1;
            for entry in &run.chunks {
                self.directory_entry(entry);
            }
        }
        if let Some(trailer) = &trailer {
            self.index(trailer, &mut holes);
        }
        for hole in &holes {
            self.tell_hole(hole);
        }
        let start = geometry.align_up(PAGE_LEN as u64) as u32;
        let listed = trailer.as_ref().map(|t| (t.first_run, t.last_run));
        let found = runs.first().zip(runs.last()).map(|(a, b)| (a.run, b.run));
        Shape {
            is_sealed: trailer.is_some(),
            runs: listed.or(found),
            is_cut_before: holes.first().is_some_and(|hole| hole.from == start),
            mark: runs.iter().map(|run| run.mark).max().unwrap_or_default(),
            times: self.times,
        }
    }

    pub(super) fn damage(&mut self, part: DamagedPart, offset: u32, what: impl Into<String>) {
        self.damage_of(part, None, self.times, offset, what);
    }

    pub(super) fn damage_of(
        &mut self,
        part: DamagedPart,
        stream: Option<StreamId>,
        times: Option<TimeRange>,
        offset: u32,
        what: impl Into<String>,
    ) {
        self.findings.add(Damage {
            sequence: self.expected.id.sequence,
            part,
            stream,
            times,
            offset,
            what: what.into(),
        });
    }

    /// The trailer, if the block is sealed and its runs count.
    fn trailer(&mut self) -> Option<BlockTrailer> {
        let offset = self.bytes.len().saturating_sub(PAGE_LEN);
        let page = self.bytes.get(offset..).unwrap_or_default();
        let trailer = BlockTrailer::decode(page, &self.expected.id, &self.expected.geometry);
        let problem = match trailer {
            Ok(trailer)
                if self.expected.is_settled && (self.expected.counts)(trailer.last_position()) =>
            {
                self.times = Some(trailer.span.times);
                return Some(trailer);
            }
            Ok(_) => "it speaks of runs that do not count".to_owned(),
            Err(e) => e.to_string(),
        };
        if self.expected.is_sealed {
            self.damage(DamagedPart::Trailer, offset as u32, problem);
        }
        None
    }

    /// Stretches between the runs in which there should be others.
    fn holes(&self, runs: &[RunHeader], trailer: Option<&BlockTrailer>) -> Vec<Hole> {
        let hole = |from, to| Hole {
            from,
            to,
            times: None,
            stream: None,
            is_shared: false,
        };
        let mut from = self.expected.geometry.align_up(PAGE_LEN as u64) as u32;
        let mut holes = Vec::new();
        for run in runs {
            holes.push(hole(from, run.offset));
            from = run.end();
        }
        holes.push(hole(from, trailer.map_or(from, |trailer| trailer.runs_end)));
        holes.retain(|hole| hole.from < hole.to);
        holes
    }

    fn tell_hole(&mut self, hole: &Hole) {
        let Expected { id, geometry, .. } = self.expected;
        let bytes = self.bytes.get(hole.from as usize..).unwrap_or_default();
        let why = match RunHeader::decode(bytes, id, geometry, hole.from) {
            Err(e) => e.to_string(),
            Ok(_) => "it does not count".to_owned(),
        };
        let what = format!("{} bytes without a run: {why}", hole.to - hole.from);
        let stream = hole.stream.filter(|_| !hole.is_shared);
        let times = hole.times.or(self.times);
        self.damage_of(DamagedPart::Run, stream, times, hole.from, what);
    }

    /// The numbers of the runs follow one another, and none is missing at the end.
    fn numbers(&mut self, runs: &[RunHeader], trailer: Option<&BlockTrailer>) {
        for pair in runs.windows(2) {
            // A run that is missing in a hole was told with it.
            if let [a, b] = pair
                && a.end() == b.offset
                && a.run.checked_add(1) != Some(b.run)
            {
                let what = format!("run {} follows run {}", b.run, a.run);
                self.damage(DamagedPart::Run, b.offset, what);
            }
        }
        let last = runs.last().map_or(0, |run| run.run);
        let end = runs.last().map_or(PAGE_LEN as u32, RunHeader::end);
        if let Some(trailer) = trailer {
            let first = runs.first().map_or(0, |run| run.run);
            let span = (trailer.first_run, trailer.last_run);
            // Runs that are missing at the ends were told as holes.
            let is_outside = !runs.is_empty() && (first < span.0 || last > span.1);
            if is_outside {
                let what = format!("runs {first} to {last} in a block of runs {span:?}");
                self.damage(DamagedPart::Run, end, what);
            }
        } else if let Some(committed) = self.expected.committed.filter(|run| *run > last) {
            let what = format!("committed runs are missing, up to run {committed}");
            self.damage(DamagedPart::Run, end, what);
        }
    }

    /// A watermark never goes back, and never claims its own run.
    fn marks(&mut self, runs: &[RunHeader]) {
        let mut last = Position::default();
        for run in runs {
            if run.mark < last || run.mark >= run.position() {
                let what = format!("run {} has the watermark {:?}", run.run, run.mark);
                self.damage(DamagedPart::Run, run.offset, what);
            }
            last = last.max(run.mark);
        }
    }

    fn directory_entry(&mut self, entry: &DirectoryEntry) {
        let chunk = &entry.chunk;
        let view = self.chunk(entry.stream, chunk);
        let known = self.streams.entry(entry.stream).or_default();
        let number = known.chunks.len() as u32;
        known.chunks.push(*chunk);
        known.frame_count = known.frame_count.saturating_add(entry.frame_count.into());
        let Some(Contents {
            frame_count,
            payload_len,
            records,
        }) = view
        else {
            known.is_partial = true;
            return;
        };
        known.payload_len = known.payload_len.saturating_add(payload_len);
        let has_records = !records.is_empty();
        known
            .records
            .extend(records.into_iter().map(|record| (number, record)));
        if frame_count != u32::from(entry.frame_count) || has_records != entry.has_records {
            let what = "the directory of its run describes it wrongly";
            let (stream, times) = (Some(entry.stream), Some(chunk.times));
            self.damage_of(DamagedPart::Chunk, stream, times, chunk.offset, what);
        }
    }

    /// Checks a chunk and its frames; none if not all of it is whole.
    pub(super) fn chunk(&mut self, stream: StreamId, chunk: &ChunkEntry) -> Option<Contents> {
        self.findings.chunk_count += 1;
        let times = Some(chunk.times);
        let bytes = part(self.bytes, chunk.offset as usize, chunk.len as usize).unwrap_or_default();
        let view = match ChunkView::decode(bytes, self.tag, stream, chunk.offset) {
            Ok(view) => view,
            Err(e) => {
                let (part, offset) = (DamagedPart::Chunk, chunk.offset);
                self.damage_of(part, Some(stream), times, offset, e.to_string());
                return None;
            }
        };
        let mut contents = Contents::default();
        let mut is_whole = view.len == chunk.len;
        if !is_whole {
            let what = format!("{} bytes where {} are listed", view.len, chunk.len);
            self.damage_of(DamagedPart::Chunk, Some(stream), times, chunk.offset, what);
        }
        for frame in &view.frames {
            self.findings.frame_count += 1;
            let payload = frame.payload(bytes);
            let result = payload.and_then(|payload| {
                if frame.record {
                    contents.records.push(Record::decode(payload)?);
                }
                Ok(())
            });
            contents.frame_count += u32::from(!frame.record);
            contents.payload_len += u64::from(frame.len);
            if let Err(e) = result {
                is_whole = false;
                let at = TimeRange::new(frame.time, frame.time);
                let kind = if frame.record { "record" } else { "frame" };
                let what = format!("{kind} {}: {e}", frame.ordinal);
                let offset = chunk.offset.saturating_add(frame.offset);
                self.damage_of(DamagedPart::Frame, Some(stream), Some(at), offset, what);
            }
        }
        is_whole.then_some(contents)
    }
}

/// What a whole chunk holds.
#[derive(Default)]
pub(super) struct Contents {
    frame_count: u32,
    /// Bytes of frames and records.
    payload_len: u64,
    records: Vec<Record>,
}

/// Presentation times of all runs of block `id`, whether they count or not.
pub(super) fn times_of_runs(bytes: &[u8], id: &BlockId, geometry: &Geometry) -> Option<TimeRange> {
    times_of(&walk::runs_in(bytes, id, geometry))
}

fn times_of(runs: &[RunHeader]) -> Option<TimeRange> {
    let chunks = runs.iter().flat_map(|run| &run.chunks);
    let times = chunks.map(|entry| entry.chunk.times);
    times.reduce(|all, times| all.union(&times))
}
