//! `camring play`: the frames that were recorded, each once, on time, wherever they go.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use camring::base::time::{Now, Timestamp};
use camring::frame::{Frame, FrameSink as _, Item, StreamId};
use camring::ingest::builtin;
use camring::writer::{Producer, Writer, WriterOptions};
use rustix::process::Signal;
use serde_json::Value;

use crate::clip::{Probe, has_tool};
use crate::program::{Running, camring, folder, run, succeed};
use crate::recording::{Recording, START, at};

/// The lines that `--print --json` prints of frames.
fn frame_lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["kind"] == "frame").collect()
}

/// Time of day and length, as a line and as a frame has them.
fn line_marks(lines: &[Value]) -> Vec<(String, u64)> {
    let marks = lines.iter().map(|line| {
        let time = line["time"].as_str().unwrap();
        (time[11..26].to_owned(), line["len"].as_u64().unwrap())
    });
    marks.collect()
}

fn frame_marks(frames: &[&Frame]) -> Vec<(String, u64)> {
    let marks = frames.iter().map(|frame| {
        let us = frame.time.0.rem_euclid(86_400_000_000);
        let (s, us) = (us / 1_000_000, us % 1_000_000);
        let (h, min) = (s / 3_600, s / 60 % 60);
        let time = format!("{h:02}:{min:02}:{:02}.{us:06}", s % 60);
        (time, frame.payload.len() as u64)
    });
    marks.collect()
}

#[test]
fn each_frame_has_its_line_once_and_in_order() {
    let recording = Recording::new();
    let args = "play {} --stream 3 --stream yard --speed 64 --print --json";
    let refused = run(&recording.dir(), args);
    assert_eq!(
        refused.code,
        Some(10),
        "no stream is called so: {refused:?}"
    );
    let args = "play {} --stream 3 --stream 2 --speed 64 --print --json";
    let lines = frame_lines(&succeed(&recording.dir(), args));
    for (stream, track) in [(2, 0), (3, 0), (3, 1)] {
        let own = lines
            .iter()
            .filter(|line| line["stream"] == stream && line["track"] == track);
        let own: Vec<_> = own.cloned().collect();
        let expected = frame_marks(&recording.track(stream, track));
        assert_eq!(line_marks(&own), expected, "track {track} of {stream}");
    }
    for line in &lines {
        assert_eq!(line["schema"], 1);
        let late_us = line["late_us"].as_i64().unwrap();
        assert!((0..10_000_000).contains(&late_us), "{line}");
    }
}

/// The way from the key frame to the time that was asked for is marked.
#[test]
fn lines_say_which_frames_are_not_to_be_shown() {
    let recording = Recording::new();
    let args = format!(
        "play {{}} --stream 2 --speed 64 --print --at {}",
        at(19_900)
    );
    let text = succeed(&recording.dir(), &args);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("LATE ms"), "{text}");
    assert!(lines[1].contains("  (KEY)  "), "{text}");
    assert!(lines[2].contains("  (frame)  "), "{text}");
    // At 19.88, .92, .96 and 20 s.
    let shown = lines.iter().filter(|line| line.contains("  frame  "));
    let shown = shown.count() + lines.iter().filter(|line| line.contains("  KEY  ")).count();
    assert_eq!(shown, 4, "{text}");
}

#[test]
fn a_file_that_is_played_is_the_file_that_is_exported() {
    const NAME: &str = "a_file_that_is_played_is_the_file_that_is_exported";
    if !has_tool(NAME, "ffprobe") {
        return;
    }
    let recording = Recording::new();
    let [played, exported] =
        ["played.mkv", "exported.mkv"].map(|name| recording.folder().join(name));
    let (from, path) = (at(4_000), exported.display());
    let args = format!("export {{}} --stream 3 --from {from} -o {path}");
    succeed(&recording.dir(), &args);
    let path = played.display();
    let args = format!("play {{}} --stream 3 --at {from} --speed 64 --json --to {path}");
    let report: Value = serde_json::from_str(&succeed(&recording.dir(), &args)).unwrap();
    let [played, exported] = [played, exported].map(|path| Probe::of(&path));
    assert_eq!(played.complaints, "");
    for stream in [0, 1] {
        let packets = played.of_stream(stream);
        assert!(packets.len() > 200, "{}", packets.len());
        assert_eq!(packets, exported.of_stream(stream), "track {stream}");
    }
    assert_eq!(report["files"][0]["frame_count"], played.packets.len());
    assert_eq!(report["lost_count"], 0);
}

#[test]
fn a_program_behind_a_pipe_gets_matroska() {
    const NAME: &str = "a_program_behind_a_pipe_gets_matroska";
    if !has_tool(NAME, "ffprobe") {
        return;
    }
    let recording = Recording::new();
    let mut command = camring(&recording.dir(), "play {} --stream 3 --speed 64 --to -");
    let mut playing = command.stdout(Stdio::piped()).spawn().unwrap();
    let args = "-v error -of json -count_packets -show_entries stream=codec_name,nb_read_packets -";
    let probe = Command::new("ffprobe")
        .args(args.split(' '))
        .stdin(playing.stdout.take().unwrap())
        .output()
        .unwrap();
    assert_eq!(playing.wait().unwrap().code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&probe.stderr), "");
    let probe: Value = serde_json::from_slice(&probe.stdout).unwrap();
    for track in [0, 1] {
        let stream = &probe["streams"][track];
        let count = recording.track(3, u8::try_from(track).unwrap()).len();
        assert_eq!(stream["nb_read_packets"], count.to_string(), "{stream}");
    }
}

