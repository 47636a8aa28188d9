//! Writes the first inputs of each corpus: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.
//!
//! They are real structures, so that the search begins behind the first checks. Run it when the
//! format changes; inputs that were added for a defect stay as they are.

use std::path::Path;

use bytes::Bytes;
use camring::base::geometry::{Geometry, Position};
use camring::base::time::{TimeRange, Timestamp};
use camring::block::chunk::{ChunkSummary, PendingFrame};
use camring::block::header::{SlotRange, VoidRange};
use camring::block::index::AbsentStream;
use camring::block::pack::{RunPacker, RunPlace};
use camring::block::record::{GapRecord, Record};
use camring::block::trailer::BlockSpan;
use camring::block::{
    BlockHeader, BlockId, BlockTrailer, ChunkEntry, DecodeStart, IndexBuilder, PAGE_LEN,
};
use camring::frame::{Codec, Gap, GapCause, StreamId, StreamSetup, TrackSetup};
use camring_fuzz::{BLOCK, RUN_OFFSET, geometry};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

const MARK: Position = Position {
    sequence: 4,
    run: 7,
};
const FIRST_RUN: u64 = 8;

fn main() -> Result {
    let headers = headers_of_volumes().into_iter().chain(headers_of_lives());
    for (name, header) in headers {
        let mut page = vec![0; PAGE_LEN];
        header.encode(&mut page);
        save("block_header", name, &page)?;
    }
    let runs = kinds_of_frames().into_iter().chain(kinds_of_streams());
    for (name, streams) in runs {
        let (run, index) = run_and_index(&streams, &[]);
        save("run_and_chunk", name, &run)?;
        save("index", name, &index)?;
    }
    for (name, streams, absent) in summaries() {
        save("index", name, &run_and_index(&streams, &absent).1)?;
    }
    for (name, bytes) in images() {
        save("whole_image", name, &bytes)?;
    }
    Ok(())
}

fn save(target: &str, name: &str, bytes: &[u8]) -> Result {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)?;
    Ok(())
}

/// Where block `slot` of the whole image begins.
fn slot(slot: u32) -> u32 {
    65_536 * slot
}

/// Edits of the whole image: headers, runs, chunks, frames, index and trailer, as they are and with
/// their checksums put right.
fn images() -> Vec<(&'static str, Vec<u8>)> {
    let first_headers = [0, 1, 2, 3].map(|n| (slot(n), 8));
    let trailer = slot(8) - 4096;
    let many: Vec<_> = (0..16).map(|n| (slot(n) + 3000 * n, 3)).collect();
    vec![
        ("untouched", vec![0]),
        ("header", edits(0, &[(0, 64), (slot(5) + 88, 4)])),
        ("frame", edits(0, &[(slot(7) + 9_000, 16)])),
        // A watermark with its checksum put right, in a header and in a run.
        (
            "mark",
            edits(1, &[(slot(9) + 144, 2), (slot(9) + 4_096 + 80, 2)]),
        ),
        ("first_headers", edits(0, &first_headers)),
        ("sequence", edits(1, &[(slot(6) + 80, 1)])),
        ("nonce", edits(1, &[(slot(6) + 64, 16)])),
        (
            "ranges",
            edits(1, &[(slot(4) + 200, 40), (slot(4) + 1_200, 40)]),
        ),
        ("run_header", edits(0, &[(slot(3) + 4_096 + 20, 4)])),
        (
            "run_lengths",
            edits(1, &[(slot(3) + 4_096 + 12, 2), (slot(3) + 4_096 + 72, 2)]),
        ),
        ("directory", edits(1, &[(slot(10) + 4_096 + 128, 60)])),
        ("chunk", edits(0, &[(slot(10) + 4_096 + 600, 80)])),
        ("trailer", edits(0, &[(trailer + 84, 8)])),
        (
            "trailer_lengths",
            edits(1, &[(trailer + 84, 2), (trailer + 88, 2)]),
        ),
        ("index", edits(0, &[(trailer - 4_096, 200)])),
        ("end_of_device", edits(0, &[(slot(16) - 16, 16)])),
        ("everywhere", edits(1, &many)),
    ]
}

