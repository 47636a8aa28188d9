//! Numbers about what went by.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::base::error::Result;
use crate::base::sync::Arc;
use crate::base::sync::lock;
use crate::base::time::Timestamp;
use crate::frame::{FrameSink, Gap, GapCause, Item, StreamId};

/// Counts what the sink behind takes, by stream. Memory: an entry for each stream.
#[derive(Debug)]
#[doc(alias = "CountFrameFilter")]
pub struct Count<S> {
    counts: Counts,
    next: S,
}

/// The counts of a [`Count`], for any thread and at any time. Clones see the same counts.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Mutex<BTreeMap<StreamId, Entry>>>);

/// What went by of one stream. All but `refused_count` is about items that the sink behind took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Frames of all tracks, those among them that are not to be shown.
    pub frame_count: u64,
    /// Those of them that are key frames.
    pub key_count: u64,
    /// The bytes of their payloads.
    pub payload_len: u64,
    /// Setups, repeated ones among them.
    pub setup_count: u64,
    /// Gaps; one that is told when it begins and when it ends counts once.
    pub gap_count: u64,
    /// Items that the sink behind refused.
    pub refused_count: u64,
    /// The time of the newest frame.
    pub latest: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    counts: StreamCounts,
    /// The gap that has no end yet.
    open: Option<(GapCause, Timestamp)>,
}

/// What of an item is counted.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Setup,
    Frame {
        time: Timestamp,
        key: bool,
        len: u64,
    },
    Gap(Gap),
}

impl<S> Count<S> {
    /// Counts what goes to `next`.
    pub fn new(next: S) -> Self {
        Self {
            counts: Counts::default(),
            next,
        }
    }

    /// The counts.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// The sink behind, for its own end.
    pub fn into_next(self) -> S {
        self.next
    }
}

impl Counts {
    /// The counts of `stream`: all 0 while nothing came.
    pub fn of(&self, stream: StreamId) -> StreamCounts {
        let found = lock(&self.0).get(&stream).copied();
        found.unwrap_or_default().counts
    }

    /// The counts of all streams of which something came, by their numbers.
    pub fn all(&self) -> Vec<(StreamId, StreamCounts)> {
        let entries = lock(&self.0);
        let all = entries
            .iter()
            .map(|(stream, entry)| (*stream, entry.counts));
        all.collect()
    }
}

impl<S: FrameSink> FrameSink for Count<S> {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        let kind = Kind::of(&item);
        let outcome = self.next.accept(stream, item);
        let mut entries = lock(&self.counts.0);
        let entry = entries.entry(stream).or_default();
        match outcome {
            Ok(()) => entry.count(kind),
            Err(_) => entry.counts.refused_count += 1,
        }
        outcome
    }
}

impl Kind {
    fn of(item: &Item) -> Self {
        match item {
            Item::Setup(_) => Self::Setup,
            Item::Frame(frame) | Item::Preroll(frame) => Self::Frame {
                time: frame.time,
                key: frame.key,
                len: frame.payload.len() as u64,
            },
            Item::Gap(gap) => Self::Gap(*gap),
        }
    }
}

impl Entry {
    fn count(&mut self, kind: Kind) {
        let counts = &mut self.counts;
        match kind {
            Kind::Setup => counts.setup_count += 1,
            Kind::Frame { time, key, len } => {
                counts.frame_count += 1;
                counts.key_count += u64::from(key);
                counts.payload_len += len;
                counts.latest = Some(time);
            }
            Kind::Gap(gap) => {
                let is_end = self.open.take() == Some((gap.cause, gap.start));
                counts.gap_count += u64::from(!is_end);
                if gap.end.is_none() {
                    self.open = Some((gap.cause, gap.start));
                }
            }
        }
    }
}
