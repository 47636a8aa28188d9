//! Frames and setups as no camera should send them.

use bytes::Bytes;
use camring::ErrorKind;
use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Frame, FrameSink, Gap, GapCause, Item, StreamId, StreamSetup};
use camring::reader::Query;
use camring::volume::Volume;
use camring::writer::WriterOptions;

use super::recording::{
    KEY_EVERY, frame, frames_in, frames_of, gaps_in, number_of, numbers_of, read, time_of, volume,
};
use super::{CAMERA, assert_error, camera, open};

/// A frame of `len` bytes in the place of frame `number`.
fn long(number: u64, len: usize) -> Frame {
    let payload = Bytes::from(vec![0x5a; len]);
    Frame {
        payload,
        ..frame(CAMERA.0, number)
    }
}

/// A camera sends a picture that is longer than the volume takes: it is refused, its loss and that
/// of the pictures that need it are on record, and recording goes on at the next key frame.
#[test]
fn a_frame_that_is_too_long_becomes_a_gap() {
    let dir = volume(16, 256 << 10);
    let (writer, mut producer) = open(dir.path(), WriterOptions::default());
    for number in 0..100 {
        let result = match number {
            60 => producer.push(CAMERA, long(60, (128 << 10) + 1)),
            _ => producer.push(CAMERA, frame(CAMERA.0, number)),
        };
        match number {
            60 => {
                let words = ["stream 7", "131073 bytes", "takes 131072", "larger blocks"];
                assert_error(&result.unwrap_err(), ErrorKind::Invalid, &words);
            }
            61..75 => assert_error(&result.unwrap_err(), ErrorKind::Full, &["key frame"]),
            _ => result.unwrap(),
        }
    }
    assert_eq!(producer.shed_count(), 15);
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let expected: Vec<_> = (0..60).chain(75..100).collect();
    assert_eq!(numbers_of(&volume, CAMERA.0), expected);
    let items = read(&volume, Query::time([CAMERA], TimeRange::ALL));
    let closed = gaps_in(&items).into_iter().find(|gap| gap.end.is_some());
    let gap = Gap {
        cause: GapCause::Oversize,
        start: time_of(59),
        end: Some(time_of(75)),
        lost_count: Some(15),
    };
    assert_eq!(closed, Some(gap));
    let frames = items.iter().filter(|r| matches!(r.item, Item::Frame(_)));
    let ordinals: Vec<_> = frames.map(|recorded| recorded.ordinal).collect();
    assert_eq!(ordinals, expected, "the lost ordinals are left out");
}

/// The longest frames that a volume promises to take do fit, in the smallest blocks as well, behind
/// a long setup, and whatever was in the block before.
#[test]
fn the_longest_frame_fits_every_block() {
    for block_len in [64 << 10, 256 << 10, 1 << 20] {
        let dir = volume(16, block_len);
        let (writer, mut producer) = open(dir.path(), WriterOptions::default());
        producer.set_waiting(true);
        let len = block_len as usize / 2;
        for number in 0..40 {
            let is_long = number % 3 == 0;
            let len = if is_long {
                len
            } else {
                700 * number as usize + 1
            };
            let len = len.min(block_len as usize / 2);
            let frame = Frame {
                key: true,
                ..long(number, len)
            };
            producer.push(CAMERA, frame).unwrap();
            if number % 4 == 0 {
                writer.commit().unwrap();
            }
        }
        drop(producer);
        writer.close().unwrap();
        let volume = Volume::open(dir.path()).unwrap();
        let frames = frames_of(&volume, CAMERA.0, TimeRange::ALL);
        assert_eq!(frames.last().unwrap().time, time_of(39));
        assert!(frames.iter().any(|frame| frame.payload.len() == len));
        let whole = |frame: &Frame| frame.payload.iter().all(|byte| *byte == 0x5a);
        assert!(frames.iter().all(whole));
    }
}

