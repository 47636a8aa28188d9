//! What can be asked of a volume, stored or being recorded: ranges of time, blocks, live reading,
//! and what commits promise.
//!
//! The expected answers come from the numbers that were pushed, and from looking at every row.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a panic is how a test fails"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/recording.rs"]
mod recording;

use std::path::Path;
use std::sync::mpsc;

use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{GapCause, Item, StreamId};
use camring::reader::{Frames, Query, Reader, Select, Until};
use camring::table::TableRow;
use camring::volume::Volume;
use camring::writer::{Event, Producer, Writer, WriterOptions};
use recording::{
    KEY_EVERY, frame, frames_in, gaps_in, number_of, numbers_of, read, time_of, volume,
};

const CAMERA: StreamId = StreamId(7);
const OTHER: StreamId = StreamId(8);
/// So long that nothing but a forced commit or a seal flushes while a test runs.
const NEVER_US: u64 = 60_000_000;

fn open(dir: &Path, commit_us: u64) -> (Writer, Producer) {
    let options = WriterOptions {
        commit_us,
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir, options).unwrap();
    let mut producer = writer.producer().unwrap();
    producer.set_waiting(true);
    for stream in [CAMERA, OTHER] {
        producer
            .add_stream(stream, camera::setup(&format!("camera {stream}")))
            .unwrap();
    }
    (writer, producer)
}

fn push(producer: &mut Producer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        producer.push(CAMERA, frame(CAMERA.0, number)).unwrap();
        // The other camera sends half as much.
        if number % 2 == 0 {
            producer.push(OTHER, frame(OTHER.0, number / 2)).unwrap();
        }
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

fn sequences(rows: &[TableRow]) -> Vec<u64> {
    rows.iter().map(|row| row.sequence).collect()
}

fn live(until: Until) -> Query {
    Query {
        streams: vec![CAMERA],
        select: Select::Time(TimeRange::ALL),
        until,
    }
}

/// The next frames of the camera, up to number `last`.
fn take_up_to(frames: &mut Frames<'_>, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        if let Item::Frame(frame) = frames.next().unwrap().item {
            numbers.push(number_of(CAMERA, &frame));
        }
    }
    numbers
}

/// A commit in the middle of a block: who opens the volume now, as another process would, sees every
/// frame; no block is sealed for it, and the same block is gone on with.
#[test]
fn a_forced_commit_makes_everything_durable_and_seals_nothing() {
    let dir = volume(16, 4 << 20);
    let (writer, mut producer) = open(dir.path(), NEVER_US);
    for group in 0..10 {
        push(&mut producer, 20 * group..20 * group + 20);
        let position = writer.commit().unwrap();
        assert_eq!(writer.volume().durable(), position);
        assert_eq!(position.sequence, 1, "a commit has begun a block");
        let beside = Volume::open(dir.path()).unwrap();
        assert_eq!(numbers_of(&beside, CAMERA.0), numbers(0..20 * group + 20));
        assert_eq!(numbers_of(&beside, OTHER.0), numbers(0..10 * group + 10));
    }
    assert_eq!(writer.status().queued_len, 0);
}

/// Everybody who asks for a commit is answered, however many ask at once, while frames stream in;
/// what each had pushed before is durable then.
#[test]
fn commits_from_many_threads_are_all_answered() {
    let dir = volume(64, 4 << 20);
    let writer = Writer::open(dir.path(), WriterOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for stream in 0..6 {
            let writer = &writer;
            let dir = dir.path();
            scope.spawn(move || {
                let mut producer = writer.producer().unwrap();
                producer.set_waiting(true);
                producer
                    .add_stream(StreamId(stream), camera::setup("busy"))
                    .unwrap();
                for group in 0..8 {
                    for number in 60 * group..60 * group + 60 {
                        producer
                            .push(StreamId(stream), frame(stream, number))
                            .unwrap();
                    }
                    writer.commit().unwrap();
                    let beside = Volume::open(dir).unwrap();
                    assert_eq!(numbers_of(&beside, stream), numbers(0..60 * group + 60));
                }
            });
        }
    });
    writer.close().unwrap();
}

