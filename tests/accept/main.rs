//! The bounds that only a real clock on a real machine can show, one check after the other; started
//! by `cargo xtask accept`, which reads the lines. Arguments choose checks by name.
//!
//! A check prints `ACCEPT name | bound | measured | verdict` for each of its bounds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a panic is how a check fails, and lines are how it reports"
)]

#[path = "../cameras/bench.rs"]
mod bench;
#[path = "../support/camera.rs"]
mod camera;
#[path = "../kill/child.rs"]
mod child;
#[path = "../cameras/compare.rs"]
mod compare;
#[path = "../cameras/eight.rs"]
mod eight;
#[path = "../cameras/export.rs"]
mod export;
#[path = "../kill/lives.rs"]
mod lives;
#[path = "../kill/log.rs"]
mod log;
mod playback;
mod probe;
#[path = "../support/recording.rs"]
mod recording;
#[path = "../support/rtsp_server.rs"]
mod rtsp_server;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../cameras/stored.rs"]
mod stored;
mod threads;
mod traffic;
mod viewer;

use std::fmt::Display;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use compare::TOLERANCE_US;
use probe::Probe;

const CHECKS: [(&str, fn()); 5] = [
    ("cameras", eight_cameras),
    ("kill", kills),
    ("demo", demo),
    ("play", playback::in_step),
    ("live", playback::live),
];

fn main() -> ExitCode {
    // This program is also the recorder that is killed.
    if let Some(dir) = std::env::var_os(child::DIR_VARIABLE) {
        child::record(Path::new(&dir), lives::COMMIT_US);
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let unknown = chosen
        .iter()
        .find(|name| CHECKS.iter().all(|(known, _)| known != name));
    if let Some(name) = unknown {
        let names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no check {name}, only {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    for (name, check) in CHECKS {
        let is_chosen = chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
        if is_chosen && std::panic::catch_unwind(check).is_err() {
            report(name, "runs to its end", "panicked", Verdict::Miss);
        }
    }
    ExitCode::SUCCESS
}

enum Verdict {
    Ok,
    Miss,
    Skip,
}

impl Verdict {
    fn of(holds: bool) -> Self {
        if holds { Self::Ok } else { Self::Miss }
    }
}

fn report(name: &str, bound: impl Display, measured: impl Display, verdict: Verdict) {
    let verdict = match verdict {
        Verdict::Ok => "ok",
        Verdict::Miss => "miss",
        Verdict::Skip => "skip",
    };
    println!("ACCEPT {name} | {bound} | {measured} | {verdict}");
}

/// A bound in whole milliseconds.
fn report_ms(name: &str, bound: Duration, measured: Duration) {
    let verdict = Verdict::of(measured <= bound);
    let (bound, measured) = (bound.as_millis(), measured.as_millis());
    report(
        name,
        format!("<= {bound} ms"),
        format!("{measured} ms"),
        verdict,
    );
}

/// Eight real cameras at once: all that their servers sent is on disk and in the exports.
fn eight_cameras() {
    const NAME: &str = "eight cameras";
    if !rtsp_server::can_serve(NAME) || !export::can_look(NAME) {
        let lack = "no GStreamer RTSP server, ffmpeg or mkvtoolnix";
        return report(NAME, "0 units missing", lack, Verdict::Skip);
    }
    let seconds = eight::seconds(30);
    let outcome = eight::record(seconds);
    outcome.print();
    let (sent, faults) = (outcome.sent_count(), outcome.fault_count());
    report(
        &format!("eight cameras for {seconds} s"),
        "0 units missing or changed",
        format!("{faults} of {sent}"),
        Verdict::of(faults == 0 && sent > 0),
    );
    let losses = (outcome.shed_count, outcome.gap_count);
    report(
        "frames shed, gaps",
        "0, 0",
        format!("{}, {}", losses.0, losses.1),
        Verdict::of(losses == (0, 0)),
    );
    let bound = format!("<= {TOLERANCE_US} us");
    for (name, error_us) in [
        ("distance of frames in time", outcome.max_time_error_us()),
        ("sound beside pictures", outcome.max_apart_us()),
    ] {
        let verdict = Verdict::of(error_us <= TOLERANCE_US);
        report(name, &bound, format!("{error_us} us"), verdict);
    }
}

/// Recorders that are killed: what is lost, and how soon the next one records.
fn kills() {
    let given = std::env::var("CAMRING_KILLS").ok();
    let count = given.map_or(200, |count| count.parse().unwrap());
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut probe = Probe::new(dir.path());
    let figures = lives::run(count, camera::seed(), &mut |_| probe.measure());
    let Probe { write, flush, .. } = probe;
    eprintln!(
        "the disk by itself: {} ms for a write of 1 MiB, {} ms for a flush, at most",
        write.as_millis(),
        flush.as_millis()
    );
    // P1 of docs/DURABILITY.md: the commit period, one write and two flushes.
    let loss_bound = Duration::from_micros(lives::COMMIT_US) + write + 2 * flush;
    let loss = Duration::from_micros(figures.longest_loss_us.unsigned_abs());
    report_ms(&format!("loss by {count} kills"), loss_bound, loss);
    let open = Duration::from_micros(figures.longest_open_us);
    report_ms("recorder opens after a kill", Duration::from_secs(2), open);
}

/// The whole job with one command.
fn demo() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let start = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_camring"))
        .arg("demo")
        .arg(dir.path().join("demo-volume"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "camring demo: {status}");
    report_ms(
        "demo, without the build",
        Duration::from_secs(60),
        start.elapsed(),
    );
}
