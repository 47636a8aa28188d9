//! The device on `io_uring`.
//!
//! One thread drives a [`RingDevice`]: the first call of [`submit`](Device::submit),
//! [`reap`](Device::reap) or [`wait`](Device::wait) binds it to its thread. Until then it may be
//! moved to another one. Dropping it waits for what the kernel has under way.
//!
//! # Who owns the memory
//!
//! The kernel reads and writes memory of requests while nobody else may free or touch it. That
//! rests on three facts. (1) A request's buffer moves into `Transfers` before its first piece
//! reaches the kernel, and leaves it only when the last piece has completed; meanwhile no
//! reference to its bytes is made, only its address is used. (2) `kernel_count` counts the
//! entries that the kernel may still act upon, from the push into the submission queue until the
//! completion is seen. (3) `drop` returns only once that count is zero; where the kernel refuses to
//! wait (another thread than the driving one drops the device), all this memory is leaked instead.
//! A device that is forgotten (`mem::forget`) forgets its memory with itself.
#![allow(
    unsafe_code,
    reason = "the kernel works on memory that is named by pointer"
)]

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use io_uring::types::{Fixed, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::io::Errno;

use super::buffer::{Buffer, BufferPool};
use super::direct::DataFile;
use super::transfer::{Limits, Piece, Transfers};
use super::wake::Waker;
use super::{Completion, Device, Op, Request};
use crate::base::error::{Error, ErrorKind, Result};

/// Entries of the submission queue: pieces that one system call can hand over.
const ENTRY_COUNT: u32 = 64;
/// Entries of the completion queue: the most pieces with the kernel.
const KERNEL_COUNT_MAX: u32 = 4 * ENTRY_COUNT;
/// The data file among the registered files.
const DATA: Fixed = Fixed(0);
/// The waker's eventfd among them.
const EVENT: Fixed = Fixed(1);
/// The mark of the read of the waker's eventfd; pieces have small marks.
const WAKE_MARK: u64 = u64::MAX;
/// What a read of an eventfd returns, in bytes.
const EVENT_LEN: u32 = 8;
/// The most buffers that the kernel registers.
const REGISTERED_COUNT_MAX: usize = 1 << 14;

/// How a [`RingDevice`] works.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// The most bytes with the kernel at a time; a single longer request goes alone. More than
    /// this raises latency and not throughput. Default: 4 MiB.
    pub cap_len: usize,
    /// Whether to register the pool's buffers with the kernel, where it allows. Default: yes.
    pub register_buffers: bool,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            cap_len: 4 << 20,
            register_buffers: true,
        }
    }
}

/// What a [`RingDevice`] has got from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a list of what is there and what is not"
)]
pub struct RingFeatures {
    /// Completions are handled only when the device asks for them (Linux 6.1).
    pub defer_taskrun: bool,
    /// The kernel knows that one thread drives the ring (Linux 6.1).
    pub single_issuer: bool,
    /// The kernel knows the file beforehand.
    pub registered_file: bool,
    /// The kernel knows the pool's buffers beforehand; limited by `RLIMIT_MEMLOCK`.
    pub registered_buffers: bool,
    /// The kernel agreed to back the pool with huge pages.
    pub huge_pages: bool,
    /// The most bytes with the kernel at a time.
    pub cap_len: usize,
    /// The longest single transfer in bytes.
    pub piece_len: usize,
}

/// A file or block device behind an `io_uring` of its own.
pub struct RingDevice {
    ring: IoUring,
    /// Released by hand, when the kernel is done with it.
    lent: ManuallyDrop<Lent>,
    features: RingFeatures,
    waker: Waker,
    /// Entries that the kernel may act upon: see "Who owns the memory".
    kernel_count: usize,
    is_enabled: bool,
    is_wake_armed: bool,
    is_woken: bool,
}

/// What the kernel works with.
struct Lent {
    transfers: Transfers,
    /// Its buffers are registered.
    pool: BufferPool,
    /// Where the kernel puts the eventfd's count.
    wake_buffer: Buffer,
    /// The lock on it must last as long as the transfers.
    file: DataFile,
}

