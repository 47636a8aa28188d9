//! Producers: where frames enter. One SPSC ring each, no locks, no system calls while the writer
//! is awake.
//!
//! A producer gives every frame its ordinal, also those that it sheds, so that each missing
//! ordinal is covered by a gap record.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use bytes::Bytes;
use ringbuf::traits::{Consumer, Observer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::gate::Gate;
use super::numbers::RingPlace;
use super::quota::{Quota, frame_cost};
use super::sending::{Sending, check_setup, flush_untold, try_push};
use super::stage::Stream;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::{Arc, AtomicBool, Ordering, lock};
use crate::base::time::Timestamp;
use crate::block::chunk::PendingFrame;
use crate::block::record::Record;
use crate::frame::{Frame, FrameSink, Gap, GapCause, Item, StreamId, StreamSetup};
use crate::io::wake::{Sleeper, Waker};
use crate::volume::registry::StreamInfo;

/// Places of a ring that are kept for records, so that a gap can be told when frames do not fit.
pub(super) const RESERVED_COUNT: usize = 64;
/// Bytes pushed since the writer was last woken that make a producer wake it.
const WAKE_LEN: u64 = 1 << 20;

/// What goes through a producer's ring.
#[derive(Debug)]
pub(super) enum Message {
    /// Frames with this dense number will follow. `stream` is there when it is new in this life;
    /// otherwise what lies before `after` comes first.
    Stream {
        dense: u32,
        stream: Option<Box<Stream>>,
        after: Option<RingPlace>,
    },
    /// A frame or record.
    Frame { dense: u32, frame: PendingFrame },
}

/// The writer's end of a producer's ring. Dropping it refuses the producer: a writer's thread that
/// ends, however it ends, leaves nobody waiting.
pub(super) struct ProducerEnd {
    ring: HeapCons<Message>,
    is_refused: Arc<AtomicBool>,
    producer: Waker,
    /// How many messages were taken.
    pub(super) taken: RingPlace,
}

/// Pushes frames of any number of streams into one recording; used by one thread at a time.
///
/// Also a [`FrameSink`]: a setup adds its stream, or changes it.
pub struct Producer {
    gate: Arc<Gate>,
    ring: HeapProd<Message>,
    is_refused: Arc<AtomicBool>,
    sleeper: Sleeper,
    /// How many messages were pushed.
    pushed: RingPlace,
    streams: HashMap<StreamId, Sending>,
    waits: bool,
}

/// What a frame that is shed lacks.
#[derive(Clone, Copy, Debug)]
enum Shortage {
    /// Bytes of a quota.
    Quota,
    /// A place in the ring.
    Ring,
    /// The frames before it, which were shed.
    KeyFrame,
}

/// A ring for a new producer: its end for the writer, and the producer.
pub(super) fn producer(gate: Arc<Gate>, ring_count: usize) -> (ProducerEnd, Producer) {
    let (ring, consumer) = HeapRb::new(ring_count.max(4 * RESERVED_COUNT)).split();
    let sleeper = Sleeper::new();
    let is_refused = Arc::new(AtomicBool::new(false));
    let start = RingPlace {
        producer: lock(&gate.numbers).add_producer(),
        message_count: 0,
    };
    let end = ProducerEnd {
        ring: consumer,
        is_refused: is_refused.clone(),
        producer: sleeper.waker(),
        taken: start,
    };
    let producer = Producer {
        gate,
        ring,
        is_refused,
        sleeper,
        pushed: start,
        streams: HashMap::new(),
        waits: false,
    };
    (end, producer)
}

impl ProducerEnd {
    pub(super) fn len(&self) -> usize {
        self.ring.occupied_len()
    }

    /// Whether the ring should be emptied without waiting for more.
    pub(super) fn is_half_full(&self) -> bool {
        self.ring.occupied_len() * 2 >= self.ring.capacity().get()
    }

    pub(super) fn peek(&self) -> Option<&Message> {
        self.ring.try_peek()
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.ring.try_pop()?;
        self.taken.message_count += 1;
        Some(message)
    }

    /// Whether the producer was dropped and everything that it pushed was taken.
    pub(super) fn is_gone(&self) -> bool {
        // In this order: what was pushed before the drop is seen after it.
        !self.ring.write_is_held() && self.ring.is_empty()
    }

    /// Wakes a producer that waits for room. Called after the room was made.
    pub(super) fn tell_room(&self) {
        self.producer.wake();
    }

    /// Pushes fail from now on.
    pub(super) fn refuse(&self) {
        self.is_refused.store(true, Ordering::Release);
        self.producer.wake();
    }
}

impl Drop for ProducerEnd {
    fn drop(&mut self) {
        self.refuse();
    }
}

impl fmt::Debug for ProducerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProducerEnd({} waiting)", self.len())
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Producer({} streams)", self.streams.len())
    }
}

