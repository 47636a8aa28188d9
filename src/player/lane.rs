//! One track of a stream in the cache: its frames in decode order, and which are next. The gaps
//! of a stream are a lane of their own.

use std::collections::VecDeque;

use crate::base::sync::Arc;
use crate::base::time::{Timestamp, US_PER_S};
use crate::frame::{Frame, Item, StreamSetup};

/// What an item counts for in the cache beside its payload, in bytes.
pub const ENTRY_LEN: u64 = 128;

/// How far times go back where a clock was set back; less is jitter, or the order of decoding.
pub(super) const STEP_US: i64 = 2 * US_PER_S;

/// The most frames by which decode order and order of display are expected to differ.
const MAX_REORDER_COUNT: usize = 16;

/// Where a frame was stored: the sequence of the block, and the ordinal. Grows within a stream.
pub(super) type Place = (u64, u64);

/// A frame or gap in the cache.
#[derive(Debug)]
pub(super) struct Entry {
    /// How often the recorder's clock was set back before it.
    pub(super) epoch: u64,
    /// How many setups, gaps and clock steps the stream had before it: what is behind one of
    /// them does not pass it.
    pub(super) segment: u64,
    /// The number of the item within the stream, in recorded order.
    pub(super) order: u64,
    /// Where it was stored; of a gap, where the frame before it was.
    pub(super) place: Place,
    /// When it is due.
    pub(super) release: Timestamp,
    /// What decodes it.
    pub(super) setup: Option<Arc<StreamSetup>>,
    pub(super) item: Item,
}

/// What a lane holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Frames of which only key frames can be decoded by themselves.
    Pictures,
    /// Frames that stand for themselves.
    Sound,
    Gaps,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) kind: Kind,
    pub(super) track: u8,
    entries: VecDeque<Entry>,
    /// How many of the entries were delivered or passed over.
    cursor: usize,
    /// Bytes of all entries, and of those from the cursor on.
    len: u64,
    ahead_len: u64,
    /// Whether something was taken from the front.
    is_cut: bool,
    /// The newest two times since the last clock step, the newer first.
    times: [Option<Timestamp>; 2],
    /// By how many frames decode order and order of display were seen to differ; at least 1.
    reorder_count: usize,
    /// The picture to be seen at the time that the stream was sent to: its time and order.
    seen: Option<(Timestamp, u64)>,
}

impl Entry {
    pub(super) fn frame(&self) -> Option<&Frame> {
        match &self.item {
            Item::Frame(frame) | Item::Preroll(frame) => Some(frame),
            Item::Setup(_) | Item::Gap(_) => None,
        }
    }

    pub(super) fn time(&self) -> Timestamp {
        self.frame().map_or(self.release, |frame| frame.time)
    }

    pub(super) fn is_key(&self) -> bool {
        self.frame().is_some_and(|frame| frame.key)
    }

    fn len(&self) -> u64 {
        ENTRY_LEN + self.frame().map_or(0, |frame| frame.payload.len() as u64)
    }
}

impl Lane {
    pub(super) fn new(kind: Kind, track: u8) -> Self {
        Self {
            kind,
            track,
            entries: VecDeque::new(),
            cursor: 0,
            len: 0,
            ahead_len: 0,
            is_cut: false,
            times: [None; 2],
            reorder_count: 1,
            seen: None,
        }
    }

    /// Whether a frame at `time` shows that the clock was set back: it is far behind the two
    /// frames before it. Behind one only, that one was wrong.
    pub(super) fn is_step(&self, time: Timestamp) -> bool {
        let is_behind = |last: Timestamp| time.plus_us(STEP_US) < last;
        self.times[0].is_some_and(is_behind) && self.times[1].is_none_or(is_behind)
    }

    /// A time before which nothing more is expected, going by the newest two frames.
    pub(super) fn settled_time(&self) -> Option<Timestamp> {
        let newest = self.times[0]?;
        Some(self.times[1].map_or(newest, |second| second.min(newest)))
    }

    /// The next frame is of another clock.
    pub(super) fn forget_times(&mut self) {
        self.times = [None; 2];
    }

    /// Whether pictures come in that nothing can decode: there is no key frame before them.
    pub(super) fn lacks_key(&self) -> bool {
        self.kind == Kind::Pictures && self.entries.is_empty() && !self.is_cut
    }

