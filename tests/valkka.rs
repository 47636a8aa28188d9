//! Faults of libValkka that no other suite has a reason to try: each test begins with what went
//! wrong there. docs/VALKKA.md lists all of them.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/recording.rs"]
mod recording;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use camring::base::time::TimeRange;
use camring::frame::{Frame, FrameSink, Item, StreamId};
use camring::io::buffer::BufferPool;
use camring::io::direct::Access;
use camring::io::wake::Waker;
use camring::io::{Completion, Device, Op, Request};
use camring::manager::{Command, Event as Told, ManagerOptions, StreamKey};
use camring::reader::Query;
use camring::volume::medium::{FileMedium, Medium};
use camring::writer::{Producer, Writer, WriterOptions};
use camring::{Manager, Reader, Volume};
use recording::{KEY_EVERY, frame, frames_in, numbers_of, read, time_of, volume};

const CAMERA: u64 = 7;

fn open(dir: &Path, streams: &[u64]) -> (Writer, Producer) {
    let writer = Writer::open(dir, WriterOptions::default()).unwrap();
    let producer = waiting(&writer, streams);
    (writer, producer)
}

/// A producer of `streams` that waits where there is no room.
fn waiting(writer: &Writer, streams: &[u64]) -> Producer {
    let mut producer = writer.producer().unwrap();
    producer.set_waiting(true);
    for stream in streams {
        let setup = camera::setup(&format!("camera {stream}"));
        producer.add_stream(StreamId(*stream), setup).unwrap();
    }
    producer
}

/// Records frames of made-up cameras, and closes the recording.
fn record(dir: &Path, streams: &[u64], numbers: std::ops::Range<u64>) {
    let (writer, mut producer) = open(dir, streams);
    for number in numbers {
        for stream in streams {
            let pushed = frame(*stream, number);
            producer.push(StreamId(*stream), pushed).unwrap();
        }
    }
    drop(producer);
    writer.close().unwrap();
}

/// The files of a directory and what is in them.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).unwrap())
    });
    named.collect()
}

/// Where the last blocks of a recording had no key frame, libValkka did not note how far it had
/// come, and the next start recorded over them.
#[test]
fn a_restart_after_blocks_without_a_key_frame_overwrites_nothing() {
    let dir = volume(32, 64 << 10);
    let numbered = |number: u64, key: bool| Frame {
        track: 0,
        key,
        leading: false,
        time: time_of(number),
        clock: 0,
        payload: Bytes::from(vec![number as u8; 10_000]),
    };
    for (first, last) in [(0, 50), (50, 60)] {
        let (writer, mut producer) = open(dir.path(), &[CAMERA]);
        for number in first..last {
            let pushed = numbered(number, number == first);
            producer.push(StreamId(CAMERA), pushed).unwrap();
        }
        drop(producer);
        writer.close().unwrap();
    }
    let volume = Volume::open(dir.path()).unwrap();
    let items = read(&volume, Query::time([StreamId(CAMERA)], TimeRange::ALL));
    let expected: Vec<_> = (0..60).map(|n| numbered(n, n == 0 || n == 50)).collect();
    assert!(
        frames_in(&items) == expected,
        "{} frames",
        frames_in(&items).len()
    );
    let keyless = items.iter().filter(|r| r.sequence > items[0].sequence + 3);
    assert!(keyless.count() > 20, "blocks without a key frame were many");
}

/// Stream 0 was the end mark of a block: frames of it hid all that came behind them. Numbers from
/// 256 on could not be played.
#[test]
fn every_number_is_a_stream_zero_among_them() {
    let dir = volume(16, 256 << 10);
    let streams = [0, 1, 255, 256, 1 << 40, u64::MAX];
    record(dir.path(), &streams, 0..30);
    let volume = Volume::open(dir.path()).unwrap();
    for stream in streams {
        let expected: Vec<_> = (0..30).collect();
        assert_eq!(numbers_of(&volume, stream), expected, "stream {stream}");
    }
    let (manager, _events) = manager();
    let source = manager.add_volume(volume).unwrap();
    for stream in streams.map(StreamId) {
        let items = manager.map(&[StreamKey { source, stream }], stream);
        let items = items.unwrap();
        manager.command(Command::Seek(time_of(3))).unwrap();
        let (slot, setup) = items.recv().unwrap();
        assert!(slot == stream && matches!(setup, Item::Setup(_)));
    }
}

/// Asking libValkka for its parameters emptied the file in which it kept them.
#[test]
fn looking_at_a_volume_changes_no_byte_of_it() {
    let dir = volume(16, 256 << 10);
    record(dir.path(), &[1, 2], 0..300);
    let before = files(dir.path());
    let volume = Volume::open(dir.path()).unwrap();
    let _ = (volume.id(), volume.geometry(), volume.time_range());
    for stream in volume.streams() {
        assert!(!volume.timeline(stream.id, TimeRange::ALL).is_empty());
        assert_eq!(numbers_of(&volume, stream.id.0).len(), 300);
    }
    assert!(!volume.blocks_near(time_of(100), 2).is_empty());
    drop(volume);
    assert!(files(dir.path()) == before);
}

