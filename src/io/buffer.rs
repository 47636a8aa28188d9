//! Memory for direct I/O: aligned buffers, and a bounded pool of them on huge pages.
//!
//! A pool is one arena, allocated, touched and zeroed when it is made; afterwards it neither grows
//! nor shrinks, so its memory is exactly `count` times the buffers' length. Buffers leave it with
//! [`BufferPool::take`] and return when they are dropped, from any thread and without a lock, also
//! when they were turned into [`Bytes`] first. The arena lives as long as any of them.
//!
//! Which bytes go where is the business of `block` and of the readers.
#![allow(
    unsafe_code,
    reason = "memory that the kernel fills is handed around by pointer"
)]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use aligned_vec::{AVec, RuntimeAlign};
use bytes::Bytes;
use rustix::mm::Advice;

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::PAGE_LEN;
use crate::base::sync::{Arc, AtomicBool, Ordering};

/// Length of a huge page, and of a pool's buffers unless said otherwise: 2 MiB.
pub const HUGE_LEN: usize = 2 << 20;

/// Which buffers of a pool are free: one flag each.
///
/// The flag is the only thing that hands a buffer from thread to thread, so its orderings carry
/// the buffer's bytes along. `tests/loom.rs` shows that they suffice, and that weaker ones do not.
#[derive(Debug)]
pub struct FreeFlags(Box<[AtomicBool]>);

impl FreeFlags {
    /// `count` flags, all free.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicBool::new(true)).collect())
    }

    /// Takes a free index, or `None` when there is none.
    pub fn take(&self) -> Option<usize> {
        self.0.iter().position(|free| {
            // The load spares the cache line of a taken flag. The swap decides, and its Acquire
            // pairs with the Release of `give`: what the last owner wrote is visible to the next.
            free.load(Ordering::Relaxed) && free.swap(false, Ordering::Acquire)
        })
    }

    /// Makes `index`, which the caller has taken, free again.
    pub fn give(&self, index: usize) {
        if let Some(free) = self.0.get(index) {
            // Pairs with the swap of `take`.
            free.store(true, Ordering::Release);
        }
    }

    /// How many are free at the moment.
    pub fn free_count(&self) -> usize {
        let is_free = |free: &&AtomicBool| free.load(Ordering::Relaxed);
        self.0.iter().filter(is_free).count()
    }
}

/// Zeroed memory from the global allocator, aligned to a page or to a huge page.
struct Memory {
    bytes: AVec<u8, RuntimeAlign>,
    is_huge: bool,
}

impl Memory {
    /// `len` bytes, rounded up to pages; from 2 MiB on, aligned for huge pages and advised so.
    fn zeroed(len: usize) -> Result<Self> {
        let too_much = || {
            Error::new(
                ErrorKind::Io,
                format!("could not allocate {len} bytes for I/O buffers"),
            )
            .with_remedy("Give the process more memory, or ask for fewer buffers")
        };
        let len = len
            .checked_next_multiple_of(PAGE_LEN as usize)
            .ok_or_else(too_much)?;
        let wants_huge = len >= HUGE_LEN;
        let align = if wants_huge {
            HUGE_LEN
        } else {
            PAGE_LEN as usize
        };
        let mut bytes = AVec::<u8, RuntimeAlign>::new(align);
        bytes.try_reserve_exact(len).map_err(|_| too_much())?;

        // Before the first touch: the kernel chooses the size of a page when it is first written.
        let is_huge = wants_huge && Self::advise_huge(&mut bytes, len);
        // SAFETY: the allocation has room for `len` bytes (reserved above), and nothing else
        // refers to it.
        unsafe { bytes.as_mut_ptr().write_bytes(0, len) };
        // SAFETY: `len` is within the capacity, and all bytes below it were just written.
        unsafe { bytes.set_len(len) };
        Ok(Self { bytes, is_huge })
    }

    fn advise_huge(bytes: &mut AVec<u8, RuntimeAlign>, len: usize) -> bool {
        let start = bytes.as_mut_ptr().cast();
        // Whole huge pages only: what lies behind them may belong to other allocations.
        let huge_len = len - len % HUGE_LEN;
        // SAFETY: the range lies within an allocation that is ours alone, and MADV_HUGEPAGE
        // changes how memory is backed, never what it holds.
        let advised = unsafe { rustix::mm::madvise(start, huge_len, Advice::LinuxHugepage) };
        advised.is_ok()
    }

    fn start(&mut self) -> NonNull<u8> {
        // A vector's pointer is never null; `dangling` cannot be reached.
        NonNull::new(self.bytes.as_mut_ptr()).unwrap_or(NonNull::dangling())
    }
}

