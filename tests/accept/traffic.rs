//! Sixty-four cameras that push in real time, and the log of what they pushed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use camring::Writer;
use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Frame, FrameSink, Gap, GapCause, Item, StreamId};
use camring::writer::{Event, Producer, WriterOptions};
use tempfile::TempDir;

use crate::camera::{Random, setup};
use crate::lives::boot_us;
use crate::recording;

/// How many streams there are; they are dealt out to the volumes in turn.
pub(crate) const STREAM_COUNT: u64 = 64;
/// How many volumes.
pub(crate) const VOLUME_COUNT: u64 = 4;
/// The commit period of the recordings: the default one.
pub(crate) const COMMIT_US: i64 = 500_000;

/// Each volume has 96 MiB: what 16 cameras send in 24 seconds, so that the ring goes around.
const BLOCK_COUNT: u64 = 24;
const BLOCK_LEN: u32 = 4 << 20;
/// What a camera sends in a second, in bytes: 2 Mbit.
const BYTES_PER_S: u64 = 250_000;
/// How much larger key frames are than others.
const KEY_TIMES: u64 = 6;
/// Random bytes that payloads are cut from.
const POOL_LEN: usize = 8 << 20;

/// A frame that was pushed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pushed {
    pub(crate) time: Timestamp,
    pub(crate) hash: u32,
    pub(crate) key: bool,
    /// When its push had returned, on the boot clock.
    pub(crate) pushed_us: i64,
}

/// What was pushed of each stream, in order.
pub(crate) type Log = BTreeMap<StreamId, Vec<Pushed>>;

/// When which frames of a stream became durable: up to which time, and when it was told.
pub(crate) type Commits = Arc<Mutex<BTreeMap<StreamId, Vec<(Timestamp, i64)>>>>;

/// Volumes that are being recorded.
pub(crate) struct Recording {
    pub(crate) writers: Vec<Writer>,
    pub(crate) commits: Commits,
    _dirs: Vec<TempDir>,
}

/// Cameras that push into a recording.
pub(crate) struct Traffic {
    thread: JoinHandle<Log>,
    /// When the first frames were taken.
    pub(crate) start: Timestamp,
}

/// What happens to a stream.
#[derive(Clone, Copy)]
enum Act {
    Frame { key: bool, len: usize },
    GapBegins,
    GapEnds,
}

/// Something that happens `at_us` after the start.
struct Step {
    at_us: i64,
    stream: StreamId,
    act: Act,
}

impl Recording {
    /// Empty volumes on the disk of the target directory.
    pub(crate) fn begin() -> Self {
        let dirs: Vec<_> = (0..VOLUME_COUNT)
            .map(|_| recording::volume(BLOCK_COUNT, BLOCK_LEN))
            .collect();
        let commits = Commits::default();
        let writers = dirs.iter().map(|dir| {
            let commits = commits.clone();
            let options = WriterOptions {
                commit_us: COMMIT_US as u64,
                on_event: Some(Box::new(move |event| note(&commits, event))),
                ..WriterOptions::default()
            };
            Writer::open(dir.path(), options).unwrap()
        });
        Self {
            writers: writers.collect(),
            commits,
            _dirs: dirs,
        }
    }
}

fn note(commits: &Commits, event: &Event) {
    let Event::Committed { streams, .. } = event else {
        return;
    };
    let now_us = boot_us();
    let mut commits = commits.lock().unwrap();
    for stream in streams {
        let times = commits.entry(stream.stream).or_default();
        times.push((stream.span.end, now_us));
    }
}

/// The volume, by its place, that a stream is recorded in.
pub(crate) fn volume_of(stream: StreamId) -> usize {
    (stream.0 % VOLUME_COUNT) as usize
}

/// All streams.
pub(crate) fn streams() -> impl Iterator<Item = StreamId> {
    (1..=STREAM_COUNT).map(StreamId)
}

impl Traffic {
    /// Cameras that begin now and go on for `duration`.
    pub(crate) fn begin(recording: &Recording, seed: u64, duration: Duration) -> Self {
        let mut producers: Vec<_> = recording
            .writers
            .iter()
            .map(|writer| writer.producer().unwrap())
            .collect();
        for stream in streams() {
            let name = format!("camera {stream}");
            producers[volume_of(stream)]
                .add_stream(stream, setup(&name))
                .unwrap();
        }
        let steps = plan(seed, duration.as_micros() as i64);
        let start = Timestamp(utc_us());
        let thread = std::thread::Builder::new()
            .name("cameras".to_owned())
            .spawn(move || push_all(&mut producers, &steps, start, seed))
            .unwrap();
        Self { thread, start }
    }

    /// Whether the cameras have stopped.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// What was pushed in all.
    pub(crate) fn end(self) -> Log {
        self.thread.join().unwrap()
    }
}

fn utc_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

/// What all cameras do, in the order of time.
fn plan(seed: u64, end_us: i64) -> Vec<Step> {
    let mut steps: Vec<_> = streams()
        .flat_map(|stream| plan_of(stream, seed, end_us))
        .collect();
    steps.sort_by_key(|step| (step.at_us, step.stream));
    steps
}

