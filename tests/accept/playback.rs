//! Sixty-four streams of four volumes, played while they are recorded: in step, on time, cheaply,
//! without holding up the recording; and at the live edge.

use std::fmt;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::sleep;
use std::time::Duration;

use camring::Manager;
use camring::base::time::{TimeRange, Timestamp};
use camring::manager::{Command, Event, ManagerOptions, State, StreamKey};

use crate::camera::seed;
use crate::lives::boot_us;
use crate::probe::Probe;
use crate::threads::{RunTimes, load};
use crate::traffic::{
    COMMIT_US, Commits, Log, Recording, Traffic, commit_lags_us, streams, volume_of,
};
use crate::viewer::{Arrivals, Viewer, fault_count, first_due, is_shown, skews_us};
use crate::{Verdict, report};

/// How long is recorded before playing begins, and how long is played.
const BEFORE: Duration = Duration::from_secs(12);
const PLAYED: Duration = Duration::from_secs(35);
/// Playing begins so long after the recording has: it stays seconds behind the live edge.
const FROM_US: i64 = 6_000_000;
/// How long the live edge is watched with each kind of commitment.
const WATCHED: Duration = Duration::from_secs(15);
/// What was pushed so soon after a command does not count, because the way there goes in a burst;
/// nor what was pushed so shortly before the end.
const SETTLED_US: i64 = 1_000_000;
/// What was due so shortly before the end may or may not have come.
const END_US: i64 = 50_000;

/// What a manager has told.
#[derive(Debug, Default)]
struct Told {
    /// How late the player thinks that each frame was.
    late_us: Vec<i64>,
    wait_count: u32,
    left_out_count: u32,
    failures: Vec<String>,
}

/// A manager that plays all streams of a recording, each into a [`Viewer`].
struct Show {
    manager: Manager,
    /// New states and times, and when they were told, on the boot clock.
    news: mpsc::Receiver<(Event, i64)>,
    told: Arc<Mutex<Told>>,
    came: Arc<Mutex<Arrivals>>,
}

impl Show {
    fn begin(recording: &Recording) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let (tell, news) = mpsc::channel();
        let own = told.clone();
        let manager = Manager::start(ManagerOptions {
            on_event: Some(Box::new(move |event| {
                note(&mut own.lock().unwrap(), &tell, event);
            })),
            tell_items: true,
            ..ManagerOptions::default()
        })
        .unwrap();
        let volumes = recording.writers.iter().map(camring::Writer::volume);
        let sources: Vec<_> = volumes
            .map(|volume| manager.add_volume(volume.clone()).unwrap())
            .collect();
        let came = Arc::new(Mutex::new(Arrivals::new()));
        for stream in streams() {
            let source = sources[volume_of(stream)];
            let viewer = Viewer::new(stream, &came);
            let key = StreamKey { source, stream };
            manager.map_sink(&[key], stream, viewer).unwrap();
        }
        Self {
            manager,
            news,
            told,
            came,
        }
    }

    /// Sends a command and waits until what it leads to is told. Returns when that was, on the boot
    /// clock.
    fn command(&self, command: Command, news: &Event) -> i64 {
        self.manager.command(command).unwrap();
        let (_, told_us) = self.news.iter().find(|(told, _)| told == news).unwrap();
        told_us
    }

    /// What came, when all sinks have seen all that was delivered; and what was told.
    fn end(self) -> (Arrivals, Told) {
        drop(self.manager);
        let came = std::mem::take(&mut *self.came.lock().unwrap());
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        (came, told)
    }
}

fn note(told: &mut Told, news: &mpsc::Sender<(Event, i64)>, event: &Event) {
    match event {
        // Nobody may be there to hear of the last one.
        Event::State(_) | Event::Time(_) => drop(news.send((event.clone(), boot_us()))),
        Event::Delivered { late_us, .. } => told.late_us.push(*late_us),
        Event::Waiting(true) => told.wait_count += 1,
        Event::LeftOut { .. } => told.left_out_count += 1,
        Event::Failed { message, .. } => told.failures.push(message.clone()),
        _ => {}
    }
}

/// Of values in microseconds, what half of them and 99 % do not exceed, and the greatest.
struct Spread {
    median: i64,
    p99: i64,
    max: i64,
}

impl Spread {
    fn of(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        Self {
            median: values[values.len() / 2],
            p99: values[values.len() * 99 / 100],
            max: values.last().copied().unwrap(),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, p99, max } = self;
        let ms = |us: &i64| *us as f64 / 1000.0;
        let (median, p99, max) = (ms(median), ms(p99), ms(max));
        write!(
            f,
            "median {median:.2} ms, p99 {p99:.2} ms, at most {max:.2} ms"
        )
    }
}

