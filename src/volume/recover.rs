//! What counts after a life has ended, whether it was closed, killed or cut off.
//!
//! Pure decisions on what was read: the durable watermark, the last run that belongs to the life,
//! and the range of runs behind it that the next life declares void. Recovery writes nothing; the
//! writer puts its conclusions into the first header of its life.

use super::fetch::Fetcher;
use super::head::{self, Head};
use super::locate::Located;
use super::void::Verdict;
use super::walk;
use crate::base::error::Result;
use crate::base::geometry::{Nonce, Position, Sequence};
use crate::block::header::{SlotRange, VoidRange};
use crate::block::{BlockHeader, BlockId, BlockTrailer, PAGE_LEN, RunHeader};
use crate::io::Device;

/// What recovery concludes.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The greatest sequence over all headers; 0 where nothing was ever recorded.
    pub head: Sequence,
    /// How many lives the volume has had.
    pub life: u64,
    /// Everything up to here was durable or decided before.
    pub mark: Position,
    /// The last run that counts; what lies behind it is void.
    pub end: Position,
    /// Void ranges that were recorded before.
    pub voids: Vec<VoidRange>,
    /// The void range that the next life must record from here on; none where nothing readable
    /// lies behind `end`.
    pub void_from: Option<Position>,
    /// Slots that are never written again.
    pub bad: Vec<SlotRange>,
    /// Slots that are kept.
    pub pins: Vec<SlotRange>,
    /// The first block that was looked into.
    pub first_walked: Sequence,
    /// Features that the newest header lists, to be listed on.
    pub compat: (u64, u64),
    /// Whether this release may write to the volume.
    pub is_writable: bool,
    /// Whether a run at or below the watermark is missing, or the header of a block that has runs:
    /// damage, not a torn end.
    pub is_damaged: bool,
    /// What could not be read of the places that decide what counts.
    pub unreadable: Unreadable,
}

/// What recovery could not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Slots behind the head: see [`Head::unreadable_count`].
    pub headers: u32,
    /// Pages of the blocks that the last life may have ended in.
    pub pages: u64,
}

impl Unreadable {
    /// Whether all was read.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Whether so little is missing that the next life can begin. The newest header is written
    /// ahead of its time, so no run is lost with it; with two, a block that holds runs could be
    /// overwritten. Pages cost the runs in them, and those only, as long as some runs are left
    /// that tell how far the life went.
    pub fn is_bearable(self) -> bool {
        self.headers <= 1 && self.pages <= 8
    }
}

impl Recovered {
    /// What readers must obey until the next life has begun.
    pub fn verdict(&self) -> Verdict {
        let mut voids = self.voids.clone();
        voids.extend(self.void_from.map(|from| VoidRange {
            from,
            to: self.head + 1,
        }));
        let kept = self.bad.iter().chain(&self.pins).copied().collect();
        Verdict {
            end: self.end,
            voids,
            kept,
        }
    }
}

/// The newest watermark, and the life whose runs come next behind it.
struct Mark {
    position: Position,
    nonce: Nonce,
}

/// What was found in the blocks that the last life may have ended in.
#[derive(Default)]
struct Walked {
    runs: Vec<RunHeader>,
    /// Runs whose header is whole, and whose chunks are not.
    torn: Vec<Position>,
    /// The last runs that trailers list.
    listed: Vec<Position>,
    /// Up to where blocks are known to have been sealed.
    sealed: Option<Mark>,
    /// Pages that cannot be read.
    unreadable_count: u64,
    /// Some block has runs and no header. It was durable before the runs, so it was damaged later.
    has_lost_header: bool,
}

