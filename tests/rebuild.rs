//! Nothing in the directory of a volume is needed but its data: whatever happens to the other
//! files, the volume opens as if nothing had happened, and a lost directory is made anew.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    reason = "a panic is how a test fails"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/recording.rs"]
mod recording;

use std::fs;
use std::path::Path;

use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Frame, Recorded, StreamId};
use camring::reader::Query;
use camring::table::TableRow;
use camring::volume::rebuild::rebuild;
use camring::volume::{StreamInfo, Stretch, Volume};
use camring::writer::{Writer, WriterOptions};
use camring::{ErrorKind, Result};
use recording::{START_US, read, volume};
use tempfile::TempDir;

const CACHES: [&str; 3] = ["blocktable", "timeline", "volume.json"];
const STREAMS: [u64; 3] = [1, 2, u64::MAX];

/// Everything that can be asked of a volume.
#[derive(Debug, PartialEq)]
struct Shown {
    blocks: Vec<TableRow>,
    streams: Vec<StreamInfo>,
    timeline: Vec<Vec<Stretch>>,
    items: Vec<Recorded>,
}

fn show(volume: &Volume) -> Shown {
    let blocks: Vec<_> = volume.table().blocks().collect();
    let sequences: Vec<_> = blocks.iter().map(|row| row.sequence).collect();
    let streams = volume.streams();
    // What the ring is about to overwrite: the newest frames of the oldest block.
    let from = blocks.first().map_or(Timestamp::MIN, |row| row.times.end);
    let cut = |mut stretch: Stretch| {
        stretch.range.start = stretch.range.start.max(from);
        stretch
    };
    let timeline = streams.iter().map(|stream| {
        let range = TimeRange::new(from, Timestamp::MAX);
        volume
            .timeline(stream.id, range)
            .into_iter()
            .map(cut)
            .collect()
    });
    Shown {
        timeline: timeline.collect(),
        items: read(volume, Query::blocks(sequences)),
        blocks,
        streams,
    }
}

fn frame(stream: u64, number: u64) -> Frame {
    let len = 300 + stream.wrapping_mul(7919).wrapping_add(number * 131) % 1200;
    camera::frame(stream, number, START_US, 25, len.try_into().unwrap())
}

