//! The timeline: for each stream, when it was recorded, and why not.
//!
//! Kept in memory, fed with chunks and gap records in volume order; a cache like the blocktable.
//! Stretches that lie less than two seconds apart are one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// One stream: recorded ranges, sorted and apart from one another, and gaps in the order in which
/// they began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Track {
    recorded: Vec<TimeRange>,
    gaps: Vec<Gap>,
}

/// How many of the newest gaps are looked at for the one that a record closes.
const OPEN_GAPS: usize = 8;

impl Timeline {
    /// Adds a stretch with frames.
    pub fn add_recorded(&mut self, stream: StreamId, range: TimeRange) {
        let recorded = &mut self.streams.entry(stream).or_default().recorded;
        let touching = range.widened(MERGE_US - 1);
        let first = recorded.partition_point(|other| other.end < touching.start);
        let behind = recorded
            .partition_point(|other| other.start <= touching.end)
            .max(first);
        let merged = recorded.get(first..behind).unwrap_or_default().iter();
        let merged = merged.fold(range, |all, other| all.union(other));
        recorded.splice(first..behind, [merged]);
    }

    /// Adds a gap record: one that opens, or one that closes the gap with the same start and
    /// cause.
    pub fn add_gap(&mut self, stream: StreamId, gap: Gap) {
        let gaps = &mut self.streams.entry(stream).or_default().gaps;
        let same = |open: &&mut Gap| {
            open.start == gap.start && open.cause == gap.cause && open.end.is_none()
        };
        match gaps.iter_mut().rev().take(OPEN_GAPS).find(same) {
            Some(open) => *open = gap,
            None => gaps.push(gap),
        }
    }

    /// Forgets what lies before `oldest`, the time of the oldest block.
    pub fn trim(&mut self, oldest: Timestamp) {
        for track in self.streams.values_mut() {
            track.recorded.retain(|range| range.end >= oldest);
            if let Some(first) = track.recorded.first_mut() {
                first.start = first.start.max(oldest);
            }
            track
                .gaps
                .retain(|gap| gap.end.is_none_or(|end| end >= oldest));
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
            start: recorded.first()?.start,
            end: recorded.last()?.end,
        })
    }

    /// The stretches of `stream` that overlap `range`, in order of their beginnings.
    pub fn stretches(&self, stream: StreamId, range: TimeRange) -> Vec<Stretch> {
        let Some(track) = self.streams.get(&stream) else {
            return Vec::new();
        };
        let recorded = track.recorded.iter();
        let recorded = recorded.map(|range| Stretch {
            range: *range,
            gap: None,
            is_open: false,
        });
        let gaps = track.gaps.iter().map(|gap| track.gap_stretch(gap));
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
        let next = self.recorded.iter().find(|range| range.end > gap.start);
        let next = next.map(|range| range.start.max(gap.start));
        let end = gap.end.or(next);
        Stretch {
            range: TimeRange::new(gap.start, end.unwrap_or(gap.start)),
            gap: Some(gap.cause),
            is_open: end.is_none(),
        }
    }
}

/// The timelines as the cache file keeps them.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    stream: u64,
    /// Start and end of each recorded range, in microseconds since 1970.
    recorded: Vec<(i64, i64)>,
    /// Start, end if it has one, number of the cause, and lost frames if they are known.
    gaps: Vec<(i64, Option<i64>, u8, Option<u64>)>,
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
                    .map(|r| (r.start.0, r.end.0))
                    .collect(),
                gaps: track
                    .gaps
                    .iter()
                    .map(|gap| {
                        (
                            gap.start.0,
                            gap.end.map(|end| end.0),
                            code(gap.cause),
                            gap.lost_count,
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
            for (start, end) in stored.recorded {
                let range = TimeRange::new(Timestamp(start), Timestamp(end));
                timeline.add_recorded(stream, range);
            }
            for (start, end, code, lost_count) in stored.gaps {
                let cause = GapCause::STORED.get(usize::from(code)).copied();
                let cause = cause.ok_or_else(|| serde::de::Error::custom("unknown gap cause"))?;
                let (start, end) = (Timestamp(start), end.map(Timestamp));
                timeline.add_gap(
                    stream,
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
            timeline.add_recorded(CAMERA, range(start, end));
        }
        assert_eq!(
            recorded(&timeline),
            [range(5, 8), range(10, 30), range(32, 50)]
        );
        assert_eq!(timeline.time_range(CAMERA), Some(range(5, 50)));
        timeline.add_recorded(CAMERA, range(7, 33));
        assert_eq!(recorded(&timeline), [range(5, 50)]);
    }

    #[test]
    fn a_closing_record_ends_the_gap_that_was_opened() {
        let mut timeline = Timeline::default();
        timeline.add_recorded(CAMERA, range(0, 10));
        timeline.add_gap(CAMERA, gap(GapCause::NoSignal, 10, None));
        let open = timeline.stretches(CAMERA, TimeRange::ALL);
        assert_eq!(
            open.get(1).map(|s| (s.gap, s.is_open)),
            Some((Some(GapCause::NoSignal), true))
        );
        timeline.add_gap(CAMERA, gap(GapCause::NoSignal, 10, Some(25)));
        timeline.add_recorded(CAMERA, range(25, 30));
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
        timeline.add_gap(CAMERA, gap(GapCause::Restart, 10, None));
        timeline.add_recorded(CAMERA, range(25, 30));
        let first = timeline.stretches(CAMERA, TimeRange::ALL).first().copied();
        assert_eq!(
            first.map(|s| (s.range, s.is_open)),
            Some((range(10, 25), false))
        );
    }

    #[test]
    fn what_the_ring_has_overwritten_is_forgotten() {
        let mut timeline = Timeline::default();
        timeline.add_recorded(CAMERA, range(0, 10));
        timeline.add_recorded(CAMERA, range(20, 30));
        timeline.add_gap(CAMERA, gap(GapCause::Idle, 10, Some(20)));
        timeline.trim(Timestamp(25 * US_PER_S));
        assert_eq!(recorded(&timeline), [range(25, 30)]);
        assert_eq!(timeline.stretches(CAMERA, TimeRange::ALL).len(), 1);
    }

    #[test]
    fn the_cache_file_keeps_everything() {
        let mut timeline = Timeline::default();
        timeline.add_recorded(CAMERA, range(0, 10));
        timeline.add_recorded(StreamId(u64::MAX), range(-20, 30));
        timeline.add_gap(CAMERA, gap(GapCause::Disk, 10, Some(20)));
        timeline.add_gap(CAMERA, gap(GapCause::Idle, 30, None));
        let text = serde_json::to_string(&timeline).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Timeline>(&text).ok(), Some(timeline));
    }
}
