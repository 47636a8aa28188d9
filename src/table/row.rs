//! A row: what is known of one block, as words behind a seqlock.

use crate::base::geometry::Sequence;
use crate::base::seqlock::Seqlock;
use crate::base::time::{TimeRange, Timestamp};

/// What is known of the block in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RowState {
    /// Nothing to read: never written, burnt, or all of it void.
    #[default]
    Empty = 0,
    /// Runs are being appended.
    Open = 1,
    /// Index and trailer are on disk.
    Sealed = 2,
    /// A crash or a failure ended it before it was sealed; its runs have to be walked.
    Unsealed = 3,
}

impl RowState {
    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Open,
            2 => Self::Sealed,
            3 => Self::Unsealed,
            _ => Self::Empty,
        }
    }
}

/// A row of the blocktable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// The block in the slot; 0 for none.
    pub sequence: Sequence,
    /// The first eight bytes of the nonce of its life. A reader that finds sequence and nonce
    /// unchanged after its read was not overtaken by the writer.
    pub nonce: u64,
    /// What is known of it.
    pub state: RowState,
    /// Arrivals mapped to UTC, never before those of an earlier block.
    pub arrivals: TimeRange,
    /// Presentation times.
    pub times: TimeRange,
    /// The largest difference between a frame's time and its arrival, in microseconds, rounded up
    /// to milliseconds.
    pub skew_us: u64,
}

impl Default for TableRow {
    fn default() -> Self {
        let none = TimeRange {
            start: Timestamp(0),
            end: Timestamp(0),
        };
        Self {
            sequence: 0,
            nonce: 0,
            state: RowState::Empty,
            arrivals: none,
            times: none,
            skew_us: 0,
        }
    }
}

/// How far `times` reach beyond `arrivals`, in microseconds: the least skew with which a search by
/// arrival finds them. Arrivals that were held back, because a clock went back, are far from the
/// frames' times although these came on time.
pub fn skew_of(arrivals: &TimeRange, times: &TimeRange) -> u64 {
    let early = arrivals.start.0.saturating_sub(times.start.0);
    let late = times.end.0.saturating_sub(arrivals.end.0);
    // Saturation stands for a skew without a bound.
    match early.max(late) {
        i64::MAX => u64::MAX,
        skew => skew.max(0).cast_unsigned(),
    }
}

/// How many words a row has besides its version.
pub(super) const ROW_WORDS: usize = 7;

impl TableRow {
    /// The row as words, which is also how the cache file keeps it.
    pub fn to_words(self) -> [u64; ROW_WORDS] {
        let skew_ms = u64::from(u32::try_from(self.skew_us.div_ceil(1000)).unwrap_or(u32::MAX));
        [
            self.sequence,
            self.nonce,
            self.arrivals.start.0.cast_unsigned(),
            self.arrivals.end.0.cast_unsigned(),
            self.times.start.0.cast_unsigned(),
            self.times.end.0.cast_unsigned(),
            skew_ms | (self.state as u64) << 32,
        ]
    }

    /// The row that `words` stand for; any words are legal.
    pub fn from_words(words: [u64; ROW_WORDS]) -> Self {
        let [
            sequence,
            nonce,
            first_arrival,
            last_arrival,
            first_time,
            last_time,
            rest,
        ] = words;
        let time = |word: u64| Timestamp(word.cast_signed());
        let skew_ms = rest & u64::from(u32::MAX);
        Self {
            sequence,
            nonce,
            state: RowState::from_code((rest >> 32) as u8),
            arrivals: TimeRange::new(time(first_arrival), time(last_arrival)),
            times: TimeRange::new(time(first_time), time(last_time)),
            // A skew that does not fit its field has no bound.
            skew_us: if skew_ms == u64::from(u32::MAX) {
                u64::MAX
            } else {
                skew_ms * 1000
            },
        }
    }
}

/// A [`TableRow`] that one thread writes and any number read, on a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Row(Seqlock<ROW_WORDS>);

impl Row {
    /// Replaces the row; `version` as [`Seqlock::write`] wants it.
    pub(crate) fn write(&self, version: u64, row: &TableRow) {
        self.0.write(version, row.to_words());
    }

    pub(crate) fn read(&self) -> TableRow {
        TableRow::from_words(self.0.read())
    }
}

impl Default for Row {
    fn default() -> Self {
        Self(Seqlock::new(TableRow::default().to_words()))
    }
}
