//! The index of a block, whether it was sealed or has to be put together from its runs.

use std::collections::BTreeMap;

use super::fetch::Fetcher;
use super::walk;
use crate::base::error::{Error, Result};
use crate::base::geometry::{Geometry, Position, Sequence};
use crate::base::time::{TimeRange, Timestamp};
use crate::block::index::{Fence, INDEX_PAGE_LEN, page_is_whole};
use crate::block::record::Record;
use crate::block::{BlockId, BlockTrailer, ChunkView, PAGE_LEN, RunHeader, StreamSection};
use crate::frame::StreamId;
use crate::io::Device;

/// Reads the trailer of block `id`.
///
/// # Errors
///
/// [`Damaged`](crate::ErrorKind::Damaged) where it is none, [`Io`](crate::ErrorKind::Io).
pub fn read_trailer<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    id: &BlockId,
) -> Result<BlockTrailer> {
    let page = fetch.read(trailer_offset(geometry, id.slot), PAGE_LEN)?;
    BlockTrailer::decode(&page, id, geometry)
        .map_err(|e| Error::damaged(format!("trailer of block {}: {e}", id.sequence)))
}

/// Where the trailer of `slot` is on the device, in bytes.
pub fn trailer_offset(geometry: &Geometry, slot: u64) -> u64 {
    geometry.offset_of_slot(slot) + u64::from(geometry.block_len()) - PAGE_LEN as u64
}

/// The sections of `wanted` streams, which are sorted, or of all, out of the index that `trailer`
/// describes.
///
/// # Errors
///
/// [`Damaged`](crate::ErrorKind::Damaged) where a page that is needed fails its checksum,
/// [`Io`](crate::ErrorKind::Io).
pub fn read_sections<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    trailer: &BlockTrailer,
    wanted: Option<&[StreamId]>,
) -> Result<Vec<StreamSection>> {
    let mut pages = IndexPages {
        fetch,
        geometry,
        trailer,
        from: 0,
        bytes: Vec::new(),
    };
    let mut sections = Vec::new();
    match wanted {
        None => pages.collect(0, None, &mut sections)?,
        Some(streams) => {
            for stream in streams {
                let first = trailer.fences.iter().rposition(|fence| {
                    fence.first_section.is_some() && fence.first_stream <= *stream
                });
                if let Some(page) = first {
                    pages.collect(page, Some(*stream), &mut sections)?;
                }
            }
        }
    }
    Ok(sections)
}

/// What a block holds.
#[derive(Debug, Default)]
pub struct BlockContents {
    /// By stream.
    pub sections: Vec<StreamSection>,
    /// Where runs are missing that counted.
    pub holes: Vec<Hole>,
}

/// A place in a block without an index where runs are missing, of nobody knows which streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where the first run behind it begins, in bytes from the beginning of the block; `u32::MAX`
    /// where none follows.
    pub end: u32,
    /// The times of the frames before and behind.
    pub times: TimeRange,
}

/// What a sealed block `id` holds of `wanted` streams, which are sorted, or of all. Where trailer
/// or index are lost (a crash can take what a seal wrote last; rot takes anything), the runs are
/// walked instead, those for which `counts` holds.
pub fn sections_of_block<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    id: &BlockId,
    wanted: Option<&[StreamId]>,
    counts: impl Fn(Position) -> bool,
) -> BlockContents {
    let sections = read_trailer(fetch, geometry, id)
        .and_then(|trailer| read_sections(fetch, geometry, &trailer, wanted));
    match sections {
        Ok(sections) => BlockContents {
            sections,
            holes: Vec::new(),
        },
        Err(e) => {
            tracing::debug!(block = id.sequence, "walking the runs: {e}");
            walked_sections(fetch, geometry, id, wanted, counts)
        }
    }
}

/// The same for a block that was not sealed.
pub fn walked_sections<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    id: &BlockId,
    wanted: Option<&[StreamId]>,
    counts: impl Fn(Position) -> bool,
) -> BlockContents {
    let WalkedRuns {
        mut runs,
        unreadable,
    } = runs_of_block(fetch, geometry, id);
    runs.retain(|run| counts(run.position()));
    let mut holes = holes(&runs, geometry);
    let is_cut = |last: &RunHeader| {
        unreadable.is_some()
            || is_cut_later(last, &counts)
            || goes_on_without(fetch, geometry, last, &counts)
    };
    let end = end_of(&runs).filter(|_| runs.last().is_some_and(is_cut));
    holes.extend(end.map(|end| Hole {
        end: u32::MAX,
        times: TimeRange::new(end, end),
    }));
    if let Some(wanted) = wanted {
        for run in &mut runs {
            run.chunks
                .retain(|entry| wanted.binary_search(&entry.stream).is_ok());
        }
    }
    BlockContents {
        sections: sections_of_runs(fetch, geometry, runs.iter()),
        holes,
    }
}

