//! Recordings that end and begin again, streams that come and go: nothing is lost, what is missing
//! is told with its cause, and a restart costs nothing.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
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

use camring::ErrorKind;
use camring::base::time::TimeRange;
use camring::frame::{FrameSink as _, Gap, GapCause, Item, Recorded, StreamId};
use camring::reader::Query;
use camring::volume::{Stretch, Volume};
use camring::writer::{Producer, Writer, WriterOptions};
use recording::{frame, frames_of, gaps_in, number_of, numbers_of, read, time_of, volume};

const CAMERA: StreamId = StreamId(7);

fn open(dir: &Path) -> Writer {
    Writer::open(dir, WriterOptions::default()).unwrap()
}

/// Adds made-up camera `stream` and pushes its frames.
fn record(producer: &mut Producer, stream: StreamId, numbers: std::ops::Range<u64>) {
    let setup = camera::setup(&format!("camera {stream}"));
    producer.add_stream(stream, setup).unwrap();
    push(producer, stream, numbers);
}

fn push(producer: &mut Producer, stream: StreamId, numbers: std::ops::Range<u64>) {
    for number in numbers {
        producer.push(stream, frame(stream.0, number)).unwrap();
    }
}

/// One life of a volume: opened, `numbers` recorded, closed.
fn live_once(dir: &Path, numbers: std::ops::Range<u64>) {
    let writer = open(dir);
    let mut producer = writer.producer().unwrap();
    record(&mut producer, CAMERA, numbers);
    drop(producer);
    writer.close().unwrap();
}

fn everything(volume: &Volume) -> Vec<Recorded> {
    read(volume, Query::time([CAMERA], TimeRange::ALL))
}

/// A supervisor restarts the recorder again and again while no camera sends anything: that must
/// not push what was recorded out of the ring. Nothing at all is written.
#[test]
fn sixteen_restarts_without_a_frame_leave_the_ring_as_it_was() {
    let dir = volume(16, 256 << 10);
    live_once(dir.path(), 0..400);
    let data = dir.path().join("data");
    let before = std::fs::read(&data).unwrap();
    for life in 0..16 {
        let writer = open(dir.path());
        let mut producer = writer.producer().unwrap();
        if life % 2 == 1 {
            // A camera that is set up and sends no frame makes no difference.
            let setup = camera::setup("camera 7");
            producer.add_stream(CAMERA, setup).unwrap();
        }
        if life % 3 == 1 {
            // Neither does one that cannot be reached.
            let gap = Gap {
                cause: GapCause::NoSignal,
                start: time_of(500),
                end: None,
                lost_count: None,
            };
            producer.accept(CAMERA, Item::Gap(gap)).unwrap();
        }
        writer.commit().unwrap();
        drop(producer);
        writer.close().unwrap();
        assert!(
            std::fs::read(&data).unwrap() == before,
            "life {life} wrote something"
        );
    }
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..400).collect::<Vec<_>>());
}

