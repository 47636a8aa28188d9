//! A simulated disk with a seed: it loses, tears and reorders what was not flushed, and fails when
//! told to.
//!
//! A [`SimDisk`] is the disk, a [`SimDevice`] one opening of it; a writer and readers can share
//! one. [`SimDisk::crash`] gives what the disk would hold after a power cut at this moment, as an
//! [`Image`] that the next disk starts from. Dropping a device without a crash is a killed
//! process: the disk keeps its cache, and requests under way are carried out or not.
//!
//! As long as one thread drives all devices of a disk, the same seed gives the same course of
//! events. Short transfers never show at a [`Device`], so there are none here; what they could leave
//! behind, a crash in the middle of a write leaves too.

mod disk;
mod fault;
mod image;
mod random;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::disk::Fate;
use self::disk::{Disk, FlushTicket, ReadTicket, WriteTicket};
pub use self::fault::{Fault, FaultRule, FaultTarget};
pub use self::image::Image;
use super::align::Alignment;
use super::wake::Waker;
use super::{Completion, Device, Op, Request, transfer};
use crate::base::error::Result;
use crate::base::sync::{Arc, Parker};

/// How a simulated disk behaves.
#[derive(Clone, Copy, Debug)]
pub struct SimOptions {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What a power cut keeps or drops as one, in bytes: 512 or 4096.
    pub sector_len: usize,
    /// Whether requests complete in any order.
    pub reorders: bool,
    /// What [`wait`](Device::wait) does when nothing is under way: sleep until a wake-up or until
    /// the time is up, as a real device does; or return at once, for tests that move their clock
    /// by hand.
    pub sleeps: bool,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            sector_len: 4096,
            reorders: true,
            sleeps: false,
        }
    }
}

/// What has happened to a simulated disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimCounters {
    /// Reads that completed, well or not.
    pub read_count: u64,
    /// Writes that completed, well or not.
    pub write_count: u64,
    /// Bytes of these writes.
    pub written_len: u64,
    /// Flushes that completed, well or not.
    pub flush_count: u64,
    /// Requests that a [`FaultRule`] struck.
    pub fault_count: u64,
    /// Requests that ended with an error.
    pub failed_count: u64,
    /// Images taken by a crash.
    pub crash_count: u64,
    /// Unflushed sectors that a crash kept.
    pub kept_count: u64,
    /// Unflushed sectors that a crash dropped.
    pub dropped_count: u64,
    /// Unflushed sectors that a crash tore.
    pub torn_count: u64,
}

impl SimCounters {
    fn count_fate(&mut self, fate: Fate) {
        match fate {
            Fate::Dropped => self.dropped_count += 1,
            Fate::Kept(_) => self.kept_count += 1,
            Fate::Torn(_) => self.torn_count += 1,
        }
    }
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Disk>>);

impl SimDisk {
    /// A disk that holds `image`, all of it on stable storage.
    pub fn new(image: Image, options: SimOptions) -> Self {
        Self(Arc::new(Mutex::new(Disk::new(image, options))))
    }

    /// Opens it, for reading and writing.
    pub fn open(&self) -> SimDevice {
        let parker = Parker::new();
        SimDevice {
            len: self.disk().len(),
            disk: self.clone(),
            under_way: Vec::new(),
            done: VecDeque::new(),
            waker: Waker::with_thread(parker.unparker().clone()),
            parker,
        }
    }

    /// What the disk would hold after a power cut now; `seed` decides which unflushed sectors are
    /// kept, dropped and torn. The disk itself goes on as if nothing had happened.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Image {
        self.disk().crash(seed)
    }

    /// The same, where `choose` decides: it gets the offset in bytes of each unflushed sector, and
    /// the number of its unflushed contents.
    #[must_use]
    pub fn crash_with(&self, choose: impl FnMut(u64, usize) -> Fate) -> Image {
        self.disk().crash_with(choose)
    }

    /// Offsets in bytes of the 4 KiB pages that a power cut may change, in rising order.
    pub fn unflushed_offsets(&self) -> Vec<u64> {
        self.disk().unflushed_offsets()
    }

    /// What reads see now.
    pub fn image(&self) -> Image {
        self.disk().current().clone()
    }

    /// Changes what is stored, on stable storage and in what reads see: rot, or a tester's hand.
    /// Contents that are not flushed yet are written over it later.
    pub fn tamper(&self, change: impl Fn(&mut Image)) {
        self.disk().tamper(change);
    }

    /// Makes something go wrong.
    pub fn add_fault(&self, rule: FaultRule) {
        self.disk().faults.add(rule);
    }

    /// Takes all rules back.
    pub fn clear_faults(&self) {
        self.disk().faults.clear();
    }

    /// While stalled, nothing completes.
    pub fn set_stalled(&self, is_stalled: bool) {
        self.disk().is_stalled = is_stalled;
    }

    /// Lets `count` more requests complete; then the power is off, and every request fails and
    /// changes nothing. [`crash`](Self::crash) tells what is left.
    pub fn cut_power_after(&self, count: u64) {
        self.disk().cut_power_after(count);
    }

    /// What has happened so far.
    pub fn counters(&self) -> SimCounters {
        self.disk().counters
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        // A test thread that panicked leaves a disk that others may still look at.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.disk();
        write!(
            f,
            "simulated disk of {} bytes: {:?}",
            disk.len(),
            disk.counters
        )
    }
}

