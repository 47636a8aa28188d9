//! The blocktable with a million rows: finding blocks by time, reading and writing rows.
#![allow(
    missing_docs,
    clippy::cast_possible_wrap,
    clippy::unwrap_used,
    reason = "a benchmark"
)]

use std::hint::black_box;

use camring::base::geometry::Geometry;
use camring::base::time::{TimeRange, Timestamp};
use camring::table::{RowState, TableRow, TableWriter};
use criterion::{Criterion, criterion_group, criterion_main};

const ROW_COUNT: u64 = 1_000_000;
/// A block for every two seconds.
const BLOCK_US: i64 = 2_000_000;
/// How far the cameras' clocks are off.
const SKEW_US: i64 = 300_000;

fn row(sequence: u64) -> TableRow {
    let start = BLOCK_US * sequence as i64;
    let range = |from: i64| TimeRange {
        start: Timestamp(from),
        end: Timestamp(from + BLOCK_US - 1),
    };
    TableRow {
        sequence,
        nonce: 1,
        state: RowState::Sealed,
        arrivals: range(start),
        times: range(start - SKEW_US),
        skew_us: SKEW_US as u64,
    }
}

/// Numbers from 1 to the number of rows, in no order.
fn numbers() -> impl Iterator<Item = u64> {
    // A step that has no divisor in common with the number of rows meets each of them.
    (0..).map(|n: u64| n.wrapping_mul(618_033_989) % ROW_COUNT + 1)
}

fn tables(criterion: &mut Criterion) {
    let geometry = Geometry::new(16 << 20, ROW_COUNT, 4096).unwrap();
    let mut writer = TableWriter::new(ROW_COUNT);
    (1..=ROW_COUNT).for_each(|sequence| writer.set(&geometry, row(sequence)));
    writer.set_head(ROW_COUNT);
    let table = writer.table().clone();

    let mut group = criterion.benchmark_group("table of a million rows");
    let mut next = numbers();
    group.bench_function("blocks of one second", |bencher| {
        bencher.iter(|| {
            let start = Timestamp(BLOCK_US * next.next().unwrap() as i64);
            let end = Timestamp(start.0 + 1_000_000);
            black_box(table.blocks_in(TimeRange { start, end }))
        });
    });
    group.bench_function("block near a time", |bencher| {
        bencher.iter(|| {
            let time = Timestamp(BLOCK_US * next.next().unwrap() as i64);
            black_box(table.blocks_near(time, 0))
        });
    });
    group.bench_function("read a row, any", |bencher| {
        bencher.iter(|| black_box(table.block(next.next().unwrap())));
    });
    group.bench_function("read a row, again", |bencher| {
        bencher.iter(|| black_box(table.block(ROW_COUNT / 2)));
    });
    group.bench_function("write a row, in order", |bencher| {
        let mut sequences = (1..=ROW_COUNT).cycle();
        bencher.iter(|| writer.set(&geometry, row(sequences.next().unwrap())));
    });
    group.finish();
}

criterion_group!(benches, tables);
criterion_main!(benches);
