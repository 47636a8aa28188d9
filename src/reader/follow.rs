//! The live edge: runs that the recording in this process has written lately, and those to come.

use super::blocks::BlockIndex;
use super::job::{Flow, Job};
use super::plan::Wanted;
use super::query::Until;
use crate::base::error::Result;
use crate::block::run::DirectoryEntry;
use crate::block::{ChunkView, RunHeader};
use crate::frame::GapCause;
use crate::volume::live::LiveCursor;

impl Job<'_> {
    /// The runs that were written lately, and those to come.
    pub(super) fn live(&mut self, mut at: LiveCursor, until: Until) -> Result<Flow> {
        loop {
            self.blocks.limit = match until {
                Until::Now => self.blocks.limit,
                Until::Committed => self.blocks.volume.durable(),
                Until::Written => self.blocks.volume.completed(),
            };
            let next = at.next();
            let run = next.as_ref().and_then(LiveCursor::run).cloned();
            match (next, run) {
                (Some(next), Some(run)) if run.position() <= self.blocks.limit => {
                    at = next;
                    if let Err(stop) = self.live_run(&run)? {
                        return Ok(Err(stop));
                    }
                    let times = run.chunks.iter().map(|entry| entry.chunk.times.end);
                    let up_to = times.max().map_or(Ok(()), |time| self.outlet.up_to(time));
                    if let Err(stop) = up_to {
                        return Ok(Err(stop));
                    }
                }
                _ if until == Until::Now || self.is_done() => return Ok(Ok(())),
                _ => {
                    let (volume, limit) = (self.blocks.volume, self.blocks.limit);
                    let has_more = || {
                        let written = until == Until::Written;
                        let now = if written {
                            volume.completed()
                        } else {
                            volume.durable()
                        };
                        now > limit || !volume.is_recording()
                    };
                    let was_over = !volume.is_recording();
                    if let Err(stop) = self.outlet.caught_up() {
                        return Ok(Err(stop));
                    }
                    if let Err(stop) = self.outlet.wait(self.blocks.device, &has_more)? {
                        return Ok(Err(stop));
                    }
                    if was_over && at.next().is_none() {
                        return Ok(Ok(()));
                    }
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        !self.streams.is_empty() && self.streams.iter().all(|s| self.deliverer.is_done(*s))
    }

    fn live_run(&mut self, run: &RunHeader) -> Result<Flow> {
        let sequence = run.id.sequence;
        if !self.blocks.verdict.counts(run.position()) {
            return Ok(Ok(()));
        }
        let row = self.blocks.volume.table().block(sequence);
        let is_wanted = |entry: &&DirectoryEntry| {
            let stream = &entry.stream;
            (self.streams.is_empty() || self.streams.binary_search(stream).is_ok())
                && (!self.deliverer.is_done(*stream) || entry.chunk.times.overlaps(&self.range))
        };
        let mut wanted = Vec::new();
        let mut setups = Vec::new();
        for entry in run.chunks.iter().filter(is_wanted) {
            let chunk = Wanted {
                stream: entry.stream,
                chunk: entry.chunk,
            };
            match self.is_before(entry.stream, sequence, entry.chunk.offset) {
                false => wanted.push(chunk),
                true if entry.has_records => setups.push(chunk),
                true => {}
            }
        }
        let index = BlockIndex {
            id: run.id,
            sections: Vec::new(),
            holes: Vec::new(),
        };
        let Some(row) = row else {
            // The ring has gone around since the run was written.
            for Wanted { stream, chunk } in wanted {
                let cause = GapCause::Overwritten;
                self.deliverer
                    .lost(stream, sequence, chunk.times, cause, &mut self.out);
            }
            return Ok(self.send());
        };
        for chunk in setups {
            // Decoding starts behind it, with the setup that it holds.
            let Ok((bytes, id)) = self.blocks.chunk(&row, &chunk.chunk) else {
                continue;
            };
            let view = ChunkView::decode(&bytes, id.tag(), chunk.stream, chunk.chunk.offset);
            if let Ok(view) = view {
                self.deliverer
                    .chunk(sequence, &view, &bytes, u16::MAX, &mut self.out);
            }
        }
        self.chunks(&row, &index, &wanted)
    }
}
