//! Where to begin: the newest key frame at or before a time.

use super::blocks::Blocks;
use crate::base::geometry::{Position, Sequence};
use crate::base::time::TimeRange;
use crate::block::{ChunkEntry, ChunkView, DecodeStart};
use crate::frame::StreamId;
use crate::table::TableRow;

/// Where the frames of a stream begin that are to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartAt {
    pub(super) sequence: Sequence,
    pub(super) offset: u32,
    pub(super) frame: u16,
}

impl StartAt {
    /// Behind everything.
    pub(super) const NOWHERE: Self = Self {
        sequence: Sequence::MAX,
        offset: u32::MAX,
        frame: 0,
    };
}

impl From<DecodeStart> for StartAt {
    fn from(start: DecodeStart) -> Self {
        let DecodeStart {
            sequence,
            offset,
            frame,
            ..
        } = start;
        Self {
            sequence,
            offset,
            frame,
        }
    }
}

/// Where `stream` begins for `range`, looking at `rows`, the blocks that overlap it; none where
/// no block holds it. A block that cannot be read is stepped over.
pub(super) fn start_of(
    blocks: &mut Blocks<'_>,
    rows: &[TableRow],
    stream: StreamId,
    range: &TimeRange,
) -> Option<StartAt> {
    for row in rows {
        let Ok(index) = blocks.index(row, Some(&[stream])) else {
            continue;
        };
        let Some(section) = index
            .sections
            .iter()
            .find(|section| section.stream == stream)
        else {
            continue;
        };
        let counts = |chunk: &&ChunkEntry| {
            let position = Position {
                sequence: row.sequence,
                run: chunk.run,
            };
            chunk.has_frames && blocks.counts(position)
        };
        let mut chunks = section.chunks.iter().filter(counts);
        let Some(chunk) = chunks.find(|chunk| chunk.times.end >= range.start).copied() else {
            continue;
        };
        return Some(start_in(blocks, row, stream, &chunk, range));
    }
    None
}

/// Where to begin so that the frames of `chunk` from `range.start` on can be decoded.
fn start_in(
    blocks: &mut Blocks<'_>,
    row: &TableRow,
    stream: StreamId,
    chunk: &ChunkEntry,
    range: &TimeRange,
) -> StartAt {
    let own = StartAt {
        sequence: row.sequence,
        offset: chunk.offset,
        frame: 0,
    };
    if chunk.first_key.is_some()
        && let Some(frame) = newest_key(blocks, row, stream, chunk, range)
    {
        return StartAt { frame, ..own };
    }
    // A key frame in a block that is gone cannot help: delivery begins at the next one.
    let start = chunk.start.filter(|start| blocks.holds_key(stream, start));
    start.map_or(own, StartAt::from)
}

/// The newest key frame in `chunk` that is not behind the start of `range`.
fn newest_key(
    blocks: &mut Blocks<'_>,
    row: &TableRow,
    stream: StreamId,
    chunk: &ChunkEntry,
    range: &TimeRange,
) -> Option<u16> {
    let (bytes, id) = blocks.chunk(row, chunk).ok()?;
    let view = ChunkView::decode(&bytes, id.tag(), stream, chunk.offset).ok()?;
    let frames = view.frames.iter().enumerate();
    let mut keys =
        frames.filter(|(_, f)| f.key && f.track == 0 && !f.record && f.time <= range.start);
    keys.next_back()
        .and_then(|(number, _)| u16::try_from(number).ok())
}
