//! A ring that is written around again and again while readers read: they get what was pushed, or
//! are told that it is gone, and the writer never waits for them.
//!
//! The judge is the frames themselves: made-up cameras write stream and number into each, so what
//! comes back can be compared without asking camring what it was.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a panic is how a test fails; seeds and figures are printed"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/recording.rs"]
mod recording;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use camera::Random;
use camring::base::time::TimeRange;
use camring::frame::{GapCause, Item, Recorded, StreamId};
use camring::io::buffer::BufferPool;
use camring::io::direct::Access;
use camring::io::wake::Waker;
use camring::io::{Completion, Device, Request};
use camring::reader::{Query, Reader, Select, Until};
use camring::volume::Volume;
use camring::volume::medium::{FileMedium, Medium};
use camring::writer::{Producer, Writer, WriterOptions};
use recording::{frame, number_of, numbers_of, read, time_of, volume};

const BLOCK_COUNT: u64 = 16;
const BLOCK_LEN: u32 = 1 << 20;
const STREAM_COUNT: u64 = 3;
/// The head of a ring that was written ten times around.
const LAST_BLOCK: u64 = 10 * BLOCK_COUNT;

/// A recording whose producer waits for the disk; quotas are a fraction of the ring, so that it
/// stays close to what is stored.
fn open(dir: &std::path::Path) -> (Writer, Producer) {
    let options = WriterOptions {
        commit_us: 20_000,
        volume_quota_len: 2 << 20,
        stream_quota_len: 2 << 20,
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir, options).unwrap();
    let mut producer = writer.producer().unwrap();
    producer.set_waiting(true);
    for stream in 0..STREAM_COUNT {
        let setup = camera::setup(&format!("camera {stream}"));
        producer.add_stream(StreamId(stream), setup).unwrap();
    }
    (writer, producer)
}

/// Pushes frame number `number` of every stream, and on, until block `last` is being written.
/// Returns the number of the next frame.
fn push_up_to(writer: &Writer, producer: &mut Producer, mut number: u64, last: u64) -> u64 {
    while writer.volume().completed().sequence < last {
        for stream in 0..STREAM_COUNT {
            producer
                .push(StreamId(stream), frame(stream, number))
                .unwrap();
        }
        number += 1;
    }
    number
}

/// What came of each stream so far: checks frame by frame that it is as it was pushed, in order,
/// once, and that whatever is left out was told.
#[derive(Default)]
struct Judge {
    last: HashMap<StreamId, u64>,
    gaps: HashMap<StreamId, GapCause>,
    frame_count: u64,
    overwritten_count: u64,
}

impl Judge {
    fn take(&mut self, recorded: &Recorded) {
        let stream = recorded.stream;
        match &recorded.item {
            Item::Setup(_) => {}
            Item::Gap(gap) => {
                self.overwritten_count += u64::from(gap.cause == GapCause::Overwritten);
                self.gaps.insert(stream, gap.cause);
            }
            Item::Frame(found) | Item::Preroll(found) => {
                let number = number_of(stream, found);
                let gap = self.gaps.remove(&stream);
                if let Some(last) = self.last.insert(stream, number) {
                    assert!(last < number, "stream {stream}: {number} behind {last}");
                    let is_told = number == last + 1 || gap.is_some();
                    assert!(
                        is_told,
                        "stream {stream}: {last}, then {number}, and no gap"
                    );
                }
                self.frame_count += 1;
            }
        }
    }
}

/// What the threads of a test share.
struct Shared {
    volume: Volume,
    is_over: AtomicBool,
    /// The number of the next frame to be pushed.
    next: AtomicU64,
}

/// Everything, and on to the end of the recording, ahead of the commits.
fn live() -> Query {
    Query {
        streams: Vec::new(),
        select: Select::Time(TimeRange::ALL),
        until: Until::Written,
    }
}

