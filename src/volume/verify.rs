//! Verifying: reads every block that counts, and checks every checksum and every link.
//!
//! Works read-only, also while a recorder goes on: what it overwrites meanwhile is no damage, and
//! the block that it is writing is checked up to the durable watermark. What is damaged can only
//! be told, not repaired: there is one copy.

mod contents;
mod listing;
mod report;
mod slots;

pub use self::report::{Damage, DamagedPart, VerifyReport};

use self::contents::{Expected, Shape};
use self::report::Findings;
use self::slots::SlotReader;
use super::void::Verdict;
use super::{Volume, head, walk};
use crate::base::error::Result;
use crate::base::geometry::{Nonce, Position, Sequence};
use crate::base::time::TimeRange;
use crate::block::{BlockHeader, BlockId, PAGE_LEN, part};
use crate::table::{RowState, TableRow};

/// How often a header is read again that may just be being overwritten.
const HEADER_RETRIES: usize = 3;

/// How a volume is verified.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// How much damage is listed; what is beyond is counted. Default: 1,000.
    pub damage_limit: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { damage_limit: 1000 }
    }
}

impl Volume {
    /// Reads every block that counts and checks all of it: headers, the chain of runs, every chunk
    /// and frame, each index against its runs, trailers. `progress` is told the bytes done and the
    /// bytes in all.
    ///
    /// Takes memory for one block and 4 MiB more. Damage is no error: it is in the report.
    ///
    /// Not found: damage behind the durable watermark, which looks like the torn end of a crash;
    /// and, without the cache file `blocktable`, a lost trailer of the last block of a life.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) when the device cannot be opened or waited for.
    pub fn verify(
        &self,
        options: &VerifyOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<VerifyReport> {
        let mut verifier = Verifier {
            volume: self,
            reader: SlotReader::new(self)?,
            verdict: self.verdict(),
            is_written_elsewhere: !self.is_recording() && self.medium().is_being_written()?,
            options: *options,
            report: VerifyReport::default(),
            life: None,
        };
        let wanted = verifier.wanted();
        let block_len = u64::from(self.geometry().block_len());
        let all_len = wanted.len() as u64 * block_len;
        progress(0, all_len);
        for (number, (sequence, slot)) in wanted.into_iter().enumerate() {
            verifier.slot(sequence, slot)?;
            progress((number as u64 + 1) * block_len, all_len);
        }
        verifier.lost_blocks();
        Ok(verifier.report)
    }
}

struct Verifier<'v> {
    volume: &'v Volume,
    reader: SlotReader,
    verdict: Verdict,
    /// Whether another process records the volume: what lies behind the watermark that was found
    /// at the opening is in flux.
    is_written_elsewhere: bool,
    options: VerifyOptions,
    report: VerifyReport,
    life: Option<Life>,
}

/// The blocks of one life so far, to check what joins them.
struct Life {
    nonce: Nonce,
    /// The last run of the newest block, if it is known.
    last_run: Option<u64>,
    /// The newest watermark.
    mark: Position,
    /// Blocks without a trailer.
    unsealed: Vec<(Sequence, Option<TimeRange>)>,
}

/// What is known before a slot is read.
struct Before {
    row: TableRow,
    durable: Position,
    /// Nothing behind this place is looked at.
    limit: Position,
}

