//! From a device to everything that is kept in memory: rows, streams, timeline.
//!
//! The cache files save reads; whatever they lack, or disagree with the headers about, is read
//! from the device.

use std::path::Path;

use super::cachefile::{self, Cached};
use super::config::Config;
use super::fetch::Fetcher;
use super::head::{self, find_head};
use super::index;
use super::locate::{Located, locate, locate_named};
use super::recover::{Recovered, recover};
use super::registry::Registry;
use super::tablefile;
use super::timeline::Timeline;
use super::void::Verdict;
use super::walk;
use crate::base::error::{ErrorKind, Result};
use crate::base::geometry::{Position, Sequence};
use crate::base::sync::Arc;
use crate::base::time::{TimeRange, Timestamp};
use crate::block::header::VoidRange;
use crate::block::record::Record;
use crate::block::{
    BlockHeader, BlockId, BlockTrailer, DecodeStart, PAGE_LEN, RunHeader, StreamSection,
};
use crate::io::Device;
use crate::table::{RowState, TableRow, TableWriter, skew_of};

/// A volume in memory.
#[derive(Debug)]
pub struct Loaded {
    /// Its identity and measures.
    pub located: Located,
    /// What counts after the last life.
    pub recovered: Recovered,
    /// Its rows.
    pub table: TableWriter,
    /// Its streams.
    pub registry: Registry,
    /// Its timelines.
    pub timeline: Timeline,
    /// How many blocks were read anew because no cache had them.
    pub reread_count: u64,
    /// Blocks of which the cache file `blocktable` knows that they held frames, and of which nothing
    /// is left that counts; and those that cannot be read at all, or have lost their header.
    pub lost: Vec<TableRow>,
    /// How many bytes of the volume lie behind the end of the device: it was cut short.
    pub missing_len: u64,
    /// Whether something of a block that was looked into is missing.
    pub is_damaged: bool,
}

/// Loads the volume on a device, with the help of the cache files in `dir`.
///
/// # Errors
///
/// [`NotFound`](crate::ErrorKind::NotFound), [`Unsupported`](crate::ErrorKind::Unsupported) or
/// [`Io`](crate::ErrorKind::Io) as [`locate`] has it. Damage in blocks is no error here.
pub fn load<D: Device + ?Sized>(fetch: &mut Fetcher<'_, D>, dir: Option<&Path>) -> Result<Loaded> {
    let device_len = fetch.device_len();
    let located = match dir.and_then(Config::load) {
        None => locate(fetch)?,
        Some(config) => locate_named(fetch, |found| config.names(found)).map_err(|e| {
            let is_missing = e.kind() == ErrorKind::NotFound;
            if is_missing {
                config.not_there(device_len, &e)
            } else {
                e
            }
        })?,
    };
    let stored = dir
        .map(|dir| tablefile::load(dir, &located))
        .unwrap_or_default();
    let hint = stored.iter().flatten().map(|row| row.sequence).max();
    let head = find_head(fetch, &located, hint)?;
    let is_sealed = |id: &BlockId| {
        let row = stored.get(id.slot as usize).copied().flatten();
        row.is_some_and(|row| {
            let is_same = (row.sequence, row.nonce) == (id.sequence, row_nonce(id));
            is_same && row.state == RowState::Sealed
        })
    };
    let recovered = recover(fetch, &located, &head, is_sealed)?;
    let mut loader = Loader {
        fetch,
        located,
        verdict: recovered.verdict(),
        recorded_voids: recovered.voids.clone(),
        head: head.sequence,
        fresh_from: recovered.first_walked.max(1),
        table: TableWriter::new(located.geometry.slot_count()),
        reread: Vec::new(),
        lost: Vec::new(),
        unreadable: Vec::new(),
        going_on: Vec::new(),
        is_damaged: false,
    };
    loader.fill_rows(&stored)?;
    let cached = dir.and_then(|dir| cachefile::load(dir, &located));
    let (registry, timeline) = loader.replay(cached);
    let Loader {
        table,
        reread,
        mut lost,
        is_damaged,
        ..
    } = loader;
    // The head never follows a cache; but what a cache knows of blocks behind it is missing.
    let behind = stored.into_iter().flatten();
    lost.extend(behind.filter(|row| row.sequence > head.sequence && row.state != RowState::Empty));
    Ok(Loaded {
        located,
        recovered,
        table,
        registry,
        timeline,
        reread_count: reread.len() as u64,
        lost,
        missing_len: located.geometry.device_len().saturating_sub(device_len),
        is_damaged,
    })
}

