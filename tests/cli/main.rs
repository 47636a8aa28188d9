//! The program `camring` as its users meet it: what it prints, leaves on disk, and ends with.

#![cfg(all(feature = "cli", feature = "rtsp"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and a test that is skipped says so"
)]

mod alone;
mod cameras;
mod care;
mod conventions;
mod demo;
mod destruction;
mod export;
mod keys;
mod making;
mod moved;
mod play;
mod program;
mod pseudo;
mod query;
mod recording;
mod refusal;
mod reload;

#[path = "../matroska/clip.rs"]
#[allow(dead_code, reason = "only what looks at files is needed here")]
mod clip;
#[path = "../support/rtsp_server.rs"]
mod rtsp_server;
#[path = "../support/skip.rs"]
mod skip;
