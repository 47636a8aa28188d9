//! The streams of a volume: their setups, and where each was last recorded.

use std::collections::BTreeMap;

use crate::base::geometry::Sequence;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::block::DecodeStart;
use crate::frame::{StreamId, StreamSetup};

/// A stream as the volume knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its number.
    pub id: StreamId,
    /// Its newest setup.
    pub setup: Arc<StreamSetup>,
    /// The newest block that holds it; 0 for none.
    pub last_sequence: Sequence,
    /// The latest time of its frames; none where it has none yet.
    pub last_time: Option<Timestamp>,
    /// Its newest key frame.
    pub last_key: Option<DecodeStart>,
}

/// All streams of a volume.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    streams: BTreeMap<StreamId, StreamInfo>,
}

impl Registry {
    /// What is known of `stream`.
    pub fn get(&self, stream: StreamId) -> Option<&StreamInfo> {
        self.streams.get(&stream)
    }

    /// The streams with this name.
    pub fn by_name<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r StreamInfo> {
        let is_named = move |stream: &&StreamInfo| stream.setup.name == name;
        self.streams.values().filter(is_named)
    }

    /// All streams, by number.
    pub fn iter(&self) -> impl Iterator<Item = &StreamInfo> {
        self.streams.values()
    }

    /// Takes note of a setup.
    pub fn set_setup(&mut self, stream: StreamId, setup: Arc<StreamSetup>) {
        self.entry(stream).setup = setup;
    }

    /// Takes note of frames up to `time` in block `sequence`, and of the newest key frame if there
    /// was one.
    pub fn add_frames(
        &mut self,
        stream: StreamId,
        sequence: Sequence,
        time: Timestamp,
        key: Option<DecodeStart>,
    ) {
        let entry = self.entry(stream);
        entry.last_sequence = entry.last_sequence.max(sequence);
        entry.last_time = Some(entry.last_time.map_or(time, |last| last.max(time)));
        entry.last_key = key.or(entry.last_key);
    }

    fn entry(&mut self, stream: StreamId) -> &mut StreamInfo {
        self.streams.entry(stream).or_insert_with(|| StreamInfo {
            id: stream,
            setup: Arc::default(),
            last_sequence: 0,
            last_time: None,
            last_key: None,
        })
    }
}