/// A setup so long that it fits no block beside a frame is refused: it would have to be repeated in
/// every block, and once it took the writer's thread down.
#[test]
fn a_setup_that_fits_no_block_is_refused() {
    let dir = volume(16, 64 << 10);
    let (writer, mut producer) = open(dir.path(), WriterOptions::default());
    let mut setup = camera::setup("talkative");
    setup.tracks[0].extra = Bytes::from(vec![1; 60 << 10]);
    let refused = producer.add_stream(StreamId(8), setup.clone());
    let words = ["stream 8", "setup", "larger blocks"];
    assert_error(&refused.unwrap_err(), ErrorKind::Invalid, &words);
    let changed = producer.accept(CAMERA, Item::Setup(setup.clone().into()));
    assert_error(
        &changed.unwrap_err(),
        ErrorKind::Invalid,
        &["stream 7", "setup"],
    );

    // One that just fits is kept beside the longest frame, in every block.
    setup.tracks[0].extra = Bytes::from(vec![1; 4000]);
    producer.add_stream(StreamId(9), setup.clone()).unwrap();
    for number in 0..10 {
        let frame = Frame {
            key: true,
            ..long(number, 32 << 10)
        };
        producer.push(StreamId(9), frame).unwrap();
        producer
            .push(CAMERA, self::frame(CAMERA.0, number))
            .unwrap();
    }
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(frames_of(&volume, 9, TimeRange::ALL).len(), 10);
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..10).collect::<Vec<_>>());
    let block = volume.stream(StreamId(9)).unwrap().last_sequence;
    let items = read(&volume, Query::blocks([block]));
    let is_setup = |item: &Item| *item == Item::Setup(setup.clone().into());
    assert!(items.iter().any(|recorded| is_setup(&recorded.item)));
}

/// Frames without a byte, of a track that was never announced, of a stream that was never added:
/// refused by name, and what comes before and after is stored without a gap.
#[test]
fn frames_that_mean_nothing_are_refused() {
    let dir = volume(16, 1 << 20);
    let (writer, mut producer) = open(dir.path(), WriterOptions::default());
    for number in 0..50 {
        let empty = producer.push(CAMERA, long(number, 0)).unwrap_err();
        assert_error(&empty, ErrorKind::Invalid, &["stream 7", "zero bytes"]);
        let foreign = Frame {
            track: 3,
            ..frame(CAMERA.0, number)
        };
        let foreign = producer.push(CAMERA, foreign).unwrap_err();
        let words = ["stream 7", "track 3", "the setup has 1", "Push a setup"];
        assert_error(&foreign, ErrorKind::Invalid, &words);
        let unknown = producer.push(StreamId(99), frame(99, number)).unwrap_err();
        assert_error(
            &unknown,
            ErrorKind::NotFound,
            &["stream 99", "Push its setup first"],
        );
        producer.push(CAMERA, frame(CAMERA.0, number)).unwrap();
    }
    assert_eq!(producer.shed_count(), 0);
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..50).collect::<Vec<_>>());
    assert!(gaps_in(&read(&volume, Query::time([CAMERA], TimeRange::ALL))).is_empty());
    assert_eq!(volume.streams().len(), 1);
}

/// Setups over their limits are refused with the limit; the stream that is there stays as it was.
#[test]
fn setups_over_their_limits_are_refused() {
    let dir = volume(16, 1 << 20);
    let (writer, mut producer) = open(dir.path(), WriterOptions::default());
    let good = camera::setup("good");
    let with = |change: &dyn Fn(&mut StreamSetup)| {
        let mut setup = good.clone();
        change(&mut setup);
        setup
    };
    let bad = [
        (
            with(&|s| s.name = "n".repeat(256)),
            "a name of 256 bytes, at most 255",
        ),
        (
            with(&|s| s.tracks = vec![s.tracks[0].clone(); 17]),
            "17 tracks, at most 16",
        ),
        (
            with(&|s| s.tracks[0].clock_rate_hz = 0),
            "a clock rate of 0",
        ),
        (
            with(&|s| s.tracks[0].extra = Bytes::from(vec![0; (64 << 10) + 1])),
            "a decoder configuration of more than 65536 bytes",
        ),
    ];
    for (setup, words) in bad {
        let refused = producer.add_stream(StreamId(8), setup.clone()).unwrap_err();
        assert_error(&refused, ErrorKind::Invalid, &["stream 8", words]);
        let changed = producer
            .accept(CAMERA, Item::Setup(setup.into()))
            .unwrap_err();
        assert_error(&changed, ErrorKind::Invalid, &["stream 7", words]);
        producer.push(CAMERA, frame(CAMERA.0, 0)).unwrap();
    }
    // Odd names are names.
    for (stream, name) in [(20, ""), (21, "a\nb\0c"), (22, "../../etc/passwd")] {
        producer
            .add_stream(StreamId(stream), camera::setup(name))
            .unwrap();
        producer.push(StreamId(stream), frame(stream, 0)).unwrap();
    }
    let found = Gap {
        cause: GapCause::Damaged,
        start: time_of(0),
        end: None,
        lost_count: None,
    };
    let refused = producer.accept(CAMERA, Item::Gap(found)).unwrap_err();
    assert_error(
        &refused,
        ErrorKind::Invalid,
        &["damaged", "found when reading"],
    );
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(volume.stream(CAMERA).unwrap().setup.name, "camera 7");
    assert_eq!(volume.find_stream("a\nb\0c").unwrap().id, StreamId(21));
    assert!(volume.stream(StreamId(8)).is_none());
}