/// The ranges of the volume and of each stream, while it is recorded, when it is closed, and when
/// it is rebuilt from the device.
#[test]
fn time_ranges_are_those_of_the_frames() {
    let dir = volume(16, 1 << 20);
    let (writer, mut producer) = open(dir.path(), NEVER_US);
    assert_eq!(
        writer.volume().time_range(),
        None,
        "nothing is recorded yet"
    );
    push(&mut producer, 0..201);
    writer.commit().unwrap();
    let check = |volume: &Volume| {
        let camera = TimeRange::new(time_of(0), time_of(200));
        assert_eq!(volume.time_range(), Some(camera));
        assert_eq!(volume.stream_time_range(CAMERA), Some(camera));
        let other = TimeRange::new(time_of(0), time_of(100));
        assert_eq!(volume.stream_time_range(OTHER), Some(other));
        assert_eq!(volume.stream_time_range(StreamId(9)), None);
    };
    check(&Volume::open(dir.path()).unwrap());
    drop(producer);
    writer.close().unwrap();
    check(&Volume::open(dir.path()).unwrap());
    std::fs::remove_file(dir.path().join("blocktable")).unwrap();
    std::fs::remove_file(dir.path().join("timeline")).unwrap();
    check(&Volume::open(dir.path()).unwrap());
}

/// A range of time gives the frames from the key frame before its start to its end, for any range
/// and while the last of it is still being recorded.
#[test]
fn a_range_gives_what_is_needed_to_show_it_and_no_more() {
    let seed = camera::seed();
    eprintln!("seed {seed}");
    let mut random = camera::Random::new(seed);
    let dir = volume(32, 1 << 20);
    let (writer, mut producer) = open(dir.path(), NEVER_US);
    push(&mut producer, 0..1000);
    writer.commit().unwrap();
    let oldest_live = writer
        .volume()
        .live()
        .runs()
        .next()
        .map(|run| run.id.sequence);
    assert!(
        oldest_live.is_some_and(|sequence| sequence > 1),
        "some blocks are sealed, one is not"
    );
    let mut reader = Reader::open(writer.volume()).unwrap();
    let mut check = |first: u64, last: u64, first_us: i64| {
        let range = TimeRange::new(time_of(first).plus_us(first_us), time_of(last));
        let items: Vec<_> = reader.read(Query::time([CAMERA], range)).unwrap().collect();
        let found: Vec<_> = frames_in(&items)
            .iter()
            .map(|f| number_of(CAMERA, f))
            .collect();
        let first_inside = first + u64::from(first_us > 0);
        if first_inside >= 1000 {
            return assert!(found.is_empty(), "{first} {first_us} to {last}: {found:?}");
        }
        // The picture that is shown at the start may come too, with what it needs.
        let from = first_inside / KEY_EVERY * KEY_EVERY;
        let from = found.first().map_or(from, |found| from.min(*found));
        assert!(from >= first / KEY_EVERY * KEY_EVERY, "{from} for {first}");
        let expected = numbers(from..(last + 1).min(1000));
        assert_eq!(found, expected, "{first} {first_us} to {last}");
        assert!(gaps_in(&items).is_empty());
    };
    for _ in 0..100 {
        let first = random.below(999);
        let last = first + 1 + random.below(300);
        check(first, last, random.below(39_000) as i64);
    }
    check(999, 999, 0);
    check(0, 0, 0);
    check(1000, 1500, 0);
}

/// Whole blocks, in any order, with repeats; a block that is not in the ring is counted as missing.
#[test]
fn a_list_of_blocks_is_read_in_its_order() {
    let dir = volume(16, 512 << 10);
    let (writer, mut producer) = open(dir.path(), 100_000);
    push(&mut producer, 0..2500);
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let all = sequences(&volume.blocks_in(TimeRange::ALL));
    assert!(all.len() >= 13, "the ring was written around: {all:?}");
    let mut reader = Reader::open(&volume).unwrap();
    let mut in_block = |sequence: u64| {
        let items: Vec<_> = reader.read(Query::blocks([sequence])).unwrap().collect();
        assert!(items.iter().all(|item| item.sequence == sequence));
        assert!(gaps_in(&items).is_empty());
        items
    };
    let blocks: Vec<_> = all.iter().map(|sequence| in_block(*sequence)).collect();
    let frames: Vec<_> = blocks
        .concat()
        .into_iter()
        .filter(|r| r.stream == CAMERA)
        .collect();
    let found: Vec<_> = frames_in(&frames)
        .iter()
        .map(|f| number_of(CAMERA, f))
        .collect();
    assert_eq!(
        found,
        numbers(found[0]..2500),
        "together the blocks hold everything"
    );

    let order: Vec<_> = [5, 2, 9, 2, 0].into_iter().collect();
    let list: Vec<_> = order
        .iter()
        .map(|at: &usize| all[*at])
        .chain([1, 1 << 40, 0])
        .collect();
    let mut reader = Reader::open(&volume).unwrap();
    let mut read = reader.read(Query::blocks(list)).unwrap();
    let items: Vec<_> = read.by_ref().collect();
    let expected: Vec<_> = order
        .iter()
        .flat_map(|at| frames_in(&blocks[*at]))
        .collect();
    assert!(frames_in(&items) == expected);
    assert_eq!(read.missing_count(), 3);
}

