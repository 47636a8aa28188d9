//! Random recordings, and what is to be delivered of them.

use std::sync::Arc;

use bytes::Bytes;
use camring::base::time::Timestamp;
use camring::frame::{Codec, Frame, Gap, GapCause, Item, Recorded, StreamId, StreamSetup};

use crate::camera::{self, Random};

pub(crate) const MS: i64 = 1_000;
pub(crate) const START_US: i64 = 1_700_000_000_000_000;

/// How far apart frames of sound are.
const SOUND_US: i64 = 64 * MS;

/// A recorded frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) track: u8,
    pub(crate) time: i64,
    pub(crate) key: bool,
    pub(crate) arrival: i64,
    /// Of a picture, the least time of it and the later pictures up to the next key frame.
    pub(crate) release: i64,
}

/// Something that comes out, by the number of the frame; of a gap, of the frame behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A gap that lasts.
    OpenGap(usize),
    Gap(usize),
    Frame(usize),
    Preroll(usize),
}

impl Piece {
    pub(crate) fn is_frame(self) -> bool {
        matches!(self, Self::Frame(_) | Self::Preroll(_))
    }

    /// The same, to be shown or not.
    pub(crate) fn unmarked(self) -> Self {
        match self {
            Self::Preroll(number) => Self::Frame(number),
            _ => self,
        }
    }

    pub(crate) fn number(self) -> usize {
        match self {
            Self::OpenGap(n) | Self::Gap(n) | Self::Frame(n) | Self::Preroll(n) => n,
        }
    }
}

/// A piece, and when it may and when it must have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) piece: Piece,
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
}

/// What a camera sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Pictures,
    /// Track 0 is pictures, track 1 sound.
    Both,
    /// Track 0 is sound.
    Sound,
}

/// What one camera has recorded.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    pub(crate) frames: Vec<Made>,
    /// Frame numbers before which there is a gap.
    pub(crate) gaps: Vec<usize>,
    /// Whether gaps are recorded when they begin, too.
    pub(crate) tells_begins: bool,
}

