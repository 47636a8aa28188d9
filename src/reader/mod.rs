//! Reading: from queries to frames.
//!
//! A [`Reader`] has a thread, a device and buffers of its own, and never makes the writer wait:
//! what the ring overwrites while it is being read becomes a gap. Frames leave as slices of the
//! buffer that the device filled; nothing is copied. Pacing belongs to `player`.

mod blocks;
mod deliver;
mod follow;
mod job;
mod outlet;
mod plan;
mod query;
mod start;
#[cfg(feature = "tokio")]
mod stream;

use std::fmt;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

pub use self::outlet::{AfterRead, Step};
pub use self::query::{Query, Select, Until};
#[cfg(feature = "tokio")]
pub use self::stream::FrameStream;
pub use crate::io::wake::{Sleeper, Waker};

use self::outlet::{Inlet, Outlet, Stopper, ring};
use crate::base::error::{Error, ErrorKind, Result};
use crate::frame::Recorded;
use crate::io::Device;
use crate::io::buffer::{BufferPool, HUGE_LEN};
use crate::io::direct::Access;
use crate::volume::Volume;

/// Buffers of a reader: what is read ahead, and what its consumer has not let go yet.
const BUFFER_COUNT: usize = 8;

/// Reads a volume, one query at a time.
#[doc(alias = "ValkkaFSReaderThread")]
pub struct Reader {
    jobs: Option<mpsc::Sender<(Query, Outlet)>>,
    thread: Option<JoinHandle<()>>,
    waker: Waker,
    after_read: Option<AfterRead>,
    /// The reads that somebody may wait for; they end with the reader.
    reads: Vec<Stopper>,
}

/// The items of one read, in the order of the blocks. Dropping it ends the read.
///
/// An iterator for threads, which waits for the next item. For tasks of an async runtime,
/// [`next_async`](Self::next_async) is the same as a future; see [`Completion`] for how it is used.
/// Both may be mixed.
///
/// [`Completion`]: crate::writer::Completion
#[derive(Debug)]
pub struct Frames<'r> {
    inlet: Inlet,
    /// One read at a time.
    _reader: std::marker::PhantomData<&'r mut Reader>,
}

/// The steps of one read, for a thread that has more to do than to wait for them. Dropping it ends
/// the read.
#[derive(Debug)]
pub struct Feed {
    inlet: Inlet,
}

impl Reader {
    /// A reader of `volume`.
    ///
    /// # Errors
    ///
    /// As [`Volume::open`], and [`Io`](ErrorKind::Io) when no thread can be started.
    pub fn open(volume: &Volume) -> Result<Self> {
        let volume = volume.clone();
        let (jobs, receiver) = mpsc::channel::<(Query, Outlet)>();
        let (reply, opened) = mpsc::sync_channel(1);
        let work = move || {
            // The device belongs to the thread that uses it first, so that thread opens it.
            let made = BufferPool::new(BUFFER_COUNT, HUGE_LEN).and_then(|pool| {
                let device = volume.medium().open(Access::Read, &pool)?;
                Ok((device, pool))
            });
            match made {
                Ok((device, pool)) => {
                    let number = volume.wake_on_change(device.waker());
                    let _ = reply.send(Ok(device.waker()));
                    serve(&volume, device, &pool, &receiver);
                    volume.forget_waker(number);
                }
                Err(e) => drop(reply.send(Err(e))),
            }
        };
        let thread = std::thread::Builder::new()
            .name("camring-reader".to_owned())
            .spawn(work)
            .map_err(|e| Error::io("start a thread", e))?;
        let lost = || Error::new(ErrorKind::Failed, "the reader's thread has ended");
        let waker = opened.recv().map_err(|_| lost()).flatten()?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            waker,
            after_read: None,
            reads: Vec::new(),
        })
    }

    /// Calls `hook` after each read of block bytes, with the block's sequence, before the reader
    /// checks whether the writer was there meanwhile. For tests; applies to the next read.
    #[doc(hidden)]
    pub fn set_after_read(&mut self, hook: AfterRead) {
        self.after_read = Some(hook);
    }

    /// Starts a read.
    ///
    /// # Errors
    ///
    /// [`Failed`](ErrorKind::Failed) when the reader's thread has ended.
    pub fn read(&mut self, query: Query) -> Result<Frames<'_>> {
        Ok(Frames {
            inlet: self.start(query, None)?,
            _reader: std::marker::PhantomData,
        })
    }

    /// Starts a read whose steps are polled; `waker` is woken when there are more, and at the end.
    /// It begins once all reads before it have ended.
    ///
    /// # Errors
    ///
    /// [`Failed`](ErrorKind::Failed) when the reader's thread has ended.
    pub fn feed(&mut self, query: Query, waker: Waker) -> Result<Feed> {
        let inlet = self.start(query, Some(waker))?;
        Ok(Feed { inlet })
    }

    fn start(&mut self, query: Query, consumer: Option<Waker>) -> Result<Inlet> {
        let (outlet, inlet) = ring(self.waker.clone(), consumer, self.after_read.take());
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send((query, outlet)).is_ok());
        if !sent {
            return Err(Error::new(
                ErrorKind::Failed,
                "the reader's thread has ended",
            ));
        }
        self.reads.retain(|read| !read.is_over());
        self.reads.push(inlet.stopper());
        Ok(inlet)
    }
}

