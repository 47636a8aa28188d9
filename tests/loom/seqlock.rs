//! Words behind a seqlock are read as they were written together; the rows of the blocktable and
//! the watermarks are made of them.

use std::sync::Arc;

use camring::base::geometry::Position;
use camring::base::seqlock::Seqlock;
use camring::table::{BlockTable, TableRow, TableWriter};
use camring::volume::watermark::WatermarkWriter;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;

trait Words: Send + Sync + 'static {
    fn write(&self, version: u64, words: [u64; 2]);
    fn read(&self) -> [u64; 2];
}

impl Words for Seqlock<2> {
    fn write(&self, version: u64, words: [u64; 2]) {
        self.write(version, words);
    }

    fn read(&self) -> [u64; 2] {
        self.read()
    }
}

/// `Seqlock` with something weakened or left out.
struct Twin {
    version: AtomicU64,
    words: [AtomicU64; 2],
    has_odd_version: bool,
    has_writer_fence: bool,
    last_store: Ordering,
    first_load: Ordering,
    has_reader_fence: bool,
    looks_again: bool,
}

impl Twin {
    fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            words: [AtomicU64::new(0), AtomicU64::new(0)],
            has_odd_version: true,
            has_writer_fence: true,
            last_store: Ordering::Release,
            first_load: Ordering::Acquire,
            has_reader_fence: true,
            looks_again: true,
        }
    }
}

impl Words for Twin {
    fn write(&self, version: u64, words: [u64; 2]) {
        if self.has_odd_version {
            self.version.store(version - 1, Ordering::Relaxed);
        }
        if self.has_writer_fence {
            fence(Ordering::Release);
        }
        for (word, value) in self.words.iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        self.version.store(version, self.last_store);
    }

    fn read(&self) -> [u64; 2] {
        loop {
            let before = self.version.load(self.first_load);
            if before.is_multiple_of(2) {
                let words = self
                    .words
                    .each_ref()
                    .map(|word| word.load(Ordering::Relaxed));
                if self.has_reader_fence {
                    fence(Ordering::Acquire);
                }
                if !self.looks_again || self.version.load(Ordering::Relaxed) == before {
                    return words;
                }
            }
            thread::yield_now();
        }
    }
}

/// One thread writes 1 and then 2 into both words; another one reads meanwhile.
fn check<W: Words>(make: impl Fn() -> W + Send + Sync + 'static) {
    loom::model(move || {
        let cell = Arc::new(make());
        let writer = {
            let cell = cell.clone();
            thread::spawn(move || (1..=2).for_each(|n| cell.write(2 * n, [n, n])))
        };
        let [a, b] = cell.read();
        assert_eq!(a, b, "torn");
        writer.join().unwrap();
        assert_eq!(cell.read(), [2, 2], "what was written last");
    });
}

#[test]
fn words_are_read_as_they_were_written() {
    check(|| Seqlock::new([0, 0]));
}

#[test]
fn the_twin_without_a_change_passes() {
    check(Twin::new);
}

#[test]
#[should_panic(expected = "torn")]
fn writing_without_an_odd_version_is_caught() {
    check(|| Twin {
        has_odd_version: false,
        ..Twin::new()
    });
}

#[test]
#[should_panic(expected = "torn")]
fn writing_without_the_fence_is_caught() {
    check(|| Twin {
        has_writer_fence: false,
        ..Twin::new()
    });
}

#[test]
#[should_panic(expected = "torn")]
fn ending_a_write_without_release_is_caught() {
    check(|| Twin {
        last_store: Ordering::Relaxed,
        ..Twin::new()
    });
}

#[test]
#[should_panic(expected = "torn")]
fn reading_without_acquire_is_caught() {
    check(|| Twin {
        first_load: Ordering::Relaxed,
        ..Twin::new()
    });
}

#[test]
#[should_panic(expected = "torn")]
fn reading_without_the_fence_is_caught() {
    check(|| Twin {
        has_reader_fence: false,
        ..Twin::new()
    });
}

