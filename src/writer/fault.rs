//! What the writer does when a write or a flush fails.
//!
//! Everything since the last good flush is suspect then. It is never written again in place and
//! never believed: the slot of a failed write is retired (F1), the suspect runs become a void range
//! (F5), and their frames, which stay in memory until they are durable, go to a new block behind the
//! greatest header that was ever written (F4). A second failure in a row fails the volume (F6). The
//! numbers are those of `docs/DURABILITY.md`.

use super::core::Core;
use super::event::Spans;
use super::keeper::Note;
use crate::base::geometry::Sequence;
use crate::base::time::TimeRange;
use crate::block::header::{MAX_BAD_RANGES, SlotRange};
use crate::table::{RowState, TableRow};

/// What the writer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Packing; a block is open, or will be.
    Ready,
    /// The first header of a life, or the one that follows a failure, is on its way to disk.
    Opening,
    /// A failure: waiting until the device has nothing in flight.
    Draining,
    /// The volume takes no more data.
    Failed,
}

/// The slots of some ranges.
pub(super) fn slots_of(ranges: &[SlotRange]) -> impl Iterator<Item = u64> + '_ {
    ranges
        .iter()
        .flat_map(|range| (0..range.count).map(|n| u64::from(range.first) + u64::from(n)))
}

impl Core {
    /// Goes on with whatever the phase allows.
    pub(super) fn advance(&mut self) {
        if self.phase == Phase::Draining && self.device.in_flight() == 0 {
            self.begin_anew();
        }
        if self.phase == Phase::Ready {
            self.pack();
        }
    }

    /// A write or flush failed; `slot` is the one that a failed write went to.
    pub(super) fn fail(&mut self, what: &str, slot: Option<u64>) {
        tracing::error!(volume = %self.located.volume, "{what}");
        let sequence = slot.map_or_else(|| self.block_in_work(), |slot| self.newest_in(slot));
        let spans = self.not_durable();
        self.keeper.note(Note::Fault {
            sequence,
            spans,
            message: what.to_owned(),
        });
        self.failures_in_a_row += 1;
        let retired = slot.is_none_or(|slot| self.retire(slot));
        // F6: the header of a segment is the only record of what is void before it, so a failure
        // there cannot be told apart from a device that takes nothing any more.
        if self.phase == Phase::Opening || self.failures_in_a_row > 1 || !retired {
            return self.give_up_at(sequence, what);
        }
        // F2: what the flush was for is written elsewhere, and flushed there.
        self.phase = Phase::Draining;
        self.void_from.get_or_insert(self.durable.next());
    }

    /// The block that runs are written to, or else the newest one that a header was written for.
    fn block_in_work(&self) -> Sequence {
        let open = self.block.as_ref().map(|block| block.id.sequence);
        let packed = self.unflushed.back().map(|run| run.header.id.sequence);
        open.or(packed).unwrap_or(self.headers_written)
    }

    /// The newest block that was written to `slot`.
    fn newest_in(&self, slot: u64) -> Sequence {
        let geometry = self.geometry();
        let newest = geometry.slot_of(self.headers_written);
        let before = (newest + geometry.slot_count() - slot) % geometry.slot_count();
        self.headers_written.saturating_sub(before)
    }

    /// The times of all frames that are not on stable storage.
    fn not_durable(&self) -> Spans {
        let mut spans = Spans::default();
        for run in &self.unflushed {
            spans.add_run(&run.header);
        }
        for stream in &self.stage.streams {
            let frames = stream.pending.iter().filter(|frame| !frame.record);
            for frame in frames {
                spans.add(stream.id, TimeRange::new(frame.time, frame.time));
            }
        }
        spans
    }

