//! Memory for the steady state is allocated when a volume is opened: a push allocates nothing, and
//! what the writer allocates grows with runs and commits, never with frames.
//!
//! The counter is another crate's, under the whole process; it counts what this thread does.
//! A [`ManualWriter`] does everything on it that a writer's threads do.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a panic is how a test fails; figures are printed"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/recording.rs"]
mod recording;

use std::sync::Arc;

use allocation_counter::measure;
use camring::frame::{Frame, StreamId};
use camring::volume::medium::FileMedium;
use camring::writer::{ManualWriter, Producer, WriterOptions};
use recording::{START_US, volume};

const STREAM_COUNT: u64 = 4;
const COMMIT_COUNT: u64 = 40;

/// A recording in a real file, and the frames that are pushed into it.
struct Recording {
    writer: ManualWriter,
    producer: Producer,
    number: u64,
    template: Frame,
}

/// How many allocations were made.
#[derive(Debug, Default)]
struct Counts {
    pushing: u64,
    writing: u64,
}

impl Recording {
    /// Pushes `frame_count` frames of each stream and commits; counts the allocations of both.
    fn commit(&mut self, frame_count: u64, counts: &mut Counts) {
        let pushing = measure(|| {
            for number in self.number..self.number + frame_count {
                for stream in 0..STREAM_COUNT {
                    let frame = Frame {
                        key: number.is_multiple_of(25),
                        time: recording::time_of(number),
                        payload: self.template.payload.clone(),
                        ..self.template
                    };
                    self.producer.push(StreamId(stream), frame).unwrap();
                }
            }
        });
        let writing = measure(|| {
            self.writer.begin_commit();
            self.writer.turn();
            while !self.writer.is_idle() {
                self.writer.wait().unwrap();
                self.writer.turn();
            }
        });
        self.number += frame_count;
        counts.pushing += pushing.count_total;
        counts.writing += writing.count_total;
    }

    fn commits(&mut self, frame_count: u64) -> Counts {
        let mut counts = Counts::default();
        for _ in 0..COMMIT_COUNT {
            self.commit(frame_count, &mut counts);
            // What a test asks of its writer is not what a writer does.
            self.writer.take_committed();
        }
        counts
    }
}

#[test]
fn no_frame_costs_an_allocation() {
    let dir = volume(16, 16 << 20);
    let options = WriterOptions {
        control: false,
        ..WriterOptions::default()
    };
    let medium = Arc::new(FileMedium::new(dir.path().join("data")));
    let mut writer = ManualWriter::open_on(medium, Some(dir.path()), options).unwrap();
    let mut producer = writer.producer();
    for stream in 0..STREAM_COUNT {
        producer
            .add_stream(StreamId(stream), camera::setup("steady"))
            .unwrap();
    }
    let mut recording = Recording {
        writer,
        producer,
        number: 0,
        template: camera::frame(0, 0, START_US, 25, 100),
    };
    recording.commits(200);
    let few = recording.commits(20);
    let many = recording.commits(200);
    eprintln!("{COMMIT_COUNT} commits of 20 frames: {few:?}; of 200 frames: {many:?}");
    assert_eq!(few.pushing + many.pushing, 0);
    // A few for each run, and two for each chunk in it; now and then a list grows.
    assert!(few.writing <= COMMIT_COUNT * (4 + 2 * STREAM_COUNT));
    assert!(many.writing.abs_diff(few.writing) < COMMIT_COUNT);
}
