//! Volumes on real GPT partitions: of loop devices with sectors of 512 and 4096 bytes.
//!
//! Each disk has a partition before and one behind the one that is worked on, full of bytes that
//! must not change. See `tests/support/disk.rs`.

#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a panic is how a test fails, and a test that is skipped says so"
)]

mod access;
mod carried;
mod kill;
mod listing;
mod pulled;
mod recorded;
mod refused;

#[path = "../support/camera.rs"]
mod camera;
#[path = "../kill/child.rs"]
mod child;
#[path = "../support/disk.rs"]
mod disk;
#[path = "../kill/lives.rs"]
mod lives;
#[path = "../kill/log.rs"]
mod log;
#[path = "../cli/program.rs"]
#[allow(
    dead_code,
    reason = "only what runs the program to its end is needed here"
)]
mod program;
#[path = "../cli/pseudo.rs"]
#[allow(dead_code, reason = "only what asks one question is needed here")]
mod pseudo;
#[path = "../support/recording.rs"]
mod recording;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/yank.rs"]
mod yank;

use std::path::Path;

use disk::Disk;
use program::Ended;

/// Runs `camring create DIR --partition` on the partition of `disk`.
fn create(dir: &Path, disk: &Disk, options: &str) -> Ended {
    let partuuid = &disk.partuuid;
    program::run(
        dir,
        &format!("create {{}} --partition {partuuid} {options}"),
    )
}

/// As [`create`], which must succeed, without questions.
fn make(dir: &Path, disk: &Disk, options: &str) {
    let ended = create(dir, disk, format!("{options} --yes").trim_start());
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Not a test of its own: the recorder that is killed. Without its environment it does nothing.
#[test]
fn recorder_process() {
    if let Some(dir) = std::env::var_os(child::DIR_VARIABLE) {
        child::record(Path::new(&dir), lives::COMMIT_US);
    }
}
