//! Seeking: what is shown at a time, over a ring that has gone around, on a simulated disk.
//!
//! Streams of all kinds are recorded: with pictures out of order, with key frames far apart, with
//! gaps, one that records motion only, one that takes a picture every few seconds. What must come
//! is said by the list of what was pushed, and by the blocks that the ring still holds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::print_stdout,
    reason = "a panic is how a test fails"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/simulated.rs"]
mod simulated;

use camera::Random;
use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Frame, Item, StreamId};
use camring::io::sim::SimDisk;
use camring::reader::{Query, read_all};
use camring::volume::Volume;
use camring::writer::{ManualWriter, Producer};
use simulated::START_US;

const SLOT_COUNT: u64 = 128;
const TICK_US: i64 = 10_000;

/// A made-up camera, and what it has sent.
struct Camera {
    stream: StreamId,
    frame_us: i64,
    /// Every so many frames a key frame.
    key_every: u64,
    /// Whether pictures are sent out of order.
    has_b_frames: bool,
    /// How long it sends, and how long it is silent, at most; 0: always.
    sends_us: u64,
    silent_us: u64,
    next_us: i64,
    until_us: i64,
    /// Frames since the last key frame.
    since_key: u64,
    sent: Vec<Sent>,
}

/// A frame that was pushed.
#[derive(Clone, Copy, Debug)]
struct Sent {
    time: Timestamp,
    key: bool,
    /// The block that holds it, once that is known.
    block: u64,
}

impl Camera {
    fn new(stream: u64, frame_us: i64, key_every: u64) -> Self {
        Self {
            stream: StreamId(stream),
            frame_us,
            key_every,
            has_b_frames: false,
            sends_us: 0,
            silent_us: 0,
            next_us: START_US + 1_000 * stream as i64,
            until_us: i64::MAX,
            since_key: 0,
            sent: Vec::new(),
        }
    }

    /// Sends for at most `sends_us`, then is silent for at most `silent_us`, again and again.
    fn with_gaps(mut self, sends_us: u64, silent_us: u64) -> Self {
        (self.sends_us, self.silent_us) = (sends_us, silent_us);
        self.until_us = self.next_us;
        self
    }

    fn with_b_frames(mut self) -> Self {
        self.has_b_frames = true;
        self
    }

    /// Pushes what is due at `now_us`.
    fn turn(&mut self, now_us: i64, producer: &mut Producer, random: &mut Random) {
        while self.next_us <= now_us {
            let number = self.sent.len() as u64;
            let len = 200 + random.below(900) as usize;
            let mut frame = camera::frame(self.stream.0, number, START_US, u64::MAX, len);
            frame.key = self.since_key == 0;
            frame.time = Timestamp(self.next_us + self.reorder_us());
            producer.push(self.stream, frame.clone()).unwrap();
            self.sent.push(Sent {
                time: frame.time,
                key: frame.key,
                block: u64::MAX,
            });
            self.since_key = (self.since_key + 1) % self.key_every;
            self.next_us += self.frame_us;
            if self.next_us > self.until_us {
                self.next_us += random.below(self.silent_us) as i64;
                self.until_us = self.next_us + random.below(self.sends_us) as i64;
                self.since_key = 0;
            }
        }
    }

    /// With pictures out of order: I P B B P B B, where each P is shown behind its two Bs.
    fn reorder_us(&self) -> i64 {
        match (self.has_b_frames, self.since_key) {
            (false, _) | (_, 0) => 0,
            (true, place) if place % 3 == 1 => 2 * self.frame_us,
            (true, _) => -self.frame_us,
        }
    }

    /// The frames that are to be shown in `range`, as numbers: from the newest key frame at or
    /// before it that the ring holds, or else its first key frame, to the last one in the range.
    fn shown(&self, range: TimeRange, oldest_block: u64) -> Vec<u64> {
        let held = |sent: &Sent| sent.block >= oldest_block;
        let keys = || (0..self.sent.len()).filter(|n| self.sent[*n].key && held(&self.sent[*n]));
        let before = keys().rfind(|n| self.sent[*n].time <= range.start);
        let Some(first) = before.or_else(|| keys().next()) else {
            return Vec::new();
        };
        let inside = (first..self.sent.len()).rfind(|n| self.sent[*n].time <= range.end);
        inside.map_or(Vec::new(), |last| (first as u64..=last as u64).collect())
    }
}

