//! A stream as its producer knows it: ordinals, what was shed, and the records that tell of it.

use std::collections::VecDeque;

use ringbuf::HeapProd;
use ringbuf::traits::Producer as _;

use super::numbers::{Held, RingPlace};
use super::producer::{Message, RESERVED_COUNT};
use super::quota::Quota;
use crate::base::error::{Error, Result};
use crate::base::sync::Arc;
use crate::base::time::{Now, Timestamp};
use crate::block::chunk::PendingFrame;
use crate::block::record::{GapRecord, Record};
use crate::frame::setup::{MAX_EXTRA_LEN, MAX_NAME_LEN};
use crate::frame::{Frame, Gap, GapCause, MAX_TRACK_COUNT, StreamId, StreamSetup};

/// A stream as its producer knows it.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) dense: u32,
    pub(super) quota: Arc<Quota>,
    pub(super) setup: Arc<StreamSetup>,
    pub(super) next_ordinal: u64,
    pub(super) last_time: Option<Timestamp>,
    /// Gap records that found no room yet.
    pub(super) untold: VecDeque<PendingFrame>,
    /// Frames are being dropped until a key frame fits again.
    pub(super) shedding: Option<Shedding>,
    /// A gap that the next frame closes.
    pub(super) resuming: Option<Gap>,
    /// Whether it was told in this life that frames are too long for the volume.
    is_oversize_told: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Shedding {
    cause: GapCause,
    start: Timestamp,
    /// The time of the latest frame that was shed.
    end: Timestamp,
    first_ordinal: u64,
    is_told: bool,
}

impl Sending {
    /// A stream that was added at `now`; `stored` is the latest time that earlier lives have of it.
    /// Its setup, and the gap that it ends, are told with its first frame: a restart without one
    /// leaves the ring as it is.
    pub(super) fn new(held: Held, setup: StreamSetup, stored: Option<Timestamp>, now: Now) -> Self {
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
            is_oversize_told: held.is_oversize_told,
        };
        sending.tell(&Record::Setup(setup), Timestamp(now.utc_us), now.boot_us);
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
    pub(super) fn into_held(self, end: RingPlace) -> Held {
        let is_as_restarted = self
            .resuming
            .is_some_and(|gap| gap.cause == GapCause::Restart);
        Held {
            dense: self.dense,
            quota: self.quota,
            next_ordinal: self.next_ordinal,
            last_time: self.last_time.filter(|_| !is_as_restarted),
            after: Some(end),
            is_oversize_told: self.is_oversize_told,
        }
    }

    /// Logs, once in a life, that frames as long as this one are not recorded: a gap alone would be
    /// noticed when the pictures are needed.
    pub(super) fn warn_of_oversize(&mut self, stream: StreamId, len: usize, max_len: u32) {
        if std::mem::replace(&mut self.is_oversize_told, true) {
            return;
        }
        let name = &self.setup.name;
        tracing::warn!(
            "stream {stream} {name:?}: a frame of {len} bytes is not recorded, the volume takes \
             {max_len}; nor is what follows it up to a shorter key frame. \
             Create a volume with larger blocks for it (--block-size)"
        );
    }

    /// Queues a record behind what was pushed before.
    pub(super) fn tell(&mut self, record: &Record, time: Timestamp, arrival_us: i64) {
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

    pub(super) fn tell_gap(&mut self, gap: Gap, arrival_us: i64) {
        let (first_ordinal, end_ordinal) = (self.next_ordinal, self.next_ordinal);
        let record = GapRecord {
            gap,
            first_ordinal,
            end_ordinal,
        };
        self.tell(
            &Record::Gap(record),
            gap.end.unwrap_or(gap.start),
            arrival_us,
        );
    }

    /// Takes note of a frame that is not recorded, and opens a gap at the first of them.
    pub(super) fn shed(&mut self, cause: GapCause, frame: &Frame, ordinal: u64, arrival_us: i64) {
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
            self.tell(&Record::Gap(record), start, arrival_us);
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
    pub(super) fn end_shedding(&mut self, arrival_us: i64) {
        if let Some(Shedding { end, .. }) = self.shedding {
            self.resume(end, self.next_ordinal, arrival_us);
            self.last_time = Some(end);
        }
    }

    /// Whether decoding can start again at `frame`.
    pub(super) fn can_resume_at(&self, frame: &Frame) -> bool {
        let video = self
            .setup
            .tracks
            .first()
            .is_some_and(|track| !track.codec.is_all_key());
        frame.key && (!video || frame.track == 0)
    }

    /// Closes the gaps that a frame at `time` ends.
    pub(super) fn resume(&mut self, time: Timestamp, ordinal: u64, arrival_us: i64) {
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
            self.tell(&Record::Gap(record), start, arrival_us);
        }
        let record = GapRecord {
            gap,
            first_ordinal,
            end_ordinal: ordinal,
        };
        self.tell(&Record::Gap(record), time, arrival_us);
    }

    /// Whether frames are being dropped until a key frame fits again.
    pub(super) fn is_shedding(&self) -> bool {
        self.shedding.is_some()
    }

    /// Whether few enough records wait for room that more may be pushed behind them.
    pub(super) fn may_go_on(&self) -> bool {
        self.untold.len() < RESERVED_COUNT / 4
    }
}

/// Pushes `message` if there is room, and counts it; returns it otherwise.
pub(super) fn try_push(
    ring: &mut HeapProd<Message>,
    pushed: &mut RingPlace,
    message: Message,
) -> Option<Message> {
    let back = ring.try_push(message).err();
    pushed.message_count += u64::from(back.is_none());
    back
}

/// Moves queued records into the ring, as far as there is room.
pub(super) fn flush_untold(
    ring: &mut HeapProd<Message>,
    pushed: &mut RingPlace,
    sending: &mut Sending,
) {
    while let Some(frame) = sending.untold.pop_front() {
        let dense = sending.dense;
        let message = Message::Frame { dense, frame };
        if let Some(Message::Frame { frame, .. }) = try_push(ring, pushed, message) {
            sending.untold.push_front(frame);
            return;
        }
    }
}

pub(super) fn check_setup(stream: StreamId, setup: &StreamSetup, max_len: usize) -> Result<()> {
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
        return check_setup_len(stream, setup, max_len);
    };
    Err(Error::invalid(format!("setup of stream {stream}: {what}")))
}

/// Every block that holds a stream repeats its setup twice: before its first frame, which may be as
/// long as half of the block, and in the index.
fn check_setup_len(stream: StreamId, setup: &StreamSetup, max_len: usize) -> Result<()> {
    let len = Record::Setup(setup.clone()).encode().len();
    if len > max_len {
        let text = format!("setup of stream {stream}: {len} bytes; the volume takes {max_len}");
        return Err(Error::invalid(text).with_remedy("A volume with larger blocks takes more"));
    }
    Ok(())
}
