//! The manager on real volumes: what is played is what was pushed, once and in order, up to the live
//! edge; a sink that is slow or dead harms nobody else.
#![cfg(not(camring_loom))]
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

use std::path::Path;
use std::sync::mpsc;

use camring::base::time::Timestamp;
use camring::frame::filter::{ChannelLimits, Receiver};
use camring::frame::{FrameSink, Item, StreamId};
use camring::manager::{Command, Event, ManagerOptions, SourceId, Speed, StreamKey};
use camring::writer::{Producer, Writer, WriterOptions};
use camring::{Error, ErrorKind, Manager, Volume};
use recording::{KEY_EVERY, frame, number_of, time_of, volume};
use tempfile::TempDir;

const BLOCK_LEN: u32 = 256 << 10;

fn open(dir: &Path, streams: &[u64]) -> (Writer, Producer) {
    let options = WriterOptions {
        commit_us: 20_000,
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir, options).unwrap();
    let mut producer = writer.producer().unwrap();
    producer.set_waiting(true);
    for stream in streams {
        let setup = camera::setup(&format!("camera {stream}"));
        producer.add_stream(StreamId(*stream), setup).unwrap();
    }
    (writer, producer)
}

/// A volume in which each of `streams` has the frames of `numbers`.
fn recorded(streams: &[u64], numbers: std::ops::Range<u64>) -> TempDir {
    let dir = volume(64, BLOCK_LEN);
    let (writer, mut producer) = open(dir.path(), streams);
    for number in numbers {
        for stream in streams {
            producer
                .push(StreamId(*stream), frame(*stream, number))
                .unwrap();
        }
    }
    drop(producer);
    writer.close().unwrap();
    dir
}

/// A manager, and its events.
fn manager() -> (Manager, mpsc::Receiver<Event>) {
    let (tell, events) = mpsc::channel();
    let options = ManagerOptions {
        queue: ChannelLimits {
            item_count: 100_000,
            payload_len: 1 << 30,
        },
        on_event: Some(Box::new(move |event| {
            // The test may be over already.
            let _ = tell.send(event.clone());
        })),
        ..ManagerOptions::default()
    };
    (Manager::start(options).unwrap(), events)
}

fn key(source: SourceId, stream: u64) -> StreamKey {
    StreamKey {
        source,
        stream: StreamId(stream),
    }
}

fn wait_for(events: &mpsc::Receiver<Event>, wanted: &Event) {
    while events.recv().unwrap() != *wanted {}
}

/// What has been delivered of stream `stream`: numbers, and whether each was to be shown.
fn delivered(items: &Receiver, stream: u64) -> Vec<(u64, bool)> {
    let mut numbers = Vec::new();
    let mut is_set_up = false;
    while let Ok((_, item)) = items.try_recv() {
        match item {
            Item::Setup(setup) => {
                assert_eq!(setup.name, format!("camera {stream}"));
                is_set_up = true;
            }
            Item::Frame(frame) => numbers.push((number_of(StreamId(stream), &frame), true)),
            Item::Preroll(frame) => numbers.push((number_of(StreamId(stream), &frame), false)),
            Item::Gap(_) => {}
        }
        assert!(is_set_up, "the setup comes first");
    }
    numbers
}

/// Where the queue loses nothing, the playing waits for it: a program behind a pipe that stands
/// still, or a slow disk. A seek delivers a whole group of pictures at once, and the queue has room
/// for four.
#[test]
fn playing_waits_for_a_queue_that_must_not_lose_anything() {
    let dir = recorded(&[1], 0..600);
    for waits in [true, false] {
        let (tell, events) = mpsc::channel();
        let options = ManagerOptions {
            queue: ChannelLimits {
                item_count: 4,
                ..ChannelLimits::default()
            },
            waits,
            on_event: Some(Box::new(move |event| {
                let _ = tell.send(event.clone());
            })),
            ..ManagerOptions::default()
        };
        let manager = Manager::start(options).unwrap();
        let volume = Volume::open(dir.path()).unwrap();
        let source = manager.add_volume(volume).unwrap();
        let items = manager.map(&[key(source, 1)], StreamId(1)).unwrap();
        manager.command(Command::SetSpeed(Speed::FASTEST)).unwrap();
        manager.command(Command::Seek(time_of(24))).unwrap();
        manager.command(Command::Play).unwrap();
        let mut numbers = Vec::new();
        let mut is_over = false;
        while !is_over {
            // In this order: what came before the end is in the queue then.
            is_over = events.try_iter().any(|event| event == Event::End);
            numbers.extend(delivered_more(&items, 1));
            std::thread::yield_now();
        }
        let all = numbers == (0..600).collect::<Vec<_>>();
        assert_eq!((all, items.lost_count() == 0), (waits, waits));
    }
}

