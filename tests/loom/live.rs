//! The list of live runs: whoever sees an entry sees what was done before it was appended, readers
//! and trimming never disturb each other, and what nobody holds is freed.

use std::sync::{Arc, Weak};

use camring::base::geometry::{Nonce, Position, VolumeId};
use camring::block::{BlockId, RunHeader};
use camring::volume::live::{LiveAppender, LiveCursor, live_runs};
use camring::volume::watermark::WatermarkWriter;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

const RUN_COUNT: u64 = 2;

fn run(number: u64) -> Arc<RunHeader> {
    let id = BlockId {
        volume: VolumeId([0; 16]),
        slot: 0,
        sequence: 1,
        nonce: Nonce([0; 16]),
    };
    Arc::new(RunHeader {
        id,
        run: number,
        offset: 4096,
        len: 4096,
        mark: Position::default(),
        utc_offset_us: 0,
        packed_boot_us: 0,
        chunks: Vec::new(),
    })
}

fn numbers(cursor: &LiveCursor) -> Vec<u64> {
    cursor.runs().map(|run| run.run).collect()
}

/// A list to which runs are appended by number.
trait List: Send + 'static {
    type Cursor: Clone + Send + 'static;
    fn append(&mut self, number: u64);
    fn numbers(cursor: &Self::Cursor) -> Vec<u64>;
}

impl List for LiveAppender {
    type Cursor = LiveCursor;

    fn append(&mut self, number: u64) {
        self.append(run(number));
    }

    fn numbers(cursor: &LiveCursor) -> Vec<u64> {
        numbers(cursor)
    }
}

/// The flags of a list: whether its entries are there.
struct Twin(Arc<Flags>);

struct Flags {
    is_there: Vec<AtomicBool>,
    set: Ordering,
    get: Ordering,
}

impl Twin {
    fn make(set: Ordering, get: Ordering) -> (Self, Arc<Flags>) {
        let is_there = (0..RUN_COUNT).map(|_| AtomicBool::new(false)).collect();
        let flags = Arc::new(Flags { is_there, set, get });
        (Self(flags.clone()), flags)
    }
}

impl List for Twin {
    type Cursor = Arc<Flags>;

    fn append(&mut self, number: u64) {
        let flag = self.0.is_there.get(number as usize - 1).unwrap();
        flag.store(true, self.0.set);
    }

    fn numbers(flags: &Arc<Flags>) -> Vec<u64> {
        let is_there = |flag: &&AtomicBool| flag.load(flags.get);
        let seen = flags.is_there.iter().take_while(is_there).zip(1..);
        seen.map(|(_, number)| number).collect()
    }
}

/// One thread works and appends, two follow. Loom's cells stand for the work: two accesses that
/// are not ordered are a failure.
fn check<L: List>(make: impl Fn() -> (L, L::Cursor) + Send + Sync + 'static) {
    loom::model(move || {
        let (mut list, cursor) = make();
        let work: Arc<Vec<_>> = Arc::new((0..RUN_COUNT).map(|_| UnsafeCell::new(())).collect());
        let follow = {
            let (work, cursor) = (work.clone(), cursor.clone());
            move || {
                let seen = L::numbers(&cursor);
                assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{seen:?}");
                for number in seen {
                    work.get(number as usize - 1).unwrap().with(|_| ());
                }
            }
        };
        let reader = thread::spawn(follow.clone());
        let writer = thread::spawn(move || {
            for number in 1..=RUN_COUNT {
                work.get(number as usize - 1).unwrap().with_mut(|_| ());
                list.append(number);
            }
        });
        follow();
        reader.join().unwrap();
        writer.join().unwrap();
        assert_eq!(L::numbers(&cursor), [1, 2], "all are there in the end");
    });
}

#[test]
fn whoever_sees_an_entry_sees_what_was_done_before() {
    check(live_runs);
}

#[test]
fn the_twin_without_a_change_passes() {
    check(|| Twin::make(Ordering::Release, Ordering::Acquire));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn appending_without_release_is_caught() {
    check(|| Twin::make(Ordering::Relaxed, Ordering::Acquire));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn following_without_acquire_is_caught() {
    check(|| Twin::make(Ordering::Release, Ordering::Relaxed));
}

/// One thread appends, one trims, one reads from the beginning on. A `kept` cursor, if any, lives
/// on: then nothing may count as freed.
fn check_freeing(is_cursor_kept: bool) {
    loom::model(move || {
        let (mut list, mut trimming) = live_runs();
        let reading = trimming.clone();
        let kept = is_cursor_kept.then(|| trimming.clone());
        let runs: Vec<_> = (1..=RUN_COUNT).map(run).collect();
        let held: Vec<Weak<_>> = runs.iter().map(Arc::downgrade).collect();
        let writer = thread::spawn(move || runs.into_iter().for_each(|run| list.append(run)));
        let trimmer = thread::spawn(move || trimming.skip_while(|run| run.run <= 1));
        let seen = numbers(&reading);
        assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{seen:?}");
        drop(reading);
        writer.join().unwrap();
        trimmer.join().unwrap();
        assert!(held.iter().all(|run| run.upgrade().is_none()), "leaked");
        drop(kept);
    });
}

#[test]
fn what_nobody_holds_is_freed_while_others_append_and_trim() {
    check_freeing(false);
}

#[test]
#[should_panic(expected = "leaked")]
fn a_cursor_that_is_forgotten_is_caught() {
    check_freeing(true);
}

/// The writer lists a run and then moves the mark; a reader looks at the mark and then at the
/// list.
fn check_order(is_listed_first: bool) {
    loom::model(move || {
        let (mut list, cursor) = live_runs();
        let mut writer = WatermarkWriter::new(Position::default());
        let mark = writer.mark().clone();
        let moving = thread::spawn(move || {
            let run = run(1);
            let position = run.position();
            if is_listed_first {
                list.append(run);
                writer.set(position);
            } else {
                writer.set(position);
                list.append(run);
            }
        });
        let count = mark.get().run;
        assert!(numbers(&cursor).len() as u64 >= count, "not listed");
        moving.join().unwrap();
    });
}

#[test]
fn every_run_up_to_the_mark_is_listed() {
    check_order(true);
}

#[test]
#[should_panic(expected = "not listed")]
fn moving_the_mark_before_the_run_is_listed_is_caught() {
    check_order(false);
}
