//! The timeline: for each stream, when it was recorded, and why not.
//!
//! Kept in memory, fed with chunks and gap records in volume order; a cache like the blocktable.
//! Stretches that lie less than two seconds apart are one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::geometry::Sequence;
use crate::base::time::{TimeRange, Timestamp, US_PER_S};
use crate::frame::{Gap, GapCause, StreamId};

/// Recorded stretches that lie closer than this are merged, in microseconds.
pub const MERGE_US: i64 = 2 * US_PER_S;

/// A stretch of a stream's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// When.
    pub range: TimeRange,
    /// Why nothing is recorded there; none where frames are.
    pub gap: Option<GapCause>,
    /// Whether it is a gap that has not ended yet; its end is the last time that is known.
    pub is_open: bool,
}

/// The timelines of all streams of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    streams: BTreeMap<StreamId, Track>,
}

/// One stream: recorded ranges, sorted and apart from one another, and gaps by beginning and cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Track {
    recorded: Vec<Recorded>,
    gaps: Vec<Told>,
}

/// A stretch with frames, and the newest block that holds some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recorded {
    range: TimeRange,
    sequence: Sequence,
}

/// A gap, and the block with its newest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    gap: Gap,
    sequence: Sequence,
}

impl Timeline {
    /// Adds a stretch with frames that are in block `sequence`.
    pub fn add_recorded(&mut self, stream: StreamId, sequence: Sequence, range: TimeRange) {
        let recorded = &mut self.streams.entry(stream).or_default().recorded;
        let touching = range.widened(MERGE_US - 1);
        let first = recorded.partition_point(|other| other.range.end < touching.start);
        let behind = recorded
            .partition_point(|other| other.range.start <= touching.end)
            .max(first);
        let merged = recorded.get(first..behind).unwrap_or_default().iter();
        let merged = merged.fold(Recorded { range, sequence }, |all, other| Recorded {
            range: all.range.union(&other.range),
            sequence: all.sequence.max(other.sequence),
        });
        recorded.splice(first..behind, [merged]);
    }

    /// Adds a gap record that is in block `sequence`: one that opens, or one that closes the gap
    /// with the same start and cause. A record that was added before changes nothing.
    pub fn add_gap(&mut self, stream: StreamId, sequence: Sequence, gap: Gap) {
        let gaps = &mut self.streams.entry(stream).or_default().gaps;
        let key = |told: &Told| (told.gap.start, told.gap.cause);
        let own = (gap.start, gap.cause);
        let first = gaps.partition_point(|told| key(told) < own);
        let behind = gaps.partition_point(|told| key(told) <= own);
        let told = Told { gap, sequence };
        let same = gaps.get_mut(first..behind).unwrap_or_default();
        let is_known = |told: &&mut Told| told.gap.end == gap.end || gap.end.is_none();
        if let Some(known) = same.iter_mut().find(is_known) {
            known.sequence = known.sequence.max(sequence);
        } else if let Some(open) = same.iter_mut().find(|told| told.gap.end.is_none()) {
            *open = told;
        } else {
            gaps.insert(behind, told);
        }
    }

    /// Forgets what is only in blocks before `first`, the oldest one, whose frames begin at
    /// `oldest`.
    ///
    /// What a merged stretch has lost of its beginning is known to about a block; not at all where
    /// the clock of a camera is far from those of the others: then it stays, rather than to hide
    /// what is there.
    pub fn trim(&mut self, first: Sequence, oldest: Timestamp) {
        for track in self.streams.values_mut() {
            track.recorded.retain(|recorded| recorded.sequence >= first);
            track.gaps.retain(|told| told.sequence >= first);
            for recorded in &mut track.recorded {
                if recorded.range.contains(oldest) {
                    recorded.range.start = oldest;
                }
            }
        }
        self.streams
            .retain(|_, track| !track.recorded.is_empty() || !track.gaps.is_empty());
    }

    /// The streams that have something.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.streams.keys().copied()
    }

    /// From the first recorded time of `stream` to the last.
    pub fn time_range(&self, stream: StreamId) -> Option<TimeRange> {
        let recorded = &self.streams.get(&stream)?.recorded;
        Some(TimeRange {
            start: recorded.first()?.range.start,
            end: recorded.last()?.range.end,
        })
    }

    /// From the first recorded time of all streams to the last.
    pub fn time_range_of_all(&self) -> Option<TimeRange> {
        let ranges = self.streams().filter_map(|stream| self.time_range(stream));
        ranges.reduce(|all, range| all.union(&range))
    }

    /// The gap of `stream` that has not ended.
    pub fn lasting_gap(&self, stream: StreamId) -> Option<Gap> {
        let track = self.streams.get(&stream)?;
        let mut open = track.gaps.iter().map(|told| told.gap);
        open.rfind(|gap| track.gap_stretch(gap).is_open)
    }

    /// The stretches of `stream` that overlap `range`, in order of their beginnings.
    pub fn stretches(&self, stream: StreamId, range: TimeRange) -> Vec<Stretch> {
        let Some(track) = self.streams.get(&stream) else {
            return Vec::new();
        };
        let recorded = track.recorded.iter();
        let recorded = recorded.map(|recorded| Stretch {
            range: recorded.range,
            gap: None,
            is_open: false,
        });
        let gaps = track.gaps.iter().map(|told| track.gap_stretch(&told.gap));
        let mut all: Vec<_> = recorded
            .chain(gaps)
            .filter(|stretch| stretch.range.overlaps(&range))
            .collect();
        all.sort_by_key(|stretch| (stretch.range.start, stretch.range.end, stretch.gap));
        all
    }
}