impl RingDevice {
    /// Makes a ring for `file`. Buffers of `pool` are the fast ones; others work as well.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) when the kernel has no `io_uring` or forbids it to
    /// this process, [`Io`](ErrorKind::Io) when it lacks memory or descriptors.
    pub fn new(file: DataFile, pool: &BufferPool, options: RingOptions) -> Result<Self> {
        let (ring, setup) = build_ring()?;
        let is_deferred = setup == Setup::Deferred;
        let waker = Waker::with_event()?;
        let wake_buffer = Buffer::allocate(EVENT_LEN as usize)?;
        let event = waker.event().map_or(-1, |event| event.as_raw_fd());
        ring.submitter()
            .register_files(&[file.as_fd().as_raw_fd(), event])
            .map_err(|e| Error::io("register the file with io_uring", e))?;
        let registered_buffers = options.register_buffers && register_buffers(&ring, pool);
        let piece_len = file.piece_len(pool.is_huge());
        let features = RingFeatures {
            defer_taskrun: is_deferred,
            single_issuer: is_deferred,
            registered_file: true,
            registered_buffers,
            huge_pages: pool.is_huge(),
            cap_len: options.cap_len,
            piece_len,
        };
        let transfers = Transfers::new(Limits {
            alignment: file.alignment(),
            device_len: file.len(),
            piece_len,
            cap_len: options.cap_len,
        });
        Ok(Self {
            ring,
            lent: ManuallyDrop::new(Lent {
                transfers,
                pool: pool.clone(),
                wake_buffer,
                file,
            }),
            features,
            waker,
            kernel_count: 0,
            is_enabled: !is_deferred,
            is_wake_armed: false,
            is_woken: false,
        })
    }

    /// What the kernel gave.
    pub fn features(&self) -> RingFeatures {
        self.features
    }

    /// The file or block device below.
    pub fn file(&self) -> &DataFile {
        &self.lent.file
    }

    /// Bytes that are with the kernel or due to go there; never above the cap, but for a single
    /// request that is longer.
    pub fn active_len(&self) -> usize {
        self.lent.transfers.active_len()
    }

    /// Hands over what is due, and takes what has completed, without waiting.
    fn pump(&mut self) -> io::Result<()> {
        loop {
            self.push_due();
            if !self.ring.submission().is_empty() {
                self.enter(0, None)?;
            }
            // Completions make room, and pieces that were cut short become due again.
            if self.collect() == 0 {
                return Ok(());
            }
        }
    }

