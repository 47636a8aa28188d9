//! Chosen streams.

use std::collections::BTreeSet;

use crate::base::error::Result;
use crate::frame::{FrameSink, Item, StreamId};

/// Hands on the items of chosen streams, and drops those of others.
#[derive(Clone, Debug)]
#[doc(alias = "PassSlotFrameFilter")]
pub struct Select<S> {
    streams: BTreeSet<StreamId>,
    next: S,
}

impl<S> Select<S> {
    /// A filter that hands the items of `streams` to `next`.
    pub fn new(streams: impl IntoIterator<Item = StreamId>, next: S) -> Self {
        Self {
            streams: streams.into_iter().collect(),
            next,
        }
    }

    /// The sink behind, for its own end.
    pub fn into_next(self) -> S {
        self.next
    }
}

impl<S: FrameSink> FrameSink for Select<S> {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        if self.streams.contains(&stream) {
            self.next.accept(stream, item)?;
        }
        Ok(())
    }
}
