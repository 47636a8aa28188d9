//! Playing backward: the key frames of track 0, the newest first. They are read in stretches,
//! each before the one before it; nothing but key frames is kept of them.

use std::collections::BTreeMap;

use super::action::{Action, Event, Load};
use super::command::{SourceId, StreamKey};
use super::lane::ENTRY_LEN;
use super::lane::Place;
use super::source::Source;
use super::{Mode, Player};
use crate::base::sync::Arc;
use crate::base::time::{TimeRange, Timestamp, US_PER_S};
use crate::frame::{Frame, Item, Recorded, StreamId, StreamSetup};

/// How long the first stretch is, and the shortest.
const FIRST_SPAN_US: i64 = 5 * US_PER_S;
const MIN_SPAN_US: i64 = US_PER_S;

/// Backward, a gap is skipped only if it is longer than key frames usually are apart.
const SKIP_BACK_US: i64 = 20 * US_PER_S;

/// The key frames of a source that lie before the head.
#[derive(Debug, Default)]
pub(super) struct Back {
    keys: BTreeMap<(Timestamp, StreamId, Place), Key>,
    /// What was delivered last of each stream.
    last: BTreeMap<StreamId, (Timestamp, Place)>,
    setups: BTreeMap<StreamId, Arc<StreamSetup>>,
    /// Down to where everything was read.
    from: Timestamp,
    /// What is being read.
    loading: Option<TimeRange>,
    span_us: i64,
    len: u64,
    /// The newest key frame that found no room: it is to be read again.
    cut: Option<Timestamp>,
    /// How many key frames the read has brought.
    fed_count: u64,
    /// Whether the last read brought more than there was room for.
    is_tight: bool,
    /// Whether nothing lies before.
    is_done: bool,
    /// Whether the last read failed: nothing is read until somebody asks for it.
    has_failed: bool,
}

#[derive(Debug)]
struct Key {
    frame: Frame,
    setup: Option<Arc<StreamSetup>>,
}

impl Key {
    fn len(&self) -> u64 {
        ENTRY_LEN + self.frame.payload.len() as u64
    }
}

impl Back {
    fn put(&mut self, stream: StreamId, place: Place, key: Key, share_len: u64) {
        let time = key.frame.time;
        let was_delivered = self
            .last
            .get(&stream)
            .is_some_and(|last| (time, place) >= *last);
        let is_behind = self.loading.is_none_or(|range| time > range.end);
        if was_delivered || is_behind {
            return;
        }
        self.len += key.len();
        if let Some(old) = self.keys.insert((time, stream, place), key) {
            self.len -= old.len();
        } else if self.loading.is_some_and(|range| time >= range.start) {
            self.fed_count += 1;
        }
        // What is shown at the same time as the newest stays, so that there is something to play.
        let newest = self.newest().map(|(time, ..)| time);
        while self.len > share_len
            && let Some(oldest) = self.keys.first_entry()
            && Some(oldest.key().0) < newest
        {
            self.cut = self.cut.max(Some(oldest.key().0));
            self.len -= oldest.remove().len();
        }
    }

    /// A stretch was read to its end.
    fn end(&mut self, first: Option<Timestamp>, share_len: u64) {
        let Some(range) = self.loading.take() else {
            return;
        };
        if let Some(cut) = self.cut.take().filter(|cut| *cut >= range.start) {
            self.from = cut.plus_us(1).min(self.from);
            self.span_us = (self.span_us / 2).max(MIN_SPAN_US);
            (self.is_tight, self.fed_count) = (true, 0);
            return;
        }
        self.from = range.start;
        self.is_done =
            range.start == Timestamp::MIN || first.is_some_and(|first| range.start <= first);
        if self.fed_count == 0 {
            self.span_us = self.span_us.saturating_mul(4);
        } else if self.len < share_len / 8 {
            self.span_us = self.span_us.saturating_mul(2);
        }
        self.fed_count = 0;
    }

    /// What a read that failed has brought is not all of its stretch: it is read again, some day.
    fn fail(&mut self) {
        (self.loading, self.cut, self.fed_count) = (None, None, 0);
        self.has_failed = true;
        let from = self.from;
        self.keys.retain(|(time, ..), _| *time >= from);
        self.len = self.keys.values().map(Key::len).sum();
    }

    pub(super) fn try_again(&mut self) {
        self.has_failed = false;
    }

    /// Whether nothing more comes.
    fn is_over(&self) -> bool {
        self.is_done || self.has_failed
    }

