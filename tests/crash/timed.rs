//! How soon a frame is durable, on the simulated clock and in requests of the disk.

use camring::base::time::{ManualClock, Timestamp};
use camring::frame::{Item, StreamId};
use camring::io::sim::{SimDisk, SimOptions};
use camring::reader::{Query, read_all};
use camring::writer::{ManualWriter, Producer};

use crate::model::{Fate, Model};
use crate::simulated::{self, START_US};
use crate::trial::fresh_image;
use crate::{COMMIT_US, camera, options};

/// One frame after another of one stream, on a disk that does nothing until it is waited for.
struct Timed {
    disk: SimDisk,
    clock: ManualClock,
    writer: ManualWriter,
    producer: Producer,
    model: Model,
    durable_count: u64,
}

impl Timed {
    fn begin(seed: u64) -> Self {
        let options = SimOptions {
            seed,
            ..SimOptions::default()
        };
        let disk = SimDisk::new(fresh_image(), options);
        let clock = simulated::clock();
        let medium = simulated::medium(&disk);
        let mut writer = ManualWriter::open_on(medium, None, self::options(&clock)).unwrap();
        let mut producer = writer.producer();
        let setup = camera::setup("timed");
        producer.add_stream(StreamId(0), setup).unwrap();
        Self {
            disk,
            clock,
            writer,
            producer,
            model: Model::default(),
            durable_count: 0,
        }
    }

    fn push(&mut self, number: u64) {
        let frame = camera::frame(0, number, START_US, 5, 3000);
        let frames = self.model.frames.entry(0).or_default();
        frames.push((frame.clone(), Fate::Pushed));
        self.producer.push(StreamId(0), frame).unwrap();
    }

    fn turn(&mut self) {
        self.writer.turn();
        let committed = self.writer.take_committed().into_iter();
        self.durable_count += committed.map(|chunk| chunk.frame_count).sum::<u64>();
    }

    /// Lets the disk end one request after another until so many frames are durable.
    fn wait_for(&mut self, durable_count: u64) {
        for _ in 0..1000 {
            if self.durable_count == durable_count {
                return;
            }
            self.writer.wait().unwrap();
            self.turn();
        }
        panic!("{} frames are durable", self.durable_count);
    }
}

/// Promise P1, on the simulated clock and in requests of the disk: a frame that is pushed just after
/// a tick, with the commit of that tick under way, is on stable storage after the period, what is
/// under way, its own write and its own flush. Nobody asks for a commit.
#[test]
fn what_was_pushed_is_durable_a_period_a_write_and_two_flushes_later() {
    for seed in 0..60 {
        let mut timed = Timed::begin(seed);
        timed.push(0);
        timed.clock.advance_us(COMMIT_US);
        timed.turn();
        timed.wait_for(1);
        timed.push(1);
        timed.clock.advance_us(COMMIT_US);
        timed.turn();
        // Its write is under way, or its flush, or nothing any more.
        for _ in 0..seed % 3 {
            timed.writer.wait().unwrap();
            timed.turn();
        }
        timed.push(2);
        timed.clock.advance_us(COMMIT_US - 1);
        timed.turn();
        assert!(timed.durable_count < 3, "seed {seed}");
        timed.clock.advance_us(1);
        timed.turn();
        let before = timed.disk.counters();
        timed.wait_for(3);
        let after = timed.disk.counters();
        let flush_count = after.flush_count - before.flush_count;
        let write_count = after.write_count - before.write_count;
        assert!(
            flush_count <= 2 && write_count <= 2,
            "seed {seed}: {after:?}"
        );
        let context = format!("seed {seed}");
        let served = timed.model.served(&timed.disk.crash(seed), &context);
        assert_eq!(served.numbers(0), [0, 1, 2], "{context}");
    }
}

/// The disk does nothing for ten seconds while four streams go on. What has waited is written in the
/// order in which it came, to within a period, rather than stream by stream: so none is durable, and
/// later overwritten, long before another.
#[test]
fn behind_a_backlog_the_streams_go_forward_side_by_side() {
    let options = SimOptions::default();
    let disk = SimDisk::new(simulated::disk(256).crash(0), options);
    let clock = simulated::clock();
    let medium = simulated::medium(&disk);
    let mut writer = ManualWriter::open_on(medium, None, self::options(&clock)).unwrap();
    let mut producer = writer.producer();
    for stream in 0..4 {
        let setup = camera::setup("waiting");
        producer.add_stream(StreamId(stream), setup).unwrap();
    }
    disk.set_stalled(true);
    for number in 0..250 {
        for stream in 0..4 {
            let frame = camera::frame(stream, number, START_US, 25, 4000);
            producer.push(StreamId(stream), frame).unwrap();
        }
        clock.advance_us(40_000);
        writer.turn();
    }
    disk.set_stalled(false);
    writer.begin_close();
    while !writer.is_idle() {
        writer.wait().unwrap();
        clock.advance_us(1000);
        writer.turn();
    }
    let volume = simulated::open(&disk);
    let sequences: Vec<_> = volume.table().blocks().map(|row| row.sequence).collect();
    let (mut newest, mut count) = (0, 0);
    for recorded in read_all(&volume, &Query::blocks(sequences)).unwrap() {
        let Item::Frame(frame) = recorded.item else {
            continue;
        };
        let number = frame.time.us_since(Timestamp(START_US)) / 40_000;
        newest = newest.max(number);
        count += 1;
        let behind_us = (newest - number) * 40_000;
        assert!(
            behind_us <= COMMIT_US as i64 + 80_000,
            "stream {} has frame {number} behind frame {newest} of another",
            recorded.stream
        );
    }
    assert_eq!(count, 1000);
}