struct Loader<'l, 'd, D: Device + ?Sized> {
    fetch: &'l mut Fetcher<'d, D>,
    located: Located,
    verdict: Verdict,
    /// Void ranges that were on record before this opening.
    recorded_voids: Vec<VoidRange>,
    head: Sequence,
    /// Blocks from here on are read anew: the last life may have ended in them.
    fresh_from: Sequence,
    table: TableWriter,
    reread: Vec<Sequence>,
    lost: Vec<TableRow>,
    /// Slots that give nothing back: nobody knows whether they hold anything.
    unreadable: Vec<u64>,
    /// Blocks whose first run goes on from the block before.
    going_on: Vec<Sequence>,
    /// Whether something of a block was found missing.
    is_damaged: bool,
}

impl<D: Device + ?Sized> Loader<'_, '_, D> {
    /// The oldest sequence of the window.
    fn oldest(&self) -> Sequence {
        let slots = self.located.geometry.slot_count();
        self.head.saturating_sub(slots).saturating_add(1).max(1)
    }

    fn fill_rows(&mut self, stored: &[Option<TableRow>]) -> Result<()> {
        let geometry = self.located.geometry;
        let mut wanted = Vec::new();
        for sequence in self.oldest()..=self.head {
            let slot = geometry.slot_of(sequence);
            let row = stored.get(slot as usize).copied().flatten();
            let kept = self.verdict.keeps(slot);
            let row = row.filter(|row| row.sequence == sequence || kept && row.sequence != 0);
            match row.filter(|row| row.sequence < self.fresh_from) {
                Some(row) => self.table.set_slot(slot as usize, row),
                None => wanted.push((sequence, slot)),
            }
        }
        let ids = self.read_ids(&wanted)?;
        let rows = self.read_rows(&wanted, &ids)?;
        let mut missing = Vec::new();
        for (((sequence, slot), row), id) in wanted.iter().zip(rows).zip(&ids) {
            let known = stored.get(*slot as usize).copied().flatten();
            if let Some(known) = known
                && row.is_none()
                && self.is_lost(&known, id.as_ref(), *sequence, *slot)
            {
                // Readers shall say that it is lost, rather than that nothing was recorded.
                self.lost.push(known);
                self.table.set_slot(*slot as usize, known);
                continue;
            }
            if row.is_none() && self.unreadable.contains(slot) {
                // No row: another opening may be able to read it.
                missing.push(*sequence);
                continue;
            }
            let is_kept = self.verdict.keeps(*slot);
            let is_missed = |loader: &mut Self| {
                loader.going_on.contains(&(sequence + 1)) || loader.has_runs_of(*sequence, *slot)
            };
            if id.is_none() && !is_kept && is_missed(self) {
                missing.push(*sequence);
            }
            // The row of a kept slot names the block that is really there, 0 where it is unknown,
            // so that void ranges which touch it stay on record.
            let sequence = match id {
                Some(id) => &id.sequence,
                None if self.verdict.keeps(*slot) => &0,
                None => sequence,
            };
            let empty = TableRow {
                sequence: *sequence,
                ..TableRow::default()
            };
            self.reread.push(*sequence);
            self.table.set_slot(*slot as usize, row.unwrap_or(empty));
        }
        let slots = 0..self.located.geometry.slot_count();
        let kept = self.verdict.kept.iter();
        let kept = kept.flat_map(|r| (0..r.count).map(|n| u64::from(r.first) + u64::from(n)));
        self.table
            .set_kept(kept.filter(|slot| slots.contains(slot)).collect());
        self.order_arrivals();
        self.table.set_head(self.head);
        for sequence in missing {
            let row = self.row_between_neighbours(sequence);
            self.lost.push(row);
        }
        Ok(())
    }

