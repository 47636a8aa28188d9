//! One opening of a disk for writing, until the power is cut.

use std::collections::BTreeSet;

use camring::base::time::ManualClock;
use camring::frame::StreamId;
use camring::io::sim::{Fault, FaultRule, FaultTarget, Image, SimDisk, SimOptions};
use camring::writer::{ManualWriter, Producer};

use crate::camera::{self, Random};
use crate::counts::Counts;
use crate::model::{Fate, Model};
use crate::simulated::{self, START_US};
use crate::{SLOT_COUNT, STREAM_COUNT, options};

/// What may go wrong besides the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hazard {
    /// Nothing.
    Cuts,
    /// Requests fail, and say so.
    Faults,
    /// One thing in a trial, without a word: a bit flips, a write is lost or lands elsewhere.
    Rot,
}

/// A volume that is being recorded, on a disk that may be cut off at any request.
pub(crate) struct Life<'l> {
    disk: SimDisk,
    clock: ManualClock,
    writer: ManualWriter,
    producer: Producer,
    hazard: Hazard,
    /// Number of the trial and of the life.
    name: (u64, u64),
    model: &'l mut Model,
    random: &'l mut Random,
    counts: &'l mut Counts,
}

impl<'l> Life<'l> {
    /// Opens `image` for writing. The image that is left, where the power was cut meanwhile.
    pub(crate) fn begin(
        image: &Image,
        hazard: Hazard,
        name: (u64, u64),
        model: &'l mut Model,
        random: &'l mut Random,
        counts: &'l mut Counts,
    ) -> Result<Self, Image> {
        let sector_len = if random.below(2) == 0 { 512 } else { 4096 };
        let seed = random.below(1 << 40);
        let options = SimOptions {
            seed,
            sector_len,
            ..SimOptions::default()
        };
        let disk = SimDisk::new(image.clone(), options);
        if random.below(3) == 0 {
            disk.cut_power_after(random.below(80));
        }
        let clock = simulated::clock();
        let medium = simulated::medium(&disk);
        let Ok(mut writer) = ManualWriter::open_on(medium, None, self::options(&clock)) else {
            counts.note("cut in an opening");
            return Err(disk.crash(random.below(u64::MAX >> 12)));
        };
        let mut producer = writer.producer();
        for stream in 0..STREAM_COUNT {
            let setup = camera::setup("made up");
            producer.add_stream(StreamId(stream), setup).unwrap();
            model.frames.entry(stream).or_default();
        }
        Ok(Self {
            disk,
            clock,
            writer,
            producer,
            hazard,
            name,
            model,
            random,
            counts,
        })
    }

    /// Records until the power is cut, and looks at every request what a cut would leave.
    pub(crate) fn run(mut self, context: &str) -> Image {
        let step_count = 20 + self.random.below(400);
        for step in 0..step_count {
            let before = self.disk.counters();
            self.step();
            self.turn();
            let after = self.disk.counters();
            if (before.write_count, before.flush_count) != (after.write_count, after.flush_count) {
                self.look(&format!("{context} step {step}"));
            }
            if self.writer.is_failed() {
                self.counts.note("failed volume");
                break;
            }
        }
        self.end(context)
    }

    /// Pushes, lets time pass, commits, lets something fail, or waits for the disk.
    fn step(&mut self) {
        match self.random.below(10) {
            0..=4 => {
                for _ in 0..self.random.below(4) {
                    self.push();
                }
            }
            5 => self.clock.advance_us(self.random.below(80_000)),
            6 if self.random.below(4) == 0 => self.writer.begin_commit(),
            6 if self.random.below(40) == 0 => {
                let step_us = self.random.below(20_000_000).cast_signed() - 10_000_000;
                self.clock.step_utc_us(step_us);
                self.counts.note("clock step");
            }
            7 if self.random.below(12) == 0 => self.spoil(),
            8 if self.random.below(40) == 0 => self.stall(),
            _ => self.writer.wait().unwrap(),
        }
    }

    fn push(&mut self) {
        let stream = self.random.below(STREAM_COUNT);
        let frames = self.model.frames.entry(stream).or_default();
        let longest = if self.random.below(6) == 0 {
            12_000
        } else {
            2_000
        };
        let len = 100 + self.random.below(longest) as usize;
        let frame = camera::frame(stream, frames.len() as u64, START_US, 5, len);
        if self.producer.push(StreamId(stream), frame.clone()).is_ok() {
            frames.push((frame, Fate::Pushed));
        }
    }

    /// The disk does nothing for ten seconds.
    fn stall(&mut self) {
        self.disk.set_stalled(true);
        for _ in 0..10 {
            self.clock.advance_us(1_000_000);
            self.push();
            self.turn();
        }
        self.disk.set_stalled(false);
        self.counts.note("stall");
    }

    fn spoil(&mut self) {
        match self.hazard {
            Hazard::Cuts => {}
            Hazard::Faults => {
                let is_write = self.random.below(2) == 0;
                let (target, event) = if is_write {
                    (FaultTarget::Write, "failing write")
                } else {
                    (FaultTarget::Flush, "failing flush")
                };
                let rule = FaultRule::next(target, Fault::Error(5)).after(self.random.below(3));
                let is_sticky = self.random.below(20) == 0;
                let rule = if is_sticky { rule.sticky() } else { rule };
                self.disk.add_fault(rule);
                self.counts.note(event);
            }
            Hazard::Rot if self.model.is_spoilt => {}
            Hazard::Rot => {
                let fault = match self.random.below(3) {
                    0 => Fault::BitFlip(self.random.below(1 << 20)),
                    1 => Fault::Lost,
                    _ => Fault::Misdirected(self.random.below(SLOT_COUNT << 16)),
                };
                self.disk
                    .add_fault(FaultRule::next(FaultTarget::Write, fault));
                self.model.is_spoilt = true;
                self.counts.note("spoilt write");
            }
        }
    }

    fn turn(&mut self) {
        self.writer.turn();
        self.model.note(&mut self.writer);
    }

    /// Checks what a power cut would leave now; the life goes on.
    fn look(&mut self, context: &str) {
        let image = self.cut();
        let served = self.model.check(&image, context);
        if served.tells_damage() {
            self.counts.note("damage that was told");
        }
    }

    /// What a power cut leaves now.
    fn cut(&mut self) -> Image {
        let offsets = self.disk.unflushed_offsets();
        let blocks: BTreeSet<_> = offsets.iter().map(|at| at >> 16).collect();
        let before = self.disk.counters();
        let image = self.disk.crash(self.random.below(u64::MAX >> 12));
        let torn = self.disk.counters().torn_count > before.torn_count;
        if blocks.len() > 1 {
            self.counts.note("several unflushed blocks");
        }
        if torn && offsets.iter().any(|at| at.is_multiple_of(1 << 16)) {
            self.counts.note("torn sectors, with a header unflushed");
        }
        let base = (self.name.0, self.name.1, before.flush_count);
        self.counts.note_state(base, &image, &offsets);
        image
    }

    fn close(&mut self, context: &str) {
        self.writer.begin_close();
        for _ in 0..10_000 {
            self.turn();
            if self.writer.is_idle() || self.writer.is_failed() {
                self.counts.note("clean end");
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
        self.counts.note("life");
        let volume = self.writer.volume();
        if volume.table().head() > SLOT_COUNT {
            self.counts.note("wrap");
        }
        if !volume.verdict().kept.is_empty() {
            self.counts.note("retired slot");
        }
        if self.disk.counters().failed_count > 0 {
            self.counts.note("life with a request that failed");
        }
        self.cut()
    }
}