impl Track {
    /// A gap whose closing record was lost in a crash ends where frames come again.
    fn gap_stretch(&self, gap: &Gap) -> Stretch {
        let ranges = self.recorded.iter().map(|recorded| recorded.range);
        let next = { ranges }.find(|range| range.end > gap.start);
        let next = next.map(|range| range.start.max(gap.start));
        let end = gap.end.or(next);
        Stretch {
            range: TimeRange::new(gap.start, end.unwrap_or(gap.start)),
            gap: Some(gap.cause),
            is_open: end.is_none(),
        }
    }
}

/// A gap as the cache file keeps it.
type StoredGap = (i64, Option<i64>, u8, Option<u64>, Sequence);

/// The timelines as the cache file keeps them.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    stream: u64,
    /// Start and end of each recorded range, in microseconds since 1970, and its newest block.
    recorded: Vec<(i64, i64, Sequence)>,
    /// Start, end if it has one, number of the cause, lost frames if they are known, and the block
    /// of the newest record.
    gaps: Vec<StoredGap>,
}

impl Serialize for Timeline {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let code = |cause| {
            GapCause::STORED
                .iter()
                .position(|c| *c == cause)
                .unwrap_or(0) as u8
        };
        to.collect_seq(self.streams.iter().map(|(stream, track)| {
            Stored {
                stream: stream.0,
                recorded: track
                    .recorded
                    .iter()
                    .map(|r| (r.range.start.0, r.range.end.0, r.sequence))
                    .collect(),
                gaps: track
                    .gaps
                    .iter()
                    .map(|Told { gap, sequence }| {
                        (
                            gap.start.0,
                            gap.end.map(|end| end.0),
                            code(gap.cause),
                            gap.lost_count,
                            *sequence,
                        )
                    })
                    .collect(),
            }
        }))
    }
}

impl<'de> Deserialize<'de> for Timeline {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut timeline = Self::default();
        for stored in Vec::<Stored>::deserialize(from)? {
            let stream = StreamId(stored.stream);
            for (start, end, sequence) in stored.recorded {
                let range = TimeRange::new(Timestamp(start), Timestamp(end));
                timeline.add_recorded(stream, sequence, range);
            }
            for (start, end, code, lost_count, sequence) in stored.gaps {
                let cause = GapCause::STORED.get(usize::from(code)).copied();
                let cause = cause.ok_or_else(|| serde::de::Error::custom("unknown gap cause"))?;
                let (start, end) = (Timestamp(start), end.map(Timestamp));
                timeline.add_gap(
                    stream,
                    sequence,
                    Gap {
                        cause,
                        start,
                        end,
                        lost_count,
                    },
                );
            }
        }
        Ok(timeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: StreamId = StreamId(7);

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange {
            start: Timestamp(start * US_PER_S),
            end: Timestamp(end * US_PER_S),
        }
    }

    fn gap(cause: GapCause, start: i64, end: Option<i64>) -> Gap {
        let time = |s: i64| Timestamp(s * US_PER_S);
        Gap {
            cause,
            start: time(start),
            end: end.map(time),
            lost_count: None,
        }
    }

    fn recorded(timeline: &Timeline) -> Vec<TimeRange> {
        let all = timeline.stretches(CAMERA, TimeRange::ALL);
        all.iter()
            .filter(|s| s.gap.is_none())
            .map(|s| s.range)
            .collect()
    }

    #[test]
    fn stretches_less_than_two_seconds_apart_are_one() {
        let mut timeline = Timeline::default();
        for (start, end) in [(10, 20), (21, 30), (32, 40), (5, 6), (7, 8), (39, 50)] {
            timeline.add_recorded(CAMERA, 1, range(start, end));
        }
        assert_eq!(
            recorded(&timeline),
            [range(5, 8), range(10, 30), range(32, 50)]
        );
        assert_eq!(timeline.time_range(CAMERA), Some(range(5, 50)));
        timeline.add_recorded(CAMERA, 1, range(7, 33));
        assert_eq!(recorded(&timeline), [range(5, 50)]);
    }