/// The numbers of what has come since the last look.
fn delivered_more(items: &Receiver, stream: u64) -> Vec<u64> {
    let frames = std::iter::from_fn(|| items.try_recv().ok()).filter_map(|(_, item)| match item {
        Item::Frame(frame) | Item::Preroll(frame) => Some(frame),
        Item::Setup(_) | Item::Gap(_) => None,
    });
    frames
        .map(|frame| number_of(StreamId(stream), &frame))
        .collect()
}

#[test]
fn streams_of_two_volumes_are_played_to_their_end_without_a_missing_frame() {
    let volumes = [recorded(&[1, 2], 0..600), recorded(&[3], 100..500)];
    let (manager, events) = manager();
    let mut slots = Vec::new();
    for (dir, streams) in volumes.iter().zip([&[1, 2][..], &[3]]) {
        let source = manager
            .add_volume(Volume::open(dir.path()).unwrap())
            .unwrap();
        for stream in streams {
            let slot = StreamId(100 + stream);
            slots.push((*stream, manager.map(&[key(source, *stream)], slot).unwrap()));
        }
    }
    manager.command(Command::SetSpeed(Speed::FASTEST)).unwrap();
    manager.command(Command::Seek(time_of(0))).unwrap();
    manager.command(Command::Play).unwrap();
    wait_for(&events, &Event::End);
    for (stream, items) in &slots {
        let numbers: Vec<_> = delivered(items, *stream)
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        let range = if *stream == 3 { 100..500 } else { 0..600 };
        assert_eq!(numbers, range.collect::<Vec<_>>(), "stream {stream}");
        assert_eq!(items.lost_count(), 0);
    }
    assert_eq!(manager.time_range().unwrap().start, time_of(0));
}

#[test]
fn a_seek_shows_the_picture_of_the_time_and_stands() {
    let dir = recorded(&[1], 0..300);
    let (manager, events) = manager();
    let source = manager
        .add_volume(Volume::open(dir.path()).unwrap())
        .unwrap();
    let items = manager.map(&[key(source, 1)], StreamId(9)).unwrap();
    for number in [110, 3, 299, 250, 0] {
        manager
            .command(Command::Seek(time_of(number).plus_us(7)))
            .unwrap();
        wait_for(&events, &Event::Time(time_of(number).plus_us(7)));
        let first = number / KEY_EVERY * KEY_EVERY;
        let expected: Vec<_> = (first..=number).map(|n| (n, n == number)).collect();
        assert_eq!(delivered(&items, 1), expected);
    }
}

#[test]
fn playing_follows_the_recording_of_the_same_process() {
    let dir = volume(64, BLOCK_LEN);
    let (writer, mut producer) = open(dir.path(), &[1]);
    let (manager, _events) = manager();
    let source = manager.add_volume(writer.volume().clone()).unwrap();
    let items = manager.map(&[key(source, 1)], StreamId(1)).unwrap();
    manager
        .command(Command::Live { uncommitted: true })
        .unwrap();
    let mut next = 0;
    for number in 0..200 {
        producer.push(StreamId(1), frame(1, number)).unwrap();
        if number % 10 == 9 {
            // Each is delivered without the block being full.
            while next <= number {
                let (_, item) = items.recv().unwrap();
                if let Item::Frame(frame) = item {
                    assert_eq!(number_of(StreamId(1), &frame), next);
                    next += 1;
                }
            }
        }
    }
    drop(manager);
    drop(producer);
    writer.close().unwrap();
}

/// Takes so many items, then fails.
struct Dying(u64);

