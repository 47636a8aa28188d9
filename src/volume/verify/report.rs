//! What verifying found.

use serde::{Serialize, Serializer};

use crate::base::geometry::Sequence;
use crate::base::time::TimeRange;
use crate::frame::StreamId;

/// Which part of a block is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DamagedPart {
    /// Bytes that the device does not give back.
    Unreadable,
    /// The header of the block.
    Header,
    /// The header of a run, or a run that is not there.
    Run,
    /// A chunk, all its frames with it.
    Chunk,
    /// One frame, setup or gap record.
    Frame,
    /// The index. What it lists can still be found by walking the runs.
    Index,
    /// The trailer. What it sums up can still be found by walking the runs.
    Trailer,
}

impl DamagedPart {
    /// The part in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Header => "header",
            Self::Run => "run",
            Self::Chunk => "chunk",
            Self::Frame => "frame",
            Self::Index => "index",
            Self::Trailer => "trailer",
        }
    }
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// The block.
    pub sequence: Sequence,
    /// The part of it.
    pub part: DamagedPart,
    /// The stream; none where it is unknown, or more than one.
    #[serde(serialize_with = "stream_number")]
    pub stream: Option<StreamId>,
    /// Presentation times of what is hit, the block's where nothing better is known; serialised as
    /// the microseconds `[start, end]`.
    #[serde(serialize_with = "start_and_end")]
    pub times: Option<TimeRange>,
    /// Where the part begins, in bytes from the beginning of the block.
    pub offset: u32,
    /// What is wrong with it.
    pub what: String,
}

/// What verifying found. Serialises as one flat object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Blocks that were checked.
    pub block_count: u64,
    /// Blocks that a recorder overwrote meanwhile, which is no damage.
    pub overwritten_count: u64,
    /// Runs that were found whole.
    pub run_count: u64,
    /// Chunks that were checked.
    pub chunk_count: u64,
    /// Frames, setups and gap records that were checked.
    pub frame_count: u64,
    /// Bytes that were read.
    pub read_len: u64,
    /// Bytes of the volume that lie behind the end of its data: the file was cut short.
    pub missing_len: u64,
    /// How much damage was found, whether it is listed or not.
    pub damage_count: u64,
    /// The first of it that was found: at most
    /// [`damage_limit`](super::VerifyOptions::damage_limit).
    pub damage: Vec<Damage>,
}

impl VerifyReport {
    /// Whether everything is as it was written.
    pub fn is_whole(&self) -> bool {
        self.damage_count == 0 && self.missing_len == 0
    }
}

/// What was found in one block.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) run_count: u64,
    pub(super) chunk_count: u64,
    pub(super) frame_count: u64,
    damage_count: u64,
    has_lost_trailer: bool,
    damage: Vec<Damage>,
    /// How much damage may be listed.
    limit: usize,
}

impl Findings {
    /// Nothing yet; keeps the first `limit` pieces of damage.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.damage_count == 0
    }

    /// Whether the trailer of the block was found damaged.
    pub(super) fn has_lost_trailer(&self) -> bool {
        self.has_lost_trailer
    }

    pub(super) fn add(&mut self, damage: Damage) {
        self.damage_count += 1;
        self.has_lost_trailer |= damage.part == DamagedPart::Trailer;
        if self.damage.len() < self.limit {
            self.damage.push(damage);
        }
    }

    /// Adds all of it to `report`.
    pub(super) fn report_to(self, report: &mut VerifyReport) {
        report.run_count += self.run_count;
        report.chunk_count += self.chunk_count;
        report.frame_count += self.frame_count;
        report.damage_count += self.damage_count;
        report.damage.extend(self.damage);
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn stream_number<S: Serializer>(stream: &Option<StreamId>, to: S) -> Result<S::Ok, S::Error> {
    stream.map(|stream| stream.0).serialize(to)
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn start_and_end<S: Serializer>(times: &Option<TimeRange>, to: S) -> Result<S::Ok, S::Error> {
    times
        .map(|times| (times.start.0, times.end.0))
        .serialize(to)
}
