//! Where to begin: at the key frame that the first wanted picture needs.

use super::blocks::Blocks;
use crate::base::error::ErrorKind;
use crate::base::geometry::{Position, Sequence};
use crate::base::time::{TimeRange, Timestamp};
use crate::block::index::summary_every;
use crate::block::{ChunkEntry, ChunkView, DecodeStart, StreamSection};
use crate::frame::StreamId;
use crate::table::{RowState, TableRow};

/// How many blocks are looked into, one behind the other, before older knowledge is asked where a
/// stream was last.
const NEAR_COUNT: usize = 8;
/// The most blocks that the search for the last picture before a time looks into.
const SEARCH_COUNT: usize = 4096;

/// Which blocks hold what a stream needs first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    /// Where its frames begin.
    pub(super) at: StartAt,
    /// The block of the first picture that is wanted. Behind it and before the beginning of the
    /// range, no block holds anything of the stream.
    pub(super) wanted: Sequence,
}

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

    /// The beginning of block `sequence`.
    fn block(sequence: Sequence) -> Self {
        let (offset, frame) = (0, 0);
        Self {
            sequence,
            offset,
            frame,
        }
    }
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
/// no block holds it. The first block that cannot be read may have held it: it begins there at the
/// latest, so that its loss is told.
pub(super) fn start_of(
    blocks: &mut Blocks<'_>,
    rows: &[TableRow],
    stream: StreamId,
    range: &TimeRange,
) -> Option<Begin> {
    let mut lost = None;
    for row in rows {
        let index = match blocks.index(row, Some(&[stream])) {
            Ok(index) => index,
            // The ring goes on; a range that begins in its oldest block begins in the next one.
            Err(e) if e.kind() == ErrorKind::Overwritten => continue,
            Err(_) => {
                lost.get_or_insert(StartAt::block(row.sequence));
                continue;
            }
        };
        let Some(section) = index
            .sections
            .iter()
            .find(|section| section.stream == stream)
        else {
            continue;
        };
        let mut chunks = frames_of(blocks, row, section);
        let Some(chunk) = chunks.find(|chunk| chunk.times.end >= range.start) else {
            continue;
        };
        let at = start_in(blocks, row, stream, &chunk, range.start);
        let at = lost
            .filter(|lost| lost.sequence < at.sequence)
            .unwrap_or(at);
        let wanted = row.sequence;
        return Some(Begin { at, wanted });
    }
    lost.map(|at| {
        let wanted = at.sequence;
        Begin { at, wanted }
    })
}

/// Where `stream` begins so that the picture that stands at `time` can be shown: the newest key
/// frame that is not behind it; none where no block holds one.
pub(super) fn shown_at(
    blocks: &mut Blocks<'_>,
    stream: StreamId,
    time: Timestamp,
) -> Option<Begin> {
    let table = blocks.volume.table();
    let mut at = table.newest_until(time, Sequence::MAX)?.sequence;
    let mut misses = 0;
    for _ in 0..SEARCH_COUNT {
        let Some((row, section)) = section_at(blocks, at, stream) else {
            misses += 1;
            let asked = (misses == NEAR_COUNT).then(|| last_before(blocks, stream, at));
            let near = || Some(table.newest_until(time, at)?.sequence);
            at = asked.flatten().or_else(near)?;
            continue;
        };
        let chunks: Vec<_> = frames_of(blocks, &row, &section).collect();
        for chunk in chunks
            .iter()
            .rev()
            .filter(|chunk| chunk.times.start <= time)
        {
            let start = start_in(blocks, &row, stream, chunk, time);
            // A key frame that lies behind the time, before pictures that lead it, does not help.
            let is_own = (start.sequence, start.offset) == (row.sequence, chunk.offset);
            if !is_own || starts_before(blocks, &row, stream, chunk, start.frame, time) {
                let wanted = row.sequence;
                return Some(Begin { at: start, wanted });
            }
        }
        let previous = Some(section.previous).filter(|previous| (1..at).contains(previous));
        at = previous.or_else(|| Some(table.newest_until(time, at)?.sequence))?;
    }
    tracing::debug!(%stream, "no picture found in {SEARCH_COUNT} blocks");
    None
}

