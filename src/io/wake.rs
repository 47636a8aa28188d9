//! Waking a thread that waits for work, at the price of a system call only when it sleeps.
//!
//! A thread that has nothing to do says so in its [`SleepFlag`], looks at its queues once more,
//! and only then waits. A thread that has put work into a queue looks at the flag, and rings the
//! bell only when it is set. A full fence on both sides makes sure that one of them sees the
//! other: the sleeper the work, or the waker the flag. `tests/loom.rs` models this.
//!
//! The bell of a real device is an eventfd that the ring always has a read pending on. A thread
//! that drives no device waits as a [`Sleeper`], whose bell unparks it; so does the one that drives
//! a simulated device. A task of an async runtime waits with a `Sleeper` as well: the bell then also
//! wakes the task that polled last.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;
use std::task::{self, Context, Poll};
use std::time::Duration;

use rustix::event::EventfdFlags;

use crate::base::error::{Error, Result};
use crate::base::sync::{Arc, AtomicBool, ModelledMutex, Ordering, Parker, Unparker, fence};

/// Whether a thread sleeps, or is about to.
#[derive(Debug)]
pub struct SleepFlag(AtomicBool);

impl SleepFlag {
    /// The flag of a thread that is awake.
    #[allow(
        clippy::new_without_default,
        reason = "a flag without its thread makes no sense"
    )]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Says that the calling thread is about to sleep. It must look at its queues after this and
    /// before it sleeps.
    pub fn prepare(&self) {
        // All changes of the flag are read-modify-writes in Acquire and Release: one order of
        // them, and each sees the one before. They happen only around a sleep.
        self.0.swap(true, Ordering::AcqRel);
        // Pairs with the fence in `take`: the change comes before the look at the queues.
        fence(Ordering::SeqCst);
    }

    /// Says that the thread is awake again.
    pub fn cancel(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }

    /// Whether the thread must be woken; `true` to one caller only. The caller has put its work
    /// into a queue before.
    pub fn take(&self) -> bool {
        // Pairs with the fence in `prepare`: the work is visible before the look at the flag.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}

/// What is added to an eventfd, as the kernel wants it: in the machine's own byte order.
#[expect(clippy::host_endian_bytes, reason = "it never leaves the machine")]
const ONE: [u8; 8] = 1u64.to_ne_bytes();

/// Wakes a thread. Clones wake the same one.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    flag: SleepFlag,
    bell: Bell,
}

#[derive(Debug)]
enum Bell {
    Event(OwnedFd),
    /// A thread, and the task that waits in its place if there is one.
    Thread(Unparker, TaskSlot),
}

/// The task that is to be polled again. Held for one assignment by either side, so that whoever
/// rings is not held up.
#[derive(Debug, Default)]
struct TaskSlot(ModelledMutex<Option<task::Waker>>);

impl TaskSlot {
    fn set(&self, task: Option<task::Waker>) -> Option<task::Waker> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *slot, task)
    }

    /// Has the task polled again. What wakes it is somebody else's code: a panic there must not
    /// end the thread that rings.
    fn wake(&self) {
        let Some(task) = self.set(None) else { return };
        if std::panic::catch_unwind(|| task.wake()).is_err() {
            tracing::error!("the waker of a task has panicked");
        }
    }
}

impl Waker {
    /// A waker whose bell is an eventfd.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) when the process has no descriptors left.
    pub(super) fn with_event() -> Result<Self> {
        // Blocking on purpose: io_uring fails a read of an empty non-blocking file at once.
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)
            .map_err(|e| Error::io("make an eventfd", e))?;
        Ok(Self::with_bell(Bell::Event(event)))
    }

    /// A waker that unparks a thread.
    pub(super) fn with_thread(unparker: Unparker) -> Self {
        Self::with_bell(Bell::Thread(unparker, TaskSlot::default()))
    }

    fn with_bell(bell: Bell) -> Self {
        Self(Arc::new(Shared {
            flag: SleepFlag::new(),
            bell,
        }))
    }

    /// Ends the wait of the thread ([`Device::wait`](super::Device::wait),
    /// [`Sleeper::wait_for`]), if it has said that it sleeps. Costs a fence otherwise. Call it after
    /// the work was queued.
    pub fn wake(&self) {
        if self.0.flag.take() {
            self.ring();
        }
    }

    /// Rings the bell whether or not anybody sleeps; returns whether it could.
    pub(super) fn ring(&self) -> bool {
        match &self.0.bell {
            // Fails, or blocks, only when 2^64 wake-ups are pending; the sleeper takes them all
            // at once.
            Bell::Event(event) => rustix::io::write(event, &ONE).is_ok(),
            Bell::Thread(unparker, task) => {
                unparker.unpark();
                task.wake();
                true
            }
        }
    }

    pub(super) fn flag(&self) -> &SleepFlag {
        &self.0.flag
    }

    /// The eventfd of a real device's waker.
    pub(super) fn event(&self) -> Option<BorrowedFd<'_>> {
        match &self.0.bell {
            Bell::Event(event) => Some(event.as_fd()),
            Bell::Thread(..) => None,
        }
    }

    fn set_task(&self, task: Option<task::Waker>) {
        if let Bell::Thread(_, slot) = &self.0.bell {
            // What was there is dropped here, on the task's own thread.
            drop(slot.set(task));
        }
    }
}

