//! Lesson 4, Matroska export: a stretch of a recording as a file, and a file that is started and
//! stopped while frames flow. The page to it is `4_export.md`.
#![expect(clippy::print_stdout, reason = "a lesson shows what it does")]

mod recording;

use std::path::{Path, PathBuf};

use camring::base::time::TimeRange;
use camring::export::{MatroskaFiles, MatroskaRecorder, NumberedFiles, RawSink};
use camring::frame::filter::Fork;
use camring::frame::{FrameSink, StreamId};
use camring::reader::Query;
use camring::{Reader, Result, Volume};
use recording::{Place, Recording, START, at};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let place = Place::new()?;
    let dir = place.join("yard");
    let mut recording = Recording::begin(dir.clone(), 3, START)?;
    recording.run(20)?;
    recording.close()?;

    let mut reader = Reader::open(&Volume::open(&dir)?)?;
    export(&mut reader, StreamId(3), place.join("door.mkv"))?;
    record_at_a_button(&mut reader, StreamId(3), &place.join("button.mkv"))?;
    raw(&mut reader, StreamId(1), &place.join("gate.h264"))?;
    Ok(())
}

/// Pictures and sound from second 5 to second 10.
fn export(reader: &mut Reader, stream: StreamId, path: PathBuf) -> Result<()> {
    let mut files = MatroskaFiles::begin(NumberedFiles::new(path))?;
    let mut frames = reader.read(Query::time([stream], TimeRange::new(at(5), at(10))))?;
    for recorded in &mut frames {
        files.accept(recorded.stream, recorded.item)?;
    }
    frames.finish()?;
    show(&files.finish()?);
    Ok(())
}

/// Items flow through a fork; one of its branches is a recorder with a button.
fn record_at_a_button(reader: &mut Reader, stream: StreamId, path: &Path) -> Result<()> {
    let mut fork = Fork::new();
    let recorder = MatroskaRecorder::new(stream);
    let branch = fork.connect(recorder.clone());
    let frames = reader.read(Query::time([stream], TimeRange::ALL))?;
    for (number, recorded) in frames.enumerate() {
        if number == 100 {
            recorder.start(NumberedFiles::new(path))?;
        }
        if number == 500 {
            show(&recorder.stop()?);
        }
        fork.accept(recorded.stream, recorded.item)?;
    }
    println!("the branch took {} frames", branch.status().taken_count);
    Ok(())
}

/// The pictures alone, as Annex B.
fn raw(reader: &mut Reader, stream: StreamId, path: &Path) -> Result<()> {
    let mut sink = RawSink::new(0, Vec::new());
    let mut frames = reader.read(Query::time([stream], TimeRange::new(at(0), at(4))))?;
    for recorded in &mut frames {
        sink.accept(recorded.stream, recorded.item)?;
    }
    frames.finish()?;
    let (bytes, summary) = sink.finish();
    let written = std::fs::write(path, &bytes);
    written.map_err(|e| camring::Error::io("write the pictures", e))?;
    println!(
        "{}: {} pictures, {} bytes",
        name(path),
        summary.frame_count,
        summary.len
    );
    Ok(())
}

fn show(files: &NumberedFiles) {
    for (path, summary) in files.done() {
        println!(
            "{}: {} frames, {} ms",
            name(path),
            summary.frame_count,
            summary.end.us_since(summary.start) / 1000
        );
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