/// Edits of a whole image: at each offset so many bytes of 0xa5.
fn edits(flags: u8, places: &[(u32, u8)]) -> Vec<u8> {
    let mut bytes = vec![flags];
    for (offset, len) in places {
        bytes.extend(offset.to_le_bytes().iter().take(3));
        bytes.push(*len);
        bytes.extend(std::iter::repeat_n(0xa5, usize::from(*len)));
    }
    bytes
}

/// Headers of young and old volumes, small and large ones.
fn headers_of_volumes() -> Vec<(&'static str, BlockHeader)> {
    let of = |geometry, sequence, mark| BlockHeader {
        id: BlockId { sequence, ..BLOCK },
        geometry,
        mark,
        ..header(0)
    };
    let (small, large) = (measures(65_536, 16, 4096), large());
    let mut created = of(small, 0, Position::end_of(0));
    created.life = 0;
    let many = 16 << 40;
    let mark = Position {
        sequence: many + 4,
        run: 1 << 40,
    };
    vec![
        ("empty", header(0)),
        ("created", created),
        ("small", of(small, 5, MARK)),
        ("large", of(large, 5, MARK)),
        ("many_turns", of(small, many + 5, mark)),
        ("whole_mark", of(geometry(), 5, Position::end_of(4))),
    ]
}

/// Headers with few ranges and with as many as fit, with odd clocks, features and lives.
fn headers_of_lives() -> Vec<(&'static str, BlockHeader)> {
    let changed = |change: fn(&mut BlockHeader)| {
        let mut header = header(0);
        change(&mut header);
        header
    };
    let far = |change: fn(&mut BlockHeader)| {
        let mut header = header(0);
        (header.geometry, header.mark) = (large(), Position::end_of(999));
        (header.id.slot, header.id.sequence) = (999, 1_000);
        change(&mut header);
        header
    };
    let all = |header: &mut BlockHeader| {
        (header.bad, header.pins) = (slots(64, 0), slots(96, 2));
        header.voids = voids(900, 96);
    };
    let clocks = |header: &mut BlockHeader| {
        (header.written_utc_us, header.written_boot_us) = (i64::MIN, i64::MAX);
    };
    let features = |header: &mut BlockHeader| {
        (header.compat, header.read_only_compat) = (1 << 40, 3);
    };
    let wide = |header: &mut BlockHeader| header.bad = vec![SlotRange { first: 8, count: 8 }];
    vec![
        ("full", header(4)),
        ("wide_range", changed(wide)),
        ("pins", changed(|header| header.pins = slots(3, 1))),
        ("voids", far(|header| header.voids = voids(900, 96))),
        ("all_ranges", far(all)),
        ("odd_clocks", changed(clocks)),
        ("features", changed(features)),
        ("lives", far(|header| header.life = 1 << 50)),
    ]
}

fn measures(block_len: u32, slot_count: u64, unit_len: u32) -> Geometry {
    Geometry::new(block_len, slot_count, unit_len).expect("legal measures")
}

fn large() -> Geometry {
    measures(64 << 20, 1 << 20, 65_536)
}

/// Every fourth slot from `first` on.
fn slots(count: u32, first: u32) -> Vec<SlotRange> {
    let range = |n: u32| SlotRange {
        first: first + 4 * n,
        count: 1,
    };
    (0..count).map(range).collect()
}

/// Ranges of one block each, from block `first` on.
fn voids(first: u64, count: u64) -> Vec<VoidRange> {
    let range = |sequence: u64| VoidRange {
        from: Position { sequence, run: 7 },
        to: sequence + 1,
    };
    (first..first + count).map(range).collect()
}

/// A header with `count` ranges of each kind.
fn header(count: u32) -> BlockHeader {
    BlockHeader {
        id: BLOCK,
        geometry: geometry(),
        compat: 0,
        read_only_compat: 0,
        life: 3,
        written_utc_us: 1_700_000_000_000_000,
        written_boot_us: 60_000_000,
        boot_id: [3; 16],
        mark: MARK,
        bad: slots(count, 0),
        pins: slots(count, 2),
        voids: voids(1, count.into()),
    }
}

