//! Whoever waits is woken: a producer by room or by the end, a consumer by items or by the end,
//! also when the thread that should have woken it has died.
//!
//! A wake-up that is lost shows as a test that never ends.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a panic is how a test fails"
)]

#[path = "support/camera.rs"]
mod camera;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camring::ErrorKind;
use camring::base::geometry::{Geometry, VolumeId};
use camring::base::time::{Clock, Now, SystemClock, TimeRange};
use camring::frame::{Item, StreamId};
use camring::io::sim::{Image, SimDisk, SimOptions};
use camring::reader::{Query, Reader, Until};
use camring::volume::create::write_first_headers;
use camring::volume::locate::Located;
use camring::volume::medium::SimMedium;
use camring::writer::{ManualWriter, Producer, Writer, WriterOptions};

const STREAM: StreamId = StreamId(7);
const START_US: i64 = 1_700_000_000_000_000;

/// An empty volume on a simulated disk.
fn medium() -> Arc<SimMedium> {
    let geometry = Geometry::new(1 << 20, 16, 4096).unwrap();
    let sim = SimOptions {
        sleeps: true,
        ..SimOptions::default()
    };
    let disk = SimDisk::new(Image::new(geometry.device_len()), sim);
    let located = Located {
        volume: VolumeId([7; 16]),
        geometry,
    };
    write_first_headers(&mut disk.open(), &located).unwrap();
    Arc::new(SimMedium::new(disk))
}

fn recording(options: WriterOptions) -> (Writer, Producer) {
    let writer = Writer::open_on(medium(), None, options).unwrap();
    let mut producer = writer.producer().unwrap();
    producer.add_stream(STREAM, camera::setup("gate")).unwrap();
    producer.set_waiting(true);
    (writer, producer)
}

fn push(producer: &mut Producer, number: u64, len: usize) -> camring::Result<()> {
    producer.push(STREAM, camera::frame(STREAM.0, number, START_US, 25, len))
}

fn frame_count(writer: &Writer) -> usize {
    let mut reader = Reader::open(writer.volume()).unwrap();
    let items = reader.read(Query::time([STREAM], TimeRange::ALL)).unwrap();
    items
        .filter(|recorded| matches!(recorded.item, Item::Frame(_)))
        .count()
}

/// A ring of 256 places is full long before its frames are worth a wake-up by their bytes. The
/// writer was woken once the ring was found full, but told nobody when it had emptied it: the next
/// flush did, or 50 ms.
#[test]
fn a_producer_that_waits_for_a_place_is_woken_when_the_ring_is_emptied() {
    let (writer, mut producer) = recording(WriterOptions {
        commit_us: 60_000_000,
        ring_count: 256,
        ..WriterOptions::default()
    });
    for number in 0..10_000 {
        push(&mut producer, number, 100).unwrap();
    }
    assert_eq!(producer.shed_count(), 0);
    writer.commit().unwrap();
    assert_eq!(frame_count(&writer), 10_000);
}

#[test]
fn a_producer_that_waits_for_its_quota_is_woken_by_the_flush() {
    let (writer, mut producer) = recording(WriterOptions {
        commit_us: 10_000,
        stream_quota_len: 100_000,
        ..WriterOptions::default()
    });
    for number in 0..200 {
        push(&mut producer, number, 20_000).unwrap();
    }
    assert_eq!(producer.shed_count(), 0);
    writer.commit().unwrap();
    assert_eq!(frame_count(&writer), 200);
}

/// A `ring_count` of `usize::MAX` panicked when the first producer was made, and a quota of 0 shed
/// every frame of every camera.
#[test]
fn options_out_of_their_range_are_refused_when_the_volume_is_opened() {
    type Spoil = fn(&mut WriterOptions);
    let spoilt: [(&str, Spoil); 8] = [
        ("commit period", |o| o.commit_us = 0),
        ("commit period", |o| o.commit_us = u64::MAX),
        ("volume quota", |o| o.volume_quota_len = 0),
        ("volume quota", |o| o.volume_quota_len = 1000),
        ("stream quota", |o| o.stream_quota_len = 0),
        ("ring", |o| o.ring_count = 0),
        ("ring", |o| o.ring_count = (1 << 20) + 1),
        ("ring", |o| o.ring_count = usize::MAX),
    ];
    for (word, spoil) in spoilt {
        let mut options = WriterOptions::default();
        spoil(&mut options);
        let refused = Writer::open_on(medium(), None, options).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains(word), "{refused}");
        let mut options = WriterOptions::default();
        spoil(&mut options);
        let refused = ManualWriter::open_on(medium(), None, options).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
    // The widest ones that are allowed.
    let (writer, mut producer) = recording(WriterOptions {
        commit_us: 60_000_000,
        volume_quota_len: u64::MAX,
        stream_quota_len: u64::MAX,
        ring_count: 1 << 20,
        ..WriterOptions::default()
    });
    push(&mut producer, 0, 100).unwrap();
    writer.commit().unwrap();
    assert_eq!(frame_count(&writer), 1);
}

