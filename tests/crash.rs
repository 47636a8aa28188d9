//! Power cuts, failing writes and failing flushes on a simulated disk, life after life.
//!
//! The engine's own writer, recovery and reader run on one thread with a clock that the test
//! moves. At random moments the disk is cut off: every unflushed sector is kept, dropped or torn.
//! What the next opening serves is compared with a model that knows what was pushed, what the
//! writer called durable, and what an earlier opening declared lost:
//!
//! - nothing durable is missing while the ring has room for it,
//! - every frame that is served was pushed, byte for byte, in its order, once,
//! - a frame that was once declared lost never comes back.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::print_stdout,
    reason = "a panic is how a test fails"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/simulated.rs"]
mod simulated;

use std::collections::{BTreeMap, BTreeSet};

use camera::Random;
use camring::base::time::ManualClock;
use camring::frame::{GapCause, Item, StreamId};
use camring::io::sim::{Fault, FaultRule, FaultTarget, Image, SimDisk, SimOptions};
use camring::reader::{Query, read_all};
use camring::volume::Volume;
use camring::writer::{ManualWriter, Producer, WriterOptions};
use simulated::START_US;

const SLOT_COUNT: u64 = 16;
const STREAM_COUNT: u64 = 3;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pushed,
    Durable { sequence: u64 },
    Lost,
}

/// The model: all frames that were ever pushed, by stream.
#[derive(Clone, Default)]
struct Model {
    frames: BTreeMap<u64, Vec<(usize, Fate)>>,
    head: u64,
}

#[derive(Default, Debug)]
struct Counts {
    states: u64,
    lives: u64,
    wraps: u64,
    faults: u64,
    lost: u64,
    multiple: u64,
}

fn fresh_image() -> Image {
    simulated::disk(SLOT_COUNT).crash(0)
}

/// The commit period.
const COMMIT_US: u64 = 100_000;

fn options(clock: &ManualClock) -> WriterOptions {
    simulated::options(clock, COMMIT_US)
}

/// What an opening of `image` serves, by stream: frame numbers in order.
fn served(image: &Image, context: &str) -> BTreeMap<u64, Vec<(u64, u64)>> {
    let disk = SimDisk::new(image.clone(), SimOptions::default());
    let volume = Volume::open_on(simulated::medium(&disk), None)
        .unwrap_or_else(|e| panic!("{context}: does not open: {e}"));
    let sequences: Vec<_> = volume.table().blocks().map(|row| row.sequence).collect();
    let mut streams: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for recorded in read_all(&volume, &Query::blocks(sequences)).unwrap() {
        match recorded.item {
            Item::Frame(frame) => {
                let number = u64::from_le_bytes(frame.payload[8..16].try_into().unwrap());
                let stream = recorded.stream.0;
                let pushed = camera::frame(stream, number, START_US, 5, frame.payload.len());
                assert!(
                    frame == pushed,
                    "{context}: stream {stream} frame {number} has changed"
                );
                streams
                    .entry(stream)
                    .or_default()
                    .push((number, recorded.sequence));
            }
            Item::Gap(gap) if gap.cause == GapCause::Damaged => {
                panic!("{context}: a power cut is taken for damage: {gap:?}")
            }
            _ => {}
        }
    }
    streams
}

/// Compares what `image` serves with the model.
fn check(image: &Image, model: &Model, context: &str) {
    let served = served(image, context);
    for (stream, frames) in &model.frames {
        let got = served.get(stream).cloned().unwrap_or_default();
        assert!(
            got.windows(2).all(|w| w[0].0 < w[1].0),
            "{context}: stream {stream}: {got:?}"
        );
        let numbers: BTreeSet<_> = got.iter().map(|(number, _)| *number).collect();
        for (number, (_, fate)) in frames.iter().enumerate() {
            let is_served = numbers.contains(&(number as u64));
            match fate {
                Fate::Lost => {
                    assert!(
                        !is_served,
                        "{context}: stream {stream}: lost frame {number} came back"
                    );
                }
                Fate::Durable { sequence } if sequence + SLOT_COUNT > model.head => {
                    assert!(
                        is_served,
                        "{context}: stream {stream}: durable frame {number} of block {sequence} is missing, head {}",
                        model.head
                    );
                }
                _ => {}
            }
        }
    }
}

