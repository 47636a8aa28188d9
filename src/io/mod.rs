//! Reading and writing aligned bytes: the only part of the crate that touches devices.
//!
//! A [`Device`] takes [`Request`]s and returns [`Completion`]s, in any order. Buffers go in by
//! value and come back with the completion, so the kernel owns them while it uses them. What the
//! bytes mean is `block`'s business.
//!
//! Two devices exist: [`ring::RingDevice`] on `io_uring`, and [`sim::SimDevice`], a simulated disk
//! that loses, tears and reorders what was not flushed.

pub mod align;
#[cfg(feature = "blkid")]
pub mod blkid;
pub mod buffer;
pub mod direct;
pub mod disks;
pub mod gpt;
pub mod partition;
pub mod queue;
pub mod ring;
pub mod sim;
mod transfer;
pub mod wake;

use std::fmt;

use self::buffer::Buffer;
use self::wake::Waker;
use crate::base::error::Result;

/// What to do.
#[derive(Debug)]
pub enum Op {
    /// Fill the first `len` bytes of the buffer from the device.
    Read,
    /// Write the first `len` bytes of the buffer to the device.
    Write,
    /// Put on stable storage whatever was completed before this request was submitted.
    Flush,
}

/// One piece of work for a [`Device`].
pub struct Request {
    /// The caller's mark; comes back with the completion.
    pub token: u64,
    /// What to do.
    pub op: Op,
    /// Where on the device, in bytes; a multiple of the alignment unit. Ignored for a flush.
    pub offset: u64,
    /// How many bytes; a multiple of the alignment unit, at most the buffer's length.
    pub len: usize,
    /// The memory; none for a flush.
    pub buffer: Option<Buffer>,
}

/// A finished [`Request`].
pub struct Completion {
    /// The mark of the request.
    pub token: u64,
    /// Whether it succeeded in full. A short transfer never shows here: the device goes on until
    /// all is done, or reports the error that stopped it. A read past the end is `UnexpectedEof`.
    pub result: std::io::Result<()>,
    /// The memory of the request.
    pub buffer: Option<Buffer>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {} @{}+{}",
            self.op, self.token, self.offset, self.len
        )
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.token, self.result)
    }
}

/// A block device or file, driven by one thread.
pub trait Device: Send {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether the device has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What offsets and lengths of requests must be multiples of, in bytes: at least 4096.
    fn unit_len(&self) -> u32;

    /// Starts `request`. Never blocks and never fails: what goes wrong shows in its completion.
    /// Requests beyond what the device takes at once wait inside, in order.
    fn submit(&mut self, request: Request);

    /// Returns a finished request, if there is one.
    fn reap(&mut self) -> Option<Completion>;

    /// Blocks until a request has finished, a wake-up has come, or `timeout_us` have passed;
    /// returns at once if one of these holds already. `None` waits without limit. It may also
    /// return without a reason: callers look again.
    ///
    /// A wake-up comes only to a thread that called [`prepare_wait`](Self::prepare_wait), and
    /// looked at its queues after that; the wait takes that call back.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) when the kernel refuses to wait: the device is unusable then.
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<()>;

    /// How many requests were submitted and not yet reaped.
    fn in_flight(&self) -> usize;

    /// What other threads wake this device's thread with.
    fn waker(&self) -> Waker;

    /// Says that the thread is about to wait. Between this and [`wait`](Self::wait) it looks at
    /// the queues that other threads fill: work that it finds empty there comes with a wake-up.
    fn prepare_wait(&self);

    /// Takes [`prepare_wait`](Self::prepare_wait) back: there is work after all.
    fn cancel_wait(&self);
}
