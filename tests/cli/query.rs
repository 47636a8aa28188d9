//! The commands that only look: what they print, for people and for programs.

use std::process::Stdio;

use camring::Volume;
use camring::base::time::TimeRange;
use camring::frame::Frame;
use serde_json::Value;

use crate::program::{Running, camring, end, folder, json, run, succeed};
use crate::recording::{LEN_US, Recording, START, at};

/// A time as the program prints it, in microseconds since 1970.
fn us(value: &Value) -> i64 {
    let time: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
    time.as_microsecond()
}

fn rows<'v>(value: &'v Value, list: &str) -> &'v [Value] {
    value[list].as_array().unwrap()
}

#[test]
fn every_command_that_reads_prints_one_document_with_what_was_recorded() {
    let recording = Recording::new();
    let dir = recording.dir();
    let info = json(&dir, "info {} --json");
    assert_eq!(info["len"], 16 * (256 << 10));
    assert_eq!(info["block_count"], 16);
    assert_eq!(info["stream_count"], 4);
    assert_eq!(info["is_being_recorded"], false);
    assert_eq!(info["is_damaged"], false);
    assert_eq!(
        (us(&info["from"]), us(&info["to"])),
        (START.0, START.0 + LEN_US)
    );

    let streams = json(&dir, "streams {} --json");
    let streams = rows(&streams, "streams");
    let names: Vec<_> = streams.iter().map(|stream| &stream["name"]).collect();
    assert_eq!(names, ["gate 1", "yard 2", "door 3", "lift 4"]);
    assert_eq!(streams[2]["tracks"][1]["codec"], "AAC");
    assert_eq!(streams[1]["tracks"][0]["width_px"], 640);

    let timeline = json(&dir, "timeline {} --stream 3 --json");
    let [door] = rows(&timeline, "streams") else {
        panic!("one stream was asked for: {timeline}");
    };
    let [all] = door["stretches"].as_array().unwrap().as_slice() else {
        panic!("there is no gap: {timeline}");
    };
    assert_eq!(
        (us(&all["from"]), us(&all["to"])),
        (START.0, START.0 + LEN_US)
    );
}

