//! kill -9 at random moments, life after life in one volume.
//!
//! A child process records; this process sends it the frames of four made-up cameras through a pipe
//! and keeps the log: what was sent (a hash of it), what the child says it has pushed and when, and
//! what it was told is durable. The log survives the child, and decides what must be there, what
//! may be there, and that nothing else is. camring's own word counts for nothing here, but where it
//! promised that a frame is durable.
//!
//! `CAMRING_KILLS` sets how many kills there are, `CAMRING_SEED` repeats a run.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a panic is how a test fails; seed and figures are printed"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "kill/child.rs"]
mod child;
#[path = "kill/lives.rs"]
mod lives;
#[path = "kill/log.rs"]
mod log;
#[path = "support/recording.rs"]
mod recording;

use std::path::Path;

/// Not a test of its own: the recorder that is killed. Without its environment it does nothing.
#[test]
fn recorder_process() {
    if let Some(dir) = std::env::var_os(child::DIR_VARIABLE) {
        child::record(Path::new(&dir), lives::COMMIT_US);
    }
}

/// Four cameras, killed again and again, also while the recorder starts; caches are lost, spoilt and
/// replaced in between. What was durable is there, in order and to the bit; what came later is there
/// or not; nothing comes twice, nothing comes back, and nothing else comes.
#[test]
fn what_was_durable_survives_every_kill() {
    let kills = std::env::var("CAMRING_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(50);
    let seed = camera::seed();
    lives::run(kills, seed, &mut |_| {});
}
