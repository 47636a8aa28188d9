//! One history of a stream that several volumes have: a camera that moved from one to another.
//!
//! Pure: out of the timelines of each. What is recorded in several volumes is told once; what lies
//! between them is a gap.

use super::timeline::{MERGE_US, Stretch};
use crate::base::time::TimeRange;
use crate::frame::GapCause;

/// The timelines of one stream in several volumes, as [`Volume::timeline`](super::Volume::timeline)
/// tells them, as one.
///
/// A gap of one volume ends where another one has frames. Where no volume says why nothing is
/// recorded between two of its stretches, the recorder was not running:
/// [`GapCause::Restart`].
pub fn merge(timelines: &[Vec<Stretch>]) -> Vec<Stretch> {
    if let [only] = timelines {
        return only.clone();
    }
    let recorded = merge_recorded(timelines);
    let mut gaps = Vec::new();
    for (own, timeline) in timelines.iter().enumerate() {
        let others = timelines.iter().enumerate().filter(|(n, _)| *n != own);
        let others: Vec<_> = others.flat_map(|(_, other)| ranges(other)).collect();
        for gap in timeline.iter().filter(|stretch| stretch.gap.is_some()) {
            gaps.extend(without(*gap, &others));
        }
    }
    for pair in recorded.windows(2) {
        let [before, behind] = pair else { continue };
        let hole = TimeRange::new(before.end, behind.start);
        let is_known = gaps.iter().any(|gap: &Stretch| {
            gap.is_open && gap.range.start <= hole.end
                || gap.range.start < hole.end && gap.range.end > hole.start
        });
        if !is_known {
            gaps.push(Stretch {
                range: hole,
                gap: Some(GapCause::Restart),
                is_open: false,
            });
        }
    }
    let recorded = recorded.into_iter().map(|range| Stretch {
        range,
        gap: None,
        is_open: false,
    });
    let mut all: Vec<_> = recorded.chain(gaps).collect();
    all.sort_by_key(|stretch| (stretch.range.start, stretch.range.end, stretch.gap));
    all
}

/// Which of several volumes to read a stream from, and when: their numbers in `timelines`, in the
/// order of time. Where several have it, the one that began goes on to its end.
///
/// A turn lasts from its first frame to its last, with the gaps between.
pub fn turns(timelines: &[Vec<Stretch>]) -> Vec<(usize, TimeRange)> {
    let numbered = timelines.iter().enumerate();
    let mut recorded: Vec<_> = numbered
        .flat_map(|(n, timeline)| ranges(timeline).map(move |range| (n, range)))
        .collect();
    recorded.sort_by_key(|(n, range)| (range.start, *n));
    let mut turns: Vec<(usize, TimeRange)> = Vec::new();
    for (n, range) in recorded {
        match turns.last_mut() {
            Some((_, last)) if range.end <= last.end => {}
            Some((same, last)) if *same == n => last.end = range.end,
            Some((_, last)) => {
                let start = range.start.max(last.end.plus_us(1));
                turns.push((n, TimeRange::new(start, range.end)));
            }
            None => turns.push((n, range)),
        }
    }
    turns
}

/// What is recorded of a timeline.
fn ranges(timeline: &[Stretch]) -> impl Iterator<Item = TimeRange> + '_ {
    let recorded = timeline.iter().filter(|stretch| stretch.gap.is_none());
    recorded.map(|stretch| stretch.range)
}

/// What is recorded in any timeline, in order and apart.
fn merge_recorded(timelines: &[Vec<Stretch>]) -> Vec<TimeRange> {
    let mut all: Vec<_> = timelines.iter().flat_map(|t| ranges(t)).collect();
    all.sort_by_key(|range| range.start);
    let mut merged: Vec<TimeRange> = Vec::new();
    for range in all {
        match merged.last_mut() {
            Some(last) if range.start < last.end.plus_us(MERGE_US) => *last = last.union(&range),
            _ => merged.push(range),
        }
    }
    merged
}