/// One opening of a [`SimDisk`].
pub struct SimDevice {
    disk: SimDisk,
    len: u64,
    /// In the order of submission.
    under_way: Vec<(Request, Ticket)>,
    done: VecDeque<Completion>,
    waker: Waker,
    parker: Parker,
}

#[derive(Debug)]
enum Ticket {
    Read(ReadTicket),
    Write(WriteTicket),
    Flush(FlushTicket),
}

impl SimDevice {
    /// Lets one request complete, if one is under way and the disk is not stalled.
    fn complete_one(&mut self) -> bool {
        let mut disk = self.disk.disk();
        if self.under_way.is_empty() || disk.is_stalled {
            return false;
        }
        let index = if disk.options.reorders {
            disk.random.index(self.under_way.len())
        } else {
            0
        };
        let (mut request, ticket) = self.under_way.remove(index);
        let result = match &ticket {
            // A write leaves the traces that any unflushed write may leave.
            _ if !disk.spend_power() => Err(no_power()),
            Ticket::Write(ticket) => disk.finish_write(ticket),
            Ticket::Flush(ticket) => disk.finish_flush(ticket),
            Ticket::Read(ticket) => {
                let buffer = request.buffer.as_deref_mut().unwrap_or_default();
                disk.finish_read(ticket, buffer.get_mut(..request.len).unwrap_or_default())
            }
        };
        self.done.push_back(Completion {
            token: request.token,
            result,
            buffer: request.buffer,
        });
        true
    }

    fn chance(&self, count: u64, of: u64) -> bool {
        self.disk.disk().random.chance(count, of)
    }

    fn sleep(&self, timeout_us: Option<u64>) {
        if !self.disk.disk().options.sleeps {
            return;
        }
        // The end of a stall wakes nobody: look again soon.
        let longest_us = (!self.under_way.is_empty()).then_some(1_000);
        match longest_us.into_iter().chain(timeout_us).min() {
            Some(us) => self.parker.park_timeout(Duration::from_micros(us)),
            None => self.parker.park(),
        }
    }

    fn begin(&self, request: &Request) -> Ticket {
        let mut disk = self.disk.disk();
        let buffer = request.buffer.as_deref().unwrap_or_default();
        match request.op {
            Op::Read => Ticket::Read(disk.begin_read(request.offset, request.len)),
            Op::Write => {
                let bytes = buffer.get(..request.len).unwrap_or_default();
                Ticket::Write(disk.begin_write(request.offset, bytes))
            }
            Op::Flush => Ticket::Flush(disk.begin_flush()),
        }
    }
}

impl Device for SimDevice {
    fn unit_len(&self) -> u32 {
        Alignment::PAGE.unit_len()
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn submit(&mut self, request: Request) {
        let checked = transfer::check(&request, Alignment::PAGE, self.len);
        let is_off = self.disk.disk().is_off();
        match checked.and_then(|()| if is_off { Err(no_power()) } else { Ok(()) }) {
            Ok(()) => {
                let ticket = self.begin(&request);
                self.under_way.push((request, ticket));
            }
            Err(error) => self.done.push_back(Completion {
                token: request.token,
                result: Err(error),
                buffer: request.buffer,
            }),
        }
    }

    fn reap(&mut self) -> Option<Completion> {
        // A look may come before or after the completion.
        if self.done.is_empty() && self.chance(1, 2) {
            self.complete_one();
        }
        self.done.pop_front()
    }

    fn wait(&mut self, timeout_us: Option<u64>) -> Result<()> {
        if self.done.is_empty() && !self.complete_one() {
            self.sleep(timeout_us);
        }
        // More may have completed by the time that the thread runs again.
        while self.chance(1, 3) && self.complete_one() {}
        self.waker.flag().cancel();
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.under_way.len() + self.done.len()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn prepare_wait(&self) {
        self.waker.flag().prepare();
    }

    fn cancel_wait(&self) {
        self.waker.flag().cancel();
    }
}

/// What the kernel says of a disk that has gone.
fn no_power() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Drop for SimDevice {
    fn drop(&mut self) {
        let mut disk = self.disk.disk();
        for (_, ticket) in self.under_way.drain(..) {
            let Ticket::Write(ticket) = ticket else {
                continue;
            };
            if disk.is_off() {
                continue;
            }
            if disk.random.chance(1, 2) {
                disk.abandon_write(&ticket);
            } else {
                // Nobody is left to be told.
                let _ = disk.finish_write(&ticket);
            }
        }
    }
}

impl fmt::Debug for SimDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests under way on {:?}",
            self.under_way.len(),
            self.disk
        )
    }
}
