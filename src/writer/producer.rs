//! Producers: where frames enter. One SPSC ring each, no locks, no system calls while the writer
//! is awake.
//!
//! A producer gives every frame its ordinal, also those that it sheds, so that each missing
//! ordinal is covered by a gap record.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

use bytes::Bytes;
use crossbeam_utils::sync::{Parker, Unparker};
use ringbuf::traits::{Consumer, Observer, Producer as _, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::numbers::{Held, Numbers, RingPlace};
use super::quota::{Quota, frame_cost};
use super::stage::Stream;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::Geometry;
use crate::base::sync::{Arc, AtomicBool, AtomicU64, Ordering, fence};
use crate::base::time::{Clock, Now, Timestamp};
use crate::block::chunk::PendingFrame;
use crate::block::record::{GapRecord, Record};
use crate::frame::setup::{MAX_EXTRA_LEN, MAX_NAME_LEN};
use crate::frame::{Frame, FrameSink, Gap, GapCause, Item, MAX_TRACK_COUNT, StreamId, StreamSetup};
use crate::io::wake::Waker;
use crate::volume::Volume;

/// Places of a ring that are kept for records, so that a gap can be told when frames do not fit.
const RESERVED_COUNT: usize = 64;
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

/// What producers and the writer share.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) waker: Waker,
    pub(super) volume: Volume,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) volume_quota: Arc<Quota>,
    pub(super) stream_quota_len: u64,
    pub(super) is_failed: AtomicBool,
    /// Bytes that were pushed, by all producers, since the writer last looked.
    pub(super) pushed_len: Arc<AtomicU64>,
    /// Frames that were shed.
    pub(super) shed_count: AtomicU64,
    /// Dense numbers of the streams of this life, and which of them a producer holds now.
    pub(super) numbers: Mutex<Numbers>,
}

/// The writer's end of a producer's ring.
pub(super) struct ProducerEnd {
    ring: HeapCons<Message>,
    space: Arc<Space>,
    /// How many messages were taken.
    pub(super) taken: RingPlace,
}

/// How a producer that waits for room is woken.
#[derive(Debug)]
struct Space {
    is_waiting: AtomicBool,
    unparker: Unparker,
    is_refused: AtomicBool,
}

/// Pushes frames of any number of streams into one recording; used by one thread at a time.
///
/// Also a [`FrameSink`]: a setup adds its stream, or changes it.
pub struct Producer {
    gate: Arc<Gate>,
    ring: HeapProd<Message>,
    parker: Parker,
    space: Arc<Space>,
    /// How many messages were pushed.
    pushed: RingPlace,
    streams: HashMap<StreamId, Sending>,
    waits: bool,
}

/// A stream as its producer knows it.
#[derive(Debug)]
struct Sending {
    dense: u32,
    quota: Arc<Quota>,
    setup: Arc<StreamSetup>,
    next_ordinal: u64,
    last_time: Option<Timestamp>,
    /// Gap records that found no room yet.
    untold: VecDeque<PendingFrame>,
    /// Frames are being dropped until a key frame fits again.
    shedding: Option<Shedding>,
    /// A gap that the next frame closes.
    resuming: Option<Gap>,
}

#[derive(Clone, Copy, Debug)]
struct Shedding {
    cause: GapCause,
    start: Timestamp,
    /// The time of the latest frame that was shed.
    end: Timestamp,
    first_ordinal: u64,
    is_told: bool,
}

