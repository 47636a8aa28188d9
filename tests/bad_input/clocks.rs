//! Clocks that step, stand still, and start again.

use std::sync::Arc;

use camring::base::time::{Clock, ManualClock, Now, TimeRange, Timestamp};
use camring::frame::{Frame, StreamId};
use camring::volume::Volume;
use camring::writer::{Producer, Writer, WriterOptions};

use super::recording::{KEY_EVERY, START_US, frame, number_of, read, time_of, volume};
use super::{CAMERA, camera, open};
use camring::reader::Query;

const HOUR_US: i64 = 3_600_000_000;

/// A recorder with a clock that is moved by hand; cameras take their times from the same clock.
struct Recorder {
    clock: ManualClock,
    writer: Writer,
    producer: Producer,
    next: u64,
    times: Vec<Timestamp>,
}

impl Recorder {
    fn start(dir: &std::path::Path, boot_us: i64, utc_us: i64) -> Self {
        let clock = ManualClock::new(Now { boot_us, utc_us });
        let options = WriterOptions {
            clock: Arc::new(clock.clone()),
            ..WriterOptions::default()
        };
        let (writer, producer) = open(dir, options);
        Self {
            clock,
            writer,
            producer,
            next: 0,
            times: Vec::new(),
        }
    }

    /// Records frames for `count` times 40 ms.
    fn record(&mut self, count: u64) {
        for _ in 0..count {
            self.clock.advance_us(40_000);
            let time = Timestamp(self.clock.now().utc_us);
            let frame = Frame {
                time,
                ..frame(CAMERA.0, self.next)
            };
            self.producer.push(CAMERA, frame).unwrap();
            self.times.push(time);
            self.next += 1;
        }
        self.writer.commit().unwrap();
    }

    fn stop(self) -> Vec<Timestamp> {
        drop(self.producer);
        self.writer.close().unwrap();
        self.times
    }
}

/// The number of a frame that was recorded at another time than made-up cameras have.
fn number_at(times: &[Timestamp], found: &Frame) -> u64 {
    let bytes = found.payload[8..16].try_into().unwrap();
    let number = u64::from_le_bytes(bytes);
    assert_eq!(found.time, times[number as usize]);
    let time = frame(CAMERA.0, number).time;
    number_of(
        CAMERA,
        &Frame {
            time,
            ..found.clone()
        },
    )
}

/// Every frame is there in the order of recording, and each is found by its time.
fn check(volume: &Volume, times: &[Timestamp]) {
    let all: Vec<_> = volume.table().blocks().map(|row| row.sequence).collect();
    let items = read(volume, Query::blocks(all));
    let frames = super::recording::frames_in(&items);
    let numbers: Vec<_> = frames.iter().map(|f| number_at(times, f)).collect();
    assert_eq!(numbers, (0..times.len() as u64).collect::<Vec<_>>());
    let rows: Vec<_> = volume.table().blocks().collect();
    assert!(
        rows.windows(2)
            .all(|pair| pair[0].arrivals.end <= pair[1].arrivals.start),
        "rows are searched by arrival"
    );
    for (number, time) in times.iter().enumerate() {
        let here = TimeRange::new(*time, *time);
        let found = super::recording::frames_of(volume, CAMERA.0, here);
        let is_there = found.iter().any(|f| number_at(times, f) == number as u64);
        // The same time may come twice when a clock goes back; the search finds the first.
        let again = times.iter().filter(|other| *other == time).count() > 1;
        assert!(is_there || again, "frame {number} is hidden from {time}");
        assert!(!volume.blocks_in(here).is_empty(), "no block for {time}");
    }
}

/// Cameras whose clocks are years behind the recorder's. Setups have the time of their push, so the
/// range of the volume went on to the present day, and a volume without any frame had one.
#[test]
fn ranges_are_those_of_the_frames_though_setups_have_other_times() {
    let dir = volume(64, 128 << 10);
    let other = StreamId(8);
    let check = |volume: &Volume, expected: Option<TimeRange>| {
        assert_eq!(volume.time_range(), expected);
        for stream in [CAMERA, other] {
            assert_eq!(volume.stream_time_range(stream), expected);
        }
    };
    let check_anew = |expected| {
        check(&Volume::open(dir.path()).unwrap(), expected);
        for cache in ["blocktable", "timeline"] {
            let _ = std::fs::remove_file(dir.path().join(cache));
        }
        check(&Volume::open(dir.path()).unwrap(), expected);
    };
    let mut behind = 0;
    for (count, commits) in [(0, true), (150, false), (150, true)] {
        let (writer, mut producer) = open(dir.path(), WriterOptions::default());
        producer
            .add_stream(other, camera::setup("camera 8"))
            .unwrap();
        if commits {
            // Nothing but setups, or gaps, is in this run.
            writer.commit().unwrap();
        }
        let first = behind;
        behind += count;
        for number in first..behind {
            for stream in [CAMERA, other] {
                producer.push(stream, frame(stream.0, number)).unwrap();
            }
        }
        drop(producer);
        let volume = writer.volume().clone();
        writer.close().unwrap();
        let last = behind.checked_sub(1);
        let expected = last.map(|last| TimeRange::new(time_of(0), time_of(last)));
        check(&volume, expected);
        check_anew(expected);
    }
}

