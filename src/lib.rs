//! camring records encoded video from many cameras into a ring of fixed-size blocks on a
//! pre-reserved file or a raw partition, and plays it back.
//!
//! A [`Volume`] is one formatted ring. A [`Writer`] records into it, a [`Reader`] reads from it;
//! both may work at once, in one process or in several. What goes in and comes out are
//! [`frame::Item`]s: setups, frames and gaps.
//!
//! ```no_run
//! use camring::frame::{Codec, Frame, StreamId, StreamSetup, TrackSetup};
//! use camring::reader::{Query, Reader};
//! use camring::volume::{CreateOptions, Volume, VolumeSize};
//! use camring::writer::{Writer, WriterOptions};
//! use camring::base::time::{TimeRange, Timestamp};
//!
//! let size = VolumeSize::Bytes(1 << 30);
//! let options = CreateOptions { size, block_len: None, replace: false };
//! Volume::create("yard", &options, &mut |_, _| {})?;
//!
//! let writer = Writer::open("yard", WriterOptions::default())?;
//! let mut producer = writer.producer()?;
//! let track = TrackSetup {
//!     codec: Codec::Private,
//!     clock_rate_hz: 1000,
//!     width_px: 0,
//!     height_px: 0,
//!     channel_count: 0,
//!     extra: bytes::Bytes::new(),
//! };
//! let setup = StreamSetup { name: "gate".to_owned(), tracks: vec![track] };
//! producer.add_stream(StreamId(7), setup)?;
//! producer.push(StreamId(7), Frame {
//!     track: 0,
//!     key: true,
//!     leading: false,
//!     time: Timestamp(1_700_000_000_000_000),
//!     clock: 0,
//!     payload: bytes::Bytes::from_static(b"a frame"),
//! })?;
//! writer.commit()?;
//!
//! let mut reader = Reader::open(writer.volume())?;
//! for recorded in reader.read(Query::time([StreamId(7)], TimeRange::ALL))? {
//!     println!("{recorded:?}");
//! }
//! # Ok::<(), camring::Error>(())
//! ```

#[cfg(not(target_pointer_width = "64"))]
compile_error!("camring counts bytes of disks in usize: it needs a 64-bit target");

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
pub use reader::Reader;
pub use volume::Volume;
pub use writer::Writer;