/// The fields of a range are public, so its end may lie before its start: then it holds nothing.
/// It used to give the block that holds both ends, and an item.
#[test]
fn a_range_that_ends_before_it_starts_holds_nothing() {
    let dir = volume(16, 4 << 20);
    let (writer, mut producer) = open(dir.path(), NEVER_US);
    push(&mut producer, 0..300);
    writer.commit().unwrap();
    let volume = writer.volume();
    for (start, end) in [(100, 99), (200, 50), (250, 0)] {
        let inverted = TimeRange {
            start: time_of(start),
            end: time_of(end),
        };
        assert_eq!(volume.blocks_in(inverted), []);
        assert_eq!(volume.timeline(CAMERA, inverted), []);
        for until in [Until::Now, Until::Committed] {
            for select in [Select::Time(inverted), Select::Shown(inverted)] {
                let query = Query {
                    streams: vec![CAMERA],
                    select,
                    until,
                };
                assert_eq!(read(volume, query), []);
            }
        }
    }
}

/// A radius of `usize::MAX` means all blocks. It overflowed.
#[test]
fn any_number_of_neighbours_can_be_asked_for() {
    let dir = volume(16, 256 << 10);
    let (writer, mut producer) = open(dir.path(), 100_000);
    push(&mut producer, 0..300);
    writer.commit().unwrap();
    let volume = writer.volume();
    let rows: Vec<_> = volume.table().blocks().collect();
    assert!(rows.len() > 4);
    for radius in [rows.len(), usize::MAX - 1, usize::MAX] {
        assert_eq!(volume.blocks_near(time_of(150), radius), rows);
    }
}

/// Blocks around a time, and blocks in a range: as found by looking at every row.
#[test]
fn blocks_are_found_by_time() {
    let dir = volume(16, 256 << 10);
    let (writer, mut producer) = open(dir.path(), 100_000);
    push(&mut producer, 0..1500);
    writer.commit().unwrap();
    let volume = writer.volume();
    let rows: Vec<_> = volume.table().blocks().collect();
    assert!(
        rows.len() >= 12 && rows[0].sequence > 1,
        "the ring was written around"
    );
    for number in (0..1600).step_by(7) {
        let time = time_of(number);
        let holds = |row: &&TableRow| row.times.contains(time);
        let holding: Vec<_> = rows.iter().filter(holds).map(|row| row.sequence).collect();
        assert_eq!(
            sequences(&volume.blocks_in(TimeRange::new(time, time))),
            holding
        );
        let Some(centre) = holding.first() else {
            continue;
        };
        let at = rows.iter().position(|row| row.sequence == *centre).unwrap();
        let around = &rows[at.saturating_sub(2)..(at + 3).min(rows.len())];
        assert_eq!(volume.blocks_near(time, 2), around);
    }
    assert_eq!(volume.blocks_near(Timestamp::MIN, 0), rows[..1]);
    assert_eq!(
        volume.blocks_near(Timestamp::MAX, 0),
        rows[rows.len() - 1..]
    );
}

