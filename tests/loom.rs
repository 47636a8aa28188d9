//! Models of the lock-free parts: every interleaving and every result that the memory model
//! allows, up to a bound.
//!
//! Each model runs the code that ships, and then twins of it with one ordering weakened: a twin
//! that passed would show that the model is blind. Run with
//!
//! ```text
//! RUSTFLAGS='--cfg camring_loom' cargo test --release --no-default-features --test loom \
//!     --target-dir target/loom
//! ```
#![cfg(camring_loom)]
#![allow(
    clippy::arc_with_non_send_sync,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    missing_docs,
    reason = "a panic is how a test fails"
)]

#[path = "loom/buffers.rs"]
mod buffers;
#[path = "loom/live.rs"]
mod live;
#[path = "loom/seqlock.rs"]
mod seqlock;
#[path = "loom/sleeper.rs"]
mod sleeper;
#[path = "loom/task.rs"]
mod task;
#[path = "loom/wake.rs"]
mod wake;
