//! A place in volume order that one thread moves and any number read.

use crate::base::geometry::Position;
use crate::base::seqlock::Seqlock;
use crate::base::sync::Arc;

/// A place that moves forward.
#[derive(Debug)]
pub struct Watermark(Seqlock<2>);

/// The one handle that moves a [`Watermark`].
#[derive(Debug)]
pub struct WatermarkWriter {
    mark: Arc<Watermark>,
    /// The version of the last move.
    version: u64,
}

impl Watermark {
    /// Where it stands.
    pub fn get(&self) -> Position {
        let [sequence, run] = self.0.read();
        Position { sequence, run }
    }
}

impl WatermarkWriter {
    /// A watermark at `position`.
    pub fn new(position: Position) -> Self {
        Self {
            mark: Arc::new(Watermark(Seqlock::new(words(position)))),
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
        self.mark.0.write(self.version, words(position));
    }
}

fn words(position: Position) -> [u64; 2] {
    [position.sequence, position.run]
}
