//! A disk that is pulled while it is recorded: its volume fails and says so, the others lose
//! nothing, and what was committed is there when the disk is back.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use camring::Writer;
use camring::frame::StreamId;
use camring::volume::Volume;
use camring::writer::{Event, Producer, WriterOptions};

use crate::disk::Disk;
use crate::program::{folder, run};
use crate::recording::{frame, numbers_of, volume};
use crate::skip::skip;
use crate::yank::Yank;
use crate::{camera, make};

const CAMERA: StreamId = StreamId(1);
/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_mins(1);

fn open(dir: &Path) -> (Writer, Producer, mpsc::Receiver<Event>) {
    let (tell, told) = mpsc::channel();
    let on_event = Box::new(move |event: &Event| drop(tell.send(event.clone())));
    let options = WriterOptions {
        commit_us: 50_000,
        on_event: Some(on_event),
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir, options).unwrap();
    let mut producer = writer.producer().unwrap();
    producer.add_stream(CAMERA, camera::setup("door")).unwrap();
    (writer, producer, told)
}

/// Pushes a frame; a volume that has failed takes none.
fn push(producer: &mut Producer, number: u64) {
    let _ = producer.push(CAMERA, frame(CAMERA.0, number));
}

#[test]
fn a_disk_that_is_pulled_fails_its_volume_and_no_other() {
    const NAME: &str = "a_disk_that_is_pulled_fails_its_volume_and_no_other";
    let yank = Disk::new(512).and_then(|disk| {
        let folder = folder();
        let dir = folder.path().join("volume");
        make(&dir, &disk, "--block-size 1MiB");
        Ok((Yank::new(disk)?, folder, dir))
    });
    let (mut yank, _folder, dir) = match yank {
        Ok(made) => made,
        Err(reason) => return skip(NAME, reason),
    };
    let other_dir = volume(32, 1 << 20);
    let (writer, mut producer, told) = open(&dir);
    let (other, mut other_producer, _) = open(other_dir.path());
    for number in 0..200 {
        push(&mut producer, number);
        push(&mut other_producer, number);
    }
    writer.commit().unwrap();
    yank.pull();
    let start = Instant::now();
    let mut number = 200;
    let failed = loop {
        push(&mut producer, number);
        push(&mut other_producer, number);
        number += 1;
        // The pace of cameras: an event that does not come is waited for that long.
        match told.recv_timeout(Duration::from_millis(4)) {
            Ok(Event::Failed { message, .. }) => break message,
            _ => assert!(start.elapsed() < PATIENCE, "nobody has noticed"),
        }
    };
    eprintln!("noticed after {:?}: {failed}", start.elapsed());
    assert!(writer.commit().is_err());
    other.commit().unwrap();
    drop((producer, other_producer));
    assert!(writer.close().is_err());
    other.close().unwrap();
    let kept = Volume::open(other_dir.path()).unwrap();
    assert_eq!(numbers_of(&kept, 1), (0..number).collect::<Vec<_>>());
    drop(kept);

    // While it is gone, that is what is said; when it is back, under whatever name, it goes on.
    yank.forget();
    let ended = run(&dir, "info {}");
    assert_eq!(ended.code, Some(10), "{ended:?}");
    assert!(ended.stderr.contains(&yank.disk().partuuid), "{ended:?}");
    yank.put_in().unwrap();
    let next = number.next_multiple_of(25);
    let (writer, mut producer, _) = open(&dir);
    for number in next..next + 50 {
        push(&mut producer, number);
    }
    drop(producer);
    writer.close().unwrap();
    let numbers = numbers_of(&Volume::open(&dir).unwrap(), 1);
    let committed: Vec<_> = (0..200).chain(next..next + 50).collect();
    let lost = committed.iter().find(|number| !numbers.contains(number));
    assert_eq!(lost, None, "{numbers:?}");
    yank.pull();
}
