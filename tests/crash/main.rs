//! Power cuts, failing requests, and a disk that lies, simulated, life after life.
//!
//! The engine's own writer, recovery and reader run on one thread with a clock that the test
//! moves. At every request the disk is cut off: every unflushed sector is kept, dropped or torn.
//! Openings are cut, too, and processes are killed while the disk goes on. What the next opening serves is compared with a model that knows what was
//! pushed, what the writer called durable, and what an earlier opening declared lost:
//!
//! - nothing durable is missing while the ring has room for it, or damage is told where the disk
//!   has spoilt something without a word,
//! - every frame that is served was pushed, byte for byte, in its order, once,
//! - a frame that was once declared lost never comes back.
//!
//! `CAMRING_STATES` sets how many states each of the random tests looks at, `CAMRING_SEED` the first
//! trial; `cargo xtask crash` runs them for long.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::print_stdout,
    reason = "a panic is how a test fails"
)]

#[path = "../support/camera.rs"]
mod camera;
mod counts;
mod life;
mod model;
#[path = "../support/simulated.rs"]
mod simulated;
mod sweep;
mod timed;
mod trial;

use camring::base::time::ManualClock;
use camring::writer::WriterOptions;

use counts::Counts;
use life::Hazard;
use trial::{trial, trials};

const SLOT_COUNT: u64 = 16;
const STREAM_COUNT: u64 = 3;

/// The commit period.
const COMMIT_US: u64 = 100_000;

/// What each of the three random tests looks at in the default tier.
const STATE_COUNT: u64 = 25_000;

fn options(clock: &ManualClock) -> WriterOptions {
    simulated::options(clock, COMMIT_US)
}

/// What happens in every kind of trial.
const ALWAYS: [&str; 9] = [
    "life",
    "clean end",
    "killed",
    "wrap",
    "cut in an opening",
    "several unflushed blocks",
    "torn sectors, with a header unflushed",
    "clock step",
    "stall",
];

#[test]
fn nothing_durable_is_lost_and_nothing_lost_comes_back_after_power_cuts() {
    let counts = trials(Hazard::Cuts, STATE_COUNT);
    counts.require(&ALWAYS);
    counts.require(&["lost frame"]);
}

#[test]
fn nothing_durable_is_lost_when_writes_and_flushes_fail_too() {
    let counts = trials(Hazard::Faults, STATE_COUNT);
    counts.require(&ALWAYS);
    counts.require(&[
        "failing write",
        "failing flush",
        "life with a request that failed",
        "retired slot",
        "failed volume",
    ]);
}

/// Trials that once failed.
#[test]
fn what_once_failed_holds() {
    // A header that could not be written had left an older block in its slot, which was retired and
    // so counted again, without the void range that had hidden a part of it.
    trial(75, Hazard::Faults, &mut Counts::default());
}

#[test]
fn what_the_disk_has_spoilt_without_a_word_is_told_and_never_served() {
    let counts = trials(Hazard::Rot, STATE_COUNT);
    counts.require(&ALWAYS);
    counts.require(&["rotten page", "spoilt write", "damage that was told"]);
}
