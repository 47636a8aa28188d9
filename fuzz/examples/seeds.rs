//! Writes the first inputs of each corpus: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.
//!
//! They are real structures, so that the search begins behind the first checks. Run it when the
//! format changes; inputs that were added for a defect stay as they are.

use std::path::Path;

use bytes::Bytes;
use camring::base::geometry::Position;
use camring::base::time::{TimeRange, Timestamp};
use camring::block::chunk::{ChunkSummary, PendingFrame};
use camring::block::header::{SlotRange, VoidRange};
use camring::block::pack::{RunPacker, RunPlace};
use camring::block::record::{GapRecord, Record};
use camring::block::trailer::BlockSpan;
use camring::block::{BlockHeader, BlockTrailer, ChunkEntry, DecodeStart, IndexBuilder, PAGE_LEN};
use camring::frame::{Codec, Gap, GapCause, StreamId, StreamSetup, TrackSetup};
use camring_fuzz::{BLOCK, RUN_OFFSET, geometry};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

const MARK: Position = Position {
    sequence: 4,
    run: 7,
};
const FIRST_RUN: u64 = 8;

fn main() -> Result {
    save("block_header", "empty", &header(0))?;
    save("block_header", "full", &header(5))?;
    let one = [("one", vec![frames(1, 3)])];
    let two = [("two", vec![frames(1, 4), frames(2, 2)])];
    for (name, streams) in one.into_iter().chain(two) {
        let (run, index) = run_and_index(&streams);
        save("run_and_chunk", name, &run)?;
        save("index", name, &index)?;
    }
    save("whole_image", "untouched", &[0])?;
    // A torn header, a changed frame, a watermark with its checksum put right.
    save("whole_image", "header", &edits(0, &[(0, 64), (65_536 * 5 + 88, 4)]))?;
    save("whole_image", "frame", &edits(0, &[(65_536 * 7 + 9_000, 16)]))?;
    save("whole_image", "mark", &edits(1, &[(65_536 * 9 + 144, 2), (65_536 * 9 + 4_096 + 80, 2)]))?;
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

/// A header page with `count` ranges of each kind.
fn header(count: u32) -> Vec<u8> {
    let slots = |first: u32| {
        (0..count).map(move |i| SlotRange {
            first: first + 2 * i,
            count: 1,
        })
    };
    let void = |i: u32| VoidRange {
        from: MARK,
        to: 5 + u64::from(i),
    };
    let header = BlockHeader {
        id: BLOCK,
        geometry: geometry(),
        compat: 0,
        read_only_compat: 0,
        life: 3,
        written_utc_us: 1_700_000_000_000_000,
        written_boot_us: 60_000_000,
        boot_id: [3; 16],
        mark: MARK,
        bad: slots(0).collect(),
        pins: slots(1).collect(),
        voids: (0..count).map(void).collect(),
    };
    let mut page = vec![0; PAGE_LEN];
    header.encode(&mut page);
    page
}

/// A setup, some frames and a gap, of stream `id`.
fn frames(id: u64, count: u64) -> (StreamId, Vec<PendingFrame>) {
    let setup = StreamSetup {
        name: "door".into(),
        tracks: vec![track()],
    };
    let gap = Gap {
        cause: GapCause::PacketLoss,
        start: Timestamp(1),
        end: None,
        lost_count: Some(2),
    };
    let gap = GapRecord {
        gap,
        first_ordinal: count,
        end_ordinal: count + 2,
    };
    let mut frames = vec![pending(0, true, Record::Setup(setup).encode())];
    for ordinal in 0..count {
        frames.push(pending(
            ordinal,
            false,
            Bytes::from_static(b"\0\0\0\x02\x65\x88"),
        ));
    }
    frames.push(pending(count, true, Record::Gap(gap).encode()));
    (StreamId(id), frames)
}

fn pending(ordinal: u64, record: bool, payload: Bytes) -> PendingFrame {
    let step = 40_000 * ordinal as i64;
    PendingFrame {
        ordinal,
        arrival_us: 60_000_000 + step,
        time: Timestamp(1_700_000_000_000_000 + step),
        clock: step,
        track: 0,
        key: ordinal == 0 && !record,
        leading: false,
        record,
        payload,
    }
}

/// A run with these streams, and the trailer page and index of a block that holds just it.
fn run_and_index(streams: &[(StreamId, Vec<PendingFrame>)]) -> (Vec<u8>, Vec<u8>) {
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

fn track() -> TrackSetup {
    TrackSetup {
        codec: Codec::H264,
        clock_rate_hz: 90_000,
        width_px: 1280,
        height_px: 720,
        channel_count: 0,
        extra: Bytes::from_static(&[1, 0x4d, 0x40, 0x1f]),
    }
}