impl Producer {
    /// From now on a push waits for room instead of shedding frames.
    pub fn set_waiting(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// Frames that all producers of this recording have shed.
    pub fn shed_count(&self) -> u64 {
        self.gate.shed_count.load(Ordering::Relaxed)
    }

    /// Adds `stream`. If it was recorded before, the time since then becomes a gap, which the
    /// first frame closes.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) when the setup is over its limits,
    /// [`Exists`](ErrorKind::Exists) when a producer of this recording holds the stream already,
    /// [`Full`](ErrorKind::Full) when the ring is full, [`Failed`](ErrorKind::Failed) when the
    /// volume takes no more data. The stream is not added then.
    pub fn add_stream(&mut self, stream: StreamId, setup: StreamSetup) -> Result<()> {
        check_setup(stream, &setup, self.gate.volume.geometry().max_setup_len())?;
        self.check_alive()?;
        if self.ring.vacant_len() < RESERVED_COUNT {
            return Err(self.full(stream, Shortage::Ring));
        }
        let quota_len = self.gate.stream_quota_len;
        let held = lock(&self.gate.numbers).hold(stream, self.pushed.producer, quota_len)?;
        let known = self.gate.volume.stream(stream);
        let is_new = held.after.is_none();
        let is_nameless = setup == StreamSetup::default();
        let is_known = |known: &StreamInfo| is_nameless || *known.setup == setup;
        let is_news = !known.as_ref().is_some_and(is_known);
        let announced = is_new.then(|| Stream {
            id: stream,
            pending: VecDeque::new(),
            setup: Bytes::new(),
            is_news,
            last_key: None,
            last_sequence: known.as_ref().map_or(0, |known| known.last_sequence),
            packed_count: 0,
            quota: held.quota.clone(),
        });
        let message = Message::Stream {
            dense: held.dense,
            stream: announced.map(Box::new),
            after: held.after,
        };
        try_push(&mut self.ring, &mut self.pushed, message);
        let stored = known.and_then(|known| known.last_time);
        let sending = Sending::new(held, setup, stored, self.gate.clock.now());
        self.streams.insert(stream, sending);
        Ok(())
    }

    /// Ends `stream`: its time from here on becomes a gap by choice, until it is added again.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when this producer does not hold it.
    pub fn remove_stream(&mut self, stream: StreamId) -> Result<()> {
        let mut sending = self
            .streams
            .remove(&stream)
            .ok_or_else(|| unknown(stream))?;
        let now = self.gate.clock.now();
        sending.end_shedding(now.boot_us);
        // Without a frame the gap before it is still the same.
        if sending.resuming.is_none()
            && let Some(start) = sending.last_time
        {
            let gap = Gap {
                cause: GapCause::Idle,
                start,
                end: None,
                lost_count: None,
            };
            sending.tell_gap(gap, now.boot_us);
            flush_untold(&mut self.ring, &mut self.pushed, &mut sending);
        }
        let held = sending.into_held(self.pushed);
        lock(&self.gate.numbers).release(stream, held);
        Ok(())
    }

    /// Pushes a frame of `stream`.
    ///
    /// # Errors
    ///
    /// The frame is not recorded then, and its loss is on record unless it was refused as invalid.
    ///
    /// - [`Full`](ErrorKind::Full): over quota, or the ring is full; frames are shed up to the next
    ///   key frame that fits.
    /// - [`Invalid`](ErrorKind::Invalid): empty, longer than the volume takes (this becomes a gap),
    ///   or of a track that the setup lacks.
    /// - [`NotFound`](ErrorKind::NotFound): the stream was not added.
    /// - [`Failed`](ErrorKind::Failed): the volume takes no more data.
    pub fn push(&mut self, stream: StreamId, frame: Frame) -> Result<()> {
        self.check_alive()?;
        let now = self.gate.clock.now();
        let max_len = self.gate.volume.geometry().max_frame_len();
        let sending = self
            .streams
            .get_mut(&stream)
            .ok_or_else(|| unknown(stream))?;
        check_frame(stream, &sending.setup, &frame)?;
        let ordinal = sending.next_ordinal;
        sending.next_ordinal += 1;
        if frame.payload.len() > max_len as usize {
            sending.shed(GapCause::Oversize, &frame, ordinal, now.boot_us);
            sending.warn_of_oversize(stream, frame.payload.len(), max_len);
            self.gate.shed_count.fetch_add(1, Ordering::Relaxed);
            flush_untold(&mut self.ring, &mut self.pushed, sending);
            return Err(oversize(stream, frame.payload.len(), max_len));
        }
        let cost = frame_cost(frame.payload.len());
        if let Some(shortage) = self.take_room(stream, &frame, cost) {
            self.check_alive()?;
            let Some(sending) = self.streams.get_mut(&stream) else {
                return Err(unknown(stream));
            };
            sending.shed(GapCause::QueueFull, &frame, ordinal, now.boot_us);
            self.gate.shed_count.fetch_add(1, Ordering::Relaxed);
            flush_untold(&mut self.ring, &mut self.pushed, sending);
            self.gate.waker.wake();
            return Err(self.full(stream, shortage));
        }
        let Some(sending) = self.streams.get_mut(&stream) else {
            return Err(unknown(stream));
        };
        sending.resume(frame.time, ordinal, now.boot_us);
        flush_untold(&mut self.ring, &mut self.pushed, sending);
        sending.last_time = Some(
            sending
                .last_time
                .map_or(frame.time, |last| last.max(frame.time)),
        );
        let Frame {
            track,
            key,
            leading,
            time,
            clock,
            payload,
        } = frame;
        let frame = PendingFrame {
            ordinal,
            arrival_us: now.boot_us,
            time,
            clock,
            track,
            key,
            leading,
            record: false,
            payload,
        };
        // There was room for it, and this thread alone fills the ring.
        let dense = sending.dense;
        let message = Message::Frame { dense, frame };
        try_push(&mut self.ring, &mut self.pushed, message);
        self.wake_if_much(cost);
        Ok(())
    }

    /// Takes what a frame needs of quotas, and says what it lacks otherwise. Waits for it if that
    /// was asked for.
    fn take_room(&mut self, stream: StreamId, frame: &Frame, cost: u64) -> Option<Shortage> {
        let Self {
            gate,
            ring,
            is_refused,
            sleeper,
            pushed,
            streams,
            waits,
        } = self;
        let sending = streams.get_mut(&stream)?;
        if sending.is_shedding() && !sending.can_resume_at(frame) {
            return Some(Shortage::KeyFrame);
        }
        // A frame beyond a whole quota would be waited for in vain.
        let waits = *waits && sending.quota.can_hold(cost) && gate.volume_quota.can_hold(cost);
        let mut take = || {
            flush_untold(ring, pushed, sending);
            if ring.vacant_len() <= RESERVED_COUNT || !sending.may_go_on() {
                return Some(Shortage::Ring);
            }
            let is_taken = take_both(&sending.quota, &gate.volume_quota, cost);
            (!is_taken).then_some(Shortage::Quota)
        };
        if !waits {
            return take();
        }
        sleeper.wait_for(|| {
            let shortage = take();
            if shortage.is_none() {
                return Some(None);
            }
            // Small frames fill a ring long before they are worth waking the writer for.
            gate.waker.wake();
            is_over(gate, is_refused).then_some(shortage)
        })
    }

    /// Changes the setup of `stream` from the next frame on.
    fn change_setup(&mut self, stream: StreamId, setup: Arc<StreamSetup>) -> Result<()> {
        check_setup(stream, &setup, self.gate.volume.geometry().max_setup_len())?;
        let now = self.gate.clock.now();
        let sending = self
            .streams
            .get_mut(&stream)
            .ok_or_else(|| unknown(stream))?;
        if sending.setup != setup {
            let record = Record::Setup(StreamSetup::clone(&setup));
            sending.tell(&record, Timestamp(now.utc_us), now.boot_us);
            sending.setup = setup;
            flush_untold(&mut self.ring, &mut self.pushed, sending);
        }
        Ok(())
    }

    /// Records that frames of `stream` are missing.
    fn push_gap(&mut self, stream: StreamId, gap: Gap) -> Result<()> {
        self.check_alive()?;
        if !GapCause::STORED.contains(&gap.cause) {
            let text = format!(
                "a gap because of \"{}\" is found when reading, not stored",
                gap.cause
            );
            return Err(Error::invalid(text));
        }
        let now = self.gate.clock.now();
        let sending = self
            .streams
            .get_mut(&stream)
            .ok_or_else(|| unknown(stream))?;
        if !sending.may_go_on() {
            return Err(self.full(stream, Shortage::Ring));
        }
        sending.tell_gap(gap, now.boot_us);
        flush_untold(&mut self.ring, &mut self.pushed, sending);
        self.wake_if_much(frame_cost(0));
        Ok(())
    }

    fn full(&self, stream: StreamId, shortage: Shortage) -> Error {
        let (why, remedy) = match shortage {
            Shortage::Quota => (
                "its quota or the volume's is full of what is not on disk yet".to_owned(),
                "The disk does not keep up: record less, or raise the quotas",
            ),
            Shortage::Ring => (
                format!(
                    "the ring of its producer, {} places, is full",
                    self.ring.capacity()
                ),
                "Push less at once, give streams producers of their own, or raise `ring_count`",
            ),
            Shortage::KeyFrame => (
                "frames before it were shed, and it needs them".to_owned(),
                "Recording goes on at the next key frame that fits; an earlier error says why",
            ),
        };
        let text = format!("stream {stream}: {why}");
        Error::new(ErrorKind::Full, text).with_remedy(remedy)
    }

    fn check_alive(&self) -> Result<()> {
        if is_over(&self.gate, &self.is_refused) {
            let text = "the volume takes no more data: its device failed, or it was closed";
            return Err(Error::new(ErrorKind::Failed, text));
        }
        Ok(())
    }

    /// The writer comes by at every tick; only much data is worth a system call.
    fn wake_if_much(&self, len: u64) {
        let before = self.gate.pushed_len.fetch_add(len, Ordering::Relaxed);
        if before < WAKE_LEN && before + len >= WAKE_LEN {
            self.gate.waker.wake();
        }
    }
}

impl FrameSink for Producer {
    /// Errors are those of [`Producer::push`] and [`Producer::add_stream`]; more items are taken
    /// after each of them but [`Failed`](ErrorKind::Failed).
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        match item {
            Item::Setup(setup) if self.streams.contains_key(&stream) => {
                self.change_setup(stream, setup)
            }
            Item::Setup(setup) => self.add_stream(stream, StreamSetup::clone(&setup)),
            Item::Frame(frame) | Item::Preroll(frame) => self.push(stream, frame),
            Item::Gap(gap) => {
                if !self.streams.contains_key(&stream) {
                    self.add_stream(stream, StreamSetup::default())?;
                }
                self.push_gap(stream, gap)
            }
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let mut numbers = lock(&self.gate.numbers);
        for (stream, sending) in self.streams.drain() {
            numbers.release(stream, sending.into_held(self.pushed));
        }
    }
}

/// Whether a push would be in vain.
fn is_over(gate: &Gate, is_refused: &AtomicBool) -> bool {
    // Acquire: pairs with the Release stores when the volume fails or is closed.
    is_refused.load(Ordering::Acquire) || gate.is_failed.load(Ordering::Acquire)
}

/// Takes `cost` from both quotas, or from none.
fn take_both(stream: &Quota, volume: &Quota, cost: u64) -> bool {
    if !stream.take(cost) {
        return false;
    }
    let taken = volume.take(cost);
    if !taken {
        stream.give(cost);
    }
    taken
}

fn check_frame(stream: StreamId, setup: &StreamSetup, frame: &Frame) -> Result<()> {
    let track = usize::from(frame.track);
    if track >= setup.tracks.len() {
        let count = setup.tracks.len();
        let text = format!("stream {stream}: a frame of track {track}, and the setup has {count}");
        return Err(Error::invalid(text).with_remedy("Push a setup with the track first"));
    }
    if frame.payload.is_empty() {
        let text = format!("stream {stream}: a frame of zero bytes at {}", frame.time);
        return Err(Error::invalid(text));
    }
    Ok(())
}

fn unknown(stream: StreamId) -> Error {
    let text = format!("stream {stream} was not added to this producer");
    Error::new(ErrorKind::NotFound, text).with_remedy("Push its setup first")
}

fn oversize(stream: StreamId, len: usize, max_len: u32) -> Error {
    let text = format!("stream {stream}: a frame of {len} bytes; the volume takes {max_len}");
    Error::invalid(text).with_remedy("A volume with larger blocks takes frames of up to 8 MiB")
}
