//! A recording without threads: its owner takes every step. For simulated devices, fuzzing and
//! tests, which have to decide what happens between two steps.

use std::path::Path;

use super::fault::Phase;
use super::gate::Gate;
use super::keeper::Keeper;
use super::producer::{Producer, producer};
use super::{Core, Started, WriterOptions, start};
use crate::base::error::Result;
use crate::base::geometry::{Position, Sequence};
use crate::base::sync::Arc;
use crate::frame::StreamId;
use crate::volume::Volume;
use crate::volume::medium::Medium;

/// A volume that is recorded step by step.
#[derive(Debug)]
pub struct ManualWriter {
    core: Core,
    gate: Arc<Gate>,
    keeper: Keeper,
    ring_count: usize,
    committed: Vec<CommittedChunk>,
}

/// Frames of one stream that became durable together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedChunk {
    /// The stream.
    pub stream: StreamId,
    /// The block that holds them.
    pub sequence: Sequence,
    /// How many there are.
    pub frame_count: u64,
}

impl ManualWriter {
    /// Opens the volume on `medium`, as [`Writer::open_on`](super::Writer::open_on) does.
    ///
    /// # Errors
    ///
    /// As [`Writer::open_on`](super::Writer::open_on).
    pub fn open_on(
        medium: Arc<dyn Medium>,
        dir: Option<&Path>,
        options: WriterOptions,
    ) -> Result<Self> {
        options.check()?;
        let ring_count = options.ring_count;
        let Started { core, gate, keeper } = start(medium, dir, options)?;
        Ok(Self {
            core,
            gate,
            keeper,
            ring_count,
            committed: Vec::new(),
        })
    }

    /// The volume, to read what is being recorded.
    pub fn volume(&self) -> &Volume {
        &self.gate.volume
    }

    /// A way in for frames.
    pub fn producer(&mut self) -> Producer {
        let (end, producer) = producer(self.gate.clone(), self.ring_count);
        self.core.producers.push(end);
        producer
    }

    /// Does all that can be done without waiting.
    pub fn turn(&mut self) {
        self.core.turn(self.gate.clock.now());
        let committed = &mut self.committed;
        self.keeper.catch_up(|run| {
            for entry in &run.header.chunks {
                committed.push(CommittedChunk {
                    stream: entry.stream,
                    sequence: run.header.id.sequence,
                    frame_count: entry.frame_count.into(),
                });
            }
        });
    }

    /// Waits for the device once.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) when the kernel refuses to wait.
    pub fn wait(&mut self) -> Result<()> {
        self.core.wait(Some(0))
    }

    /// Starts to commit everything that was pushed until now.
    pub fn begin_commit(&mut self) {
        self.core.collect();
        self.core.begin_commit();
    }

    /// Starts to commit everything and to seal the open block; [`is_idle`](Self::is_idle) tells
    /// when it is done.
    pub fn begin_close(&mut self) {
        self.core.collect();
        self.core.begin_close();
    }

    /// Whether nothing waits, is written or flushed.
    pub fn is_idle(&self) -> bool {
        let is_open = self.core.is_closing && self.core.block.is_some();
        self.core.is_committed() && !is_open
    }

    /// Whether the volume takes no more data.
    pub fn is_failed(&self) -> bool {
        self.core.phase == Phase::Failed
    }

    /// Everything up to here is on stable storage.
    pub fn durable(&self) -> Position {
        self.core.durable
    }

    /// What became durable since the last call, in the order of the pushes of each stream.
    pub fn take_committed(&mut self) -> Vec<CommittedChunk> {
        std::mem::take(&mut self.committed)
    }
}
