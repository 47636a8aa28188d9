//! What is mapped to one slot: a queue, and the streams that lead into it. Decides which of them
//! the slot is given; when, is decided in `player`.

use std::sync::Mutex;

use crate::base::error::ErrorKind;
use crate::base::sync::{Arc, lock};
use crate::base::time::{Timestamp, US_PER_S};
use crate::frame::filter::ChannelSink;
use crate::frame::{Frame, FrameSink, Item, StreamId, StreamSetup};
use crate::player::StreamKey;

/// How long a stream of a history must be silent before another one takes over, in microseconds.
const SILENCE_US: i64 = 2 * US_PER_S;

/// The queue of one slot or of several. Only the manager's thread takes the lock.
pub(super) type SharedQueue = Arc<Mutex<ChannelSink>>;

/// A slot.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) slot: StreamId,
    keys: Vec<Part>,
    /// The stream that is played now, and the time of its newest frame.
    holder: Option<(StreamKey, Timestamp)>,
    queue: SharedQueue,
    /// The queue is gone: nobody wants more.
    pub(super) is_over: bool,
}

/// A stream of the slot's history.
#[derive(Debug)]
struct Part {
    key: StreamKey,
    /// Its setup in force.
    setup: Option<Arc<StreamSetup>>,
    /// Whether the queue has that setup.
    is_set_up: bool,
    /// Whether it has begun, at a frame where decoding can begin.
    is_joined: bool,
}

impl Part {
    fn new(key: StreamKey) -> Self {
        Self {
            key,
            setup: None,
            is_set_up: false,
            is_joined: false,
        }
    }

    /// Whether it has begun, or begins with `frame`.
    fn joins(&mut self, frame: &Frame) -> bool {
        let video = self.setup.as_ref().and_then(|setup| setup.video_track());
        self.is_joined |= video.is_none_or(|track| frame.key && frame.track == track);
        self.is_joined
    }
}

impl Outlet {
    /// `keys` lead into `queue`, as `slot`.
    pub(super) fn new(slot: StreamId, keys: &[StreamKey], queue: SharedQueue) -> Self {
        let mut own: Vec<StreamKey> = keys.to_vec();
        own.sort_unstable();
        own.dedup();
        let parts = own.into_iter().map(Part::new);
        Self {
            slot,
            keys: parts.collect(),
            holder: None,
            queue,
            is_over: false,
        }
    }

    /// Whether its queue has room for whatever may come next.
    pub(super) fn has_room(&self) -> bool {
        lock(&self.queue).has_room()
    }

    /// The streams that lead here.
    pub(super) fn keys(&self) -> impl Iterator<Item = StreamKey> + '_ {
        self.keys.iter().map(|part| part.key)
    }

    /// A seek, or something like it: whoever has frames first plays.
    pub(super) fn forget_holder(&mut self) {
        self.holder = None;
    }

    /// Takes an item of stream `key`. Whether it is in the queue now; a setup goes there with what
    /// follows it.
    pub(super) fn deliver(&mut self, key: StreamKey, item: Item) -> bool {
        let is_alone = self.keys.len() == 1;
        let Some(part) = self.keys.iter_mut().find(|part| part.key == key) else {
            return false;
        };
        match &item {
            Item::Setup(setup) => {
                (part.setup, part.is_set_up) = (Some(setup.clone()), false);
                return false;
            }
            Item::Gap(_) if is_alone || self.holder.is_some_and(|(holder, _)| holder == key) => {}
            Item::Gap(_) => return false,
            Item::Frame(frame) | Item::Preroll(frame) => {
                let is_held = self.holder.is_some_and(|(holder, latest)| {
                    holder != key && frame.time.us_since(latest).abs() < SILENCE_US
                });
                if is_held {
                    // When its turn comes it begins anew.
                    part.is_joined = false;
                    return false;
                }
                if !part.joins(frame) {
                    return false;
                }
                if self.holder.is_none_or(|(holder, _)| holder != key) {
                    part.is_set_up = false;
                }
                self.holder = Some((key, frame.time));
            }
        }
        if !part.is_set_up
            && let Some(setup) = part.setup.clone()
        {
            part.is_set_up = true;
            self.offer(Item::Setup(setup));
        }
        self.offer(item)
    }

    fn offer(&mut self, item: Item) -> bool {
        let offered = lock(&self.queue).accept(self.slot, item);
        // A full queue counts what it loses; one that is gone ends the mapping.
        if let Err(e) = &offered {
            self.is_over |= e.kind() == ErrorKind::Failed;
        }
        offered.is_ok()
    }
}
