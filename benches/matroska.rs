//! Writing a Matroska file in memory, beside a plain copy of the same frames.
#![allow(
    missing_docs,
    clippy::cast_possible_wrap,
    clippy::unwrap_used,
    reason = "a benchmark"
)]

mod pool;

use std::hint::black_box;
use std::io::{Cursor, Write};
use std::sync::Arc;

use bytes::Bytes;
use camring::export::MatroskaSink;
use camring::frame::{Codec, Frame, FrameSink, Item, StreamId, StreamSetup, TrackSetup};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pool::Pool;

const STREAM: StreamId = StreamId(7);
/// Twenty seconds at 25 frames a second and 4 Mbit/s.
const FRAME_COUNT: usize = 500;
const FRAME_LEN: usize = 20_000;

fn setup() -> Item {
    let track = TrackSetup {
        codec: Codec::H264,
        clock_rate_hz: 90_000,
        width_px: 1920,
        height_px: 1080,
        channel_count: 0,
        // Lengths of NAL units have four bytes; the rest is not looked at.
        extra: Bytes::from_static(&[1, 100, 0, 31, 0xff, 0xe0, 0]),
    };
    Item::Setup(Arc::new(StreamSetup {
        name: "made up".to_owned(),
        tracks: vec![track],
    }))
}

fn frames(pool: &mut Pool) -> Vec<Frame> {
    let frames = pool.frames(FRAME_COUNT, FRAME_LEN).into_iter();
    let frames = frames.map(|frame| Frame {
        track: 0,
        key: frame.ordinal.is_multiple_of(50),
        leading: false,
        time: frame.time,
        clock: frame.clock,
        payload: frame.payload,
    });
    frames.collect()
}

fn export(file: Vec<u8>, frames: &mut Vec<Frame>) -> u64 {
    let mut sink = MatroskaSink::new(Cursor::new(file));
    sink.accept(STREAM, setup()).unwrap();
    for frame in frames.drain(..) {
        sink.accept(STREAM, Item::Frame(frame)).unwrap();
    }
    let (file, summary) = sink.finish().unwrap();
    black_box(file);
    summary.frame_count
}

fn copy(mut file: Vec<u8>, frames: &[Frame]) {
    for frame in frames {
        file.write_all(&frame.payload).unwrap();
    }
    black_box(file);
}

fn files(criterion: &mut Criterion) {
    let mut pool = Pool::new();
    let len = FRAME_COUNT * FRAME_LEN;
    let file = || {
        // Touched once, so that page faults are not counted.
        let mut file = vec![1; 2 * len];
        file.clear();
        file
    };
    let mut group = criterion.benchmark_group("matroska");
    group.throughput(Throughput::Bytes(len as u64));
    group.sample_size(20);
    group.bench_function("copy", |bencher| {
        bencher.iter_batched(
            || (file(), frames(&mut pool)),
            |(file, frames)| copy(file, &frames),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("export", |bencher| {
        bencher.iter_batched(
            || (file(), frames(&mut pool)),
            |(file, mut frames)| assert_eq!(export(file, &mut frames), FRAME_COUNT as u64),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, files);
criterion_main!(benches);
