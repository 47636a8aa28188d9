//! Which producer records which stream, and what of a stream outlives its producer: its dense
//! number, its quota, its ordinals.

use std::collections::HashMap;

use super::quota::Quota;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::frame::StreamId;

/// The streams of this life.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    known: HashMap<StreamId, Known>,
    producer_count: u64,
}

/// A place in the ring of a producer: so many messages from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingPlace {
    pub(super) producer: u64,
    pub(super) message_count: u64,
}

/// A stream as a producer takes it over.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) dense: u32,
    pub(super) quota: Arc<Quota>,
    pub(super) next_ordinal: u64,
    /// The latest time of its frames in this life.
    pub(super) last_time: Option<Timestamp>,
    /// Where the producer that held it before has left off; none where this is the first.
    pub(super) after: Option<RingPlace>,
    /// Whether it was told that its frames are too long for the volume.
    pub(super) is_oversize_told: bool,
}

#[derive(Debug)]
struct Known {
    held: Held,
    holder: Option<u64>,
}

impl Numbers {
    /// The number of a new producer.
    pub(super) fn add_producer(&mut self) -> u64 {
        self.producer_count += 1;
        self.producer_count
    }

    /// Gives `stream` to `producer`; a stream that is new in this life gets a quota of `quota_len`
    /// bytes.
    ///
    /// # Errors
    ///
    /// [`Exists`](ErrorKind::Exists) when a producer holds it.
    pub(super) fn hold(&mut self, stream: StreamId, producer: u64, quota_len: u64) -> Result<Held> {
        let dense = self.known.len() as u32;
        let known = self.known.entry(stream).or_insert_with(|| {
            let quota = Quota::new(quota_len);
            let held = Held {
                dense,
                quota,
                next_ordinal: 0,
                last_time: None,
                after: None,
                is_oversize_told: false,
            };
            Known { held, holder: None }
        });
        if known.holder.is_some() {
            let text = format!("stream {stream} is being recorded already");
            return Err(Error::new(ErrorKind::Exists, text)
                .with_remedy("Remove it from its producer first, or choose another number"));
        }
        known.holder = Some(producer);
        Ok(known.held.clone())
    }

    /// Takes `stream` back from its producer, which has left it as `held`.
    pub(super) fn release(&mut self, stream: StreamId, held: Held) {
        self.known.insert(stream, Known { held, holder: None });
    }
}
