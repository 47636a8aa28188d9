//! One stream in the cache: its lanes, merged in the order of delivery; where it begins after a
//! seek; what it has delivered.

use super::lane::{Entry, Kind, Lane, Place};
use crate::base::sync::Arc;
use crate::base::time::{TimeRange, Timestamp, US_PER_S};
use crate::frame::{Frame, Gap, Item, StreamSetup};

/// The most gaps that are held back while a stream is fed what it had before.
const MAX_HELD_GAP_COUNT: usize = 16;

/// A gap is told at most so long after the last frame before it, whatever it says of itself.
const MAX_NOTICE_US: i64 = 10 * US_PER_S;

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about a stream, each on its own"
)]
pub(super) struct Stream {
    lanes: Vec<Lane>,
    /// Whether it delivers; otherwise it waits until it can join.
    is_playing: bool,
    /// Where it was sent to when it began: the epoch and the time.
    target: Option<(u64, Timestamp)>,
    /// Whether everything up to the target was fed.
    is_complete: bool,
    /// In force for what is fed next, and for what was delivered last.
    setup_in: Option<Arc<StreamSetup>>,
    setup_out: Option<Arc<StreamSetup>>,
    /// Of what is fed next, as in [`Entry`].
    pub(super) epoch: u64,
    segment: u64,
    order: u64,
    /// The newest frame that was fed.
    last_place: Option<Place>,
    last_time: Option<Timestamp>,
    /// Gaps behind it.
    last_gaps: Vec<Gap>,
    /// Whether a new read may repeat what was fed; and gaps of which that is not known yet.
    is_repeated: bool,
    held_gaps: Vec<Gap>,
    delivered: Option<Timestamp>,
    /// Whether something was passed over since.
    has_left_out: bool,
}

/// What a stream has to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// An item of an epoch, due at a time.
    Due(u64, Timestamp),
    /// It is not known yet whether the next picture is the one to be seen.
    Held,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            lanes: vec![Lane::new(Kind::Gaps, 0)],
            is_playing: false,
            target: None,
            is_complete: false,
            setup_in: None,
            setup_out: None,
            epoch: 0,
            segment: 0,
            order: 0,
            last_place: None,
            last_time: None,
            last_gaps: Vec::new(),
            is_repeated: false,
            held_gaps: Vec::new(),
            delivered: None,
            has_left_out: false,
        }
    }
}

/// Feeding.
impl Stream {
    pub(super) fn set_up(&mut self, setup: Arc<StreamSetup>) {
        if self.setup_in.as_ref() != Some(&setup) {
            self.setup_in = Some(setup);
            self.segment += 1;
        }
    }

    /// Whether the track's frames can only be decoded from a key frame on.
    pub(super) fn has_pictures(&self, track: u8) -> bool {
        let setup = self.setup_in.as_ref();
        let known = setup.and_then(|setup| setup.tracks.get(usize::from(track)));
        known.map_or(track == 0, |track| !track.codec.is_audio())
    }

    pub(super) fn setup(&self) -> Option<&Arc<StreamSetup>> {
        self.setup_in.as_ref()
    }

    /// What is fed next begins with what was fed before.
    pub(super) fn expect_repetition(&mut self) {
        self.is_repeated = self.last_place.is_some();
        self.held_gaps.clear();
    }

    /// Whether what is fed may have been fed before.
    pub(super) fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Whether a frame at `place` was not fed before.
    pub(super) fn is_new(&mut self, place: Place) -> bool {
        if self.last_place.is_some_and(|last| place <= last) {
            self.held_gaps.clear();
            self.is_repeated &= Some(place) != self.last_place;
            return false;
        }
        if self.is_repeated {
            // The read began behind what was fed last: seeks must not find what lies before.
            self.evict_passed();
            self.has_left_out = true;
        }
        self.release_gaps();
        true
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        if !self.is_repeated {
            self.push_gap(gap);
        } else if self.held_gaps.len() < MAX_HELD_GAP_COUNT {
            self.held_gaps.push(gap);
        }
    }

    /// Nothing is repeated from here on.
    pub(super) fn release_gaps(&mut self) {
        self.is_repeated = false;
        for gap in std::mem::take(&mut self.held_gaps) {
            self.push_gap(gap);
        }
    }

    fn push_gap(&mut self, gap: Gap) {
        if self.last_gaps.contains(&gap) {
            return;
        }
        let opens = |last: &Gap| (last.cause, last.start, last.end) == (gap.cause, gap.start, None);
        let release = match gap.end {
            Some(end) if self.last_gaps.iter().any(opens) => end,
            _ => self.last_time.map_or(gap.start, |last| {
                gap.start.clamp(last, last.plus_us(MAX_NOTICE_US))
            }),
        };
        if self.last_gaps.len() == MAX_HELD_GAP_COUNT {
            self.last_gaps.remove(0);
        }
        self.last_gaps.push(gap);
        self.segment += 1;
        let entry = self.entry(release, None, Item::Gap(gap));
        self.segment += 1;
        if let Some(lane) = self.lanes.first_mut() {
            lane.push(entry, None);
        }
    }

