//! What a listener is told of a recording: commits, seals, faults and the end of it, each with the
//! block and with the times of the volume and of the streams that it is about.
//!
//! What must be told follows from the numbers that were pushed.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a panic is how a test fails, and what a listener does here"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/recording.rs"]
mod recording;

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use camring::base::geometry::{Geometry, Position, VolumeId};
use camring::base::time::{ManualClock, Now, TimeRange, Timestamp};
use camring::frame::StreamId;
use camring::io::sim::{Fault, FaultRule, FaultTarget, Image, SimDisk, SimOptions};
use camring::volume::Volume;
use camring::volume::create::write_first_headers;
use camring::volume::locate::Located;
use camring::volume::medium::SimMedium;
use camring::writer::{Event, ManualWriter, Producer, StreamSpan, Writer, WriterOptions};
use recording::{START_US, frame, numbers_of, time_of, volume};

const CAMERA: StreamId = StreamId(7);
const OTHER: StreamId = StreamId(8);
/// So long that nothing but a forced commit or a seal flushes while a test runs.
const NEVER_US: u64 = 60_000_000;
const EIO: i32 = 5;

fn add_streams(producer: &mut Producer) {
    for stream in [CAMERA, OTHER] {
        let setup = camera::setup(&format!("camera {stream}"));
        producer.add_stream(stream, setup).unwrap();
    }
}

/// Frames of the camera; the other one sends half as much.
fn push(producer: &mut Producer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        producer.push(CAMERA, frame(CAMERA.0, number)).unwrap();
        if number % 2 == 0 {
            producer.push(OTHER, frame(OTHER.0, number / 2)).unwrap();
        }
    }
}

/// Between two frames by their numbers.
fn span(first: u64, last: u64) -> TimeRange {
    TimeRange::new(time_of(first), time_of(last))
}

fn about(stream: StreamId, span: TimeRange, stored: TimeRange) -> StreamSpan {
    StreamSpan {
        stream,
        span,
        stored: Some(stored),
    }
}

/// Commits with what they committed of each stream, seals with what the block holds of each, in
/// order, up to the very end.
#[test]
fn events_tell_what_was_committed_and_sealed() {
    let dir = volume(16, 512 << 10);
    let (tell, told) = mpsc::channel();
    let on_event = Box::new(move |event: &Event| tell.send(event.clone()).unwrap());
    let options = WriterOptions {
        commit_us: NEVER_US,
        on_event: Some(on_event),
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir.path(), options).unwrap();
    let id = writer.volume().id();
    let mut producer = writer.producer().unwrap();
    add_streams(&mut producer);
    push(&mut producer, 0..51);
    let position = writer.commit().unwrap();
    let (camera, other) = (span(0, 50), span(0, 25));
    let first = Event::Committed {
        volume: id,
        position,
        streams: vec![about(CAMERA, camera, camera), about(OTHER, other, other)],
        times: Some(camera),
    };
    assert_eq!(told.recv().unwrap(), first);

    push(&mut producer, 51..400);
    drop(producer);
    let last = writer.close().unwrap();
    let mut watch = Watch::new(id, position);
    for event in told {
        watch.take(&event);
    }
    assert_eq!(watch.position, last);
    assert_eq!(watch.end, time_of(399));
    let volume = Volume::open(dir.path()).unwrap();
    let rows = volume.table().blocks();
    let rows: Vec<_> = rows.map(|row| (row.sequence, row.times)).collect();
    let expected = "each block is sealed once, and as it is stored";
    assert_eq!(watch.seals, rows, "{expected}");
    // Together the blocks hold all of each stream.
    assert_eq!(watch.blocks[&CAMERA], span(0, 399));
    assert_eq!(watch.blocks[&OTHER], span(0, 199));
}

/// What a listener makes of the events behind a first commit.
struct Watch {
    id: VolumeId,
    position: Position,
    /// The end of what was committed of the camera.
    end: Timestamp,
    seals: Vec<(u64, TimeRange)>,
    /// What the sealed blocks hold of each stream.
    blocks: BTreeMap<StreamId, TimeRange>,
}