/// What one camera does: its rate, its key interval, and gaps of its own.
fn plan_of(stream: StreamId, seed: u64, end_us: i64) -> Vec<Step> {
    let mut random = Random::new(seed ^ stream.0.wrapping_mul(0x9e37_79b9));
    let rate = [10, 15, 25, 30][(stream.0 / VOLUME_COUNT % 4) as usize];
    let key_us = 500_000 + random.below(9_500_001) as i64;
    let frame_us = 1_000_000 / rate;
    let frames_per_group = (key_us / frame_us).max(1) as u64;
    let len = BYTES_PER_S * key_us as u64 / 1_000_000 / (frames_per_group + KEY_TIMES - 1);
    // Half of the cameras say when they are lost and found; the others just fall silent.
    let tells = stream.0.is_multiple_of(2);
    let mut steps = Vec::new();
    let step = |at_us, act| Step { at_us, stream, act };
    let mut at_us = random.below(frame_us as u64) as i64;
    let mut gap_us = 2_000_000 + random.below(15_000_000) as i64;
    let mut next_key_us = at_us;
    while at_us < end_us {
        let key = at_us >= next_key_us;
        if key {
            next_key_us = at_us + key_us;
        }
        let len = len * if key { KEY_TIMES } else { 1 } * (70 + random.below(61)) / 100;
        let len = (len as usize).max(64);
        steps.push(step(at_us, Act::Frame { key, len }));
        let jitter_us = random.below(frame_us as u64 / 5) as i64 - frame_us / 10;
        let next_us = at_us + frame_us + jitter_us;
        if next_us < gap_us {
            at_us = next_us;
            continue;
        }
        let silence_us = 300_000 + random.below(5_000_000) as i64;
        if tells {
            steps.push(step(next_us, Act::GapBegins));
            steps.push(step(next_us + silence_us, Act::GapEnds));
        }
        at_us = next_us + silence_us + 1;
        gap_us = at_us + 5_000_000 + random.below(15_000_000) as i64;
        next_key_us = at_us;
    }
    steps
}

fn push_all(producers: &mut [Producer], steps: &[Step], start: Timestamp, seed: u64) -> Log {
    let mut random = Random::new(seed);
    let mut pool = Vec::with_capacity(POOL_LEN);
    while pool.len() < POOL_LEN {
        pool.extend(random.below(u64::MAX).to_le_bytes());
    }
    let mut log = Log::new();
    let mut gaps = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        let time = start.plus_us(step.at_us);
        let early_us = time.us_since(Timestamp(utc_us())).max(0);
        // The pace of cameras.
        std::thread::sleep(Duration::from_micros(early_us.cast_unsigned()));
        let (producer, pushed) = (
            &mut producers[volume_of(step.stream)],
            log.entry(step.stream).or_default(),
        );
        match step.act {
            Act::Frame { key, len } => {
                let payload = payload(&pool, number as u64, len);
                let hash = crc32c::crc32c(&payload);
                producer
                    .push(step.stream, frame(time, key, payload))
                    .unwrap();
                pushed.push(Pushed {
                    time,
                    hash,
                    key,
                    pushed_us: boot_us(),
                });
            }
            Act::GapBegins => {
                let start = pushed.last().map_or(time, |last| last.time);
                let gap = gaps.entry(step.stream).insert_entry(Gap {
                    cause: GapCause::NoSignal,
                    start,
                    end: None,
                    lost_count: None,
                });
                producer.accept(step.stream, Item::Gap(*gap.get())).unwrap();
            }
            Act::GapEnds => {
                let gap = gaps[&step.stream];
                let end = Some(time.plus_us(1));
                producer
                    .accept(step.stream, Item::Gap(Gap { end, ..gap }))
                    .unwrap();
            }
        }
    }
    log
}

/// Bytes that no other frame has: its number, and something from the pool.
fn payload(pool: &[u8], number: u64, len: usize) -> Bytes {
    let from = number as usize * 4099 % (pool.len() - len);
    let mut payload = Vec::with_capacity(len);
    payload.extend(number.to_le_bytes());
    payload.extend(&pool[from..from + len - 8]);
    payload.into()
}

fn frame(time: Timestamp, key: bool, payload: Bytes) -> Frame {
    Frame {
        track: 0,
        key,
        leading: false,
        time,
        clock: 0,
        payload,
    }
}

/// Per frame, how long it took from its push to the news that it is durable, in microseconds; of
/// those that were pushed within `range`, on the boot clock. A frame that never became durable
/// panics.
pub(crate) fn commit_lags_us(log: &Log, commits: &Commits, range: TimeRange) -> Vec<i64> {
    let commits = commits.lock().unwrap();
    let mut lags = Vec::new();
    for (stream, pushed) in log {
        let mut commits = commits[stream].iter().peekable();
        for frame in pushed {
            while commits.next_if(|(end, _)| *end < frame.time).is_some() {}
            let (_, told_us) = commits.peek().expect("a frame that never became durable");
            if range.contains(Timestamp(frame.pushed_us)) {
                lags.push(told_us - frame.pushed_us);
            }
        }
    }
    lags
}
