//! `camring export`: exactly the frames that were asked for, in files that are complete or not
//! there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use camring::Writer;
use camring::base::time::{Clock as _, Now, SystemClock, Timestamp};
use camring::frame::{Frame, FrameSink as _, StreamId};
use camring::ingest::builtin;
use camring::writer::WriterOptions;
use rustix::process::Signal;
use serde_json::Value;

use crate::clip::{Packet, Probe, has_tool};
use crate::program::{Running, camring, folder, json, run, succeed};
use crate::recording::{Recording, START, at};

/// What a file must hold of `frames`: times since `zero`, and bytes.
fn expected(stream: usize, frames: &[&Frame], zero: Timestamp) -> Vec<Packet> {
    let ms = |time: Timestamp| (time.0 + 500).div_euclid(1_000);
    let packets = frames.iter().map(|frame| Packet {
        stream,
        time_us: (ms(frame.time) - ms(zero)) * 1_000,
        key: frame.key,
        payload: frame.payload.clone(),
    });
    packets.collect()
}

#[test]
fn an_export_holds_exactly_the_frames_of_its_range() {
    const NAME: &str = "an_export_holds_exactly_the_frames_of_its_range";
    if !has_tool(NAME, "ffprobe") {
        return;
    }
    let recording = Recording::new();
    let path = recording.folder().join("door.mkv");
    let (from, to) = (at(3_500), at(7_020));
    let args = format!(
        "export {{}} --stream 3 --from {from} --to {to} --json -o {}",
        path.display()
    );
    let report = json(&recording.dir(), &args);

    // The key frame at or before the beginning; all up to the end.
    let first = START.plus_us(3_000_000);
    let last = START.plus_us(7_020_000);
    let in_range = |frame: &&Frame| first <= frame.time && frame.time <= last;
    let video: Vec<_> = recording.track(3, 0).into_iter().filter(in_range).collect();
    let audio: Vec<_> = recording.track(3, 1).into_iter().filter(in_range).collect();
    assert_eq!(
        (video.len(), video[0].key),
        (101, true),
        "4 s and a frame, at 25 a second"
    );

    let probe = Probe::of(&path);
    assert_eq!(probe.complaints, "");
    assert_eq!(probe.of_stream(0), expected(0, &video, first));
    assert_eq!(probe.of_stream(1), expected(1, &audio, first));
    assert_eq!(report["files"][0]["frame_count"], video.len() + audio.len());
    assert_eq!(
        report["files"][0]["from"],
        "2026-11-18T11:06:43.000000+00:00"
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600);
}

#[test]
fn a_file_that_is_there_is_replaced_only_by_force() {
    let recording = Recording::new();
    let path = recording.folder().join("gate.mkv");
    fs::write(&path, "a letter").unwrap();
    let args = format!("export {{}} --stream 1 -o {}", path.display());
    let refused = run(&recording.dir(), &args);
    assert_eq!(refused.code, Some(12), "{refused:?}");
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(fs::read(&path).unwrap(), b"a letter");
    succeed(&recording.dir(), &format!("{args} --force"));
    assert!(
        fs::read(&path)
            .unwrap()
            .starts_with(&[0x1a, 0x45, 0xdf, 0xa3]),
        "Matroska"
    );
    let by_force = format!(
        "export {{}} --stream 1 --force -o {}",
        recording.dir().display()
    );
    assert_eq!(
        run(&recording.dir(), &by_force).code,
        Some(2),
        "never a directory"
    );
}

/// A camera that is told to send larger pictures: its file ends, and another begins.
#[test]
fn new_parameters_begin_another_file() {
    const NAME: &str = "new_parameters_begin_another_file";
    if !has_tool(NAME, "ffprobe") {
        return;
    }
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let writer = Writer::open(&dir, WriterOptions::default()).unwrap();
    let mut producer = writer.producer().unwrap();
    let mut cameras = builtin::cameras(3).unwrap();
    let stream = StreamId(1);
    let door = cameras.pop().unwrap();
    let gate = cameras.swap_remove(0);
    for (mut camera, start_us) in [(gate, 0), (door, 4_000_000)] {
        let now = |us| Now {
            boot_us: us,
            utc_us: START.0 + start_us + us,
        };
        let first = camera.due(now(0));
        let rest = std::iter::from_fn(|| camera.due(now(2_000_000)));
        for item in first.into_iter().chain(rest) {
            producer.accept(stream, item).unwrap();
        }
    }
    drop(producer);
    writer.close().unwrap();
    let path = folder.path().join("out.mkv");
    let text = succeed(
        &dir,
        &format!("export {{}} --stream 1 -o {}", path.display()),
    );
    let second = folder.path().join("out-2.mkv");
    assert!(text.contains(second.to_str().unwrap()), "{text}");
    let widths = [&path, &second].map(|path| Probe::of(path).streams[0]["width"].clone());
    assert_eq!(widths, [Value::from(320), Value::from(640)]);
}

