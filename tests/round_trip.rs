//! What is pushed is read back, byte for byte and in order, from a real file through `io_uring`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a panic is how a test fails"
)]

#[path = "support/camera.rs"]
mod camera;

use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Frame, Item, StreamId};
use camring::reader::{Query, Reader};
use camring::volume::{CreateOptions, Volume, VolumeSize};
use camring::writer::{Writer, WriterOptions};
use tempfile::TempDir;

const START_US: i64 = 1_700_000_000_000_000;

fn volume(blocks: u64, block_len: u32) -> TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let size = VolumeSize::Blocks(blocks);
    let options = CreateOptions {
        size,
        block_len: Some(block_len),
        replace: true,
    };
    Volume::create(dir.path(), &options, &mut |_, _| {}).unwrap();
    dir
}

fn frames_of(volume: &Volume, stream: u64, range: TimeRange) -> Vec<Frame> {
    let mut reader = Reader::open(volume).unwrap();
    let items = reader.read(Query::time([StreamId(stream)], range)).unwrap();
    items
        .filter_map(|recorded| match recorded.item {
            Item::Frame(frame) => Some(frame),
            _ => None,
        })
        .collect()
}

#[test]
fn two_streams_come_back_as_they_were() {
    let dir = volume(16, 1 << 20);
    let writer = Writer::open(dir.path(), WriterOptions::default()).unwrap();
    let mut producer = writer.producer().unwrap();
    let mut pushed = [Vec::new(), Vec::new()];
    for stream in 0..2 {
        producer
            .add_stream(StreamId(stream), camera::setup(&format!("camera {stream}")))
            .unwrap();
    }
    for number in 0..500 {
        for stream in 0..2 {
            let frame = camera::frame(
                stream,
                number,
                START_US,
                25,
                1000 + 37 * number as usize % 9000,
            );
            pushed[stream as usize].push(frame.clone());
            producer.push(StreamId(stream), frame).unwrap();
        }
    }
    writer.commit().unwrap();
    for stream in 0..2 {
        let read = frames_of(writer.volume(), stream, TimeRange::ALL);
        assert!(
            read == pushed[stream as usize],
            "live: {} frames of {}",
            read.len(),
            500
        );
    }
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    for stream in 0..2 {
        let read = frames_of(&volume, stream, TimeRange::ALL);
        assert!(
            read == pushed[stream as usize],
            "closed: {} frames of {}",
            read.len(),
            500
        );
        let range = TimeRange {
            start: Timestamp(START_US + 4_010_000),
            end: Timestamp(START_US + 6_000_000),
        };
        let part = frames_of(&volume, stream, range);
        assert_eq!(
            part.first().unwrap().time,
            Timestamp(START_US + 4_000_000),
            "the key frame before"
        );
        assert_eq!(part.last().unwrap().time, range.end);
    }
}