impl Verifier<'_> {
    /// The blocks that count now, with their slots, oldest first.
    fn wanted(&self) -> Vec<(Sequence, u64)> {
        let table = self.volume.table();
        let rows = (0..table.slot_count()).map(|slot| (table.row(slot).sequence, slot));
        let mut wanted: Vec<_> = rows
            .filter(|(sequence, slot)| {
                table.in_window(*sequence) || *sequence != 0 && self.verdict.keeps(*slot)
            })
            .collect();
        wanted.sort_unstable();
        wanted
    }

    /// What was missing already when the volume was opened, and is not in a slot that counts.
    fn lost_blocks(&mut self) {
        self.report.missing_len = self.volume.missing_len();
        let table = self.volume.table();
        let lost = self.volume.lost_blocks().iter();
        for row in lost.filter(|row| table.block(row.sequence).is_none()) {
            let what = "the cache file `blocktable` knows it, and nothing of it is left";
            let (part, times) = (DamagedPart::Header, times_of(row));
            let mut findings = Findings::new(self.damage_room());
            findings.add(damage(row.sequence, part, times, 0, what.to_owned()));
            findings.report_to(&mut self.report);
        }
    }

    fn slot(&mut self, sequence: Sequence, slot: u64) -> Result<()> {
        // In this order: what was durable before the read is on the device.
        let before = Before {
            row: self.volume.table().row(slot),
            durable: self.volume.durable(),
            limit: self.volume.readable(),
        };
        let unreadable = self.reader.read(slot)?;
        self.report.read_len += self.reader.bytes().len() as u64;
        let mut findings = Findings::new(self.damage_room());
        if let Some(unreadable) = unreadable {
            let what = format!("{} bytes: {}", unreadable.len, unreadable.error);
            let times = times_of(&before.row);
            let part = DamagedPart::Unreadable;
            findings.add(damage(sequence, part, times, unreadable.offset, what));
        }
        let found = self.block(sequence, slot, &before, &mut findings);
        if !self.is_current(sequence, slot, &before, findings.is_whole()) {
            self.report.overwritten_count += 1;
            self.life = None;
            return Ok(());
        }
        if let Some((header, id, shape)) = found {
            self.report.block_count += 1;
            let is_settled = self.is_settled(sequence, &before);
            self.join(header.as_ref(), &id, &shape, is_settled, &mut findings);
        } else if let Some(life) = self.life.as_mut().filter(|_| !findings.is_whole()) {
            life.last_run = None;
        }
        findings.report_to(&mut self.report);
        Ok(())
    }

    fn damage_room(&self) -> usize {
        let listed = self.report.damage.len();
        self.options.damage_limit.saturating_sub(listed)
    }

    /// Checks the block that was read; none where there is none.
    fn block(
        &self,
        sequence: Sequence,
        slot: u64,
        before: &Before,
        findings: &mut Findings,
    ) -> Option<(Option<BlockHeader>, BlockId, Shape)> {
        let located = self.volume.located();
        let bytes = self.reader.bytes();
        let page = part(bytes, 0, PAGE_LEN).unwrap_or_default();
        let decoded = BlockHeader::decode(page);
        let other = || "it is of another block".to_owned();
        let problem = decoded
            .as_ref()
            .err()
            .map_or_else(other, ToString::to_string);
        // A header of this volume in another slot was never written there.
        let is_astray = decoded.as_ref().is_ok_and(|other| {
            let is_own = (other.id.volume, other.geometry) == (located.volume, located.geometry);
            is_own && other.id.slot != slot
        });
        let header = decoded.ok().filter(|header| {
            head::belongs(header, &located, slot) && header.id.sequence == sequence
        });
        let own = header.as_ref().map(|header| header.id);
        let id = own.or_else(|| walk::claimed_id(bytes, &located, slot, sequence));
        // Also of runs that do not count without their header.
        let lost = || contents::times_of_runs(bytes, &id?, &located.geometry);
        let times = times_of(&before.row).or_else(lost);
        // Where the ring has passed over a slot, or a crash has taken a header and nothing with
        // it, no block is missing.
        let is_known = id.is_some() || before.row.state != RowState::Empty;
        if header.is_none() && (is_known || is_astray) {
            findings.add(damage(sequence, DamagedPart::Header, times, 0, problem));
        }
        let id = id?;
        let is_ahead = |header: &&BlockHeader| header.mark.sequence >= sequence;
        if let Some(header) = header.as_ref().filter(is_ahead) {
            let what = format!("it has the watermark {:?}", header.mark);
            findings.add(damage(sequence, DamagedPart::Header, times, 0, what));
        }
        let committed = before.durable.run;
        let is_last = before.durable.sequence == sequence && committed != Position::WHOLE;
        let is_settled = self.is_settled(sequence, before);
        let expected = Expected {
            id,
            geometry: located.geometry,
            counts: &|position| position <= before.limit && self.verdict.counts(position),
            is_settled,
            is_sealed: is_settled && before.row.state == RowState::Sealed,
            committed: is_last.then_some(committed),
            times,
        };
        let shape = contents::check(bytes, &expected, findings);
        Some((header, id, shape))
    }

    /// Whether a trailer that the block has, or has not, is final.
    fn is_settled(&self, sequence: Sequence, before: &Before) -> bool {
        if self.is_written_elsewhere {
            return before.durable >= Position::end_of(sequence);
        }
        before.row.state != RowState::Open
    }

    /// Whether the slot still holds the block that was read from it. Where nothing was found
    /// wrong, all of it was read in time.
    fn is_current(
        &mut self,
        sequence: Sequence,
        slot: u64,
        before: &Before,
        is_whole: bool,
    ) -> bool {
        let row = self.volume.table().row(slot);
        if (row.sequence, row.nonce) != (before.row.sequence, before.row.nonce)
            || row.sequence != sequence
        {
            return false;
        }
        if is_whole {
            return true;
        }
        let located = self.volume.located();
        for _ in 0..HEADER_RETRIES {
            let header = head::header_in_slot(&mut self.reader.fetch(), &located, slot);
            if let Some(header) = header {
                return header.id.sequence <= sequence;
            }
            // Damaged, or half overwritten: that would be over soon.
        }
        true
    }

    /// Checks what joins the block to those before it. One that is not settled was written on
    /// after it was read: what comes behind it may follow runs that were not seen.
    fn join(
        &mut self,
        header: Option<&BlockHeader>,
        id: &BlockId,
        shape: &Shape,
        is_settled: bool,
        findings: &mut Findings,
    ) {
        if !self.volume.table().in_window(id.sequence) {
            // What came behind a block that was kept alone is gone.
            self.life = None;
            return;
        }
        let life = self.life.take().filter(|life| life.nonce == id.nonce);
        let mut life = life.unwrap_or(Life {
            nonce: id.nonce,
            last_run: None,
            mark: Position::default(),
            unsealed: Vec::new(),
        });
        if let Some((first, last)) = shape.runs {
            let expected = life.last_run.and_then(|last| last.checked_add(1));
            // After a failure the numbers begin anew.
            let follows = expected.is_none_or(|expected| first == expected) || first == 1;
            if !follows && (shape.is_sealed || !shape.is_cut_before) {
                let what = format!("run {first} follows run {}", life.last_run.unwrap_or(0));
                let part = DamagedPart::Run;
                findings.add(damage(id.sequence, part, shape.times, 0, what));
            }
            // Without a trailer nobody knows what else was behind a damaged end.
            let is_known = is_settled && (shape.is_sealed || findings.is_whole());
            life.last_run = Some(last).filter(|_| is_known);
            // A crash or a failure has ended it.
            let voids = &self.verdict.voids;
            let was_ended = voids.iter().any(|void| void.touches(id.sequence));
            let may_be_cut = is_settled && !shape.is_sealed;
            if may_be_cut && !was_ended && !findings.has_lost_trailer() {
                life.unsealed.push((id.sequence, shape.times));
            }
        }
        let marks = [Some(shape.mark), header.map(|header| header.mark)];
        let own = marks
            .into_iter()
            .flatten()
            .filter(|mark| mark.run != Position::WHOLE);
        life.mark = own.fold(life.mark, Position::max);
        self.lost_trailers(&mut life, findings);
        self.life = Some(life);
    }

    /// A run of a later block is durable only once the block is sealed and its trailer durable.
    fn lost_trailers(&self, life: &mut Life, findings: &mut Findings) {
        let mark = life.mark;
        life.unsealed.retain(|(sequence, times)| {
            let is_lost = *sequence < mark.sequence;
            if is_lost {
                let offset = self.volume.geometry().block_len() - PAGE_LEN as u32;
                let what = "it is not there, though later blocks were committed";
                let part = DamagedPart::Trailer;
                findings.add(damage(*sequence, part, *times, offset, what.to_owned()));
            }
            !is_lost
        });
    }
}

fn times_of(row: &TableRow) -> Option<TimeRange> {
    (row.state != RowState::Empty).then_some(row.times)
}

/// Damage of no stream in particular.
fn damage(
    sequence: Sequence,
    part: DamagedPart,
    times: Option<TimeRange>,
    offset: u32,
    what: String,
) -> Damage {
    Damage {
        sequence,
        part,
        stream: None,
        times,
        offset,
        what,
    }
}