/// The disk has lost some bytes of a frame: the rest is exported, and the exit code tells.
#[test]
fn damage_is_reported_and_the_rest_is_exported() {
    let recording = Recording::new();
    let victim = recording.track(2, 0)[260];
    flip_a_byte(&recording.dir().join("data"), &victim.payload);
    let path = recording.folder().join("yard.mkv");
    let args = format!("export {{}} --stream 2 --json -o {}", path.display());
    let ended = run(&recording.dir(), &args);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["gaps"]["damaged"]["count"], 1, "{report}");
    // Decoding goes on at the next key frame: frames 260 to 274 are gone.
    assert_eq!(
        report["files"][0]["frame_count"],
        20 * 25 + 1 - 15,
        "{report}"
    );
    let blocks = json(&recording.dir(), "blocks {} --json");
    let numbers = blocks["blocks"].as_array().unwrap().iter();
    let numbers: Vec<_> = numbers.map(|block| block["block"].to_string()).collect();
    let dump = run(
        &recording.dir(),
        &format!("dump {{}} {}", numbers.join(" ")),
    );
    assert_eq!(dump.code, Some(3), "{}", dump.stderr);
    assert_eq!(dump.stdout.matches("damaged").count(), 1);
}

fn flip_a_byte(path: &Path, payload: &[u8]) {
    let mut data = fs::read(path).unwrap();
    let found = data
        .windows(payload.len())
        .position(|window| window == payload);
    let at = found.expect("it is on disk as it is");
    data[at + payload.len() / 2] ^= 1;
    fs::write(path, data).unwrap();
}

/// Whenever Ctrl-C comes, there is a whole file or none, and nothing else.
#[test]
fn an_interrupted_export_leaves_a_whole_file_or_none() {
    let recording = Recording::new();
    let target = recording.folder().join("target");
    fs::create_dir(&target).unwrap();
    let path = target.join("out.mkv");
    let names = || {
        let entries = fs::read_dir(&target).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    let mut interrupted_count = 0;
    for _ in 0..20 {
        let args = format!("export {{}} --stream 2 -o {}", path.display());
        let mut command = camring(&recording.dir(), &args);
        let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        while names().is_empty() && running.is_running() {
            std::thread::yield_now();
        }
        running.signal(Signal::INT);
        let ended = running.end();
        match ended.code {
            Some(0) => {
                assert_eq!(names(), ["out.mkv"]);
                fs::remove_file(&path).unwrap();
            }
            Some(130) => {
                interrupted_count += 1;
                assert_eq!(names(), [""; 0], "nothing is left");
            }
            _ => panic!("{ended:?}"),
        }
    }
    eprintln!("{interrupted_count} of 20 exports were interrupted");
}

/// Another process knows that a run is on stable storage when a later one says so: what was
/// committed before the last commit is there.
#[test]
fn what_is_committed_can_be_exported_while_it_is_recorded() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let writer = Writer::open(&dir, WriterOptions::default()).unwrap();
    let mut producer = writer.producer().unwrap();
    let mut camera = builtin::cameras(1).unwrap().remove(0);
    let started = SystemClock.now();
    for len_us in [0, 3_000_000, 4_000_000] {
        let now = Now {
            boot_us: started.boot_us + len_us,
            ..started
        };
        for item in std::iter::from_fn(|| camera.due(now)) {
            producer.accept(StreamId(1), item).unwrap();
        }
        writer.commit().unwrap();
    }
    let path = folder.path().join("out.mkv");
    let args = format!("export {{}} --stream 1 --json -o {}", path.display());
    let frame_count = json(&dir, &args)["files"][0]["frame_count"]
        .as_u64()
        .unwrap();
    assert!((76..=101).contains(&frame_count), "{frame_count}");
    assert_eq!(json(&dir, "info {} --json")["is_being_recorded"], true);
}
