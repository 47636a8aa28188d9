//! Recordings on their way out: files that other programs play.
//!
//! An export takes [`Item`](crate::frame::Item)s and knows nothing of volumes. Which stretch of a
//! recording is exported, and under which file name, is its caller's business.

pub mod matroska;

pub use self::matroska::{MatroskaSink, Summary};
