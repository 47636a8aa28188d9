//! A stream that is silent for thousands of blocks is found by the summaries, and is not forgotten
//! when the ring has overwritten what it last recorded.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    reason = "a panic is how a test fails"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/simulated.rs"]
mod simulated;

use camring::base::time::{ManualClock, TimeRange, Timestamp};
use camring::frame::{FrameSink as _, Gap, GapCause, Item, StreamId};
use camring::io::sim::SimDisk;
use camring::reader::{Query, read_all};
use camring::volume::Volume;
use camring::volume::verify::VerifyOptions;
use camring::writer::{ManualWriter, Producer};
use simulated::START_US;

const FRAME_US: i64 = 40_000;
const BUSY: StreamId = StreamId(1);
const SILENT: StreamId = StreamId(2);

/// A recording in which one camera is always there, on a simulated disk.
struct Recording {
    disk: SimDisk,
    clock: ManualClock,
    writer: ManualWriter,
    producer: Producer,
    number: u64,
}

impl Recording {
    fn begin(slot_count: u64) -> Self {
        let disk = simulated::disk(slot_count);
        let clock = simulated::clock();
        let options = simulated::options(&clock, 200_000);
        let medium = simulated::medium(&disk);
        let mut writer = ManualWriter::open_on(medium, None, options).unwrap();
        let mut producer = writer.producer();
        for stream in [BUSY, SILENT] {
            let setup = camera::setup(&format!("camera {stream}"));
            producer.add_stream(stream, setup).unwrap();
        }
        Self {
            disk,
            clock,
            writer,
            producer,
            number: 0,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(START_US + FRAME_US * self.number as i64)
    }

    fn push(&mut self, stream: StreamId, len: usize) {
        let mut frame = camera::frame(stream.0, self.number, START_US, 1, len);
        frame.time = self.now();
        self.producer.push(stream, frame).unwrap();
    }

    /// The busy camera records until the newest block is `head`.
    fn run_to(&mut self, head: u64) {
        while self.writer.volume().table().head() < head {
            self.push(BUSY, 24_000);
            self.number += 1;
            self.clock.advance_us(FRAME_US.unsigned_abs());
            // A commit now and then; the disk is never so slow that frames wait for it.
            for _ in 0..4 {
                self.writer.turn();
                self.writer.wait().unwrap();
            }
        }
        self.writer.begin_commit();
        self.settle();
    }

    fn settle(&mut self) {
        self.writer.turn();
        while !self.writer.is_idle() {
            self.writer.wait().unwrap();
            self.writer.turn();
        }
    }

    fn close(mut self) -> SimDisk {
        self.writer.begin_close();
        self.settle();
        self.disk
    }
}

/// The time of the one frame of the silent stream that is shown at `time`.
fn shown_at(volume: &Volume, time: Timestamp) -> Vec<Timestamp> {
    let range = TimeRange::new(time, time);
    let items = read_all(volume, &Query::shown([SILENT], range)).unwrap();
    let frames = items.iter().filter_map(|recorded| match &recorded.item {
        Item::Frame(frame) => Some(frame.time),
        _ => None,
    });
    frames.collect()
}

#[test]
fn a_silent_stream_is_found_over_thousands_of_blocks() {
    let mut recording = Recording::begin(3000);
    let mut times = Vec::new();
    for head in [5, 100, 1500] {
        recording.run_to(head);
        recording.push(SILENT, 500);
        times.push(recording.now());
    }
    recording.run_to(2200);
    let late = recording.now();
    let disk = recording.close();
    let volume = simulated::open(&disk);
    let report = volume.verify(&VerifyOptions::default(), &mut |_, _| {});
    let report = report.unwrap();
    assert!(report.is_whole(), "{report:?}");
    let second = FRAME_US * 25;
    for (time, expected) in [
        (times[0].plus_us(-second), None),
        (times[0], Some(times[0])),
        (times[1].plus_us(-second), Some(times[0])),
        (times[1].plus_us(second), Some(times[1])),
        (times[2].plus_us(-second), Some(times[1])),
        (times[2].plus_us(second), Some(times[2])),
        (late, Some(times[2])),
    ] {
        let before = disk.counters().read_count;
        let found = shown_at(&volume, time);
        let read_count = disk.counters().read_count - before;
        assert_eq!(found.first().copied(), expected, "at {time}");
        assert!(read_count < 100, "{read_count} reads for {time}");
    }
}

#[test]
fn a_gap_that_outlasts_the_ring_is_still_told() {
    let mut recording = Recording::begin(600);
    recording.push(SILENT, 500);
    recording.run_to(5);
    let gap = Gap {
        cause: GapCause::NoSignal,
        start: recording.now(),
        end: None,
        lost_count: None,
    };
    let told = Item::Gap(gap);
    recording.producer.accept(SILENT, told).unwrap();
    recording.run_to(1500);
    let beside = recording.writer.volume().clone();
    let volume = simulated::open(&recording.close());
    for volume in [beside, volume] {
        let stretches = volume.timeline(SILENT, TimeRange::ALL);
        let causes: Vec<_> = stretches.iter().map(|stretch| stretch.gap).collect();
        assert_eq!(causes, [Some(GapCause::NoSignal)]);
        assert_eq!(stretches[0].range.start, gap.start);
        let known = volume.stream(SILENT).unwrap();
        assert_eq!(known.setup.name, "camera 2");
    }
}