impl Stream {
    /// A stream of pictures, of random kind, in `[START_US, START_US + len_us]`.
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
                track: 0,
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
        let count = stream.frames.len();
        stream.gaps.retain(|gap| *gap < count);
        stream.set_releases();
        stream
    }

    /// The same with sound beside the pictures, or instead of them.
    pub(crate) fn with_sound(self, is_alone: bool) -> Self {
        let mut made = Self {
            kind: if is_alone { Kind::Sound } else { Kind::Both },
            ..Self::default()
        };
        let mut bounds = self.gaps.clone();
        bounds.push(self.frames.len());
        let mut from = 0;
        for to in bounds {
            let pictures = &self.frames[from..to];
            let Some((first, last)) = pictures.first().zip(pictures.last()) else {
                continue;
            };
            if from > 0 {
                made.gaps.push(made.frames.len());
            }
            let count = 1 + (last.arrival - first.arrival) / SOUND_US;
            let sound = (0..count).map(|n| first.arrival + n * SOUND_US);
            let sound = sound.map(|at| Made {
                track: u8::from(!is_alone),
                time: at,
                key: true,
                arrival: at,
                release: at,
            });
            let mut all: Vec<_> = pictures.iter().filter(|_| !is_alone).copied().collect();
            all.extend(sound);
            all.sort_by_key(|frame| frame.arrival);
            made.frames.extend(all);
            from = to;
        }
        made
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

    pub(crate) fn has_pictures(&self) -> bool {
        self.kind != Kind::Sound
    }

    pub(crate) fn is_picture(&self, number: usize) -> bool {
        self.has_pictures() && self.leads(number)
    }

    /// Whether it is a picture, or sound that stands alone.
    pub(crate) fn leads(&self, number: usize) -> bool {
        self.frames[number].track == 0
    }

    /// Where reading can begin: key frames, and sound that stands alone.
    fn is_start(&self, number: usize) -> bool {
        self.frames[number].key && self.leads(number)
    }

    /// The times of its pictures, or of sound where there are none.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> {
        let track_0 = self.frames.iter().filter(|frame| frame.track == 0);
        track_0.map(|frame| frame.time)
    }

    /// The times of its key frames.
    pub(crate) fn key_times(&self) -> impl Iterator<Item = i64> {
        let keys = (0..self.frames.len()).filter(|n| self.is_picture(*n) && self.is_start(*n));
        keys.map(|n| self.frames[n].time)
    }

    /// Where a read at `time` begins: the newest key frame at or before it, or else the first.
    pub(crate) fn start(&self, time: i64) -> Option<usize> {
        let starts = || (0..self.frames.len()).filter(|n| self.is_start(*n));
        let newest = starts().rfind(|n| self.frames[*n].time <= time);
        newest.or_else(|| starts().next())
    }

    /// What must come once the player was sent to `target`.
    pub(crate) fn expected(&self, target: i64) -> Vec<Due> {
        let Some(from) = self.start(target) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        let mut before = i64::MIN;
        let shown = self.shown(from, target);
        let bounds = self.gaps.iter().copied().filter(|gap| *gap > from);
        let mut at = from;
        for to in bounds.chain([self.frames.len()]) {
            if at > from {
                all.extend(self.due_gap(at, before));
            }
            let segment = at..to;
            let mut pieces: Vec<_> = segment.filter_map(|n| self.due(n, target, shown)).collect();
            pieces.sort_by_key(|due| due.latest);
            all.extend(pieces);
            let times = self.frames[at..to].iter().map(|frame| frame.time);
            before = times.max().unwrap_or(before).max(before);
            at = to;
        }
        all
    }

    /// A gap comes when what was recorded before it was delivered, but not before it was read,
    /// behind what came before `before`.
    fn due_gap(&self, number: usize, before: i64) -> Vec<Due> {
        let (begin, end) = (self.frames[number - 1].time, self.frames[number].time);
        let open = Due {
            piece: Piece::OpenGap(number),
            earliest: begin,
            latest: before.max(begin),
        };
        let closed = Due {
            piece: Piece::Gap(number),
            earliest: if self.tells_begins { end } else { begin },
            latest: end,
        };
        if self.tells_begins {
            vec![open, closed]
        } else {
            vec![closed]
        }
    }

    /// The time of the picture to be seen at `target`.
    fn shown(&self, from: usize, target: i64) -> Option<i64> {
        let pictures = (from..self.frames.len()).filter(|n| self.is_picture(*n));
        let burst = pictures.take_while(|n| self.frames[*n].release <= target);
        let times = burst.map(|n| self.frames[n].time);
        times.filter(|time| *time <= target).max()
    }

    fn due(&self, number: usize, target: i64, shown: Option<i64>) -> Option<Due> {
        let frame = &self.frames[number];
        let is_picture = self.is_picture(number);
        if !is_picture && frame.time < target {
            return None;
        }
        let is_early = shown.is_some_and(|shown| frame.time < shown);
        let is_marked = is_picture && frame.release <= target && is_early;
        Some(Due {
            piece: if is_marked {
                Piece::Preroll(number)
            } else {
                Piece::Frame(number)
            },
            earliest: frame.release,
            latest: frame.release,
        })
    }

    /// The number of the frame that `frame` is.
    pub(crate) fn number(&self, frame: &Frame) -> usize {
        let number = u64::from_le_bytes(frame.payload[..].try_into().unwrap()) as usize;
        let made = self.frames[number];
        assert_eq!(
            (made.track, made.time, made.key),
            (frame.track, frame.time.0, frame.key)
        );
        number
    }

    /// Which gap this is.
    pub(crate) fn piece_of(&self, gap: &Gap) -> Piece {
        let mut gaps = self.gaps.iter();
        let found = gaps.find_map(|number| match *gap {
            gap if gap == self.gap(*number, true) => Some(Piece::OpenGap(*number)),
            gap if gap == self.gap(*number, false) => Some(Piece::Gap(*number)),
            _ => None,
        });
        found.unwrap()
    }

    fn gap(&self, number: usize, is_open: bool) -> Gap {
        let end = self.frames[number].time;
        Gap {
            cause: GapCause::NoSignal,
            start: Timestamp(self.frames[number - 1].time),
            end: Some(Timestamp(end)).filter(|_| !is_open),
            lost_count: None,
        }
    }

    fn setup(&self) -> StreamSetup {
        let mut setup = camera::setup("made up");
        let mut sound = setup.tracks[0].clone();
        sound.codec = Codec::Aac;
        match self.kind {
            Kind::Pictures => {}
            Kind::Both => setup.tracks.push(sound),
            Kind::Sound => setup.tracks = vec![sound],
        }
        setup
    }

    fn frame(&self, number: usize) -> Frame {
        let made = self.frames[number];
        Frame {
            track: made.track,
            key: made.key,
            leading: false,
            time: Timestamp(made.time),
            clock: 0,
            payload: Bytes::from((number as u64).to_le_bytes().to_vec()),
        }
    }

    fn recorded(number: usize, stream: StreamId, arrival: i64, item: Item) -> Recorded {
        Recorded {
            stream,
            sequence: 1 + (arrival - START_US).unsigned_abs() / 2_000_000,
            ordinal: number as u64,
            item,
        }
    }

    /// What a reader hands over from frame `from` to frame `to`, with arrivals.
    pub(crate) fn read(&self, stream: StreamId, from: usize, to: usize) -> Vec<(i64, Recorded)> {
        let mut items = Vec::new();
        for number in from..to {
            let arrival = self.frames[number].arrival;
            let mut put = |arrival, item| {
                let item = Self::recorded(number, stream, arrival, item);
                items.push((arrival, item));
            };
            if number == from {
                put(arrival, Item::Setup(Arc::new(self.setup())));
            } else if self.gaps.contains(&number) {
                if self.tells_begins {
                    let begin = self.frames[number - 1].arrival;
                    put(begin, Item::Gap(self.gap(number, true)));
                }
                put(arrival, Item::Gap(self.gap(number, false)));
            }
            put(arrival, Item::Frame(self.frame(number)));
        }
        items
    }
}
