//! Chunks: packing frames, and reading them back with all checks, beside a plain copy of the same
//! bytes in the same run.
#![allow(
    missing_docs,
    clippy::cast_possible_wrap,
    clippy::unwrap_used,
    reason = "a benchmark"
)]

mod pool;

use std::hint::black_box;

use camring::block::chunk::{self, ChunkView, PendingFrame};
use camring::frame::StreamId;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pool::{Pool, START_US};

const STREAM: StreamId = StreamId(7);
const TAG: u64 = 0x0123_4567_89ab_cdef;
const OFFSET: u32 = 8192;
/// Payload of a chunk in bytes, and the lengths of its frames.
const CHUNK_LEN: usize = 256 << 10;
const FRAME_LENS: [usize; 3] = [512, 8 << 10, 128 << 10];

fn encode(bytes: &mut [u8], frames: &[PendingFrame]) -> u32 {
    chunk::encode(bytes, TAG, STREAM, OFFSET, START_US, frames.iter()).len
}

fn copy(bytes: &mut [u8], frames: &[PendingFrame]) {
    let mut at = 0;
    for frame in frames {
        let end = at + frame.payload.len();
        bytes
            .get_mut(at..end)
            .unwrap()
            .copy_from_slice(&frame.payload);
        at = end;
    }
}

/// Every frame, checked.
fn decode(bytes: &[u8]) {
    let view = ChunkView::decode(bytes, TAG, STREAM, OFFSET).unwrap();
    for frame in &view.frames {
        black_box(frame.payload(bytes).unwrap());
    }
}

fn chunks(criterion: &mut Criterion) {
    let mut pool = Pool::new();
    let mut group = criterion.benchmark_group("chunk");
    group.throughput(Throughput::Bytes(CHUNK_LEN as u64));
    for frame_len in FRAME_LENS {
        let count = CHUNK_LEN / frame_len;
        let mut target = vec![0; 2 * CHUNK_LEN];
        let id = |what| BenchmarkId::new(what, format!("{frame_len}-byte frames"));
        group.bench_function(id("copy"), |bencher| {
            bencher.iter_batched_ref(
                || pool.frames(count, frame_len),
                |frames| copy(&mut target, frames),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(id("encode"), |bencher| {
            bencher.iter_batched_ref(
                || pool.frames(count, frame_len),
                |frames| encode(&mut target, frames),
                BatchSize::SmallInput,
            );
        });
        let encoded: Vec<Vec<u8>> = (0..pool.len() / CHUNK_LEN)
            .map(|_| {
                let mut bytes = vec![0; CHUNK_LEN + CHUNK_LEN / 8];
                let len = encode(&mut bytes, &pool.frames(count, frame_len));
                bytes.truncate(len as usize);
                bytes
            })
            .collect();
        let mut next = encoded.iter().cycle();
        group.bench_function(id("decode and check"), |bencher| {
            bencher.iter(|| decode(next.next().unwrap()));
        });
    }
    group.finish();
}

criterion_group!(benches, chunks);
criterion_main!(benches);