    /// Whether a slot whose header is of another block begins with a run of block `sequence` that
    /// counts. Headers are durable before runs, so the device has lost a header that it had
    /// promised to keep.
    fn has_runs_of(&mut self, sequence: Sequence, slot: u64) -> bool {
        let geometry = self.located.geometry;
        let place = walk::first_run_offset(&geometry);
        let offset = geometry.offset_of_slot(slot) + u64::from(place);
        let page = self.fetch.read(offset, PAGE_LEN);
        let Some(id) = page.ok().and_then(|page| RunHeader::claimed_id(&page).ok()) else {
            return false;
        };
        if (id.volume, id.slot, id.sequence) != (self.located.volume, slot, sequence) {
            return false;
        }
        let run = walk::run_at(self.fetch, &geometry, &id, place);
        run.is_ok_and(|run| run.is_some_and(|run| self.verdict.counts(run.position())))
    }

    /// What can be said of block `sequence` that cannot be read: what it holds was recorded after
    /// the block before, and before the one behind.
    fn row_between_neighbours(&self, sequence: Sequence) -> TableRow {
        let table = self.table.table();
        let held = |row: &TableRow| row.state != RowState::Empty;
        let rows = || table.blocks().filter(held);
        let before = rows().filter(|row| row.sequence < sequence).last();
        let behind = rows().find(|row| row.sequence > sequence);
        let start = before.map(|row| row.times.end);
        let end = behind.map(|row| row.times.start);
        let times = TimeRange::new(
            start.or(end).unwrap_or(Timestamp::MIN),
            end.or(start).unwrap_or(Timestamp::MAX),
        );
        TableRow {
            sequence,
            state: RowState::Unsealed,
            times,
            arrivals: times,
            ..TableRow::default()
        }
    }

    /// Whether block `sequence`, of which nothing counts, is gone, though `known`, a row of the
    /// cache file, says that it held frames. Rows are written behind a commit, and headers are
    /// durable before runs: so a block with such a row had a header and runs that count, and only
    /// damage can have ended its life before it. Where a recorder has gone around the ring
    /// meanwhile, nothing is lost.
    fn is_lost(
        &mut self,
        known: &TableRow,
        id: Option<&BlockId>,
        sequence: Sequence,
        slot: u64,
    ) -> bool {
        let first = Position { sequence, run: 1 };
        let held_frames = known.sequence == sequence && known.state != RowState::Empty;
        let is_other = id.is_some_and(|id| row_nonce(id) != known.nonce);
        let mut voids = self.recorded_voids.iter();
        if !held_frames || is_other || voids.any(|void| void.contains(first)) {
            return false;
        }
        let now = head::header_in_slot(self.fetch, &self.located, slot);
        now.is_none_or(|header| header.id.sequence <= sequence)
    }

    /// The identities of the wanted blocks, or of whatever the slots hold where they are kept.
    fn read_ids(&mut self, wanted: &[(Sequence, u64)]) -> Result<Vec<Option<BlockId>>> {
        let geometry = self.located.geometry;
        let offsets: Vec<_> = wanted
            .iter()
            .map(|(_, s)| geometry.offset_of_slot(*s))
            .collect();
        let mut headers = vec![None; wanted.len()];
        let located = &self.located;
        self.fetch.read_pages(&offsets, PAGE_LEN, |number, page| {
            let slot = wanted.get(number).map_or(0, |(_, slot)| *slot);
            let header = page.ok().and_then(|page| BlockHeader::decode(&page).ok());
            let header = header.filter(|header| head::belongs(header, located, slot));
            if let Some(place) = headers.get_mut(number) {
                *place = header.map(|header| header.id);
            }
        })?;
        let ids = wanted.iter().zip(headers).map(|((sequence, slot), id)| {
            let Some(id) = id else {
                // Damaged: its runs say which block it is.
                let id = walk::id_of_block(self.fetch, &self.located, *slot, *sequence);
                if id.as_ref().is_err_and(|e| e.kind() == ErrorKind::Io) {
                    self.unreadable.push(*slot);
                }
                return id.ok().flatten();
            };
            let is_kept = self.verdict.keeps(*slot) && id.sequence != 0;
            (id.sequence == *sequence || is_kept).then_some(id)
        });
        Ok(ids.collect())
    }