    /// Moves due pieces into the submission queue as long as there is room.
    fn push_due(&mut self) {
        while self.kernel_count < KERNEL_COUNT_MAX as usize {
            let Some((id, piece)) = self.lent.transfers.next_due() else {
                return;
            };
            let entry = self.entry(&piece).user_data(id as u64);
            // SAFETY: the entry names memory of a request in `transfers`, which lives and is not
            // touched until the completion is collected (see "Who owns the memory"), or a flush.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_err() {
                return;
            }
            self.lent.transfers.sent();
            self.kernel_count += 1;
        }
    }

    fn entry(&self, piece: &Piece<'_>) -> squeue::Entry {
        let Some(buffer) = piece.buffer else {
            return opcode::Fsync::new(DATA).flags(FsyncFlags::DATASYNC).build();
        };
        // SAFETY: a piece lies within its request, and a request within its buffer; `Transfers`
        // checks the latter and cuts the former. So the pointer stays within the allocation.
        let start = unsafe { buffer.start().add(piece.at) }.as_ptr();
        // Pieces are far below 4 GiB (`Limits::piece_len`); a longer one would come back short.
        let len = u32::try_from(piece.len).unwrap_or(u32::MAX);
        let offset = piece.offset;
        match (self.registered_index(buffer), piece.op) {
            (Some(index), Op::Read) => opcode::ReadFixed::new(DATA, start, len, index)
                .offset(offset)
                .build(),
            (Some(index), _) => opcode::WriteFixed::new(DATA, start, len, index)
                .offset(offset)
                .build(),
            (None, Op::Read) => opcode::Read::new(DATA, start, len).offset(offset).build(),
            (None, _) => opcode::Write::new(DATA, start, len).offset(offset).build(),
        }
    }

    /// The number by which the kernel knows `buffer`, if it does.
    fn registered_index(&self, buffer: &Buffer) -> Option<u16> {
        let is_known = self.features.registered_buffers && self.lent.pool.owns(buffer);
        let index = buffer.pool_index().filter(|_| is_known)?;
        u16::try_from(index).ok()
    }

    /// Keeps one read of the eventfd with the kernel: a rung bell is then a completion.
    fn arm_wake(&mut self) {
        if self.is_wake_armed {
            return;
        }
        let start = self.lent.wake_buffer.start().as_ptr();
        let entry = opcode::Read::new(EVENT, start, EVENT_LEN)
            .build()
            .user_data(WAKE_MARK);
        // SAFETY: the entry names the first 8 bytes of `wake_buffer`, which is a page long, is
        // touched by nobody else, and lives until the completion is collected (see `drop`).
        let pushed = unsafe { self.ring.submission().push(&entry) };
        if pushed.is_ok() {
            self.is_wake_armed = true;
            self.kernel_count += 1;
        }
    }

    /// Takes completions out of their queue; returns how many.
    fn collect(&mut self) -> usize {
        let mut count = 0;
        while let Some(entry) = self.next_completion() {
            count += 1;
            self.kernel_count -= 1;
            let result = usize::try_from(entry.result())
                .map_err(|_| Errno::from_raw_os_error(entry.result().saturating_neg()));
            match entry.user_data() {
                WAKE_MARK => {
                    self.is_wake_armed = false;
                    self.is_woken = true;
                }
                id => self
                    .lent
                    .transfers
                    .finish(usize::try_from(id).unwrap_or(usize::MAX), result),
            }
        }
        count
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Enters the kernel: hands over the submission queue, and waits for `want` completions.
    /// That the time is up, that a signal came, and that the kernel is short of something for the
    /// moment are no errors.
    fn enter(&mut self, want: usize, timeout: Option<Duration>) -> io::Result<()> {
        if !self.is_enabled {
            // From here on the ring belongs to the calling thread.
            self.ring.submitter().register_enable_rings()?;
            self.is_enabled = true;
        }
        let submitter = self.ring.submitter();
        let entered = match timeout {
            None => submitter.submit_and_wait(want),
            Some(timeout) => {
                let timespec = Timespec::from(timeout);
                submitter.submit_with_args(want, &SubmitArgs::new().timespec(&timespec))
            }
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        loop {
            self.arm_wake();
            self.pump()?;
            if self.lent.transfers.has_done() || self.is_woken {
                return Ok(());
            }
            let timeout =
                deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if timeout == Some(Duration::ZERO) {
                // Completions may wait for the kernel to be asked.
                self.enter(0, None)?;
                return self.pump();
            }
            self.enter(1, timeout)?;
            self.collect();
        }
    }

    /// Waits until the kernel acts upon nothing any more; returns whether that is certain.
    fn settle(&mut self) -> bool {
        // The read of the eventfd ends only when the bell rings.
        if self.is_wake_armed && !self.waker.ring() {
            return false;
        }
        while self.kernel_count > 0 {
            if self.enter(1, None).is_err() {
                return false;
            }
            self.collect();
        }
        true
    }
}

impl Device for RingDevice {
    fn unit_len(&self) -> u32 {
        self.file().alignment().unit_len()
    }

    fn len(&self) -> u64 {
        self.lent.file.len()
    }

    fn submit(&mut self, request: Request) {
        self.lent.transfers.submit(request);
        // What could not be handed over stays due; `wait` tells why.
        let _ = self.pump();
    }

    fn reap(&mut self) -> Option<Completion> {
        if !self.lent.transfers.has_done() && self.kernel_count > 0 {
            if self.ring.submission().taskrun() {
                // Completions wait for the kernel to be asked.
                let _ = self.enter(0, None);
            }
            let _ = self.pump();
        }
        self.lent.transfers.pop_done()
    }

    fn wait(&mut self, timeout_us: Option<u64>) -> Result<()> {
        let deadline = timeout_us
            .and_then(|timeout_us| Instant::now().checked_add(Duration::from_micros(timeout_us)));
        let waited = self.wait_until(deadline);
        self.waker.flag().cancel();
        self.is_woken = false;
        waited.map_err(|error| {
            let is_other_thread = Errno::from_io_error(&error) == Some(Errno::EXIST);
            let error = Error::io("wait for the device", error).at(self.lent.file.path().display());
            if is_other_thread {
                return error.with_remedy("Drive the device from the thread that used it first");
            }
            error
        })
    }

    fn in_flight(&self) -> usize {
        self.lent.transfers.in_flight()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn prepare_wait(&self) {
        self.waker.flag().prepare();
    }

    fn cancel_wait(&self) {
        self.waker.flag().cancel();
    }
}

impl Drop for RingDevice {
    fn drop(&mut self) {
        if !self.settle() {
            tracing::error!(
                path = %self.lent.file.path().display(),
                count = self.kernel_count,
                "a device was dropped by another thread than its own: its buffers are leaked"
            );
            // The kernel may still use what was lent, so that stays forever.
            return;
        }
        // At once, or the kernel keeps the file open, and locked, for some 20 ms after the end.
        let _ = self.ring.submitter().unregister_files();
        let _ = self.ring.submitter().unregister_buffers();
        // SAFETY: dropped here and never used again; `settle` proved that the kernel is done.
        unsafe { ManuallyDrop::drop(&mut self.lent) };
    }
}

impl fmt::Debug for RingDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingDevice")
            .field("file", &self.lent.file)
            .field("features", &self.features)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// How completions reach the thread that drives the ring, best first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setup {
    /// Only when it asks, and it is the only one: Linux 6.1. The ring starts disabled, so that the
    /// thread that enables it becomes its owner.
    Deferred,
    /// At any system call: Linux 5.19.
    Cooperative,
    /// By interrupting it.
    Plain,
}

impl Setup {
    fn build(self) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_cqsize(KERNEL_COUNT_MAX);
        match self {
            Self::Deferred => builder
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag()
                .setup_r_disabled(),
            Self::Cooperative => builder.setup_coop_taskrun().setup_taskrun_flag(),
            Self::Plain => &mut builder,
        };
        builder.build(ENTRY_COUNT)
    }
}

