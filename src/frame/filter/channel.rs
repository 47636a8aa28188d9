//! To another thread, at its own pace.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::TryRecvError;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::MAX_FRAME_LEN;
use crate::base::sync::Arc;
use crate::base::sync::lock;
use crate::base::time::Timestamp;
use crate::frame::{Frame, FrameSink, Gap, GapCause, Item, StreamId, StreamSetup};

/// How many items a frame may bring along: the setup that came meanwhile, the gap, and itself.
const MAX_STEP_COUNT: usize = 3;

/// How much a [`channel()`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// The most items of all streams; at least 3 are held.
    pub item_count: usize,
    /// The most bytes of all payloads; a single frame may have more. A payload that is a slice of
    /// a larger buffer keeps all of that buffer in memory.
    pub payload_len: usize,
}

impl Default for ChannelLimits {
    /// 1,024 items and 16 MiB: some seconds of one camera.
    fn default() -> Self {
        Self {
            item_count: 1_024,
            payload_len: 16 << 20,
        }
    }
}

/// The end of a [`channel()`] that takes items.
///
/// It never waits. A frame or gap for which there is no room is lost, and so is what follows in
/// that stream up to the next key frame of the video at which there is room; a stream without video
/// goes on with the next frame. Before that key frame the receiver is told how many frames are
/// missing: an [`Item::Gap`] of [`GapCause::QueueFull`] from the last frame before the loss to the
/// first one behind it. A gap that was lost lies within it. Setups are never lost, but for one that
/// another one replaced before there was room.
#[derive(Debug)]
pub struct ChannelSink {
    shared: Arc<Shared>,
    limits: ChannelLimits,
    streams: HashMap<StreamId, Stream>,
}

/// The end of a [`channel()`] that hands out items. As an iterator it waits for each, and ends when
/// there will be no more.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when something came, and when nothing will come any more.
    news: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<(StreamId, Item)>,
    payload_len: usize,
    lost_count: u64,
    is_sender_gone: bool,
    is_receiver_gone: bool,
}

/// What the sink knows of a stream.
#[derive(Debug, Default)]
struct Stream {
    video_track: Option<u8>,
    /// The time of the last frame that went into the queue.
    latest: Option<Timestamp>,
    /// A setup that is not in the queue yet.
    setup: Option<Arc<StreamSetup>>,
    /// What is lost, until the queue tells it.
    loss: Option<Loss>,
}

#[derive(Clone, Copy, Debug)]
struct Loss {
    start: Timestamp,
    lost_count: u64,
}

/// A bounded queue between threads. One that is too slow loses frames, and learns how many.
/// Memory: `limits`, and the setup of each stream.
pub fn channel(limits: ChannelLimits) -> (ChannelSink, Receiver) {
    let shared = Arc::new(Shared::default());
    let sink = ChannelSink {
        shared: Arc::clone(&shared),
        limits: ChannelLimits {
            item_count: limits.item_count.max(MAX_STEP_COUNT),
            ..limits
        },
        streams: HashMap::new(),
    };
    (sink, Receiver { shared })
}

impl ChannelSink {
    /// How many frames were lost so far, of all streams.
    pub fn lost_count(&self) -> u64 {
        lock(&self.shared.queue).lost_count
    }

    /// Whether there is room for whatever may come next: a frame as long as any, with a setup and a
    /// gap before it. True also while the queue is empty.
    pub fn has_room(&self) -> bool {
        let queue = lock(&self.shared.queue);
        queue.has_room(MAX_STEP_COUNT, MAX_FRAME_LEN as usize, self.limits)
    }
}

impl FrameSink for ChannelSink {
    /// Puts `item` into the queue.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] for each frame that is lost; the sink goes on.
    /// [`ErrorKind::Failed`] once the receiver is gone.
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        let mut queue = lock(&self.shared.queue);
        if queue.is_receiver_gone {
            return Err(Error::new(
                ErrorKind::Failed,
                "the receiver of the channel is gone, and nobody takes its items",
            )
            .with_remedy("Disconnect the sink"));
        }
        let state = self.streams.entry(stream).or_default();
        let outcome = state.pass(stream, item, &mut queue, self.limits);
        drop(queue);
        self.shared.news.notify_one();
        outcome
    }
}

/// What was lost at the end is told last, one gap without an end for each stream, also beyond the
/// limits.
impl Drop for ChannelSink {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        for (id, stream) in &mut self.streams {
            stream.tell_loss(*id, None, &mut queue);
        }
        queue.is_sender_gone = true;
        drop(queue);
        self.shared.news.notify_all();
    }
}