    fn read_rows(
        &mut self,
        wanted: &[(Sequence, u64)],
        ids: &[Option<BlockId>],
    ) -> Result<Vec<Option<TableRow>>> {
        let geometry = self.located.geometry;
        let offsets: Vec<_> = wanted
            .iter()
            .map(|(_, slot)| index::trailer_offset(&geometry, *slot))
            .collect();
        let mut rows = vec![None; wanted.len()];
        let mut unsealed = Vec::new();
        let (verdict, going_on) = (&self.verdict, &mut self.going_on);
        self.fetch.read_pages(&offsets, PAGE_LEN, |number, page| {
            let Some(Some(id)) = ids.get(number) else {
                return;
            };
            let trailer = page
                .ok()
                .and_then(|page| BlockTrailer::decode(&page, id, &geometry).ok());
            // A trailer beyond the decided end proves nothing: its runs are counted instead.
            match trailer.filter(|trailer| verdict.counts(trailer.last_position())) {
                Some(trailer) => {
                    going_on.extend((trailer.first_run > 1).then_some(id.sequence));
                    if let Some(place) = rows.get_mut(number) {
                        *place = Some(sealed_row(&trailer));
                    }
                }
                None => unsealed.push((number, *id)),
            }
        })?;
        for (number, id) in unsealed {
            if let Some(place) = rows.get_mut(number) {
                *place = self.unsealed_row(&id);
            }
        }
        Ok(rows)
    }

    fn unsealed_row(&mut self, id: &BlockId) -> Option<TableRow> {
        let found = index::runs_of_block(self.fetch, &self.located.geometry, id);
        let mut runs = found.runs;
        runs.retain(|run| self.verdict.counts(run.position()));
        let first = runs.first().filter(|first| first.run > 1);
        self.going_on.extend(first.map(|first| first.id.sequence));
        let row = row_of_runs(id, runs.iter());
        if row.is_none() && found.unreadable.is_some() {
            self.unreadable.push(id.slot);
        }
        row
    }

    /// Rows are searched by arrival, so arrivals never go back from block to block.
    fn order_arrivals(&mut self) {
        let mut last = Timestamp::MIN;
        for sequence in self.oldest()..=self.head {
            let Some(mut row) = self.table.table().block(sequence) else {
                continue;
            };
            if row.state == RowState::Empty {
                continue;
            }
            if row.arrivals.start < last {
                row.arrivals.start = last;
                row.arrivals.end = row.arrivals.end.max(last);
                row.skew_us = row.skew_us.max(skew_of(&row.arrivals, &row.times));
                self.table.set(&self.located.geometry, row);
            }
            last = row.arrivals.end;
        }
    }

    /// Streams and timeline: from the cache, and from every block that it does not cover.
    fn replay(&mut self, cached: Option<Cached>) -> (Registry, Timeline) {
        let table = self.table.table().clone();
        let current = |cached: &Cached| {
            table
                .block(cached.sequence)
                .is_some_and(|row| row.nonce == cached.nonce)
        };
        let cached = cached.filter(current).unwrap_or_default();
        let from = cached.sequence.min(self.fresh_from).max(self.oldest());
        let Cached {
            mut registry,
            mut timeline,
            ..
        } = cached;
        for row in table.blocks().filter(|row| row.sequence >= from) {
            for section in self.sections(&row) {
                let counts = |run| {
                    self.verdict.counts(Position {
                        sequence: row.sequence,
                        run,
                    })
                };
                note_section(&mut registry, &mut timeline, row.sequence, &section, counts);
            }
        }
        if let Some(oldest) = table.blocks().next() {
            timeline.trim(oldest.sequence, oldest.times.start);
        }
        (registry, timeline)
    }

