//! From chunks to items, stream by stream: where decoding can start, what lies in the range, what
//! is missing. Pure: chunks in, items out.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::base::geometry::Sequence;
use crate::base::sync::Arc;
use crate::base::time::{TimeRange, Timestamp};
use crate::block::record::Record;
use crate::block::{ChunkView, FrameView};
use crate::frame::{Frame, Gap, GapCause, Item, Recorded, StreamId, StreamSetup};

/// Frames behind the end of the range that are held back, because one that is displayed before
/// them may follow them in decode order.
const HELD_COUNT: usize = 32;

/// What of each stream is delivered.
#[derive(Debug, Default)]
pub(super) struct Deliverer {
    streams: HashMap<StreamId, Delivery>,
    /// Nothing behind this time is delivered.
    end: Option<Timestamp>,
    /// Whether delivery of a stream begins at a key frame, and again after damage.
    from_key: bool,
}

#[derive(Debug, Default)]
struct Delivery {
    setup: Option<Arc<StreamSetup>>,
    is_started: bool,
    /// Frames are left out until a key frame; since when, and why.
    skipping: Option<(GapCause, Option<Timestamp>)>,
    last_time: Option<Timestamp>,
    held: VecDeque<Recorded>,
    is_done: bool,
}

impl Deliverer {
    /// For a range that ends at `end`; from key frames on.
    pub(super) fn for_range(range: TimeRange) -> Self {
        let end = Some(range.end).filter(|end| *end < Timestamp::MAX);
        Self {
            streams: HashMap::new(),
            end,
            from_key: true,
        }
    }

    /// For whole blocks: everything as it is.
    pub(super) fn for_blocks() -> Self {
        Self::default()
    }

    /// Whether nothing more of `stream` will be delivered.
    pub(super) fn is_done(&self, stream: StreamId) -> bool {
        self.streams
            .get(&stream)
            .is_some_and(|delivery| delivery.is_done)
    }

    /// The setup in force before the next chunk of `stream`.
    pub(super) fn set_up(
        &mut self,
        stream: StreamId,
        sequence: Sequence,
        setup: StreamSetup,
        out: &mut VecDeque<Recorded>,
    ) {
        let setup = Arc::new(setup);
        let delivery = self.streams.entry(stream).or_default();
        if delivery.setup.as_ref() != Some(&setup) {
            delivery.setup = Some(setup.clone());
            out.push_back(Recorded {
                stream,
                sequence,
                ordinal: 0,
                item: Item::Setup(setup),
            });
        }
    }

    /// A chunk could not be read: overwritten or damaged.
    pub(super) fn lost(
        &mut self,
        stream: StreamId,
        sequence: Sequence,
        times: TimeRange,
        cause: GapCause,
        out: &mut VecDeque<Recorded>,
    ) {
        let from_key = self.from_key;
        let delivery = self.streams.entry(stream).or_default();
        if from_key && !delivery.is_all_key() {
            let start = delivery.last_time.unwrap_or(times.start);
            delivery.skipping.get_or_insert((cause, Some(start)));
            return;
        }
        let gap = Gap {
            cause,
            start: times.start,
            end: Some(times.end),
            lost_count: None,
        };
        out.push_back(Recorded {
            stream,
            sequence,
            ordinal: 0,
            item: Item::Gap(gap),
        });
    }

    /// Delivers the frames of a chunk from number `first` on. `bytes` are the chunk's; a frame
    /// that fails its check counts as damage.
    pub(super) fn chunk(
        &mut self,
        sequence: Sequence,
        view: &ChunkView,
        bytes: &Bytes,
        first: u16,
        out: &mut VecDeque<Recorded>,
    ) {
        for (number, frame) in view.frames.iter().enumerate() {
            if frame.payload(bytes).is_err() {
                let times = TimeRange {
                    start: frame.time,
                    end: frame.time,
                };
                self.lost(view.stream, sequence, times, GapCause::Damaged, out);
                continue;
            }
            let from = frame.offset as usize;
            let payload = bytes.slice(from..from + frame.len as usize);
            let place = Place {
                stream: view.stream,
                sequence,
                ordinal: frame.ordinal,
            };
            if frame.record {
                self.record(place, &payload, number < usize::from(first), out);
            } else if number >= usize::from(first) {
                self.frame(place, frame, payload, out);
            }
        }
    }