/// It would wait for ever: even an empty queue has no room for it.
#[test]
fn a_frame_beyond_the_whole_quota_is_shed_though_its_producer_waits() {
    let (_writer, mut producer) = recording(WriterOptions {
        stream_quota_len: 10_000,
        ..WriterOptions::default()
    });
    let refused = push(&mut producer, 0, 20_000).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
}

#[test]
fn a_producer_that_waits_is_refused_when_the_recording_is_closed() {
    let (writer, mut producer) = recording(WriterOptions {
        commit_us: 60_000_000,
        stream_quota_len: 100_000,
        ..WriterOptions::default()
    });
    let pushing = std::thread::spawn(move || {
        let refused = (0..).find_map(|number| push(&mut producer, number, 20_000).err());
        refused.unwrap().kind()
    });
    while writer.status().queued_len < 80_000 {
        std::thread::yield_now();
    }
    writer.close().unwrap();
    assert_eq!(pushing.join().unwrap(), ErrorKind::Failed);
}

/// A clock that panics on the writer's thread once it is told to.
#[derive(Debug, Default)]
struct DeadlyClock(AtomicBool);

impl Clock for DeadlyClock {
    fn now(&self) -> Now {
        let is_writer = std::thread::current().name() == Some("camring-writer");
        assert!(!is_writer || !self.0.load(Ordering::SeqCst), "as told");
        SystemClock.now()
    }
}

/// A defect that ends the writer's thread by a panic left its producers waiting for ever: nobody
/// refused them.
#[test]
fn a_producer_that_waits_is_refused_when_the_writer_dies() {
    let clock = Arc::new(DeadlyClock::default());
    let (_writer, mut producer) = recording(WriterOptions {
        clock: clock.clone(),
        ring_count: 256,
        ..WriterOptions::default()
    });
    clock.0.store(true, Ordering::SeqCst);
    let refused = (0..).find_map(|number| push(&mut producer, number, 100).err());
    assert_eq!(refused.unwrap().kind(), ErrorKind::Failed);
}

#[test]
fn a_consumer_that_follows_a_recording_gets_every_frame_and_the_end() {
    let (writer, mut producer) = recording(WriterOptions {
        commit_us: 10_000,
        ..WriterOptions::default()
    });
    let volume = writer.volume().clone();
    let following = std::thread::spawn(move || {
        let mut reader = Reader::open(&volume).unwrap();
        let mut query = Query::time([STREAM], TimeRange::ALL);
        query.until = Until::Committed;
        let items = reader.read(query).unwrap();
        items
            .filter(|recorded| matches!(recorded.item, Item::Frame(_)))
            .count()
    });
    for number in 0..3_000 {
        push(&mut producer, number, 500).unwrap();
    }
    writer.close().unwrap();
    assert_eq!(following.join().unwrap(), 3_000);
}

/// The consumer of a read waited for ever when the reader's thread had died under it.
#[test]
fn a_consumer_is_told_the_end_when_the_reader_dies() {
    let (writer, mut producer) = recording(WriterOptions::default());
    (0..100).for_each(|number| push(&mut producer, number, 500).unwrap());
    writer.commit().unwrap();
    let mut reader = Reader::open(writer.volume()).unwrap();
    reader.set_after_read(Box::new(|_| panic!("as told")));
    let items = reader.read(Query::time([STREAM], TimeRange::ALL)).unwrap();
    assert!(items.count() < 100);
    let later = reader.read(Query::blocks([1]));
    assert_eq!(later.map_or(0, Iterator::count), 0);
}
