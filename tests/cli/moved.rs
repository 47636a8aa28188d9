//! A camera that moved from one volume to another has one history, whoever asks for it.

use std::path::Path;

use camring::base::time::{Now, Timestamp};
use camring::frame::{Frame, FrameSink as _, Item, StreamId};
use camring::ingest::builtin;
use camring::writer::{Writer, WriterOptions};
use serde_json::Value;

use crate::clip::{Probe, has_tool};
use crate::program::{folder, json, succeed};
use crate::recording::START;

/// A camera with a volume for each of `spans`, in milliseconds: what it sends in that time is
/// recorded there, in one under number 1, in the next under number 2. Returns the camera's name, and
/// all that it sent.
fn record(folder: &Path, spans: &[(&str, i64, i64)]) -> (String, Vec<Frame>) {
    let end_ms = spans.iter().map(|(_, _, end)| *end).max().unwrap();
    let mut camera = builtin::cameras(1).unwrap().remove(0);
    let mut items = Vec::new();
    for ms in (0..end_ms).step_by(20) {
        let now = Now {
            boot_us: 1_000_000 + ms * 1_000,
            utc_us: START.0 + ms * 1_000,
        };
        items.extend(std::iter::from_fn(|| camera.due(now)));
    }
    for (number, (name, start, end)) in (1..).zip(spans) {
        let dir = folder.join(name);
        succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
        let writer = Writer::open(&dir, WriterOptions::default()).unwrap();
        let mut producer = writer.producer().unwrap();
        let from = at(*start);
        let is_here = |item: &&Item| match item {
            Item::Frame(frame) => from <= frame.time && frame.time < at(*end),
            _ => true,
        };
        for item in items.iter().filter(is_here) {
            producer.accept(StreamId(number), item.clone()).unwrap();
        }
        drop(producer);
        writer.close().unwrap();
    }
    let frames = items.into_iter().filter_map(|item| match item {
        Item::Frame(frame) => Some(frame),
        _ => None,
    });
    let dir = folder.join(spans[0].0);
    let streams = json(&dir, "streams {} --json");
    let name = streams["streams"][0]["name"].as_str().unwrap();
    (name.to_owned(), frames.collect())
}

fn at(ms: i64) -> Timestamp {
    START.plus_us(ms * 1_000)
}

/// State, cause and length of each stretch of the one stream.
fn stretches(timeline: &Value) -> Vec<(String, i64)> {
    let streams = timeline["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 1, "one history: {timeline}");
    let stretches = streams[0]["stretches"].as_array().unwrap().iter();
    let what = |s: &Value| s["cause"].as_str().unwrap_or("recorded").to_owned();
    stretches
        .map(|s| (what(s), s["len_us"].as_i64().unwrap()))
        .collect()
}

/// The payloads that `paths` hold, in order; from `ffprobe`.
fn payloads(paths: &[&Path]) -> Vec<bytes::Bytes> {
    let mut all = Vec::new();
    for path in paths {
        let probe = Probe::of(path);
        assert_eq!(probe.complaints, "");
        all.extend(probe.of_stream(0).into_iter().map(|packet| packet.payload));
    }
    all
}

#[test]
fn the_time_between_two_volumes_is_a_gap() {
    const NAME: &str = "the_time_between_two_volumes_is_a_gap";
    let folder = folder();
    let (name, frames) = record(folder.path(), &[("old", 0, 4_000), ("new", 10_000, 14_000)]);
    let timeline = json(folder.path(), "timeline {}/new {}/old --json");
    let first = frames.iter().rfind(|frame| frame.time < at(4_000)).unwrap();
    let next = frames
        .iter()
        .find(|frame| frame.time >= at(10_000))
        .unwrap();
    let stretches = stretches(&timeline);
    let states: Vec<_> = stretches.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states, ["recorded", "restart", "recorded"]);
    assert_eq!(stretches[1].1, next.time.us_since(first.time));

    if !has_tool(NAME, "ffprobe") {
        return;
    }
    let path = folder.path().join("moved.mkv");
    let report = export(folder.path(), &name, &path);
    let expected = frames
        .iter()
        .filter(|frame| frame.time < at(4_000) || frame.time >= at(10_000));
    let expected: Vec<_> = expected.map(|frame| frame.payload.clone()).collect();
    assert_eq!(payloads(&[&path]), expected);
    assert_eq!(report["gaps"]["restart"]["count"], 1);
    assert_eq!(report["gaps"]["restart"]["len_us"], stretches[1].1);
}

/// For some seconds both recorders had the camera.
#[test]
fn what_two_volumes_have_is_there_once() {
    const NAME: &str = "what_two_volumes_have_is_there_once";
    let folder = folder();
    let (name, frames) = record(folder.path(), &[("old", 0, 7_300), ("new", 4_000, 12_000)]);
    let timeline = json(folder.path(), "timeline {}/old {}/new --json");
    let last = frames.last().unwrap();
    let expected = [("recorded".to_owned(), last.time.us_since(frames[0].time))];
    assert_eq!(stretches(&timeline), expected);

    if !has_tool(NAME, "ffprobe") {
        return;
    }
    let path = folder.path().join("moved.mkv");
    let report = export(folder.path(), &name, &path);
    let expected: Vec<_> = frames.iter().map(|frame| frame.payload.clone()).collect();
    assert_eq!(payloads(&[&path]), expected, "each once and in order");
    assert_eq!(report["gaps"], serde_json::json!({}));
}

/// Exports all of the history from both volumes.
fn export(folder: &Path, name: &str, path: &Path) -> Value {
    let mut command = crate::program::camring(folder, "export {}/new {}/old --json");
    let ended = crate::program::end(command.args(["--stream", name]).arg("-o").arg(path));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}
