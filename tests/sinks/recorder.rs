//! Recordings into files that start, stop and change while items flow.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use camring::ErrorKind;
use camring::base::time::Timestamp;
use camring::export::{FileSet, MatroskaFiles, MatroskaRecorder, NumberedFiles, Summary};
use camring::frame::filter::Fork;
use camring::frame::{Codec, Frame, FrameSink, Item, StreamId};

use crate::clip::{Clip, Probe, run};
use crate::{START, STREAM, have_tools, setup};

/// What a camera sends: pictures of 25 a second, and sound in frames of 20 ms.
struct Camera {
    small: Clip,
    large: Clip,
    sound: Clip,
}

impl Camera {
    fn new() -> Self {
        Self {
            small: Clip::load(Codec::H264, "h264_240p25.h264"),
            large: Clip::load(Codec::H264, "h264_360p25_bframes.mp4"),
            sound: Clip::g711(Codec::PcmMulaw, "g711u_8k.ul"),
        }
    }

    /// Two seconds of `video` from `start`, and its sound, numbered on from `first_sound`.
    fn frames(&self, video: &Clip, start: Timestamp, first_sound: u64) -> Vec<Frame> {
        let mut frames = video.frames(0, start);
        let sound = self.sound.frames(1, start).into_iter().take(100);
        frames.extend(sound.zip(first_sound..).map(|(frame, number)| {
            let payload = Bytes::from(number.to_le_bytes().repeat(20));
            Frame { payload, ..frame }
        }));
        frames
    }

    /// The camera is switched to another resolution after two seconds. The order is that of
    /// arrival, so sound from before the change comes behind it, and the new setup a little ahead
    /// of the key frame that uses it.
    fn change(&self, late_us: i64) -> Vec<Item> {
        let change = START.plus_us(2_000_000);
        let before = self.frames(&self.small, START, 0);
        let after = self.frames(&self.large, change, 100);
        let mut items = vec![setup(&[&self.small, &self.sound])];
        items.extend(arriving([before, after].concat(), late_us));
        let is_changed = |item: &Item| matches!(item, Item::Frame(frame) if frame.track == 0 && frame.time >= change);
        let at = items.iter().position(is_changed).unwrap();
        items.insert(at - 2, setup(&[&self.large, &self.sound]));
        items
    }
}

/// Puts `frames` into the order of arrival: pictures by the latest time so far, and sound `late_us`
/// behind them.
fn arriving(frames: Vec<Frame>, late_us: i64) -> Vec<Item> {
    let mut latest = Timestamp::MIN;
    let mut arriving = Vec::new();
    for frame in frames {
        let arrival = if frame.track == 1 {
            frame.time.plus_us(late_us)
        } else {
            latest = latest.max(frame.time);
            latest
        };
        arriving.push((arrival, frame));
    }
    arriving.sort_by_key(|(arrival, _)| *arrival);
    let frames = arriving.into_iter().map(|(_, frame)| frame);
    frames.map(Item::Frame).collect()
}

/// The numbers of the sound frames in a file, and how many pictures it has. Checks that ffmpeg
/// finds each within 1 ms of the time it had.
fn contents(path: &Path, summary: &Summary) -> (Vec<u64>, usize) {
    let probe = Probe::of(path);
    assert_eq!(probe.complaints, "");
    let sound = probe.of_stream(1);
    let numbers = sound.iter().map(|packet| {
        let number = u64::from_le_bytes(packet.payload[..8].try_into().unwrap());
        let time = START.plus_us(20_000 * number.cast_signed());
        let found = summary.start.plus_us(packet.time_us);
        assert!(found.us_since(time).abs() <= 1_000, "sound {number}");
        number
    });
    let numbers = numbers.collect();
    let pictures = probe.of_stream(0);
    assert!(pictures[0].key, "a file begins at a key frame");
    let path = path.to_str().unwrap();
    let (_, errors) = run("ffmpeg", &["-v", "error", "-i", path, "-f", "null", "-"]);
    assert_eq!(errors, "");
    (numbers, pictures.len())
}

fn files_in(dir: &Path) -> NumberedFiles {
    NumberedFiles::new(dir.join("yard.mkv"))
}

/// Sound is a little late, as it is in every camera, and the parameters of the pictures change in
/// mid-stream. It used to happen that the sound around the change was in neither file: too late for
/// the first, which was closed, and too early for the second.
#[test]
fn every_sound_is_in_exactly_one_file_when_the_pictures_change() {
    if !have_tools("every_sound_is_in_exactly_one_file_when_the_pictures_change") {
        return;
    }
    let camera = Camera::new();
    for late_us in [-150_000, 0, 30_000, 250_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut files = MatroskaFiles::begin(files_in(dir.path())).unwrap();
        for item in camera.change(late_us) {
            files.accept(STREAM, item).unwrap();
        }
        let files = files.finish().unwrap();
        let [(first_path, first), (second_path, second)] = files.done() else {
            panic!("two files")
        };
        let (mut sounds, picture_count) = contents(first_path, first);
        assert_eq!(picture_count, camera.small.packets.len());
        let (later_sounds, picture_count) = contents(second_path, second);
        assert_eq!(picture_count, camera.large.packets.len());
        if late_us >= 0 {
            // Each in the file of its pictures, also where it came with those of the other.
            assert_eq!(later_sounds[0], 100, "late by {late_us} us");
        }
        sounds.extend(later_sounds);
        let first_sound = sounds[0];
        assert!(first_sound == 0 || late_us < 0, "before the first picture");
        let expected: Vec<u64> = (first_sound..200).collect();
        assert_eq!(sounds, expected, "late by {late_us} us");
    }
}

