//! Handing frames from thread to thread: the ring itself, the signal beside it, and a push into a
//! recording.
#![allow(
    missing_docs,
    clippy::cast_possible_wrap,
    clippy::unwrap_used,
    reason = "a benchmark"
)]

mod pool;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use camring::base::geometry::{Geometry, VolumeId};
use camring::block::chunk::PendingFrame;
use camring::frame::{Codec, Frame, StreamId, StreamSetup, TrackSetup};
use camring::io::sim::{Image, SimDisk, SimOptions};
use camring::io::wake::Sleeper;
use camring::volume::create::write_first_headers;
use camring::volume::locate::Located;
use camring::volume::medium::SimMedium;
use camring::writer::{ManualWriter, WriterOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pool::Pool;
use ringbuf::HeapRb;
use ringbuf::traits::{Consumer, Producer, Split};

const RING_COUNT: usize = 16_384;
/// How many frames go over at a time.
const BATCH_COUNT: usize = 4_096;
const FRAME_LEN: usize = 1024;

fn one_thread(criterion: &mut Criterion) {
    let (mut producer, mut consumer) = HeapRb::<PendingFrame>::new(RING_COUNT).split();
    let mut frame = Pool::new().frames(1, FRAME_LEN).pop();
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    group.bench_function("push and pop", |bencher| {
        bencher.iter(|| {
            let _ = producer.try_push(frame.take().unwrap());
            frame = consumer.try_pop();
        });
    });
    let waker = Sleeper::new().waker();
    group.bench_function("push, wake and pop", |bencher| {
        bencher.iter(|| {
            let _ = producer.try_push(frame.take().unwrap());
            waker.wake();
            frame = consumer.try_pop();
        });
    });
    group.finish();
}

/// Sends so many frames to another thread that sleeps when it has none.
fn hand_over(frames: &[PendingFrame], count: u64) -> Duration {
    let (mut ring, mut received) = HeapRb::<PendingFrame>::new(RING_COUNT).split();
    let (consumer, producer) = (Sleeper::new(), Sleeper::new());
    let (for_items, for_room) = (consumer.waker(), producer.waker());
    let is_over = Arc::new(AtomicBool::new(false));
    let is_told = is_over.clone();
    let receiving = std::thread::spawn(move || {
        while let Some(frame) = consumer.next(&is_told, || received.try_pop()) {
            black_box(frame);
            for_room.wake();
        }
    });
    let start = Instant::now();
    for frame in frames.iter().cycle().take(count as usize) {
        let mut frame = Some(frame.clone());
        producer.wait_for(|| {
            frame = ring.try_push(frame.take()?).err();
            frame.is_none().then_some(())
        });
        for_items.wake();
    }
    is_over.store(true, std::sync::atomic::Ordering::Release);
    for_items.wake();
    receiving.join().unwrap();
    start.elapsed()
}

fn two_threads(criterion: &mut Criterion) {
    let frames = Pool::new().frames(BATCH_COUNT, FRAME_LEN);
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    group.bench_function("between two threads", |bencher| {
        bencher.iter_custom(|count| hand_over(&frames, count));
    });
    group.finish();
}

fn setup() -> StreamSetup {
    let track = TrackSetup {
        codec: Codec::Private,
        clock_rate_hz: 90_000,
        width_px: 0,
        height_px: 0,
        channel_count: 0,
        extra: bytes::Bytes::new(),
    };
    StreamSetup {
        name: "made up".to_owned(),
        tracks: vec![track],
    }
}

/// A recording on a simulated disk, driven by hand.
fn recording() -> ManualWriter {
    let geometry = Geometry::new(16 << 20, 16, 4096).unwrap();
    let disk = SimDisk::new(Image::new(geometry.device_len()), SimOptions::default());
    let located = Located {
        volume: VolumeId([7; 16]),
        geometry,
    };
    write_first_headers(&mut disk.open(), &located).unwrap();
    ManualWriter::open_on(
        Arc::new(SimMedium::new(disk)),
        None,
        WriterOptions::default(),
    )
    .unwrap()
}

/// What a camera's thread pays for a frame; the writer's part is not counted.
fn pushing(criterion: &mut Criterion) {
    let frames = Pool::new().frames(BATCH_COUNT, FRAME_LEN);
    let mut writer = recording();
    let mut producer = writer.producer();
    let stream = StreamId(7);
    producer.add_stream(stream, setup()).unwrap();
    let mut push_all = || {
        let frames = frames.iter().map(|frame| Frame {
            track: 0,
            key: true,
            leading: false,
            time: frame.time,
            clock: frame.clock,
            payload: frame.payload.clone(),
        });
        let start = Instant::now();
        frames.for_each(|frame| producer.push(stream, frame).unwrap());
        let elapsed = start.elapsed();
        writer.begin_commit();
        while !writer.is_idle() {
            writer.turn();
            writer.wait().unwrap();
        }
        elapsed
    };
    let mut group = criterion.benchmark_group("recording");
    group.throughput(Throughput::Elements(BATCH_COUNT as u64));
    group.bench_function("push 4,096 frames", |bencher| {
        bencher.iter_custom(|count| (0..count).map(|_| push_all()).sum());
    });
    group.finish();
}

criterion_group!(benches, one_thread, two_threads, pushing);
criterion_main!(benches);
