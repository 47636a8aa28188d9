//! `camring demo`, from an empty directory to files that play.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::clip::{Probe, has_tool, run as run_tool};
use crate::program::{Running, camring, end, folder, json, run, succeed};

const NAME: &str = "the_demo_shows_its_kill_and_exports_what_plays";

#[test]
fn the_demo_shows_its_kill_and_exports_what_plays() {
    if !["ffprobe", "ffmpeg"]
        .iter()
        .all(|tool| has_tool(NAME, tool))
    {
        return;
    }
    let folder = folder();
    let dir = folder.path().join("try");
    let ended = run(&dir, "demo {}");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("SIGKILL"), "{}", ended.stdout);
    for codecs in [&["h264", "aac"][..], &["hevc"]] {
        let name = if codecs.len() == 2 {
            "try-h264-aac.mkv"
        } else {
            "try-h265.mkv"
        };
        assert!(ended.stdout.contains(name), "{}", ended.stdout);
        let path = folder.path().join(name);
        let probe = Probe::of(&path);
        assert_eq!(probe.complaints, "");
        let found: Vec<_> = probe
            .streams
            .iter()
            .map(|stream| &stream["codec_name"])
            .collect();
        assert_eq!(found, codecs);
        let len_s: f64 = probe.format["duration"].as_str().unwrap().parse().unwrap();
        assert!(len_s > 5.0, "{len_s} s");
        let args = [
            "-v",
            "error",
            "-i",
            path.to_str().unwrap(),
            "-f",
            "null",
            "-",
        ];
        assert_eq!(run_tool("ffmpeg", &args).1, "");
    }
    check_timeline(&json(&dir, "timeline {} --json"));
    let blocks = json(&dir, "blocks {} --json");
    let states = blocks["blocks"].as_array().unwrap().iter();
    let states: Vec<_> = states
        .map(|block| block["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        ["unsealed", "sealed"],
        "one was killed, one was closed"
    );
}

/// Each of the four cameras: recorded, a gap because of the kill, recorded.
fn check_timeline(timeline: &Value) {
    let streams = timeline["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 4);
    for stream in streams {
        let stretches = stream["stretches"].as_array().unwrap();
        let states: Vec<_> = stretches.iter().map(|stretch| &stretch["state"]).collect();
        assert_eq!(states, ["recorded", "gap", "recorded"], "{stream}");
        assert_eq!(stretches[1]["cause"], "restart");
        let len_us = |n: usize| stretches[n]["len_us"].as_i64().unwrap();
        // The kill costs what was not on stable storage, more on a slow machine.
        let at_least_s = |n: usize, s: i64| assert!(len_us(n) > s * 1_000_000, "{stream}");
        at_least_s(0, 1);
        at_least_s(1, 2);
        at_least_s(2, 5);
    }
}

#[test]
fn the_demo_replaces_nothing_but_another_demo() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let before = json(&dir, "info {} --json");
    let ended = run(&dir, "demo {}");
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert!(
        ended.stderr.contains("no demo has made"),
        "{}",
        ended.stderr
    );
    assert_eq!(json(&dir, "info {} --json")["volume"], before["volume"]);
}

/// The demonstration may be started where nothing can be written.
#[test]
fn a_demo_that_cannot_begin_says_why() {
    let ended = run("/proc/nowhere".as_ref(), "demo {}");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("making the demo's volume"),
        "{}",
        ended.stderr
    );
}

/// Whoever has started the demonstration ends it in the middle, by whatever signal.
#[test]
fn a_demo_that_is_ended_leaves_no_recorder_behind() {
    let folder = folder();
    // Not SIGINT: a test that is run in the background may have inherited that it is ignored.
    for signal in [Signal::TERM, Signal::KILL] {
        let dir = folder.path().join("volume");
        let mut command = camring(&dir, "demo {}");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut demo = Running::start(&mut command);
        let mut lines = std::iter::repeat_with(|| demo.line()).take(5);
        assert!(lines.any(|line| line.contains("records 4 cameras")));
        drop(lines);
        demo.signal(signal);
        // The recorder has inherited its end of the pipe, so this waits for both.
        assert_ne!(demo.end().code, Some(0));
        assert_eq!(json(&dir, "info {} --json")["is_being_recorded"], false);
    }
}

/// What a user sees who asks for everything that happens.
#[test]
fn the_trace_log_has_a_line_for_each_frame_and_block() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let mut command = camring(&dir, "demo-record {} --for 300ms");
    let ended = end(command.env("RUST_LOG", "camring=trace"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for text in ["block opened", "block sealed", "run packed"] {
        assert!(ended.stderr.contains(text), "{text}: {}", ended.stderr);
    }
    let dump = succeed(&dir, "dump {} 1 --json");
    let frame_count = dump
        .lines()
        .filter(|line| line.contains("\"kind\":\"frame\""))
        .count();
    let lines = ended.stderr.lines();
    assert_eq!(
        lines.filter(|line| line.contains("ordinal=")).count(),
        frame_count
    );
    assert!(frame_count > 10, "{frame_count}");
    assert!(!succeed(&dir, "--help").contains("demo-record"));
}