/// Two cameras side by side, in their own times.
#[test]
fn a_file_holds_the_tracks_of_all_streams_that_are_played() {
    const NAME: &str = "a_file_holds_the_tracks_of_all_streams_that_are_played";
    if !has_tool(NAME, "ffprobe") {
        return;
    }
    let recording = Recording::new();
    let path = recording.folder().join("both.mkv");
    let args = format!(
        "play {{}} --stream 3 --stream 2 --speed 64 --json --to {}",
        path.display()
    );
    let report: Value = serde_json::from_str(&succeed(&recording.dir(), &args)).unwrap();
    let probe = Probe::of(&path);
    assert_eq!(probe.complaints, "");
    let zero = recording.track(3, 0)[0].time;
    let zero = zero.min(recording.track(2, 0)[0].time);
    for (n, (stream, track)) in [(3, 0), (3, 1), (2, 0)].into_iter().enumerate() {
        let frames = recording.track(stream, track);
        let packets = probe.of_stream(n);
        let payloads: Vec<_> = packets.iter().map(|packet| &packet.payload).collect();
        let expected: Vec<_> = frames.iter().map(|frame| &frame.payload).collect();
        assert!(payloads == expected, "track {track} of {stream}");
        for (packet, frame) in packets.iter().zip(&frames) {
            let us = frame.time.us_since(zero);
            assert!((packet.time_us - us).abs() <= 1_000, "{packet:?}: {us} us");
        }
    }
    assert_eq!(report["files"][0]["frame_count"], probe.packets.len());
    assert_eq!(report["lost_count"], 0);
    // And into a pipe.
    let mut command = camring(&recording.dir(), "play {} --stream 3 --stream 2 --to -");
    let mut playing = command
        .args(["--speed", "64"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let probe = Command::new("ffprobe")
        .args("-v error -of csv=p=0 -show_entries stream=codec_name -".split(' '))
        .stdin(playing.stdout.take().unwrap())
        .output()
        .unwrap();
    assert_eq!(playing.wait().unwrap().code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&probe.stdout), "h264\naac\nhevc\n");
}

#[test]
fn a_program_that_has_had_enough_ends_the_playing_quietly() {
    let recording = Recording::new();
    for args in [
        "play {} --stream 3 --speed 64 --to -",
        "play {} --stream 3 --speed 64 --print",
    ] {
        let mut command = camring(&recording.dir(), args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut playing = command.spawn().unwrap();
        let mut first = [0; 1_000];
        playing
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut first)
            .unwrap();
        let mut errors = String::new();
        let mut stderr = playing.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        let ended = playing.wait().unwrap().code();
        assert_eq!((ended, errors.as_str()), (Some(0), ""), "{args}");
    }
}

/// The program behind the pipe stands still, as a player does that somebody has paused.
#[test]
fn an_interrupt_does_not_wait_for_a_program_that_reads_no_more() {
    let recording = Recording::new();
    let mut command = camring(&recording.dir(), "play {} --stream 3 --speed 64 --to -");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut playing = command.spawn().unwrap();
    let mut pipe = playing.stdout.take().unwrap();
    pipe.read_exact(&mut [0; 1_000]).unwrap();
    let pid = rustix::process::Pid::from_child(&playing);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    assert_eq!(playing.wait().unwrap().code(), Some(130));
    drop(pipe);
}

/// Ctrl-C ends the file where it is.
#[test]
fn an_interrupted_playing_leaves_a_file_that_plays() {
    const NAME: &str = "an_interrupted_playing_leaves_a_file_that_plays";
    if !has_tool(NAME, "ffprobe") {
        return;
    }
    let recording = Recording::new();
    let path = recording.folder().join("yard.mkv");
    let args = format!("play {{}} --stream 2 --print --to {}", path.display());
    let mut command = camring(&recording.dir(), &args);
    let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    for _ in 0..5 {
        assert_ne!(running.line(), "", "it goes on");
    }
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(130), ""));
    let probe = Probe::of(&path);
    assert_eq!(probe.complaints, "");
    assert!(probe.packets.len() >= 4, "{}", probe.packets.len());
}

/// A camera that is recorded into a volume.
struct Recorder {
    camera: builtin::BuiltinCamera,
    writer: Writer,
    producer: Producer,
    stream: StreamId,
    frames: Vec<Frame>,
}

impl Recorder {
    fn new(dir: &Path, stream: u64) -> Self {
        succeed(dir, "create {} --blocks 16 --block-size 256KiB");
        let writer = Writer::open(dir, WriterOptions::default()).unwrap();
        Self {
            camera: builtin::cameras(1).unwrap().remove(0),
            producer: writer.producer().unwrap(),
            writer,
            stream: StreamId(stream),
            frames: Vec::new(),
        }
    }

