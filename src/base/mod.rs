//! What every layer may use: errors, time, geometry, and the door to atomics.
//!
//! Nothing here knows of frames, disks or threads' work.

pub mod error;
pub mod geometry;
pub mod seqlock;
pub mod sync;
pub mod time;
