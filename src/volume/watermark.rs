//! A place in volume order that one thread moves and any number read.
//!
//! Two words behind a version, like a row of the blocktable, with the same orderings and the same
//! partners; `tests/loom.rs` has its model.

use crate::base::geometry::Position;
use crate::base::sync::{Arc, AtomicU64, Ordering, fence, yield_now};

/// A place that moves forward.
#[derive(Debug)]
pub struct Watermark {
    version: AtomicU64,
    sequence: AtomicU64,
    run: AtomicU64,
}

/// The one handle that moves a [`Watermark`].
#[derive(Debug)]
pub struct WatermarkWriter {
    mark: Arc<Watermark>,
    version: u64,
}

impl Watermark {
    /// Where it stands.
    pub fn get(&self) -> Position {
        loop {
            // Acquire: pairs with the Release store of the even version in `set`.
            let before = self.version.load(Ordering::Acquire);
            let sequence = self.sequence.load(Ordering::Relaxed);
            let run = self.run.load(Ordering::Relaxed);
            // Acquire: pairs with the Release fence in `set`.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return Position { sequence, run };
            }
            yield_now();
        }
    }
}

impl WatermarkWriter {
    /// A watermark at `position`.
    pub fn new(position: Position) -> Self {
        let mark = Watermark {
            version: AtomicU64::new(0),
            sequence: AtomicU64::new(position.sequence),
            run: AtomicU64::new(position.run),
        };
        Self {
            mark: Arc::new(mark),
            version: 0,
        }
    }

    /// The watermark, to share.
    pub fn mark(&self) -> &Arc<Watermark> {
        &self.mark
    }

    /// Moves it. It goes back only when a failed flush voids what was completed.
    pub fn set(&mut self, position: Position) {
        self.version += 2;
        self.mark.version.store(self.version - 1, Ordering::Relaxed);
        // Release: pairs with the Acquire fence in `get`: whoever sees a new word sees the odd
        // version.
        fence(Ordering::Release);
        self.mark
            .sequence
            .store(position.sequence, Ordering::Relaxed);
        self.mark.run.store(position.run, Ordering::Relaxed);
        // Release: pairs with the first load in `get`.
        self.mark.version.store(self.version, Ordering::Release);
    }
}
