//! Packing a run of one megabyte out of the frames of many streams: what the writer's thread does
//! with every byte.
#![allow(
    missing_docs,
    clippy::cast_possible_wrap,
    clippy::unwrap_used,
    reason = "a benchmark"
)]

mod pool;

use std::hint::black_box;

use camring::base::geometry::{Geometry, Nonce, Position, VolumeId};
use camring::block::chunk::{PendingFrame, chunk_len};
use camring::block::pack::{RunPacker, RunPlace, run_len};
use camring::block::{BlockId, RunHeader};
use camring::frame::StreamId;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pool::{Pool, START_US};

/// Payload of a run in bytes.
const RUN_LEN: usize = 1 << 20;
const FRAME_LEN: usize = 8 << 10;

fn place() -> RunPlace {
    let id = BlockId {
        volume: VolumeId([7; 16]),
        slot: 4,
        sequence: 5,
        nonce: Nonce([9; 16]),
    };
    RunPlace {
        id,
        tag: id.tag(),
        run: 1,
        offset: 4096,
        mark: Position::default(),
        utc_offset_us: START_US,
        packed_boot_us: 0,
    }
}

/// Plans and packs a run with a chunk for each of `streams`.
fn pack(bytes: &mut [u8], geometry: &Geometry, streams: &[Vec<PendingFrame>]) -> RunHeader {
    let planned = run_len(streams.iter().map(|frames| chunk_len(frames.iter())));
    assert!(planned <= bytes.len());
    let mut packer = RunPacker::new(bytes, place(), streams.len(), Vec::new());
    for (stream, frames) in (0..).zip(streams) {
        packer.add(StreamId(stream), None, frames.iter());
    }
    packer.finish(geometry)
}

fn runs(criterion: &mut Criterion) {
    let geometry = Geometry::new(16 << 20, 64, 4096).unwrap();
    let mut pool = Pool::new();
    let mut target = vec![0; 2 * RUN_LEN];
    let mut group = criterion.benchmark_group("run");
    group.throughput(Throughput::Bytes(RUN_LEN as u64));
    for stream_count in [1, 16, 128] {
        let frame_count = RUN_LEN / FRAME_LEN / stream_count;
        group.bench_function(BenchmarkId::new("pack, streams", stream_count), |bencher| {
            bencher.iter_batched_ref(
                || -> Vec<_> {
                    let streams = 0..stream_count;
                    streams
                        .map(|_| pool.frames(frame_count, FRAME_LEN))
                        .collect()
                },
                |streams| black_box(pack(&mut target, &geometry, streams)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, runs);
criterion_main!(benches);
