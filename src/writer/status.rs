//! How a recording goes, in numbers that anybody may read at any time.

use super::core::Core;
use super::gate::Gate;
use crate::base::geometry::Position;
use crate::base::sync::{AtomicU64, Ordering};
use crate::base::time::Now;

/// How a recording goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterStatus {
    /// Everything up to here is on stable storage.
    pub durable: Position,
    /// How long the oldest frame that is not durable has waited, in microseconds.
    pub lag_us: u64,
    /// Bytes that wait for their commit.
    pub queued_len: u64,
    /// Bytes written to the device in this life, headers and padding included.
    pub written_len: u64,
    /// Flushes that have succeeded in this life.
    pub flush_count: u64,
    /// Frames that were shed.
    pub shed_count: u64,
    /// Whether the volume takes no more data.
    pub is_failed: bool,
}

/// The cells behind a [`WriterStatus`]. Relaxed: each stands for itself.
#[derive(Debug, Default)]
pub(super) struct StatusCells {
    lag_us: AtomicU64,
    written_len: AtomicU64,
    flush_count: AtomicU64,
}

impl StatusCells {
    pub(super) fn update(&self, core: &Core, now: Now) {
        let oldest = core.oldest_arrival_us().unwrap_or(now.boot_us);
        let lag_us = now.boot_us.saturating_sub(oldest).max(0).cast_unsigned();
        self.lag_us.store(lag_us, Ordering::Relaxed);
        self.written_len.store(core.written_len, Ordering::Relaxed);
        self.flush_count.store(core.flush_count, Ordering::Relaxed);
    }

    pub(super) fn read(&self, gate: &Gate) -> WriterStatus {
        WriterStatus {
            durable: gate.volume.durable(),
            lag_us: self.lag_us.load(Ordering::Relaxed),
            queued_len: gate.volume_quota.used(),
            written_len: self.written_len.load(Ordering::Relaxed),
            flush_count: self.flush_count.load(Ordering::Relaxed),
            shed_count: gate.shed_count.load(Ordering::Relaxed),
            is_failed: gate.is_failed.load(Ordering::Acquire),
        }
    }
}