/// The holes between `runs`: a run begins where the one before ends.
fn holes(runs: &[RunHeader], geometry: &Geometry) -> Vec<Hole> {
    let mut holes = Vec::new();
    let mut at = walk::first_run_offset(geometry);
    let mut before: Option<Timestamp> = None;
    for run in runs {
        let starts = run.chunks.iter().map(|entry| entry.chunk.times.start);
        let start = starts.min().or(before).unwrap_or_default();
        if run.offset != at {
            holes.push(Hole {
                end: run.offset,
                times: TimeRange::new(before.unwrap_or(start), start),
            });
        }
        at = run.end();
        before = end_of(std::slice::from_ref(run)).or(before);
    }
    holes
}

/// The time of the last frame in `runs`.
fn end_of(runs: &[RunHeader]) -> Option<Timestamp> {
    let entries = runs.iter().flat_map(|run| &run.chunks);
    entries.map(|entry| entry.chunk.times.end).max()
}

/// Whether a void range begins in the block of `last`, and not right behind it: what a life leaves
/// void begins with the first run that does not count.
fn is_cut_later(last: &RunHeader, counts: impl Fn(Position) -> bool) -> bool {
    let end = Position::end_of(last.id.sequence);
    counts(last.position().next()) && !counts(end)
}

/// Whether the life goes on in the next block with a run that does not follow `last`.
fn goes_on_without<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    last: &RunHeader,
    counts: impl Fn(Position) -> bool,
) -> bool {
    let sequence = last.id.sequence.saturating_add(1);
    let next = BlockId {
        sequence,
        slot: geometry.slot_of(sequence),
        ..last.id
    };
    let first = walk::run_at(fetch, geometry, &next, walk::first_run_offset(geometry));
    let first = first.ok().flatten();
    let first = first.filter(|first| counts(first.position()));
    // After a failure the numbers begin anew.
    first.is_some_and(|first| first.run > 1 && first.run != last.run.saturating_add(1))
}

/// Index pages that were read and checked: neighbours, from page `from` on.
struct IndexPages<'p, 'd, D: Device + ?Sized> {
    fetch: &'p mut Fetcher<'d, D>,
    geometry: &'p Geometry,
    trailer: &'p BlockTrailer,
    from: usize,
    bytes: Vec<u8>,
}

impl<D: Device + ?Sized> IndexPages<'_, '_, D> {
    /// Goes through the sections from the first one in `page` on, and keeps `only` that of one
    /// stream, or all.
    fn collect(
        &mut self,
        page: usize,
        only: Option<StreamId>,
        sections: &mut Vec<StreamSection>,
    ) -> Result<()> {
        let Some(fence) = self.trailer.fences.get(page) else {
            return Ok(());
        };
        let block = self.trailer.id.sequence;
        let mut at = page * INDEX_PAGE_LEN + fence.first_section.unwrap_or(0) as usize;
        while at < self.trailer.index_len as usize {
            let head = self.bytes_at(at, 64)?;
            let len = StreamSection::section_len(head).map_err(|e| damaged(block, e))?;
            let stream = head
                .first_chunk()
                .map(|id| StreamId(u64::from_le_bytes(*id)));
            match (stream, only) {
                (Some(found), Some(only)) if found > only => return Ok(()),
                (Some(found), Some(only)) if found < only => {}
                _ => {
                    let first_run = self.trailer.first_run;
                    let block_len = self.geometry.block_len();
                    let bytes = self.bytes_at(at, len)?;
                    let section = StreamSection::decode(bytes, first_run, block_len);
                    sections.push(section.map_err(|e| damaged(block, e))?.0);
                }
            }
            at += len;
        }
        Ok(())
    }

