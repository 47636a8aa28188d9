//! Byte quotas: what a producer may have on its way to stable storage.
//!
//! Taken at the push, given back when the flush that covers the frame has succeeded. Counters are
//! Relaxed: they bound memory and order nothing.

use crossbeam_utils::CachePadded;

use crate::base::sync::{Arc, AtomicU64, Ordering};

/// What a frame of `payload_len` bytes counts for: itself and what is kept beside it.
pub(super) fn frame_cost(payload_len: usize) -> u64 {
    payload_len as u64 + 128
}

/// Bytes in use, and how many may be.
#[derive(Debug)]
pub(super) struct Quota {
    used: CachePadded<AtomicU64>,
    limit: u64,
}

impl Quota {
    /// A quota of `limit` bytes.
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            used: CachePadded::new(AtomicU64::new(0)),
            limit,
        })
    }

    /// Whether `len` bytes would fit if nothing else were in use.
    pub(super) fn can_hold(&self, len: u64) -> bool {
        len <= self.limit
    }

    /// Takes `len` bytes if they are free.
    pub(super) fn take(&self, len: u64) -> bool {
        let before = self.used.fetch_add(len, Ordering::Relaxed);
        let fits = before.saturating_add(len) <= self.limit;
        if !fits {
            self.give(len);
        }
        fits
    }

    /// Gives `len` bytes back.
    pub(super) fn give(&self, len: u64) {
        self.used.fetch_sub(len, Ordering::Relaxed);
    }

    /// Bytes in use; for a moment more than the limit while a push is being refused.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}
