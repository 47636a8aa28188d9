//! A seqlock: some words that one thread writes and any number read, and nobody waits for a lock.
//!
//! The words are atomics, read and written Relaxed between two looks at a version, so no race is
//! undefined behaviour: a torn read is seen and repeated. Orderings, and their partners:
//!
//! | here | partner |
//! |---|---|
//! | writer: version odd (Relaxed), then Release fence, then words | reader: words, then Acquire fence, then version again: whoever saw a new word sees the odd version |
//! | writer: words, then version even (Release) | reader: first look at the version (Acquire): whoever saw the even version sees all words |
//!
//! `tests/loom.rs` fails when any of the four is weakened.

use super::sync::{AtomicU64, Ordering, fence, yield_now};

/// `N` words that change as one.
#[derive(Debug)]
pub struct Seqlock<const N: usize> {
    version: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Seqlock<N> {
    /// Holds `words`, as version 0.
    pub fn new(words: [u64; N]) -> Self {
        Self {
            version: AtomicU64::new(0),
            words: words.map(AtomicU64::new),
        }
    }

    /// Replaces the words. `version` is even, and greater than that of the write before.
    ///
    /// Only one thread writes. It counts the versions itself, because it knows them, and because
    /// loom misses weakened orderings behind a redundant load of the version.
    pub fn write(&self, version: u64, words: [u64; N]) {
        self.version.store(version - 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        self.version.store(version, Ordering::Release);
    }

    /// Reads the words, again and again while they are being written: a write is `N + 2` stores
    /// long.
    pub fn read(&self) -> [u64; N] {
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let words = self
                    .words
                    .each_ref()
                    .map(|word| word.load(Ordering::Relaxed));
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return words;
                }
            }
            yield_now();
        }
    }
}