#[test]
fn blocks_are_found_by_their_times() {
    let recording = Recording::new();
    let dir = recording.dir();
    let all = json(&dir, "blocks {} --json");
    let all = rows(&all, "blocks");
    assert!(all.len() > 4, "{} blocks", all.len());
    let numbers: Vec<u64> = all
        .iter()
        .map(|row| row["block"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!((us(&all[0]["from"])), START.0);

    let (from, to) = (START.0 + 9_000_000, START.0 + 11_000_000);
    let some = json(
        &dir,
        &format!(
            "blocks {{}} --from {} --to {} --json",
            at(9_000),
            at(11_000)
        ),
    );
    let overlaps = |row: &&Value| us(&row["from"]) <= to && us(&row["to"]) >= from;
    let expected: Vec<_> = all.iter().filter(overlaps).cloned().collect();
    assert_eq!(rows(&some, "blocks"), expected);

    let around = json(
        &dir,
        &format!("blocks {{}} --around {} -n 1 --json", at(10_000)),
    );
    let around = rows(&around, "blocks");
    let middle = START.0 + 10_000_000;
    assert_eq!(around.len(), 3);
    assert!(us(&around[1]["from"]) <= middle && middle <= us(&around[1]["to"]));
}

/// Cameras are written one after the other, so a block may hold frames from before the last ones
/// of the block before it. Such a block was not found by a range that ends there.
#[test]
fn no_block_is_missed_where_blocks_overlap_in_time() {
    let recording = Recording::new();
    let volume = Volume::open(recording.dir()).unwrap();
    let all: Vec<_> = volume.table().blocks().collect();
    for us in (0..LEN_US).step_by(10_000) {
        let range = TimeRange {
            start: START.plus_us(us - 100_000),
            end: START.plus_us(us),
        };
        let holding = all.iter().filter(|row| row.times.overlaps(&range));
        let holding: Vec<_> = holding.copied().collect();
        assert_eq!(volume.blocks_in(range), holding, "{us} us");
    }
}

/// The blocks of a volume hold each frame once.
#[test]
fn a_dump_has_a_line_for_each_frame() {
    let recording = Recording::new();
    let dir = recording.dir();
    let blocks = json(&dir, "blocks {} --json");
    let numbers = rows(&blocks, "blocks").iter();
    let numbers: Vec<_> = numbers.map(|block| block["block"].to_string()).collect();
    let text = succeed(&dir, &format!("dump {{}} {} --json", numbers.join(" ")));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (stream, track) in [(1, 0), (2, 0), (3, 0), (3, 1), (4, 0), (4, 1)] {
        let is_one = |line: &&Value| {
            line["kind"] == "frame" && line["stream"] == stream && line["track"] == track
        };
        let found = lines.iter().filter(is_one);
        let found = found.map(|line| {
            (
                us(&line["time"]),
                line["len"].as_u64().unwrap(),
                &line["key"],
            )
        });
        let found: Vec<_> = found
            .map(|(us, len, key)| (us, len, key.as_bool().unwrap()))
            .collect();
        let fact = |frame: &&Frame| (frame.time.0, frame.payload.len() as u64, frame.key);
        let pushed: Vec<_> = recording.track(stream, track).iter().map(fact).collect();
        assert_eq!(found, pushed, "track {track} of stream {stream}");
    }
    let first = lines
        .iter()
        .find(|line| line["kind"] == "frame" && line["stream"] == 2)
        .unwrap();
    let nal_types = first["nal_types"].as_array().unwrap();
    assert_eq!(nal_types.last().unwrap(), "IDR_N_LP", "{first}");

    let text = succeed(&dir, "dump {} 1");
    assert!(
        text.lines()
            .any(|line| line.contains("KEY") && line.contains("IDR")),
        "{text}"
    );
}

#[test]
fn people_get_tables() {
    let recording = Recording::new();
    let dir = recording.dir();
    let timeline = succeed(&dir, "timeline {}");
    let expected = "\
ID  NAME    STATE     FROM                              TO                                LENGTH
 1  gate 1  recorded  2026-11-18T11:06:40.000000+00:00  2026-11-18T11:07:00.000000+00:00  20.0 s
";
    assert!(timeline.starts_with(expected), "{timeline}");
    assert!(succeed(&dir, "streams {}").contains("H.264 640x360, AAC 16000 Hz"));
    assert!(succeed(&dir, "info {}").contains("16 blocks of 256.0 KiB"));
}

/// `camring ... | head` ends without a word.
#[test]
fn nobody_complains_when_the_reader_has_had_enough() {
    let recording = Recording::new();
    for args in [
        "dump {} 1 2 3 4",
        "dump {} 1 --json",
        "blocks {} --json",
        "timeline {}",
        "info {}",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = camring(&recording.dir(), args);
        let command = command.stdout(Stdio::from(writer)).stderr(Stdio::piped());
        let running = Running::start(command);
        let ended = running.end();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args}");
    }
}

#[test]
fn a_volume_without_frames_can_be_looked_at() {
    let folder = crate::program::folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --size 16MiB");
    for command in ["info", "streams", "timeline", "blocks"] {
        json(&dir, &format!("{command} {{}} --json"));
        succeed(&dir, &format!("{command} {{}}"));
    }
    let ended = run(&dir, "export {} --stream 1 -o out.mkv");
    assert_eq!(ended.code, Some(10), "{ended:?}");
}

/// Whoever compares with other machines reads UTC, in every zone.
#[test]
fn times_are_printed_in_utc_on_request() {
    let recording = Recording::new();
    let dir = recording.dir();
    let print = |args: &str| {
        let ended = end(camring(&dir, args).env("TZ", "EET-2"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    };
    assert!(print("info {} --json").contains("+02:00"));
    let in_utc = print("info {} --json --utc");
    assert!(!in_utc.contains("+02:00"), "{in_utc}");
    assert!(
        in_utc.contains("2026-11-18T11:06:40.000000+00:00"),
        "{in_utc}"
    );
}

/// Packages install them, and both know every command.
#[test]
fn shells_and_man_know_every_command() {
    let folder = folder();
    let help = succeed(folder.path(), "--help");
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<_> = lines
        .map_while(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 12, "{commands:?}");
    let man = succeed(folder.path(), "man");
    assert!(man.contains(".TH camring 1"), "{man}");
    for shell in ["bash", "zsh", "fish"] {
        let script = succeed(folder.path(), &format!("completions {shell}"));
        for command in &commands {
            assert!(script.contains(command), "{shell}: {command}");
            let section = format!(".SH \"camring {command}\"");
            assert!(man.contains(&section), "{command}");
        }
    }
    assert!(!man.contains("demo-record"));
}
