//! Exports of one camera, and what other programs say of them: ffprobe, mkvmerge, ffmpeg.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use camring::base::time::TimeRange;
use camring::export::{MatroskaSink, Summary};
use camring::frame::{FrameSink, Item, StreamId};
use camring::reader::{Query, Reader};
use camring::volume::Volume;
use serde_json::Value;

use crate::skip::skip;
use crate::stored::StoredFrame;

/// Matroska counts in milliseconds, so a time may be off by half of one.
const TOLERANCE_US: i64 = 500;

/// One exported file.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) path: PathBuf,
    pub(crate) summary: Summary,
}

/// Whether the programs that look at files are there; says so on behalf of `test` if not.
pub(crate) fn can_look(test: &str) -> bool {
    let is_there = |tool: &&str| {
        let version = if tool.starts_with("ff") {
            "-version"
        } else {
            "--version"
        };
        Command::new(tool).arg(version).output().is_ok()
    };
    let are_there = ["ffprobe", "ffmpeg", "mkvmerge"].iter().all(is_there);
    if !are_there {
        skip(test, "ffmpeg or mkvtoolnix is not installed");
    }
    are_there
}

/// Whether a camera's pictures come at even distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Even,
    Varied,
}

/// Exports all of `stream` into `dir`, into as many files as it needs.
pub(crate) fn export(volume: &Volume, stream: u64, dir: &Path) -> Vec<Export> {
    let mut exports = Vec::new();
    let mut open: Option<(PathBuf, MatroskaSink<File>)> = None;
    let mut setup = None;
    let mut reader = Reader::open(volume).unwrap();
    let query = Query::time([StreamId(stream)], TimeRange::ALL);
    for recorded in reader.read(query).unwrap() {
        if let Some((path, sink)) = open.take_if(|(_, sink)| sink.needs_new_file(&recorded.item)) {
            exports.push(finish(path, sink));
        }
        if let Item::Setup(new) = &recorded.item {
            setup = Some(new.clone());
        }
        let (_, sink) = open.get_or_insert_with(|| {
            let path = dir.join(format!("{stream}-{}.mkv", exports.len()));
            let mut sink = MatroskaSink::new(File::create(&path).unwrap());
            if let Some(setup) = &setup {
                sink.accept(StreamId(stream), Item::Setup(setup.clone()))
                    .unwrap();
            }
            (path, sink)
        });
        sink.accept(StreamId(stream), recorded.item).unwrap();
    }
    exports.extend(open.map(|(path, sink)| finish(path, sink)));
    exports
}

fn finish(path: PathBuf, sink: MatroskaSink<File>) -> Export {
    let (_, summary) = sink.finish().unwrap();
    Export { path, summary }
}

impl Export {
    /// Checks that other programs find exactly `frames` in the file, each at its time, and nothing
    /// to complain of.
    pub(crate) fn check(&self, frames: &[StoredFrame], pace: Pace) {
        let packets = packets(&self.path);
        assert_eq!(
            packets.len(),
            frames.len(),
            "packets of {}",
            self.path.display()
        );
        for track in 0..16 {
            let packets = packets.iter().filter(|p| p.track == u64::from(track));
            let frames = frames.iter().filter(|frame| frame.track == track);
            for (number, (packet, frame)) in packets.zip(frames).enumerate() {
                let what = format!("frame {number} of track {track} in {}", self.path.display());
                assert_eq!((packet.len, packet.sum), (frame.len, frame.sum), "{what}");
                assert_eq!(packet.key, frame.key, "{what}");
                let late_us = packet.time_us - frame.time.us_since(self.summary.start);
                assert!(late_us.abs() <= TOLERANCE_US, "{what}: {late_us} us late");
            }
        }
        check_mkvmerge(&self.path);
        check_decode(&self.path, pace);
    }
}

/// One packet, as ffprobe reports it.
struct Packet {
    track: u64,
    time_us: i64,
    key: bool,
    len: usize,
    sum: u32,
}

fn packets(path: &Path) -> Vec<Packet> {
    let (json, complaints) = run(Command::new("ffprobe")
        .args(["-v", "warning", "-of", "json", "-show_packets"])
        .args(["-show_data_hash", "CRC32"])
        .arg(path));
    assert_eq!(complaints, "", "ffprobe of {}", path.display());
    let json: Value = serde_json::from_slice(&json).unwrap();
    let packets = json["packets"].as_array().unwrap();
    packets.iter().map(packet).collect()
}

fn packet(value: &Value) -> Packet {
    let text = |key: &str| value[key].as_str().unwrap();
    let sum = text("data_hash").strip_prefix("CRC32:").unwrap();
    Packet {
        track: value["stream_index"].as_u64().unwrap(),
        time_us: microseconds(text("pts_time")),
        key: text("flags").starts_with('K'),
        len: text("size").parse().unwrap(),
        sum: u32::from_str_radix(sum, 16).unwrap(),
    }
}

/// The value of decimal seconds with six places, such as `12.345000`.
fn microseconds(seconds: &str) -> i64 {
    let (whole, fraction) = seconds.split_once('.').unwrap();
    assert_eq!(fraction.len(), 6, "{seconds}");
    format!("{whole}{fraction}").parse().unwrap()
}

fn check_mkvmerge(path: &Path) {
    let (json, _) = run(Command::new("mkvmerge").arg("-J").arg(path));
    let json: Value = serde_json::from_slice(&json).unwrap();
    let nothing = Value::Array(Vec::new());
    assert_eq!(json["errors"], nothing, "mkvmerge -J {}", path.display());
    assert_eq!(json["warnings"], nothing, "mkvmerge -J {}", path.display());
    assert_eq!(json["container"]["supported"], true);
}

/// ffmpeg decodes every track from end to end without a word. By itself it would put pictures on the
/// grid of a frame rate that it guesses, and complain where two meet.
fn check_decode(path: &Path, pace: Pace) {
    let as_they_are = ["-fps_mode", "passthrough", "-enc_time_base", "-1"];
    let options: &[&str] = match pace {
        Pace::Even => &[],
        Pace::Varied => &as_they_are,
    };
    let (_, complaints) = run(Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(options)
        .args(["-f", "null", "-"]));
    assert_eq!(complaints, "", "ffmpeg decodes {}", path.display());
}

/// Runs a program; returns what it printed to stdout and to stderr.
fn run(command: &mut Command) -> (Vec<u8>, String) {
    let output = command.output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {complaints}");
    (output.stdout, complaints)
}