/// What is left of a gap beside what `others` have recorded.
fn without(gap: Stretch, others: &[TimeRange]) -> Vec<Stretch> {
    let mut left = vec![gap];
    for other in others {
        let cut = |part: Stretch| -> [Option<Stretch>; 2] {
            if other.end < part.range.start || !part.is_open && other.start > part.range.end {
                return [Some(part), None];
            }
            // An open gap has ended, as frames came.
            let before = TimeRange::new(part.range.start, other.start.max(part.range.start));
            let behind = TimeRange::new(other.end.min(part.range.end), part.range.end);
            let piece = |range: TimeRange| {
                (range.start < range.end).then_some(Stretch {
                    range,
                    is_open: false,
                    ..part
                })
            };
            [piece(before), piece(behind)]
        };
        left = left.into_iter().flat_map(cut).flatten().collect();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{Timestamp, US_PER_S};

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange::new(Timestamp(start * US_PER_S), Timestamp(end * US_PER_S))
    }

    fn recorded(start: i64, end: i64) -> Stretch {
        Stretch {
            range: range(start, end),
            gap: None,
            is_open: false,
        }
    }

    fn gap(cause: GapCause, start: i64, end: i64) -> Stretch {
        Stretch {
            range: range(start, end),
            gap: Some(cause),
            is_open: false,
        }
    }

    fn open(cause: GapCause, start: i64) -> Stretch {
        Stretch {
            is_open: true,
            ..gap(cause, start, start)
        }
    }

    #[test]
    fn what_lies_between_two_volumes_is_a_gap() {
        let (old, new) = (vec![recorded(0, 10)], vec![recorded(20, 30)]);
        let expected = [
            recorded(0, 10),
            gap(GapCause::Restart, 10, 20),
            recorded(20, 30),
        ];
        assert_eq!(merge(&[old.clone(), new.clone()]), expected);
        assert_eq!(merge(&[new, old]), expected, "in whatever order");
    }

    #[test]
    fn what_several_volumes_have_is_told_once() {
        let old = vec![recorded(0, 10)];
        let new = vec![recorded(8, 30)];
        assert_eq!(merge(&[old.clone(), new.clone()]), [recorded(0, 30)]);
        let turns = turns(&[old, new]);
        let behind = TimeRange::new(Timestamp(10 * US_PER_S + 1), Timestamp(30 * US_PER_S));
        assert_eq!(turns, [(0, range(0, 10)), (1, behind)]);
    }

    #[test]
    fn a_gap_ends_where_another_volume_has_frames() {
        let old = vec![recorded(0, 10), open(GapCause::Idle, 10)];
        let new = vec![recorded(20, 30)];
        let expected = [
            recorded(0, 10),
            gap(GapCause::Idle, 10, 20),
            recorded(20, 30),
        ];
        assert_eq!(merge(&[old, new]), expected);
        // A gap in the middle that the other one fills.
        let old = vec![
            recorded(0, 10),
            gap(GapCause::NoSignal, 10, 20),
            recorded(20, 30),
        ];
        let new = vec![recorded(12, 15)];
        let expected = [
            recorded(0, 10),
            gap(GapCause::NoSignal, 10, 12),
            recorded(12, 15),
            gap(GapCause::NoSignal, 15, 20),
            recorded(20, 30),
        ];
        assert_eq!(merge(&[old.clone(), new.clone()]), expected);
        let turns = turns(&[old, new]);
        let expected = [(0, range(0, 10)), (1, range(12, 15)), (0, range(20, 30))];
        assert_eq!(turns, expected);
    }

    #[test]
    fn a_gap_that_still_lasts_stays_open() {
        let old = vec![recorded(0, 10)];
        let new = vec![recorded(20, 30), open(GapCause::NoSignal, 30)];
        let merged = merge(&[old, new]);
        assert_eq!(merged.last(), Some(&open(GapCause::NoSignal, 30)));
    }
}
