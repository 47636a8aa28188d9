//! Lesson 3, finding: from a time to blocks, what is in a block, and the picture of a moment. The
//! page to it is `3_finding.md`.
#![expect(clippy::print_stdout, reason = "a lesson shows what it does")]

mod recording;

use camring::base::time::{TimeRange, Timestamp};
use camring::frame::filter::{Discard, Inspect};
use camring::frame::{FrameSink, Item, StreamId};
use camring::reader::Query;
use camring::{Reader, Result, Volume};
use recording::{Place, Recording, START, at, shown};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let place = Place::new()?;
    let dir = place.join("yard");
    let mut recording = Recording::begin(dir.clone(), 2, START)?;
    recording.run(60)?;
    recording.close()?;

    let volume = Volume::open(&dir)?;
    find(&volume, at(30));
    let mut reader = Reader::open(&volume)?;
    look_into(&volume, &mut reader, at(30))?;
    picture_of(&mut reader, StreamId(1), at(30).plus_us(500_000))?;
    Ok(())
}

fn find(volume: &Volume, time: Timestamp) {
    if let Some(all) = volume.time_range() {
        println!("recorded: {} to {}", shown(all.start), shown(all.end));
    }
    for row in volume.blocks_in(TimeRange::new(time, time)) {
        println!(
            "{} is in block {}: {} to {}",
            shown(time),
            row.sequence,
            shown(row.times.start),
            shown(row.times.end)
        );
    }
    let near = volume.blocks_near(time, 1);
    println!("with its neighbours: {} blocks", near.len());
    let later = volume.blocks_in(TimeRange::new(at(3600), at(7200)));
    println!("an hour later: {} blocks", later.len());
}

/// Prints a line for each item of the block that holds `time`.
fn look_into(volume: &Volume, reader: &mut Reader, time: Timestamp) -> Result<()> {
    let rows = volume.blocks_in(TimeRange::new(time, time));
    let sequences: Vec<u64> = rows.iter().take(1).map(|row| row.sequence).collect();
    let mut lines = Inspect::new(Vec::new(), Discard);
    let mut frames = reader.read(Query::blocks(sequences))?;
    for recorded in &mut frames {
        lines.accept(recorded.stream, recorded.item)?;
    }
    frames.finish()?;
    let (lines, _) = lines.into_parts();
    let lines = String::from_utf8_lossy(&lines);
    lines.lines().take(5).for_each(|line| println!("{line}"));
    println!("... and {} more", lines.lines().count().saturating_sub(5));
    Ok(())
}

/// What a decoder needs for the picture that stands at `time`, and nothing else.
fn picture_of(reader: &mut Reader, stream: StreamId, time: Timestamp) -> Result<()> {
    let moment = TimeRange::new(time, time);
    let mut frames = reader.read(Query::shown([stream], moment))?;
    let mut needed = Vec::new();
    for recorded in &mut frames {
        if let Item::Frame(frame) = recorded.item {
            needed.push(frame);
        }
    }
    frames.finish()?;
    if let (Some(first), Some(last)) = (needed.first(), needed.last()) {
        println!(
            "the picture at {}: {} frames, from the key frame at {} to {}",
            shown(time),
            needed.len(),
            shown(first.time),
            shown(last.time)
        );
    }
    Ok(())
}
