//! What a recording tells those who watch it.

use std::collections::BTreeMap;

use crate::base::geometry::{Position, Sequence, VolumeId};
use crate::base::time::TimeRange;
use crate::block::RunHeader;
use crate::frame::StreamId;

/// Something happened to a volume that is being recorded.
///
/// The listener runs on a thread of its own and is told in order; `times` and `stored` are as of
/// when it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Everything up to `position` is on stable storage.
    Committed {
        /// The volume.
        volume: VolumeId,
        /// The new durable watermark: the block that was written last, and the run in it.
        position: Position,
        /// The streams that have frames in this commit, by number; the span is that of these frames.
        streams: Vec<StreamSpan>,
        /// All that the volume holds.
        times: Option<TimeRange>,
    },
    /// A block is full, and its index is on stable storage.
    #[doc(alias = "new_block_cb")]
    Sealed {
        /// The volume.
        volume: VolumeId,
        /// The block.
        sequence: Sequence,
        /// What the block holds.
        block_times: TimeRange,
        /// The streams that have frames in the block, by number; the span is that of these frames.
        streams: Vec<StreamSpan>,
        /// All that the volume holds.
        times: Option<TimeRange>,
    },
    /// A write or flush failed; what was not durable is being written to another block.
    Fault {
        /// The volume.
        volume: VolumeId,
        /// The block that the failed write was for, which may be the next one; where a flush
        /// failed, the block that was being written.
        sequence: Sequence,
        /// The streams whose frames are in doubt, by number; the span is that of these frames.
        streams: Vec<StreamSpan>,
        /// All that the volume holds.
        times: Option<TimeRange>,
        /// What the device reported.
        message: String,
    },
    /// The volume takes no more data. What was committed stays readable.
    Failed {
        /// The volume.
        volume: VolumeId,
        /// The block that could not be written.
        sequence: Sequence,
        /// The streams whose frames are lost, by number; the span is that of these frames.
        streams: Vec<StreamSpan>,
        /// All that the volume holds.
        times: Option<TimeRange>,
        /// Why.
        message: String,
    },
}

/// What an [`Event`] is about in one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSpan {
    /// The stream.
    pub stream: StreamId,
    /// From the first to the last of the frames that the event is about.
    pub span: TimeRange,
    /// All that the volume holds of the stream, without gaps taken out; none where it holds nothing.
    pub stored: Option<TimeRange>,
}

/// Times of frames by stream.
#[derive(Debug, Default)]
pub(super) struct Spans(BTreeMap<StreamId, TimeRange>);

impl Spans {
    pub(super) fn add(&mut self, stream: StreamId, times: TimeRange) {
        let span = self.0.entry(stream).or_insert(times);
        *span = span.union(&times);
    }

    /// Adds the frames of a run.
    pub(super) fn add_run(&mut self, run: &RunHeader) {
        let chunks = run.chunks.iter().filter(|entry| entry.chunk.has_frames);
        for entry in chunks {
            self.add(entry.stream, entry.chunk.times);
        }
    }

    /// The streams by number, each with what `stored` says that the volume holds of it.
    pub(super) fn streams(
        &self,
        stored: impl Fn(StreamId) -> Option<TimeRange>,
    ) -> Vec<StreamSpan> {
        let about = |(stream, span): (&StreamId, &TimeRange)| StreamSpan {
            stream: *stream,
            span: *span,
            stored: stored(*stream),
        };
        self.0.iter().map(about).collect()
    }
}