/// Reports a figure in microseconds.
fn report_us(name: &str, bound_us: i64, measured_us: i64, verdict: Verdict) {
    report(
        name,
        format!("<= {} ms", bound_us / 1000),
        format!("{:.1} ms", measured_us as f64 / 1000.0),
        verdict,
    );
}

/// Reports the 99th percentile of `values`, in microseconds.
fn report_p99(name: &str, bound_us: i64, values: Vec<i64>) {
    let count = values.len();
    let spread = Spread::of(values);
    eprintln!("{name}: {count} values, {spread}; load {}", load());
    let verdict = Verdict::of(spread.p99 <= bound_us);
    report_us(&format!("{name}, p99"), bound_us, spread.p99, verdict);
}

/// As [`report_p99`], of what needs `wake_count` threads to wake up on time. Where the machine is so
/// busy that one which only sleeps does not, a miss says nothing.
fn report_pace(name: &str, wake_count: i64, values: Vec<i64>, probe: &Probe) {
    let bound_us = 10_000;
    let wakes = wakes(probe);
    let spread = Spread::of(values.clone());
    if spread.p99 > bound_us && wake_count * wakes.p99 > bound_us {
        let text = format!("machine too busy: {spread}; a thread that only sleeps: {wakes}");
        return report(
            &format!("{name}, p99"),
            format!("<= {} ms", bound_us / 1000),
            text,
            Verdict::Skip,
        );
    }
    report_p99(name, bound_us, values);
}

/// How late a thread was that only slept.
fn wakes(probe: &Probe) -> Spread {
    let wakes = probe.wakes.iter();
    Spread::of(wakes.map(|wake| wake.as_micros() as i64).collect())
}

/// P1 of docs/DURABILITY.md, in microseconds: the commit period, one write and two flushes, as long
/// as they took beside the recordings.
fn durable_bound_us(probe: &Probe) -> i64 {
    let (write, flush) = (probe.write, probe.flush);
    eprintln!(
        "beside the recordings: {} ms for a write of 1 MiB, {} ms for a flush, at most; late wake-ups: \
         {}",
        write.as_millis(),
        flush.as_millis(),
        wakes(probe)
    );
    COMMIT_US + (write + 2 * flush).as_micros() as i64
}

fn probe() -> (tempfile::TempDir, Probe) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let probe = Probe::new(dir.path());
    (dir, probe)
}

/// All streams from the disk at normal speed, some seconds behind what is being recorded.
pub(crate) fn in_step() {
    let seed = seed();
    eprintln!("seed {seed}, load {}", load());
    let recording = Recording::begin();
    let (_dir, mut probe) = probe();
    let traffic = Traffic::begin(&recording, seed, BEFORE + PLAYED);
    // So much is to be there before playing begins.
    sleep(BEFORE);
    let show = Show::begin(&recording);
    let start = traffic.start.plus_us(FROM_US);
    // Told when all is delivered that leads there.
    show.command(Command::Seek(start), &Event::Time(start));
    let began_us = show.command(Command::Play, &Event::State(State::Playing));
    // Out of the way of the player's thread, which has just woken this one up.
    probe.rest();
    let (before, mut now) = (RunTimes::now(), RunTimes::now());
    while !traffic.is_over() {
        // A thread that has ended is not counted any more.
        now = RunTimes::now();
        probe.measure();
        probe.rest();
    }
    let ended_us = show.command(Command::Pause, &Event::State(State::Standing));
    let log = traffic.end();
    let (came, told) = show.end();
    let Recording {
        writers, commits, ..
    } = recording;
    for writer in writers {
        writer.close().unwrap();
    }
    let played_us = ended_us - began_us;
    let end = start.plus_us(played_us - END_US);
    report_frames(&log, &came, start, end, &told);
    report_lateness(&came, (start, began_us), told.late_us, &probe);
    report_cost(&before, &now);
    let range = TimeRange::new(Timestamp(began_us), Timestamp(ended_us));
    report_lag(&log, &commits, range, &probe);
}

fn report_frames(log: &Log, came: &Arrivals, start: Timestamp, end: Timestamp, told: &Told) {
    let (mut faults, mut count) = (0, 0);
    for (stream, pushed) in log {
        let due = &pushed[first_due(pushed, start)..];
        let due_count = due.iter().take_while(|frame| frame.time <= end).count();
        let came = came.get(stream).map_or(&[][..], Vec::as_slice);
        faults += fault_count(due, due_count, came);
        count += came.len();
    }
    let Told {
        wait_count,
        left_out_count,
        failures,
        ..
    } = told;
    eprintln!("the clock waited {wait_count} times, {left_out_count} times without success");
    assert!(failures.is_empty(), "{failures:?}");
    report(
        "64 streams played while recorded",
        "0 frames wrong",
        format!("{faults} of {count}"),
        Verdict::of(faults == 0 && count > 0),
    );
}