/// A commit period of a minute: who reads ahead of the commits gets each frame as soon as it is
/// written, who reads behind them gets none before somebody commits, and then all.
#[test]
fn live_reading_keeps_to_the_watermark_that_was_asked_for() {
    let dir = volume(16, 16 << 20);
    let (writer, mut producer) = open(dir.path(), NEVER_US);
    let volume = writer.volume().clone();
    let (mut written, mut committed) = (
        Reader::open(&volume).unwrap(),
        Reader::open(&volume).unwrap(),
    );
    let mut written = written.read(live(Until::Written)).unwrap();
    let (tell, told) = mpsc::channel();
    let watched = volume.clone();
    let follower = std::thread::spawn(move || follow(&mut committed, &watched, &tell));
    // Far less than the megabyte that is otherwise gathered before it is written.
    push(&mut producer, 0..10);
    let mut seen = take_up_to(&mut written, 9);
    push(&mut producer, 10..400);
    seen.extend(take_up_to(&mut written, 100));
    assert!(
        volume.durable() < volume.completed(),
        "what was read is not durable"
    );
    let before: Vec<_> = told.try_iter().collect();
    assert!(
        before.len() < seen.len(),
        "the follower is ahead of the commit"
    );
    let position = writer.commit().unwrap();
    assert_eq!(volume.durable(), position);
    let after = told.iter().take(400 - before.len());
    assert_eq!(
        before.into_iter().chain(after).collect::<Vec<_>>(),
        numbers(0..400)
    );
    seen.extend(take_up_to(&mut written, 399));
    assert_eq!(seen, numbers(0..400));

    // The end of the recording ends both, with everything delivered.
    push(&mut producer, 400..450);
    drop(producer);
    writer.close().unwrap();
    let rest = frames_in(&written.collect::<Vec<_>>());
    let rest: Vec<_> = rest.iter().map(|frame| number_of(CAMERA, frame)).collect();
    assert_eq!(rest, numbers(400..450));
    assert_eq!(follower.join().unwrap(), 450);
}

/// Reads what is committed as it comes, and tells its numbers; returns how many frames there were.
/// None may come before it is durable.
fn follow(committed: &mut Reader, watched: &Volume, tell: &mpsc::Sender<u64>) -> u64 {
    let mut count = 0;
    for recorded in committed.read(live(Until::Committed)).unwrap() {
        let Item::Frame(frame) = recorded.item else {
            continue;
        };
        count += 1;
        // So many frames of the camera are in runs that are durable: nothing is sealed here, so
        // all runs are still listed.
        let durable = watched.durable();
        let runs = watched
            .live()
            .runs()
            .filter(|run| run.position() <= durable);
        let own = |entry: &camring::block::run::DirectoryEntry| entry.stream == CAMERA;
        let chunks: Vec<_> = runs
            .flat_map(|run| run.chunks.clone())
            .filter(own)
            .collect();
        let allowed: u64 = chunks
            .iter()
            .map(|entry| u64::from(entry.frame_count))
            .sum();
        // The end of the recording seals the block; then its runs leave the list.
        let is_over = count > 400;
        assert!(
            is_over || count <= allowed,
            "frame {count} of {allowed} durable ones"
        );
        tell.send(number_of(CAMERA, &frame)).unwrap();
    }
    count
}

/// Live from now on: a reader that asks for what comes after the last frame gets that, from the key
/// frame that it needs; not all the older frames of the block that is being written.
#[test]
fn live_reading_from_now_on_leaves_out_what_was_long_before() {
    let dir = volume(16, 16 << 20);
    let (tell, told) = mpsc::channel();
    let on_event = Box::new(move |event: &Event| tell.send(event.clone()).unwrap());
    let options = WriterOptions {
        commit_us: NEVER_US,
        on_event: Some(on_event),
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir.path(), options).unwrap();
    let mut producer = writer.producer().unwrap();
    for stream in [CAMERA, OTHER] {
        producer.add_stream(stream, camera::setup("now")).unwrap();
    }
    push(&mut producer, 0..90);
    writer.commit().unwrap();
    // Streams and their key frames are noted behind the commit.
    assert!(matches!(told.recv().unwrap(), Event::Committed { .. }));
    let mut reader = Reader::open(writer.volume()).unwrap();
    let range = TimeRange::new(time_of(89).plus_us(1), Timestamp::MAX);
    let select = Select::Time(range);
    let query = Query {
        streams: vec![CAMERA],
        select,
        until: Until::Committed,
    };
    let mut frames = reader.read(query).unwrap();
    push(&mut producer, 90..200);
    writer.commit().unwrap();
    assert_eq!(take_up_to(&mut frames, 199), numbers(75..200));
}

/// A live reader may be dropped at any time, and the next read begins at once.
#[test]
fn a_live_read_can_be_given_up() {
    let dir = volume(16, 1 << 20);
    let (writer, mut producer) = open(dir.path(), 20_000);
    push(&mut producer, 0..100);
    let mut reader = Reader::open(writer.volume()).unwrap();
    for until in [Until::Written, Until::Committed, Until::Written] {
        let mut frames = reader.read(live(until)).unwrap();
        assert_eq!(take_up_to(&mut frames, 99), numbers(0..100));
    }
    writer.commit().unwrap();
    let query = Query::time([CAMERA], TimeRange::new(time_of(50), time_of(60)));
    let found = frames_in(&reader.read(query).unwrap().collect::<Vec<_>>());
    assert_eq!(found.len(), 11);
}