/// Takes note of what became durable.
fn note(writer: &mut ManualWriter, model: &mut Model) {
    model.head = model.head.max(writer.volume().table().head());
    for chunk in writer.take_committed() {
        let frames = model.frames.get_mut(&chunk.stream.0).unwrap();
        let pushed = frames.iter_mut().filter(|(_, fate)| *fate == Fate::Pushed);
        for (_, fate) in pushed.take(chunk.frame_count as usize) {
            *fate = Fate::Durable {
                sequence: chunk.sequence,
            };
        }
    }
}

/// The chosen image becomes the truth: what it does not serve is lost for ever.
fn settle(image: &Image, model: &mut Model, context: &str) -> u64 {
    let served = served(image, context);
    let mut lost = 0;
    for (stream, frames) in &mut model.frames {
        let got = served.get(stream).cloned().unwrap_or_default();
        for (number, (_, fate)) in frames.iter_mut().enumerate() {
            let at = got.iter().find(|(n, _)| *n == number as u64);
            *fate = match (at, *fate) {
                (Some((_, sequence)), _) => Fate::Durable {
                    sequence: *sequence,
                },
                (None, Fate::Pushed) => {
                    lost += 1;
                    Fate::Lost
                }
                (None, fate) => fate,
            };
        }
    }
    lost
}

fn push(producer: &mut Producer, random: &mut Random, model: &mut Model) {
    let stream = random.below(STREAM_COUNT);
    let frames = model.frames.entry(stream).or_default();
    let longest = if random.below(6) == 0 { 12_000 } else { 2_000 };
    let len = 100 + random.below(longest) as usize;
    let frame = camera::frame(stream, frames.len() as u64, START_US, 5, len);
    if producer.push(StreamId(stream), frame).is_ok() {
        frames.push((len, Fate::Pushed));
    }
}

/// One opening of the disk for writing, until the power is cut.
struct Life<'l> {
    disk: SimDisk,
    clock: ManualClock,
    writer: ManualWriter,
    producer: Producer,
    model: &'l mut Model,
    random: &'l mut Random,
    counts: &'l mut Counts,
}

impl<'l> Life<'l> {
    fn begin(
        image: &Image,
        model: &'l mut Model,
        random: &'l mut Random,
        counts: &'l mut Counts,
    ) -> Self {
        let seed = random.below(1 << 40);
        let sector_len = if random.below(2) == 0 { 512 } else { 4096 };
        let options = SimOptions {
            seed,
            sector_len,
            ..SimOptions::default()
        };
        let disk = SimDisk::new(image.clone(), options);
        let clock = simulated::clock();
        let medium = simulated::medium(&disk);
        let mut writer = ManualWriter::open_on(medium, None, self::options(&clock)).unwrap();
        let mut producer = writer.producer();
        for stream in 0..STREAM_COUNT {
            let setup = camera::setup("made up");
            producer.add_stream(StreamId(stream), setup).unwrap();
            model.frames.entry(stream).or_default();
        }
        Self {
            disk,
            clock,
            writer,
            producer,
            model,
            random,
            counts,
        }
    }

    /// Pushes, lets time pass, commits, lets something fail, or waits for the disk.
    fn step(&mut self, with_faults: bool) {
        match self.random.below(10) {
            0..=4 => {
                for _ in 0..self.random.below(4) {
                    push(&mut self.producer, self.random, self.model);
                }
            }
            5 => self.clock.advance_us(self.random.below(80_000)),
            6 if self.random.below(4) == 0 => self.writer.begin_commit(),
            7 if with_faults && self.random.below(12) == 0 => {
                let is_write = self.random.below(2) == 0;
                let target = if is_write {
                    FaultTarget::Write
                } else {
                    FaultTarget::Flush
                };
                let rule = FaultRule::next(target, Fault::Error(5));
                self.disk.add_fault(rule.after(self.random.below(3)));
                self.counts.faults += 1;
            }
            _ => self.writer.wait().unwrap(),
        }
        self.turn();
    }