    /// Records what the camera sends up to `us` microseconds after the beginning.
    fn record(&mut self, start: Timestamp, us: i64) {
        let now = Now {
            boot_us: 1_000_000 + us,
            utc_us: start.0 + us,
        };
        while let Some(item) = self.camera.due(now) {
            if let Item::Frame(frame) = &item {
                self.frames.push(frame.clone());
            }
            self.producer.accept(self.stream, item).unwrap();
        }
        self.writer.commit().unwrap();
    }

    fn close(self) -> Vec<Frame> {
        drop(self.producer);
        self.writer.close().unwrap();
        self.frames
    }
}

/// The camera moved, and got another number; its name is the same.
#[test]
fn a_camera_that_moved_to_another_volume_has_one_history() {
    let folder = folder();
    let mut frames = Vec::new();
    for (name, stream, start_us) in [("old", 1, 0), ("new", 5, 6_000_000)] {
        let mut recorder = Recorder::new(&folder.path().join(name), stream);
        let start = START.plus_us(start_us);
        recorder.record(start, 0);
        recorder.record(start, 3_000_000);
        frames.extend(recorder.close());
    }
    let streams = succeed(&folder.path().join("new"), "streams {} --json");
    let streams: Value = serde_json::from_str(&streams).unwrap();
    let name = streams["streams"][0]["name"].as_str().unwrap();
    let mut command = camring(
        folder.path(),
        "play {}/new {}/old --speed 64 --print --json",
    );
    let ended = crate::program::end(command.args(["--stream", name]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines = frame_lines(&ended.stdout);
    let frames: Vec<_> = frames.iter().collect();
    assert_eq!(line_marks(&lines), frame_marks(&frames));
    assert!(lines.iter().all(|line| line["stream"] == 5), "one number");
}

/// This process records, and another one plays.
#[test]
fn playing_follows_the_recording_of_another_process() {
    for args in [
        "play {} --stream 1 --live --print --json",
        "play {} --stream 1 --speed 64 --print --json",
    ] {
        let folder = folder();
        let dir = folder.path().join("volume");
        let mut recorder = Recorder::new(&dir, 1);
        for us in [0, 500_000, 1_000_000, 1_500_000] {
            recorder.record(START, us);
        }
        let mut command = camring(&dir, args);
        let mut playing = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut text = playing.line();
        for us in [2_000_000, 3_000_000, 4_000_000, 5_000_000] {
            recorder.record(START, us);
            // Another process knows of a commit when there is a later one.
            recorder.record(START, us + 400_000);
            let wanted = &frame_marks(&[&recorder.frames[recorder.frames.len() - 15]])[0].0;
            while !text.contains(wanted) {
                let line = playing.line();
                assert_ne!(line, "", "{args}: {text}");
                text.push_str(&line);
            }
        }
        let frames = recorder.close();
        let is_live = args.contains("--live");
        if is_live {
            playing.signal(Signal::INT);
        }
        let ended = playing.end();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args}");
        text.push_str(&ended.stdout);
        let played = line_marks(&frame_lines(&text));
        let all = frame_marks(&frames.iter().collect::<Vec<_>>());
        let first = all.iter().position(|mark| *mark == played[0]).unwrap();
        assert!(is_live || first == 0, "{args}");
        let expected = &all[first..];
        let count = if is_live {
            played.len()
        } else {
            expected.len()
        };
        assert_eq!(played, expected[..count], "{args}: each once and in order");
    }
}

#[test]
fn what_cannot_be_played_is_refused_with_a_reason() {
    let recording = Recording::new();
    let there = recording.folder().join("there.mkv");
    fs::write(&there, "a letter").unwrap();
    let late = format!("--stream 1 --print --at {}", at(25_000));
    let to_there = format!("--stream 1 --to {}", there.display());
    for (args, code, text) in [
        ("--stream attic --print", 10, "numbers and names"),
        ("--stream 9 --print", 10, "numbers and names"),
        (&late, 10, "It was recorded from 2026-11-18T11:06:40"),
        ("--stream 1 --live --print", 10, "nobody records"),
        ("--stream 1", 2, "Give --to or --print"),
        ("--stream 1 --stream 1 --print", 2, "asked for twice"),
        ("--stream 1 --to - --print", 2, "both want stdout"),
        ("--stream 1 --print --speed 65", 2, "from 0.125 to 64"),
        (&to_there, 12, "is there already"),
    ] {
        let ended = run(&recording.dir(), &format!("play {{}} {args}"));
        assert_eq!(ended.code, Some(code), "{args}: {ended:?}");
        assert!(ended.stderr.contains(text), "{args}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{args}");
    }
    assert_eq!(fs::read(&there).unwrap(), b"a letter");
    let ended = run(recording.folder(), "play {} --stream 1 --print");
    assert_eq!(ended.code, Some(10), "{ended:?}");
}