/// Reads random ranges of time until the recording is over.
fn read_ranges(shared: &Shared, mut random: Random) -> (u64, u64) {
    let mut reader = Reader::open(&shared.volume).unwrap();
    let (mut frame_count, mut overwritten_count) = (0, 0);
    while !shared.is_over.load(Ordering::Relaxed) {
        let next = shared.next.load(Ordering::Relaxed);
        let first = next.saturating_sub(random.below(600));
        let last = first + random.below(200);
        let streams = (0..STREAM_COUNT).map(StreamId);
        let streams: Vec<_> = streams.filter(|_| random.below(2) == 0).collect();
        let range = TimeRange::new(time_of(first), time_of(last));
        let mut judge = Judge::default();
        for recorded in reader.read(Query::time(streams.clone(), range)).unwrap() {
            assert!(streams.is_empty() || streams.contains(&recorded.stream));
            if let Item::Frame(frame) = &recorded.item {
                let is_first = !judge.last.contains_key(&recorded.stream);
                assert!(!is_first || frame.key, "a range begins with a key frame");
                assert!(frame.time <= range.end, "a frame behind the range");
            }
            judge.take(&recorded);
        }
        frame_count += judge.frame_count;
        overwritten_count += judge.overwritten_count;
    }
    (frame_count, overwritten_count)
}

/// Reads live, ahead of the commits, to the end of the recording.
fn read_live(shared: &Shared) -> (u64, u64) {
    let mut reader = Reader::open(&shared.volume).unwrap();
    let mut judge = Judge::default();
    for recorded in reader.read(live()).unwrap() {
        judge.take(&recorded);
    }
    let last = shared.next.load(Ordering::Relaxed) - 1;
    for stream in 0..STREAM_COUNT {
        assert_eq!(
            judge.last[&StreamId(stream)],
            last,
            "stream {stream}: the last frame"
        );
    }
    (judge.frame_count, judge.overwritten_count)
}

/// Reads whole blocks in any order until the recording is over.
fn read_blocks(shared: &Shared, mut random: Random) -> (u64, u64) {
    let mut reader = Reader::open(&shared.volume).unwrap();
    let (mut frame_count, mut overwritten_count) = (0, 0);
    while !shared.is_over.load(Ordering::Relaxed) {
        let head = shared.volume.table().head();
        let sequences = (0..4).map(|_| head.saturating_sub(random.below(BLOCK_COUNT + 2)));
        let sequences: Vec<_> = sequences.collect();
        let mut frames = reader.read(Query::blocks(sequences.clone())).unwrap();
        let mut judges: Vec<(u64, Judge)> = Vec::new();
        for recorded in frames.by_ref() {
            assert!(sequences.contains(&recorded.sequence));
            let is_new = judges
                .last()
                .is_none_or(|(sequence, _)| *sequence != recorded.sequence);
            // A block that is asked for twice in a row comes twice.
            let again = judges
                .last()
                .is_some_and(|(_, judge)| is_again(judge, &recorded));
            if is_new || again {
                judges.push((recorded.sequence, Judge::default()));
            }
            judges.last_mut().unwrap().1.take(&recorded);
        }
        assert!(judges.len() as u64 + frames.missing_count() >= 1);
        frame_count += judges
            .iter()
            .map(|(_, judge)| judge.frame_count)
            .sum::<u64>();
        overwritten_count += judges
            .iter()
            .map(|(_, judge)| judge.overwritten_count)
            .sum::<u64>();
    }
    (frame_count, overwritten_count)
}

fn is_again(judge: &Judge, recorded: &Recorded) -> bool {
    let Item::Frame(frame) = &recorded.item else {
        return false;
    };
    let last = judge.last.get(&recorded.stream);
    last.is_some_and(|last| *last >= number_of(recorded.stream, frame))
}

/// Sixteen blocks, written ten times around, while one reader jumps about in time, one reads live
/// and one takes whole blocks: whatever comes is what was pushed, in order, once.
#[test]
fn readers_of_a_ring_that_is_written_around_get_what_was_pushed() {
    let seed = camera::seed();
    eprintln!("seed {seed}");
    let dir = volume(BLOCK_COUNT, BLOCK_LEN);
    let (writer, mut producer) = open(dir.path());
    let shared = Arc::new(Shared {
        volume: writer.volume().clone(),
        is_over: AtomicBool::new(false),
        next: AtomicU64::new(0),
    });
    let spawn = |work: fn(&Shared, u64) -> (u64, u64)| {
        let shared = shared.clone();
        std::thread::spawn(move || work(&shared, seed))
    };
    let readers = [
        spawn(|shared, seed| read_ranges(shared, Random::new(seed))),
        spawn(|shared, _| read_live(shared)),
        spawn(|shared, seed| read_blocks(shared, Random::new(seed ^ 1))),
    ];
    let mut next = 0;
    for last in 1..=LAST_BLOCK {
        next = push_up_to(&writer, &mut producer, next, last);
        shared.next.store(next, Ordering::Relaxed);
    }
    assert_eq!(producer.shed_count(), 0);
    drop(producer);
    writer.close().unwrap();
    shared.is_over.store(true, Ordering::Relaxed);
    for (reader, name) in readers.into_iter().zip(["ranges", "live", "blocks"]) {
        let (frame_count, overwritten_count) = reader.join().unwrap();
        eprintln!("{name}: {frame_count} frames, {overwritten_count} gaps by overwriting");
        assert!(frame_count > 0, "{name} has read nothing");
    }
    whole_window_is_there(&Volume::open(dir.path()).unwrap(), next);
}

