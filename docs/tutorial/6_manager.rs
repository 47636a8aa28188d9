//! Lesson 6, the manager: many streams of several volumes in step, mapped and unmapped while they
//! play, up to the live edge of a recording. The page to it is `6_manager.md`.
#![expect(clippy::print_stdout, reason = "a lesson shows what it does")]

mod recording;

use std::sync::mpsc;

use camring::frame::filter::{Count, Counts, Discard};
use camring::frame::{Item, StreamId};
use camring::manager::{Command, Event, ManagerOptions, SourceId, Speed, StreamKey};
use camring::{Manager, Volume};
use recording::{Place, Recording, START, at, shown};

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let place = Place::new()?;
    // The yard was recorded before; the house is being recorded now, and began 10 s later.
    let mut yard = Recording::begin(place.join("yard"), 2, START)?;
    yard.run(20)?;
    yard.close()?;
    let mut house = Recording::begin(place.join("house"), 1, at(10))?;
    house.run(20)?;

    let (tell, events) = mpsc::channel();
    let options = ManagerOptions {
        on_event: Some(Box::new(move |event| drop(tell.send(event.clone())))),
        ..ManagerOptions::default()
    };
    let manager = Manager::start(options)?;
    let volumes = [
        manager.add_volume(Volume::open(place.join("yard"))?)?,
        manager.add_volume(house.writer.volume().clone())?,
    ];
    show_ranges(&events, volumes.len())?;
    let counts = count(&manager, volumes)?;
    play(&manager, volumes)?;
    manager.unmap(StreamId(12))?;
    follow(&manager, volumes, house)?;
    // It waits for the sinks: they have taken all that was given to them then.
    drop(manager);
    println!(
        "slot 12 counted {} frames",
        counts.of(StreamId(12)).frame_count
    );
    Ok(())
}

/// What each volume holds, and all of them together.
fn show_ranges(events: &mpsc::Receiver<Event>, count: usize) -> Outcome {
    let mut seen = 0;
    while seen < count {
        let Event::NewBlock {
            source, range, all, ..
        } = events.recv()?
        else {
            continue;
        };
        if let (Some(range), Some(all)) = (range, all) {
            let (start, end) = (shown(range.start), shown(range.end));
            println!("volume {source}: {start} to {end}");
            seen += 1;
            if seen == count {
                println!("all: {} to {}", shown(all.start), shown(all.end));
            }
        }
    }
    Ok(())
}

/// A sink gets a thread of its own: this one counts the second camera of the yard.
fn count(manager: &Manager, [yard, _]: [SourceId; 2]) -> camring::Result<Counts> {
    let sink = Count::new(Discard);
    let counts = sink.counts();
    manager.map_sink(&[key(yard, 2)], StreamId(12), sink)?;
    Ok(counts)
}

/// Three streams on one clock, at 64 times the speed.
fn play(manager: &Manager, [yard, house]: [SourceId; 2]) -> Outcome {
    let at_gate = manager.map(&[key(yard, 1)], StreamId(11))?;
    let in_house = manager.map(&[key(house, 1)], StreamId(21))?;
    manager.command(Command::SetSpeed(Speed::FASTEST))?;
    manager.command(Command::Seek(START))?;
    manager.command(Command::Play)?;
    for (frames, last) in [(at_gate, at(19)), (in_house, at(29))] {
        let mut frame_count = 0;
        while let Some((slot, item)) = frames.recv() {
            let Item::Frame(frame) = item else { continue };
            frame_count += 1;
            if frame.time == last {
                println!("slot {slot}: {frame_count} frames, up to {}", shown(last));
                manager.unmap(slot)?;
            }
        }
    }
    Ok(())
}

/// The live edge: frames come as soon as they are on stable storage.
fn follow(manager: &Manager, [_, house]: [SourceId; 2], mut recording: Recording) -> Outcome {
    let frames = manager.map(&[key(house, 1)], StreamId(31))?;
    manager.command(Command::Live { uncommitted: false })?;
    recording.run(2)?;
    while let Some((_, item)) = frames.recv() {
        if let Item::Frame(frame) = item
            && frame.time == at(31)
        {
            println!("live: {}", shown(frame.time));
            break;
        }
    }
    manager.command(Command::Stop)?;
    recording.close()?;
    Ok(())
}

fn key(source: SourceId, stream: u64) -> StreamKey {
    let stream = StreamId(stream);
    StreamKey { source, stream }
}