    /// Never writes to `slot` again (F1); says whether the list of bad slots had room.
    pub(super) fn retire(&mut self, slot: u64) -> bool {
        if self.bad.iter().any(|range| range.contains(slot)) {
            return true;
        }
        let mut kept: Vec<u64> = slots_of(&self.bad).chain(slots_of(&self.pins)).collect();
        kept.push(slot);
        self.feed.table.set_kept(kept);
        if self.ahead.iter().any(|ahead| ahead.is_under_way_to(slot)) {
            // A header that failed may have left the block before it in place. Which one is in the
            // slot is not known, so void ranges of either stay on record (W10).
            self.feed.table.set_slot(slot as usize, TableRow::default());
        }
        let slot = slot as u32;
        if let Some(range) = self
            .bad
            .iter_mut()
            .find(|range| range.first + range.count == slot)
        {
            range.count += 1;
            return true;
        }
        self.bad.push(SlotRange {
            first: slot,
            count: 1,
        });
        self.bad.len() <= MAX_BAD_RANGES
    }

    /// Nothing is in flight any more (F3): takes back what was not durable, and begins a new segment
    /// with it.
    fn begin_anew(&mut self) {
        while self.device.reap().is_some() {}
        self.forget_writes();
        self.completed_count = 0;
        self.sealed.clear();
        self.ahead.clear();
        if let Some(mut block) = self.block.take() {
            block.index.clear();
            self.spare_index = block.index;
        }
        self.void_rows();
        self.feed.completed.set(self.durable);
        while let Some(run) = self.unflushed.pop_back() {
            for chunk in run.chunks.into_iter().rev() {
                if let Some(stream) = self.stage.streams.get_mut(chunk.dense as usize) {
                    stream.last_key = chunk.last_key;
                    stream.last_sequence = chunk.last_sequence;
                    stream.setup = chunk.setup;
                }
                let repeated = usize::from(chunk.with_setup);
                for frame in chunk.frames.into_iter().skip(repeated).rev() {
                    self.stage.push_back_front(chunk.dense, frame);
                }
            }
        }
        self.phase = Phase::Ready;
        // Who waits for a commit waits for the frames that are pending again.
        self.commit_target = None;
        self.awaited = self.stage.goals();
        self.begin_commit();
    }

    /// Rows of blocks whose runs are void now.
    fn void_rows(&mut self) {
        let geometry = self.geometry();
        let table = self.feed.table.table().clone();
        let from: Sequence = self.durable.sequence.max(1);
        for sequence in from..=self.headers_written {
            let Some(row) = table.block(sequence) else {
                continue;
            };
            let state = match row.state {
                // Durable runs are in it still; those behind them are void.
                RowState::Open if sequence == self.durable.sequence => RowState::Unsealed,
                RowState::Sealed if sequence == self.durable.sequence => RowState::Sealed,
                _ => RowState::Empty,
            };
            self.feed.table.set(&geometry, TableRow { state, ..row });
        }
    }

    /// The volume takes no more data. What was committed stays readable.
    pub(super) fn give_up_volume(&mut self, why: &str) {
        self.give_up_at(self.block_in_work(), why);
    }

    fn give_up_at(&mut self, sequence: Sequence, why: &str) {
        if self.phase == Phase::Failed {
            return;
        }
        tracing::error!(volume = %self.located.volume, "the volume has failed: {why}");
        self.phase = Phase::Failed;
        let spans = self.not_durable();
        self.keeper.note(Note::Failed {
            sequence,
            spans,
            message: why.to_owned(),
        });
        self.producers
            .iter()
            .for_each(super::producer::ProducerEnd::refuse);
        self.discard_if_failed();
    }

    /// In a failed volume whatever is pushed is dropped, and its quota given back.
    pub(super) fn discard_if_failed(&mut self) {
        if self.phase != Phase::Failed {
            return;
        }
        for run in std::mem::take(&mut self.unflushed) {
            for chunk in &run.chunks {
                for frame in &chunk.frames {
                    self.give_up(chunk.dense, frame);
                }
            }
        }
        let pending = self.stage.clear();
        for (dense, frame) in &pending {
            self.give_up(*dense, frame);
        }
        (self.completed_count, self.block) = (0, None);
        self.sealed.clear();
        self.forget_writes();
    }
}
