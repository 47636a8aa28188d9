//! Waking the thread that drives a device, at the price of a system call only when it sleeps.
//!
//! A thread that has nothing to do says so in its [`SleepFlag`], looks at its queues once more,
//! and only then waits. A thread that has put work into a queue looks at the flag, and rings the
//! bell only when it is set. A full fence on both sides makes sure that one of them sees the
//! other: the sleeper the work, or the waker the flag. `tests/loom.rs` models this.
//!
//! The bell of a real device is an eventfd that the ring always has a read pending on; the one of
//! the simulated device unparks a thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crossbeam_utils::sync::Unparker;
use rustix::event::EventfdFlags;

use crate::base::error::{Error, Result};
use crate::base::sync::{Arc, AtomicBool, Ordering, fence};

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
        self.0.store(true, Ordering::Relaxed);
        // Pairs with the fence in `take`: the store above comes before the look at the queues.
        fence(Ordering::SeqCst);
    }

    /// Says that the thread is awake again.
    pub fn cancel(&self) {
        // Relaxed: a waker that still sees the old value rings once too often, which is harmless.
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the thread must be woken; `true` to one caller only. The caller has put its work
    /// into a queue before.
    pub fn take(&self) -> bool {
        // Pairs with the fence in `prepare`: the work is visible before the look at the flag.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// Wakes the thread that drives a device. Clones wake the same one.
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
    Thread(Unparker),
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
        Self::with_bell(Bell::Thread(unparker))
    }

    fn with_bell(bell: Bell) -> Self {
        Self(Arc::new(Shared {
            flag: SleepFlag::new(),
            bell,
        }))
    }

    /// Ends the device's [`wait`](super::Device::wait), or the next one, if the device's thread
    /// has said that it sleeps. Costs a fence otherwise. Call it after the work was queued.
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
            Bell::Event(event) => rustix::io::write(event, &1u64.to_ne_bytes()).is_ok(),
            Bell::Thread(unparker) => {
                unparker.unpark();
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
            Bell::Thread(_) => None,
        }
    }
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
        assert_eq!(u64::from_ne_bytes(count), 1);
    }
}