impl FrameSink for Dying {
    fn accept(&mut self, _: StreamId, _: Item) -> camring::Result<()> {
        self.0 = self
            .0
            .checked_sub(1)
            .ok_or_else(|| Error::new(ErrorKind::Failed, "out of paper"))?;
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_or_waits_loses_its_own_frames_only() {
    let dir = recorded(&[1, 2, 3], 0..600);
    let (tell, events) = mpsc::channel();
    let options = ManagerOptions {
        queue: ChannelLimits {
            item_count: 700,
            payload_len: 1 << 30,
        },
        on_event: Some(Box::new(move |event| {
            let _ = tell.send(event.clone());
        })),
        ..ManagerOptions::default()
    };
    let manager = Manager::start(options).unwrap();
    let source = manager
        .add_volume(Volume::open(dir.path()).unwrap())
        .unwrap();
    manager
        .map_sink(&[key(source, 1)], StreamId(1), Dying(50))
        .unwrap();
    let (let_go, held) = mpsc::channel::<()>();
    let waiting = Waiting(held, 0);
    manager
        .map_sink(&[key(source, 2)], StreamId(2), waiting)
        .unwrap();
    let items = manager.map(&[key(source, 3)], StreamId(3)).unwrap();
    manager.command(Command::SetSpeed(Speed::FASTEST)).unwrap();
    manager.command(Command::Seek(time_of(0))).unwrap();
    manager.command(Command::Play).unwrap();
    // The dead one is told of, and its slot is free again.
    let slot = StreamId(1);
    let message = "out of paper".to_owned();
    let (mut awaited, dead) = (2, Event::SinkEnded { slot, message });
    while awaited > 0 {
        let event = events.recv().unwrap();
        awaited -= u32::from(event == dead || event == Event::End);
    }
    let numbers: Vec<_> = delivered(&items, 3).into_iter().map(|(n, _)| n).collect();
    assert_eq!(numbers, (0..600).collect::<Vec<_>>());
    assert!(manager.map(&[key(source, 1)], slot).is_ok());
    drop(let_go);
}

/// Waits for a sign before its second item; fails when nobody can give one any more.
struct Waiting(mpsc::Receiver<()>, u64);

impl FrameSink for Waiting {
    fn accept(&mut self, _: StreamId, _: Item) -> camring::Result<()> {
        self.1 += 1;
        if self.1 > 1 {
            let _ = self.0.recv();
        }
        Ok(())
    }
}

#[test]
fn who_asks_is_told_of_each_frame_and_how_late_it_was() {
    let dir = recorded(&[1], 0..300);
    let (tell, events) = mpsc::channel();
    let options = ManagerOptions {
        tell_items: true,
        on_event: Some(Box::new(move |event| {
            let _ = tell.send(event.clone());
        })),
        ..ManagerOptions::default()
    };
    let manager = Manager::start(options).unwrap();
    let source = manager
        .add_volume(Volume::open(dir.path()).unwrap())
        .unwrap();
    let items = manager.map(&[key(source, 1)], StreamId(9)).unwrap();
    manager.command(Command::SetSpeed(Speed::FASTEST)).unwrap();
    manager.command(Command::Seek(time_of(60))).unwrap();
    manager.command(Command::Play).unwrap();
    let until_end = events.iter().take_while(|event| *event != Event::End);
    let told: Vec<_> = until_end
        .filter_map(|event| match event {
            Event::Delivered {
                slot,
                item,
                late_us,
            } => Some((slot, item, late_us)),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 250, "from the key frame before the target on");
    for (slot, item, late_us) in told {
        // The queue has the setup, too, which is not told.
        let delivered = std::iter::from_fn(|| items.try_recv().ok());
        let next = delivered
            .into_iter()
            .find(|(_, item)| !matches!(item, Item::Setup(_)));
        assert_eq!(next, Some((slot, item)));
        assert!((0..60_000_000).contains(&late_us), "{late_us}");
    }
}

#[test]
fn slots_are_taken_and_given_back() {
    let (manager, _events) = manager();
    let dir = recorded(&[1], 0..30);
    let source = manager
        .add_volume(Volume::open(dir.path()).unwrap())
        .unwrap();
    let slot = StreamId(4);
    let items = manager.map(&[key(source, 1)], slot).unwrap();
    let refused = manager.map(&[key(source, 1)], slot).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exists);
    manager.unmap(slot).unwrap();
    assert_eq!(items.recv(), None, "nothing more comes");
    assert_eq!(manager.unmap(slot).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(manager.map(&[], slot).is_err());
    let wrong = manager.command(Command::SetSpeed(Speed(1)));
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(manager.time(), None::<Timestamp>);
}