    fn turn(&mut self) {
        self.writer.turn();
        note(&mut self.writer, self.model);
    }

    /// Checks what a power cut would leave now; the life goes on.
    fn look(&mut self, context: &str) {
        let unflushed = self.disk.unflushed_offsets();
        let blocks: BTreeSet<_> = unflushed.iter().map(|at| at >> 16).collect();
        self.counts.multiple += u64::from(blocks.len() > 1);
        self.counts.states += 1;
        check(
            &self.disk.crash(self.random.below(u64::MAX >> 12)),
            self.model,
            context,
        );
    }

    fn close(&mut self, context: &str) {
        self.writer.begin_close();
        for _ in 0..10_000 {
            self.turn();
            if self.writer.is_idle() || self.writer.is_failed() {
                return;
            }
            self.writer.wait().unwrap();
            self.clock.advance_us(1000);
        }
        panic!("{context}: closing does not end");
    }

    /// Cuts the power, after a clean end or in the middle.
    fn end(mut self, context: &str) -> Image {
        if self.random.below(4) == 0 && !self.writer.is_failed() {
            self.close(context);
        }
        self.counts.wraps += u64::from(self.writer.volume().table().head() > SLOT_COUNT);
        self.counts.lives += 1;
        self.disk.crash(self.random.below(u64::MAX >> 12))
    }
}

fn life(
    image: &Image,
    model: &mut Model,
    random: &mut Random,
    with_faults: bool,
    counts: &mut Counts,
    context: &str,
) -> Image {
    let steps = 20 + random.below(400);
    let mut life = Life::begin(image, model, random, counts);
    for step in 0..steps {
        life.step(with_faults);
        if life.random.below(12) == 0 {
            life.look(&format!("{context} step {step}"));
        }
        if life.writer.is_failed() {
            break;
        }
    }
    life.end(context)
}

fn trial(seed: u64, with_faults: bool, counts: &mut Counts) {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut image = fresh_image();
    for number in 0..=random.below(5) {
        let context = format!("seed {seed} life {number}");
        image = life(
            &image,
            &mut model,
            &mut random,
            with_faults,
            counts,
            &context,
        );
        check(&image, &model, &context);
        counts.states += 1;
        counts.lost += settle(&image, &mut model, &context);
    }
}

fn trials() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("CAMRING_SEED").unwrap_or(1);
    first..first + number("CAMRING_TRIALS").unwrap_or(150)
}

#[test]
fn nothing_durable_is_lost_and_nothing_lost_comes_back_after_power_cuts() {
    let mut counts = Counts::default();
    trials().for_each(|seed| trial(seed, false, &mut counts));
    println!("{counts:?}");
    assert!(
        counts.wraps > 0 && counts.multiple > 0 && counts.lost > 0,
        "{counts:?}"
    );
}

#[test]
fn nothing_durable_is_lost_when_writes_and_flushes_fail_too() {
    let mut counts = Counts::default();
    trials().for_each(|seed| trial(seed, true, &mut counts));
    println!("{counts:?}");
    assert!(counts.wraps > 0 && counts.faults > 0, "{counts:?}");
}

/// One frame after another of one stream, on a disk that does nothing until it is waited for.
struct Timed {
    disk: SimDisk,
    clock: ManualClock,
    writer: ManualWriter,
    producer: Producer,
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
            durable_count: 0,
        }
    }

    fn push(&mut self, number: u64) {
        let frame = camera::frame(0, number, START_US, 5, 3000);
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
        let served = served(&timed.disk.crash(seed), &context);
        let numbers: Vec<_> = served[&0].iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 1, 2], "{context}");
    }
}