/// Records frames `numbers` of each stream; `is_restless` stops and starts the first one again and
/// again, which leaves many gaps.
fn record(writer: &Writer, numbers: std::ops::Range<u64>, is_restless: bool) {
    let mut producer = writer.producer().unwrap();
    producer.set_waiting(true);
    for stream in STREAMS {
        producer
            .add_stream(StreamId(stream), camera::setup(&format!("camera {stream}")))
            .unwrap();
    }
    for number in numbers {
        for stream in STREAMS {
            producer
                .push(StreamId(stream), frame(stream, number))
                .unwrap();
        }
        if is_restless && number.is_multiple_of(2) {
            producer.remove_stream(StreamId(1)).unwrap();
            producer
                .add_stream(StreamId(1), camera::setup("restless"))
                .unwrap();
        }
        if number.is_multiple_of(20) {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

fn empty() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A volume that has seen something: three lives, the ring written around, streams that come and
/// go, and a kill in the middle of the last life. With it, the cache files of an earlier state and
/// those of another volume.
struct Eventful {
    dir: TempDir,
    older: TempDir,
    other: TempDir,
}

fn eventful() -> Eventful {
    let (other, recorded) = (volume(32, 128 << 10), volume(16, 256 << 10));
    let writer = Writer::open(other.path(), WriterOptions::default()).unwrap();
    record(&writer, 0..100, false);
    writer.close().unwrap();

    let writer = Writer::open(recorded.path(), WriterOptions::default()).unwrap();
    record(&writer, 0..600, false);
    writer.close().unwrap();
    let older = empty();
    copy(recorded.path(), older.path(), &CACHES);
    let writer = Writer::open(recorded.path(), WriterOptions::default()).unwrap();
    record(&writer, 600..800, false);
    record(&writer, 800..1800, true);
    writer.close().unwrap();
    let writer = Writer::open(recorded.path(), WriterOptions::default()).unwrap();
    record(&writer, 2000..2150, false);
    // What a kill leaves.
    let dir = empty();
    copy(recorded.path(), dir.path(), &CACHES);
    copy(recorded.path(), dir.path(), &["data"]);
    writer.close().unwrap();
    Eventful { dir, older, other }
}

/// What can happen to a cache file.
const FATES: [&str; 7] = [
    "kept", "gone", "cut", "changed", "empty", "older", "foreign",
];

fn suffer(fate: &str, name: &str, to: &Path, of: &Eventful) {
    let (own, place) = (of.dir.path().join(name), to.join(name));
    let _ = fs::remove_file(&place);
    let mut bytes = fs::read(&own).unwrap();
    match fate {
        "kept" => {}
        "gone" => return,
        "cut" => bytes.truncate(bytes.len() / 2 + 3),
        "changed" => {
            for at in (0..bytes.len()).step_by(97) {
                bytes[at] ^= 0x41;
            }
        }
        "empty" => bytes.clear(),
        "older" => bytes = fs::read(of.older.path().join(name)).unwrap(),
        _ => bytes = fs::read(of.other.path().join(name)).unwrap(),
    }
    fs::write(place, bytes).unwrap();
}

/// Every fate of every file, in every combination.
#[test]
fn a_volume_opens_the_same_whatever_happened_to_its_cache_files() {
    let eventful = eventful();
    let expected = show(&Volume::open(eventful.dir.path()).unwrap());
    let stretches = expected.timeline.iter().map(Vec::len).max().unwrap();
    assert!(
        expected.blocks.len() > 12 && stretches > 64,
        "{} blocks, {stretches}",
        expected.blocks.len()
    );
    let dir = empty();
    copy(eventful.dir.path(), dir.path(), &["data"]);
    for table in FATES {
        for timeline in FATES {
            for config in FATES {
                for (fate, name) in [table, timeline, config].into_iter().zip(CACHES) {
                    suffer(fate, name, dir.path(), &eventful);
                }
                let shown = show(&Volume::open(dir.path()).unwrap());
                let fates =
                    format!("blocktable {table}, timeline {timeline}, volume.json {config}");
                same(&shown, &expected, &fates);
            }
        }
    }
}

fn same(shown: &Shown, expected: &Shown, what: &str) {
    assert_eq!(shown.blocks, expected.blocks, "{what}");
    assert_eq!(shown.streams, expected.streams, "{what}");
    for (number, (a, b)) in shown.timeline.iter().zip(&expected.timeline).enumerate() {
        let differs = a.iter().zip(b).position(|(a, b)| a != b);
        let at = differs.map(|at| (at, a[at], b[at]));
        assert!(
            a == b,
            "{what}: timeline {number}: {} {} stretches, {at:?}",
            a.len(),
            b.len()
        );
    }
    assert!(
        shown.items == expected.items,
        "{what}: other frames, setups or gaps"
    );
}

/// Opening for recording puts the files in order again, even if nothing is recorded.
#[test]
fn a_recorder_puts_the_cache_files_in_order() -> Result<()> {
    let eventful = eventful();
    let expected = show(&Volume::open(eventful.dir.path())?);
    let whole = empty();
    copy(eventful.dir.path(), whole.path(), &["data"]);
    Writer::open(whole.path(), WriterOptions::default())?.close()?;
    for fate in FATES {
        let dir = empty();
        copy(eventful.dir.path(), dir.path(), &["data"]);
        for name in CACHES {
            suffer(fate, name, dir.path(), &eventful);
        }
        Writer::open(dir.path(), WriterOptions::default())?.close()?;
        for name in ["blocktable", "volume.json"] {
            let file = |dir: &TempDir| fs::read(dir.path().join(name)).unwrap();
            assert!(file(&dir) == file(&whole), "{name}, {fate}");
        }
        let timeline = |dir: &TempDir| {
            let text = fs::read_to_string(dir.path().join("timeline")).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text[9..]).unwrap();
            (
                json["sequence"].clone(),
                json["nonce"].clone(),
                json["streams"].clone(),
            )
        };
        assert_eq!(timeline(&dir), timeline(&whole), "{fate}");
        same(&show(&Volume::open(dir.path())?), &expected, fate);
    }
    Ok(())
}

#[test]
fn a_lost_directory_is_made_anew_from_the_data() {
    let eventful = eventful();
    let expected = show(&Volume::open(eventful.dir.path()).unwrap());
    let data = eventful.dir.path().join("data");
    let before = fs::read(&data).unwrap();

    // Elsewhere: by its path.
    let outer = empty();
    let dir = outer.path().join("made");
    let located = rebuild(&data, &dir).unwrap();
    let volume = Volume::open(&dir).unwrap();
    assert_eq!(volume.located(), located);
    same(&show(&volume), &expected, "made anew");
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("volume.json")).unwrap()).unwrap();
    assert_eq!(config["data"], data.to_str().unwrap());
    // The directory can be used like any other, and be made again.
    rebuild(&data, &dir).unwrap();
    Writer::open(&dir, WriterOptions::default())
        .unwrap()
        .close()
        .unwrap();
    same(
        &show(&Volume::open(&dir).unwrap()),
        &expected,
        "opened for recording",
    );

    // Around the data: by its name, so that the directory can be moved.
    let inside = empty();
    copy(eventful.dir.path(), inside.path(), &["data"]);
    let renamed = inside.path().join("disk.img");
    fs::rename(inside.path().join("data"), &renamed).unwrap();
    rebuild(&renamed, inside.path()).unwrap();
    let moved = outer.path().join("moved");
    fs::rename(inside.path(), &moved).unwrap();
    same(&show(&Volume::open(&moved).unwrap()), &expected, "moved");
    assert!(fs::read(&data).unwrap() == before, "the data was only read");
    fs::create_dir(inside.path()).unwrap();
}