    #[test]
    fn a_closing_record_ends_the_gap_that_was_opened() {
        let mut timeline = Timeline::default();
        timeline.add_recorded(CAMERA, 1, range(0, 10));
        timeline.add_gap(CAMERA, 1, gap(GapCause::NoSignal, 10, None));
        let open = timeline.stretches(CAMERA, TimeRange::ALL);
        assert_eq!(
            open.get(1).map(|s| (s.gap, s.is_open)),
            Some((Some(GapCause::NoSignal), true))
        );
        timeline.add_gap(CAMERA, 1, gap(GapCause::NoSignal, 10, Some(25)));
        timeline.add_recorded(CAMERA, 1, range(25, 30));
        let all = timeline.stretches(CAMERA, TimeRange::ALL);
        let shape: Vec<_> = all.iter().map(|s| (s.range, s.gap, s.is_open)).collect();
        let expected = [
            (range(0, 10), None, false),
            (range(10, 25), Some(GapCause::NoSignal), false),
            (range(25, 30), None, false),
        ];
        assert_eq!(shape, expected);
    }

    /// A crash takes the closing record; the frames that follow end the gap all the same.
    #[test]
    fn a_gap_without_a_closing_record_ends_where_frames_come_again() {
        let mut timeline = Timeline::default();
        timeline.add_gap(CAMERA, 1, gap(GapCause::Restart, 10, None));
        timeline.add_recorded(CAMERA, 1, range(25, 30));
        let first = timeline.stretches(CAMERA, TimeRange::ALL).first().copied();
        assert_eq!(
            first.map(|s| (s.range, s.is_open)),
            Some((range(10, 25), false))
        );
    }

    #[test]
    fn what_the_ring_has_overwritten_is_forgotten() {
        let mut timeline = Timeline::default();
        timeline.add_recorded(CAMERA, 4, range(0, 10));
        timeline.add_gap(CAMERA, 5, gap(GapCause::Idle, 10, Some(20)));
        timeline.add_recorded(CAMERA, 5, range(20, 24));
        timeline.add_recorded(CAMERA, 6, range(25, 30));
        timeline.trim(6, Timestamp(25 * US_PER_S));
        assert_eq!(recorded(&timeline), [range(25, 30)]);
        assert_eq!(timeline.stretches(CAMERA, TimeRange::ALL).len(), 1);
    }

    /// A camera whose clock stands in 1970 among others whose clocks are right.
    #[test]
    fn a_wrong_clock_hides_nothing() {
        let mut timeline = Timeline::default();
        timeline.add_recorded(CAMERA, 4, range(0, 10));
        timeline.add_recorded(CAMERA, 6, range(100, 110));
        timeline.add_gap(CAMERA, 6, gap(GapCause::Idle, 10, Some(100)));
        timeline.trim(5, Timestamp(1_700_000_000 * US_PER_S));
        assert_eq!(recorded(&timeline), [range(100, 110)]);
        assert_eq!(timeline.stretches(CAMERA, TimeRange::ALL).len(), 2);
    }

    /// A cache file is as new as its volume, or a little older: then its last blocks are read once
    /// more, and they may hold any number of gaps.
    #[test]
    fn records_that_are_added_again_change_nothing() {
        let mut once = Timeline::default();
        let add = |timeline: &mut Timeline| {
            for n in 0..200 {
                timeline.add_gap(CAMERA, 1, gap(GapCause::PacketLoss, 10 * n, None));
                timeline.add_gap(
                    CAMERA,
                    2,
                    gap(GapCause::PacketLoss, 10 * n, Some(10 * n + 5)),
                );
                timeline.add_gap(CAMERA, 2, gap(GapCause::Restart, 10 * n, Some(10 * n + 7)));
                timeline.add_gap(CAMERA, 2, gap(GapCause::Restart, 10 * n, Some(10 * n + 9)));
            }
        };
        add(&mut once);
        assert_eq!(once.stretches(CAMERA, TimeRange::ALL).len(), 600);
        let mut twice = once.clone();
        add(&mut twice);
        assert_eq!(once, twice);
    }

    #[test]
    fn the_cache_file_keeps_everything() {
        let mut timeline = Timeline::default();
        timeline.add_recorded(CAMERA, 1, range(0, 10));
        timeline.add_recorded(StreamId(u64::MAX), 3, range(-20, 30));
        timeline.add_gap(CAMERA, 1, gap(GapCause::Disk, 10, Some(20)));
        timeline.add_gap(CAMERA, 1, gap(GapCause::Idle, 30, None));
        let text = serde_json::to_string(&timeline).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Timeline>(&text).ok(), Some(timeline));
    }
}
