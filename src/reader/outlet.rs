//! The SPSC ring from a reader's thread to its consumer, and how each waits for the other.

use std::fmt;
use std::sync::Mutex;
use std::task::{Context, Poll};

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::job::Stop;
use crate::base::error::{Error, Result};
use crate::base::sync::{Arc, AtomicBool, AtomicU64, Ordering, Weak, lock};
use crate::base::time::Timestamp;
use crate::frame::Recorded;
use crate::io::Device;
use crate::io::wake::{Sleeper, Waker};
use crate::table::TableRow;

/// How many items may wait for their consumer.
const ITEM_COUNT: usize = 1024;

/// Called after each read of block bytes, before the row is compared: for tests that let the
/// writer overtake a reader at the worst moment.
pub type AfterRead = Box<dyn FnMut(u64) + Send>;

/// What a reader hands over, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something that was read.
    Item(Recorded),
    /// What was asked for was handed over up to about this time. Told after each block and each
    /// run, also where they hold nothing of the streams that were asked for.
    UpTo(Timestamp),
    /// All that is recorded now was handed over, and the read waits for more.
    CaughtUp,
}

impl Step {
    /// What was read, if this is it.
    pub(super) fn into_item(self) -> Option<Recorded> {
        match self {
            Step::Item(item) => Some(item),
            Step::UpTo(_) | Step::CaughtUp => None,
        }
    }
}

/// What both ends share.
#[derive(Debug, Default)]
struct Shared {
    /// The consumer has gone.
    is_cancelled: AtomicBool,
    /// The read has ended; nothing more comes.
    is_finished: AtomicBool,
    /// Blocks that were asked for by number and are not there.
    missing_count: AtomicU64,
    /// Why the read ended before its end; set before `is_finished`.
    failure: Mutex<Option<Error>>,
}

/// The reader's end of one read. Dropping it tells the consumer that nothing more comes.
pub(super) struct Outlet {
    ring: HeapProd<Step>,
    shared: Arc<Shared>,
    /// Waits for room. Not on the device: that one is ready as long as a read is done which nobody
    /// has taken yet.
    sleeper: Sleeper,
    consumer: Waker,
    after_read: Option<AfterRead>,
}

/// The consumer's end of one read.
pub(super) struct Inlet {
    ring: HeapCons<Step>,
    shared: Arc<Shared>,
    /// Waits for items.
    sleeper: Sleeper,
    /// Wakes the reader's thread where it waits for room.
    room: Waker,
    /// Wakes it where it waits for its device.
    device: Waker,
}

/// Ends a read from elsewhere.
#[derive(Debug)]
pub(super) struct Stopper {
    shared: Weak<Shared>,
    room: Waker,
    device: Waker,
}

/// A ring for one read; `device` wakes the reader's thread, `consumer` the one that takes the steps:
/// by default, the one that waits in [`Inlet::next`].
pub(super) fn ring(
    device: Waker,
    consumer: Option<Waker>,
    after_read: Option<AfterRead>,
) -> (Outlet, Inlet) {
    let (producer, items) = HeapRb::new(ITEM_COUNT).split();
    let shared = Arc::new(Shared::default());
    let (for_room, for_items) = (Sleeper::new(), Sleeper::new());
    let inlet = Inlet {
        ring: items,
        shared: shared.clone(),
        sleeper: for_items,
        room: for_room.waker(),
        device,
    };
    let outlet = Outlet {
        ring: producer,
        shared,
        consumer: consumer.unwrap_or_else(|| inlet.sleeper.waker()),
        sleeper: for_room,
        after_read,
    };
    (outlet, inlet)
}

impl Outlet {
    /// Hands a step over; waits while the ring is full.
    pub(super) fn send(&mut self, item: Step) -> Result<(), Stop> {
        let is_cancelled = self.sleeper.wait_for(|| {
            let is_cancelled = self.is_cancelled();
            (is_cancelled || !self.ring.is_full()).then_some(is_cancelled)
        });
        if is_cancelled {
            return Err(Stop::Cancelled);
        }
        // There is room, and this thread alone fills the ring.
        let _ = self.ring.try_push(item);
        self.consumer.wake();
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

    /// The read ends here, because of `error`.
    pub(super) fn fail(&mut self, error: Error) {
        *lock(&self.shared.failure) = Some(error);
    }

    pub(super) fn note_missing(&mut self, sequence: u64) {
        tracing::debug!(sequence, "a block that was asked for is not in the ring");
        self.shared.missing_count.fetch_add(1, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.shared.is_cancelled.load(Ordering::Acquire)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        // Release: pairs with the Acquire load in `Sleeper::next`.
        self.shared.is_finished.store(true, Ordering::Release);
        self.consumer.wake();
    }
}

impl Inlet {
    /// The next item; `None` when the read is over.
    pub(super) fn next(&mut self) -> Option<Step> {
        let Self { ring, shared, .. } = self;
        let item = self.sleeper.next(&shared.is_finished, || ring.try_pop());
        self.room.wake();
        item
    }

    /// The next of what was read; `None` when the read is over. Pending while there is neither.
    pub(super) fn poll_item(&mut self, task: &Context<'_>) -> Poll<Option<Recorded>> {
        let Self { ring, shared, .. } = self;
        let mut is_empty = true;
        let polled = self.sleeper.poll_next(task, &shared.is_finished, || {
            std::iter::from_fn(|| ring.try_pop())
                .inspect(|_| is_empty = false)
                .find_map(Step::into_item)
        });
        if !is_empty {
            self.room.wake();
        }
        polled
    }

    /// The next item if it is there already.
    pub(super) fn try_next(&mut self) -> Option<Step> {
        let item = self.ring.try_pop()?;
        self.room.wake();
        Some(item)
    }

    /// Whether the read has ended. What was handed over before is in the ring then.
    pub(super) fn is_finished(&self) -> bool {
        // Acquire: pairs with the Release store in the outlet's drop.
        self.shared.is_finished.load(Ordering::Acquire)
    }

    /// Whether there is an item, or the end.
    pub(super) fn is_ready(&self) -> bool {
        !self.ring.is_empty() || self.is_finished()
    }

    /// Why the read ended before its end, if it did.
    pub(super) fn take_failure(&self) -> Option<Error> {
        lock(&self.shared.failure).take()
    }

    pub(super) fn missing_count(&self) -> u64 {
        self.shared.missing_count.load(Ordering::Relaxed)
    }
}

impl Inlet {
    /// What ends the read from elsewhere.
    pub(super) fn stopper(&self) -> Stopper {
        Stopper {
            shared: Arc::downgrade(&self.shared),
            room: self.room.clone(),
            device: self.device.clone(),
        }
    }
}

impl Stopper {
    /// Whether nobody can wait for the read any more.
    pub(super) fn is_over(&self) -> bool {
        self.shared.strong_count() == 0
    }

    /// Ends the read.
    pub(super) fn stop(&self) {
        if let Some(shared) = self.shared.upgrade() {
            // Release: pairs with the Acquire load in `Outlet::is_cancelled`.
            shared.is_cancelled.store(true, Ordering::Release);
            self.room.wake();
            self.device.wake();
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.stopper().stop();
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
