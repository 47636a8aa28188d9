//! From time to blocks.

use super::{BlockTable, RowState, TableRow};
use crate::base::geometry::Sequence;
use crate::base::sync::Ordering;
use crate::base::time::{TimeRange, Timestamp};

impl BlockTable {
    /// The rows of all blocks that count and hold something, oldest first: those in kept slots,
    /// then those in the window.
    pub fn blocks(&self) -> impl Iterator<Item = TableRow> + '_ {
        let (first, head) = self.window();
        let kept = self.kept_before(first).into_iter();
        kept.chain((first..=head).filter_map(|sequence| self.readable(sequence)))
    }

    /// Blocks in kept slots that the window has left, oldest first.
    fn kept_before(&self, first: Sequence) -> Vec<TableRow> {
        let rows = self.kept().into_iter().map(|slot| self.row(slot));
        let is_kept = |row: &TableRow| row.sequence < first && row.state != RowState::Empty;
        let mut rows: Vec<_> = rows.filter(is_kept).collect();
        rows.sort_unstable_by_key(|row| row.sequence);
        rows
    }

    /// The blocks that hold some frame with a time in `range`, oldest first.
    ///
    /// Rows are found by arrival, which never goes back, and then judged by their times, so a
    /// camera with a wrong clock costs a longer search and hides nothing.
    pub fn blocks_in(&self, range: TimeRange) -> Vec<TableRow> {
        // Relaxed: see `TableWriter::set_slot`.
        let skew_us = self.max_skew_us.load(Ordering::Relaxed);
        let widened = i64::try_from(skew_us).map(|skew_us| range.widened(skew_us));
        let arrivals = widened.unwrap_or(TimeRange::ALL);
        let (first, head) = self.window();
        let from = self.partition_point(first, head, |row| row.arrivals.end < arrivals.start);
        let found = (from..=head).filter_map(|sequence| self.readable(sequence));
        let found = found.take_while(|row| row.arrivals.start <= arrivals.end);
        let kept = self.kept_before(first).into_iter();
        kept.chain(found)
            .filter(|row| row.times.overlaps(&range))
            .collect()
    }

    /// The newest block before block `behind` that holds some frame with a time at or before `time`.
    pub fn newest_until(&self, time: Timestamp, behind: Sequence) -> Option<TableRow> {
        // Relaxed: see `TableWriter::set_slot`.
        let skew_us = i64::try_from(self.max_skew_us.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let latest = time.plus_us(skew_us);
        let (first, head) = self.window();
        let after = self.partition_point(first, head, |row| row.arrivals.start <= latest);
        let found = (first..after.min(behind)).rev();
        let mut found = found.filter_map(|sequence| self.readable(sequence));
        let begins = |row: &TableRow| row.times.start <= time;
        found.find(begins).or_else(|| {
            let kept = self.kept_before(first.min(behind));
            kept.into_iter().rfind(begins)
        })
    }

    /// The block that holds `time`, or else the nearest one before it, with `radius` blocks on
    /// each side of it; oldest first.
    #[doc(alias = "getIndNeigh")]
    pub fn blocks_near(&self, time: Timestamp, radius: usize) -> Vec<TableRow> {
        let (first, head) = self.window();
        let holding = self
            .blocks_in(TimeRange {
                start: time,
                end: time,
            })
            .first()
            .copied();
        let centre = holding.map(|row| row.sequence).or_else(|| {
            let after = self.partition_point(first, head, |row| row.arrivals.start <= time);
            let before = (first..after)
                .rev()
                .find_map(|sequence| self.readable(sequence));
            let nearest = before.or_else(|| (after..=head).find_map(|s| self.readable(s)));
            nearest.map(|row| row.sequence)
        });
        let Some(centre) = centre else {
            return Vec::new();
        };
        let before = (first..centre)
            .rev()
            .filter_map(|s| self.readable(s))
            .take(radius);
        let mut rows: Vec<_> = before.collect();
        rows.reverse();
        rows.extend(
            (centre..=head)
                .filter_map(|s| self.readable(s))
                .take(radius.saturating_add(1)),
        );
        rows
    }

    /// The presentation times of all blocks, those of setups and gaps among them; none where nothing
    /// is recorded.
    pub fn time_range(&self) -> Option<TimeRange> {
        self.blocks()
            .map(|row| row.times)
            .reduce(|all, times| all.union(&times))
    }

    /// The oldest and the newest sequence of the window.
    fn window(&self) -> (Sequence, Sequence) {
        let head = self.head();
        (
            head.saturating_sub(self.slot_count())
                .saturating_add(1)
                .max(1),
            head,
        )
    }

    fn readable(&self, sequence: Sequence) -> Option<TableRow> {
        self.block(sequence)
            .filter(|row| row.state != RowState::Empty)
    }

    /// The first sequence from `first` on whose block does not satisfy `before`, which holds for a
    /// beginning of the window and for nothing behind it. Empty rows take the side of the next
    /// block that is not.
    fn partition_point(
        &self,
        first: Sequence,
        head: Sequence,
        before: impl Fn(&TableRow) -> bool,
    ) -> Sequence {
        let (mut low, mut high) = (first, head.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            match (middle..high).find_map(|sequence| self.readable(sequence)) {
                Some(row) if before(&row) => low = row.sequence + 1,
                _ => high = middle,
            }
        }
        low
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::prelude::*;

    use super::super::TableWriter;
    use super::*;
    use crate::base::geometry::Geometry;

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange {
            start: Timestamp(start),
            end: Timestamp(end),
        }
    }

    /// A table of 16 slots in which blocks 1 to `head` were written; block n arrived in
    /// [100n, 100n + 90], and its times are `shift` away from that.
    fn table(head: u64, empty: &[u64], shift: impl Fn(u64) -> i64) -> TableWriter {
        let geometry = Geometry::new(1 << 20, 16, 4096).unwrap();
        let mut writer = TableWriter::new(16);
        for sequence in 1..=head {
            let from = 100 * sequence.cast_signed();
            let by = shift(sequence);
            let state = if empty.contains(&sequence) {
                RowState::Empty
            } else {
                RowState::Sealed
            };
            let row = TableRow {
                sequence,
                nonce: 1,
                state,
                arrivals: range(from, from + 90),
                times: range(from + by, from + 90 + by),
                skew_us: by.unsigned_abs(),
            };
            writer.set(&geometry, row);
            writer.set_head(sequence);
        }
        writer
    }

    fn sequences(rows: &[TableRow]) -> Vec<u64> {
        rows.iter().map(|row| row.sequence).collect()
    }

    #[test]
    fn blocks_are_found_by_time_across_the_wrap() {
        let writer = table(40, &[], |_| 0);
        let found = |a, b| sequences(&writer.table().blocks_in(range(a, b)));
        assert_eq!(found(2600, 2800), [26, 27, 28]);
        assert_eq!(found(3150, 3150), [31]);
        assert_eq!(found(3195, 3195), [0; 0], "between two blocks");
        assert_eq!(found(0, 2400), [0; 0], "overwritten");
        assert_eq!(found(i64::MIN, i64::MAX), (25..=40).collect::<Vec<_>>());
        assert_eq!(writer.table().time_range(), Some(range(2500, 4090)));
    }

    #[test]
    fn the_newest_block_until_a_time_is_found_though_it_ends_before() {
        let writer = table(40, &[30], |n| if n == 29 { -300 } else { 0 });
        let newest = |t, behind| {
            let row = writer.table().newest_until(Timestamp(t), behind);
            row.map(|row| row.sequence)
        };
        assert_eq!(newest(3195, u64::MAX), Some(31), "between two blocks");
        assert_eq!(
            newest(3095, u64::MAX),
            Some(29),
            "void blocks are not counted"
        );
        assert_eq!(newest(2650, u64::MAX), Some(29), "a clock that is wrong");
        assert_eq!(newest(2650, 29), Some(26));
        assert_eq!(newest(0, u64::MAX), None);
        assert_eq!(newest(i64::MAX, u64::MAX), Some(40));
    }

    #[test]
    fn neighbours_lie_around_the_block_that_holds_the_time() {
        let writer = table(40, &[29, 31], |_| 0);
        let near = |t, n| sequences(&writer.table().blocks_near(Timestamp(t), n));
        assert_eq!(near(3050, 0), [30]);
        assert_eq!(near(3050, 1), [28, 30, 32], "void blocks are not counted");
        assert_eq!(
            near(3095, 1),
            [28, 30, 32],
            "between blocks: around the one before"
        );
        assert_eq!(near(0, 1), [25, 26], "before all: the oldest");
        assert_eq!(near(i64::MAX, 2), [38, 39, 40], "after all: the newest");
        assert!(
            TableWriter::new(16)
                .table()
                .blocks_near(Timestamp(0), 3)
                .is_empty()
        );
    }

    /// A block in a slot that failed, or that is pinned, stays when the ring has gone on.
    #[test]
    fn kept_blocks_are_found_when_the_window_has_left_them() {
        let geometry = Geometry::new(1 << 20, 16, 4096).unwrap();
        let mut writer = table(18, &[], |_| 0);
        let kept = writer.table().block(5).unwrap();
        writer.set_kept(vec![4]);
        for sequence in (19..=40).filter(|sequence| geometry.slot_of(*sequence) != 4) {
            let row = TableRow { sequence, ..kept };
            writer.set(&geometry, row);
            writer.set_head(sequence);
        }
        let all: Vec<_> = writer.table().blocks().map(|row| row.sequence).collect();
        assert_eq!(all.first(), Some(&5));
        assert_eq!(all.len(), 16, "15 of the window and the kept one: {all:?}");
        assert!(sequences(&writer.table().blocks_in(range(500, 590))).contains(&5));
    }

    proptest! {
        /// Whatever the clocks of the cameras show, the search finds what looking at every row
        /// finds.
        #[test]
        fn searching_agrees_with_looking_at_every_row(
            head in 0_u64..60,
            empty in proptest::collection::vec(1_u64..60, 0..10),
            shifts in proptest::collection::vec(-500_i64..500, 60),
            start in -100_i64..7000,
            len in 0_i64..900,
        ) {
            let writer = table(head, &empty, |n| shifts.get(n as usize).copied().unwrap_or(0));
            let wanted = range(start, start + len);
            let slow: Vec<_> =
                writer.table().blocks().filter(|row| row.times.overlaps(&wanted)).collect();
            prop_assert_eq!(writer.table().blocks_in(wanted), slow);
        }
    }
}
