//! A task that awaits the items of a queue and their end: polled again whenever there is something
//! new. The queue and the runtime are made up; what the task waits with is the code that ships.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use camring::base::sync::AtomicBool as Flag;
use camring::io::wake::{SleepFlag, Sleeper, Waker as Bell};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Mutex, Notify};
use loom::thread;

/// What a task waits with, and what its other side wakes.
trait Wait {
    type Other: Send + 'static;
    fn other(&self) -> Self::Other;
    fn wake(other: &Self::Other);
    fn poll_for(
        &self,
        task: &Context<'_>,
        look: &mut dyn FnMut() -> Option<Option<u64>>,
    ) -> Poll<Option<u64>>;
}

impl Wait for Sleeper {
    type Other = Bell;

    fn other(&self) -> Bell {
        self.waker()
    }

    fn wake(other: &Bell) {
        other.wake();
    }

    fn poll_for(
        &self,
        task: &Context<'_>,
        look: &mut dyn FnMut() -> Option<Option<u64>>,
    ) -> Poll<Option<u64>> {
        self.poll_for(task, look)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    /// Says that it waits before it says which task waits.
    TaskBehindFlag,
    /// Looks for the last time before it says that it waits.
    NoSecondLook,
    /// Keeps the task that polled first.
    KeepsFirstTask,
}

/// `Sleeper` with a mistake.
struct Twin {
    shared: Arc<(SleepFlag, Mutex<Option<Waker>>)>,
    mistake: Mistake,
}

impl Twin {
    fn new(mistake: Mistake) -> Self {
        Self {
            shared: Arc::new((SleepFlag::new(), Mutex::new(None))),
            mistake,
        }
    }

    fn set_task(&self, task: &Context<'_>) {
        let mut slot = self.shared.1.lock().unwrap();
        if slot.is_none() || self.mistake != Mistake::KeepsFirstTask {
            *slot = Some(task.waker().clone());
        }
    }
}

impl Wait for Twin {
    type Other = Arc<(SleepFlag, Mutex<Option<Waker>>)>;

    fn other(&self) -> Self::Other {
        self.shared.clone()
    }

    fn wake(other: &Self::Other) {
        let (flag, task) = &**other;
        if flag.take() {
            let task = task.lock().unwrap().take();
            if let Some(task) = task {
                task.wake();
            }
        }
    }

    fn poll_for(
        &self,
        task: &Context<'_>,
        look: &mut dyn FnMut() -> Option<Option<u64>>,
    ) -> Poll<Option<u64>> {
        if let Some(found) = look() {
            return Poll::Ready(found);
        }
        let is_late = self.mistake == Mistake::TaskBehindFlag;
        if !is_late {
            self.set_task(task);
        }
        self.shared.0.prepare();
        let found = match self.mistake {
            Mistake::NoSecondLook => None,
            _ => look(),
        };
        if is_late {
            self.set_task(task);
        }
        let Some(found) = found else {
            return Poll::Pending;
        };
        self.shared.0.cancel();
        Poll::Ready(found)
    }
}

/// A queue with room for two items, 7 and 8, and an end.
struct Queue {
    pushed_count: AtomicU64,
    popped_count: AtomicU64,
    is_over: Flag,
}

impl Queue {
    fn look(&self) -> Option<Option<u64>> {
        let is_over = self.is_over.load(Ordering::Acquire);
        let popped = self.popped_count.load(Ordering::Relaxed);
        let item = (self.pushed_count.load(Ordering::Acquire) > popped).then(|| {
            self.popped_count.store(popped + 1, Ordering::Relaxed);
            7 + popped
        });
        (item.is_some() || is_over).then_some(item)
    }
}

/// A runtime with one task: it parks until that is woken.
struct Runtime(Notify);

impl Wake for Runtime {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn block_on(mut poll: impl FnMut(&Context<'_>) -> Poll<Option<u64>>) -> Option<u64> {
    let runtime = Arc::new(Runtime(Notify::new()));
    let waker = Waker::from(runtime.clone());
    loop {
        if let Poll::Ready(output) = poll(&Context::from_waker(&waker)) {
            return output;
        }
        runtime.0.wait();
    }
}

/// `item_count` items come, and the end. A lost wake-up leaves the task waiting for ever, which loom
/// reports as a deadlock. A task that `moves` has been polled by another runtime before, which has
/// forgotten it.
fn check<W: Wait>(item_count: u64, moves: bool, make: impl Fn() -> W + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    if item_count > 0 {
        // Too many for all interleavings; few preemptions show the mistakes.
        builder.preemption_bound = Some(2);
    }
    builder.check(move || {
        let queue = Arc::new(Queue {
            pushed_count: AtomicU64::new(0),
            popped_count: AtomicU64::new(0),
            is_over: Flag::new(false),
        });
        let wait = make();
        let other = {
            let (queue, other) = (queue.clone(), wait.other());
            thread::spawn(move || {
                for count in 1..=item_count {
                    queue.pushed_count.store(count, Ordering::Release);
                    W::wake(&other);
                }
                queue.is_over.store(true, Ordering::Release);
                W::wake(&other);
            })
        };
        let poll = |task: &Context<'_>| wait.poll_for(task, &mut || queue.look());
        let mut early = None;
        if moves && let Poll::Ready(output) = poll(&Context::from_waker(Waker::noop())) {
            early = Some(output);
        }
        let mut next = || early.take().unwrap_or_else(|| block_on(poll));
        for number in 0..item_count {
            assert_eq!(next(), Some(7 + number), "an item is lost");
        }
        assert_eq!(next(), None);
        other.join().unwrap();
    });
}

#[test]
fn a_task_gets_the_end() {
    check(0, false, Sleeper::new);
    check(0, true, Sleeper::new);
}

#[test]
fn a_task_gets_every_item_and_then_the_end() {
    check(2, false, Sleeper::new);
}

#[test]
fn a_task_that_moves_gets_every_item_and_then_the_end() {
    check(2, true, Sleeper::new);
}

#[test]
fn the_twin_without_a_mistake_passes() {
    check(1, false, || Twin::new(Mistake::None));
    check(1, true, || Twin::new(Mistake::None));
}

#[test]
#[should_panic(expected = "deadlock")]
fn telling_the_task_after_the_flag_is_caught() {
    check(1, false, || Twin::new(Mistake::TaskBehindFlag));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_task_that_does_not_look_again_is_caught() {
    check(1, false, || Twin::new(Mistake::NoSecondLook));
}

#[test]
#[should_panic(expected = "deadlock")]
fn waking_the_task_that_polled_first_is_caught() {
    check(1, true, || Twin::new(Mistake::KeepsFirstTask));
}
