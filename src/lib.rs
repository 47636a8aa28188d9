//! camring records encoded video from many cameras into a ring of fixed-size blocks on a
//! pre-reserved file or a raw partition, and plays it back.
//!
//! A [`Volume`] is one formatted ring. A [`Writer`] records into it, a [`Reader`] reads from it;
//! both may work at once, in one process or in several. What goes in and comes out are
//! [`frame::Item`]s: setups, frames and gaps.
#![doc = include_str!("../README.md")]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("camring counts bytes of disks in usize: it needs a 64-bit target");

pub mod base;
pub mod block;
#[cfg(feature = "export")]
pub mod export;
pub mod frame;
pub mod ingest;
pub mod io;
pub mod manager;
pub mod player;
pub mod reader;
pub mod table;
pub mod volume;
pub mod writer;

pub use base::error::{Error, ErrorKind, Result};
pub use manager::Manager;
pub use reader::Reader;
pub use volume::Volume;
pub use writer::Writer;