    fn entry(&mut self, release: Timestamp, setup: Option<Arc<StreamSetup>>, item: Item) -> Entry {
        self.order += 1;
        Entry {
            place: self.last_place.unwrap_or_default(),
            epoch: self.epoch,
            segment: self.segment,
            order: self.order,
            release,
            setup,
            item,
        }
    }

    /// Whether `frame` shows that the clock was set back.
    pub(super) fn is_step(&self, frame: &Frame) -> bool {
        self.lane_of(frame.track)
            .is_some_and(|lane| lane.is_step(frame.time))
    }

    /// What is fed next was recorded behind clock steps.
    pub(super) fn enter_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.segment += 1;
        self.last_time = None;
        self.lanes.iter_mut().for_each(Lane::forget_times);
    }

    /// Takes a frame that is new. Returns the time up to which its track is settled.
    pub(super) fn push(&mut self, place: Place, frame: Frame) -> Option<Timestamp> {
        self.last_place = Some(place);
        self.last_gaps.clear();
        let (track, time) = (frame.track, frame.time);
        let kind = if self.has_pictures(track) {
            Kind::Pictures
        } else {
            Kind::Sound
        };
        let target = self.target.filter(|_| self.is_playing);
        let target = target.filter(|(epoch, _)| *epoch == self.epoch);
        let target = target.map(|(_, target)| target);
        let index = self.lane_index(track, kind);
        let is_lost = |lane: &Lane| lane.lacks_key() && !frame.key;
        if self.lanes.get(index).is_some_and(is_lost) {
            return None;
        }
        let setup = self.setup_in.clone();
        let entry = self.entry(time, setup, Item::Frame(frame));
        self.last_time = Some(self.last_time.map_or(time, |last| last.max(time)));
        if let Some(gaps) = self.lanes.first_mut() {
            gaps.lower_last(self.epoch, time);
        }
        let lane = self.lanes.get_mut(index)?;
        let has_next = lane.next().is_some();
        lane.push(entry, target);
        if kind == Kind::Sound && !has_next && target.is_some_and(|target| time < target) {
            // It is left out now, and kept for seeks.
            lane.advance();
        }
        lane.settled_time()
    }

    fn lane_of(&self, track: u8) -> Option<&Lane> {
        let mut frames = self.lanes.iter().skip(1);
        frames.find(|lane| lane.track == track)
    }

    fn lane_index(&mut self, track: u8, kind: Kind) -> usize {
        let mut lanes = self.lanes.iter().enumerate().skip(1);
        if let Some((index, _)) = lanes.find(|(_, lane)| lane.track == track) {
            return index;
        }
        self.lanes.push(Lane::new(kind, track));
        self.lanes.len() - 1
    }

    /// Up to where everything is known, going by what was fed in `epoch`.
    pub(super) fn known(&self, epoch: u64) -> Option<Timestamp> {
        let mut pictures = self.lanes.iter().filter(|lane| lane.kind == Kind::Pictures);
        if let Some(lane) = pictures.next() {
            return lane.known(epoch);
        }
        if self.setup_in.is_some() && self.has_pictures(0) {
            return None;
        }
        let sound = self.lanes.iter().filter(|lane| lane.kind == Kind::Sound);
        sound.filter_map(|lane| lane.known(epoch)).max()
    }
}

/// Delivering.
impl Stream {
    /// Begins at `target`. Forgets nothing that is cached; with `goes_on`, goes back behind
    /// nothing that was delivered. Returns what was left out on the way.
    pub(super) fn start(
        &mut self,
        target: Timestamp,
        epoch: u64,
        is_complete: bool,
        goes_on: bool,
    ) -> Option<TimeRange> {
        self.is_playing = true;
        self.is_complete = is_complete;
        self.target = Some((epoch, target));
        self.setup_out = None;
        self.aim(target, epoch, goes_on);
        let has_left_out = std::mem::take(&mut self.has_left_out);
        let delivered = self.delivered.filter(|_| goes_on && has_left_out)?;
        let lead = self.lead();
        let next = self.lanes.iter().filter(|lane| lane.kind == lead);
        let next = next.filter_map(|lane| lane.next()).map(Entry::time).min();
        let range = TimeRange::new(delivered, next.unwrap_or(target));
        Some(range).filter(|range| range.start < range.end)
    }