impl Watch {
    fn new(id: VolumeId, position: Position) -> Self {
        Self {
            id,
            position,
            end: time_of(50),
            seals: Vec::new(),
            blocks: BTreeMap::new(),
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Committed {
                volume,
                position,
                streams,
                ..
            } => {
                assert_eq!(*volume, self.id);
                assert!(self.position < *position);
                self.position = *position;
                let camera = streams.iter().find(|span| span.stream == CAMERA);
                let Some(camera) = camera else { return };
                let next = self.end.plus_us(40_000);
                assert_eq!(camera.span.start, next, "seamless");
                self.end = camera.span.end;
                let stored = TimeRange::new(time_of(0), self.end);
                assert_eq!(camera.stored, Some(stored));
            }
            Event::Sealed {
                volume,
                sequence,
                block_times,
                streams,
                times,
            } => {
                assert_eq!(*volume, self.id);
                self.seals.push((*sequence, *block_times));
                let all = streams.iter().map(|about| about.span);
                assert_eq!(all.reduce(|all, one| all.union(&one)), Some(*block_times));
                assert!(times.unwrap().end >= block_times.end);
                for about in streams {
                    let span = self.blocks.entry(about.stream).or_insert(about.span);
                    *span = span.union(&about.span);
                    assert!(about.stored.unwrap().contains(about.span.end));
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A recording on a simulated disk whose events are kept.
struct Recording {
    disk: SimDisk,
    writer: ManualWriter,
    producer: Producer,
    told: mpsc::Receiver<Event>,
}

impl Recording {
    fn begin() -> Self {
        let geometry = Geometry::new(1 << 20, 16, 4096).unwrap();
        let disk = SimDisk::new(Image::new(geometry.device_len()), SimOptions::default());
        let located = Located {
            volume: VolumeId([7; 16]),
            geometry,
        };
        write_first_headers(&mut disk.open(), &located).unwrap();
        let (tell, told) = mpsc::channel();
        let options = WriterOptions {
            clock: Arc::new(ManualClock::new(Now {
                boot_us: 1_000_000,
                utc_us: START_US,
            })),
            control: false,
            on_event: Some(Box::new(move |event| tell.send(event.clone()).unwrap())),
            ..WriterOptions::default()
        };
        let medium = Arc::new(SimMedium::new(disk.clone()));
        let mut writer = ManualWriter::open_on(medium, None, options).unwrap();
        let mut producer = writer.producer();
        add_streams(&mut producer);
        Self {
            disk,
            writer,
            producer,
            told,
        }
    }

    /// Pushes these frames and commits; returns what was told.
    fn commit(&mut self, numbers: std::ops::Range<u64>) -> Vec<Event> {
        push(&mut self.producer, numbers);
        self.writer.begin_commit();
        self.writer.turn();
        while !self.writer.is_idle() && !self.writer.is_failed() {
            self.writer.wait().unwrap();
            self.writer.turn();
        }
        self.told.try_iter().collect()
    }

    fn break_next(&self, target: FaultTarget) {
        self.disk
            .add_fault(FaultRule::next(target, Fault::Error(EIO)));
    }
}

/// What was pushed since the last commit, and what is stored before it.
fn in_doubt() -> (Vec<StreamSpan>, Option<TimeRange>) {
    let camera = about(CAMERA, span(10, 19), span(0, 9));
    let other = about(OTHER, span(5, 9), span(0, 4));
    (vec![camera, other], Some(span(0, 9)))
}

/// A write that fails, and a flush that fails: the listener is told of which block, and what of each
/// stream is in doubt; then that it is safe in another one. The block that was told used to be the
/// one that a header had been written for ahead.
#[test]
fn a_fault_is_told_with_its_block_and_what_is_written_again() {
    for target in [FaultTarget::Write, FaultTarget::Flush] {
        let mut recording = Recording::begin();
        let before = recording.commit(0..10);
        assert!(
            matches!(before[..], [Event::Committed { .. }]),
            "{before:?}"
        );
        recording.break_next(target);
        let events = recording.commit(10..20);
        let [fault, committed] = &events[..] else {
            panic!("{target:?}: {events:?}")
        };
        let (expected_streams, expected_times) = in_doubt();
        let Event::Fault {
            volume,
            sequence,
            streams,
            times,
            message,
        } = fault
        else {
            panic!("{target:?}: {fault:?}")
        };
        assert_eq!((volume.0, *sequence), ([7; 16], 1), "{target:?}: {message}");
        assert_eq!(*streams, expected_streams);
        assert!(times.unwrap().start == expected_times.unwrap().start);
        let Event::Committed {
            position, streams, ..
        } = committed
        else {
            panic!("{target:?}: {committed:?}")
        };
        assert!(position.sequence > 2, "{position:?}");
        let again = |about: &StreamSpan| (about.stream, about.span);
        let expected: Vec<_> = expected_streams.iter().map(again).collect();
        assert_eq!(streams.iter().map(again).collect::<Vec<_>>(), expected);
    }
}

/// The disk takes nothing any more: the last event says which block, and what of each stream is lost.
#[test]
fn the_end_of_a_volume_is_told_with_what_is_lost() {
    let mut recording = Recording::begin();
    recording.commit(0..10);
    let rule = FaultRule::next(FaultTarget::Write, Fault::Error(EIO));
    recording.disk.add_fault(rule.sticky());
    let events = recording.commit(10..20);
    let Some(Event::Failed {
        volume,
        sequence,
        streams,
        times,
        ..
    }) = events.last()
    else {
        panic!("{events:?}")
    };
    assert_eq!((volume.0, *sequence), ([7; 16], 3), "block 2 has a header");
    assert_eq!((streams.clone(), *times), in_doubt());
}

/// A listener that panicked took the thread with it that keeps streams and timeline: commits went
/// on, and what they brought was seen by nobody until the next start.
#[test]
fn a_listener_that_panics_is_told_nothing_more_and_stops_nothing() {
    let dir = volume(16, 512 << 10);
    let (tell, told) = mpsc::channel();
    let options = WriterOptions {
        commit_us: NEVER_US,
        on_event: Some(Box::new(move |_| {
            tell.send(()).unwrap();
            panic!("as told")
        })),
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir.path(), options).unwrap();
    let volume = writer.volume().clone();
    let mut producer = writer.producer().unwrap();
    add_streams(&mut producer);
    for group in 0..20 {
        push(&mut producer, 20 * group..20 * group + 20);
        writer.commit().unwrap();
    }
    drop(producer);
    writer.close().unwrap();
    assert_eq!(told.iter().count(), 1);
    assert_eq!(volume.stream_time_range(CAMERA), Some(span(0, 399)));
    let stored = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&stored, OTHER.0), (0..200).collect::<Vec<_>>());
}