    /// The stretch to be read next, for a head that is served down to `down_to`.
    fn next_stretch(
        &mut self,
        down_to: Timestamp,
        skips: bool,
        share_len: u64,
    ) -> Option<TimeRange> {
        let is_near = self.from >= down_to || skips && self.keys.is_empty();
        if !is_near || !self.may_load(share_len) {
            return None;
        }
        self.is_tight = false;
        let range = TimeRange::new(self.from.plus_us(-self.span_us), self.from);
        self.loading = Some(range);
        self.loading
    }

    /// Whether more lies before what was read, and there is room for it.
    fn may_load(&self, share_len: u64) -> bool {
        let has_room = self.keys.is_empty() || !self.is_tight && self.len < share_len / 2;
        !self.is_over() && self.loading.is_none() && has_room
    }

    fn newest(&self) -> Option<(Timestamp, StreamId, Place)> {
        self.keys.last_key_value().map(|(at, _)| *at)
    }

    /// Delivers the newest key frame, after its setup where that differs from the last.
    fn deliver(&mut self) -> Option<Item> {
        let entry = self.keys.last_entry()?;
        let (time, stream, place) = *entry.key();
        if let Some(setup) = &entry.get().setup
            && self.setups.get(&stream) != Some(setup)
        {
            self.setups.insert(stream, setup.clone());
            return Some(Item::Setup(setup.clone()));
        }
        let key = entry.remove();
        self.len -= key.len();
        self.last.insert(stream, (time, place));
        Some(Item::Frame(key.frame))
    }

    pub(super) fn cached_len(&self) -> u64 {
        self.len
    }

    pub(super) fn forget(&mut self, stream: StreamId) {
        self.keys.retain(|(_, of, _), _| *of != stream);
        self.len = self.keys.values().map(Key::len).sum();
        self.last.remove(&stream);
        self.setups.remove(&stream);
    }
}

impl Source {
    /// Plays backward from `head`; what was delivered on the way there is not again.
    pub(super) fn begin_back(&mut self, head: Timestamp) {
        let back = std::mem::take(&mut self.back);
        self.begin(Load::Nothing);
        self.back = Back {
            last: back.last,
            setups: back.setups,
            from: head,
            span_us: FIRST_SPAN_US,
            ..Back::default()
        };
    }

    pub(super) fn feed_back(&mut self, recorded: Recorded) {
        let id = recorded.stream;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        (self.has_progress, self.is_stalled) = (true, false);
        match recorded.item {
            Item::Setup(setup) => stream.set_up(setup),
            Item::Frame(frame) | Item::Preroll(frame) => {
                if frame.key && frame.track == 0 && stream.has_pictures(0) {
                    let setup = stream.setup().cloned();
                    let place = (recorded.sequence, recorded.ordinal);
                    self.back
                        .put(id, place, Key { frame, setup }, self.share_len);
                }
            }
            Item::Gap(_) => {}
        }
    }

    pub(super) fn end_back(&mut self, has_failed: bool) {
        (self.has_progress, self.is_stalled) = (true, false);
        let first = self.extent.map(|extent| extent.start);
        if has_failed {
            self.back.fail();
        } else {
            self.back.end(first, self.share_len);
        }
        self.load = None;
    }
}

impl Player {
    /// Turns round at the head.
    pub(super) fn begin_backward(&mut self) {
        let head = self.head;
        self.stand(head);
        self.stepped_from = None;
        self.mode = Mode::Backward;
        self.clock.set_reverse(true, self.now_us);
        for source in self.active() {
            source.back = Back::default();
            source.begin_back(head);
        }
    }

    pub(super) fn backward(&mut self) -> Option<Action> {
        loop {
            self.run_back();
            if self.load_back() {
                return self.ask();
            }
            if self.is_waiting && self.give_up(self.blocking_back().collect()) {
                continue;
            }
            if let Some(event) = self.pending.pop_front() {
                return Some(Action::Event(event));
            }
            if let Some(action) = self.deliver_back() {
                return Some(action);
            }
            if !self.is_playing || !(self.finish_back() || self.loop_back() || self.skip_back()) {
                return None;
            }
        }
    }

    fn load_back(&mut self) -> bool {
        let ahead_us = self.scaled_ahead_us();
        let head = self.head;
        let skips = self.skip_gaps;
        let mut has_any = false;
        for source in self.active() {
            let down_to = head.plus_us(-ahead_us.max(source.back.span_us));
            let share_len = source.share_len;
            if let Some(range) = source.back.next_stretch(down_to, skips, share_len) {
                source.asked = Some(Load::Range(range));
                has_any = true;
            }
        }
        has_any
    }

    fn run_back(&mut self) {
        let bound = self.bound_back_time();
        let head = self.clock.at(self.now_us).min(self.head);
        if !self.is_playing {
            self.hold(self.head);
            self.is_waiting = false;
        } else if head <= bound {
            self.hold(bound.min(self.head));
            let is_waiting = self.blocking_back().next().is_some();
            self.is_waiting = is_waiting;
        } else {
            self.clock.run(true, self.now_us);
            self.head = head;
            self.is_waiting = false;
            self.wait_us = self.now_us;
        }
    }