/// The memory and the flags of a pool; lives until the pool and all its buffers are gone.
struct Arena {
    /// Never touched through this field after construction: the buffers own the bytes.
    memory: Memory,
    start: NonNull<u8>,
    flags: FreeFlags,
    count: usize,
    buffer_len: usize,
}

// SAFETY: the pointer is the arena's own allocation, which moves with it; the bytes behind it are
// reached only through `Buffer`s, each of which owns its range alone (see `BufferPool::take`).
unsafe impl Send for Arena {}
// SAFETY: through a shared arena only `flags`, which are atomic, and plain numbers are reached.
unsafe impl Sync for Arena {}

/// A fixed number of equal buffers. Clones share them.
#[derive(Clone)]
pub struct BufferPool(Arc<Arena>);

impl BufferPool {
    /// Allocates `count` buffers of `buffer_len` bytes: at least one, a multiple of 4 KiB. Whole
    /// multiples of 2 MiB ([`HUGE_LEN`]) make the best use of huge pages.
    ///
    /// All of it, `count * buffer_len` bytes, is resident from here on.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a length or count that is not allowed,
    /// [`Io`](ErrorKind::Io) when there is not enough memory.
    pub fn new(count: usize, buffer_len: usize) -> Result<Self> {
        let is_page_multiple = buffer_len.is_multiple_of(PAGE_LEN as usize);
        if count == 0 || buffer_len == 0 || !is_page_multiple {
            return Err(Error::invalid(format!(
                "a pool of {count} buffers of {buffer_len} bytes: there must be at least one, \
                 of a multiple of {PAGE_LEN} bytes"
            )));
        }
        let total_len = count.checked_mul(buffer_len).ok_or_else(|| {
            Error::invalid(format!("{count} buffers of {buffer_len} bytes: too many"))
        })?;
        let mut memory = Memory::zeroed(total_len)?;
        let start = memory.start();
        Ok(Self(Arc::new(Arena {
            memory,
            start,
            flags: FreeFlags::new(count),
            count,
            buffer_len,
        })))
    }

    /// Takes a buffer, or `None` while all are in use. Its bytes are what the last user left.
    pub fn take(&self) -> Option<Buffer> {
        let index = self.0.flags.take()?;
        Some(Buffer {
            start: self.buffer_start(index),
            len: self.0.buffer_len,
            home: Home::Pool {
                arena: self.0.clone(),
                index,
            },
        })
    }

    /// Where buffer `index`, below the count, begins.
    pub(super) fn buffer_start(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.0.count, "buffer {index} of {}", self.0.count);
        // SAFETY: the arena is `count * buffer_len` bytes long and `index < count`, so the offset
        // stays within one allocation; that product was checked not to overflow.
        unsafe { self.0.start.add(index * self.0.buffer_len) }
    }

    /// Whether `buffer` is one of this pool's.
    pub(super) fn owns(&self, buffer: &Buffer) -> bool {
        matches!(&buffer.home, Home::Pool { arena, .. } if Arc::ptr_eq(arena, &self.0))
    }

    /// How many buffers there are, free or not.
    pub fn count(&self) -> usize {
        self.0.count
    }

    /// Length of each buffer in bytes.
    pub fn buffer_len(&self) -> usize {
        self.0.buffer_len
    }

    /// How many buffers are free at the moment.
    pub fn free_count(&self) -> usize {
        self.0.flags.free_count()
    }

    /// Whether the kernel agreed to back the arena with huge pages.
    pub fn is_huge(&self) -> bool {
        self.0.memory.is_huge
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, arena) = (self.free_count(), &self.0);
        write!(
            f,
            "{free} of {} buffers of {} bytes free",
            arena.count, arena.buffer_len
        )
    }
}

/// Aligned memory with one owner. All its bytes are initialised.
pub struct Buffer {
    start: NonNull<u8>,
    len: usize,
    home: Home,
}

/// What keeps a buffer's memory alive, and where it goes afterwards.
enum Home {
    /// Back to its pool.
    Pool { arena: Arc<Arena>, index: usize },
    /// Back to the allocator.
    Own { _memory: Memory },
}

