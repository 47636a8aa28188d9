//! Where frames go: the one interface between cameras, the engine and exports.

use super::{Frame, Gap, StreamId, StreamSetup};
use crate::base::error::Result;
use crate::base::geometry::Sequence;
use crate::base::sync::Arc;

/// What a stream consists of, in the order of decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// How to decode what follows; comes before the first frame, and at every change.
    Setup(Arc<StreamSetup>),
    /// A frame.
    Frame(Frame),
    /// A frame on the way from a key frame to the time that a player was sent to: to be decoded,
    /// not to be shown. Only players make it; elsewhere it is a frame like any other.
    Preroll(Frame),
    /// Frames are missing here.
    Gap(Gap),
}

/// An item that was read, and where it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The stream.
    pub stream: StreamId,
    /// The block that it was in.
    pub sequence: Sequence,
    /// The ordinal of the frame; of the next frame for a gap that was stored. 0 for setups, and for
    /// gaps that reading has found. Within a stream, (`sequence`, `ordinal`) grows from frame to
    /// frame.
    pub ordinal: u64,
    /// The setup, frame or gap. Gaps tell also what could not be read, and why.
    pub item: Item,
}

/// Takes the items of any number of streams.
#[doc(alias = "FrameFilter")]
pub trait FrameSink {
    /// Takes the next item of `stream`.
    ///
    /// # Errors
    ///
    /// The sink's own. After an error the item counts as not taken; the sink says in its
    /// documentation whether it takes more.
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()>;
}

impl<S: FrameSink + ?Sized> FrameSink for &mut S {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        (**self).accept(stream, item)
    }
}

impl<S: FrameSink + ?Sized> FrameSink for Box<S> {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        (**self).accept(stream, item)
    }
}