/// A thread, or a task of an async runtime, that waits for work and drives no device.
#[derive(Debug)]
pub struct Sleeper {
    parker: Parker,
    waker: Waker,
    /// Whether a task may be in the waker's slot.
    has_task: Cell<bool>,
}

impl Sleeper {
    /// For the thread that will call [`wait_for`](Self::wait_for).
    #[allow(
        clippy::new_without_default,
        reason = "a sleeper without its thread makes no sense"
    )]
    pub fn new() -> Self {
        let parker = Parker::new();
        let waker = Waker::with_thread(parker.unparker().clone());
        Self {
            parker,
            waker,
            has_task: Cell::new(false),
        }
    }

    /// What other threads wake it with.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sleeps until `look` finds something, and returns that. Whoever may change what `look` finds
    /// calls [`Waker::wake`] afterwards.
    pub fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = look() {
                return found;
            }
            self.waker.flag().prepare();
            // Once more, now that wakers know: what came before they did is seen here.
            let found = look();
            if found.is_none() {
                self.parker.park();
            }
            self.waker.flag().cancel();
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// As [`wait_for`](Self::wait_for), for a task: pending until `look` finds something. Whoever
    /// may change that calls [`Waker::wake`] afterwards, which wakes the task that polled last.
    pub fn poll_for<T>(&self, task: &Context<'_>, mut look: impl FnMut() -> Option<T>) -> Poll<T> {
        if let Some(found) = look() {
            return Poll::Ready(found);
        }
        // Before the flag: who takes that finds the task.
        self.has_task.set(true);
        self.waker.set_task(Some(task.waker().clone()));
        self.waker.flag().prepare();
        // Once more, now that wakers know: what came before they did is seen here.
        let Some(found) = look() else {
            return Poll::Pending;
        };
        self.waker.flag().cancel();
        Poll::Ready(found)
    }

    /// As [`wait_for`](Self::wait_for), but no longer than `timeout`.
    pub fn wait_at_most<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let found = look();
        if found.is_some() || timeout.is_zero() {
            return found;
        }
        self.waker.flag().prepare();
        // Once more, now that wakers know: what came before they did is seen here.
        let found = look();
        if found.is_none() {
            self.parker.park_timeout(timeout);
        }
        self.waker.flag().cancel();
        found.or_else(look)
    }

    /// The next item that `pop` finds in a queue, or `None` when the queue `is_over` and empty.
    /// Whoever ends it stores that with Release, behind the last item, and calls [`Waker::wake`].
    pub fn next<T>(&self, is_over: &AtomicBool, mut pop: impl FnMut() -> Option<T>) -> Option<T> {
        self.wait_for(|| next_or_end(is_over, &mut pop))
    }

    /// As [`next`](Self::next), for a task.
    pub fn poll_next<T>(
        &self,
        task: &Context<'_>,
        is_over: &AtomicBool,
        mut pop: impl FnMut() -> Option<T>,
    ) -> Poll<Option<T>> {
        self.poll_for(task, || next_or_end(is_over, &mut pop))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // A task may own the sleeper that it waits with: a waker that kept the task would keep both.
        if self.has_task.get() {
            self.waker.set_task(None);
        }
    }
}

/// An item, or `Some(None)` at the end of its queue; `None` while there is neither.
#[expect(
    clippy::option_option,
    reason = "the outer one is that of all who look for something"
)]
fn next_or_end<T>(is_over: &AtomicBool, pop: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    // In this order: what was queued before the end is found after it. Acquire: pairs with the
    // Release store.
    let is_over = is_over.load(Ordering::Acquire);
    let item = pop();
    (item.is_some() || is_over).then_some(item)
}

#[cfg(all(test, not(camring_loom)))]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn only_a_sleeper_is_woken_and_only_once() {
        let flag = SleepFlag::new();
        assert!(!flag.take());
        flag.prepare();
        assert!(flag.take());
        assert!(!flag.take());
        flag.prepare();
        flag.cancel();
        assert!(!flag.take());
    }

    #[test]
    fn a_waker_makes_no_system_call_while_nobody_sleeps() {
        let waker = Waker::with_event().unwrap();
        waker.wake();
        waker.flag().prepare();
        waker.wake();
        waker.wake();
        let mut count = [0; 8];
        rustix::io::read(waker.event().unwrap(), &mut count).unwrap();
        assert_eq!(count, ONE);
    }
}