impl Walked {
    /// Looks into a slot that block `sequence` belongs to.
    fn add<D: Device + ?Sized>(
        &mut self,
        fetch: &mut Fetcher<'_, D>,
        located: &Located,
        sequence: Sequence,
        header: Option<&BlockHeader>,
        is_sealed: impl Fn(&BlockId) -> bool,
    ) {
        let slot = located.geometry.slot_of(sequence);
        let salvaged = walk::read_block(fetch, &located.geometry, slot);
        self.unreadable_count += salvaged.unreadable_count;
        let block = salvaged.bytes;
        // A header that was written ahead of its time may be torn: then there is no run either.
        let by_runs = || walk::claimed_id(&block, located, slot, sequence);
        let Some(id) = header.map(|header| header.id).or_else(by_runs) else {
            return;
        };
        self.has_lost_header |= header.is_none();
        let page = block
            .len()
            .checked_sub(PAGE_LEN)
            .and_then(|at| block.get(at..));
        let trailer = page.and_then(|page| BlockTrailer::decode(page, &id, &located.geometry).ok());
        let listed = trailer.map(|trailer| trailer.last_position());
        self.listed.extend(listed);
        if let Some(position) = listed.filter(|_| is_sealed(&id)) {
            let nonce = id.nonce;
            self.sealed = Some(Mark { position, nonce });
        }
        for run in walk::runs_in(&block, &id, &located.geometry) {
            if !walk::run_is_whole(&block, &run) {
                self.torn.push(run.position());
            }
            self.runs.push(run);
        }
    }

    /// Whether anything behind `end` would be believed once the next life has begun: a run
    /// header, of a torn run too, an index that lists a run there, or what cannot be read now and
    /// may be read later.
    fn hides_behind(&self, end: Position) -> bool {
        self.unreadable_count > 0
            || self.listed.iter().any(|last| *last > end)
            || self.runs.iter().any(|run| run.position() > end)
    }
}

/// Finds out what counts on a device whose head is `head`. `is_sealed` says of a block whether it is
/// known, from the cache file `blocktable`, that its seal was durable.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) when the kernel refuses to wait. What cannot be read counts as
/// damaged.
pub fn recover<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    located: &Located,
    head: &Head,
    is_sealed: impl Fn(&BlockId) -> bool,
) -> Result<Recovered> {
    let newest = head
        .header
        .as_ref()
        .filter(|header| header.id.sequence != 0);
    let Some(newest) = newest else {
        return Ok(nothing(head.unreadable_count));
    };
    let (from, headers) = headers_from(fetch, located, newest);
    let start = newest_mark(&headers, &[]).map_or(0, |mark| mark.position.sequence);
    let mut walked = Walked::default();
    for sequence in from.max(start)..=newest.id.sequence {
        let mut own = headers.iter();
        let own = own.find(|header| header.id.sequence == sequence);
        walked.add(fetch, located, sequence, own, &is_sealed);
    }
    let voids: Vec<_> = union(headers.iter().flat_map(|header| &header.voids));
    // Marks are compared before voids are obeyed: the run of a void range carries an older mark
    // than the header that declares it.
    let own = Mark {
        position: newest.mark,
        nonce: newest.id.nonce,
    };
    let mark = newest_mark(&headers, &walked.runs).unwrap_or(own);
    // A row is written behind the flush of the seal, so all that the trailer lists was durable.
    let sealed = walked.sealed.take();
    let mark = sealed
        .filter(|sealed| sealed.position > mark.position)
        .unwrap_or(mark);
    walked
        .runs
        .retain(|run| !voids.iter().any(|void| void.contains(run.position())));
    // Up to the watermark a damaged frame spoils itself and nothing else; beyond it a run that is
    // not whole was never finished.
    let is_whole = |run: &&RunHeader| !walked.torn.contains(&run.position());
    let end = life_end(&mark, walked.runs.iter().filter(is_whole));
    let unreadable = Unreadable {
        headers: head.unreadable_count,
        pages: walked.unreadable_count,
    };
    Ok(Recovered {
        head: head.sequence,
        life: newest.life,
        mark: mark.position,
        end,
        void_from: walked.hides_behind(end).then(|| end.next()),
        compat: (newest.compat, newest.read_only_compat),
        is_writable: newest.is_writable(),
        is_damaged: walked.has_lost_header
            || !unreadable.is_none()
            || is_damaged(&mark, &walked.runs),
        unreadable,
        voids,
        bad: newest.bad.clone(),
        pins: newest.pins.clone(),
        first_walked: start,
    })
}

