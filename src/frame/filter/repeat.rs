//! Setups once more, for receivers that join late.

use std::collections::HashMap;

use crate::base::error::Result;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::frame::{Frame, FrameSink, Item, StreamId, StreamSetup};

/// Repeats the setup in force of each stream, so that a receiver which comes later, over a network
/// say, can begin to decode. Memory: the setup of each stream.
#[derive(Clone, Debug)]
#[doc(alias = "InitStreamFrameFilter")]
pub struct RepeatSetups<S> {
    when: When,
    streams: HashMap<StreamId, InForce>,
    next: S,
}

#[derive(Clone, Copy, Debug)]
enum When {
    KeyFrame,
    AfterUs(i64),
}

/// The setup of a stream.
#[derive(Clone, Debug)]
struct InForce {
    setup: Arc<StreamSetup>,
    /// The time of the frame that came behind the setup; none until it comes.
    told: Option<Timestamp>,
}

impl<S> RepeatSetups<S> {
    /// Repeats the setup before each key frame of the video; of a stream without video, before
    /// each frame.
    pub fn before_key_frames(next: S) -> Self {
        Self::new(When::KeyFrame, next)
    }

    /// Repeats the setup before a frame whose time is at least `period_us` from that of the frame
    /// which followed it last.
    pub fn every(period_us: i64, next: S) -> Self {
        Self::new(When::AfterUs(period_us.max(1)), next)
    }

    fn new(when: When, next: S) -> Self {
        Self {
            when,
            streams: HashMap::new(),
            next,
        }
    }

    /// The sink behind, for its own end.
    pub fn into_next(self) -> S {
        self.next
    }
}

/// After an error of the sink behind the item counts as not taken, also if it was the repeated
/// setup that failed.
impl<S: FrameSink> FrameSink for RepeatSetups<S> {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        match &item {
            Item::Setup(setup) => {
                let setup = Arc::clone(setup);
                self.streams.insert(stream, InForce { setup, told: None });
            }
            Item::Frame(frame) | Item::Preroll(frame) => {
                let repeated = self
                    .streams
                    .get_mut(&stream)
                    .and_then(|in_force| in_force.due(self.when, frame));
                if let Some(setup) = repeated {
                    self.next.accept(stream, Item::Setup(setup))?;
                }
            }
            Item::Gap(_) => {}
        }
        self.next.accept(stream, item)
    }
}

impl InForce {
    /// The setup, if it is to be repeated before `frame`.
    fn due(&mut self, when: When, frame: &Frame) -> Option<Arc<StreamSetup>> {
        let Some(told) = self.told else {
            self.told = Some(frame.time);
            return None;
        };
        let is_due = match when {
            When::KeyFrame => {
                let video = self.setup.video_track();
                video.is_none_or(|track| frame.key && frame.track == track)
            }
            // Played backwards, times fall.
            When::AfterUs(period_us) => frame.time.us_since(told).saturating_abs() >= period_us,
        };
        if !is_due {
            return None;
        }
        self.told = Some(frame.time);
        Some(Arc::clone(&self.setup))
    }
}
