//! Lesson 5, playing: seeking, playing, pausing and stepping through one stream, with the cache and
//! the callbacks. The page to it is `5_playing.md`.
#![expect(clippy::print_stdout, reason = "a lesson shows what it does")]

mod recording;

use std::sync::mpsc;

use camring::frame::filter::Receiver;
use camring::frame::{Item, StreamId};
use camring::manager::{Command, Event, Limits, ManagerOptions, Speed, State, StreamKey};
use camring::{Manager, Volume};
use recording::{Place, Recording, START, at, shown};

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let place = Place::new()?;
    let dir = place.join("yard");
    let mut recording = Recording::begin(dir.clone(), 2, START)?;
    recording.run(20)?;
    recording.close()?;

    let (tell, events) = mpsc::channel();
    let options = ManagerOptions {
        limits: Limits {
            cache_len: 16 << 20,
            period_us: 100_000,
            ..Limits::default()
        },
        // It runs on the manager's thread. Nobody listens any more when sending fails.
        on_event: Some(Box::new(move |event| drop(tell.send(event.clone())))),
        ..ManagerOptions::default()
    };
    let manager = Manager::start(options)?;
    let source = manager.add_volume(Volume::open(&dir)?)?;
    let stream = StreamId(1);
    let frames = manager.map(&[StreamKey { source, stream }], StreamId(1))?;

    seek(&manager, &events, &frames)?;
    step(&manager, &events, &frames)?;
    play(&manager, &events, &frames)
}

/// Goes to a moment, and stands there.
fn seek(manager: &Manager, events: &mpsc::Receiver<Event>, frames: &Receiver) -> Outcome {
    let target = at(12).plus_us(340_000);
    manager.command(Command::Seek(target))?;
    wait(events, |event| *event == Event::Time(target))?;
    let (mut decoded, mut seen) = (0, Vec::new());
    while let Ok((_, item)) = frames.try_recv() {
        match item {
            Item::Preroll(_) => decoded += 1,
            Item::Frame(frame) => seen.push(shown(frame.time)),
            Item::Setup(_) | Item::Gap(_) => {}
        }
    }
    println!("sought {}", shown(target));
    println!("{decoded} frames to decode only, then to be seen: {seen:?}");
    let cached = wait(
        events,
        |event| matches!(event, Event::Cached { range: Some(range), .. } if range.contains(target)),
    )?;
    if let Event::Cached { range: Some(_), .. } = cached {
        println!("the cache holds {} and what is around it", shown(target));
    }
    Ok(())
}

/// One picture on, and one back.
fn step(manager: &Manager, events: &mpsc::Receiver<Event>, frames: &Receiver) -> Outcome {
    for count in [1, -1] {
        manager.command(Command::Step(count))?;
        let told = wait(events, |event| matches!(event, Event::Time(_)))?;
        if let Event::Time(time) = told {
            println!("a step of {count}: {}", shown(time));
        }
    }
    while frames.try_recv().is_ok() {}
    Ok(())
}

/// At 64 times the speed to the end of the recording.
fn play(manager: &Manager, events: &mpsc::Receiver<Event>, frames: &Receiver) -> Outcome {
    manager.command(Command::SetSpeed(Speed::FASTEST))?;
    manager.command(Command::Play)?;
    wait(events, |event| *event == Event::State(State::Playing))?;
    println!("playing at 64 times the speed");
    let mut told_count = 0;
    wait(events, |event| {
        told_count += u32::from(matches!(event, Event::Time(_)));
        *event == Event::End
    })?;
    let mut frame_count = 0;
    while let Ok((_, item)) = frames.try_recv() {
        frame_count += u32::from(matches!(item, Item::Frame(_)));
    }
    println!("the end: {frame_count} frames were played");
    println!("the time was told on the way: {}", told_count > 0);
    println!("lost in the queue: {}", frames.lost_count());
    Ok(())
}

/// The next event that is wanted. The manager tells all that happens, in its order.
fn wait(
    events: &mpsc::Receiver<Event>,
    mut is_wanted: impl FnMut(&Event) -> bool,
) -> std::result::Result<Event, mpsc::RecvError> {
    loop {
        let event = events.recv()?;
        if is_wanted(&event) {
            return Ok(event);
        }
    }
}
