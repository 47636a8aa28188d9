//! The head of the ring: the greatest sequence over all valid headers.
//!
//! Headers are durable before their runs, so no table and no trailer is needed to find it. The
//! ring is a rotated sorted array: a binary search comes close, and probing on until
//! [`PROBE_COUNT`] usable slots show nothing newer makes up for headers that were never written,
//! torn or lost. A brute-forced model of the protocol has shown eight to be enough, and fewer not
//! always; `tests/crash` is its successor on the real code.

use super::fetch::Fetcher;
use super::locate::Located;
use crate::base::error::{Error, Result};
use crate::base::geometry::Sequence;
use crate::block::header::SlotRange;
use crate::block::{BlockHeader, PAGE_LEN};
use crate::io::Device;

/// How many usable slots without anything newer end the search.
pub const PROBE_COUNT: u32 = 8;

/// The newest header of a volume.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its sequence; 0 where nothing was ever recorded.
    pub sequence: Sequence,
    /// The header; none where no slot has a readable one.
    pub header: Option<BlockHeader>,
    /// How many pages were read to find it.
    pub read_count: u64,
    /// How many of the last slots that were probed could not be read: newer headers may be there.
    pub unreadable_count: u32,
}

/// Reads the header in `slot`, if it is one of this volume and this slot.
///
/// # Errors
///
/// None for damage: a page that cannot be read or believed is `None`.
pub fn header_in_slot<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    located: &Located,
    slot: u64,
) -> Option<BlockHeader> {
    read_header(fetch, located, slot).ok().flatten()
}

/// The same, where it matters whether the page could be read.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) when it could not.
fn read_header<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    located: &Located,
    slot: u64,
) -> Result<Option<BlockHeader>> {
    let page = fetch.read(located.geometry.offset_of_slot(slot), PAGE_LEN)?;
    let header = BlockHeader::decode(&page).ok();
    Ok(header.filter(|header| belongs(header, located, slot)))
}

/// Whether `header`, read from `slot`, is one of this volume in its right place.
pub fn belongs(header: &BlockHeader, located: &Located, slot: u64) -> bool {
    header.id.volume == located.volume
        && header.geometry == located.geometry
        && header.id.slot == slot
}

/// Finds the newest header. `hint` is a sequence that was seen before, from the table; it saves
/// reads and is never believed without its header.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) when the kernel refuses to wait, or the device gives no header back.
pub fn find_head<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    located: &Located,
    hint: Option<Sequence>,
) -> Result<Head> {
    let mut search = Search {
        fetch,
        located,
        best: None,
        unusable: Vec::new(),
        read_count: 0,
        unreadable: None,
    };
    search.look(0);
    search.look(1);
    let hinted = hint.filter(|hint| *hint != 0).and_then(|hint| {
        let slot = located.geometry.slot_of(hint);
        let found = search.look(slot).filter(|found| *found >= hint)?;
        Some(search.gallop(slot, found))
    });
    let (slot, sequence) = hinted.unwrap_or_else(|| search.bisect());
    let unreadable_count = search.probe_on(slot, sequence);
    let Search {
        best,
        read_count,
        unreadable,
        ..
    } = search;
    if let (None, Some(error)) = (&best, unreadable) {
        return Err(error);
    }
    let sequence = best.as_ref().map_or(0, |header| header.id.sequence);
    Ok(Head {
        sequence,
        header: best,
        read_count,
        unreadable_count,
    })
}

struct Search<'s, 'd, D: Device + ?Sized> {
    fetch: &'s mut Fetcher<'d, D>,
    located: &'s Located,
    best: Option<BlockHeader>,
    /// Bad and pinned slots, as the best header so far lists them: they say nothing of the head.
    unusable: Vec<SlotRange>,
    read_count: u64,
    /// Why the slot that was looked at last could not be read.
    unreadable: Option<Error>,
}

impl<D: Device + ?Sized> Search<'_, '_, D> {
    fn slot_count(&self) -> u64 {
        self.located.geometry.slot_count()
    }

    fn is_usable(&self, slot: u64) -> bool {
        !self.unusable.iter().any(|range| range.contains(slot))
    }

    /// Reads the header in `slot`, keeps it if it is the newest, and returns its sequence.
    fn look(&mut self, slot: u64) -> Option<Sequence> {
        self.read_count += 1;
        let read = read_header(self.fetch, self.located, slot);
        let (header, unreadable) = match read {
            Ok(header) => (header, None),
            Err(error) => (None, Some(error)),
        };
        self.unreadable = unreadable;
        let header = header?;
        let sequence = header.id.sequence;
        if self
            .best
            .as_ref()
            .is_none_or(|best| best.id.sequence < sequence)
        {
            self.unusable = header.bad.iter().chain(&header.pins).copied().collect();
            self.best = Some(header);
        }
        Some(sequence)
    }

    /// From a slot and its sequence: doubles its step while headers are newer, and returns the
    /// last such slot with its sequence.
    fn gallop(&mut self, from: u64, sequence: Sequence) -> (u64, Sequence) {
        let (mut slot, mut current, mut step) = (from, sequence, 1);
        while step < self.slot_count() {
            let next = (slot + step) % self.slot_count();
            let found = Some(next).filter(|next| self.is_usable(*next));
            match found.and_then(|next| self.look(next)) {
                Some(found) if found > current => (slot, current, step) = (next, found, step * 2),
                _ if step == 1 => break,
                _ => step = 1,
            }
        }
        (slot, current)
    }

    /// Binary search for the last slot of the newest turn, and its sequence.
    fn bisect(&mut self) -> (u64, Sequence) {
        let first = (0..self.slot_count())
            .find(|slot| self.is_usable(*slot))
            .unwrap_or(0);
        let mut current = self.look(first).unwrap_or(0);
        let base = current.max(1);
        let (mut low, mut high) = (first, self.slot_count());
        while low + 1 < high {
            let middle = u64::midpoint(low, high);
            let Some(slot) = (middle..high).find(|slot| self.is_usable(*slot)) else {
                high = middle;
                continue;
            };
            match self.look(slot) {
                Some(found) if found >= base => (low, current) = (slot, found),
                _ => high = middle,
            }
        }
        (low, current)
    }

    /// Goes on slot by slot until [`PROBE_COUNT`] usable ones hold nothing newer than the newest
    /// met on the way. Says how many of these could not be read.
    fn probe_on(&mut self, from: u64, sequence: Sequence) -> u32 {
        let (mut slot, mut current, mut misses) = (from, sequence, 0);
        let mut unreadable_count = 0;
        // Newer headers restart the count; three turns bound even a hostile image.
        for _ in 0..3 * self.slot_count() {
            slot = (slot + 1) % self.slot_count();
            if !self.is_usable(slot) {
                continue;
            }
            match self.look(slot) {
                Some(found) if found > current => {
                    (current, misses, unreadable_count) = (found, 0, 0);
                }
                _ => {
                    misses += 1;
                    unreadable_count += u32::from(self.unreadable.is_some());
                }
            }
            if misses >= PROBE_COUNT {
                break;
            }
        }
        unreadable_count
    }
}
