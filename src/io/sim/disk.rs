//! The simulated disk itself: a volatile cache before stable storage.
//!
//! What a completed write brought can be read at once, but lies in the cache until a flush that was
//! submitted after the write's completion has finished. Until then a power cut keeps, drops or tears
//! each of its sectors, and may keep an older unflushed content of a sector in place of the newest.
//! A write that has not completed yet can leave traces in the same way.

use std::collections::BTreeMap;
use std::io;

use super::fault::{Fault, FaultTarget, Faults};
use super::image::{Image, PAGE_LEN, Page, SharedPage};
use super::random::Random;
use super::{SimCounters, SimOptions};
use crate::base::sync::Arc;

/// What becomes of one unflushed sector in a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It holds what it held at the last flush.
    Dropped,
    /// It holds one of its unflushed contents; 0 is the oldest.
    Kept(usize),
    /// It holds the first eighths, this many (1 to 7), of its newest content, and else what it held
    /// at the last flush.
    Torn(usize),
}

/// An unflushed content of a page.
struct Version {
    write: WriteId,
    /// When it was completed, as a count of completions; none while it is under way.
    stamp: Option<u64>,
    page: SharedPage,
}

type WriteId = u64;

/// A write under way.
#[derive(Debug)]
pub(super) struct WriteTicket {
    id: WriteId,
    pages: std::ops::Range<u64>,
    errno: Option<i32>,
}

/// A read under way.
#[derive(Debug)]
pub(super) struct ReadTicket {
    offset: u64,
    fault: Option<Fault>,
}

/// A flush under way: what was completed up to `stamp` is its business.
#[derive(Debug)]
pub(super) struct FlushTicket {
    stamp: u64,
    fault: Option<Fault>,
}

pub(super) struct Disk {
    pub(super) options: SimOptions,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) counters: SimCounters,
    /// While set, nothing completes.
    pub(super) is_stalled: bool,
    /// How many requests complete before the power is off; none where it stays on.
    power: Option<u64>,
    durable: Image,
    /// What reads see: `durable` with all completed versions on top.
    current: Image,
    /// By page index; versions in the order of their completion, those under way last.
    unflushed: BTreeMap<u64, Vec<Version>>,
    stamp: u64,
    write_count: WriteId,
}