fn cameras() -> Vec<Camera> {
    vec![
        Camera::new(0, 40_000, 25).with_b_frames(),
        Camera::new(1, 100_000, 100),
        Camera::new(2, 66_667, 8),
        Camera::new(3, 33_333, 30).with_gaps(9_000_000, 15_000_000),
        Camera::new(4, 100_000, 1000).with_gaps(3_000_000, 60_000_000),
        Camera::new(5, 7_000_000, 1),
        Camera::new(6, 500_000, 12).with_gaps(8_000_000, 4_000_000),
    ]
}

/// Records `cameras` until the ring has gone around three times; a commit every 100 ms.
fn record(disk: &SimDisk, cameras: &mut [Camera], random: &mut Random) -> ManualWriter {
    let clock = simulated::clock();
    let options = simulated::options(&clock, 100_000);
    let medium = simulated::medium(disk);
    let mut writer = ManualWriter::open_on(medium, None, options).unwrap();
    let mut producer = writer.producer();
    for camera in &*cameras {
        let setup = camera::setup("made up");
        producer.add_stream(camera.stream, setup).unwrap();
    }
    let mut now_us = START_US;
    while writer.volume().table().head() < 3 * SLOT_COUNT {
        now_us += TICK_US;
        clock.advance_us(TICK_US.unsigned_abs());
        for camera in &mut *cameras {
            camera.turn(now_us, &mut producer, random);
        }
        writer.turn();
        while !writer.is_idle() && random.below(3) > 0 {
            writer.wait().unwrap();
            writer.turn();
        }
        note(&mut writer, cameras);
    }
    writer.begin_commit();
    while !writer.is_idle() {
        writer.wait().unwrap();
        writer.turn();
    }
    note(&mut writer, cameras);
    writer
}

/// Takes note of the blocks that frames went to.
fn note(writer: &mut ManualWriter, cameras: &mut [Camera]) {
    for chunk in writer.take_committed() {
        let camera = cameras
            .iter_mut()
            .find(|camera| camera.stream == chunk.stream);
        let unknown = camera.unwrap().sent.iter_mut();
        let unknown = unknown.filter(|sent| sent.block == u64::MAX);
        for sent in unknown.take(chunk.frame_count as usize) {
            sent.block = chunk.sequence;
        }
    }
}

/// The numbers of the frames of `stream` among what was read.
fn numbers(items: &[camring::frame::Recorded], stream: StreamId) -> Vec<u64> {
    let own = items.iter().filter(|recorded| recorded.stream == stream);
    let frames = own.filter_map(|recorded| match &recorded.item {
        Item::Frame(frame) => Some(number_of(frame)),
        _ => None,
    });
    frames.collect()
}

fn number_of(frame: &Frame) -> u64 {
    u64::from_le_bytes(frame.payload[8..16].try_into().unwrap())
}

fn check(volume: &Volume, cameras: &[Camera], random: &mut Random, context: &str) {
    let head = volume.table().head();
    let oldest = head.saturating_sub(SLOT_COUNT) + 1;
    let oldest = oldest.max(volume.table().blocks().next().unwrap().sequence);
    let all = volume.time_range().unwrap();
    let span_us = all.end.us_since(all.start).unsigned_abs();
    let at = all
        .start
        .plus_us(random.below(span_us + 4_000_000) as i64 - 2_000_000);
    let range = TimeRange::new(at, at.plus_us(random.below(3_000_000) as i64));
    let mut wanted: Vec<_> = cameras.iter().collect();
    while wanted.len() > 1 && random.below(3) > 0 {
        wanted.swap_remove(random.below(wanted.len() as u64) as usize);
    }
    let streams: Vec<_> = wanted.iter().map(|camera| camera.stream).collect();
    let items = read_all(volume, &Query::shown(streams.clone(), range)).unwrap();
    assert!(items.iter().all(|item| streams.contains(&item.stream)));
    for camera in wanted {
        let expected = camera.shown(range, oldest);
        let found = numbers(&items, camera.stream);
        assert_eq!(
            found, expected,
            "{context}: stream {} of {streams:?} in {range:?}, blocks {oldest} to {head}",
            camera.stream
        );
    }
}

#[test]
fn a_thousand_seeks_into_a_ring_that_has_gone_around_begin_at_the_newest_key_frame() {
    let seed = camera::seed();
    println!("CAMRING_SEED={seed}");
    let mut random = Random::new(seed);
    let mut cameras = cameras();
    let disk = simulated::disk(SLOT_COUNT);
    let writer = record(&disk, &mut cameras, &mut random);
    for number in 0..500 {
        let context = format!("seed {seed}, seek {number} beside the writer");
        check(writer.volume(), &cameras, &mut random, &context);
    }
    drop(writer);
    let volume = simulated::open(&disk);
    for number in 0..500 {
        let context = format!("seed {seed}, seek {number} after an opening");
        check(&volume, &cameras, &mut random, &context);
    }
}
