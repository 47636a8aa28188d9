//! The station at work, and what camring does to the process that it lives in: nothing that it was
//! not asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;

use camring::{ErrorKind, Volume};
use embed::{Measurement, STATION, Station, between, follow};

/// Names a directory, and makes a process of this program a quiet station.
const DIR_VARIABLE: &str = "EMBED_STATION_DIR";

fn measured(minute: i64) -> Measurement {
    Measurement {
        time_s: 1_700_000_000 + 60 * minute,
        pressure_hpa: 1013.25 - minute as f64 / 7.0,
        temperature_c: 20.0 + (minute % 13) as f64,
    }
}

/// An empty directory of this test's own.
fn place(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

#[test]
fn measurements_are_kept_asked_for_and_followed() {
    let dir = place("kept");
    Station::create(&dir).unwrap();
    let again = Station::create(&dir).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Exists, "{again}");
    let mut station = Station::start(&dir).unwrap();
    let volume = station.volume().clone();
    let (tell, told) = mpsc::channel();
    let follower = std::thread::spawn(move || {
        follow(&volume, |measurement| {
            tell.send(measurement).unwrap();
            measurement != measured(299)
        })
    });
    for minute in 0..300 {
        station.keep(measured(minute)).unwrap();
    }
    station.save().unwrap();
    follower.join().unwrap().unwrap();
    let followed: Vec<_> = told.iter().collect();
    assert_eq!(followed, (0..300).map(measured).collect::<Vec<_>>());

    let (first, last) = (measured(100), measured(109));
    let expected: Vec<_> = (100..110).map(measured).collect();
    let inside = |found: Vec<Measurement>| -> Vec<_> {
        // What is needed to show the first one may come before it.
        let inside = found.into_iter().filter(|m| m.time_s >= first.time_s);
        inside.collect()
    };
    let live = between(station.volume(), first.time_s, last.time_s).unwrap();
    assert_eq!(inside(live), expected);
    station.stop().unwrap();

    let volume = Volume::open(&dir).unwrap();
    let stored = between(&volume, first.time_s, last.time_s).unwrap();
    assert_eq!(inside(stored), expected);
    let info = volume.find_stream("weather").unwrap();
    assert_eq!(info.id, STATION);
    let range = volume.stream_time_range(STATION).unwrap();
    assert_eq!(range.start.0, measured(0).time_s * 1_000_000);
    assert_eq!(range.end.0, measured(299).time_s * 1_000_000);
    let blocks = volume.blocks_near(range.end, 1);
    assert!(!blocks.is_empty() && blocks.iter().all(|row| row.sequence >= 1));
}

/// The names of this process's threads, but for those of the test and of the kernel.
fn threads() -> BTreeSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let comms =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let names = comms.map(|comm| comm.trim().to_owned());
    names
        .filter(|name| name.starts_with("camring") || name.contains("tokio"))
        .collect()
}

fn line_of_status(key: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.to_owned()
}

/// Signals that are caught, ignored and blocked by this process.
fn signals() -> Vec<String> {
    ["SigCgt", "SigIgn", "SigBlk"].map(line_of_status).to_vec()
}

/// Not a test of its own: a station in a process where nothing else happens. It goes through every
/// stage, errors too, and fails when something of the process has changed.
#[test]
fn quiet_station() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE).map(PathBuf::from) else {
        return;
    };
    let before = signals();
    let count = |name: &str| threads().iter().filter(|thread| *thread == name).count();
    assert!(threads().is_empty());
    Station::start(&dir).unwrap_err();
    Station::create(&dir).unwrap();
    let mut station = Station::start(&dir).unwrap();
    Station::start(&dir).unwrap_err();
    for minute in 0..20_000 {
        let _ = station.keep(measured(minute));
    }
    station.save().unwrap();
    assert!(
        !between(station.volume(), 0, i64::MAX / 1_000_000)
            .unwrap()
            .is_empty()
    );
    // No runtime: a writer and its helper, and nobody else.
    assert_eq!((count("camring-writer"), count("camring-keeper")), (1, 1));
    assert_eq!(threads().len(), 2, "{:?}", threads());
    assert_eq!(signals(), before);
    station.stop().unwrap();
    assert!(threads().is_empty(), "{:?}", threads());
    assert_eq!(signals(), before);
}

/// A library that logs, prints or catches signals by itself is a guest that moves the furniture. The
/// process says nothing at all, also where things go wrong.
#[test]
fn camring_installs_no_logger_signal_handler_or_runtime() {
    let dir = place("quiet");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "quiet_station",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env(DIR_VARIABLE, &dir)
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stdout}{stderr}");
    assert_eq!(stderr, "");
    // What the test harness prints around the test, and nothing else.
    let lines: Vec<_> = stdout.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 3, "{stdout}");
    assert_eq!(lines[1], "test quiet_station ... ok");
}
