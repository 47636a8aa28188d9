//! The `camring` program: a thin shell around the library's public interface.

#![expect(
    dead_code,
    reason = "the commands come with the engine that they drive"
)]

mod args;
#[cfg(feature = "rtsp")]
mod credentials;
mod error;
mod output;
mod size;
mod time;

fn main() {}