/// The newest watermark among headers and runs.
fn newest_mark(headers: &[BlockHeader], runs: &[RunHeader]) -> Option<Mark> {
    let headers = headers.iter().map(|h| Mark {
        position: h.mark,
        nonce: h.id.nonce,
    });
    let runs = runs.iter().map(|r| Mark {
        position: r.mark,
        nonce: r.id.nonce,
    });
    headers.chain(runs).max_by_key(|mark| mark.position)
}

fn nothing(headers: u32) -> Recovered {
    Recovered {
        head: 0,
        life: 0,
        mark: Position::end_of(0),
        end: Position::end_of(0),
        voids: Vec::new(),
        void_from: None,
        bad: Vec::new(),
        pins: Vec::new(),
        first_walked: 0,
        compat: (0, 0),
        is_writable: true,
        is_damaged: headers > 0,
        unreadable: Unreadable { headers, pages: 0 },
    }
}

/// The first block of the stretch that the last life may have ended in, and the valid headers from
/// there on, oldest first: from the newest one's watermark on. Void ranges and later watermarks are
/// in one of these.
fn headers_from<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    located: &Located,
    newest: &BlockHeader,
) -> (Sequence, Vec<BlockHeader>) {
    let slots = located.geometry.slot_count();
    let head = newest.id.sequence;
    // Two blocks hold unflushed data at most, and their headers lie ahead by two; the rest of the
    // stretch is burnt sequences, so a hostile watermark cannot make it long.
    let usable = |sequence: Sequence| {
        let slot = located.geometry.slot_of(sequence);
        !newest
            .bad
            .iter()
            .chain(&newest.pins)
            .any(|range| range.contains(slot))
    };
    let oldest = head.saturating_sub(slots).saturating_add(1).max(1);
    let back = (oldest..head)
        .rev()
        .filter(|sequence| usable(*sequence))
        .take(4);
    let first = back.last().unwrap_or(head).max(oldest);
    let from = if newest.mark.run == Position::WHOLE {
        newest.mark.sequence.saturating_add(1)
    } else {
        newest.mark.sequence
    };
    let from = from.clamp(first, head);
    let mut headers: Vec<_> = (from..head)
        .filter_map(|sequence| {
            let slot = located.geometry.slot_of(sequence);
            head::header_in_slot(fetch, located, slot).filter(|h| h.id.sequence == sequence)
        })
        .collect();
    headers.push(newest.clone());
    (from, headers)
}

fn union<'a>(voids: impl Iterator<Item = &'a VoidRange>) -> Vec<VoidRange> {
    let mut all: Vec<VoidRange> = Vec::new();
    for void in voids {
        if !all.contains(void) {
            all.push(*void);
        }
    }
    all
}

/// The last run of the life that the watermark belongs to: from the watermark on, as long as each
/// run's number follows the one before, in volume order across blocks.
fn life_end<'r>(mark: &Mark, runs: impl Iterator<Item = &'r RunHeader>) -> Position {
    let mut end = mark.position;
    let mut number = if end.run == Position::WHOLE {
        0
    } else {
        end.run
    };
    for run in runs.filter(|run| run.position() > mark.position && run.id.nonce == mark.nonce) {
        if run.run != number + 1 {
            break;
        }
        number = run.run;
        end = run.position();
    }
    end
}

/// Whether some run between the first one found and the watermark is missing.
fn is_damaged(mark: &Mark, runs: &[RunHeader]) -> bool {
    if mark.position.run == Position::WHOLE {
        return false;
    }
    let own = || {
        runs.iter()
            .filter(|r| r.id.nonce == mark.nonce && r.run <= mark.position.run)
    };
    let first = own().map(|run| run.run).min();
    match first {
        Some(first) => own().count() as u64 != mark.position.run - first + 1,
        None => mark.position.run > 0,
    }
}