/// One stream whose frames are of one kind.
fn kinds_of_frames() -> Vec<(&'static str, Vec<Packed>)> {
    let with = |change: fn(&mut PendingFrame)| {
        let mut frames: Vec<_> = (0..6).map(frame).collect();
        frames.iter_mut().for_each(change);
        vec![(StreamId(1), frames)]
    };
    let extreme = |frame: &mut PendingFrame| {
        let is_even = frame.ordinal.is_multiple_of(2);
        frame.time = if is_even {
            Timestamp::MAX
        } else {
            Timestamp::MIN
        };
    };
    vec![
        ("no_setup", with(|_| {})),
        ("leading", with(|f| f.leading = f.ordinal > 2)),
        ("all_keys", with(|f| f.key = true)),
        ("tracks", with(|f| f.track = (f.ordinal % 7) as u8)),
        // What does not fit into a difference of 32 bits takes an escape.
        ("escaped_times", with(|f| f.time.0 <<= f.ordinal % 2 * 10)),
        (
            "escaped_clocks",
            with(|f| f.clock = i64::MAX >> (7 * f.ordinal)),
        ),
        (
            "escaped_ordinals",
            with(|f| f.ordinal = 1 << (9 * f.ordinal)),
        ),
        ("odd_times", with(extreme)),
        ("backwards", with(|f| f.time.0 -= 80_000 * f.ordinal as i64)),
        ("long_frame", with(|f| f.payload = vec![7; 900].into())),
    ]
}

/// Streams with setups, gaps and other records, few and many.
fn kinds_of_streams() -> Vec<(&'static str, Vec<Packed>)> {
    let one = |frames: Vec<PendingFrame>| vec![(StreamId(1), frames)];
    let first = setup(vec![track(Codec::H264)]);
    let second = setup(Codec::ALL.map(track).into());
    let causes = GapCause::STORED.iter().zip(0..);
    let gaps = causes.map(|(cause, n)| gap(*cause, n)).collect();
    let mut changed = frames(3);
    changed.extend([second, frame(3), frame(4)]);
    let unknown = [Bytes::from_static(&[9, 1, 2, 3]), Bytes::new()];
    let mut unknown: Vec<_> = unknown.map(|payload| record(0, payload)).into();
    unknown.push(frame(0));
    let two = vec![(StreamId(1), frames(4)), (StreamId(u64::MAX), frames(2))];
    let many = (1..=40).map(|id| (StreamId(id), vec![first.clone(), frame(0)]));
    vec![
        ("one", one(frames(3))),
        ("two", two),
        ("empty", Vec::new()),
        ("many", many.collect()),
        ("records", one(vec![first.clone(), gap(GapCause::Idle, 0)])),
        ("gaps", one(gaps)),
        ("changed", one(changed)),
        ("unknown_records", one(unknown)),
    ]
}

/// Indices that list streams that their block does not hold.
fn summaries() -> Vec<(&'static str, Vec<Packed>, Vec<AbsentStream>)> {
    let setup = Record::Setup(stream_setup(vec![track(Codec::H265)])).encode();
    let lasting = gap(GapCause::NoSignal, 0).payload;
    let absent = |stream: u64, records: Vec<Bytes>| AbsentStream {
        stream: StreamId(stream),
        previous: stream % 5,
        last_time: Timestamp(1_700_000_000_000_000),
        records,
    };
    let silent = |stream| absent(stream, vec![setup.clone()]);
    let (first, last) = (
        absent(0, Vec::new()),
        absent(u64::MAX, vec![setup.clone(), lasting]),
    );
    let present = vec![(StreamId(1), frames(3))];
    vec![
        ("summary", present.clone(), vec![silent(2), last.clone()]),
        ("summary_alone", Vec::new(), vec![first, silent(2), last]),
        ("summary_of_many", present, (2..60).map(silent).collect()),
    ]
}

/// A stream of a run, and what is packed of it.
type Packed = (StreamId, Vec<PendingFrame>);

/// A setup, some frames and a gap.
fn frames(count: u64) -> Vec<PendingFrame> {
    let mut frames = vec![setup(vec![track(Codec::H264)])];
    frames.extend((0..count).map(frame));
    frames.push(gap(GapCause::PacketLoss, count));
    frames
}

fn setup(tracks: Vec<TrackSetup>) -> PendingFrame {
    record(0, Record::Setup(stream_setup(tracks)).encode())
}