    /// Goes to where it begins for `target`, by what was fed.
    pub(super) fn aim(&mut self, target: Timestamp, epoch: u64, goes_on: bool) {
        let mut first_order = None;
        let lead = self.lead();
        for lane in &mut self.lanes {
            let index = match lane.kind {
                Kind::Gaps => continue,
                Kind::Pictures => {
                    let first = || {
                        if goes_on {
                            lane.cursor()
                        } else {
                            lane.first(Entry::is_key)
                        }
                    };
                    lane.key_before(target, epoch).unwrap_or_else(first)
                }
                Kind::Sound => lane.first(|e| e.epoch > epoch || e.time() >= target),
            };
            let from = lane.cursor();
            let index = if goes_on { index.max(from) } else { index };
            self.has_left_out |= lane.kind == lead && index > from;
            lane.go_to(index);
            if lane.kind == Kind::Pictures {
                let order = lane.get(index).map(|entry| entry.order);
                let is_before = |entry: &&Entry| entry.time() <= target && entry.epoch == epoch;
                if lane.get(index).as_ref().is_some_and(is_before) {
                    first_order = first_order.max(order);
                }
                lane.look(target, epoch);
            }
        }
        self.start_gaps(target, first_order, goes_on);
    }

    /// Gaps behind the first picture, or else those that the target lies in or before.
    fn start_gaps(&mut self, target: Timestamp, first_order: Option<u64>, goes_on: bool) {
        let Some(lane) = self.lanes.first_mut() else {
            return;
        };
        let over = |entry: &Entry| match &entry.item {
            Item::Gap(gap) => gap.end.is_some_and(|end| end <= target),
            _ => false,
        };
        let index = match first_order {
            Some(order) => lane.first(|entry| entry.order > order),
            None => lane.behind(over),
        };
        let index = if goes_on {
            index.max(lane.cursor())
        } else {
            index
        };
        lane.go_to(index);
    }

    /// What counts as left out where it is passed over: pictures, or sound where there are none.
    fn lead(&self) -> Kind {
        if self.has_picture_lane() {
            Kind::Pictures
        } else {
            Kind::Sound
        }
    }

    /// Waits until it can join.
    pub(super) fn wait(&mut self) {
        self.is_playing = false;
    }

    /// Waits until it can begin anew at `target`. What lies before that is not ahead any more, so
    /// that the cache has room for what is missing.
    pub(super) fn wait_at(&mut self, target: Timestamp, epoch: u64) {
        self.is_playing = false;
        self.aim(target, epoch, false);
    }

    pub(super) fn is_playing(&self) -> bool {
        self.is_playing
    }

    /// Everything up to the target was fed.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    pub(super) fn target(&self) -> Option<(u64, Timestamp)> {
        self.target
    }

    /// Whether it has something to deliver, now or later.
    pub(super) fn has_next(&self) -> bool {
        self.lanes.iter().any(|lane| lane.next().is_some())
    }

    pub(super) fn next(&self) -> Next {
        let Some((lane, entry)) = self.next_entry().filter(|_| self.is_playing) else {
            return Next::Nothing;
        };
        if !self.is_complete && self.is_before_target(entry) && lane.is_seen(entry) {
            return Next::Held;
        }
        Next::Due(entry.epoch, entry.release)
    }

    fn next_entry(&self) -> Option<(&Lane, &Entry)> {
        let next = self.lanes.iter();
        next.filter_map(|lane| Some((lane, lane.next()?)))
            .min_by_key(|(_, entry)| (entry.segment, entry.release, entry.order))
    }

    fn is_before_target(&self, entry: &Entry) -> bool {
        self.target
            .is_some_and(|(epoch, target)| entry.epoch == epoch && entry.time() <= target)
    }

    /// Delivers what is next: a setup on its own where it differs from the one before.
    pub(super) fn deliver(&mut self) -> Option<Item> {
        let (lane, entry) = self.next_entry()?;
        if entry.frame().is_some() && entry.setup.is_some() && entry.setup != self.setup_out {
            let setup = entry.setup.clone();
            self.setup_out.clone_from(&setup);
            return setup.map(Item::Setup);
        }
        let is_preroll =
            lane.kind == Kind::Pictures && self.is_before_target(entry) && !lane.is_seen(entry);
        let (number, time) = (entry.order, entry.time());
        let item = match &entry.item {
            Item::Frame(frame) if is_preroll => Item::Preroll(frame.clone()),
            item => item.clone(),
        };
        self.delivered = Some(self.delivered.map_or(time, |before| before.max(time)));
        let is_it = |lane: &&mut Lane| lane.next().is_some_and(|entry| entry.order == number);
        if let Some(lane) = self.lanes.iter_mut().find(is_it) {
            lane.advance();
        }
        Some(item)
    }

    /// Clocks were set back: what was delivered before does not count any more.
    pub(super) fn forget_delivered(&mut self) {
        self.delivered = None;
    }
}

