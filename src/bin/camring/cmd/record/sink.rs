//! Between the cameras and the engine: what a volume knows of a camera that is not there today.

use std::sync::Arc;

use camring::frame::{FrameSink, Item, StreamId, StreamSetup};
use camring::writer::Producer;
use camring::{Result, Volume};

/// The engine as the sink of cameras.
///
/// A camera that cannot be reached has a name and nothing else. Where it was recorded before, the
/// volume knows its tracks, and they stay until it says otherwise.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) producer: Producer,
    pub(super) volume: Volume,
}

impl FrameSink for Sink {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        let item = match item {
            Item::Setup(setup) if setup.tracks.is_empty() => {
                Item::Setup(self.with_known_tracks(stream, setup))
            }
            item => item,
        };
        self.producer.accept(stream, item)
    }
}

impl Sink {
    fn with_known_tracks(&self, stream: StreamId, setup: Arc<StreamSetup>) -> Arc<StreamSetup> {
        let Some(known) = self.volume.stream(stream) else {
            return setup;
        };
        Arc::new(StreamSetup {
            name: setup.name.clone(),
            tracks: known.setup.tracks.clone(),
        })
    }
}
