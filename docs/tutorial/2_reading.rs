//! Lesson 2, reading: which blocks there are, reading some of them in any order, and reading one
//! stream by itself. The page to it is `2_reading.md`.
#![expect(clippy::print_stdout, reason = "a lesson shows what it does")]

mod recording;

use std::collections::BTreeMap;

use camring::base::time::TimeRange;
use camring::frame::{Item, Recorded, StreamId};
use camring::reader::Query;
use camring::{Reader, Result, Volume};
use recording::{Place, Recording, START, at, shown};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let place = Place::new()?;
    let dir = place.join("yard");
    let mut recording = Recording::begin(dir.clone(), 4, START)?;
    recording.run(20)?;
    recording.close()?;

    let volume = Volume::open(&dir)?;
    let sequences: Vec<u64> = volume.table().blocks().map(|row| row.sequence).collect();
    println!("{} blocks", sequences.len());

    let mut reader = Reader::open(&volume)?;
    read_blocks(&mut reader, &sequences)?;
    read_one_stream(&mut reader, StreamId(3))?;
    Ok(())
}

/// Reads the newest block, and then the oldest.
fn read_blocks(reader: &mut Reader, sequences: &[u64]) -> Result<()> {
    let (Some(oldest), Some(newest)) = (sequences.first(), sequences.last()) else {
        return Ok(());
    };
    let mut frames = reader.read(Query::blocks([*newest, *oldest]))?;
    let mut counts: Vec<(u64, BTreeMap<StreamId, u64>)> = Vec::new();
    for recorded in &mut frames {
        if counts.last().map(|block| block.0) != Some(recorded.sequence) {
            counts.push((recorded.sequence, BTreeMap::new()));
        }
        if let (Item::Frame(_), Some((_, streams))) = (&recorded.item, counts.last_mut()) {
            *streams.entry(recorded.stream).or_default() += 1;
        }
    }
    for (sequence, streams) in counts {
        let total: u64 = streams.values().sum();
        println!(
            "block {sequence}: {total} frames of {} streams",
            streams.len()
        );
    }
    println!("{} blocks were not there", frames.missing_count());
    frames.finish()
}

/// Reads two seconds of one stream; its neighbours stay on the disk.
fn read_one_stream(reader: &mut Reader, stream: StreamId) -> Result<()> {
    let range = TimeRange::new(at(5), at(7));
    let mut frames = reader.read(Query::time([stream], range))?;
    for Recorded { stream, item, .. } in &mut frames {
        match item {
            Item::Setup(setup) => println!("stream {stream} is {}", setup.name),
            Item::Frame(frame) if frame.key && frame.track == 0 => {
                let (time, len) = (shown(frame.time), frame.payload.len());
                println!("key frame at {time}, {len} bytes");
            }
            Item::Frame(_) | Item::Preroll(_) => {}
            Item::Gap(gap) => println!("nothing from {}: {}", shown(gap.start), gap.cause),
        }
    }
    frames.finish()
}
