//! Recordings on their way out: files and pipes that other programs play.
//!
//! An export takes [`Item`](crate::frame::Item)s and knows nothing of volumes. Which stretch of a
//! recording is exported, and under which file name, is its caller's business.

pub mod matroska;
mod parameter_sets;
pub mod raw;

pub use self::matroska::{MatroskaSink, Summary};
pub use self::raw::{RawSink, RawSummary};