/// The camera's clock was an hour ahead, and is set right while sound of the hour ahead is still
/// on its way.
#[test]
fn sound_stays_with_its_pictures_when_the_clock_is_set_back() {
    if !have_tools("sound_stays_with_its_pictures_when_the_clock_is_set_back") {
        return;
    }
    let camera = Camera::new();
    let ahead = START.plus_us(3_600_000_000);
    let before = arriving(camera.frames(&camera.small, ahead, 0), 0);
    let after = arriving(camera.frames(&camera.small, START, 100), 0);
    // The last five sounds of the first stretch come behind the first picture of the second.
    let (late, before): (Vec<_>, Vec<_>) = before.into_iter().partition(|item| {
        matches!(item, Item::Frame(frame) if frame.track == 1
            && frame.time >= ahead.plus_us(1_900_000))
    });
    assert_eq!(late.len(), 5);
    let dir = tempfile::tempdir().unwrap();
    let mut files = MatroskaFiles::begin(files_in(dir.path())).unwrap();
    files
        .accept(STREAM, setup(&[&camera.small, &camera.sound]))
        .unwrap();
    let (one, rest) = after.split_at(1);
    for item in [&before[..], one, &late[..], rest].concat() {
        files.accept(STREAM, item).unwrap();
    }
    let files = files.finish().unwrap();
    let lens_us = files
        .done()
        .iter()
        .map(|(_, summary)| summary.end.us_since(summary.start));
    assert_eq!(lens_us.collect::<Vec<i64>>(), [2_000_000, 2_000_000]);
    let counts = files.done().iter().map(|(_, summary)| summary.frame_count);
    assert_eq!(counts.collect::<Vec<u64>>(), [150, 150]);
}

/// Somebody presses the button twice in a stream that flows through a fork.
#[test]
fn a_recorder_starts_at_the_next_key_frame_and_stops_at_once() {
    if !have_tools("a_recorder_starts_at_the_next_key_frame_and_stops_at_once") {
        return;
    }
    let camera = Camera::new();
    let dir = tempfile::tempdir().unwrap();
    let mut fork = Fork::new();
    let recorder = MatroskaRecorder::new(STREAM);
    let branch = fork.connect(recorder.clone());
    assert_eq!(recorder.stop().unwrap_err().kind(), ErrorKind::NotFound);

    let mut accept = |item| fork.accept(STREAM, item).unwrap();
    accept(setup(&[&camera.small, &camera.sound]));
    let items = arriving(camera.frames(&camera.small, START, 0), 0);
    let is_second_key = |item: &Item| matches!(item, Item::Frame(frame) if frame.key && frame.track == 0 && frame.time > START);
    let key = items.iter().position(is_second_key).unwrap();
    let (before, after) = items.split_at(key - 20);
    before.iter().cloned().for_each(&mut accept);
    recorder.start(files_in(dir.path())).unwrap();
    let busy = recorder.start(files_in(dir.path())).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Busy);
    after.iter().cloned().for_each(&mut accept);
    let again = recorder.clone();
    let files = std::thread::spawn(move || again.stop())
        .join()
        .unwrap()
        .unwrap();
    assert!(!recorder.is_running());
    items.iter().cloned().for_each(&mut accept);

    let [(path, summary)] = files.done() else {
        panic!("one file")
    };
    let (sounds, picture_count) = contents(path, summary);
    assert_eq!(sounds, (50..100).collect::<Vec<u64>>());
    assert_eq!(picture_count, 25);
    assert_eq!(branch.status().lost_count, 0);
    let in_the_way = recorder.start(files_in(dir.path())).unwrap_err();
    assert_eq!(in_the_way.kind(), ErrorKind::Exists);
    fork.accept(StreamId(8), setup(&[&camera.sound])).unwrap();
    assert_eq!(
        branch.status().last_error,
        None,
        "other streams are not its business"
    );
}

#[test]
fn a_recording_without_a_key_frame_leaves_nothing_behind() {
    if !have_tools("a_recording_without_a_key_frame_leaves_nothing_behind") {
        return;
    }
    let camera = Camera::new();
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = MatroskaRecorder::new(STREAM);
    recorder.accept(STREAM, setup(&[&camera.small])).unwrap();
    recorder.start(files_in(dir.path())).unwrap();
    for frame in camera.small.frames(0, START).into_iter().skip(1).take(10) {
        recorder.accept(STREAM, Item::Frame(frame)).unwrap();
    }
    assert_eq!(recorder.stop().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Files of the embedder's own, here in memory, with their numbers.
#[test]
fn files_can_be_any_writer_that_seeks() {
    type Done = Arc<Mutex<Vec<(u32, u64)>>>;
    struct Memory(Done);
    impl FileSet for Memory {
        type File = std::io::Cursor<Vec<u8>>;
        fn open(&mut self, _: u32) -> camring::Result<Self::File> {
            Ok(std::io::Cursor::default())
        }
        fn complete(
            &mut self,
            number: u32,
            _: Self::File,
            summary: Summary,
        ) -> camring::Result<()> {
            self.0.lock().unwrap().push((number, summary.frame_count));
            Ok(())
        }
        fn discard(&mut self, _: u32) {}
    }
    if !have_tools("files_can_be_any_writer_that_seeks") {
        return;
    }
    let camera = Camera::new();
    let done = Done::default();
    let mut recorder = MatroskaRecorder::new(STREAM);
    recorder.start(Memory(Arc::clone(&done))).unwrap();
    for item in camera.change(30_000) {
        recorder.accept(STREAM, item).unwrap();
    }
    // The first is complete as soon as sound comes that belongs to the second.
    assert_eq!(*done.lock().unwrap(), [(1, 150)]);
    recorder.stop().unwrap();
    let second = 100 + camera.large.packets.len() as u64;
    assert_eq!(*done.lock().unwrap(), [(1, 150), (2, second)]);
}
