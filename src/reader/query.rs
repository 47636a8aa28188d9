//! What to read.

use crate::base::geometry::Sequence;
use crate::base::time::TimeRange;
use crate::frame::StreamId;

/// How far a read goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// To the end of what is on stable storage now.
    #[default]
    Now,
    /// On and on, as the recording in this process goes; each frame once it is on stable storage.
    Committed,
    /// On and on, each frame as soon as it is written: some 50 ms after it was pushed, because the
    /// recording writes more often meanwhile. A power cut may take back what was read.
    Written,
}

/// Which blocks to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// What was recorded in a range of time: from the key frame that the first frame in it needs,
    /// so that everything in it can be decoded, to the last frame that lies in it.
    Time(TimeRange),
    /// What is to be shown in a range of time: as [`Time`](Self::Time), but each stream begins with
    /// the picture that stands at the beginning of the range. That is, at its newest key frame at
    /// or before then, also where a gap lies between; where there is none, at its first one behind.
    Shown(TimeRange),
    /// Whole blocks, in this order.
    #[doc(alias = "pullBlocksCall")]
    Blocks(Vec<Sequence>),
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The streams; all where it is empty.
    pub streams: Vec<StreamId>,
    /// When, or which blocks.
    pub select: Select,
    /// How far; not for [`Select::Blocks`].
    pub until: Until,
}

impl Query {
    /// Everything of `streams` in `range`, up to now.
    pub fn time(streams: impl Into<Vec<StreamId>>, range: TimeRange) -> Self {
        Self {
            streams: streams.into(),
            select: Select::Time(range),
            until: Until::Now,
        }
    }

    /// What is to be shown of `streams` in `range`, up to now.
    pub fn shown(streams: impl Into<Vec<StreamId>>, range: TimeRange) -> Self {
        Self {
            streams: streams.into(),
            select: Select::Shown(range),
            until: Until::Now,
        }
    }

    /// Blocks in the given order, all streams, nothing left out.
    pub fn blocks(sequences: impl Into<Vec<Sequence>>) -> Self {
        Self {
            streams: Vec::new(),
            select: Select::Blocks(sequences.into()),
            until: Until::Now,
        }
    }
}