fn stream_setup(tracks: Vec<TrackSetup>) -> StreamSetup {
    StreamSetup {
        name: "door".into(),
        tracks,
    }
}

fn gap(cause: GapCause, ordinal: u64) -> PendingFrame {
    let is_closed = !ordinal.is_multiple_of(2);
    let gap = Gap {
        cause,
        start: Timestamp(1),
        end: is_closed.then_some(Timestamp(7)),
        lost_count: is_closed.then_some(2),
    };
    let gap = GapRecord {
        gap,
        first_ordinal: ordinal,
        end_ordinal: ordinal + 2,
    };
    record(ordinal, Record::Gap(gap).encode())
}

fn record(ordinal: u64, payload: Bytes) -> PendingFrame {
    PendingFrame {
        record: true,
        key: false,
        payload,
        ..frame(ordinal)
    }
}

fn frame(ordinal: u64) -> PendingFrame {
    let step = 40_000 * ordinal as i64;
    PendingFrame {
        ordinal,
        arrival_us: 60_000_000 + step,
        time: Timestamp(1_700_000_000_000_000 + step),
        clock: step,
        track: 0,
        key: ordinal == 0,
        leading: false,
        record: false,
        payload: Bytes::from_static(b"\0\0\0\x02\x65\x88"),
    }
}

/// A run with these streams, and the trailer page and index of a block that holds just it; the index
/// lists `absent` streams too.
fn run_and_index(streams: &[Packed], absent: &[AbsentStream]) -> (Vec<u8>, Vec<u8>) {
    let place = RunPlace {
        id: BLOCK,
        tag: BLOCK.tag(),
        run: FIRST_RUN,
        offset: RUN_OFFSET,
        mark: MARK,
        utc_offset_us: 1_699_999_940_000_000,
        packed_boot_us: 60_500_000,
    };
    let mut run = vec![0; 64 << 10];
    let mut builder = IndexBuilder::default();
    absent.iter().for_each(|absent| builder.add_absent(absent));
    let mut packer = RunPacker::new(&mut run, place, streams.len(), Vec::new());
    for (dense, (stream, frames)) in (0..).zip(streams) {
        let start = DecodeStart {
            sequence: 4,
            offset: 4096,
            len: 640,
            frame: 1,
        };
        let (entry, summary) = packer.add(*stream, Some(start), frames.iter());
        list(&mut builder, dense, *stream, entry, &summary);
        for record in frames.iter().filter(|frame| frame.record) {
            builder.add_record(dense, &record.payload);
        }
    }
    let header = packer.finish(&geometry());
    run.truncate(header.len as usize);
    let index = trailer_and_index(&mut builder, header.end());
    (run, index)
}

fn list(
    builder: &mut IndexBuilder,
    dense: u32,
    stream: StreamId,
    entry: ChunkEntry,
    summary: &ChunkSummary,
) {
    let frame_count = u32::from(summary.frame_count);
    builder.add_chunk(dense, stream, 4, entry, frame_count, summary.payload_len);
}

fn trailer_and_index(builder: &mut IndexBuilder, runs_end: u32) -> Vec<u8> {
    let mut index = vec![0; builder.encoded_len()];
    let fences = builder.encode(&mut index, FIRST_RUN);
    let trailer = BlockTrailer {
        id: BLOCK,
        first_run: FIRST_RUN,
        last_run: FIRST_RUN,
        runs_end,
        index_offset: runs_end,
        index_len: index.len() as u32,
        stream_count: builder.stream_count(),
        chunk_count: builder.chunk_count(),
        frame_count: 9,
        utc_offset_us: 0,
        span: BlockSpan {
            arrivals: TimeRange::ALL,
            times: TimeRange::ALL,
            skew_us: 0,
        },
        fences,
    };
    let mut bytes = vec![0; PAGE_LEN];
    trailer.encode(&mut bytes);
    bytes.extend(index);
    bytes
}

fn track(codec: Codec) -> TrackSetup {
    TrackSetup {
        codec,
        clock_rate_hz: 90_000,
        width_px: 1280,
        height_px: 720,
        channel_count: 0,
        extra: Bytes::from_static(&[1, 0x4d, 0x40, 0x1f]),
    }
}
