//! What goes into an index is found again through its fences.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::frame::StreamSetup;

fn chunk(n: u32) -> ChunkEntry {
    let time = Timestamp(i64::from(n) * 1000);
    ChunkEntry {
        offset: 4096 + n * 64,
        len: 64,
        run: 10 + u64::from(n / 4),
        times: TimeRange {
            start: time,
            end: time.plus_us(500),
        },
        has_frames: n.is_multiple_of(2),
        first_key: n.is_multiple_of(3).then_some(n as u16 % 7),
        start: (!n.is_multiple_of(5)).then_some(DecodeStart {
            sequence: 3,
            offset: 64,
            len: 9,
            frame: 2,
        }),
    }
}

/// Sections of `streams` streams with `chunks` chunks each, added in a scrambled order.
fn built(streams: u64, chunks: u32) -> (IndexBuilder, Vec<u8>, Vec<Fence>) {
    let mut builder = IndexBuilder::default();
    for n in 0..chunks {
        for s in 0..streams {
            let scrambled = s * 7919 % streams;
            builder.add_chunk(
                scrambled as u32,
                StreamId(scrambled * 3),
                s,
                chunk(n),
                2,
                100,
            );
            if n == 0 {
                let setup = StreamSetup {
                    name: format!("camera {scrambled}"),
                    tracks: vec![],
                };
                builder.add_record(scrambled as u32, &Record::Setup(setup).encode());
            }
        }
    }
    let mut bytes = vec![0xee; builder.encoded_len()];
    let fences = builder.encode(&mut bytes, 10);
    (builder, bytes, fences)
}

/// Looks a stream up as a reader does: by the fences, page by page.
fn look_up(bytes: &[u8], fences: &[Fence], stream: StreamId) -> Option<StreamSection> {
    let page = fences
        .iter()
        .rposition(|f| f.first_section.is_some() && f.first_stream <= stream)?;
    let mut at = page * INDEX_PAGE_LEN + fences[page].first_section? as usize;
    while at < bytes.len() {
        let (section, len) = StreamSection::decode(&bytes[at..], 10, 1 << 20).unwrap();
        if section.stream == stream {
            return Some(section);
        }
        at += len;
    }
    None
}

#[test]
fn every_stream_of_a_large_index_is_found_by_its_fence() {
    let (builder, bytes, fences) = built(1000, 5);
    assert!(fences.len() > 2, "the index has several pages");
    assert_eq!(
        (builder.stream_count(), builder.chunk_count()),
        (1000, 5000)
    );
    for (page, fence) in bytes.chunks(INDEX_PAGE_LEN).zip(&fences) {
        assert!(page_is_whole(page, fence));
    }
    for s in 0..1000 {
        let section = look_up(&bytes, &fences, StreamId(s * 3)).unwrap();
        assert_eq!(section.chunks, (0..5).map(chunk).collect::<Vec<_>>());
        assert_eq!((section.frame_count, section.payload_len), (10, 500));
        let Record::Setup(setup) = &section.records[0].1 else {
            panic!("a setup was added")
        };
        assert_eq!(setup.name, format!("camera {s}"));
    }
    assert_eq!(look_up(&bytes, &fences, StreamId(1)), None);
}

/// A section that fills several pages by itself does not hide the one behind it.
#[test]
fn sections_longer_than_a_page_are_stepped_over() {
    let (_, bytes, fences) = built(3, 4000);
    assert!(fences.iter().any(|fence| fence.first_section.is_none()));
    for s in 0..3 {
        let section = look_up(&bytes, &fences, StreamId(s * 3)).unwrap();
        assert_eq!(section.chunks.len(), 4000);
    }
}

/// A summary lists streams without chunks, until a chunk comes.
#[test]
fn a_summary_lists_streams_that_the_block_does_not_hold() {
    let (mut builder, _, _) = built(10, 1);
    let record = Record::Setup(StreamSetup::default()).encode();
    let before = builder.encoded_len();
    let listed = |stream| AbsentStream {
        stream: StreamId(stream),
        previous: 700 + stream,
        last_time: Timestamp(-5),
        records: vec![record.clone()],
    };
    for stream in [1, 4, 1000, 4] {
        builder.add_absent(&listed(stream));
    }
    builder.remove_absent(StreamId(1));
    builder.add_chunk(10, StreamId(1000), 3, chunk(1), 1, 1);
    let mut bytes = vec![0; builder.encoded_len()];
    let fences = builder.encode(&mut bytes, 10);
    assert_eq!((builder.stream_count(), builder.chunk_count()), (12, 11));
    let found = look_up(&bytes, &fences, StreamId(4)).unwrap();
    assert_eq!((found.previous, found.last_time), (704, Timestamp(-5)));
    assert_eq!((found.chunks.len(), found.records.len()), (0, 1));
    let held = look_up(&bytes, &fences, StreamId(1000)).unwrap();
    assert_eq!(
        (held.previous, held.chunks.len(), held.records.len()),
        (3, 1, 0)
    );
    assert_eq!(look_up(&bytes, &fences, StreamId(1)), None);
    assert!(builder.drop_absent() && !builder.drop_absent());
    assert_eq!(
        builder.encoded_len(),
        before + SECTION_HEADER_LEN + ENTRY_LEN
    );
}

#[test]
fn a_ring_holds_two_summaries_at_least() {
    let every = [16, 17, 100, 2047, 2048, 1 << 20].map(summary_every);
    assert_eq!(every, [8, 8, 32, 512, 1024, 1024]);
}

#[test]
fn a_cleared_builder_starts_anew() {
    let (mut builder, _, _) = built(10, 3);
    builder.add_absent(&AbsentStream {
        stream: StreamId(1),
        previous: 1,
        last_time: Timestamp(1),
        records: Vec::new(),
    });
    builder.clear();
    assert_eq!(
        (
            builder.encoded_len(),
            builder.stream_count(),
            builder.chunk_count()
        ),
        (0, 0, 0)
    );
    assert!(!builder.holds(3));
    builder.add_chunk(3, StreamId(9), 0, chunk(1), 1, 1);
    let mut bytes = vec![0; builder.encoded_len()];
    let fences = builder.encode(&mut bytes, 10);
    let section = look_up(&bytes, &fences, StreamId(9)).unwrap();
    assert_eq!(
        (section.chunks.as_slice(), section.records.len()),
        (&[chunk(1)][..], 0)
    );
}

proptest! {
    /// Whatever bytes the disk returns, decoding ends with an answer.
    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = StreamSection::decode(&bytes, 1, 1 << 20);
    }

    #[test]
    fn changed_sections_never_panic(at: prop::sample::Index, value: u8) {
        let (_, mut bytes, _) = built(2, 3);
        let at = at.index(bytes.len());
        bytes[at] = value;
        let mut from = Bytes::from(bytes);
        while let Ok((_, len)) = StreamSection::decode(&from, 10, 1 << 20) {
            from = from.slice(len..);
        }
    }
}