#[test]
#[should_panic(expected = "torn")]
fn reading_without_a_second_look_is_caught() {
    check(|| Twin {
        looks_again: false,
        ..Twin::new()
    });
}

#[test]
fn a_watermark_is_read_whole_and_never_goes_back() {
    let mut builder = loom::model::Builder::new();
    // Two reads beside two writes are too many for all interleavings.
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let mut writer = WatermarkWriter::new(Position::default());
        let mark = writer.mark().clone();
        let at = |n| Position {
            sequence: n,
            run: n,
        };
        let thread = thread::spawn(move || (1..=2).for_each(|n| writer.set(at(n))));
        let [first, again] = [mark.get(), mark.get()];
        assert_eq!(first.sequence, first.run, "torn");
        assert_eq!(again.sequence, again.run, "torn");
        assert!(again >= first, "back in time");
        thread.join().unwrap();
    });
}

/// A table whose head is moved behind its rows.
trait Table: Send + Sync + 'static {
    /// The head, and the sequence in the row of slot 0.
    fn look(&self) -> (u64, u64);
}

impl Table for BlockTable {
    fn look(&self) -> (u64, u64) {
        let head = self.head();
        let row = self.row(0);
        assert_eq!(row.nonce, row.sequence, "torn");
        assert_eq!(row.skew_us, 1000 * row.sequence, "torn");
        (head, row.sequence)
    }
}

/// A table of one row of one word, without a seqlock: the fences of a real row would hide what is
/// weakened here.
struct TableTwin {
    row: AtomicU64,
    head: AtomicU64,
    store: Ordering,
    load: Ordering,
}

impl Table for TableTwin {
    fn look(&self) -> (u64, u64) {
        let head = self.head.load(self.load);
        (head, self.row.load(Ordering::Relaxed))
    }
}

/// Blocks 1 and 2 come into slot 0; whoever sees one of them as the head finds its row.
fn check_head<T: Table>(
    make: impl Fn() -> (Arc<T>, Box<dyn FnMut(u64) + Send>) + Send + Sync + 'static,
) {
    let mut builder = loom::model::Builder::new();
    // Seven words are too many for all interleavings.
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let (table, mut write) = make();
        let writer = thread::spawn(move || (1..=2).for_each(&mut write));
        let (head, row) = table.look();
        assert!(row >= head, "the row of the head is missing");
        writer.join().unwrap();
        assert_eq!(table.look(), (2, 2));
    });
}

fn check_head_of_twin(store: Ordering, load: Ordering) {
    check_head(move || {
        let table = Arc::new(TableTwin {
            row: AtomicU64::new(0),
            head: AtomicU64::new(0),
            store,
            load,
        });
        let write = {
            let table = table.clone();
            move |sequence| {
                table.row.store(sequence, Ordering::Relaxed);
                table.head.store(sequence, table.store);
            }
        };
        (table, Box::new(write))
    });
}

#[test]
fn the_row_of_the_head_is_found_whole() {
    check_head(|| {
        let mut writer = TableWriter::new(1);
        let table = writer.table().clone();
        let write = move |sequence| {
            let row = TableRow {
                sequence,
                nonce: sequence,
                skew_us: 1000 * sequence,
                ..TableRow::default()
            };
            writer.set_slot(0, row);
            writer.set_head(sequence);
        };
        (table, Box::new(write))
    });
}

#[test]
fn the_table_twin_without_a_change_passes() {
    check_head_of_twin(Ordering::Release, Ordering::Acquire);
}

#[test]
#[should_panic(expected = "the row of the head is missing")]
fn moving_the_head_without_release_is_caught() {
    check_head_of_twin(Ordering::Relaxed, Ordering::Acquire);
}

#[test]
#[should_panic(expected = "the row of the head is missing")]
fn looking_at_the_head_without_acquire_is_caught() {
    check_head_of_twin(Ordering::Release, Ordering::Relaxed);
}