impl Receiver {
    /// Waits for the next item. None when the sink is gone and all that it took is handed out.
    pub fn recv(&self) -> Option<(StreamId, Item)> {
        let queue = lock(&self.shared.queue);
        let is_idle = |queue: &mut Queue| queue.items.is_empty() && !queue.is_sender_gone;
        let waited = self.shared.news.wait_while(queue, is_idle);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        queue.pop()
    }

    /// The next item, if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if there is none yet, [`TryRecvError::Disconnected`] if there will
    /// be no more.
    pub fn try_recv(&self) -> Result<(StreamId, Item), TryRecvError> {
        let mut queue = lock(&self.shared.queue);
        let is_sender_gone = queue.is_sender_gone;
        queue.pop().ok_or(if is_sender_gone {
            TryRecvError::Disconnected
        } else {
            TryRecvError::Empty
        })
    }

    /// How many frames were lost so far, of all streams.
    pub fn lost_count(&self) -> u64 {
        lock(&self.shared.queue).lost_count
    }
}

impl Iterator for Receiver {
    type Item = (StreamId, Item);

    fn next(&mut self) -> Option<Self::Item> {
        self.recv()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.is_receiver_gone = true;
        queue.items.clear();
        queue.payload_len = 0;
    }
}

impl Stream {
    fn pass(
        &mut self,
        id: StreamId,
        item: Item,
        queue: &mut Queue,
        limits: ChannelLimits,
    ) -> Result<()> {
        match item {
            Item::Setup(setup) => {
                self.video_track = setup.video_track();
                self.setup = Some(setup);
                if self.loss.is_none() && queue.has_room(1, 0, limits) {
                    self.tell_setup(id, queue);
                }
            }
            Item::Frame(ref frame) | Item::Preroll(ref frame) => {
                let time = frame.time;
                let is_useless = self.loss.is_some() && !self.is_door(frame);
                let count = self.step_count();
                if is_useless || !queue.has_room(count, frame.payload.len(), limits) {
                    self.lose(time, 1);
                    queue.lost_count += 1;
                    return Err(full(id));
                }
                self.tell_setup(id, queue);
                self.tell_loss(id, Some(time), queue);
                self.latest = Some(time);
                queue.push(id, item);
            }
            Item::Gap(gap) => {
                if self.loss.is_some() || !queue.has_room(self.step_count(), 0, limits) {
                    self.lose(gap.start, 0);
                } else {
                    self.tell_setup(id, queue);
                    queue.push(id, item);
                }
            }
        }
        Ok(())
    }

    /// Whether decoding can go on at `frame` after a loss.
    fn is_door(&self, frame: &Frame) -> bool {
        self.video_track
            .is_none_or(|track| frame.key && frame.track == track)
    }

    /// How many items the next frame or gap puts into the queue.
    fn step_count(&self) -> usize {
        1 + usize::from(self.setup.is_some()) + usize::from(self.loss.is_some())
    }

    fn lose(&mut self, time: Timestamp, frame_count: u64) {
        let start = self.latest.unwrap_or(time);
        let loss = self.loss.get_or_insert(Loss {
            start,
            lost_count: 0,
        });
        loss.lost_count += frame_count;
    }

    fn tell_setup(&mut self, id: StreamId, queue: &mut Queue) {
        if let Some(setup) = self.setup.take() {
            queue.push(id, Item::Setup(setup));
        }
    }

    fn tell_loss(&mut self, id: StreamId, end: Option<Timestamp>, queue: &mut Queue) {
        if let Some(loss) = self.loss.take() {
            let gap = Gap {
                cause: GapCause::QueueFull,
                start: loss.start,
                end,
                lost_count: Some(loss.lost_count),
            };
            queue.push(id, Item::Gap(gap));
        }
    }
}

impl Queue {
    fn has_room(&self, item_count: usize, payload_len: usize, limits: ChannelLimits) -> bool {
        let sum_len = self.payload_len.saturating_add(payload_len);
        let fits = self.payload_len == 0 || sum_len <= limits.payload_len;
        fits && self.items.len().saturating_add(item_count) <= limits.item_count
    }

    fn push(&mut self, stream: StreamId, item: Item) {
        self.payload_len += payload_len(&item);
        self.items.push_back((stream, item));
    }

    fn pop(&mut self) -> Option<(StreamId, Item)> {
        let next = self.items.pop_front()?;
        self.payload_len -= payload_len(&next.1);
        Some(next)
    }
}

fn payload_len(item: &Item) -> usize {
    match item {
        Item::Frame(frame) | Item::Preroll(frame) => frame.payload.len(),
        Item::Setup(_) | Item::Gap(_) => 0,
    }
}

fn full(stream: StreamId) -> Error {
    let text = format!("the channel is full, and a frame of stream {stream} is lost");
    Error::new(ErrorKind::Full, text)
        .with_remedy("Take items out faster, or give the channel a higher limit")
}