/// The newest N-3 usable blocks are readable (P2), up to the last frame.
fn whole_window_is_there(volume: &Volume, next: u64) {
    let block_count = volume.table().blocks().count() as u64;
    assert!(block_count >= BLOCK_COUNT - 3, "{block_count} blocks");
    for stream in 0..STREAM_COUNT {
        let numbers = numbers_of(volume, stream);
        assert_eq!(numbers.last(), Some(&(next - 1)));
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }
}

/// The writer laps a reader between its read and its check: what it has read is no longer what the
/// table promised, so it must say `Overwritten`, not hand out frames of another turn.
#[test]
fn a_reader_that_is_lapped_in_the_middle_of_a_read_says_so() {
    let dir = volume(BLOCK_COUNT, BLOCK_LEN);
    let (writer, mut producer) = open(dir.path());
    let mut next = push_up_to(&writer, &mut producer, 0, 6);
    let mut reader = Reader::open(writer.volume()).unwrap();
    let (has_read, wait_for_read) = mpsc::channel();
    let (go_on, wait_to_go_on) = mpsc::channel();
    let mut is_first = true;
    reader.set_after_read(Box::new(move |sequence| {
        if std::mem::take(&mut is_first) {
            has_read.send(sequence).unwrap();
            wait_to_go_on.recv().unwrap();
        }
    }));
    let frames = reader.read(Query::time([], TimeRange::ALL)).unwrap();
    let sequence = wait_for_read.recv().unwrap();
    next = push_up_to(&writer, &mut producer, next, sequence + BLOCK_COUNT + 2);
    go_on.send(()).unwrap();
    let mut judge = Judge::default();
    for recorded in frames {
        judge.take(&recorded);
    }
    assert!(judge.overwritten_count >= 1, "nobody noticed");
    let blocks = read(writer.volume(), Query::blocks([sequence]));
    assert!(blocks.is_empty(), "block {sequence} is gone, and was read");
    assert!(next > 0);
}

/// A reader that takes one item and then nothing holds a full ring and all of its buffers; another
/// one is stopped in the middle of a read. Ten times the ring is written around: every push and
/// every commit succeeds, nothing is shed, and what the reader holds does not change under it.
#[test]
fn a_reader_that_stands_still_does_not_hold_up_the_writer() {
    let dir = volume(BLOCK_COUNT, BLOCK_LEN);
    let (writer, mut producer) = open(dir.path());
    let mut next = push_up_to(&writer, &mut producer, 0, 14);
    writer.commit().unwrap();

    let mut lazy = Reader::open(writer.volume()).unwrap();
    let mut lazy_frames = lazy.read(Query::time([], TimeRange::ALL)).unwrap();
    let mut held: Vec<_> = (0..200).filter_map(|_| lazy_frames.next()).collect();
    let mut stopped = Reader::open(writer.volume()).unwrap();
    let (has_read, wait_for_read) = mpsc::channel();
    let (go_on, wait_to_go_on) = mpsc::channel::<()>();
    stopped.set_after_read(Box::new(move |_| {
        let _ = has_read.send(());
        let _ = wait_to_go_on.recv();
    }));
    let stopped_frames = stopped.read(live()).unwrap();
    wait_for_read.recv().unwrap();

    for last in 15..=LAST_BLOCK {
        next = push_up_to(&writer, &mut producer, next, last);
        if last % BLOCK_COUNT == 0 {
            writer.commit().unwrap();
        }
    }
    assert_eq!(producer.shed_count(), 0);
    whole_window_is_there(writer.volume(), next);

    held.extend(lazy_frames);
    let mut judge = Judge::default();
    for recorded in &held {
        judge.take(recorded);
    }
    assert!(
        judge.overwritten_count >= 1,
        "the ring went around ten times"
    );
    drop(go_on);
    drop(producer);
    writer.close().unwrap();
    let mut judge = Judge::default();
    for recorded in stopped_frames {
        judge.take(&recorded);
    }
    assert!(judge.overwritten_count >= 1);
}

