//! Several streams as one: what a file or a pipe with one stream can take.

use crate::base::error::Result;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::frame::{Frame, FrameSink, Item, StreamId, StreamSetup};

/// Makes one stream with the tracks of several, in the order in which these are given. Times stay as
/// they are. Items of other streams are dropped, and so are gaps: the other streams go on.
///
/// The first key frame of any video begins it. Every other stream joins at its own first key frame
/// that is not earlier, so that each track can be decoded from its beginning; frames before that are
/// dropped. A setup that changes the tracks of one stream changes those of all, and all begin
/// again. Memory: the setup of each stream.
#[derive(Clone, Debug)]
pub struct Join<S> {
    stream: StreamId,
    members: Vec<Member>,
    is_told: bool,
    /// The time of the frame that began it.
    start: Option<Timestamp>,
    next: S,
}

#[derive(Clone, Debug)]
struct Member {
    stream: StreamId,
    setup: Arc<StreamSetup>,
    place: Place,
}

/// How far a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before its first key frame.
    Outside,
    /// Up to its second key frame: leading pictures need what came before the first.
    Door,
    Inside,
}

impl<S> Join<S> {
    /// A filter that hands `members` to `next` as `stream`. Their setups are what is known of them
    /// now: one that does not come later has its tracks all the same.
    pub fn new(
        stream: StreamId,
        members: impl IntoIterator<Item = (StreamId, Arc<StreamSetup>)>,
        next: S,
    ) -> Self {
        let members = members.into_iter().map(|(stream, setup)| Member {
            stream,
            setup,
            place: Place::Outside,
        });
        Self {
            stream,
            members: members.collect(),
            is_told: false,
            start: None,
            next,
        }
    }

    /// The sink behind, for its own end.
    pub fn into_next(self) -> S {
        self.next
    }

    /// The setup of all members together.
    fn setup(&self) -> StreamSetup {
        let setups = self.members.iter().map(|member| &member.setup);
        let names: Vec<_> = setups.clone().map(|setup| setup.name.as_str()).collect();
        StreamSetup {
            name: names.join(", "),
            tracks: setups.flat_map(|setup| setup.tracks.clone()).collect(),
        }
    }

    fn has_video(&self) -> bool {
        let mut setups = self.members.iter().map(|member| &member.setup);
        setups.any(|setup| setup.video_track().is_some())
    }

    /// The number of the first track of member `n`.
    fn first_track(&self, n: usize) -> u8 {
        let before = self.members.iter().take(n);
        let count: usize = before.map(|member| member.setup.tracks.len()).sum();
        u8::try_from(count).unwrap_or(u8::MAX)
    }

    /// Whether `frame` of member `n` goes on.
    fn admits(&mut self, n: usize, frame: &Frame) -> bool {
        let (start, has_video) = (self.start, self.has_video());
        let Some(member) = self.members.get_mut(n) else {
            return false;
        };
        let video = member.setup.video_track();
        let is_door = match video {
            Some(track) => frame.key && frame.track == track,
            None => start.is_some() || !has_video,
        };
        match member.place {
            Place::Outside if is_door && start.is_none_or(|start| frame.time >= start) => {
                member.place = Place::Door;
                self.start.get_or_insert(frame.time);
                true
            }
            Place::Outside => false,
            Place::Door if is_door => {
                member.place = Place::Inside;
                true
            }
            Place::Door => !frame.leading,
            Place::Inside => true,
        }
    }
}

impl<S: FrameSink> Join<S> {
    fn tell(&mut self) -> Result<()> {
        self.is_told = true;
        self.start = None;
        for member in &mut self.members {
            member.place = Place::Outside;
        }
        let setup = Item::Setup(Arc::new(self.setup()));
        self.next.accept(self.stream, setup)
    }
}

impl<S: FrameSink> FrameSink for Join<S> {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        let Some(n) = self.members.iter().position(|own| own.stream == stream) else {
            return Ok(());
        };
        let is_preroll = matches!(item, Item::Preroll(_));
        let frame = match item {
            Item::Setup(setup) => {
                let Some(member) = self.members.get_mut(n) else {
                    return Ok(());
                };
                let is_same = member.setup.tracks == setup.tracks;
                member.setup = setup;
                return if self.is_told && is_same {
                    Ok(())
                } else {
                    self.tell()
                };
            }
            Item::Gap(_) => return Ok(()),
            Item::Frame(frame) | Item::Preroll(frame) => frame,
        };
        if !self.is_told {
            self.tell()?;
        }
        if !self.admits(n, &frame) {
            return Ok(());
        }
        let track = frame.track.saturating_add(self.first_track(n));
        let frame = Frame { track, ..frame };
        let item = if is_preroll {
            Item::Preroll(frame)
        } else {
            Item::Frame(frame)
        };
        self.next.accept(self.stream, item)
    }
}
