//! Points in time, ranges of them, and the clocks that tell them.
//!
//! Two clocks matter. UTC says when a picture was taken and may step; the boot clock orders
//! arrivals and never steps. Pure code takes [`Now`] as an argument; only thread shells ask a
//! [`Clock`]. Formatting for people and parsing what they type belong to the command line.

use std::fmt;

use super::sync::{Arc, AtomicU64, Ordering};

/// Microseconds in a second.
pub const US_PER_S: i64 = 1_000_000;

/// A point in time: microseconds since 1970-01-01 UTC.
///
/// Any value is legal: a camera's clock may say 1970 or 2262. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest point.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest point.
    pub const MAX: Self = Self(i64::MAX);

    /// This point `us` microseconds later; earlier where `us` is negative.
    #[must_use]
    pub fn plus_us(self, us: i64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds from `earlier` to this point.
    pub fn us_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    /// Seconds and microseconds since 1970, as `@1700000000.000000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let us = self.0.unsigned_abs();
        write!(f, "@{sign}{}.{:06}", us / 1_000_000, us % 1_000_000)
    }
}

/// A stretch of time; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// The first point.
    pub start: Timestamp,
    /// The last point. Before `start`, nothing lies in the range.
    pub end: Timestamp,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        start: Timestamp::MIN,
        end: Timestamp::MAX,
    };

    /// The range between two points, given in either order.
    pub fn new(a: Timestamp, b: Timestamp) -> Self {
        Self {
            start: a.min(b),
            end: a.max(b),
        }
    }

    /// Whether no point lies in it.
    pub fn is_empty(&self) -> bool {
        self.end < self.start
    }

    /// Whether the two share a point.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start.max(other.start) <= self.end.min(other.end)
    }

    /// Whether `time` lies in it.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.start <= time && time <= self.end
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// This range, `us` longer at each end.
    #[must_use]
    pub fn widened(&self, us: i64) -> Self {
        Self {
            start: self.start.plus_us(us.saturating_neg()),
            end: self.end.plus_us(us),
        }
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since boot, suspend included. Never steps.
    pub boot_us: i64,
    /// Microseconds since 1970 UTC. May step.
    pub utc_us: i64,
}

impl Now {
    /// UTC minus boot clock: constant but for steps and slewing of the wall clock.
    pub fn utc_offset_us(&self) -> i64 {
        self.utc_us.saturating_sub(self.boot_us)
    }
}

/// A source of [`Now`].
pub trait Clock: Send + Sync + fmt::Debug {
    /// Reads both clocks.
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        use rustix::time::{ClockId, clock_gettime};
        let us = |t: rustix::time::Timespec| {
            t.tv_sec
                .saturating_mul(US_PER_S)
                .saturating_add(t.tv_nsec / 1_000)
        };
        Now {
            boot_us: us(clock_gettime(ClockId::Boottime)),
            utc_us: us(clock_gettime(ClockId::Realtime)),
        }
    }
}

/// Clocks that a test moves by hand. Clones share their hands.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<ManualHands>);

#[derive(Debug)]
struct ManualHands {
    boot_us: AtomicU64,
    utc_us: AtomicU64,
}

impl ManualClock {
    /// Clocks that stand at `now`.
    pub fn new(now: Now) -> Self {
        Self(Arc::new(ManualHands {
            boot_us: AtomicU64::new(now.boot_us.cast_unsigned()),
            utc_us: AtomicU64::new(now.utc_us.cast_unsigned()),
        }))
    }

    /// Moves both clocks forward.
    pub fn advance_us(&self, us: u64) {
        // Relaxed: a test orders its steps by itself.
        self.0.boot_us.fetch_add(us, Ordering::Relaxed);
        self.0.utc_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Steps the wall clock alone, as NTP or a person does.
    pub fn step_utc_us(&self, us: i64) {
        self.0
            .utc_us
            .fetch_add(us.cast_unsigned(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        Now {
            boot_us: self.0.boot_us.load(Ordering::Relaxed).cast_signed(),
            utc_us: self.0.utc_us.load(Ordering::Relaxed).cast_signed(),
        }
    }
}