/// A camera's clock jumps about, stands still, and shows the ends of time: every frame is stored as
/// it came, in the order in which it came, and can be asked for by its time.
#[test]
fn frames_are_stored_with_the_times_that_they_came_with() {
    let dir = volume(16, 512 << 10);
    let (writer, mut producer) = open(dir.path(), WriterOptions::default());
    let odd = [
        0,
        -1,
        40_000,
        40_000,
        40_000,
        -5_000_000,
        i64::MIN,
        3,
        i64::MAX,
        i64::MAX,
        i64::MIN,
        1,
        1 << 62,
        -(1 << 62),
        80_000,
        0,
    ];
    let mut pushed = Vec::new();
    for (number, time) in odd.iter().cycle().take(4 * odd.len()).enumerate() {
        let number = number as u64;
        let time = Timestamp(*time);
        let clock = time.0.wrapping_mul(3);
        let frame = Frame {
            time,
            clock,
            key: true,
            ..frame(CAMERA.0, number)
        };
        pushed.push(frame.clone());
        producer.push(CAMERA, frame).unwrap();
        if number.is_multiple_of(7) {
            writer.commit().unwrap();
        }
    }
    // A camera with a right clock beside it is not disturbed.
    let right = StreamId(8);
    producer.add_stream(right, camera::setup("right")).unwrap();
    for number in 0..50 {
        producer.push(right, frame(right.0, number)).unwrap();
    }
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let all = volume.blocks_in(TimeRange::ALL);
    let all: Vec<_> = all.iter().map(|row| row.sequence).collect();
    let items = read(&volume, Query::blocks(all));
    let of = |stream| items.iter().filter(move |r| r.stream == stream).cloned();
    assert!(frames_in(&of(CAMERA).collect::<Vec<_>>()) == pushed);
    assert!(frames_of(&volume, CAMERA.0, TimeRange::ALL) == pushed);
    for time in odd.map(Timestamp) {
        let found = frames_of(&volume, CAMERA.0, TimeRange::new(time, time));
        assert!(
            found.iter().any(|frame| frame.time == time),
            "nothing at {time}"
        );
    }
    let range = TimeRange::new(time_of(KEY_EVERY), time_of(40));
    let found = frames_of(&volume, right.0, range);
    let found: Vec<_> = found.iter().map(|frame| number_of(right, frame)).collect();
    assert_eq!(found, (KEY_EVERY..=40).collect::<Vec<_>>());
}

/// B-frames: presentation times go back all the time. A range ends with the last frame that lies in
/// it, also where one that is displayed later stands before it.
#[test]
fn a_range_of_frames_out_of_order_is_complete() {
    let dir = volume(16, 1 << 20);
    let (writer, mut producer) = open(dir.path(), WriterOptions::default());
    // Decoded as I P B B P B B ..., displayed as I B B P B B P ...
    let display = |number: u64| match number {
        0 => 0,
        number if number % 3 == 1 => number + 2,
        number => number - 1,
    };
    let frames = (0..75).map(|number| Frame {
        key: number == 0,
        time: time_of(display(number)),
        ..frame(CAMERA.0, number)
    });
    let frames: Vec<_> = frames.collect();
    for frame in &frames {
        producer.push(CAMERA, frame.clone()).unwrap();
    }
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    for last in 5..70 {
        let range = TimeRange::new(time_of(3), time_of(last));
        let found = frames_of(&volume, CAMERA.0, range);
        let inside = frames.iter().filter(|frame| range.contains(frame.time));
        let missing = inside.filter(|frame| !found.contains(frame)).count();
        assert_eq!(missing, 0, "up to {last}");
        assert!(frames.starts_with(&found), "up to {last}");
    }
}
