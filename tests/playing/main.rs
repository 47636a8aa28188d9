//! Playing, simulated: random recordings, commands, slow disks, caches of all sizes; what comes out
//! is compared with a model that knows nothing but the recording, where the player was sent, and
//! where its head is now.
//!
//! Forward, a stream that was sent to time t must have delivered exactly its frames from the newest
//! key frame at or before t to the last one whose release time the head has reached, each once and in
//! order, with the gaps between them; those that are shown before the picture of time t are marked.
//! Backward, exactly the key frames that the head has passed, newest first.
//!
//! `CAMRING_SEED` and `CAMRING_TRIALS` choose the scenarios; `CAMRING_TRACE` prints what happens.
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
mod disk;
mod model;
mod recording;
mod scenario;
mod user;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use scenario::{Menu, Scenario};

/// How many scenarios the default tier runs.
const TRIALS: u64 = 10_000;

/// How often each kind of thing has happened.
type Counts = BTreeMap<&'static str, u64>;

/// What has to happen in as many scenarios at least once.
const KINDS: [&str; 18] = [
    "backward from standing",
    "disk stuck",
    "failure",
    "frame",
    "gap",
    "gap skipped",
    "left out",
    "loop",
    "map while playing",
    "map while playing backward",
    "map while standing",
    "rejoin",
    "seek",
    "sound",
    "step",
    "step back",
    "turn while playing",
    "turn while standing",
];

/// Runs scenarios, and returns the seeds of those that fail.
fn failures(seeds: impl Iterator<Item = u64>, menu: Menu, counts: &mut Counts) -> Vec<u64> {
    let mut failed = Vec::new();
    for seed in seeds {
        let mut scenario = Scenario::new(seed, menu);
        if catch_unwind(AssertUnwindSafe(|| scenario.run())).is_err() {
            failed.push(seed);
        }
        for (kind, count) in scenario.counts {
            *counts.entry(kind).or_default() += count;
        }
    }
    failed
}

#[test]
fn what_is_played_is_what_a_simple_model_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("CAMRING_SEED").unwrap_or(1);
    let trials = number("CAMRING_TRIALS").unwrap_or(TRIALS);
    let mut counts = Counts::new();
    let failed = failures(first..first + trials, Menu::Failures, &mut counts);
    let count = failed.len();
    assert!(
        failed.is_empty(),
        "{count} of {trials} scenarios failed, with the seeds {failed:?}"
    );
    println!("{trials} scenarios, {counts:?}");
    if trials >= TRIALS {
        let missing = KINDS.iter().filter(|kind| !counts.contains_key(**kind));
        assert_eq!(missing.count(), 0, "not all of {KINDS:?} in {counts:?}");
    }
}

/// A stream was mapped while the cache was full of what its source had read ahead; a source came
/// back from a stall with more than fits in the cache, or with what is shown before a picture that
/// was shown already; a read failed, and what was cached before and behind the hole was taken for one
/// stretch, or a gap was told twice.
#[test]
fn seeds_that_have_failed_do_not_fail_again() {
    let seeds = [13_237, 15_978, 47_764, 49_278, 50_330, 52_347, 66_533];
    let failed = failures(seeds.into_iter(), Menu::Small, &mut Counts::new());
    assert!(failed.is_empty(), "with the seeds {failed:?}");
    let failed = failures([27_688, 37_184].into_iter(), Menu::Full, &mut Counts::new());
    assert!(failed.is_empty(), "with the seeds {failed:?}");
    let after_failures = [287, 354, 439, 5313, 5470, 6090];
    let failed = failures(
        after_failures.into_iter(),
        Menu::Failures,
        &mut Counts::new(),
    );
    assert!(failed.is_empty(), "with the seeds {failed:?}");
    let after_stalls = [
        857, 1999, 2038, 2259, 4480, 4619, 4658, 4686, 4771, 5060, 5099, 6591, 7500,
    ];
    let failed = failures(after_stalls.into_iter(), Menu::Stalls, &mut Counts::new());
    assert!(failed.is_empty(), "with the seeds {failed:?}");
}