/// A live reader falls behind by more than the ring holds, and goes on: the runs that it missed were
/// once left out without a word, because their rows were gone when it came to them.
#[test]
fn a_live_reader_that_falls_behind_is_told_what_it_missed() {
    let dir = volume(BLOCK_COUNT, BLOCK_LEN);
    let (writer, mut producer) = open(dir.path());
    let mut reader = Reader::open(writer.volume()).unwrap();
    let frames = reader.read(live()).unwrap();
    push_up_to(&writer, &mut producer, 0, 3 * BLOCK_COUNT);
    drop(producer);
    writer.close().unwrap();
    let mut judge = Judge::default();
    for recorded in frames {
        judge.take(&recorded);
    }
    assert!(judge.frame_count > 0 && judge.overwritten_count > 0);
}

/// A reader whose consumer is slow has nothing to do but wait. It once waited on its device, which
/// is ready as long as a read is done that nobody has taken: it asked and asked, on a core of its own.
#[test]
fn a_reader_that_waits_for_its_consumer_leaves_its_device_alone() {
    // So long that several reads of one block are under way at a time.
    let dir = volume(BLOCK_COUNT, 4 * BLOCK_LEN);
    let (writer, mut producer) = open(dir.path());
    push_up_to(&writer, &mut producer, 0, 8);
    drop(producer);
    writer.close().unwrap();

    let asked = Arc::new(AtomicU64::new(0));
    let medium = CountedMedium {
        file: FileMedium::new(dir.path().join("data")),
        asked: asked.clone(),
    };
    let counted = Volume::open_on(Arc::new(medium), Some(dir.path())).unwrap();
    let mut reader = Reader::open(&counted).unwrap();
    let (tell, told) = mpsc::channel();
    reader.set_after_read(Box::new(move |_| {
        let _ = tell.send(());
    }));
    let before = asked.load(Ordering::Relaxed);
    let mut frames = reader.read(Query::time([], TimeRange::ALL)).unwrap();
    // One item is taken and no more. This reader fills its queue, while another one does a lot.
    frames.next().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    let everything = read(&volume, Query::time([], TimeRange::ALL)).len();
    for _ in 0..20 {
        assert_eq!(
            read(&volume, Query::time([], TimeRange::ALL)).len(),
            everything
        );
    }
    let read_count = told.try_iter().count() as u64;
    let asked = asked.load(Ordering::Relaxed) - before;
    drop(frames);
    eprintln!("{asked} looks at the device for {read_count} reads");
    assert!(read_count > 0 && everything > 2000, "{read_count} reads");
    // Indices and headers are read besides what is told of.
    assert!(
        asked < 1000,
        "{asked} looks at the device for {read_count} reads"
    );
}

/// A data file; counts how often the reader's threads wait for it, or look for a completion.
#[derive(Debug)]
struct CountedMedium {
    file: FileMedium,
    asked: Arc<AtomicU64>,
}

impl Medium for CountedMedium {
    fn open(&self, access: Access, pool: &BufferPool) -> camring::Result<Box<dyn Device>> {
        let device = self.file.open(access, pool)?;
        let asked = self.asked.clone();
        Ok(Box::new(CountedDevice { device, asked }))
    }

    fn is_being_written(&self) -> camring::Result<bool> {
        self.file.is_being_written()
    }

    fn name(&self) -> String {
        self.file.name()
    }
}

struct CountedDevice {
    device: Box<dyn Device>,
    asked: Arc<AtomicU64>,
}

impl Device for CountedDevice {
    fn len(&self) -> u64 {
        self.device.len()
    }

    fn unit_len(&self) -> u32 {
        self.device.unit_len()
    }

    fn submit(&mut self, request: Request) {
        self.device.submit(request);
    }

    fn reap(&mut self) -> Option<Completion> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.device.reap()
    }

    fn wait(&mut self, timeout_us: Option<u64>) -> camring::Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.device.wait(timeout_us)
    }

    fn in_flight(&self) -> usize {
        self.device.in_flight()
    }

    fn waker(&self) -> Waker {
        self.device.waker()
    }

    fn prepare_wait(&self) {
        self.device.prepare_wait();
    }

    fn cancel_wait(&self) {
        self.device.cancel_wait();
    }
}
