//! What a commit ends with: a future for tasks, and a wait for threads.
//!
//! A queue for one answer that ends, with the protocol of every such queue (`io::wake`).

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::closed;
use crate::base::error::Result;
use crate::base::geometry::Position;
use crate::base::sync::{Arc, AtomicBool, Ordering};
use crate::io::wake::{Sleeper, Waker};

/// A commit under way: a [`Future`] of what [`Writer::commit`](super::Writer::commit) returns.
///
/// It needs no runtime of its own and works in each: the recording's thread wakes the task that
/// polled last. The waker runs on that thread, so it must not block; those of the usual runtimes do
/// not. The commit goes on by itself. Dropping the handle ends only the wait.
///
/// A thread can wait for it too, by [`wait`](Self::wait).
///
/// ```no_run
/// use std::pin::pin;
/// use std::sync::Arc;
/// use std::task::{Context, Poll, Wake};
/// use std::thread::Thread;
///
/// use camring::base::time::TimeRange;
/// use camring::frame::StreamId;
/// use camring::reader::{Query, Reader};
/// use camring::writer::{Writer, WriterOptions};
///
/// /// The smallest runtime: one task, on the thread that calls.
/// fn block_on<F: Future>(task: F) -> F::Output {
///     struct Unpark(Thread);
///     impl Wake for Unpark {
///         fn wake(self: Arc<Self>) {
///             self.0.unpark();
///         }
///     }
///     let waker = Arc::new(Unpark(std::thread::current())).into();
///     let mut task = pin!(task);
///     loop {
///         match task.as_mut().poll(&mut Context::from_waker(&waker)) {
///             Poll::Ready(output) => return output,
///             Poll::Pending => std::thread::park(),
///         }
///     }
/// }
///
/// fn main() -> camring::Result<()> {
///     let writer = Writer::open("yard", WriterOptions::default())?;
///     let mut reader = Reader::open(writer.volume())?;
///     block_on(async {
///         writer.commit_async().await?;
///         let mut frames = reader.read(Query::time([StreamId(1)], TimeRange::ALL))?;
///         while let Some(recorded) = frames.next_async().await {
///             println!("{recorded:?}");
///         }
///         frames.finish()
///     })
/// }
/// ```
#[must_use = "a commit goes on by itself, but only this tells whether it succeeded"]
pub struct Completion {
    answer: HeapCons<Result<Position>>,
    is_over: Arc<AtomicBool>,
    sleeper: Sleeper,
}

/// The other end of a [`Completion`]. Dropping it without an answer says that the recording was
/// closed: a writer's thread that ends, however it ends, leaves nobody waiting.
pub(super) struct Promise {
    answer: HeapProd<Result<Position>>,
    is_over: Arc<AtomicBool>,
    waiter: Waker,
}

/// A promise of one answer, and who waits for it.
pub(super) fn completion() -> (Promise, Completion) {
    let (giver, taker) = HeapRb::new(1).split();
    let is_over = Arc::new(AtomicBool::new(false));
    let sleeper = Sleeper::new();
    let promise = Promise {
        answer: giver,
        is_over: is_over.clone(),
        waiter: sleeper.waker(),
    };
    let completion = Completion {
        answer: taker,
        is_over,
        sleeper,
    };
    (promise, completion)
}

impl Completion {
    /// Waits for the end of the commit, on the calling thread.
    ///
    /// # Errors
    ///
    /// As [`Writer::commit`](super::Writer::commit).
    pub fn wait(self) -> Result<Position> {
        let Self {
            mut answer,
            is_over,
            sleeper,
        } = self;
        let answer = sleeper.next(&is_over, || answer.try_pop());
        answer.unwrap_or_else(|| Err(closed()))
    }

    /// As [`wait`](Self::wait), but no longer than `patience`: `None` then.
    pub(super) fn wait_at_most(self, patience: Duration) -> Option<Result<Position>> {
        let Self {
            mut answer,
            is_over,
            sleeper,
        } = self;
        sleeper.wait_at_most(patience, || {
            // Acquire: pairs with the Release store of the promise, which comes after its answer.
            let is_over = is_over.load(Ordering::Acquire);
            let lost = || is_over.then(|| Err(closed()));
            answer.try_pop().or_else(lost)
        })
    }
}

impl Future for Completion {
    type Output = Result<Position>;

    /// A future that has told its result is not to be polled again; it would say that the recording
    /// was closed.
    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            answer,
            is_over,
            sleeper,
        } = &mut *self;
        let polled = sleeper.poll_next(task, is_over, || answer.try_pop());
        polled.map(|answer| answer.unwrap_or_else(|| Err(closed())))
    }
}

impl Promise {
    /// Whether nobody waits for the answer any more.
    pub(super) fn is_abandoned(&self) -> bool {
        !self.answer.read_is_held()
    }

    /// Tells the answer, and ends the wait for it.
    pub(super) fn keep(mut self, answer: Result<Position>) {
        // There is room for one, and this is the only one.
        let _ = self.answer.try_push(answer);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Release: pairs with the Acquire load of whoever waits; the answer lies before it.
        self.is_over.store(true, Ordering::Release);
        self.waiter.wake();
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completion")
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}
