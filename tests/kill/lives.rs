//! Lives of a recorder: recorded, killed, checked, and the next one.
//!
//! How much was lost, and how long opening took, is measured and printed; `accept` alone holds it
//! to bounds, on a quiet machine.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camring::frame::StreamId;
use camring::reader::{Query, Reader};
use camring::volume::Volume;

use super::camera::Random;
use super::log::{Log, STREAM_COUNT};
use super::{child, log, recording};

/// The commit period of the recorder.
pub(super) const COMMIT_US: u64 = 50_000;
const BLOCK_COUNT: u64 = 32;
const BLOCK_LEN: u32 = 1 << 20;

/// What was measured over many lives.
#[derive(Clone, Copy, Debug)]
#[allow(
    dead_code,
    reason = "accept holds them to bounds; the test only prints them"
)]
pub(super) struct Figures {
    /// How long before its kill the oldest frame was pushed that was lost, in microseconds.
    pub(super) longest_loss_us: i64,
    /// How long a recorder took to open the volume after a kill, at most, in microseconds.
    pub(super) longest_open_us: u64,
}

pub(super) fn boot_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

fn spawn_recorder(dir: &Path, acks: std::io::PipeWriter) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "recorder_process",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env(child::DIR_VARIABLE, dir)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(acks)
        .spawn()
        .unwrap()
}

/// One life: recorded at `speed` times real speed, killed after `life_us`.
fn live_and_die(dir: &Path, log: &mut Log, speed: u64, life: Duration) {
    let (ack_reader, ack_writer) = std::io::pipe().unwrap();
    let mut recorder = spawn_recorder(dir, ack_writer);
    let frames = recorder.stdin.take().unwrap();
    let first = log.begin_life();
    let feeder = std::thread::spawn(move || log::feed(frames, first, speed));
    let listener = std::thread::spawn(move || log::listen(ack_reader));
    // The moment of the kill is not an event that anything could tell.
    std::thread::sleep(life);
    let early_end = recorder.try_wait().unwrap();
    let killed_us = boot_us();
    recorder.kill().unwrap();
    recorder.wait().unwrap();
    let sent = feeder.join().unwrap();
    let told = listener.join().unwrap();
    assert!(
        early_end.is_none(),
        "the recorder ended by itself: {:?}",
        told.unknown
    );
    log.end_life(sent, told, killed_us);
}

/// What a crash, an administrator or a restored backup may have done to the cache files.
fn spoil_caches(dir: &Path, old: &Path, random: &mut Random) -> &'static str {
    let names = ["blocktable", "volume.json", "timeline"];
    let some: Vec<_> = names.iter().filter(|_| random.below(2) == 0).collect();
    let act = random.below(6);
    for name in some {
        let path = dir.join(name);
        match act {
            0 => drop(std::fs::remove_file(&path)),
            1 => corrupt(&path, random),
            2 if old.join(name).exists() => drop(std::fs::copy(old.join(name), &path).unwrap()),
            _ => {}
        }
    }
    ["deleted", "corrupted", "older", "as they were"][act.min(3) as usize]
}

fn corrupt(path: &Path, random: &mut Random) {
    let Ok(mut bytes) = std::fs::read(path) else {
        return;
    };
    for _ in 0..=random.below(20) {
        let at = random.below(bytes.len() as u64) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
    if random.below(3) == 0 {
        bytes.truncate(random.below(bytes.len() as u64) as usize);
    }
    std::fs::write(path, bytes).unwrap();
}

fn keep_old_caches(dir: &Path, old: &Path) {
    for name in ["blocktable", "volume.json", "timeline"] {
        let _ = std::fs::copy(dir.join(name), old.join(name));
    }
}

/// Reads the whole volume, block by block and stream by stream, and lets the log judge it.
fn check(dir: &Path, log: &mut Log) -> Duration {
    let start = Instant::now();
    let volume = Volume::open(dir).unwrap();
    let took = start.elapsed();
    assert!(!volume.is_damaged());
    let rows = volume.table().blocks();
    let blocks: Vec<_> = rows.map(|row| row.sequence).collect();
    let head = volume.table().head();
    let mut reader = Reader::open(&volume).unwrap();
    let items: Vec<_> = reader.read(Query::blocks(blocks)).unwrap().collect();
    log.judge_blocks(&items, head.saturating_sub(BLOCK_COUNT));
    for stream in (0..STREAM_COUNT).map(StreamId) {
        let all = camring::base::time::TimeRange::ALL;
        let items: Vec<_> = reader.read(Query::time([stream], all)).unwrap().collect();
        log.judge_stream(stream, &items);
    }
    took
}

/// Kills `kills` recorders of one volume in a file. Caches are lost, spoilt and replaced in between.
/// `after_kill` is called after each kill with the directory of the volume.
#[allow(dead_code, reason = "the suite of partitions brings its own volume")]
pub(super) fn run(kills: u64, seed: u64, after_kill: &mut dyn FnMut(&Path)) -> Figures {
    let dir = recording::volume(BLOCK_COUNT, BLOCK_LEN);
    run_in(dir.path(), kills, seed, after_kill, &mut |_| {})
}

/// As `run`, for the empty volume in `dir`, which has 32 blocks of 1 MiB. `mend` is called after its
/// caches were spoilt.
pub(super) fn run_in(
    dir: &Path,
    kills: u64,
    seed: u64,
    after_kill: &mut dyn FnMut(&Path),
    mend: &mut dyn FnMut(&Path),
) -> Figures {
    eprintln!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    let old = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut log = Log::default();
    let mut longest_open = Duration::ZERO;
    for kill in 0..kills {
        let times = [1, 1, 4, 20][random.below(4) as usize];
        let life_us = match random.below(4) {
            0 => random.below(60_000),
            1 | 2 => random.below(600_000),
            _ => random.below(1_800_000),
        };
        live_and_die(dir, &mut log, times, Duration::from_micros(life_us));
        after_kill(dir);
        let caches = spoil_caches(dir, old.path(), &mut random);
        mend(dir);
        eprint!(
            "kill {kill}: {times}x, after {} ms, caches {caches}: ",
            life_us / 1000
        );
        let took = check(dir, &mut log);
        longest_open = longest_open.max(took);
        eprintln!("{}, opened in {} ms", log.last_life(), took.as_millis());
        if random.below(5) == 0 {
            keep_old_caches(dir, old.path());
        }
    }
    eprintln!("opened for reading within {} ms", longest_open.as_millis());
    log.summarize()
}
