//! No wake-up is lost: a thread that went to sleep on an empty queue is woken by the work that
//! comes.

use std::sync::Arc;

use camring::io::wake::SleepFlag;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;

trait Flag: Send + Sync + 'static {
    fn prepare(&self);
    fn cancel(&self);
    fn take(&self) -> bool;
    /// Whether the sleeper looks at its queue before it calls `prepare`: a mistake.
    fn looks_first(&self) -> bool {
        false
    }
}

impl Flag for SleepFlag {
    fn prepare(&self) {
        self.prepare();
    }

    fn cancel(&self) {
        self.cancel();
    }

    fn take(&self) -> bool {
        self.take()
    }
}

/// `SleepFlag` with something left out.
struct Twin {
    sleeps: AtomicBool,
    has_sleeper_fence: bool,
    has_waker_fence: bool,
    looks_first: bool,
}

impl Twin {
    fn new() -> Self {
        Self {
            sleeps: AtomicBool::new(false),
            has_sleeper_fence: true,
            has_waker_fence: true,
            looks_first: false,
        }
    }
}

impl Flag for Twin {
    fn prepare(&self) {
        self.sleeps.swap(true, Ordering::AcqRel);
        if self.has_sleeper_fence {
            fence(Ordering::SeqCst);
        }
    }

    fn cancel(&self) {
        self.sleeps.swap(false, Ordering::AcqRel);
    }

    fn take(&self) -> bool {
        if self.has_waker_fence {
            fence(Ordering::SeqCst);
        }
        self.sleeps.load(Ordering::Relaxed) && self.sleeps.swap(false, Ordering::AcqRel)
    }

    fn looks_first(&self) -> bool {
        self.looks_first
    }
}

struct World<F> {
    flag: F,
    /// One queue for each waker, with room for one piece of work.
    queues: Vec<AtomicBool>,
    bell: Notify,
}

impl<F: Flag> World<F> {
    fn is_all_there(&self) -> bool {
        self.queues
            .iter()
            .all(|queue| queue.load(Ordering::Acquire))
    }

    fn sleep_until_all_is_there(&self) {
        loop {
            if self.flag.looks_first() && self.is_all_there() {
                return;
            }
            self.flag.prepare();
            if !self.flag.looks_first() && self.is_all_there() {
                return self.flag.cancel();
            }
            self.bell.wait();
            self.flag.cancel();
        }
    }
}

/// A lost wake-up leaves the sleeper asleep for ever, which loom reports as a deadlock.
fn check<F: Flag>(waker_count: usize, make: impl Fn() -> F + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    if waker_count > 1 {
        // Three threads are too many for all interleavings; few preemptions show the mistakes.
        builder.preemption_bound = Some(3);
    }
    builder.check(move || {
        let world = Arc::new(World {
            flag: make(),
            queues: (0..waker_count).map(|_| AtomicBool::new(false)).collect(),
            bell: Notify::new(),
        });
        let wake = |index: usize| {
            let world = world.clone();
            move || {
                world
                    .queues
                    .get(index)
                    .unwrap()
                    .store(true, Ordering::Release);
                if world.flag.take() {
                    world.bell.notify();
                }
            }
        };
        let wakers: Vec<_> = (0..waker_count).map(|i| thread::spawn(wake(i))).collect();
        world.sleep_until_all_is_there();
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

#[test]
fn no_wake_up_is_lost() {
    check(1, SleepFlag::new);
}

#[test]
fn no_wake_up_of_two_wakers_is_lost() {
    check(2, SleepFlag::new);
}

#[test]
fn the_twin_without_a_change_passes() {
    check(1, Twin::new);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_sleeper_without_its_fence_is_caught() {
    check(1, || Twin {
        has_sleeper_fence: false,
        ..Twin::new()
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_waker_without_its_fence_is_caught() {
    check(1, || Twin {
        has_waker_fence: false,
        ..Twin::new()
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_sleeper_that_looks_before_it_says_so_is_caught() {
    check(1, || Twin {
        looks_first: true,
        ..Twin::new()
    });
}