/// Searching and freeing.
impl Stream {
    pub(super) fn len(&self) -> u64 {
        self.lanes.iter().map(Lane::len).sum()
    }

    pub(super) fn ahead_len(&self) -> u64 {
        self.lanes.iter().map(Lane::ahead_len).sum()
    }

    /// The least time after `head` of a picture, or of sound.
    pub(super) fn time_after(&self, head: Timestamp, epoch: u64, kind: Kind) -> Option<Timestamp> {
        let lanes = self.lanes.iter().filter(|lane| lane.kind == kind);
        lanes.filter_map(|lane| lane.time_after(head, epoch)).min()
    }

    /// The greatest time before `head` of a picture, or of sound.
    pub(super) fn time_before(&self, head: Timestamp, epoch: u64, kind: Kind) -> Option<Timestamp> {
        let lanes = self.lanes.iter().filter(|lane| lane.kind == kind);
        lanes.filter_map(|lane| lane.time_before(head, epoch)).max()
    }

    pub(super) fn has_picture_lane(&self) -> bool {
        self.lanes.iter().any(|lane| lane.kind == Kind::Pictures)
    }

    /// From where on seeks find here what they need, when the read began at `from`.
    pub(super) fn covered_from(&self, from: Timestamp) -> Timestamp {
        let frames = self.lanes.iter().filter(|lane| lane.kind != Kind::Gaps);
        if let Some(cut) = frames.filter_map(Lane::cut_at).max() {
            return cut;
        }
        let pictures = self.lanes.iter().filter(|lane| lane.kind == Kind::Pictures);
        let first = pictures
            .filter_map(|lane| lane.get(0))
            .map(Entry::time)
            .min();
        first.map_or(from, |first| first.min(from))
    }

    /// The release of the oldest frame that is cached.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let frames = self.lanes.iter().filter(|lane| lane.kind != Kind::Gaps);
        frames
            .filter_map(|lane| lane.get(0))
            .map(|entry| entry.release)
            .min()
    }

    pub(super) fn evict(&mut self, cut: Timestamp) {
        let frames = self.lanes.iter_mut().skip(1);
        frames.for_each(|lane| lane.evict(cut));
        self.drop_gaps(false);
    }

    pub(super) fn evict_passed(&mut self) {
        let frames = self.lanes.iter_mut().skip(1);
        frames.for_each(Lane::evict_passed);
        self.drop_gaps(false);
    }

    /// Frees gaps that lie before all frames: `also_ahead`, or only those that were passed over.
    fn drop_gaps(&mut self, also_ahead: bool) {
        let Some((gaps, frames)) = self.lanes.split_first_mut() else {
            return;
        };
        let oldest = frames.iter().filter_map(|lane| lane.get(0));
        let oldest = oldest.map(|entry| entry.order).min();
        let count = gaps.first(|gap| oldest.is_some_and(|oldest| gap.order > oldest));
        gaps.drop_front(if also_ahead {
            count
        } else {
            count.min(gaps.cursor())
        });
    }

    /// Forgets what is ahead and due after `cut`, so that it can be fed once more; the next frame
    /// stays, so that it is known where that begins. No clock step may lie ahead.
    pub(super) fn forget_behind(&mut self, cut: Timestamp) {
        let frames = || self.lanes.iter().filter(|lane| lane.kind != Kind::Gaps);
        let next = frames().filter_map(Lane::next).map(|entry| entry.order);
        let Some(next) = next.min() else { return };
        let due =
            frames().filter_map(|lane| lane.get(lane.behind(|e| e.release <= cut).checked_sub(1)?));
        let keep = due
            .map(|entry| entry.order)
            .max()
            .max(Some(next))
            .unwrap_or(next);
        for lane in &mut self.lanes {
            lane.drop_behind(keep);
        }
        let frames = || self.lanes.iter().filter(|lane| lane.kind != Kind::Gaps);
        self.last_place = frames()
            .filter_map(Lane::last)
            .map(|entry| entry.place)
            .max();
        self.last_time = frames()
            .filter_map(|lane| lane.greatest_time(self.epoch))
            .max();
        self.last_gaps.clear();
    }

    /// Frees what is far before `target`; if that is not enough, half of what there is.
    pub(super) fn evict_towards(&mut self, target: Timestamp, cut: Timestamp, is_urgent: bool) {
        let epoch = self.epoch;
        for lane in self.lanes.iter_mut().skip(1) {
            if is_urgent {
                lane.drop_front(lane.entry_count().div_ceil(2));
            } else {
                lane.evict_towards(target, cut, epoch);
            }
        }
        self.drop_gaps(true);
    }
}
