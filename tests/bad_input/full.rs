//! More frames than the disk takes: quotas and rings run full.

use std::collections::BTreeMap;

use camring::ErrorKind;
use camring::base::time::TimeRange;
use camring::frame::{Frame, Gap, GapCause, Item, StreamId};
use camring::reader::Query;
use camring::volume::{Stretch, Volume};
use camring::writer::WriterOptions;

use super::recording::{KEY_EVERY, frame, gaps_in, number_of, numbers_of, read, time_of, volume};
use super::{CAMERA, assert_error, camera, open};

/// So long that only a forced commit gives quotas back while a test runs.
const NEVER_US: u64 = 60_000_000;

/// Pushes frames of the camera, and returns the numbers of those that were refused as shed.
fn push(
    producer: &mut camring::writer::Producer,
    stream: StreamId,
    numbers: std::ops::Range<u64>,
) -> Vec<u64> {
    let mut shed = Vec::new();
    for number in numbers {
        if let Err(e) = producer.push(stream, frame(stream.0, number)) {
            // What comes behind the first one cannot be decoded without it.
            let needs_others = e.to_string().contains("were shed");
            assert!(!(needs_others && number.is_multiple_of(KEY_EVERY)), "{e}");
            let words = if needs_others {
                ["next key frame", "an earlier error"]
            } else {
                ["quota", "raise the quotas"]
            };
            assert_error(&e, ErrorKind::Full, &words);
            assert_error(&e, ErrorKind::Full, &[&*format!("stream {stream}:")]);
            shed.push(number);
        }
    }
    shed
}

fn closed_gaps(volume: &Volume, stream: StreamId) -> Vec<Gap> {
    let items = read(volume, Query::time([stream], TimeRange::ALL));
    let gaps = gaps_in(&items).into_iter();
    gaps.filter(|gap| gap.end.is_some()).collect()
}

/// One camera's quota is used up: its frames are shed from there to the next key frame for which
/// there is room again, with their exact number on record. Another camera is not touched.
#[test]
fn over_its_quota_a_stream_loses_whole_groups_and_no_other_does() {
    let dir = volume(16, 4 << 20);
    let options = WriterOptions {
        commit_us: NEVER_US,
        stream_quota_len: 200_000,
        ..WriterOptions::default()
    };
    let (writer, mut producer) = open(dir.path(), options);
    let other = StreamId(8);
    producer.add_stream(other, camera::setup("other")).unwrap();
    let shed = push(&mut producer, CAMERA, 0..60);
    let first = shed[0];
    assert!(first > 5 && first < 60, "{shed:?}");
    assert_eq!(
        shed,
        (first..60).collect::<Vec<_>>(),
        "nothing fits before a commit"
    );
    assert!(push(&mut producer, other, 0..10).is_empty());

    writer.commit().unwrap();
    // There is room, but decoding can only start again at frame 75.
    let shed = push(&mut producer, CAMERA, 60..80);
    assert_eq!(shed, (60..75).collect::<Vec<_>>());
    assert_eq!(producer.shed_count(), 75 - first);
    assert!(push(&mut producer, other, 10..20).is_empty());
    drop(producer);
    writer.close().unwrap();

    let volume = Volume::open(dir.path()).unwrap();
    let stored: Vec<_> = (0..first).chain(75..80).collect();
    assert_eq!(numbers_of(&volume, CAMERA.0), stored);
    assert_eq!(numbers_of(&volume, other.0), (0..20).collect::<Vec<_>>());
    let (start, end) = (time_of(first - 1), time_of(75));
    let gap = Gap {
        cause: GapCause::QueueFull,
        start,
        end: Some(end),
        lost_count: Some(75 - first),
    };
    assert_eq!(closed_gaps(&volume, CAMERA), [gap]);
    assert!(closed_gaps(&volume, other).is_empty());
    let stretch = Stretch {
        range: TimeRange::new(start, end),
        gap: Some(GapCause::QueueFull),
        is_open: false,
    };
    assert!(volume.timeline(CAMERA, TimeRange::ALL).contains(&stretch));
}

/// The quota of the volume is shared: when it is used up, every camera sheds, and each one's loss
/// adds up to what it has sent.
#[test]
fn over_the_quota_of_the_volume_every_loss_is_counted() {
    let dir = volume(16, 8 << 20);
    let options = WriterOptions {
        commit_us: NEVER_US,
        volume_quota_len: 400_000,
        ..WriterOptions::default()
    };
    let (writer, mut producer) = open(dir.path(), options);
    let cameras: Vec<_> = (0..4).map(StreamId).collect();
    for stream in &cameras {
        producer
            .add_stream(*stream, camera::setup("one of four"))
            .unwrap();
    }
    for number in 0..400 {
        for stream in &cameras {
            push(&mut producer, *stream, number..number + 1);
        }
        if number % 30 == 29 {
            writer.commit().unwrap();
            assert_eq!(writer.status().queued_len, 0);
        }
    }
    // The last key frame, after a commit, closes every gap.
    writer.commit().unwrap();
    for stream in &cameras {
        assert!(push(&mut producer, *stream, 400..401).is_empty());
    }
    let shed_count = producer.shed_count();
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let mut all_lost = 0;
    for stream in cameras {
        let stored = numbers_of(&volume, stream.0);
        let gaps = closed_gaps(&volume, stream);
        let lost: u64 = gaps.iter().filter_map(|gap| gap.lost_count).sum();
        assert!(lost > 0 && gaps.iter().all(|gap| gap.cause == GapCause::QueueFull));
        assert_eq!(stored.len() as u64 + lost, 401, "stream {stream}");
        // Each gap lies where frames are missing, and recording goes on at a key frame.
        let holes = stored.windows(2).filter(|pair| pair[0] + 1 != pair[1]);
        let holes: BTreeMap<_, _> = holes.map(|pair| (time_of(pair[0]), pair[1])).collect();
        assert_eq!(holes.len(), gaps.len());
        for gap in gaps {
            let number = holes[&gap.start];
            assert_eq!((gap.end, number % KEY_EVERY), (Some(time_of(number)), 0));
        }
        all_lost += lost;
    }
    assert_eq!(all_lost, shed_count);
}