    /// The index's bytes at `at`, checked; reads the pages that are not there yet.
    fn bytes_at(&mut self, at: usize, len: usize) -> Result<&[u8]> {
        let end = at.saturating_add(len).min(self.trailer.index_len as usize);
        let (first, behind) = (at / INDEX_PAGE_LEN, end.div_ceil(INDEX_PAGE_LEN));
        let held = self.from + self.bytes.len().div_ceil(INDEX_PAGE_LEN);
        if first < self.from || first > held {
            (self.from, self.bytes) = (first, Vec::new());
        }
        let mut next = self.from + self.bytes.len().div_ceil(INDEX_PAGE_LEN);
        while next < behind {
            let Some(fence) = self.trailer.fences.get(next).copied() else {
                break;
            };
            self.read_page(next, &fence)?;
            next += 1;
        }
        let from = at - self.from * INDEX_PAGE_LEN;
        self.bytes
            .get(from..from + (end - at))
            .filter(|bytes| !bytes.is_empty())
            .ok_or_else(|| Error::damaged(format!("index of block {}", self.trailer.id.sequence)))
    }

    fn read_page(&mut self, number: usize, fence: &Fence) -> Result<()> {
        let from = number * INDEX_PAGE_LEN;
        let len = INDEX_PAGE_LEN.min(self.trailer.index_len as usize - from);
        let offset = self.geometry.offset_of_slot(self.trailer.id.slot)
            + u64::from(self.trailer.index_offset)
            + from as u64;
        let page = self
            .fetch
            .read(offset, len.next_multiple_of(PAGE_LEN))?
            .slice(..len);
        if !page_is_whole(&page, fence) {
            let place = format!(
                "page {number} of the index of block {}",
                self.trailer.id.sequence
            );
            return Err(Error::damaged(place).at("checksum fails"));
        }
        self.bytes.extend_from_slice(&page);
        Ok(())
    }
}

fn damaged(block: Sequence, error: impl std::fmt::Display) -> Error {
    Error::damaged(format!("index of block {block}: {error}"))
}

/// The sections of a block that has no index, from the directories of its runs. Chunks with
/// records are read for them; one that cannot be read or believed is left without.
pub fn sections_of_runs<'r, D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    runs: impl Iterator<Item = &'r RunHeader>,
) -> Vec<StreamSection> {
    let mut sections: BTreeMap<StreamId, StreamSection> = BTreeMap::new();
    for run in runs {
        for entry in &run.chunks {
            let section = sections
                .entry(entry.stream)
                .or_insert_with(|| StreamSection {
                    stream: entry.stream,
                    previous: 0,
                    frame_count: 0,
                    payload_len: 0,
                    last_time: entry.chunk.times.end,
                    chunks: Vec::new(),
                    records: Vec::new(),
                });
            section.frame_count = section.frame_count.saturating_add(entry.frame_count.into());
            section.last_time = section.last_time.max(entry.chunk.times.end);
            section.chunks.push(entry.chunk);
            if entry.has_records {
                let number = section.chunks.len() as u32 - 1;
                let records = read_records(fetch, geometry, &run.id, entry.stream, &entry.chunk);
                section
                    .records
                    .extend(records.into_iter().map(|record| (number, record)));
            }
        }
    }
    sections.into_values().collect()
}

fn read_records<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    id: &BlockId,
    stream: StreamId,
    chunk: &crate::block::ChunkEntry,
) -> Vec<Record> {
    let unit = u64::from(geometry.unit_len());
    let from = u64::from(chunk.offset) / unit * unit;
    let end = geometry.align_up(u64::from(chunk.offset) + u64::from(chunk.len));
    let bytes = fetch.read(
        geometry.offset_of_slot(id.slot) + from,
        (end - from) as usize,
    );
    let Ok(bytes) = bytes.map(|bytes| bytes.slice((u64::from(chunk.offset) - from) as usize..))
    else {
        return Vec::new();
    };
    let Ok(view) = ChunkView::decode(&bytes, id.tag(), stream, chunk.offset) else {
        return Vec::new();
    };
    let records = view.frames.iter().filter(|frame| frame.record);
    let payloads = records.filter_map(|frame| frame.payload(&bytes).ok());
    payloads
        .filter_map(|payload| Record::decode(payload).ok())
        .collect()
}

/// The runs of a block, as far as they can be read.
#[derive(Debug)]
pub struct WalkedRuns {
    /// In the order of their places.
    pub runs: Vec<RunHeader>,
    /// Why a part of the block was not looked into.
    pub unreadable: Option<Error>,
}

/// Reads the runs of an unsealed block `id` from its bytes, damage stepped over.
pub fn runs_of_block<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    id: &BlockId,
) -> WalkedRuns {
    let block = walk::read_block(fetch, geometry, id.slot);
    WalkedRuns {
        runs: walk::runs_in(&block.bytes, id, geometry),
        unreadable: block.unreadable,
    }
}