/// A ring for a new producer: its end for the writer, and the producer.
pub(super) fn producer(gate: Arc<Gate>, ring_count: usize) -> (ProducerEnd, Producer) {
    let (ring, consumer) = HeapRb::new(ring_count.max(4 * RESERVED_COUNT)).split();
    let parker = Parker::new();
    let space = Arc::new(Space {
        is_waiting: AtomicBool::new(false),
        unparker: parker.unparker().clone(),
        is_refused: AtomicBool::new(false),
    });
    let start = RingPlace {
        producer: lock(&gate.numbers).add_producer(),
        message_count: 0,
    };
    let end = ProducerEnd {
        ring: consumer,
        space: space.clone(),
        taken: start,
    };
    let streams = HashMap::new();
    (
        end,
        Producer {
            gate,
            ring,
            parker,
            space,
            pushed: start,
            streams,
            waits: false,
        },
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
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

    /// Wakes a producer that waits for room.
    pub(super) fn tell_space(&self) {
        // SeqCst: pairs with the fence in `wait_for_room`: either the producer sees the room, or
        // its flag is seen here.
        fence(Ordering::SeqCst);
        if self.space.is_waiting.load(Ordering::Relaxed) {
            self.space.unparker.unpark();
        }
    }

    /// Pushes fail from now on.
    pub(super) fn refuse(&self) {
        self.space.is_refused.store(true, Ordering::Release);
        self.space.unparker.unpark();
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
        check_setup(stream, &setup, self.gate.volume.geometry())?;
        self.check_alive()?;
        if self.ring.vacant_len() < RESERVED_COUNT {
            return Err(full(stream));
        }
        let quota_len = self.gate.stream_quota_len;
        let held = lock(&self.gate.numbers).hold(stream, self.pushed.producer, quota_len)?;
        let known = self.gate.volume.stream(stream);
        let is_new = held.after.is_none();
        let announced = is_new.then(|| Stream {
            id: stream,
            pending: VecDeque::new(),
            setup: Bytes::new(),
            last_key: None,
            last_sequence: known.as_ref().map_or(0, |known| known.last_sequence),
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
            self.gate.shed_count.fetch_add(1, Ordering::Relaxed);
            flush_untold(&mut self.ring, &mut self.pushed, sending);
            return Err(oversize(stream, frame.payload.len(), max_len));
        }
        let cost = frame_cost(frame.payload.len());
        if !self.has_room(stream, &frame, cost) {
            let Some(sending) = self.streams.get_mut(&stream) else {
                return Err(unknown(stream));
            };
            sending.shed(GapCause::QueueFull, &frame, ordinal, now.boot_us);
            self.gate.shed_count.fetch_add(1, Ordering::Relaxed);
            flush_untold(&mut self.ring, &mut self.pushed, sending);
            self.gate.waker.wake();
            return Err(full(stream));
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

    /// Whether a frame can be taken; takes its quota if so. Waits for it if that was asked for.
    fn has_room(&mut self, stream: StreamId, frame: &Frame, cost: u64) -> bool {
        loop {
            let Some(sending) = self.streams.get(&stream) else {
                return false;
            };
            let may_resume = sending
                .shedding
                .is_none_or(|_| sending.can_resume_at(frame));
            if !may_resume {
                return false;
            }
            if self.ring.vacant_len() > RESERVED_COUNT && sending.untold.len() < RESERVED_COUNT / 4
            {
                if sending.quota.take(cost) {
                    if self.gate.volume_quota.take(cost) {
                        return true;
                    }
                    sending.quota.give(cost);
                }
            }
            // A frame beyond a whole quota would be waited for in vain.
            let may_fit = sending.quota.can_hold(cost) && self.gate.volume_quota.can_hold(cost);
            if !self.waits || !may_fit || self.check_alive().is_err() {
                return false;
            }
            self.wait_for_room();
        }
    }

    fn wait_for_room(&self) {
        self.space.is_waiting.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `tell_space`.
        fence(Ordering::SeqCst);
        self.gate.waker.wake();
        // Bounded, so that a writer's thread that died cannot keep this one for ever.
        self.parker
            .park_timeout(std::time::Duration::from_millis(50));
        self.space.is_waiting.store(false, Ordering::Relaxed);
    }

    /// Changes the setup of `stream` from the next frame on.
    fn change_setup(&mut self, stream: StreamId, setup: Arc<StreamSetup>) -> Result<()> {
        check_setup(stream, &setup, self.gate.volume.geometry())?;
        let now = self.gate.clock.now();
        let sending = self
            .streams
            .get_mut(&stream)
            .ok_or_else(|| unknown(stream))?;
        if sending.setup != setup {
            let record = Record::Setup(StreamSetup::clone(&setup));
            sending.tell(record, Timestamp(now.utc_us), now.boot_us);
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
        sending.tell_gap(gap, now.boot_us);
        flush_untold(&mut self.ring, &mut self.pushed, sending);
        self.wake_if_much(frame_cost(0));
        Ok(())
    }

    fn check_alive(&self) -> Result<()> {
        // Acquire: pairs with the Release stores when the volume fails or is closed.
        let refused = self.space.is_refused.load(Ordering::Acquire);
        if refused || self.gate.is_failed.load(Ordering::Acquire) {
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
            Item::Frame(frame) => self.push(stream, frame),
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

impl Sending {
    /// A stream that was added at `now`; `stored` is the latest time that earlier lives have of it.
    /// Its setup, and the gap that it ends, are told with its first frame: a restart without one
    /// leaves the ring as it is.
    fn new(held: Held, setup: StreamSetup, stored: Option<Timestamp>, now: Now) -> Self {
        let cause = if held.last_time.is_some() {
            GapCause::Idle
        } else {
            GapCause::Restart
        };
        let mut sending = Self {
            dense: held.dense,
            quota: held.quota,
            setup: Arc::new(setup.clone()),
            next_ordinal: held.next_ordinal,
            last_time: held.last_time.or(stored),
            untold: VecDeque::new(),
            shedding: None,
            resuming: None,
        };
        sending.tell(Record::Setup(setup), Timestamp(now.utc_us), now.boot_us);
        if let Some(start) = sending.last_time {
            let gap = Gap {
                cause,
                start,
                end: None,
                lost_count: None,
            };
            sending.tell_gap(gap, now.boot_us);
            sending.resuming = Some(gap);
        }
        sending
    }

    /// What the next producer of the stream goes on with.
    fn into_held(self, end: RingPlace) -> Held {
        let is_as_restarted = self
            .resuming
            .is_some_and(|gap| gap.cause == GapCause::Restart);
        Held {
            dense: self.dense,
            quota: self.quota,
            next_ordinal: self.next_ordinal,
            last_time: self.last_time.filter(|_| !is_as_restarted),
            after: Some(end),
        }
    }

    /// Queues a record behind what was pushed before.
    fn tell(&mut self, record: Record, time: Timestamp, arrival_us: i64) {
        self.untold.push_back(PendingFrame {
            ordinal: self.next_ordinal,
            arrival_us,
            time,
            clock: 0,
            track: 0,
            key: false,
            leading: false,
            record: true,
            payload: record.encode(),
        });
    }

    fn tell_gap(&mut self, gap: Gap, arrival_us: i64) {
        let (first_ordinal, end_ordinal) = (self.next_ordinal, self.next_ordinal);
        let record = GapRecord {
            gap,
            first_ordinal,
            end_ordinal,
        };
        self.tell(
            Record::Gap(record),
            gap.end.unwrap_or(gap.start),
            arrival_us,
        );
    }

    /// Takes note of a frame that is not recorded, and opens a gap at the first of them.
    fn shed(&mut self, cause: GapCause, frame: &Frame, ordinal: u64, arrival_us: i64) {
        if let Some(shedding) = &mut self.shedding {
            shedding.end = shedding.end.max(frame.time);
            return;
        }
        let start = self.last_time.unwrap_or(frame.time);
        let gap = Gap {
            cause,
            start,
            end: None,
            lost_count: None,
        };
        let record = GapRecord {
            gap,
            first_ordinal: ordinal,
            end_ordinal: ordinal,
        };
        let is_told = self.untold.len() < RESERVED_COUNT;
        if is_told {
            self.tell(Record::Gap(record), start, arrival_us);
        }
        self.shedding = Some(Shedding {
            cause,
            start,
            end: frame.time.max(start),
            first_ordinal: ordinal,
            is_told,
        });
    }

    /// The stream ends while its frames are being shed: their gap ends with the last of them.
    fn end_shedding(&mut self, arrival_us: i64) {
        if let Some(Shedding { end, .. }) = self.shedding {
            self.resume(end, self.next_ordinal, arrival_us);
            self.last_time = Some(end);
        }
    }

    /// Whether decoding can start again at `frame`.
    fn can_resume_at(&self, frame: &Frame) -> bool {
        let video = self
            .setup
            .tracks
            .first()
            .is_some_and(|track| !track.codec.is_all_key());
        frame.key && (!video || frame.track == 0)
    }

    /// Closes the gaps that a frame at `time` ends.
    fn resume(&mut self, time: Timestamp, ordinal: u64, arrival_us: i64) {
        if let Some(gap) = self.resuming.take() {
            self.tell_gap(
                Gap {
                    end: Some(time),
                    ..gap
                },
                arrival_us,
            );
        }
        let Some(shedding) = self.shedding.take() else {
            return;
        };
        let Shedding {
            cause,
            start,
            first_ordinal,
            is_told,
            ..
        } = shedding;
        let lost_count = Some(ordinal - first_ordinal);
        let gap = Gap {
            cause,
            start,
            end: Some(time),
            lost_count,
        };
        if !is_told {
            let open = Gap {
                end: None,
                lost_count: None,
                ..gap
            };
            let record = GapRecord {
                gap: open,
                first_ordinal,
                end_ordinal: first_ordinal,
            };
            self.tell(Record::Gap(record), start, arrival_us);
        }
        let record = GapRecord {
            gap,
            first_ordinal,
            end_ordinal: ordinal,
        };
        self.tell(Record::Gap(record), time, arrival_us);
    }
}

/// Pushes `message` if there is room, and counts it; returns it otherwise.
fn try_push(
    ring: &mut HeapProd<Message>,
    pushed: &mut RingPlace,
    message: Message,
) -> Option<Message> {
    let back = ring.try_push(message).err();
    pushed.message_count += u64::from(back.is_none());
    back
}

/// Moves queued records into the ring, as far as there is room.
fn flush_untold(ring: &mut HeapProd<Message>, pushed: &mut RingPlace, sending: &mut Sending) {
    while let Some(frame) = sending.untold.pop_front() {
        let dense = sending.dense;
        let message = Message::Frame { dense, frame };
        if let Some(Message::Frame { frame, .. }) = try_push(ring, pushed, message) {
            sending.untold.push_front(frame);
            return;
        }
    }
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

fn check_setup(stream: StreamId, setup: &StreamSetup, geometry: Geometry) -> Result<()> {
    let too_long = setup
        .tracks
        .iter()
        .any(|track| track.extra.len() > MAX_EXTRA_LEN);
    let no_clock = setup.tracks.iter().any(|track| track.clock_rate_hz == 0);
    let what = if setup.name.len() > MAX_NAME_LEN {
        format!(
            "a name of {} bytes, at most {MAX_NAME_LEN} are allowed",
            setup.name.len()
        )
    } else if setup.tracks.len() > MAX_TRACK_COUNT {
        format!(
            "{} tracks, at most {MAX_TRACK_COUNT} are allowed",
            setup.tracks.len()
        )
    } else if too_long {
        format!("a decoder configuration of more than {MAX_EXTRA_LEN} bytes")
    } else if no_clock {
        "a clock rate of 0".to_owned()
    } else {
        return check_setup_len(stream, setup, geometry);
    };
    Err(Error::invalid(format!("setup of stream {stream}: {what}")))
}

/// Every block that holds a stream repeats its setup twice: before its first frame, which may be as
/// long as half of the block, and in the index.
fn check_setup_len(stream: StreamId, setup: &StreamSetup, geometry: Geometry) -> Result<()> {
    let max_len = geometry.block_len() as usize / 16;
    let len = Record::Setup(setup.clone()).encode().len();
    if len > max_len {
        let text = format!("setup of stream {stream}: {len} bytes; the volume takes {max_len}");
        return Err(Error::invalid(text).with_remedy("A volume with larger blocks takes more"));
    }
    Ok(())
}

fn unknown(stream: StreamId) -> Error {
    let text = format!("stream {stream} was not added to this producer");
    Error::new(ErrorKind::NotFound, text).with_remedy("Push its setup first")
}

fn full(stream: StreamId) -> Error {
    let text = format!("stream {stream}: the queue is full, frames are shed up to a key frame");
    Error::new(ErrorKind::Full, text)
        .with_remedy("The disk does not keep up: record less, or raise the quotas")
}

fn oversize(stream: StreamId, len: usize, max_len: u32) -> Error {
    let text = format!("stream {stream}: a frame of {len} bytes; the volume takes {max_len}");
    Error::invalid(text).with_remedy("A volume with larger blocks takes frames of up to 8 MiB")
}
