//! A buffer is never handed out twice, and what its last owner wrote is visible to the next.

use std::sync::Arc;

use camring::io::buffer::FreeFlags;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

trait Flags: Send + Sync + 'static {
    fn take(&self) -> Option<usize>;
    fn give(&self, index: usize);
}

impl Flags for FreeFlags {
    fn take(&self) -> Option<usize> {
        self.take()
    }

    fn give(&self, index: usize) {
        self.give(index);
    }
}

/// `FreeFlags` of one buffer, with something changed.
struct Twin {
    is_free: AtomicBool,
    take: Ordering,
    give: Ordering,
    exchanges: bool,
}

impl Twin {
    fn new(take: Ordering, give: Ordering) -> Self {
        Self {
            is_free: AtomicBool::new(true),
            take,
            give,
            exchanges: true,
        }
    }
}

impl Flags for Twin {
    fn take(&self) -> Option<usize> {
        if !self.is_free.load(Ordering::Relaxed) {
            return None;
        }
        if !self.exchanges {
            self.is_free.store(false, Ordering::Relaxed);
            return Some(0);
        }
        let taken = self
            .is_free
            .compare_exchange(true, false, self.take, Ordering::Relaxed);
        taken.is_ok().then_some(0)
    }

    fn give(&self, _index: usize) {
        self.is_free.store(true, self.give);
    }
}

/// Two threads take, use and return the buffers, twice each. Loom's cells stand for the bytes: two
/// accesses that are not ordered are a failure.
fn check<F: Flags>(buffer_count: usize, make: impl Fn() -> F + Send + Sync + 'static) {
    loom::model(move || {
        let flags = Arc::new(make());
        let cells: Vec<_> = (0..buffer_count).map(|_| UnsafeCell::new(())).collect();
        let cells = Arc::new(cells);
        let user = {
            let (flags, cells) = (flags.clone(), cells.clone());
            move || {
                for _ in 0..2 {
                    if let Some(index) = flags.take() {
                        cells.get(index).unwrap().with_mut(|_| ());
                        flags.give(index);
                    }
                }
            }
        };
        let other = thread::spawn(user.clone());
        user();
        other.join().unwrap();
    });
}

#[test]
fn one_buffer_has_one_owner_at_a_time() {
    check(1, || FreeFlags::new(1));
}

#[test]
fn two_buffers_have_one_owner_each() {
    check(2, || FreeFlags::new(2));
}

#[test]
fn the_twin_without_a_change_passes() {
    check(1, || Twin::new(Ordering::Acquire, Ordering::Release));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn taking_without_acquire_is_caught() {
    check(1, || Twin::new(Ordering::Relaxed, Ordering::Release));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn giving_without_release_is_caught() {
    check(1, || Twin::new(Ordering::Acquire, Ordering::Relaxed));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn taking_without_an_exchange_is_caught() {
    check(1, || Twin {
        exchanges: false,
        ..Twin::new(Ordering::Acquire, Ordering::Release)
    });
}