impl Disk {
    pub(super) fn new(image: Image, options: SimOptions) -> Self {
        Self {
            random: Random::new(options.seed),
            options,
            faults: Faults::default(),
            counters: SimCounters::default(),
            is_stalled: false,
            power: None,
            current: image.clone(),
            durable: image,
            unflushed: BTreeMap::new(),
            stamp: 0,
            write_count: 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.durable.len()
    }

    /// What reads see.
    pub(super) fn current(&self) -> &Image {
        &self.current
    }

    /// Changes what is stored, at every level: rot, or a tester's hand.
    pub(super) fn tamper(&mut self, change: impl Fn(&mut Image)) {
        change(&mut self.durable);
        change(&mut self.current);
    }

    /// Lets `count` more requests complete.
    pub(super) fn cut_power_after(&mut self, count: u64) {
        self.power = Some(count);
    }

    pub(super) fn is_off(&self) -> bool {
        self.power == Some(0)
    }

    /// Takes note of a request that is about to complete; false where the power is off by now.
    pub(super) fn spend_power(&mut self) -> bool {
        let is_on = !self.is_off();
        self.power = self.power.map(|count| count.saturating_sub(1));
        is_on
    }

    pub(super) fn begin_read(&mut self, offset: u64, len: usize) -> ReadTicket {
        let fault = self.next_fault(FaultTarget::Read, offset, len);
        let offset = match fault {
            Some(Fault::Misdirected(elsewhere)) => self.place_for(elsewhere, len),
            _ => offset,
        };
        ReadTicket { offset, fault }
    }

    pub(super) fn finish_read(&mut self, ticket: &ReadTicket, bytes: &mut [u8]) -> io::Result<()> {
        self.counters.read_count += 1;
        if let Some(Fault::Error(errno)) = ticket.fault {
            self.counters.failed_count += 1;
            return Err(io::Error::from_raw_os_error(errno));
        }
        if ticket.offset.saturating_add(bytes.len() as u64) > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.current.read(ticket.offset, bytes);
        if let Some(Fault::BitFlip(bit)) = ticket.fault {
            flip_bit(bytes, bit);
        }
        Ok(())
    }

    /// Takes in a write of whole pages. It may leave traces from here on.
    pub(super) fn begin_write(&mut self, offset: u64, bytes: &[u8]) -> WriteTicket {
        let fault = self.next_fault(FaultTarget::Write, offset, bytes.len());
        let offset = match fault {
            Some(Fault::Misdirected(elsewhere)) => self.place_for(elsewhere, bytes.len()),
            _ => offset,
        };
        self.write_count += 1;
        let first = offset / PAGE_LEN as u64;
        let mut ticket = WriteTicket {
            id: self.write_count,
            pages: first..first,
            errno: match fault {
                Some(Fault::Error(errno)) => Some(errno),
                _ => None,
            },
        };
        if fault == Some(Fault::Lost) {
            return ticket;
        }
        let (pages, _) = bytes.as_chunks::<PAGE_LEN>();
        ticket.pages.end += pages.len() as u64;
        for (index, page) in ticket.pages.clone().zip(pages) {
            let version = Version {
                write: ticket.id,
                stamp: None,
                page: Arc::new(*page),
            };
            self.unflushed.entry(index).or_default().push(version);
        }
        if let Some(Fault::BitFlip(bit)) = fault {
            self.flip_written_bit(&ticket, bit % (bytes.len().max(1) as u64 * 8));
        }
        ticket
    }

    pub(super) fn finish_write(&mut self, ticket: &WriteTicket) -> io::Result<()> {
        self.counters.write_count += 1;
        self.counters.written_len += (ticket.pages.end - ticket.pages.start) * PAGE_LEN as u64;
        self.stamp += 1;
        for index in ticket.pages.clone() {
            let Some(mut page) = self.take_version(ticket.id, index) else {
                continue;
            };
            if ticket.errno.is_some() {
                // Nobody knows what a failed write has done.
                match self.random.below(3) {
                    0 => continue,
                    1 => page = self.torn_page(index, &page),
                    _ => {}
                }
            }
            self.current.set_page(index, Some(page.clone()));
            let versions = self.unflushed.entry(index).or_default();
            // Before those that are under way still.
            let place = versions.partition_point(|version| version.stamp.is_some());
            let stamp = Some(self.stamp);
            versions.insert(
                place,
                Version {
                    write: ticket.id,
                    stamp,
                    page,
                },
            );
        }
        let Some(errno) = ticket.errno else {
            return Ok(());
        };
        self.counters.failed_count += 1;
        Err(io::Error::from_raw_os_error(errno))
    }

    /// Forgets a write that was never begun in earnest.
    pub(super) fn abandon_write(&mut self, ticket: &WriteTicket) {
        for index in ticket.pages.clone() {
            self.take_version(ticket.id, index);
        }
    }

    pub(super) fn begin_flush(&mut self) -> FlushTicket {
        FlushTicket {
            stamp: self.stamp,
            fault: self.next_fault(FaultTarget::Flush, 0, 0),
        }
    }

    pub(super) fn finish_flush(&mut self, ticket: &FlushTicket) -> io::Result<()> {
        self.counters.flush_count += 1;
        match ticket.fault {
            Some(Fault::Lost) => Ok(()),
            Some(Fault::Error(errno)) => {
                self.counters.failed_count += 1;
                self.flush_badly(ticket.stamp);
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => {
                self.flush(ticket.stamp);
                Ok(())
            }
        }
    }

    /// Puts all that was completed up to `stamp` on stable storage.
    fn flush(&mut self, stamp: u64) {
        let durable = &mut self.durable;
        self.unflushed.retain(|&index, versions| {
            let count =
                versions.partition_point(|version| version.stamp.is_some_and(|s| s <= stamp));
            if let Some(last) = versions.drain(..count).next_back() {
                durable.set_page(index, Some(last.page));
            }
            !versions.is_empty()
        });
    }

    /// A flush that failed: of what was completed up to `stamp`, each page is durable, or gone for
    /// ever, or still pending.
    fn flush_badly(&mut self, stamp: u64) {
        let Self {
            unflushed,
            durable,
            current,
            random,
            ..
        } = self;
        unflushed.retain(|&index, versions| {
            let count =
                versions.partition_point(|version| version.stamp.is_some_and(|s| s <= stamp));
            if count == 0 {
                return true;
            }
            match random.below(3) {
                0 => {
                    if let Some(last) = versions.drain(..count).next_back() {
                        durable.set_page(index, Some(last.page));
                    }
                }
                1 => {
                    versions.drain(..count);
                    let newest = versions
                        .iter()
                        .rev()
                        .find(|version| version.stamp.is_some());
                    let page = newest.map(|version| version.page.clone());
                    current.set_page(index, page.or_else(|| durable.page(index).cloned()));
                }
                _ => {}
            }
            !versions.is_empty()
        });
    }

    /// What the disk holds after a power cut now; `choose` decides for each unflushed sector, given
    /// its offset in bytes and the number of its unflushed contents. The disk itself goes on.
    pub(super) fn crash_with(&mut self, mut choose: impl FnMut(u64, usize) -> Fate) -> Image {
        self.counters.crash_count += 1;
        let mut image = self.durable.clone();
        let sector_len = self.options.sector_len;
        for (&index, versions) in &self.unflushed {
            let start = index * PAGE_LEN as u64;
            let mut fate_of = |place: usize| choose(start + place as u64, versions.len());
            if sector_len >= PAGE_LEN {
                let fate = fate_of(0);
                self.counters.count_fate(fate);
                let old = self.durable.page(index);
                if let Some(page) = fated_page(old, versions, fate) {
                    image.set_page(index, Some(page));
                }
                continue;
            }
            let mut page = self
                .durable
                .page(index)
                .map_or([0; PAGE_LEN], |page| **page);
            for place in (0..PAGE_LEN).step_by(sector_len) {
                let fate = fate_of(place);
                self.counters.count_fate(fate);
                mix(&mut page, versions, place..place + sector_len, fate);
            }
            image.set_page(index, Some(Arc::new(page)));
        }
        image
    }

    /// A power cut by chance. Some seeds keep most sectors, some few, and some all that was
    /// completed up to some moment.
    pub(super) fn crash(&mut self, seed: u64) -> Image {
        let mut random = Random::new(seed);
        let kept_of_8 = match random.below(4) {
            0 => 1,
            1 => 7,
            2 => 4,
            _ => return self.crash_in_order(&mut random),
        };
        self.crash_with(|_, version_count| {
            if random.chance(1, 8) {
                Fate::Torn(1 + random.index(7))
            } else if random.chance(kept_of_8, 8) {
                let is_older = random.chance(1, 4);
                let newest = version_count.saturating_sub(1);
                Fate::Kept(if is_older {
                    random.index(version_count)
                } else {
                    newest
                })
            } else {
                Fate::Dropped
            }
        })
    }

    /// A cut at a moment: what was completed before is kept, the rest dropped.
    fn crash_in_order(&mut self, random: &mut Random) -> Image {
        let oldest = |versions: &Vec<Version>| versions.first().and_then(|version| version.stamp);
        let first = self
            .unflushed
            .values()
            .filter_map(oldest)
            .min()
            .unwrap_or(self.stamp);
        let cut = first + random.below(self.stamp + 2 - first);
        self.counters.crash_count += 1;
        let mut image = self.durable.clone();
        for (&index, versions) in &self.unflushed {
            let kept_count = versions.partition_point(|v| v.stamp.is_some_and(|stamp| stamp < cut));
            let fate = kept_count.checked_sub(1).map_or(Fate::Dropped, Fate::Kept);
            self.counters.count_fate(fate);
            if let Some(page) = fated_page(self.durable.page(index), versions, fate) {
                image.set_page(index, Some(page));
            }
        }
        image
    }

    /// Offsets of the pages that a power cut may change, in bytes.
    pub(super) fn unflushed_offsets(&self) -> Vec<u64> {
        self.unflushed
            .keys()
            .map(|index| index * PAGE_LEN as u64)
            .collect()
    }

    fn next_fault(&mut self, target: FaultTarget, offset: u64, len: usize) -> Option<Fault> {
        let bytes = offset..offset.saturating_add(len as u64);
        let fault = self.faults.next(target, &bytes)?;
        self.counters.fault_count += 1;
        Some(fault)
    }

    /// The page at or before `offset` from which `len` bytes fit.
    fn place_for(&self, offset: u64, len: usize) -> u64 {
        let last = self.len().saturating_sub(len as u64);
        offset.min(last) / PAGE_LEN as u64 * PAGE_LEN as u64
    }

    fn take_version(&mut self, write: WriteId, index: u64) -> Option<SharedPage> {
        let versions = self.unflushed.get_mut(&index)?;
        let place = versions.iter().position(|version| version.write == write)?;
        let version = versions.remove(place);
        if versions.is_empty() {
            self.unflushed.remove(&index);
        }
        Some(version.page)
    }

    fn flip_written_bit(&mut self, ticket: &WriteTicket, bit: u64) {
        let index = ticket.pages.start + bit / (PAGE_LEN as u64 * 8);
        let versions = self.unflushed.get_mut(&index);
        if let Some(version) = versions.and_then(|versions| versions.last_mut()) {
            flip_bit(&mut Arc::make_mut(&mut version.page)[..], bit);
        }
    }

    /// Page `index` with a part of `new` in it.
    fn torn_page(&mut self, index: u64, new: &Page) -> SharedPage {
        let old = self
            .current
            .page(index)
            .map_or([0; PAGE_LEN], |page| **page);
        let cut = PAGE_LEN / 8 * (1 + self.random.index(7));
        let mut page = old;
        for (byte, new) in page.iter_mut().zip(new).take(cut) {
            *byte = *new;
        }
        Arc::new(page)
    }
}

/// A whole page after a power cut; none if it stays as it is.
fn fated_page(old: Option<&SharedPage>, versions: &[Version], fate: Fate) -> Option<SharedPage> {
    match fate {
        Fate::Dropped => None,
        Fate::Kept(version) => versions.get(version).map(|version| version.page.clone()),
        Fate::Torn(_) => {
            let mut page = old.map_or([0; PAGE_LEN], |page| **page);
            mix(&mut page, versions, 0..PAGE_LEN, fate);
            Some(Arc::new(page))
        }
    }
}

/// Puts into `sector` of `page` what its fate leaves of `versions`.
fn mix(page: &mut Page, versions: &[Version], sector: std::ops::Range<usize>, fate: Fate) {
    let (version, len) = match fate {
        Fate::Dropped => return,
        Fate::Kept(version) => (versions.get(version), sector.len()),
        Fate::Torn(eighths) => (versions.last(), sector.len() / 8 * eighths.min(8)),
    };
    let part = sector.start..sector.start + len;
    let new = version.and_then(|version| version.page.get(part.clone()));
    if let (Some(new), Some(old)) = (new, page.get_mut(part)) {
        old.copy_from_slice(new);
    }
}

fn flip_bit(bytes: &mut [u8], bit: u64) {
    let bit = bit % (bytes.len().max(1) as u64 * 8);
    if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
        *byte ^= 1 << (bit % 8);
    }
}