    /// Appends, and lowers the releases of the frames that are decoded before it and shown after
    /// it. `target` is where the stream was sent to.
    pub(super) fn push(&mut self, entry: Entry, target: Option<Timestamp>) {
        let time = entry.time();
        if self.kind == Kind::Gaps {
            return self.append(entry);
        }
        let mut is_older_gop = entry.is_key();
        let mut count = 0;
        for before in self.entries.iter_mut().rev() {
            // Across a key frame only what is plainly wrong is lowered: it would block the track.
            let limit = time.plus_us(if is_older_gop { STEP_US } else { 0 });
            if before.segment != entry.segment || before.release <= limit {
                break;
            }
            before.release = time;
            is_older_gop |= before.is_key();
            count += 1;
        }
        self.reorder_count = self.reorder_count.max(count).min(MAX_REORDER_COUNT);
        self.times = [Some(time), self.times[0]];
        if target.is_some_and(|target| time <= target) {
            self.see(time, entry.order);
        }
        self.append(entry);
    }

    fn append(&mut self, entry: Entry) {
        self.len += entry.len();
        self.ahead_len += entry.len();
        self.entries.push_back(entry);
    }

    /// No gap is due later than the frame behind it.
    pub(super) fn lower_last(&mut self, epoch: u64, release: Timestamp) {
        if let Some(last) = self.entries.back_mut()
            && last.epoch == epoch
        {
            last.release = last.release.min(release);
        }
    }

    fn see(&mut self, time: Timestamp, order: u64) {
        if self.seen.is_none_or(|(best, _)| time >= best) {
            self.seen = Some((time, order));
        }
    }

    /// Whether `entry` is the picture to be seen where the stream was sent to.
    pub(super) fn is_seen(&self, entry: &Entry) -> bool {
        self.seen.is_some_and(|(_, order)| order == entry.order)
    }

    /// The next entry to be delivered.
    pub(super) fn next(&self) -> Option<&Entry> {
        self.entries.get(self.cursor)
    }

    /// Passes over the next entry.
    pub(super) fn advance(&mut self) {
        if let Some(entry) = self.entries.get(self.cursor) {
            self.ahead_len = self.ahead_len.saturating_sub(entry.len());
            self.cursor += 1;
        }
    }

