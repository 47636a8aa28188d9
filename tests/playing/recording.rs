//! Random recordings, and what is to be delivered of them.

use std::sync::Arc;

use bytes::Bytes;
use camring::base::time::Timestamp;
use camring::frame::{Frame, Gap, GapCause, Item, Recorded, StreamId};

use crate::camera::{self, Random};

pub(crate) const MS: i64 = 1_000;
pub(crate) const START_US: i64 = 1_700_000_000_000_000;

/// A recorded frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) time: i64,
    pub(crate) key: bool,
    pub(crate) arrival: i64,
    /// The least time of it and the later frames up to the next key frame.
    pub(crate) release: i64,
}

/// What one camera has recorded.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) frames: Vec<Made>,
    /// Frame numbers before which there is a gap.
    pub(crate) gaps: Vec<usize>,
}

impl Stream {
    /// A stream of random kind, in `[START_US, START_US + len_us]`.
    pub(crate) fn random(random: &mut Random, len_us: i64) -> Self {
        let frame_us = [33, 40, 67, 100, 500][random.below(5) as usize] * MS;
        let key_every = 1 + random.below(20);
        let has_b_frames = random.below(3) == 0 && key_every > 3;
        let mut stream = Self::default();
        let (mut at, mut since_key) = (START_US + random.below(900) as i64 * MS, 0);
        while at < START_US + len_us {
            // I P B B P B B, where each P is shown behind its two Bs; none at the end of a group.
            let group = (since_key.max(1) - 1) / 3;
            let shift = match since_key.max(1) % 3 {
                _ if !has_b_frames || since_key == 0 || 3 * group + 3 >= key_every => 0,
                1 => 2 * frame_us,
                _ => -frame_us,
            };
            stream.frames.push(Made {
                time: at + shift,
                key: since_key == 0,
                arrival: at,
                release: 0,
            });
            since_key = (since_key + 1) % key_every;
            at += frame_us;
            if random.below(60) == 0 {
                at += random.below(6_000) as i64 * MS;
                since_key = 0;
                stream.gaps.push(stream.frames.len());
            }
        }
        stream.set_releases();
        stream
    }

    fn set_releases(&mut self) {
        let mut least = i64::MAX;
        for frame in self.frames.iter_mut().rev() {
            least = least.min(frame.time);
            frame.release = least;
            if frame.key {
                least = i64::MAX;
            }
        }
    }

    /// The newest key frame at or before `time`.
    pub(crate) fn key_at(&self, time: i64) -> Option<usize> {
        let keys = 0..self.frames.len();
        let mut keys = keys.filter(|n| self.frames[*n].key);
        keys.rfind(|n| self.frames[*n].time <= time)
    }

    /// What must come once the player was sent to `target`: frame numbers, and whether each is
    /// marked as not to be shown.
    pub(crate) fn expected(&self, target: i64) -> Vec<(usize, bool)> {
        let first = self.key_at(target);
        let from = first.or_else(|| self.frames.iter().position(|frame| frame.key));
        let Some(from) = from else {
            return Vec::new();
        };
        let burst = (from..self.frames.len()).take_while(|n| self.frames[*n].release <= target);
        let times = burst.map(|n| self.frames[n].time);
        let shown = times.filter(|time| *time <= target).max();
        let mark = |n: usize| {
            let frame = &self.frames[n];
            let is_burst = first.is_some() && frame.release <= target;
            (n, is_burst && shown.is_some_and(|shown| frame.time < shown))
        };
        (from..self.frames.len()).map(mark).collect()
    }

    fn item(&self, number: usize, stream: StreamId) -> Recorded {
        let made = self.frames[number];
        let frame = Frame {
            track: 0,
            key: made.key,
            leading: false,
            time: Timestamp(made.time),
            clock: 0,
            payload: Bytes::from((number as u64).to_le_bytes().to_vec()),
        };
        self.recorded(number, stream, Item::Frame(frame))
    }

    fn recorded(&self, number: usize, stream: StreamId, item: Item) -> Recorded {
        Recorded {
            stream,
            sequence: 1 + (self.frames[number].arrival - START_US).unsigned_abs() / 2_000_000,
            ordinal: number as u64,
            item,
        }
    }

    /// What a reader hands over from frame `from` to frame `to`, with arrivals.
    pub(crate) fn read(&self, stream: StreamId, from: usize, to: usize) -> Vec<(i64, Recorded)> {
        let mut items = Vec::new();
        for number in from..to {
            let arrival = self.frames[number].arrival;
            if number == from {
                let setup = Arc::new(camera::setup("made up"));
                items.push((arrival, self.recorded(number, stream, Item::Setup(setup))));
            } else if self.gaps.contains(&number) {
                let gap = Gap {
                    cause: GapCause::NoSignal,
                    start: Timestamp(self.frames[number - 1].time),
                    end: Some(Timestamp(self.frames[number].time)),
                    lost_count: None,
                };
                items.push((arrival, self.recorded(number, stream, Item::Gap(gap))));
            }
            items.push((arrival, self.item(number, stream)));
        }
        items
    }
}
