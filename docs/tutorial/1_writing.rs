//! Lesson 1, writing: a ring is made, a camera is recorded into it, and what happens meanwhile is
//! told. The page to it is `1_writing.md`.
#![expect(clippy::print_stdout, reason = "a lesson shows what it does")]

mod recording;

use std::path::Path;
use std::sync::{Arc, mpsc};

use camring::base::time::{Clock, ManualClock, Now, TimeRange, Timestamp};
use camring::frame::{Item, StreamId};
use camring::ingest::builtin;
use camring::volume::{CreateOptions, VolumeSize};
use camring::writer::{Event, Producer, WriterOptions};
use camring::{Result, Volume, Writer};
use recording::{Place, START, at, shown};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let place = Place::new()?;
    let dir = place.join("yard");
    create(&dir)?;
    record(&dir, START, 150)?;
    record(&dir, at(165), 5)?;
    show_timeline(&dir)?;
    Ok(())
}

fn create(dir: &Path) -> Result<()> {
    let options = CreateOptions {
        size: VolumeSize::Blocks(16),
        block_len: Some(128 << 10),
        replace: true,
    };
    let volume = Volume::create(dir, &options, &mut |_done, _all| {})?;
    let geometry = volume.geometry();
    println!(
        "a ring of {} blocks of {} bytes",
        geometry.slot_count(),
        geometry.block_len()
    );
    Ok(())
}

/// Records the first built-in camera for some seconds from `start` on.
fn record(dir: &Path, start: Timestamp, seconds: u32) -> Result<()> {
    // The clock of a lesson is moved by hand, so that minutes pass at once.
    let clock = ManualClock::new(Now {
        boot_us: 0,
        utc_us: start.0,
    });
    let (tell, events) = mpsc::channel();
    let options = WriterOptions {
        clock: Arc::new(clock.clone()),
        // It runs on a thread of the writer. Nobody listens any more when sending fails.
        on_event: Some(Box::new(move |event| drop(tell.send(event.clone())))),
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir, options)?;
    let mut producer = writer.producer()?;
    // The camera of a lesson can wait; a real one cannot, and frames are shed instead.
    producer.set_waiting(true);

    let mut frame_count = 0;
    for camera in &mut builtin::cameras(1)? {
        for _ in 0..seconds {
            while let Some(item) = camera.due(clock.now()) {
                frame_count += push(&mut producer, camera.stream(), item)?;
            }
            clock.advance_us(1_000_000);
            writer.commit()?;
        }
    }
    let shed_count = writer.status().shed_count;
    println!("{frame_count} frames are on stable storage, {shed_count} were shed");
    writer.close()?;
    for event in events {
        show(&event);
    }
    Ok(())
}

/// Hands an item of a camera to the recording; says how many frames that were.
fn push(producer: &mut Producer, stream: StreamId, item: Item) -> Result<u32> {
    match item {
        Item::Setup(setup) => producer.add_stream(stream, (*setup).clone()).map(|()| 0),
        Item::Frame(frame) | Item::Preroll(frame) => producer.push(stream, frame).map(|()| 1),
        Item::Gap(_) => Ok(0),
    }
}

fn show(event: &Event) {
    if let Event::Sealed {
        sequence,
        block_times,
        ..
    } = event
    {
        let (start, end) = (shown(block_times.start), shown(block_times.end));
        println!("block {sequence} is sealed: {start} to {end}");
    }
}

fn show_timeline(dir: &Path) -> Result<()> {
    let volume = Volume::open(dir)?;
    for stream in volume.streams() {
        println!("stream {}, {}:", stream.id, stream.setup.name);
        for stretch in volume.timeline(stream.id, TimeRange::ALL) {
            let what = match stretch.gap {
                None => "recorded".to_owned(),
                Some(cause) => format!("missing: {cause}"),
            };
            let range = stretch.range;
            println!("  {} to {} {what}", shown(range.start), shown(range.end));
        }
    }
    Ok(())
}
