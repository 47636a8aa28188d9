//! Nobody listens, the log's disk is full, the camera comes late: recording goes on.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Signal;

use crate::program::{Running, camring, folder, json, run, succeed};
use crate::rtsp_server::{Server, can_serve};

/// The longest wait for something that will surely happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a stream was recorded, in microseconds.
fn recorded_us(timeline: &serde_json::Value) -> i64 {
    let stretches = timeline["streams"][0]["stretches"].as_array();
    let recorded = stretches.into_iter().flatten();
    let recorded = recorded.filter(|s| s["state"] == "recorded");
    recorded.map(|s| s["len_us"].as_i64().unwrap()).sum()
}

/// A log line that cannot be written is lost, and nothing else.
#[test]
fn a_full_disk_under_the_log_does_not_stop_the_recording() {
    if !can_serve("a_full_disk_under_the_log_does_not_stop_the_recording") {
        return;
    }
    let server = Server::start(&[]);
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --size 64MiB");
    // The camera that is not there makes the network's side log, too.
    let record = format!(
        "record {{}} --camera 1={} --camera 2=rtsp://127.0.0.1:9/x --for 3s",
        server.url("h264_2M/0")
    );
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = camring(&dir, &record);
    command.env("RUST_LOG", "camring=trace");
    command.stdout(Stdio::piped()).stderr(full);
    let ended = Running::start(&mut command).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let recorded_us = recorded_us(&json(&dir, "timeline {} --stream 1 --json"));
    assert!(recorded_us > 0, "{recorded_us} us");
}

/// What reads the status lines dies. It is told once, at once and in the exit code; the recording
/// goes on until its end.
#[test]
fn a_listener_that_dies_does_not_end_the_recording() {
    if !can_serve("a_listener_that_dies_does_not_end_the_recording") {
        return;
    }
    let server = Server::start(&[]);
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --size 64MiB");
    let args = format!("record {{}} --camera 1={} --json", server.url("h264_2M/0"));
    let mut command = camring(&dir, &args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut recorder = Running::start(&mut command);
    recorder.line();
    recorder.hang_up();
    // There is a line each second, so after this time some were in vain.
    let is_long_enough = || recorded_us(&json(&dir, "timeline {} --json")) > 4_000_000;
    let deadline = Instant::now() + PATIENCE;
    while !is_long_enough() {
        assert!(recorder.is_running(), "it has ended with its listener");
        assert!(Instant::now() < deadline, "nothing is recorded");
    }
    recorder.signal(Signal::TERM);
    let ended = recorder.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = ended.stderr.matches("recording goes on").count();
    assert_eq!(told, 1, "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains("could not be written"), "{last}");
}

/// It is stopped, as by Ctrl-Z, and the pipe to it is full. The cameras do not wait for it.
#[test]
fn a_recorder_without_a_listener_ends_in_time() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let args = "record {} --camera 1=rtsp://127.0.0.1:9/x --json --for 2s";
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filled = writer.try_clone().unwrap();
    fcntl_setfl(&filled, OFlags::NONBLOCK).unwrap();
    while filled.write_all(b" ").is_ok() {}
    fcntl_setfl(&filled, OFlags::empty()).unwrap();
    let mut command = camring(&dir, args);
    command.stdout(writer).stderr(Stdio::piped());
    let recorder = Running::start(&mut command);
    let ended = recorder.end();
    drop(reader);
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

/// Where nobody watches, a line now and then says how it goes.
#[test]
fn the_status_is_logged_where_nobody_watches() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let record = "record {} --camera 1=rtsp://127.0.0.1:9/x --for 7s";
    let ended = run(&dir, record);
    let told = ended.stderr.matches("0/1 cameras up").count();
    assert_eq!(told, 1, "{}", ended.stderr);
    let ended = run(&dir, &format!("{record} --quiet"));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

/// The terminal is closed. Whoever wants it to go on says so, by nohup.
#[test]
fn the_end_of_the_terminal_is_an_orderly_end_unless_it_is_to_be_ignored() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let record = camring(&dir, "record {} --camera 1=rtsp://127.0.0.1:9/x --json");
    let start = |with: &[&str]| {
        let words = with.iter().map(std::ffi::OsStr::new);
        let mut words = words.chain([record.get_program()]).chain(record.get_args());
        let mut command = Command::new(words.next().unwrap());
        command.args(words).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut recorder = Running::start(&mut command);
        assert!(recorder.line().contains("status"));
        recorder.signal(Signal::HUP);
        recorder
    };
    let ended = start(&[]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("\"end\""), "{}", ended.stdout);

    let mut recorder = start(&["nohup"]);
    for _ in 0..2 {
        assert!(recorder.line().contains("status"), "it goes on");
    }
    recorder.signal(Signal::TERM);
    assert_eq!(recorder.end().code, Some(0));
}
