//! A row: the seqlock.
//!
//! The words of a row are atomics, read and written Relaxed between two looks at the version, so
//! no race is undefined behaviour. Orderings, and their partners:
//!
//! | here | partner |
//! |---|---|
//! | writer: version odd (Relaxed), then Release fence, then words | reader: words, then Acquire fence, then version again: whoever saw a new word sees the odd version |
//! | writer: words, then version even (Release) | reader: first look at the version (Acquire): whoever saw the even version sees all words |
//!
//! `tests/loom.rs` fails when any of the four is weakened.

use crate::base::geometry::Sequence;
use crate::base::sync::{AtomicU64, Ordering, fence, yield_now};
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

/// A [`TableRow`] that one thread writes and any number read.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Row {
    version: AtomicU64,
    words: [AtomicU64; ROW_WORDS],
}

impl Row {
    /// Replaces the row. `version` is even and new.
    pub(crate) fn write(&self, version: u64, row: &TableRow) {
        self.version.store(version - 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(row.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.version.store(version, Ordering::Release);
    }

    /// Reads the row, again and again while it is being written: a write is eight stores long.
    pub(crate) fn read(&self) -> TableRow {
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let words = std::array::from_fn(|i| {
                    self.words
                        .get(i)
                        .map_or(0, |word| word.load(Ordering::Relaxed))
                });
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return TableRow::from_words(words);
                }
            }
            yield_now();
        }
    }
}