/// Frames that arrive while nobody asks for their key frame: the range is told as lacking one.
#[test]
fn frames_before_the_first_key_frame_are_told_as_such() {
    let dir = volume(16, 1 << 20);
    let (writer, mut producer) = open(dir.path(), 100_000);
    for number in 10..60 {
        producer.push(CAMERA, frame(CAMERA.0, number)).unwrap();
    }
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let items = read(&volume, Query::time([CAMERA], TimeRange::ALL));
    let found: Vec<_> = frames_in(&items)
        .iter()
        .map(|f| number_of(CAMERA, f))
        .collect();
    assert_eq!(found, numbers(KEY_EVERY..60));
    let gap = gaps_in(&items)[0];
    assert_eq!((gap.cause, gap.start), (GapCause::NoKeyFrame, time_of(10)));
    assert_eq!(gap.end, Some(time_of(KEY_EVERY)));
    let all = frames_in(&read(&volume, Query::blocks([1])));
    assert_eq!(all.len(), 50, "by block nothing is left out");
}

/// The data file is cut under an open volume, as a careless copy or a broken file system does: the
/// blocks in the middle of the window are gone. A read used to end there without a word.
#[test]
fn blocks_that_are_cut_off_are_told_as_damage_and_the_read_goes_on() {
    let dir = volume(16, 256 << 10);
    let (writer, mut producer) = open(dir.path(), NEVER_US);
    for group in 0..27 {
        // With a commit in between, each block holds both cameras.
        push(&mut producer, 20 * group..20 * group + 20);
        writer.commit().unwrap();
    }
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let (kept, cut): (Vec<_>, Vec<_>) = volume
        .table()
        .blocks()
        .partition(|row| volume.geometry().slot_of(row.sequence) < 8);
    let (first, last) = (cut[0].sequence, cut[cut.len() - 1].sequence);
    let sequences = sequences(&kept);
    assert!(sequences.iter().any(|kept| *kept < first));
    assert!(sequences.iter().any(|kept| *kept > last));
    let data = dir.path().join("data");
    let data = std::fs::File::options().write(true).open(data).unwrap();
    data.set_len(8 * (256 << 10)).unwrap();

    let mut reader = Reader::open(&volume).unwrap();
    let mut in_range = |range| {
        let mut frames = reader.read(Query::time([CAMERA], range)).unwrap();
        let items: Vec<_> = frames.by_ref().collect();
        frames.finish().unwrap();
        items
    };
    let items = in_range(TimeRange::ALL);
    assert!(items.iter().all(|item| sequences.contains(&item.sequence)));
    let found = frames_in(&items);
    assert_eq!(number_of(CAMERA, found.last().unwrap()), 539);
    let gaps = gaps_in(&items).into_iter();
    let damaged: Vec<_> = gaps.filter(|gap| gap.cause == GapCause::Damaged).collect();
    let [gap] = damaged[..] else {
        panic!("{damaged:?}")
    };
    let before = found.iter().take_while(|frame| frame.time <= gap.start);
    let resumed = found.iter().find(|frame| frame.time > gap.start).unwrap();
    assert_eq!(before.last().unwrap().time, gap.start);
    assert_eq!(Some(resumed.time), gap.end);

    // All of the range is gone.
    let middle = gap.start.plus_us(4_000_000);
    for range in [
        TimeRange::new(middle, middle),
        TimeRange::new(middle, middle.plus_us(1_000_000)),
    ] {
        let items = in_range(range);
        assert!(frames_in(&items).is_empty());
        let causes: Vec<_> = gaps_in(&items).iter().map(|gap| gap.cause).collect();
        assert_eq!(causes, [GapCause::Damaged]);
    }

    // By their numbers, and without a choice of streams.
    for row in &cut {
        let items = read(&volume, Query::blocks([row.sequence]));
        let told = gaps_in(&items).into_iter();
        let told: Vec<_> = told.map(|gap| (gap.cause, gap.end)).collect();
        assert_eq!(told, [(GapCause::Damaged, Some(row.times.end)); 2]);
    }

    // Nothing is left at all.
    data.set_len(0).unwrap();
    let items = in_range(TimeRange::ALL);
    let causes: Vec<_> = gaps_in(&items).iter().map(|gap| gap.cause).collect();
    assert_eq!(causes, [GapCause::Damaged]);
}
