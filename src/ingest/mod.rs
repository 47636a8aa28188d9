//! Where frames come from: cameras on the network, and the built-in ones.
//!
//! Everything here makes [`Item`](crate::frame::Item)s and hands them to a
//! [`FrameSink`](crate::frame::FrameSink). Nothing here knows how they are stored.

#[cfg(any(feature = "rtsp", feature = "export"))]
pub mod builtin;
#[cfg(any(feature = "rtsp", feature = "export"))]
pub mod clip;
#[cfg(feature = "rtsp")]
pub mod rtsp;