/// Reads everything that `query` asks for into memory, on this thread: for small reads, tools and
/// simulated devices. A read that follows the recording ends where it would have to wait.
///
/// # Errors
///
/// As [`Reader::open`].
pub fn read_all(volume: &Volume, query: &Query) -> Result<Vec<Recorded>> {
    let pool = BufferPool::new(1, HUGE_LEN)?;
    let mut device = volume.medium().open(Access::Read, &pool)?;
    let mut items = Vec::new();
    job::run(volume, device.as_mut(), &pool, query, &mut items)?;
    Ok(items)
}

fn serve(
    volume: &Volume,
    mut device: Box<dyn Device>,
    pool: &BufferPool,
    jobs: &mpsc::Receiver<(Query, Outlet)>,
) {
    while let Ok((query, mut outlet)) = jobs.recv() {
        if let Err(e) = job::run(volume, device.as_mut(), pool, &query, &mut outlet) {
            outlet.fail(e);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for read in &self.reads {
            read.stop();
        }
        if let Some(thread) = self.thread.take() {
            // A panic there was told by its own message.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl<'r> Frames<'r> {
    /// The next item if it is there already; `None` says nothing about what comes later.
    pub fn try_next(&mut self) -> Option<Recorded> {
        std::iter::from_fn(|| self.inlet.try_next()).find_map(Step::into_item)
    }

    /// As [`next`](Iterator::next), for a task of an async runtime: the next item, or `None` at the
    /// end of the read; pending while there is neither, and `task` is woken for one of them. Only
    /// the task that polled last is woken.
    pub fn poll_next(&mut self, task: &mut Context<'_>) -> Poll<Option<Recorded>> {
        self.inlet.poll_item(task)
    }

    /// The next item, or `None` at the end of the read, as a future. Dropping the future loses
    /// nothing: the item comes next time. Dropping the `Frames` ends the read.
    pub fn next_async(&mut self) -> impl Future<Output = Option<Recorded>> + Send + use<'_, 'r> {
        std::future::poll_fn(|task| self.poll_next(task))
    }

    /// Ends the read.
    ///
    /// # Errors
    ///
    /// Why it ended before its end, if [`next`](Iterator::next) returned `None` for that: the
    /// kernel refused to wait for the device. Blocks that could not be read were gaps, not errors.
    pub fn finish(self) -> Result<()> {
        self.inlet.take_failure().map_or(Ok(()), Err)
    }

    /// Blocks that were asked for by number and are not in the ring.
    pub fn missing_count(&self) -> u64 {
        self.inlet.missing_count()
    }
}

impl Iterator for Frames<'_> {
    type Item = Recorded;

    /// The next item; waits for it.
    fn next(&mut self) -> Option<Recorded> {
        std::iter::from_fn(|| self.inlet.next()).find_map(Step::into_item)
    }
}

impl Feed {
    /// The next step, or `None` at the end of the read; pending while there is none yet.
    pub fn poll(&mut self) -> Poll<Option<Step>> {
        // In this order: what was handed over before the end is found after it.
        let is_over = self.inlet.is_finished();
        match self.inlet.try_next() {
            None if !is_over => Poll::Pending,
            step => Poll::Ready(step),
        }
    }

    /// Whether [`poll`](Self::poll) would have something now.
    pub fn is_ready(&self) -> bool {
        self.inlet.is_ready()
    }

    /// Ends the read.
    ///
    /// # Errors
    ///
    /// As [`Frames::finish`].
    pub fn finish(self) -> Result<()> {
        self.inlet.take_failure().map_or(Ok(()), Err)
    }
}