/// The recorder stops for forty seconds: the frames before and after are whole, and between them
/// stands a gap from the last frame to the first one, because of a restart.
#[test]
fn a_restart_becomes_a_gap_with_its_span() {
    let dir = volume(16, 1 << 20);
    live_once(dir.path(), 0..300);
    live_once(dir.path(), 1300..1500);
    let volume = Volume::open(dir.path()).unwrap();
    let numbers: Vec<_> = (0..300).chain(1300..1500).collect();
    assert_eq!(numbers_of(&volume, CAMERA.0), numbers);

    let (start, end) = (time_of(299), time_of(1300));
    let items = everything(&volume);
    let restarts = gaps_in(&items);
    let open = Gap {
        cause: GapCause::Restart,
        start,
        end: None,
        lost_count: None,
    };
    let closed = Gap {
        end: Some(end),
        ..open
    };
    assert_eq!(
        restarts,
        [open, closed],
        "told when it begins, and when it ends"
    );
    let at = |wanted: &Item| {
        items
            .iter()
            .position(|recorded| recorded.item == *wanted)
            .unwrap()
    };
    assert!(at(&Item::Frame(frame(CAMERA.0, 299))) < at(&Item::Gap(open)));
    assert!(at(&Item::Gap(closed)) < at(&Item::Frame(frame(CAMERA.0, 1300))));

    let stretch = |range, gap| Stretch {
        range,
        gap,
        is_open: false,
    };
    let timeline = volume.timeline(CAMERA, TimeRange::ALL);
    let expected = [
        stretch(TimeRange::new(time_of(0), start), None),
        stretch(TimeRange::new(start, end), Some(GapCause::Restart)),
        stretch(TimeRange::new(end, time_of(1499)), None),
    ];
    assert_eq!(timeline, expected);
    // The caches say the same as the device does.
    for name in ["volume.json", "blocktable", "timeline"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let rebuilt = Volume::open(dir.path()).unwrap();
    assert_eq!(rebuilt.timeline(CAMERA, TimeRange::ALL), expected);
    assert_eq!(rebuilt.streams(), volume.streams());
    assert!(everything(&rebuilt) == items);
}

/// Restart upon restart, each with some frames, until the ring has gone around: the newest lives
/// are whole, and between each two of them the gap is told.
#[test]
fn many_short_lives_are_told_apart() {
    let dir = volume(16, 256 << 10);
    for life in 0..20 {
        live_once(dir.path(), 1000 * life..1000 * life + 10);
    }
    let volume = Volume::open(dir.path()).unwrap();
    let numbers = numbers_of(&volume, CAMERA.0);
    let newest: Vec<_> = (14..20)
        .flat_map(|life| 1000 * life..1000 * life + 10)
        .collect();
    assert!(numbers.ends_with(&newest), "{numbers:?}");
    let timeline = volume.timeline(CAMERA, TimeRange::new(time_of(14_000), time_of(19_000)));
    let gaps = timeline
        .iter()
        .filter(|stretch| stretch.gap == Some(GapCause::Restart));
    let spans: Vec<_> = gaps.map(|gap| gap.range).collect();
    for life in 14..19 {
        let span = TimeRange::new(time_of(1000 * life + 9), time_of(1000 * life + 1000));
        assert!(spans.contains(&span), "life {life}: {timeline:?}");
    }
}

/// A camera is taken out of the recording and put back in while others go on: the time between is
/// idle by choice, told once, and the ordinals of its frames go on from where they were.
#[test]
fn a_stream_can_be_added_removed_and_added_again() {
    let dir = volume(16, 1 << 20);
    let writer = open(dir.path());
    let (mut first, mut second) = (writer.producer().unwrap(), writer.producer().unwrap());
    let other = StreamId(8);
    record(&mut first, CAMERA, 0..100);
    record(&mut second, other, 0..100);
    first.remove_stream(CAMERA).unwrap();
    push(&mut second, other, 100..200);
    let refused = first.push(CAMERA, frame(CAMERA.0, 150)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
    // By another producer as well, and before anything was committed.
    record(&mut second, CAMERA, 200..300);
    push(&mut second, other, 200..300);
    drop((first, second));
    writer.close().unwrap();

    let volume = Volume::open(dir.path()).unwrap();
    let numbers: Vec<_> = (0..100).chain(200..300).collect();
    assert_eq!(numbers_of(&volume, CAMERA.0), numbers);
    assert_eq!(numbers_of(&volume, other.0), (0..300).collect::<Vec<_>>());
    let idle = TimeRange::new(time_of(99), time_of(200));
    let timeline = volume.timeline(CAMERA, TimeRange::ALL);
    let gaps: Vec<_> = timeline
        .iter()
        .filter(|stretch| stretch.gap.is_some())
        .collect();
    let expected = Stretch {
        range: idle,
        gap: Some(GapCause::Idle),
        is_open: false,
    };
    assert_eq!(gaps, [&expected]);
    let items = everything(&volume);
    let frames = items
        .iter()
        .filter(|recorded| matches!(recorded.item, Item::Frame(_)));
    let ordinals: Vec<_> = frames.map(|recorded| recorded.ordinal).collect();
    assert_eq!(
        ordinals,
        (0..200).collect::<Vec<_>>(),
        "an ordinal is given once in a life"
    );
}

/// What a stream has on its way to disk is given back when it is durable, also after it was removed
/// and added again: its quota was once given back to the stream that it had been before.
#[test]
fn a_stream_that_was_added_again_does_not_run_out_of_quota() {
    let dir = volume(64, 1 << 20);
    let options = WriterOptions {
        stream_quota_len: 1 << 20,
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir.path(), options).unwrap();
    let mut producer = writer.producer().unwrap();
    record(&mut producer, CAMERA, 0..10);
    producer.remove_stream(CAMERA).unwrap();
    producer
        .add_stream(CAMERA, camera::setup("camera 7"))
        .unwrap();
    for group in 1..20 {
        push(&mut producer, CAMERA, 100 * group..100 * group + 100);
        writer.commit().unwrap();
    }
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let numbers: Vec<_> = (0..10).chain(100..2000).collect();
    assert_eq!(numbers_of(&volume, CAMERA.0), numbers);
}

/// Eight threads push at once, each with a producer and two cameras of its own.
#[test]
fn several_producers_record_into_one_volume() {
    let dir = volume(64, 1 << 20);
    let writer = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let mut producer = writer.producer().unwrap();
            scope.spawn(move || {
                producer.set_waiting(true);
                let cameras = [StreamId(2 * thread), StreamId(2 * thread + 1)];
                for camera in cameras {
                    record(&mut producer, camera, 0..1);
                }
                for number in 1..500 {
                    for camera in cameras {
                        push(&mut producer, camera, number..number + 1);
                    }
                }
            });
        }
    });
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(volume.streams().len(), 16);
    for stream in 0..16 {
        assert_eq!(numbers_of(&volume, stream), (0..500).collect::<Vec<_>>());
    }
}