/// A producer that asked to wait loses nothing, however small the quota is.
#[test]
fn a_producer_that_waits_loses_nothing() {
    let dir = volume(64, 1 << 20);
    let options = WriterOptions {
        commit_us: 10_000,
        volume_quota_len: 100_000,
        stream_quota_len: 60_000,
        ring_count: 1,
        ..WriterOptions::default()
    };
    let (writer, mut producer) = open(dir.path(), options);
    producer.set_waiting(true);
    assert!(push(&mut producer, CAMERA, 0..500).is_empty());
    assert_eq!(producer.shed_count(), 0);
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..500).collect::<Vec<_>>());
    assert!(closed_gaps(&volume, CAMERA).is_empty());
}

/// A frame that is longer than the whole quota is refused, also by a producer that waits: there
/// will never be room for it.
#[test]
fn a_frame_beyond_the_whole_quota_is_not_waited_for() {
    let dir = volume(16, 1 << 20);
    let options = WriterOptions {
        commit_us: 10_000,
        stream_quota_len: 60_000,
        ..WriterOptions::default()
    };
    let (writer, mut producer) = open(dir.path(), options);
    producer.set_waiting(true);
    assert!(push(&mut producer, CAMERA, 0..25).is_empty());
    let long = Frame {
        payload: vec![1; 70_000].into(),
        ..frame(CAMERA.0, 25)
    };
    let refused = producer.push(CAMERA, long).unwrap_err();
    assert_error(&refused, ErrorKind::Full, &["stream 7"]);
    assert_eq!(
        push(&mut producer, CAMERA, 26..60),
        (26..50).collect::<Vec<_>>()
    );
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let stored: Vec<_> = (0..25).chain(50..60).collect();
    assert_eq!(numbers_of(&volume, CAMERA.0), stored);
    assert_eq!(closed_gaps(&volume, CAMERA)[0].lost_count, Some(25));
}

/// Tiny frames fill a producer's ring long before any quota: what does not fit is shed and counted,
/// and the records of it find room.
#[test]
fn a_full_ring_sheds_and_counts() {
    let dir = volume(16, 1 << 20);
    let options = WriterOptions {
        commit_us: NEVER_US,
        ring_count: 256,
        ..WriterOptions::default()
    };
    let (writer, mut producer) = open(dir.path(), options);
    let tiny = |number: u64| Frame {
        payload: number.to_le_bytes().to_vec().into(),
        ..frame(CAMERA.0, number)
    };
    let mut accepted = Vec::new();
    let mut refused = Vec::new();
    for number in 0..5000 {
        match producer.push(CAMERA, tiny(number)) {
            Ok(()) => accepted.push(number),
            Err(e) => refused.push(e),
        }
    }
    // The disk and the quotas used to be blamed for it.
    assert_error(
        &refused[0],
        ErrorKind::Full,
        &["stream 7", "256 places", "`ring_count`"],
    );
    assert!(accepted.len() < 5000, "the ring was never full");
    writer.commit().unwrap();
    producer.push(CAMERA, tiny(5000)).unwrap();
    accepted.push(5000);
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let items = read(&volume, Query::time([CAMERA], TimeRange::ALL));
    let numbers: Vec<_> = items
        .iter()
        .filter_map(|recorded| match &recorded.item {
            Item::Frame(frame) => Some(u64::from_le_bytes(frame.payload[..].try_into().unwrap())),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, accepted);
    let gaps = gaps_in(&items).into_iter();
    let lost: u64 = gaps.filter_map(|gap| gap.lost_count).sum();
    assert_eq!(accepted.len() as u64 + lost, 5001);
}

/// A camera is taken out while its frames are being shed: the count of what was lost is not lost.
#[test]
fn a_stream_that_is_removed_while_it_sheds_tells_its_loss() {
    let dir = volume(16, 4 << 20);
    let options = WriterOptions {
        commit_us: NEVER_US,
        stream_quota_len: 200_000,
        ..WriterOptions::default()
    };
    let (writer, mut producer) = open(dir.path(), options);
    let shed = push(&mut producer, CAMERA, 0..70);
    assert!(!shed.is_empty());
    producer.remove_stream(CAMERA).unwrap();
    writer.commit().unwrap();
    producer
        .add_stream(CAMERA, camera::setup("camera 7"))
        .unwrap();
    assert!(push(&mut producer, CAMERA, 100..120).is_empty());
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let gaps = closed_gaps(&volume, CAMERA);
    let full = gaps.iter().find(|gap| gap.cause == GapCause::QueueFull);
    assert_eq!(
        full.and_then(|gap| gap.lost_count),
        Some(shed.len() as u64),
        "{gaps:?}"
    );
    let idle = gaps.iter().find(|gap| gap.cause == GapCause::Idle).unwrap();
    assert_eq!(idle.end, Some(time_of(100)));
    let items = read(&volume, Query::time([CAMERA], TimeRange::ALL));
    let last = items.last().unwrap();
    let Item::Frame(found) = &last.item else {
        panic!("{last:?}")
    };
    assert_eq!(number_of(CAMERA, found), 119);
    assert_eq!(last.ordinal, 70 + 19, "shed frames have their ordinals");
}