/// What block `sequence` holds of `stream`.
fn section_at(
    blocks: &mut Blocks<'_>,
    sequence: Sequence,
    stream: StreamId,
) -> Option<(TableRow, StreamSection)> {
    let row = blocks.volume.table().block(sequence)?;
    let index = Some(row)
        .filter(|row| row.state != RowState::Empty)
        .and_then(|row| blocks.index(&row, Some(&[stream])).ok())?;
    let mut sections = index.sections.into_iter();
    let section = sections.find(|section| section.stream == stream)?;
    Some((row, section))
}

/// The newest block before `sequence` that holds `stream`, by what later blocks say: each names the
/// one before.
fn last_before(blocks: &mut Blocks<'_>, stream: StreamId, sequence: Sequence) -> Option<Sequence> {
    let every = summary_every(blocks.volume.geometry().slot_count());
    let summary = sequence.checked_next_multiple_of(every)?;
    let mut at = match section_at(blocks, summary, stream) {
        Some(_) => summary,
        None => blocks.volume.stream(stream)?.last_sequence,
    };
    for _ in 0..SEARCH_COUNT {
        if at < sequence {
            return Some(at).filter(|at| *at > 0);
        }
        let (_, section) = section_at(blocks, at, stream)?;
        at = Some(section.previous).filter(|previous| (1..at).contains(previous))?;
    }
    None
}

/// The chunks of `section` that hold frames and count.
fn frames_of(
    blocks: &Blocks<'_>,
    row: &TableRow,
    section: &StreamSection,
) -> impl DoubleEndedIterator<Item = ChunkEntry> + use<> {
    let counts = |chunk: &&ChunkEntry| {
        let position = Position {
            sequence: row.sequence,
            run: chunk.run,
        };
        chunk.has_frames && blocks.counts(position)
    };
    let chunks: Vec<_> = section.chunks.iter().filter(counts).copied().collect();
    chunks.into_iter()
}

/// Whether frame `number` of `chunk` lies at or before `time`.
fn starts_before(
    blocks: &mut Blocks<'_>,
    row: &TableRow,
    stream: StreamId,
    chunk: &ChunkEntry,
    number: u16,
    time: Timestamp,
) -> bool {
    let view = view_of(blocks, row, stream, chunk);
    let frame = view.and_then(|view| view.frames.get(usize::from(number)).copied());
    // A chunk that cannot be read becomes a gap when it is delivered.
    frame.is_none_or(|frame| frame.time <= time)
}

fn view_of(
    blocks: &mut Blocks<'_>,
    row: &TableRow,
    stream: StreamId,
    chunk: &ChunkEntry,
) -> Option<ChunkView> {
    let (bytes, id) = blocks.chunk(row, chunk).ok()?;
    ChunkView::decode(&bytes, id.tag(), stream, chunk.offset).ok()
}

/// Where to begin so that the frames of `chunk` from `time` on can be decoded.
fn start_in(
    blocks: &mut Blocks<'_>,
    row: &TableRow,
    stream: StreamId,
    chunk: &ChunkEntry,
    time: Timestamp,
) -> StartAt {
    let own = StartAt {
        sequence: row.sequence,
        offset: chunk.offset,
        frame: 0,
    };
    if chunk.first_key.is_some()
        && let Some(frame) = newest_key(blocks, row, stream, chunk, time)
    {
        return StartAt { frame, ..own };
    }
    // A key frame in a block that is gone cannot help: delivery begins at the next one.
    let start = chunk.start.filter(|start| blocks.holds_key(stream, start));
    start.map_or(own, StartAt::from)
}

/// The newest key frame in `chunk` that is not behind `time`.
fn newest_key(
    blocks: &mut Blocks<'_>,
    row: &TableRow,
    stream: StreamId,
    chunk: &ChunkEntry,
    time: Timestamp,
) -> Option<u16> {
    let view = view_of(blocks, row, stream, chunk)?;
    let frames = view.frames.iter().enumerate();
    let mut keys = frames.filter(|(_, f)| f.key && f.track == 0 && !f.record && f.time <= time);
    keys.next_back()
        .and_then(|(number, _)| u16::try_from(number).ok())
}
