//! camring records encoded video from many cameras into a ring of fixed-size blocks on a
//! pre-reserved file or a raw partition, and plays it back.

pub mod base;
pub mod block;
#[cfg(feature = "export")]
pub mod export;
pub mod frame;
pub mod ingest;
pub mod io;
pub mod reader;
pub mod table;
pub mod volume;
pub mod writer;

pub use base::error::{Error, ErrorKind, Result};
