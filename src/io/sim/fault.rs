//! What can be made to go wrong on a simulated disk.

use std::ops::Range;

/// Which requests a [`FaultRule`] concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultTarget {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Flushes.
    Flush,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends with this error number. Pages of a failed write are each written, not written or
    /// torn; after a failed flush, each page is on stable storage, lost for ever, or still
    /// pending.
    Error(i32),
    /// A write reports success and changes nothing. No effect on reads; a flush reports success
    /// and puts nothing on stable storage.
    Lost,
    /// A write reports success and lands at this offset instead, in bytes. A read returns what is
    /// there. No effect on flushes.
    Misdirected(u64),
    /// One bit of the bytes that are written or read is inverted: this one, counted from the first
    /// byte's lowest, modulo the length. No effect on flushes.
    BitFlip(u64),
}

/// When a [`Fault`] happens: at the first request of a kind after some others, or at all from
/// there on.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// Which requests count.
    pub target: FaultTarget,
    /// Only requests that touch these bytes count; flushes touch all.
    pub range: Range<u64>,
    /// How many that count go well first.
    pub skip_count: u64,
    /// Whether all later ones suffer too, until [`clear_faults`](super::SimDisk::clear_faults).
    pub is_sticky: bool,
    /// What happens.
    pub fault: Fault,
}

impl FaultRule {
    /// `fault` at the next request of the kind, once.
    pub fn next(target: FaultTarget, fault: Fault) -> Self {
        Self {
            target,
            range: 0..u64::MAX,
            skip_count: 0,
            is_sticky: false,
            fault,
        }
    }

    /// The same after `skip_count` requests that go well.
    #[must_use]
    pub fn after(mut self, skip_count: u64) -> Self {
        self.skip_count = skip_count;
        self
    }

    /// The same for ever.
    #[must_use]
    pub fn sticky(mut self) -> Self {
        self.is_sticky = true;
        self
    }

    /// The same for requests that touch `range`, in bytes.
    #[must_use]
    pub fn within(mut self, range: Range<u64>) -> Self {
        self.range = range;
        self
    }
}

/// The rules that are in force.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<FaultRule>);

impl Faults {
    pub(super) fn add(&mut self, rule: FaultRule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happens to the next request of this kind at `bytes`; the first rule that is due wins.
    pub(super) fn next(&mut self, target: FaultTarget, bytes: &Range<u64>) -> Option<Fault> {
        let mut due = None;
        for (index, rule) in self.0.iter_mut().enumerate() {
            let touches = target == FaultTarget::Flush
                || (bytes.start < rule.range.end && rule.range.start < bytes.end);
            if rule.target != target || !touches {
                continue;
            }
            if rule.skip_count > 0 {
                rule.skip_count -= 1;
            } else if due.is_none() {
                due = Some((index, rule.fault, rule.is_sticky));
            }
        }
        let (index, fault, is_sticky) = due?;
        if !is_sticky {
            self.0.remove(index);
        }
        Some(fault)
    }
}
