//! What is found on disk and was not written by this release, or not by this volume, or is damaged.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use camring::ErrorKind;
use camring::base::geometry::{Nonce, Position};
use camring::base::time::TimeRange;
use camring::block::chunk::PendingFrame;
use camring::block::index::IndexBuilder;
use camring::block::pack::{RunPacker, RunPlace};
use camring::block::record::Record;
use camring::block::trailer::BlockSpan;
use camring::block::{BlockHeader, BlockId, BlockTrailer, PAGE_LEN};
use camring::frame::{GapCause, Item, StreamId};
use camring::reader::Query;
use camring::volume::Volume;
use camring::writer::{Writer, WriterOptions};

use super::recording::{START_US, frame, frames_of, gaps_in, number_of, numbers_of, read, volume};
use super::{CAMERA, assert_error, camera, record};

const BLOCK_LEN: usize = 256 << 10;
/// Frames of each stream in a block that is written by hand.
const FRAME_COUNT: u64 = 20;

fn data(dir: &Path) -> File {
    let data = dir.join("data");
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(data)
        .unwrap()
}

fn header_of(data: &File, slot: u64) -> BlockHeader {
    let mut page = [0; PAGE_LEN];
    data.read_exact_at(&mut page, slot * BLOCK_LEN as u64)
        .unwrap();
    BlockHeader::decode(&page).unwrap()
}

/// The frames of made-up camera `stream` behind a setup record, as the writer would pack them.
fn pending(stream: StreamId, setup: Vec<u8>) -> Vec<PendingFrame> {
    let frames = (0..FRAME_COUNT).map(|number| {
        let frame = frame(stream.0, number);
        PendingFrame {
            ordinal: number,
            arrival_us: 40_000 * number as i64,
            time: frame.time,
            clock: frame.clock,
            track: frame.track,
            key: frame.key,
            leading: false,
            record: false,
            payload: frame.payload,
        }
    });
    let mut frames: Vec<_> = frames.collect();
    let first = PendingFrame {
        record: true,
        key: false,
        payload: setup.into(),
        ..frames[0].clone()
    };
    frames.insert(0, first);
    frames
}

/// Writes block 1 by hand: one run with one chunk per stream, sealed or not.
fn write_block(dir: &Path, streams: &[(StreamId, Vec<u8>)], is_sealed: bool) {
    let data = data(dir);
    let first = header_of(&data, 0);
    let geometry = first.geometry;
    let id = BlockId {
        sequence: 1,
        nonce: Nonce([7; 16]),
        ..first.id
    };
    let mut block = vec![0; BLOCK_LEN];
    BlockHeader {
        id,
        life: 1,
        ..first
    }
    .encode(&mut block);
    let place = RunPlace {
        id,
        tag: id.tag(),
        run: 1,
        offset: PAGE_LEN as u32,
        mark: Position::end_of(0),
        utc_offset_us: START_US,
        packed_boot_us: 2_000_000,
    };
    let mut packer = RunPacker::new(&mut block[PAGE_LEN..], place, streams.len(), Vec::new());
    let mut index = IndexBuilder::default();
    let mut span = None;
    for (dense, (stream, setup)) in streams.iter().enumerate() {
        let frames = pending(*stream, setup.clone());
        let (entry, summary) = packer.add(*stream, None, frames.iter());
        let count = u32::from(summary.frame_count);
        index.add_chunk(dense as u32, *stream, 0, entry, count, summary.payload_len);
        index.add_record(dense as u32, setup);
        let times = summary.times;
        let (arrivals, skew_us) = (times, summary.skew_us);
        span = Some(BlockSpan {
            arrivals,
            times,
            skew_us,
        });
    }
    let run = packer.finish(&geometry);
    if is_sealed {
        let at = run.end() as usize;
        let index_len = index.encoded_len();
        let fences = index.encode(&mut block[at..], 1);
        let trailer = BlockTrailer {
            id,
            first_run: 1,
            last_run: 1,
            runs_end: run.end(),
            index_offset: run.end(),
            index_len: index_len as u32,
            stream_count: streams.len() as u32,
            chunk_count: streams.len() as u32,
            frame_count: FRAME_COUNT * streams.len() as u64,
            utc_offset_us: START_US,
            span: span.unwrap(),
            fences,
        };
        trailer.encode(&mut block[BLOCK_LEN - PAGE_LEN..]);
    }
    data.write_all_at(&block, 0).unwrap();
}