/// Whether frames came when they were due: when playing began, and as much later as their times
/// are.
fn report_lateness(
    came: &Arrivals,
    (start, began_us): (Timestamp, i64),
    told_late_us: Vec<i64>,
    probe: &Probe,
) {
    let shown = came.values().flatten().filter(|a| is_shown(a, start));
    let due_us = |time: Timestamp| began_us + time.us_since(start);
    let late = shown.map(|arrival| arrival.arrived_us - due_us(arrival.time));
    let late: Vec<_> = late.collect();
    let early_count = late.iter().filter(|late_us| **late_us < 0).count();
    report(
        "frames before they were due",
        "0",
        early_count,
        Verdict::of(early_count == 0),
    );
    eprintln!(
        "late by the player's own clock: {}",
        Spread::of(told_late_us)
    );
    // The player's thread and a sink's; for two frames, those of both.
    report_pace("lateness at the sinks", 2, late, probe);
    report_pace("skew between streams", 4, skews_us(came, start), probe);
}

/// What playing costs: the manager's thread and its readers', with the kernel's workers for them.
/// Sinks, cameras and recordings do not count.
fn report_cost(before: &RunTimes, now: &RunTimes) {
    let share = |name: &str| 100.0 * now.share_since(before, name);
    let (player, reader) = (share("camring-player"), share("camring-reader"));
    let sinks = share("camring-sink");
    let writers = share("camring-writer") + share("camring-keeper");
    eprintln!(
        "of one core: {player:.2} % camring-player, {reader:.2} % camring-reader (4 threads); \
         not counted: {sinks:.1} % sinks, {writers:.1} % recording, {:.1} % cameras; load {}",
        share("cameras"),
        load()
    );
    report(
        "processor for 64 streams, no sinks",
        "< 10 % of one core",
        format!("{:.1} %", player + reader),
        Verdict::of(player + reader < 10.0),
    );
}

fn report_lag(log: &Log, commits: &Commits, range: TimeRange, probe: &Probe) {
    let lags = commit_lags_us(log, commits, range);
    let bound_us = durable_bound_us(probe);
    let max = lags.iter().max().copied().unwrap();
    report_p99("durable lag beside 64 players", bound_us, lags);
    // The writer wakes up for the tick and for the flush, and its helper to tell of it.
    let bound_us = bound_us + 3 * wakes(probe).max;
    let verdict = Verdict::of(max <= bound_us);
    report_us("durable lag beside 64 players, max", bound_us, max, verdict);
}

/// All streams as they are recorded: before and behind the commit.
pub(crate) fn live() {
    let seed = seed();
    eprintln!("seed {seed}, load {}", load());
    let recording = Recording::begin();
    let (_dir, mut probe) = probe();
    let before = Duration::from_secs(3);
    let traffic = Traffic::begin(&recording, seed, before + 2 * WATCHED);
    // Live begins at key frames, so there must be some.
    sleep(before);
    let [written, committed] = [true, false].map(|uncommitted| {
        let show = Show::begin(&recording);
        let began_us = show.command(Command::Live { uncommitted }, &Event::State(State::Live));
        while boot_us() - began_us < WATCHED.as_micros() as i64 - 1_000_000 {
            probe.measure();
            probe.rest();
        }
        let settled_us = began_us + SETTLED_US;
        let range = TimeRange::new(Timestamp(settled_us), Timestamp(boot_us() - SETTLED_US));
        (range, show.end().0)
    });
    let log = traffic.end();
    let bound_us = durable_bound_us(&probe);
    for (name, bound_us, (range, came)) in [
        ("live, from push to sink", 100_000, written),
        ("live behind the commit", bound_us, committed),
    ] {
        report_live(name, bound_us, &log, &came, range);
    }
}

/// How long frames took from their push to a sink. Each stream may begin anywhere; all that was
/// pushed within `range`, on the boot clock, has to be there.
fn report_live(name: &str, bound_us: i64, log: &Log, came: &Arrivals, range: TimeRange) {
    let (mut delays, mut faults) = (Vec::new(), 0);
    for (stream, pushed) in log {
        let came = came.get(stream).map_or(&[][..], Vec::as_slice);
        let first = came.first().map_or(Timestamp::MAX, |first| first.time);
        let due = &pushed[pushed.partition_point(|frame| frame.time < first)..];
        let end_us = range.end.0;
        let due_count = due.iter().take_while(|p| p.pushed_us <= end_us).count();
        faults += fault_count(due, due_count, came);
        faults += usize::from(came.is_empty());
        let pairs = due.iter().zip(came);
        let pairs = pairs.filter(|(pushed, _)| range.contains(Timestamp(pushed.pushed_us)));
        delays.extend(pairs.map(|(pushed, arrival)| arrival.arrived_us - pushed.pushed_us));
    }
    report(
        &format!("{name}: frames"),
        "0 frames wrong",
        format!("{faults} of {}", delays.len()),
        Verdict::of(faults == 0),
    );
    report_p99(name, bound_us, delays);
}
