//! How soon a frame is durable, on the simulated clock and in requests of the disk.

use camring::base::time::ManualClock;
use camring::frame::StreamId;
use camring::io::sim::{SimDisk, SimOptions};
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