/// A later release has recorded a stream in a codec that this one does not know: its setup says
/// nothing here, its frames and those of the other stream are read all the same, and recording goes
/// on.
#[test]
fn a_stream_in_an_unknown_codec_is_read_without_its_setup() {
    let known = Record::Setup(camera::setup("known")).encode().to_vec();
    let mut unknown = known.clone();
    // Kind, length of the name, number of tracks, name; then the code of the codec.
    unknown[3 + "known".len()] = 200;
    assert!(
        Record::decode(&unknown).is_err(),
        "the code is where it was looked for"
    );
    let other = StreamId(8);
    for is_sealed in [false, true] {
        let dir = volume(16, BLOCK_LEN as u32);
        let streams = [(CAMERA, unknown.clone()), (other, known.clone())];
        write_block(dir.path(), &streams, is_sealed);
        let check = |volume: &Volume| {
            let expected: Vec<_> = (0..FRAME_COUNT).collect();
            assert_eq!(
                numbers_of(volume, CAMERA.0),
                expected,
                "sealed: {is_sealed}"
            );
            assert_eq!(numbers_of(volume, other.0), expected, "sealed: {is_sealed}");
            assert_eq!(volume.stream(other).unwrap().setup.name, "known");
            assert!(volume.stream(CAMERA).unwrap().setup.tracks.is_empty());
        };
        let volume = Volume::open(dir.path()).unwrap();
        check(&volume);
        let block = read(&volume, Query::blocks([1]));
        let setups = block.iter().filter(|r| matches!(r.item, Item::Setup(_)));
        assert_eq!(setups.count(), 1);
        record_beside(dir.path());
        check(&Volume::open(dir.path()).unwrap());
    }
}

/// Another life in which only a third camera is recorded.
fn record_beside(dir: &Path) {
    let writer = Writer::open(dir, WriterOptions::default()).unwrap();
    let mut producer = writer.producer().unwrap();
    let third = StreamId(9);
    producer.add_stream(third, camera::setup("third")).unwrap();
    producer.push(third, frame(third.0, 0)).unwrap();
    drop(producer);
    writer.close().unwrap();
}

/// A volume of a later format is refused by its name; one with features that only writers must know
/// can be read, and is not written to.
#[test]
fn a_volume_of_a_later_release_is_not_touched() {
    let dir = volume(16, BLOCK_LEN as u32);
    record(dir.path(), 0..50);
    let file = data(dir.path());
    let newest = header_of(&file, 1);
    let mut page = [0; PAGE_LEN];
    let read_only = BlockHeader {
        read_only_compat: 1,
        ..newest
    };
    read_only.encode(&mut page);
    file.write_all_at(&page, BLOCK_LEN as u64).unwrap();
    let before = std::fs::read(dir.path().join("data")).unwrap();
    let refused = Writer::open(dir.path(), WriterOptions::default()).unwrap_err();
    assert_error(
        &refused,
        ErrorKind::Unsupported,
        &["later release", "read", "newer"],
    );
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..50).collect::<Vec<_>>());

    // The version stands behind the checksum, which every version keeps where it is.
    let mut first = [0; PAGE_LEN];
    file.read_exact_at(&mut first, 0).unwrap();
    let mut later = first;
    later[12] = 2;
    let sum = camring::block::checksum::crc32c(&later[12..]);
    later[8..12].copy_from_slice(&sum.to_le_bytes());
    file.write_all_at(&later, 0).unwrap();
    for refused in [
        Volume::open(dir.path()).unwrap_err(),
        Writer::open(dir.path(), WriterOptions::default()).unwrap_err(),
    ] {
        assert_error(
            &refused,
            ErrorKind::Unsupported,
            &["later release", "Use that release"],
        );
    }
    file.write_all_at(&first, 0).unwrap();
    assert!(std::fs::read(dir.path().join("data")).unwrap() == before);
}

/// One bit of one frame rots: it is told as damaged, what needs it is left out, and everything else
/// is read. The same for a bit of an index, a trailer, a run header: the block is walked, or told.
#[test]
fn damage_is_told_and_hides_nothing_else() {
    let dir = volume(16, BLOCK_LEN as u32);
    record(dir.path(), 0..300);
    let file = data(dir.path());
    let whole = std::fs::read(dir.path().join("data")).unwrap();
    let table = dir.path().join("blocktable");
    let rows = std::fs::read(&table).unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let all: Vec<_> = volume.table().blocks().map(|row| row.sequence).collect();
    assert!(all.len() >= 5);
    let victim = all[2];
    let in_victim: Vec<_> = numbers_in(&volume, victim);
    let seed = camera::seed();
    eprintln!("seed {seed}");
    let mut random = camera::Random::new(seed);
    let start = volume.geometry().slot_of(victim) * BLOCK_LEN as u64;
    for round in 0..60 {
        let at = match round {
            0..20 => start + random.below(BLOCK_LEN as u64),
            20..40 => start + random.below(2 * PAGE_LEN as u64),
            _ => start + BLOCK_LEN as u64 - 1 - random.below(4 * PAGE_LEN as u64),
        };
        let byte = whole[at as usize];
        file.write_all_at(&[byte ^ (1 << random.below(8))], at)
            .unwrap();
        // Without the table a block whose header is lost is not known to have been there.
        if round % 2 == 0 && at >= start + PAGE_LEN as u64 {
            std::fs::remove_file(&table).unwrap();
        }
        let opened = Volume::open(dir.path()).unwrap();
        let found = numbers_of(&opened, CAMERA.0);
        assert!(found.is_sorted(), "round {round}: {found:?}");
        let missing: Vec<_> = (0..300)
            .filter(|n| found.binary_search(n).is_err())
            .collect();
        // What is left out lies in the block, or needs a frame that did.
        let last = in_victim.last().unwrap();
        let behind = last / 25 * 25 + 25;
        let is_near = |n: &u64| in_victim[0] <= *n && *n < behind;
        assert!(
            missing.iter().all(is_near),
            "byte {at}: {missing:?} of {in_victim:?}"
        );
        let items = read(&opened, Query::time([CAMERA], TimeRange::ALL));
        let is_told = gaps_in(&items)
            .iter()
            .any(|gap| gap.cause == GapCause::Damaged);
        assert!(
            missing.is_empty() || is_told,
            "byte {at}: {missing:?} and no word"
        );
        file.write_all_at(&[byte], at).unwrap();
        std::fs::write(&table, &rows).unwrap();
    }
    let opened = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&opened, CAMERA.0), (0..300).collect::<Vec<_>>());
}

