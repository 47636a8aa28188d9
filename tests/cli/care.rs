//! The commands that look after a volume: verify, rebuild, commit.

use std::fs;

use camring::Writer;
use camring::frame::{Frame, StreamId};
use camring::ingest::builtin;
use camring::writer::WriterOptions;

use crate::program::{folder, json, run, succeed};
use crate::recording::{Recording, START};

#[test]
fn a_damaged_frame_is_told_with_its_stream_and_time_and_the_code_3() {
    let recording = Recording::new();
    let dir = recording.dir();
    let text = succeed(&dir, "verify {}");
    assert!(
        text.ends_with("All of it is as it was written.\n"),
        "{text}"
    );
    let whole = json(&dir, "verify {} --json");
    assert_eq!(
        (&whole["damage_count"], &whole["damage"]),
        (&0.into(), &serde_json::json!([]))
    );

    // The clip is played in a loop: the same bytes come again, later.
    let track = recording.track(2, 0);
    let first = track[track.len() / 20];
    let mut again = track.iter().filter(|frame| frame.payload == first.payload);
    let frame = again.nth(2).unwrap();
    let path = dir.join("data");
    let mut data = fs::read(&path).unwrap();
    let places = data.windows(frame.payload.len()).enumerate();
    let mut found = places.filter(|(_, bytes)| *bytes == frame.payload);
    let (at, _) = found.nth(2).unwrap();
    data[at + frame.payload.len() / 2] ^= 4;
    fs::write(&path, data).unwrap();

    let ended = run(&dir, "verify {} --json");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let [damage] = report["damage"].as_array().unwrap().as_slice() else {
        panic!("{report}");
    };
    assert_eq!(
        (&damage["part"], &damage["stream"]),
        (&"frame".into(), &2.into())
    );
    let time: jiff::Timestamp = damage["from"].as_str().unwrap().parse().unwrap();
    assert_eq!(time.as_microsecond(), frame.time.0);
    assert_eq!(damage["from"], damage["to"]);
    assert_eq!(
        report["frame_count"], whole["frame_count"],
        "all others were checked too"
    );
    let ended = run(&dir, "verify {}");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stdout.contains("checksum fails"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "", "no bar where nobody watches");
}

#[test]
fn a_directory_is_made_anew_and_shows_the_same() {
    let recording = Recording::new();
    let dir = recording.dir();
    let shown = |dir| {
        let lists = [
            "streams {} --json",
            "timeline {} --json",
            "blocks {} --json",
        ];
        lists.map(|args| json(dir, args))
    };
    let before = shown(&dir);
    let made = recording.folder().join("made");
    let data = dir.join("data");
    let text = succeed(&made, &format!("rebuild {} {{}}", data.display()));
    assert!(text.contains("16 blocks of 256.0 KiB"), "{text}");
    assert_eq!(shown(&made), before);

    let letter = recording.folder().join("letter");
    fs::write(&letter, "dear all\n".repeat(1000)).unwrap();
    let other = recording.folder().join("other");
    let ended = run(&other, &format!("rebuild {} {{}}", letter.display()));
    assert_eq!(ended.code, Some(10), "{ended:?}");
    assert!(
        ended.stderr.contains("no camring volume here"),
        "{}",
        ended.stderr
    );
    let ended = run(&dir, &format!("rebuild {} {{}}", letter.display()));
    assert_eq!(ended.code, Some(10), "{ended:?}");
    fs::write(made.join("letter"), "to somebody").unwrap();
    let ended = run(&made, &format!("rebuild {} {{}}", data.display()));
    assert_eq!(ended.code, Some(12), "{ended:?}");
}

#[test]
fn a_commit_reaches_the_recorder() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let ended = run(&dir, "commit {}");
    assert_eq!(ended.code, Some(10), "{ended:?}");
    assert!(ended.stderr.contains("nobody records"), "{}", ended.stderr);
    let ended = run(folder.path(), "commit {}");
    assert_eq!(ended.code, Some(10), "{ended:?}");
    assert!(
        ended.stderr.contains("is no camring volume"),
        "{}",
        ended.stderr
    );

    // It commits only when it is asked to, as far as this test goes.
    let options = WriterOptions {
        commit_us: 60_000_000,
        ..WriterOptions::default()
    };
    let writer = Writer::open(&dir, options).unwrap();
    let mut producer = writer.producer().unwrap();
    let camera = builtin::cameras(1).unwrap().remove(0);
    producer
        .add_stream(StreamId(5), camera.setup().as_ref().clone())
        .unwrap();
    let frame = Frame {
        track: 0,
        key: true,
        leading: false,
        time: START,
        clock: 0,
        payload: vec![1; 100].into(),
    };
    producer.push(StreamId(5), frame).unwrap();
    let text = succeed(&dir, "commit {}");
    assert!(text.contains("run 1 in block 1"), "{text}");
    let streams = json(&dir, "streams {} --json");
    assert_eq!(streams["streams"][0]["id"], 5);
    drop(producer);
    writer.close().unwrap();
}
