//! Bad input: from cameras, from callers, from clocks, from disks. Each is refused or recorded with
//! a clear message, and nothing that was stored is lost.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a panic is how a test fails"
)]

#[path = "../support/camera.rs"]
mod camera;
mod clocks;
mod frames;
mod full;
mod lost;
mod places;
#[path = "../support/recording.rs"]
mod recording;
#[path = "../support/skip.rs"]
mod skip;
mod stored;

use std::path::Path;

use camring::frame::StreamId;
use camring::writer::{Producer, Writer, WriterOptions};
use camring::{Error, ErrorKind};

/// The camera of most tests.
const CAMERA: StreamId = StreamId(7);

/// A recording of [`CAMERA`] with the options.
fn open(dir: &Path, options: WriterOptions) -> (Writer, Producer) {
    let writer = Writer::open(dir, options).unwrap();
    let mut producer = writer.producer().unwrap();
    producer
        .add_stream(CAMERA, camera::setup("camera 7"))
        .unwrap();
    (writer, producer)
}

/// Records frames of [`CAMERA`] in a life of their own.
fn record(dir: &Path, numbers: std::ops::Range<u64>) {
    let (writer, mut producer) = open(dir, WriterOptions::default());
    for number in numbers {
        let frame = recording::frame(CAMERA.0, number);
        producer.push(CAMERA, frame).unwrap();
    }
    drop(producer);
    writer.close().unwrap();
}

/// The error is of this kind, and its message has these words: what was wrong, where, what to do.
#[track_caller]
fn assert_error(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "\"{word}\" is not in: {text}");
    }
    // Whoever embeds the library has no command line.
    assert!(!text.contains(" --"), "an option of the program in: {text}");
}