/// NTP, a person, or an empty battery moves the wall clock while cameras are recorded, both ways and
/// by any measure: no frame is hidden, reordered or dropped, and a block lies in one segment of it.
#[test]
fn wall_clock_steps_hide_nothing() {
    let steps = [
        HOUR_US,
        -HOUR_US,
        -HOUR_US,
        3 * HOUR_US,
        1_500_000,
        -30_000,
        -10_000,
        24 * 365 * HOUR_US,
        -24 * 365 * HOUR_US,
    ];
    let dir = volume(32, 1 << 20);
    let mut recorder = Recorder::start(dir.path(), HOUR_US, START_US);
    recorder.record(60);
    for step in steps {
        recorder.clock.step_utc_us(step);
        recorder.record(2 * KEY_EVERY);
    }
    check(recorder.writer.volume(), &recorder.times);
    let times = recorder.stop();
    let volume = Volume::open(dir.path()).unwrap();
    check(&volume, &times);
    let rows: Vec<_> = volume.table().blocks().collect();
    assert_eq!(
        rows.len(),
        7,
        "steps of hours seal a block, slewing does not"
    );
    for name in ["blocktable", "timeline"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    check(&Volume::open(dir.path()).unwrap(), &times);
}

/// The wall clock goes back by half a minute, so that half a minute is recorded twice: a question for
/// a part of it gets both, in the order of recording.
#[test]
fn a_time_that_was_recorded_twice_is_read_twice() {
    let dir = volume(32, 1 << 20);
    let mut recorder = Recorder::start(dir.path(), HOUR_US, START_US);
    recorder.record(1500);
    recorder.clock.step_utc_us(-30_000_000);
    recorder.record(1500);
    let check = |volume: &Volume, times: &[Timestamp]| {
        for (first_s, last_s) in [(35, 40), (31, 59), (50, 58), (20, 100)] {
            let at = |s: i64| Timestamp(START_US + s * 1_000_000);
            let range = TimeRange::new(at(first_s), at(last_s));
            let items = read(volume, Query::time([CAMERA], range));
            let found = super::recording::frames_in(&items);
            let found: Vec<_> = found.iter().map(|f| number_at(times, f)).collect();
            assert!(found.is_sorted(), "{found:?}");
            let inside = (0..3000).filter(|n| range.contains(times[*n as usize]));
            let missing: Vec<_> = inside.filter(|n| !found.contains(n)).collect();
            // Decoding starts again at a key frame; what lies before it is told.
            let gaps = super::recording::gaps_in(&items);
            let is_told = |n: &u64| {
                let time = times[*n as usize];
                gaps.iter()
                    .any(|g| g.start <= time && g.end.is_none_or(|end| time <= end))
            };
            assert!(missing.iter().all(is_told), "{missing:?}, {gaps:?}");
            assert!(missing.len() < KEY_EVERY as usize, "{missing:?}");
        }
    };
    check(recorder.writer.volume(), &recorder.times);
    let times = recorder.stop();
    check(&Volume::open(dir.path()).unwrap(), &times);
}

/// Steps too small to seal a block: the times of frames are not those of their arrivals then.
#[test]
fn small_steps_hide_nothing() {
    let dir = volume(16, 4 << 20);
    let mut recorder = Recorder::start(dir.path(), HOUR_US, START_US);
    for step in [1_900_000, -15_000, -4_000, 1_000, -1_800_000] {
        recorder.record(40);
        recorder.clock.step_utc_us(step);
    }
    recorder.record(40);
    check(recorder.writer.volume(), &recorder.times);
    let times = recorder.stop();
    check(&Volume::open(dir.path()).unwrap(), &times);
}

/// A machine without a battery starts in 1970, records, and is set right by NTP later.
#[test]
fn a_clock_that_starts_in_1970_is_recorded_as_it_is() {
    let dir = volume(16, 1 << 20);
    let mut recorder = Recorder::start(dir.path(), 5_000_000, 7_000_000);
    recorder.record(50);
    recorder.clock.step_utc_us(START_US);
    recorder.record(50);
    let times = recorder.stop();
    check(&Volume::open(dir.path()).unwrap(), &times);
}

/// The machine is started again: the boot clock begins anew, and the wall clock is an hour behind
/// what the last life knew.
#[test]
fn a_restart_with_a_clock_that_went_back_hides_nothing() {
    let dir = volume(16, 1 << 20);
    let mut recorder = Recorder::start(dir.path(), HOUR_US, START_US);
    recorder.record(50);
    let mut times = recorder.stop();
    let mut recorder = Recorder::start(dir.path(), 1_000_000, START_US - HOUR_US);
    (recorder.next, recorder.times) = (50, times);
    recorder.record(50);
    check(recorder.writer.volume(), &recorder.times);
    times = recorder.stop();
    check(&Volume::open(dir.path()).unwrap(), &times);
    assert_eq!(camera::setup("camera 7").name, "camera 7");
}

/// Clocks at the ends of their ranges: no arithmetic overflows, everything is stored.
#[test]
fn clocks_at_the_ends_of_time_are_survived() {
    for (boot_us, utc_us) in [
        (0, i64::MIN),
        (i64::MAX - HOUR_US, i64::MAX - HOUR_US),
        (i64::MAX - HOUR_US, i64::MIN),
        (0, i64::MAX - HOUR_US),
    ] {
        let dir = volume(16, 256 << 10);
        let mut recorder = Recorder::start(dir.path(), boot_us, utc_us);
        recorder.record(30);
        recorder.clock.step_utc_us(-HOUR_US / 2);
        recorder.record(30);
        let times = recorder.stop();
        check(&Volume::open(dir.path()).unwrap(), &times);
    }
}