#[test]
fn what_is_no_volume_is_refused_and_nothing_is_left_behind() {
    let outer = empty();
    let dir = outer.path().join("made");
    let refused = |data: &Path| {
        let error = rebuild(data, &dir).unwrap_err();
        assert!(!dir.exists(), "{error}");
        (error.kind(), error.to_string())
    };
    let missing = outer.path().join("missing");
    assert_eq!(refused(&missing).0, ErrorKind::NotFound);
    assert_eq!(refused(outer.path()).0, ErrorKind::Invalid);
    let file = outer.path().join("file");
    fs::write(&file, vec![7; 1 << 20]).unwrap();
    let (kind, text) = refused(&file);
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.contains("file: no camring volume here"), "{text}");
    // The signature of a swap partition, at its place.
    let mut swap = vec![0; 1 << 20];
    swap[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    swap[1028..1032].copy_from_slice(&255_u32.to_le_bytes());
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    fs::write(&file, swap).unwrap();
    let (kind, text) = refused(&file);
    assert_eq!(kind, ErrorKind::NotFound);
    if cfg!(feature = "blkid") {
        assert!(
            text.contains("is no camring volume, it holds swap"),
            "{text}"
        );
    }
}

#[test]
fn a_directory_that_is_something_else_is_left_alone() {
    let (one, two) = (volume(16, 64 << 10), volume(16, 64 << 10));
    let data = one.path().join("data");
    let refused = |dir: &Path, kind: ErrorKind, text: &str| {
        let names = || {
            let mut all: Vec<_> = fs::read_dir(dir)
                .unwrap()
                .map(|e| e.unwrap().path())
                .collect();
            all.sort();
            all.into_iter()
                .map(|path| (fs::read(&path).unwrap(), path))
                .collect::<Vec<_>>()
        };
        let before = names();
        let error = rebuild(&data, dir).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(names() == before, "{error}");
    };
    refused(two.path(), ErrorKind::Exists, "something else: data");
    fs::remove_file(two.path().join("data")).unwrap();
    refused(two.path(), ErrorKind::Exists, "another volume");
    fs::remove_file(two.path().join("volume.json")).unwrap();
    fs::write(two.path().join("letters.txt"), "dear all").unwrap();
    refused(two.path(), ErrorKind::Exists, "letters.txt");
    let writer = Writer::open(one.path(), WriterOptions::default()).unwrap();
    refused(empty().path(), ErrorKind::Busy, "being recorded");
    writer.close().unwrap();
}

/// Disks are plugged in another order, and the path in `volume.json` leads to another volume.
#[test]
fn data_of_another_volume_is_not_taken_for_its_own() {
    let (one, two) = (volume(16, 64 << 10), volume(16, 64 << 10));
    let outer = empty();
    let (dir, path) = (outer.path().join("made"), outer.path().join("disk"));
    fs::copy(one.path().join("data"), &path).unwrap();
    rebuild(&path, &dir).unwrap();
    fs::copy(two.path().join("data"), &path).unwrap();
    let refusals = [
        Volume::open(&dir).unwrap_err(),
        Writer::open(&dir, WriterOptions::default()).unwrap_err(),
    ];
    for error in refusals {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(
            error.to_string().contains("devices change their names"),
            "{error}"
        );
    }
    fs::copy(one.path().join("data"), &path).unwrap();
    Writer::open(&dir, WriterOptions::default())
        .unwrap()
        .close()
        .unwrap();
}
