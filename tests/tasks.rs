//! Tasks of async programs: reads and commits as futures, without a runtime and in one.
//!
//! The runtimes here are hand-written: one that parks its thread, and polling by hand. A wake-up
//! that is lost shows as a test that never ends.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::panic,
    reason = "a panic is how a test fails, and what a waker does here"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/simulated.rs"]
mod simulated;
#[cfg(feature = "tokio")]
#[path = "tasks/stream.rs"]
mod stream;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use camring::ErrorKind;
use camring::base::time::TimeRange;
use camring::frame::{Item, Recorded, StreamId};
use camring::io::sim::{Fault, FaultRule, FaultTarget, SimDisk, SimOptions};
use camring::reader::{Query, Reader, Until};
use camring::writer::{Completion, Producer, Writer, WriterOptions};
use simulated::{START_US, medium};

const STREAM: StreamId = StreamId(7);

/// Unparks a thread, and counts how often it was asked to.
struct Unpark {
    thread: Thread,
    count: AtomicU64,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn unpark() -> Arc<Unpark> {
    Arc::new(Unpark {
        thread: std::thread::current(),
        count: AtomicU64::new(0),
    })
}

/// The smallest runtime: one task, on the thread that calls.
fn block_on<F: Future>(task: F) -> F::Output {
    let waker = unpark().into();
    let mut task = pin!(task);
    loop {
        match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A disk with an empty volume, which sleeps as a real one does.
fn disk() -> SimDisk {
    simulated::disk_with(
        256,
        SimOptions {
            sleeps: true,
            ..SimOptions::default()
        },
    )
}

fn recording(disk: &SimDisk, commit_us: u64) -> (Writer, Producer) {
    let options = WriterOptions {
        commit_us,
        control: false,
        ..WriterOptions::default()
    };
    let writer = Writer::open_on(medium(disk), None, options).unwrap();
    let mut producer = writer.producer().unwrap();
    producer.add_stream(STREAM, camera::setup("gate")).unwrap();
    producer.set_waiting(true);
    (writer, producer)
}

fn push(producer: &mut Producer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let frame = camera::frame(STREAM.0, number, START_US, 25, 500);
        producer.push(STREAM, frame).unwrap();
    }
}

/// The number of a frame, as the camera wrote it into its bytes.
fn number(recorded: &Recorded) -> Option<u64> {
    let Item::Frame(frame) = &recorded.item else {
        return None;
    };
    let bytes = frame.payload.get(8..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

fn everything() -> Query {
    Query::time([STREAM], TimeRange::ALL)
}

/// So long that only a commit that was asked for flushes while a test runs.
const NEVER_US: u64 = 60_000_000;

#[test]
fn a_task_commits_and_reads_what_it_committed() {
    let (writer, mut producer) = recording(&disk(), NEVER_US);
    push(&mut producer, 0..100);
    let mut reader = Reader::open(writer.volume()).unwrap();
    let numbers = block_on(async {
        let position = writer.commit_async().await.unwrap();
        assert!(position.sequence > 0);
        let mut frames = reader.read(everything()).unwrap();
        let mut numbers = Vec::new();
        while let Some(recorded) = frames.next_async().await {
            numbers.extend(number(&recorded));
        }
        frames.finish().unwrap();
        numbers
    });
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

/// One thread, one waker, two things to wait for: a read that follows the recording, and commits
/// that bring it further. Whichever of them is ready first, the task is polled again.
#[test]
fn a_task_that_waits_for_two_things_at_once_is_woken_for_each() {
    let (writer, mut producer) = recording(&disk(), NEVER_US);
    let mut reader = Reader::open(writer.volume()).unwrap();
    let mut query = everything();
    query.until = Until::Committed;
    let mut frames = reader.read(query).unwrap();
    let waker = Waker::from(unpark());
    let task = &mut Context::from_waker(&waker);
    let mut commit: Option<Completion> = None;
    let (mut pushed_count, mut numbers) = (0, Vec::new());
    while numbers.len() < 500 {
        if commit.is_none() && pushed_count < 500 {
            push(&mut producer, pushed_count..pushed_count + 5);
            pushed_count += 5;
            commit = Some(writer.commit_async());
        }
        let is_committed = commit.as_mut().map(|commit| pin!(commit).poll(task));
        let read = frames.poll_next(task);
        let is_pending = read.is_pending();
        if let Poll::Ready(recorded) = read {
            numbers.extend(number(&recorded.unwrap()));
        }
        match is_committed {
            Some(Poll::Ready(result)) => {
                result.unwrap();
                commit = None;
            }
            _ if is_pending => std::thread::park(),
            _ => {}
        }
    }
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
}

/// A frame that came while its future was being dropped is not lost, and a thread may go on where a
/// task has waited.
#[test]
fn a_wait_that_was_given_up_loses_nothing() {
    let (writer, mut producer) = recording(&disk(), NEVER_US);
    let mut reader = Reader::open(writer.volume()).unwrap();
    let mut query = everything();
    query.until = Until::Committed;
    let mut frames = reader.read(query).unwrap();
    let task = &mut Context::from_waker(Waker::noop());
    let mut numbers = Vec::new();
    while numbers.len() < 100 {
        let pushed = numbers.len() as u64;
        assert!(pin!(frames.next_async()).poll(task).is_pending());
        push(&mut producer, pushed..pushed + 10);
        writer.commit().unwrap();
        while (numbers.len() as u64) < pushed + 10 {
            numbers.extend(frames.next().as_ref().and_then(number));
        }
        while let Poll::Ready(recorded) = frames.poll_next(task) {
            numbers.extend(number(&recorded.unwrap()));
        }
    }
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let (writer, mut producer) = recording(&disk(), NEVER_US);
    push(&mut producer, 0..10);
    let mut reader = Reader::open(writer.volume()).unwrap();
    let mut query = everything();
    query.until = Until::Committed;
    let mut frames = reader.read(query).unwrap();
    let (first, last) = (unpark(), unpark());
    for task in [&first, &last] {
        let waker = Waker::from(task.clone());
        let polled = frames.poll_next(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    writer.commit().unwrap();
    while last.count.load(Ordering::Relaxed) == 0 {
        std::thread::park();
    }
    assert_eq!(first.count.load(Ordering::Relaxed), 0);
    assert!(frames.next().is_some());
}

/// The device fails before anything is committed.
#[test]
fn a_task_is_told_that_its_commit_failed() {
    let disk = disk();
    let (writer, mut producer) = recording(&disk, NEVER_US);
    push(&mut producer, 0..10);
    let rule = FaultRule::next(FaultTarget::Flush, Fault::Error(5));
    disk.add_fault(rule.sticky());
    let failed = block_on(writer.commit_async()).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Failed);
    // And so are those who come later.
    let failed = block_on(writer.commit_async()).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Failed);
}

/// Nobody polls it: it is done by itself. Nobody keeps it: it is done as well.
#[test]
fn a_commit_goes_on_without_whoever_asked_for_it() {
    let (writer, mut producer) = recording(&disk(), NEVER_US);
    push(&mut producer, 0..10);
    drop(writer.commit_async());
    let kept = writer.commit_async();
    let closed = writer.close().unwrap();
    assert!(kept.wait().unwrap() <= closed);
}

/// The reader and the recording end under a task that waits.
#[test]
fn a_task_is_told_the_end() {
    let (writer, mut producer) = recording(&disk(), 10_000);
    let mut reader = Reader::open(writer.volume()).unwrap();
    let following = std::thread::spawn(move || {
        let mut query = everything();
        query.until = Until::Committed;
        let mut frames = reader.read(query).unwrap();
        block_on(async {
            let mut count = 0;
            while let Some(recorded) = frames.next_async().await {
                count += u64::from(number(&recorded).is_some());
            }
            count
        })
    });
    push(&mut producer, 0..300);
    writer.close().unwrap();
    assert_eq!(following.join().unwrap(), 300);
}

/// What wakes a task is somebody else's code. A panic there ended the recording.
#[test]
fn a_waker_that_panics_does_no_harm_to_the_recording() {
    struct Fuse;
    impl Wake for Fuse {
        fn wake(self: Arc<Self>) {
            panic!("as told");
        }
    }
    let (writer, mut producer) = recording(&disk(), NEVER_US);
    push(&mut producer, 0..10);
    let mut commit = pin!(writer.commit_async());
    let waker = Waker::from(Arc::new(Fuse));
    while commit
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        std::thread::yield_now();
    }
    push(&mut producer, 10..20);
    writer.commit().unwrap();
    writer.close().unwrap();
}

/// Somebody asks for commits without a pause, and waits for none. Who asked before is answered all
/// the same, long before that ends.
#[test]
fn a_commit_is_not_put_off_by_those_who_ask_later() {
    let (writer, mut producer) = recording(&disk(), NEVER_US);
    push(&mut producer, 0..10);
    let (writer, is_answered) = (&writer, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            for number in 10..20_000 {
                push(&mut producer, number..number + 1);
                drop(writer.commit_async());
                if is_answered.load(Ordering::Relaxed) {
                    return true;
                }
            }
            false
        });
        writer.commit().unwrap();
        is_answered.store(true, Ordering::Relaxed);
        assert!(asking.join().unwrap(), "it was answered only at the end");
    });
}
