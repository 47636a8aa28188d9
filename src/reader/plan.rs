//! Which bytes to read: chunks that lie close together become one read. Pure.

use std::ops::Range;

use crate::block::ChunkEntry;
use crate::frame::StreamId;

/// Wanted chunks closer than this are read at once, in bytes.
const MERGE_LEN: u32 = 64 << 10;
/// The longest read of more than one chunk, in bytes.
const SPAN_LEN: u32 = 1 << 20;

/// A wanted chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) stream: StreamId,
    pub(super) chunk: ChunkEntry,
}

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Where it begins, in bytes from the beginning of the block; aligned.
    pub(super) offset: u32,
    /// Its length in bytes; aligned.
    pub(super) len: u32,
    /// The wanted chunks in it, by their place in the list.
    pub(super) chunks: Range<usize>,
}

/// The reads for `wanted`, which are sorted by offset. `unit_len` is the alignment unit.
pub(super) fn spans(wanted: &[Wanted], unit_len: u32) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (number, Wanted { chunk, .. }) in wanted.iter().enumerate() {
        let from = chunk.offset / unit_len * unit_len;
        let end = chunk.offset.saturating_add(chunk.len);
        let end = end
            .checked_next_multiple_of(unit_len)
            .unwrap_or(u32::MAX / unit_len * unit_len);
        let near = spans.last_mut().filter(|span| {
            from.saturating_sub(span.offset.saturating_add(span.len)) <= MERGE_LEN
                && end.saturating_sub(span.offset) <= SPAN_LEN
                && from >= span.offset
        });
        match near {
            Some(span) => {
                span.len = span.len.max(end - span.offset);
                span.chunks.end = number + 1;
            }
            None => spans.push(Span {
                offset: from,
                len: end - from,
                chunks: number..number + 1,
            }),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::time::{TimeRange, Timestamp};

    fn wanted(offset: u32, len: u32) -> Wanted {
        let time = Timestamp(0);
        let times = TimeRange {
            start: time,
            end: time,
        };
        let chunk = ChunkEntry {
            offset,
            len,
            run: 1,
            times,
            has_frames: true,
            first_key: None,
            start: None,
        };
        Wanted {
            stream: StreamId(0),
            chunk,
        }
    }

    #[test]
    fn near_chunks_are_read_at_once_and_far_ones_are_not() {
        let chunks = [
            wanted(4160, 100),
            wanted(4288, 5000),
            wanted(60_000, 64),
            wanted(400_000, 9),
        ];
        let spans = spans(&chunks, 4096);
        let shape: Vec<_> = spans
            .iter()
            .map(|s| (s.offset, s.len, s.chunks.clone()))
            .collect();
        assert_eq!(shape, [(4096, 57_344, 0..3), (397_312, 4096, 3..4)]);
    }

    proptest! {
        /// Every chunk lies whole in its span; spans are aligned and not too long.
        #[test]
        fn every_chunk_lies_in_its_span(
            steps in proptest::collection::vec((0_u32..200_000, 1_u32..1_500_000), 1..40),
        ) {
            let mut at = 4096;
            let chunks: Vec<_> = steps.iter().map(|(gap, len)| {
                let offset = (at + gap).next_multiple_of(64);
                at = offset + len;
                wanted(offset, *len)
            }).collect();
            let spans = spans(&chunks, 4096);
            prop_assert_eq!(spans.iter().map(|s| s.chunks.len()).sum::<usize>(), chunks.len());
            for span in &spans {
                prop_assert_eq!((span.offset % 4096, span.len % 4096), (0, 0));
                prop_assert!(span.chunks.len() == 1 || span.len <= SPAN_LEN);
                for Wanted { chunk, .. } in chunks.get(span.chunks.clone()).unwrap_or_default() {
                    prop_assert!(chunk.offset >= span.offset);
                    prop_assert!(chunk.offset + chunk.len <= span.offset + span.len);
                }
            }
        }
    }
}