fn numbers_in(volume: &Volume, sequence: u64) -> Vec<u64> {
    let items = read(volume, Query::blocks([sequence]));
    let frames = super::recording::frames_in(&items);
    frames
        .iter()
        .map(|frame| number_of(CAMERA, frame))
        .collect()
}

/// The blocks of one volume lie in the file of another one, and its cache files beside it: a copy
/// that went wrong. Frames of the wrong volume never come.
#[test]
fn blocks_of_another_volume_are_not_believed() {
    let (dir, other) = (volume(16, BLOCK_LEN as u32), volume(16, BLOCK_LEN as u32));
    record(dir.path(), 0..300);
    record(other.path(), 5000..5600);
    let foreign = std::fs::read(other.path().join("data")).unwrap();
    let half = foreign.len() / 2;
    data(dir.path())
        .write_all_at(&foreign[half..], half as u64)
        .unwrap();
    for name in ["blocktable", "timeline", "volume.json"] {
        std::fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    }
    let volume = Volume::open(dir.path()).unwrap();
    assert_ne!(volume.id(), Volume::open(other.path()).unwrap().id());
    let numbers = numbers_of(&volume, CAMERA.0);
    assert_eq!(
        numbers,
        (0..300).collect::<Vec<_>>(),
        "its own blocks are in the first half"
    );
    assert_eq!(
        volume.time_range().map(|range| range.end),
        Some(frame(7, 299).time)
    );

    // The caches of one volume with the data of the other: the data decides.
    std::fs::write(dir.path().join("data"), &foreign).unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(volume.id(), Volume::open(other.path()).unwrap().id());
    let numbers = numbers_of(&volume, CAMERA.0);
    assert!(numbers.iter().all(|number| *number >= 5000) && numbers.last() == Some(&5599));
    drop(volume);
    record(dir.path(), 6000..6100);
    let volume = Volume::open(dir.path()).unwrap();
    assert!(frames_of(&volume, CAMERA.0, TimeRange::ALL).len() > 100);
}

/// The data file was cut short: what is left can be read, what is gone is told, recording is
/// refused with what to do, and nothing is changed.
#[test]
fn a_truncated_data_file_can_be_read_and_not_recorded() {
    let dir = volume(16, BLOCK_LEN as u32);
    record(dir.path(), 0..400);
    let whole = numbers_of(&Volume::open(dir.path()).unwrap(), CAMERA.0);
    assert_eq!(whole.len(), 400);
    let path = dir.path().join("data");
    let bytes = std::fs::read(&path).unwrap();
    for len in [
        bytes.len() - 1,
        4 * BLOCK_LEN + 12_345,
        4 * BLOCK_LEN,
        2 * BLOCK_LEN,
    ] {
        std::fs::write(&path, &bytes[..len]).unwrap();
        let refused = Writer::open(dir.path(), WriterOptions::default()).unwrap_err();
        let words = [
            &*format!("has {len} bytes"),
            "read, not recorded",
            "copy what you need",
        ];
        assert_error(&refused, ErrorKind::Damaged, &words);
        let volume = Volume::open(dir.path()).unwrap();
        let numbers = numbers_of(&volume, CAMERA.0);
        let is_whole = len > 16 * BLOCK_LEN - 4096;
        assert!(whole.starts_with(&numbers), "{numbers:?}");
        assert!(
            numbers.len() >= if is_whole { 400 } else { 40 },
            "{len}: {numbers:?}"
        );
        assert!(std::fs::read(&path).unwrap() == bytes[..len]);
    }
}