// SAFETY: a buffer is the only owner of the `len` bytes from `start`: a pool hands an index out
// once until it is given back (modelled in `tests/loom.rs`), and a buffer of its own has its own
// allocation. So it can move between threads as a `Box<[u8]>` can.
unsafe impl Send for Buffer {}
// SAFETY: a shared buffer gives out `&[u8]` only.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A zeroed buffer outside of any pool: `len` bytes rounded up to 4 KiB. Aligned to 4 KiB;
    /// from 2 MiB on to 2 MiB, on huge pages where the kernel has them.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) when there is not enough memory.
    pub fn allocate(len: usize) -> Result<Self> {
        let mut memory = Memory::zeroed(len.max(1))?;
        Ok(Self {
            start: memory.start(),
            len: memory.bytes.len(),
            home: Home::Own { _memory: memory },
        })
    }

    /// The buffer's number within its pool, if it has one.
    pub fn pool_index(&self) -> Option<usize> {
        match self.home {
            Home::Pool { index, .. } => Some(index),
            Home::Own { .. } => None,
        }
    }

    /// The first `len` bytes, at most all, as shared bytes: no copy. The buffer is dropped, and
    /// with it returned to its pool, when the last slice of them is.
    pub fn into_bytes(self, len: usize) -> Bytes {
        let len = len.min(self.len);
        Bytes::from_owner(Prefix { buffer: self, len })
    }

    /// Where the memory begins, without a claim to the bytes: the kernel may be writing them.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes of one allocation that `home` keeps alive; they are
        // written only through `&mut self`, or by the kernel while the ring owns the buffer.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `&mut self` makes this the only access.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Home::Pool { arena, index } = &self.home {
            arena.flags.give(*index);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pool_index() {
            Some(index) => write!(f, "buffer {index} of {} bytes", self.len),
            None => write!(f, "buffer of {} bytes", self.len),
        }
    }
}

/// The owner behind [`Buffer::into_bytes`].
struct Prefix {
    buffer: Buffer,
    len: usize,
}

impl AsRef<[u8]> for Prefix {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

#[cfg(all(test, not(camring_loom)))]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn a_pool_hands_out_each_buffer_once_and_takes_it_back() {
        let pool = BufferPool::new(3, 8192).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        let mut indices: Vec<_> = taken.iter().map(|b| b.pool_index().unwrap()).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2]);
        assert_eq!(pool.free_count(), 0);

        drop(taken);
        assert_eq!(pool.free_count(), 3);
    }

    #[test]
    fn buffers_of_a_pool_do_not_overlap() {
        let pool = BufferPool::new(4, 4096).unwrap();
        let mut taken: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        for (i, buffer) in (1..).zip(&mut taken) {
            buffer.fill(i);
        }
        for (i, buffer) in (1..).zip(&taken) {
            assert_eq!(buffer.len(), 4096);
            assert!(buffer.iter().all(|&byte| byte == i));
        }
    }

    #[test]
    fn memory_is_aligned_and_zeroed() {
        for len in [1, 4096, 4097, HUGE_LEN, HUGE_LEN + 1] {
            let buffer = Buffer::allocate(len).unwrap();
            let align = if buffer.len() >= HUGE_LEN {
                HUGE_LEN
            } else {
                4096
            };
            assert!((buffer.as_ptr() as usize).is_multiple_of(align));
            assert_eq!(buffer.len(), len.next_multiple_of(4096));
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
        let pool = BufferPool::new(2, HUGE_LEN).unwrap();
        assert!((pool.take().unwrap().as_ptr() as usize).is_multiple_of(HUGE_LEN));
    }

    #[test]
    fn slices_keep_a_buffer_until_the_last_one_is_dropped() {
        let pool = BufferPool::new(1, 4096).unwrap();
        let mut buffer = pool.take().unwrap();
        buffer[..5].copy_from_slice(b"hello");
        let start = buffer.as_ptr();
        let all = buffer.into_bytes(5);
        let slice = all.slice(1..3);
        assert_eq!(all.as_ptr(), start, "the bytes were copied");

        drop(all);
        assert!(pool.take().is_none());
        assert_eq!(slice, "el");
        std::thread::spawn(move || drop(slice)).join().unwrap();
        assert!(pool.take().is_some());
    }

    #[test]
    fn buffers_outlive_their_pool() {
        let pool = BufferPool::new(2, 4096).unwrap();
        let mut buffer = pool.take().unwrap();
        drop(pool);
        buffer.fill(7);
        assert_eq!(buffer.into_bytes(4096).len(), 4096);
    }

    #[test]
    fn a_pool_of_nothing_is_refused() {
        for (count, len) in [(0, 4096), (1, 0), (1, 4095), (usize::MAX, 4096)] {
            let error = BufferPool::new(count, len).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
        assert_eq!(
            BufferPool::new(1 << 40, 1 << 20).unwrap_err().kind(),
            ErrorKind::Io
        );
    }
}
