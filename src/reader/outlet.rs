//! The SPSC ring from a reader's thread to its consumer, and how each waits for the other.

use std::fmt;

use crossbeam_utils::sync::{Parker, Unparker};
use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::job::Stop;
use super::query::Recorded;
use crate::base::error::Result;
use crate::base::sync::{Arc, AtomicBool, AtomicU64, Ordering, fence};
use crate::io::Device;
use crate::io::wake::Waker;
use crate::table::TableRow;

/// How many items may wait for their consumer.
const ITEM_COUNT: usize = 1024;

/// Called after each read of block bytes, before the row is compared: for tests that let the
/// writer overtake a reader at the worst moment.
pub type AfterRead = Box<dyn FnMut(u64) + Send>;

/// What both ends share.
#[derive(Debug)]
struct Shared {
    /// The consumer sleeps until there is an item.
    is_waiting: AtomicBool,
    unparker: Unparker,
    /// The reader's thread sleeps until there is room.
    is_full: AtomicBool,
    reader_unparker: Unparker,
    /// The consumer has gone.
    is_cancelled: AtomicBool,
    /// The read has ended; nothing more comes.
    is_finished: AtomicBool,
    /// Blocks that were asked for by number and are not there.
    missing_count: AtomicU64,
}

/// The reader's end of one read.
pub(super) struct Outlet {
    ring: HeapProd<Recorded>,
    shared: Arc<Shared>,
    parker: Parker,
    after_read: Option<AfterRead>,
}

/// The consumer's end of one read.
pub(super) struct Inlet {
    ring: HeapCons<Recorded>,
    shared: Arc<Shared>,
    parker: Parker,
    reader: Waker,
}

/// A ring for one read; `reader` wakes the reader's thread.
pub(super) fn ring(reader: Waker, after_read: Option<AfterRead>) -> (Outlet, Inlet) {
    let (producer, consumer) = HeapRb::new(ITEM_COUNT).split();
    let (parker, reader_parker) = (Parker::new(), Parker::new());
    let shared = Arc::new(Shared {
        is_waiting: AtomicBool::new(false),
        unparker: parker.unparker().clone(),
        is_full: AtomicBool::new(false),
        reader_unparker: reader_parker.unparker().clone(),
        is_cancelled: AtomicBool::new(false),
        is_finished: AtomicBool::new(false),
        missing_count: AtomicU64::new(0),
    });
    let outlet = Outlet {
        ring: producer,
        shared: shared.clone(),
        parker: reader_parker,
        after_read,
    };
    (
        outlet,
        Inlet {
            ring: consumer,
            shared,
            parker,
            reader,
        },
    )
}

impl Outlet {
    /// Hands an item over; waits while the ring is full. Not on the device: it would return at once
    /// as long as a read that nobody has taken yet is done.
    pub(super) fn send(&mut self, item: Recorded) -> Result<(), Stop> {
        let mut item = item;
        loop {
            if self.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            match self.ring.try_push(item) {
                Ok(()) => break,
                Err(back) => item = back,
            }
            self.tell();
            self.shared.is_full.store(true, Ordering::Relaxed);
            // SeqCst: pairs with the fence in `tell_room`.
            fence(Ordering::SeqCst);
            if self.ring.is_full() && !self.is_cancelled() {
                self.parker.park();
            }
            self.shared.is_full.store(false, Ordering::Relaxed);
        }
        self.tell();
        Ok(())
    }

    /// Waits until `has_more`, or the consumer has gone.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) when the kernel refuses to wait.
    pub(super) fn wait(
        &mut self,
        device: &mut dyn Device,
        has_more: impl Fn() -> bool,
    ) -> Result<std::result::Result<(), Stop>> {
        loop {
            if self.is_cancelled() {
                return Ok(Err(Stop::Cancelled));
            }
            device.prepare_wait();
            if has_more() || self.is_cancelled() {
                device.cancel_wait();
                return Ok(Ok(()));
            }
            device.wait(None)?;
        }
    }

    pub(super) fn after_read(&mut self, row: &TableRow) {
        if let Some(after_read) = &mut self.after_read {
            after_read(row.sequence);
        }
    }

    pub(super) fn note_missing(&mut self, sequence: u64) {
        tracing::debug!(sequence, "a block that was asked for is not in the ring");
        self.shared.missing_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self) {
        // Release: pairs with the Acquire load in `next`: who sees it sees every item.
        self.shared.is_finished.store(true, Ordering::Release);
        self.tell();
    }

    fn is_cancelled(&self) -> bool {
        self.shared.is_cancelled.load(Ordering::Acquire)
    }

    fn tell(&self) {
        // SeqCst: pairs with the fence in `next`: either the consumer sees the item, or its flag
        // is seen here.
        fence(Ordering::SeqCst);
        if self.shared.is_waiting.load(Ordering::Relaxed) {
            self.shared.unparker.unpark();
        }
    }
}

impl Inlet {
    /// The next item; `None` when the read is over.
    pub(super) fn next(&mut self) -> Option<Recorded> {
        loop {
            // In this order: what was sent before the end is seen after it.
            let is_finished = self.shared.is_finished.load(Ordering::Acquire);
            if let Some(item) = self.try_next() {
                return Some(item);
            }
            if is_finished {
                return None;
            }
            self.shared.is_waiting.store(true, Ordering::Relaxed);
            // SeqCst: pairs with the fence in `tell`.
            fence(Ordering::SeqCst);
            if self.ring.is_empty() && !self.shared.is_finished.load(Ordering::Acquire) {
                self.parker.park();
            }
            self.shared.is_waiting.store(false, Ordering::Relaxed);
        }
    }

    /// The next item if it is there already.
    pub(super) fn try_next(&mut self) -> Option<Recorded> {
        let item = self.ring.try_pop()?;
        self.tell_room();
        Some(item)
    }

    fn tell_room(&self) {
        // SeqCst: pairs with the fence in `send`: either the reader sees the room, or its flag is
        // seen here.
        fence(Ordering::SeqCst);
        if self.shared.is_full.load(Ordering::Relaxed) {
            self.shared.reader_unparker.unpark();
        }
    }

    pub(super) fn missing_count(&self) -> u64 {
        self.shared.missing_count.load(Ordering::Relaxed)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.shared.is_cancelled.store(true, Ordering::Release);
        self.tell_room();
        self.reader.wake();
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outlet({} waiting)", self.ring.occupied_len())
    }
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inlet({} waiting)", self.ring.occupied_len())
    }
}