/// Two producers cannot record one camera at the same time; when the first is gone the second can.
#[test]
fn a_stream_belongs_to_one_producer_at_a_time() {
    let dir = volume(16, 1 << 20);
    let writer = open(dir.path());
    let (mut first, mut second) = (writer.producer().unwrap(), writer.producer().unwrap());
    record(&mut first, CAMERA, 0..50);
    let refused = second
        .add_stream(CAMERA, camera::setup("camera 7"))
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exists);
    assert!(
        refused.to_string().contains("recorded already"),
        "{refused}"
    );
    drop(first);
    record(&mut second, CAMERA, 50..100);
    drop(second);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..100).collect::<Vec<_>>());
}

/// A camera goes to and fro between two producers while the writer looks at neither: its frames are
/// stored in the order of their pushes all the same, not producer by producer.
#[test]
fn a_stream_that_changes_producers_keeps_its_order() {
    let dir = volume(16, 1 << 20);
    let options = WriterOptions {
        commit_us: 60_000_000,
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir.path(), options).unwrap();
    let mut producers = [writer.producer().unwrap(), writer.producer().unwrap()];
    for turn in 0..20 {
        // The second one first: it is the first one's messages that come too early then.
        let producer = &mut producers[1 - turn as usize % 2];
        record(producer, CAMERA, 5 * turn..5 * turn + 5);
        producer.remove_stream(CAMERA).unwrap();
    }
    writer.commit().unwrap();
    let numbers = numbers_of(writer.volume(), CAMERA.0);
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..100).collect::<Vec<_>>());
}

/// A new setup in mid-stream stands before the frames that it is for, wherever reading begins.
#[test]
fn a_changed_setup_comes_before_its_frames() {
    use camring::frame::FrameSink;
    let dir = volume(16, 256 << 10);
    let writer = open(dir.path());
    let mut producer = writer.producer().unwrap();
    record(&mut producer, CAMERA, 0..100);
    let mut wider = camera::setup("camera 7");
    wider.tracks[0].width_px = 1920;
    let changed = Item::Setup(std::sync::Arc::new(wider.clone()));
    producer.accept(CAMERA, changed).unwrap();
    push(&mut producer, CAMERA, 100..200);
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(*volume.stream(CAMERA).unwrap().setup, wider);
    for (first, setups) in [(0, 2), (90, 2), (100, 1), (130, 1)] {
        let range = TimeRange::new(time_of(first), time_of(199));
        let mut width_px = 0;
        let mut seen = 0;
        for recorded in read(&volume, Query::time([CAMERA], range)) {
            match recorded.item {
                Item::Setup(setup) => (width_px, seen) = (setup.tracks[0].width_px, seen + 1),
                Item::Frame(found) | Item::Preroll(found) => {
                    let is_wide = number_of(CAMERA, &found) >= 100;
                    assert_eq!(width_px, if is_wide { 1920 } else { 640 }, "from {first}");
                }
                Item::Gap(gap) => panic!("{gap:?}"),
            }
        }
        assert_eq!(seen, setups, "from {first}");
    }
    assert_eq!(frames_of(&volume, CAMERA.0, TimeRange::ALL).len(), 200);
}
