//! Making room: what a source frees of its cache when its share is used up.

use super::source::Source;
use super::stream::Stream;
use crate::base::time::Timestamp;

impl Source {
    /// Frees what is farthest behind the head, so that the share is kept; towards `search`,
    /// also what was not delivered.
    pub(super) fn make_room(&mut self, head: Timestamp, search: bool) {
        if self.len <= self.share_len {
            return;
        }
        let enough = self.share_len - self.share_len / 8;
        let oldest = self.streams.values().filter_map(Stream::oldest).min();
        let half = oldest.map_or(head, |oldest| middle(oldest, head));
        for cut in [half, Timestamp::MAX] {
            self.free(|stream| {
                if search {
                    stream.evict_towards(head, cut, false);
                } else {
                    stream.evict(cut);
                }
            });
            if self.len <= enough {
                return;
            }
        }
        if search && self.len <= self.share_len {
            return;
        }
        self.free(|stream| {
            if search {
                stream.evict_towards(head, head, true);
            } else {
                stream.evict_passed();
            }
        });
    }

    /// What lies before the key frames with which waiting streams would begin at `target` is not
    /// ahead any more, so that there is room for what is missing.
    pub(super) fn aim(&mut self, target: Timestamp) {
        let epoch = self.epoch;
        for (id, goes_on) in &self.joining {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.aim(target, epoch, *goes_on);
            }
        }
        self.sum();
    }

    fn free(&mut self, free: impl Fn(&mut Stream)) {
        self.streams.values_mut().for_each(free);
        self.sum();
    }
}

fn middle(a: Timestamp, b: Timestamp) -> Timestamp {
    Timestamp(i64::midpoint(a.0, b.0))
}