/// libValkka kept the paths of its files: a directory that was moved did not open, or opened the
/// one that had taken its old place.
#[test]
fn a_directory_that_was_moved_opens_and_not_the_one_in_its_old_place() {
    let outside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (old, new) = (outside.path().join("old"), outside.path().join("new"));
    let moved = volume(16, 256 << 10);
    std::fs::rename(moved.path(), &old).unwrap();
    record(&old, &[CAMERA], 0..100);
    std::fs::rename(&old, &new).unwrap();
    let other = volume(16, 256 << 10);
    std::fs::rename(other.path(), &old).unwrap();
    let before = files(&old);
    record(&new, &[CAMERA], 100..200);
    let expected: Vec<_> = (0..200).collect();
    assert_eq!(numbers_of(&Volume::open(&new).unwrap(), CAMERA), expected);
    assert!(files(&old) == before);
}

/// What was in its queue when a recording was stopped, libValkka threw away.
#[test]
fn what_was_pushed_is_recorded_when_the_recording_is_closed() {
    let dir = volume(64, 1 << 20);
    let (writer, mut producer) = open(dir.path(), &[CAMERA]);
    for number in 0..2000 {
        let pushed = frame(CAMERA, number);
        producer.push(StreamId(CAMERA), pushed).unwrap();
    }
    // At once: most of it is still on its way.
    writer.close().unwrap();
    let expected: Vec<_> = (0..2000).collect();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA), expected);
}

/// The callback for a new block ran in the thread that wrote: a busy listener stalled the recording
/// until frames were lost.
#[test]
fn a_listener_that_hangs_does_not_hold_up_recording() {
    let dir = volume(64, 256 << 10);
    let (let_go, held) = mpsc::channel::<()>();
    let options = WriterOptions {
        on_event: Some(Box::new(move |_| {
            // It fails at once when the test lets go.
            let _ = held.recv();
        })),
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir.path(), options).unwrap();
    let mut producer = waiting(&writer, &[CAMERA]);
    let mut durable = writer.status().durable;
    for turn in 0..20 {
        for number in turn * 50..(turn + 1) * 50 {
            let pushed = frame(CAMERA, number);
            producer.push(StreamId(CAMERA), pushed).unwrap();
        }
        let position = writer.commit().unwrap();
        assert!(position > durable);
        durable = position;
    }
    assert!(durable.sequence > 10, "many blocks were sealed meanwhile");
    // From here on the listener is free.
    drop(let_go);
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA).len(), 1000);
}

/// A file that counts what is asked of it.
#[derive(Clone, Debug)]
struct Counting {
    file: FileMedium,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    read_len: AtomicU64,
    write_count: AtomicU64,
}

impl Counting {
    fn new(dir: &Path) -> Self {
        Self {
            file: FileMedium::new(dir.join("data")),
            counts: Arc::default(),
        }
    }
}

impl Medium for Counting {
    fn open(&self, access: Access, pool: &BufferPool) -> camring::Result<Box<dyn Device>> {
        let device = self.file.open(access, pool)?;
        Ok(Box::new(CountingDevice(device, self.counts.clone())))
    }

    fn is_being_written(&self) -> camring::Result<bool> {
        self.file.is_being_written()
    }

    fn name(&self) -> String {
        self.file.name()
    }
}

struct CountingDevice(Box<dyn Device>, Arc<Counts>);

impl Device for CountingDevice {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn unit_len(&self) -> u32 {
        self.0.unit_len()
    }

    fn submit(&mut self, request: Request) {
        match request.op {
            Op::Read => self
                .1
                .read_len
                .fetch_add(request.len as u64, Ordering::Relaxed),
            Op::Write => self.1.write_count.fetch_add(1, Ordering::Relaxed),
            Op::Flush => 0,
        };
        self.0.submit(request);
    }

    fn reap(&mut self) -> Option<Completion> {
        self.0.reap()
    }