/// Makes a ring with the best setup that the kernel knows.
fn build_ring() -> Result<(IoUring, Setup)> {
    let mut last = io::Error::from(Errno::INVAL);
    for setup in [Setup::Deferred, Setup::Cooperative, Setup::Plain] {
        match setup.build() {
            Ok(ring) if ring.params().is_feature_ext_arg() => return Ok((ring, setup)),
            // Waiting with a timeout needs it (Linux 5.11).
            Ok(_) => last = io::Error::from(Errno::NOSYS),
            Err(error) => last = error,
        }
        if Errno::from_io_error(&last) != Some(Errno::INVAL) {
            break;
        }
    }
    Err(build_error(last))
}

fn build_error(error: io::Error) -> Error {
    let unsupported =
        |text: &str, error: io::Error| Error::new(ErrorKind::Unsupported, text).with_source(error);
    match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            unsupported("io_uring is forbidden to this process", error).with_remedy(
                "Set `sysctl kernel.io_uring_disabled=0`, or let the container's seccomp profile \
                 allow io_uring_setup, io_uring_enter and io_uring_register",
            )
        }
        Some(Errno::NOSYS | Errno::INVAL) => {
            unsupported("the kernel has no io_uring, or one that is too old", error)
                .with_remedy("Use Linux 5.11 or later; 6.1 or later is best")
        }
        Some(Errno::NOMEM) => Error::io("make an io_uring", error)
            .with_remedy("Raise the limit of locked memory (`ulimit -l`, LimitMEMLOCK=)"),
        _ => Error::io("make an io_uring", error),
    }
}

/// Registers all buffers of `pool`; returns whether the kernel took them.
fn register_buffers(ring: &IoUring, pool: &BufferPool) -> bool {
    /// The kernel's `struct iovec`.
    #[repr(C)]
    struct Stretch {
        start: *mut u8,
        len: usize,
    }
    if pool.count() > REGISTERED_COUNT_MAX {
        return false;
    }
    let stretches: Vec<_> = (0..pool.count())
        .map(|index| Stretch {
            start: pool.buffer_start(index).as_ptr(),
            len: pool.buffer_len(),
        })
        .collect();
    // SAFETY: as many elements as the vector has, of the same layout: `struct iovec` is a pointer
    // and a `size_t`, in this order. The vector outlives the slice.
    let iovecs = unsafe { std::slice::from_raw_parts(stretches.as_ptr().cast(), stretches.len()) };
    // SAFETY: the stretches are the pool's arena, which `Lent` keeps until the kernel is done.
    let registered = unsafe { ring.submitter().register_buffers(iovecs) };
    registered
        .inspect_err(|error| tracing::debug!(%error, "buffers are not registered"))
        .is_ok()
}
