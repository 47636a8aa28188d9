//! A stranger's program records, queries, reads live, and keeps its own logger, signal handlers and
//! runtime.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;

use embed::{Recorder, SENSOR, follow, follow_async, history};

fn directory(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

fn celsius(second: i64) -> f64 {
    20.0 + (second % 60) as f64 / 10.0
}

#[test]
fn readings_are_recorded_queried_and_followed() {
    let dir = directory("readings");
    let mut recorder = Recorder::open(&dir).unwrap();
    let volume = recorder.volume().clone();
    let follower = std::thread::spawn(move || {
        let mut seen = Vec::new();
        follow(&volume, &mut |second, value| {
            seen.push((second, value));
            seen.len() < 100
        })
        .unwrap();
        seen
    });
    for second in 1000..1100 {
        recorder.record(second, celsius(second)).unwrap();
    }
    recorder.commit().unwrap();
    let expected: Vec<_> = (1000..1100)
        .map(|second| (second, celsius(second)))
        .collect();
    assert_eq!(follower.join().unwrap(), expected);
    assert_eq!(
        history(recorder.volume(), 1010, 1020).unwrap(),
        expected[10..=20]
    );
    recorder.close().unwrap();

    // Another day: the same directory, more readings, and both are there.
    let mut recorder = Recorder::open(&dir).unwrap();
    recorder.record(5000, 1.5).unwrap();
    recorder.close().unwrap();
    let volume = camring::Volume::open(&dir).unwrap();
    assert_eq!(history(&volume, 0, 9999).unwrap().len(), 101);
    let stream = volume.stream(SENSOR).unwrap();
    assert_eq!(stream.setup.name, "boiler");
    assert_eq!(
        volume
            .timeline(SENSOR, camring::base::time::TimeRange::ALL)
            .len(),
        3
    );
}

/// The smallest runtime there is: the stranger has one of its own.
fn block_on<F: Future>(task: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut task = pin!(task);
    loop {
        match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_task_commits_and_follows_without_a_runtime_of_ours() {
    let mut recorder = Recorder::open(&directory("task")).unwrap();
    let volume = recorder.volume().clone();
    let follower = std::thread::spawn(move || block_on(follow_async(&volume, 50)).unwrap());
    for second in 1000..1050 {
        recorder.record(second, celsius(second)).unwrap();
    }
    block_on(recorder.commit_async()).unwrap();
    let expected: Vec<_> = (1000..1050).map(|s| (s, celsius(s))).collect();
    assert_eq!(follower.join().unwrap(), expected);
    recorder.close().unwrap();
}

/// Signal dispositions of the process, as the kernel tells them: caught and ignored ones.
fn signals() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let lines = status
        .lines()
        .filter(|line| line.starts_with("SigCgt") || line.starts_with("SigIgn"));
    lines.map(str::to_owned).collect()
}

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    };
    let mut names: Vec<_> = tasks
        .map(name)
        .filter(|name| name.starts_with("camring"))
        .collect();
    names.sort();
    names
}

/// The only thread names that appear are those of the recording that was opened, and they go with it;
/// signals stay as they were. (No logger: the library depends on none, see the feature test of the
/// default tier.)
#[test]
fn the_library_installs_nothing_in_the_process() {
    let before = signals();
    let dir = directory("nothing");
    let mut recorder = Recorder::open(&dir).unwrap();
    recorder.record(1, 1.0).unwrap();
    recorder.commit().unwrap();
    assert!(
        threads()
            .iter()
            .any(|name| name.starts_with("camring-writer"))
    );
    recorder.close().unwrap();
    assert_eq!(signals(), before);
}
