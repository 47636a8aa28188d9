//! What is recorded: frames of streams, the setups that decode them, and the gaps between them.
//!
//! A camera's session, the engine and an export all speak in [`Item`]s, and hand them to a
//! [`FrameSink`]; a [`filter`] stands between the two. How an item is laid out on disk is `block`'s business.

pub mod filter;
pub mod gap;
pub mod nal;
pub mod setup;
pub mod sink;

use std::fmt;

use bytes::Bytes;

pub use self::gap::{Gap, GapCause};
pub use self::setup::{Codec, StreamSetup, TrackSetup};
pub use self::sink::{FrameSink, Item, Recorded};
use crate::base::time::Timestamp;

/// The most tracks of a stream.
pub const MAX_TRACK_COUNT: usize = 16;

/// One camera view, numbered by the user. Any number is legal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "slot")]
pub struct StreamId(pub u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One access unit of one track: all NAL units of one picture, or one audio frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias = "BasicFrame")]
pub struct Frame {
    /// The track, an index into [`StreamSetup::tracks`].
    pub track: u8,
    /// Whether decoding can start here: IDR, CRA or recovery point; every audio and MJPEG frame.
    pub key: bool,
    /// A picture that follows a CRA in decode order and cannot be decoded when decoding starts
    /// there (RASL).
    pub leading: bool,
    /// Presentation time. Frames are kept in decode order, so with B-frames times go back.
    pub time: Timestamp,
    /// The camera's own clock in units of the track's `clock_rate_hz`, unwrapped; 0 where the
    /// producer has none.
    pub clock: i64,
    /// The encoded bytes. H.264 and H.265: NAL units, each behind its length as four bytes, most
    /// significant first. AAC: raw, without ADTS. Others: as RTP carries them.
    pub payload: Bytes,
}