    /// Down to where the head may go: what is read, or the last key frame that there is.
    pub(super) fn bound_back_time(&self) -> Timestamp {
        let sources = || self.sources.values().filter(|s| !s.streams.is_empty());
        let open = sources().filter(|s| !s.back.is_over() && !s.is_stalled);
        let read = open.map(|s| s.back.from).max();
        let oldest = || {
            let first = |s: &Source| s.back.keys.first_key_value().map(|(at, _)| at.0);
            sources().filter_map(first).min()
        };
        read.or_else(oldest).unwrap_or(self.head)
    }

    fn blocking_back(&self) -> impl Iterator<Item = SourceId> {
        let head = self.head;
        let sources = self.sources.iter();
        let blocks = move |source: &Source| {
            let back = &source.back;
            !source.streams.is_empty() && !back.is_over() && !source.is_stalled && back.from >= head
        };
        sources
            .filter(move |(_, source)| blocks(source))
            .map(|(id, _)| *id)
    }

    fn deliver_back(&mut self) -> Option<Action> {
        let newest = self.sources.iter().filter_map(|(id, source)| {
            let (time, stream, _) = source.back.newest()?;
            Some((time, *id, stream))
        });
        let (time, id, stream) = newest.max().filter(|(time, ..)| *time >= self.head)?;
        let source = self.sources.get_mut(&id)?;
        let item = source.back.deliver()?;
        self.told.is_picture = matches!(item, Item::Frame(_));
        Some(Action::Deliver {
            key: StreamKey { source: id, stream },
            item,
            due_us: self.clock.due_us(time, self.now_us),
        })
    }

    fn finish_back(&mut self) -> bool {
        let mut sources = self.sources.values().filter(|s| !s.streams.is_empty());
        let has_any = self.sources.values().any(|s| !s.streams.is_empty());
        if !has_any || !sources.all(|s| s.back.is_over() && s.back.keys.is_empty()) {
            return false;
        }
        if let Some(range) = self.looped
            && self.head < range.end
        {
            self.jump_back_to(range.end);
            return true;
        }
        self.is_playing = false;
        self.pending.push_back(Event::End);
        true
    }

    /// Goes on from a time with the key frames before it, and says so.
    fn jump_back_to(&mut self, to: Timestamp) {
        let from = self.head;
        self.pending.push_back(Event::Jumped { from, to });
        self.set_head(to);
        self.begin_backward();
    }

    fn loop_back(&mut self) -> bool {
        let Some(range) = self.looped.filter(|range| self.head <= range.start) else {
            return false;
        };
        self.jump_back_to(range.end);
        true
    }

    /// Jumps to the next key frame when it is far, and nothing lies between.
    fn skip_back(&mut self) -> bool {
        let newest = self.sources.values().filter_map(|s| s.back.newest());
        let Some(next) = newest.map(|(time, ..)| time).max() else {
            return false;
        };
        let mut sources = self.sources.values();
        let is_read = |s: &Source| s.streams.is_empty() || s.back.is_over() || s.back.from <= next;
        let is_far = next.plus_us(SKIP_BACK_US) < self.head;
        let leaves = |range: TimeRange| self.head >= range.start && next <= range.start;
        let leaves_loop = self.looped.is_some_and(leaves);
        if !self.skip_gaps || !is_far || leaves_loop || !sources.all(is_read) {
            return false;
        }
        let from = self.head;
        self.pending.push_back(Event::Jumped { from, to: next });
        self.set_head(next);
        true
    }

    pub(super) fn wake_backward(&self) -> Option<i64> {
        let newest = self.sources.values().filter_map(|s| s.back.newest());
        let due = newest.filter_map(|(time, ..)| self.clock.when(time)).min();
        let bound = self.clock.when(self.bound_back_time());
        let ahead_us = self.scaled_ahead_us();
        let loads = self.sources.values().filter_map(|s| {
            let back = &s.back;
            let may_load = !s.streams.is_empty() && back.may_load(s.share_len);
            let at = back.from.plus_us(ahead_us.max(back.span_us));
            self.clock.when(at).filter(|_| may_load)
        });
        let patience = self.blocking_back().filter_map(|id| {
            let since_us = self.sources.get(&id)?.progress_us.max(self.wait_us);
            Some(since_us.saturating_add(self.limits.stall_us))
        });
        let patience = patience.filter(|_| self.is_waiting);
        patience.chain(loads).chain(due).chain(bound).min()
    }
}