    fn record(
        &mut self,
        place: Place,
        payload: &Bytes,
        is_before: bool,
        out: &mut VecDeque<Recorded>,
    ) {
        match Record::decode(payload) {
            Ok(Record::Setup(setup)) => self.set_up(place.stream, place.sequence, setup, out),
            Ok(Record::Gap(record)) if !is_before => {
                out.push_back(place.with(Item::Gap(record.gap)));
            }
            Ok(Record::Gap(_)) => {}
            Err(e) => tracing::warn!(stream = %place.stream, "a record is skipped: {e}"),
        }
    }

    fn frame(
        &mut self,
        place: Place,
        view: &FrameView,
        payload: Bytes,
        out: &mut VecDeque<Recorded>,
    ) {
        let (from_key, end) = (self.from_key, self.end);
        let delivery = self.streams.entry(place.stream).or_default();
        if delivery.is_done {
            if end.is_some_and(|end| view.time > end) {
                return;
            }
            delivery.begin_again();
        }
        if from_key && !delivery.may_start_at(view) {
            delivery
                .skipping
                .get_or_insert((GapCause::NoKeyFrame, Some(view.time)));
            return;
        }
        if let Some((cause, Some(start))) = delivery.skipping.take() {
            let gap = Gap {
                cause,
                start,
                end: Some(view.time),
                lost_count: None,
            };
            out.push_back(place.with(Item::Gap(gap)));
        }
        delivery.is_started = true;
        let last = delivery
            .last_time
            .map_or(view.time, |last| last.max(view.time));
        delivery.last_time = Some(last);
        let item = place.with(Item::Frame(Frame {
            track: view.track,
            key: view.key,
            leading: view.leading,
            time: view.time,
            clock: view.clock,
            payload,
        }));
        if end.is_some_and(|end| view.time > end) {
            delivery.held.push_back(item);
            delivery.is_done = delivery.held.len() > HELD_COUNT;
        } else {
            out.extend(delivery.held.drain(..));
            out.push_back(item);
        }
    }

    /// The read is over: what was left out to the very end is told.
    pub(super) fn finish(&mut self, out: &mut VecDeque<Recorded>) {
        for (stream, delivery) in &mut self.streams {
            if let Some((cause, Some(start))) = delivery.skipping.take() {
                let gap = Gap {
                    cause,
                    start,
                    end: None,
                    lost_count: None,
                };
                let item = Item::Gap(gap);
                out.push_back(Recorded {
                    stream: *stream,
                    sequence: 0,
                    ordinal: 0,
                    item,
                });
            }
        }
    }
}

/// Where an item was.
#[derive(Clone, Copy)]
struct Place {
    stream: StreamId,
    sequence: Sequence,
    ordinal: u64,
}

impl Place {
    fn with(self, item: Item) -> Recorded {
        let Self {
            stream,
            sequence,
            ordinal,
        } = self;
        Recorded {
            stream,
            sequence,
            ordinal,
            item,
        }
    }
}

impl Delivery {
    /// A clock went back into the range after it had been left.
    fn begin_again(&mut self) {
        (self.is_done, self.is_started) = (false, false);
        self.held.clear();
    }

    /// Whether every frame can be decoded by itself: no video, or pictures that are all key.
    fn is_all_key(&self) -> bool {
        let first = self.setup.as_ref().and_then(|setup| setup.tracks.first());
        first.is_some_and(|track| track.codec.is_all_key())
    }

    /// Whether delivery can begin, or go on after a loss, at `frame`.
    fn may_start_at(&self, frame: &FrameView) -> bool {
        let waits = !self.is_started || self.skipping.is_some();
        !waits || self.is_all_key() || frame.key && frame.track == 0
    }
}
