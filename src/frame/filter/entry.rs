//! Where a receiver enters a stream: at a picture from which on everything can be decoded.

use crate::frame::Frame;

/// How far a receiver is into one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The track whose key frames count; without one, the receiver can enter anywhere.
    video_track: Option<u8>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the key frame.
    Outside,
    /// In the group of pictures that the key frame begins. Its leading pictures refer to the group
    /// before.
    FirstGroup,
    Inside,
}

impl Entry {
    /// A receiver that waits for a key frame.
    pub(crate) fn outside() -> Self {
        Self {
            video_track: None,
            place: Place::Outside,
        }
    }

    /// Takes note of which track has the pictures, by the setup in force.
    pub(crate) fn follow(&mut self, video_track: Option<u8>) {
        self.video_track = video_track;
    }

    /// Whether the receiver can use `frame`, the next one of the stream.
    pub(crate) fn admits(&mut self, frame: &Frame) -> bool {
        let is_door = self
            .video_track
            .is_none_or(|track| frame.key && frame.track == track);
        match self.place {
            Place::Outside => {
                if is_door {
                    self.place = Place::FirstGroup;
                }
                is_door
            }
            Place::FirstGroup if is_door => {
                self.place = Place::Inside;
                true
            }
            Place::FirstGroup => !frame.leading,
            Place::Inside => true,
        }
    }
}