    fn sections(&mut self, row: &TableRow) -> Vec<StreamSection> {
        let geometry = self.located.geometry;
        let slot = geometry.slot_of(row.sequence);
        let id = match walk::id_of_block(self.fetch, &self.located, slot, row.sequence) {
            Ok(Some(id)) => id,
            Ok(None) => return Vec::new(),
            Err(_) => {
                self.is_damaged = true;
                return Vec::new();
            }
        };
        let (fetch, verdict) = (&mut *self.fetch, &self.verdict);
        let counts = |position| verdict.counts(position);
        let contents = match row.state {
            RowState::Sealed => index::sections_of_block(fetch, &geometry, &id, None, counts),
            _ => index::walked_sections(fetch, &geometry, &id, None, counts),
        };
        self.is_damaged |= !contents.holes.is_empty();
        contents.sections
    }
}

/// The row of a sealed block.
pub fn sealed_row(trailer: &BlockTrailer) -> TableRow {
    TableRow {
        sequence: trailer.id.sequence,
        nonce: row_nonce(&trailer.id),
        state: RowState::Sealed,
        arrivals: trailer.span.arrivals,
        times: trailer.span.times,
        skew_us: trailer.span.skew_us,
    }
}

/// The nonce of a block as its row keeps it.
pub fn row_nonce(id: &BlockId) -> u64 {
    id.nonce
        .0
        .first_chunk()
        .map_or(0, |half| u64::from_le_bytes(*half))
}

/// The row of an unsealed block with `runs`; none where it has no frames.
pub fn row_of_runs<'r>(
    id: &BlockId,
    runs: impl Iterator<Item = &'r RunHeader>,
) -> Option<TableRow> {
    let mut row: Option<TableRow> = None;
    for run in runs {
        let at = Timestamp(run.packed_boot_us.saturating_add(run.utc_offset_us));
        for entry in &run.chunks {
            let times = entry.chunk.times;
            let skew = times.start.0.abs_diff(at.0).max(times.end.0.abs_diff(at.0));
            let row = row.get_or_insert(TableRow {
                sequence: id.sequence,
                nonce: row_nonce(id),
                state: RowState::Unsealed,
                arrivals: TimeRange { start: at, end: at },
                times,
                skew_us: 0,
            });
            row.arrivals = row.arrivals.union(&TimeRange { start: at, end: at });
            row.times = row.times.union(&times);
            row.skew_us = row.skew_us.max(skew);
        }
    }
    row
}

/// Takes note of what a block holds, or its summary says, of a stream. `counts` says of a run
/// whether it counts.
pub fn note_section(
    registry: &mut Registry,
    timeline: &mut Timeline,
    sequence: Sequence,
    section: &StreamSection,
    counts: impl Fn(u64) -> bool,
) {
    let stream = section.stream;
    if section.chunks.is_empty() && registry.get(stream).is_none() {
        registry.add_frames(stream, section.previous, section.last_time, None);
    }
    let counting = |number: u32| {
        let chunk = section.chunks.get(number as usize);
        chunk.map_or(section.chunks.is_empty(), |chunk| counts(chunk.run))
    };
    for (_, record) in section
        .records
        .iter()
        .filter(|(number, _)| counting(*number))
    {
        match record {
            Record::Setup(setup) => {
                registry.set_setup(section.stream, Arc::new(setup.clone()));
            }
            Record::Gap(record) => timeline.add_gap(section.stream, sequence, record.gap),
        }
    }
    for chunk in section
        .chunks
        .iter()
        .filter(|chunk| chunk.has_frames && counts(chunk.run))
    {
        timeline.add_recorded(section.stream, sequence, chunk.times);
        let key = chunk.first_key.map(|frame| DecodeStart {
            sequence,
            offset: chunk.offset,
            len: chunk.len,
            frame,
        });
        registry.add_frames(section.stream, sequence, chunk.times.end, key);
    }
}
