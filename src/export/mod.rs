//! Recordings on their way out: files and pipes that other programs play.
//!
//! An export takes [`Item`](crate::frame::Item)s and knows nothing of volumes. Which stretch of a
//! recording is exported, and under which file name, is its caller's business.

pub mod matroska;
mod parameter_sets;
pub mod raw;
pub mod recorder;

pub use self::matroska::{FileSet, MatroskaFiles, MatroskaSink, NumberedFiles, Summary, numbered};
pub use self::raw::{RawSink, RawSummary};
pub use self::recorder::MatroskaRecorder;
