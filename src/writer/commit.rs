//! Commits: one flush for all streams, at every tick, at every seal, and when somebody asks. The
//! rules that are kept here are W5 and W6 of `docs/DURABILITY.md`.

use super::blocks::Ahead;
use super::core::{Core, FLUSH_TOKEN, FlushUnderWay, PackedRun};
use super::fault::Phase;
use super::keeper::{Committed, Note};
use super::producer::ProducerEnd;
use super::quota::frame_cost;
use crate::block::chunk::PendingFrame;
use crate::io::{Op, Request};

impl Core {
    /// Starts to commit everything that was pushed until now.
    pub(super) fn begin_commit(&mut self) {
        self.commit_len = Some(self.stage.pending_len());
    }

    /// Asks for a flush behind everything that was submitted until now.
    pub(super) fn want_flush(&mut self) {
        self.flush_after = Some(self.first_token + self.writes.len() as u64);
    }

    /// Submits a flush if one is due: every write that it is to cover is done (W5), and none is
    /// under way.
    pub(super) fn submit_flush(&mut self) {
        let due = self
            .flush_after
            .is_some_and(|token| self.first_token >= token);
        if !due || self.flush.is_some() || self.phase == Phase::Draining {
            return;
        }
        self.flush_after = None;
        self.ahead.iter_mut().for_each(Ahead::flush_begins);
        let last = self
            .completed_count
            .checked_sub(1)
            .and_then(|at| self.unflushed.get(at));
        self.flush = Some(FlushUnderWay {
            position: last.map_or(self.durable, |run| run.header.position()),
            run_count: self.completed_count,
            sealed_count: self.sealed.len(),
        });
        self.device.submit(Request {
            token: FLUSH_TOKEN,
            op: Op::Flush,
            offset: 0,
            len: 0,
            buffer: None,
        });
    }

    /// Everything that was written before the flush began is durable.
    pub(super) fn flushed(&mut self, flush: &FlushUnderWay) {
        self.failures_in_a_row = 0;
        self.flush_count += 1;
        self.ahead.iter_mut().for_each(Ahead::flush_succeeded);
        if flush.position > self.durable {
            self.durable = flush.position;
            self.feed.durable.set(flush.position);
        }
        self.completed_count -= flush.run_count;
        let runs: Vec<_> = self.unflushed.drain(..flush.run_count).collect();
        if !runs.is_empty() {
            let runs = runs.into_iter().map(|run| self.release(run)).collect();
            self.keeper.note(Note::Committed {
                position: self.durable,
                runs,
            });
        }
        for row in self.sealed.drain(..flush.sealed_count) {
            self.feed.table.set(&self.located.geometry, row);
            self.keeper.note(Note::Sealed(row));
        }
        self.segment_flushed();
    }

    /// Gives the quotas of a durable run back (W6), and keeps what the timeline needs.
    fn release(&self, run: PackedRun) -> Committed {
        let mut records = Vec::new();
        for chunk in &run.chunks {
            let Some(stream) = self.stage.streams.get(chunk.dense as usize) else {
                continue;
            };
            let mut cost = 0;
            for frame in &chunk.frames {
                if frame.record {
                    records.push((stream.id, frame.payload.clone()));
                } else {
                    cost += frame_cost(frame.payload.len());
                }
            }
            stream.quota.give(cost);
            self.volume_quota.give(cost);
        }
        self.producers.iter().for_each(ProducerEnd::tell_room);
        Committed {
            header: run.header,
            records,
        }
    }

    /// Gives the quota of a frame that is not recorded back.
    pub(super) fn give_up(&self, dense: u32, frame: &PendingFrame) {
        if frame.record {
            return;
        }
        let cost = frame_cost(frame.payload.len());
        self.volume_quota.give(cost);
        if let Some(stream) = self.stage.streams.get(dense as usize) {
            stream.quota.give(cost);
        }
    }

    /// A commit for somebody who waits for it: everything that was collected until now.
    pub(super) fn begin_commit_for_waiter(&mut self) {
        self.begin_commit();
        self.commit_target = None;
        self.is_commit_awaited = true;
        self.awaited = self.stage.goals();
    }

    /// Whether the newest commit that somebody waits for is durable.
    pub(super) fn waiter_is_served(&mut self) -> bool {
        let served = self.is_commit_awaited
            && self
                .commit_target
                .is_some_and(|target| self.durable >= target);
        self.is_commit_awaited &= !served;
        served
    }

    pub(super) fn begin_close(&mut self) {
        self.is_closing = true;
        self.begin_commit();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closing && self.block.is_none() && self.is_committed()
    }
}