    fn wait(&mut self, timeout_us: Option<u64>) -> camring::Result<()> {
        self.0.wait(timeout_us)
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    fn waker(&self) -> Waker {
        self.0.waker()
    }

    fn prepare_wait(&self) {
        self.0.prepare_wait();
    }

    fn cancel_wait(&self) {
        self.0.cancel_wait();
    }
}

/// Reading one of 16 cameras read all of them, 16 times as much as was wanted.
#[test]
fn one_camera_of_sixteen_is_read_without_its_neighbours() {
    let dir = volume(64, 1 << 20);
    let streams: Vec<_> = (1..=16).collect();
    record(dir.path(), &streams, 0..250);
    let medium = Counting::new(dir.path());
    let volume = Volume::open_on(Arc::new(medium.clone()), Some(dir.path())).unwrap();
    let mut reader = Reader::open(&volume).unwrap();
    let before = medium.counts.read_len.load(Ordering::Relaxed);
    let query = Query::time([StreamId(CAMERA)], TimeRange::ALL);
    let items: Vec<_> = reader.read(query).unwrap().collect();
    let read_len = medium.counts.read_len.load(Ordering::Relaxed) - before;
    let frames = frames_in(&items);
    assert_eq!(frames.len(), 250);
    let wanted_len: usize = frames.iter().map(|frame| frame.payload.len()).sum();
    assert!(
        read_len < 3 * wanted_len as u64,
        "{read_len} bytes were read for {wanted_len}"
    );
}

/// libValkka wrote 4 KiB at a time: 284 system calls for a mebibyte.
#[test]
fn a_mebibyte_takes_a_few_writes() {
    let dir = volume(32, 1 << 20);
    let medium = Counting::new(dir.path());
    let options = WriterOptions::default();
    let writer = Writer::open_on(Arc::new(medium.clone()), None, options).unwrap();
    let mut producer = waiting(&writer, &[CAMERA]);
    let mut pushed_len = 0;
    for number in 0..4000 {
        let pushed = frame(CAMERA, number);
        pushed_len += pushed.payload.len() as u64;
        producer.push(StreamId(CAMERA), pushed).unwrap();
    }
    drop(producer);
    writer.close().unwrap();
    let write_count = medium.counts.write_count.load(Ordering::Relaxed);
    assert!(
        write_count < 10 * (pushed_len >> 20),
        "{write_count} writes for {pushed_len} bytes"
    );
}

/// A manager, and its events.
fn manager() -> (Manager, mpsc::Receiver<Told>) {
    let (tell, events) = mpsc::channel();
    let options = ManagerOptions {
        on_event: Some(Box::new(move |event| {
            // The test may be over already.
            let _ = tell.send(event.clone());
        })),
        ..ManagerOptions::default()
    };
    (Manager::start(options).unwrap(), events)
}

/// The common time range of several recordings ended with the one that ended first: what the others
/// had behind it could not be reached.
#[test]
fn the_time_range_of_several_volumes_reaches_to_the_end_of_the_last() {
    let dirs = [volume(16, 256 << 10), volume(16, 256 << 10)];
    record(dirs[0].path(), &[1], 0..100);
    record(dirs[1].path(), &[2], 50..120);
    let (manager, events) = manager();
    let mut told = None;
    for dir in &dirs {
        manager
            .add_volume(Volume::open(dir.path()).unwrap())
            .unwrap();
        told = events.iter().find_map(|event| match event {
            Told::NewBlock { all, .. } => all,
            _ => None,
        });
    }
    let whole = TimeRange::new(time_of(0), time_of(119));
    assert_eq!(told, Some(whole));
    // What the manager shows is as of the end of its last turn: the event of a later one is awaited.
    manager.command(Command::Seek(time_of(110))).unwrap();
    assert!(events.iter().any(|event| matches!(event, Told::Time(_))));
    assert_eq!(manager.time_range(), Some(whole));
}

/// Counts frames; the count is shared with the test.
struct Tally(Arc<AtomicU64>);

impl FrameSink for Tally {
    fn accept(&mut self, _: StreamId, item: Item) -> camring::Result<()> {
        let is_frame = matches!(item, Item::Frame(_) | Item::Preroll(_));
        self.0.fetch_add(u64::from(is_frame), Ordering::Relaxed);
        Ok(())
    }
}

/// Closing a group or a manager left its threads behind.
#[test]
fn a_manager_that_is_dropped_leaves_no_thread_behind() {
    let dir = volume(16, 256 << 10);
    record(dir.path(), &[1], 0..100);
    let (manager, events) = manager();
    let source = manager
        .add_volume(Volume::open(dir.path()).unwrap())
        .unwrap();
    let stream = StreamId(1);
    let key = StreamKey { source, stream };
    let tally = Arc::new(AtomicU64::new(0));
    manager
        .map_sink(&[key], stream, Tally(tally.clone()))
        .unwrap();
    let target = time_of(2 * KEY_EVERY + 3);
    manager.command(Command::Seek(target)).unwrap();
    assert!(events.iter().any(|event| event == Told::Time(target)));
    drop(manager);
    assert_eq!(tally.load(Ordering::Relaxed), 4, "what was due was taken");
    assert_eq!(Arc::strong_count(&tally), 1, "the sink's thread has ended");
    // It ends when nobody is left who could tell anything.
    let _ = events.iter().count();
    assert_eq!(events.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}