    /// Puts the cursor before the entry at `index`.
    pub(super) fn go_to(&mut self, index: usize) {
        self.cursor = index.min(self.entries.len());
        self.ahead_len = self.entries.iter().skip(self.cursor).map(Entry::len).sum();
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// The newest key frame at or before `target` in an epoch.
    pub(super) fn key_before(&self, target: Timestamp, epoch: u64) -> Option<usize> {
        let is_it =
            |entry: &Entry| entry.epoch == epoch && entry.is_key() && entry.time() <= target;
        self.entries.iter().rposition(is_it)
    }

    /// The first entry for which `is_it` holds; behind the last where there is none.
    pub(super) fn first(&self, is_it: impl Fn(&Entry) -> bool) -> usize {
        let found = self.entries.iter().position(is_it);
        found.unwrap_or(self.entries.len())
    }

    /// Behind the last entry for which `is_it` holds.
    pub(super) fn behind(&self, is_it: impl Fn(&Entry) -> bool) -> usize {
        self.entries.iter().rposition(is_it).map_or(0, |at| at + 1)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Finds out which picture is to be seen at `target`: from the key frame on that it needs,
    /// whether it was delivered already or not.
    pub(super) fn look(&mut self, target: Timestamp, epoch: u64) {
        let from = self.key_before(target, epoch).unwrap_or(self.cursor);
        let group = self.entries.iter().skip(from);
        let until = group.filter(|entry| entry.epoch == epoch && entry.time() <= target);
        self.seen = until
            .map(|entry| (entry.time(), entry.order))
            .max_by_key(|seen| *seen);
    }

    /// Up to where everything is known: what comes later is not due before it.
    pub(super) fn known(&self, epoch: u64) -> Option<Timestamp> {
        let back = if self.kind == Kind::Pictures {
            self.reorder_count
        } else {
            0
        };
        let index = self.entries.len().checked_sub(back + 1)?;
        let entry = self.entries.get(index)?;
        Some(if entry.epoch > epoch {
            Timestamp::MAX
        } else {
            entry.release
        })
    }

    /// The least time after `head`, among entries around the cursor.
    pub(super) fn time_after(&self, head: Timestamp, epoch: u64) -> Option<Timestamp> {
        let mut best: Option<Timestamp> = None;
        let first = self.cursor.saturating_sub(2 * MAX_REORDER_COUNT);
        for entry in self.entries.iter().skip(first) {
            if entry.epoch > epoch || best.is_some_and(|best| entry.release >= best) {
                break;
            }
            let time = entry.time();
            if entry.epoch == epoch && time > head && best.is_none_or(|best| time < best) {
                best = Some(time);
            }
        }
        best
    }

    /// The greatest time before `head`, among entries behind the cursor, and ahead of it too as
    /// long as they are released before.
    pub(super) fn time_before(&self, head: Timestamp, epoch: u64) -> Option<Timestamp> {
        let mut best = None;
        for entry in self.entries.iter().rev() {
            if entry.epoch != epoch {
                continue;
            }
            let time = entry.time();
            if time < head {
                best = best.max(Some(time));
            }
            if best.is_some() && entry.is_key() && time < head {
                break;
            }
        }
        best
    }

    /// Frees whole groups of pictures that were passed over and lie before `cut`; the one that is
    /// being played stays.
    pub(super) fn evict(&mut self, cut: Timestamp) {
        let keep = match self.kind {
            Kind::Pictures => self.last_key_before(self.cursor),
            Kind::Sound | Kind::Gaps => self.cursor,
        };
        self.evict_before(keep, cut);
    }

    /// Frees what lies before `cut` and is not needed to decode the picture before `target`,
    /// whether it was delivered or not.
    pub(super) fn evict_towards(&mut self, target: Timestamp, cut: Timestamp, epoch: u64) {
        let keep = self.key_before(target, epoch).unwrap_or(0);
        self.evict_before(keep, cut);
    }

    /// Frees all that was passed over.
    pub(super) fn evict_passed(&mut self) {
        self.drop_front(self.cursor);
    }

    fn evict_before(&mut self, keep: usize, cut: Timestamp) {
        let mut count = 0;
        for (index, entry) in self.entries.iter().enumerate().take(keep + 1) {
            let is_start = self.kind != Kind::Pictures || entry.is_key() || index == keep;
            if is_start {
                count = index;
            }
            if entry.release > cut {
                break;
            }
        }
        self.drop_front(count);
    }

    /// The newest key frame before `index`; 0 where there is none.
    fn last_key_before(&self, index: usize) -> usize {
        let before = self.entries.iter().take(index);
        before.into_iter().rposition(Entry::is_key).unwrap_or(0)
    }

    /// Frees the first `count` entries.
    pub(super) fn drop_front(&mut self, count: usize) {
        for index in 0..count {
            let Some(entry) = self.entries.pop_front() else {
                return;
            };
            self.is_cut = true;
            self.len = self.len.saturating_sub(entry.len());
            if index >= self.cursor {
                self.ahead_len = self.ahead_len.saturating_sub(entry.len());
            }
        }
        self.cursor = self.cursor.saturating_sub(count);
    }

    /// Frees what follows the item numbered `order`.
    pub(super) fn drop_behind(&mut self, order: u64) {
        while let Some(entry) = self.entries.pop_back_if(|entry| entry.order > order) {
            self.len = self.len.saturating_sub(entry.len());
            if self.entries.len() >= self.cursor {
                self.ahead_len = self.ahead_len.saturating_sub(entry.len());
            }
        }
        self.cursor = self.cursor.min(self.entries.len());
        self.forget_times();
    }

    /// The newest entry.
    pub(super) fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// The greatest time in an epoch.
    pub(super) fn greatest_time(&self, epoch: u64) -> Option<Timestamp> {
        let mine = self.entries.iter().filter(|entry| entry.epoch == epoch);
        mine.map(Entry::time).max()
    }

    /// From where on seeks find what they need here; none where everything since the read began
    /// is there.
    pub(super) fn cut_at(&self) -> Option<Timestamp> {
        if !self.is_cut {
            return None;
        }
        let starts = |entry: &&Entry| self.kind != Kind::Pictures || entry.is_key();
        let first = self.entries.iter().find(starts);
        Some(first.map_or(Timestamp::MAX, Entry::time))
    }

    pub(super) fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all entries.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the entries that are still to be delivered.
    pub(super) fn ahead_len(&self) -> u64 {
        self.ahead_len
    }
}
