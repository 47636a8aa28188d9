//! Which runs count: the one place where windows, decided ends and void ranges meet.

use crate::base::geometry::{Position, Sequence};
use crate::block::header::{MAX_VOID_RANGES, SlotRange, VoidRange};

/// What readers, recovery and rebuild must obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Nothing behind this place counts, until a life writes there. [`Position::end_of`] the
    /// greatest sequence while a life is writing: it knows its own runs.
    pub end: Position,
    /// Runs that do not count.
    pub voids: Vec<VoidRange>,
    /// Slots whose blocks count although the window has left them: bad and pinned ones.
    pub kept: Vec<SlotRange>,
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            end: Position::end_of(u64::MAX),
            voids: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl Verdict {
    /// Whether the run at `position` counts.
    pub fn counts(&self, position: Position) -> bool {
        position <= self.end && !self.voids.iter().any(|void| void.contains(position))
    }

    /// Whether `slot` keeps its block when the window leaves it.
    pub fn keeps(&self, slot: u64) -> bool {
        self.kept.iter().any(|range| range.contains(slot))
    }
}

/// The void ranges that a header of block `sequence` must repeat: those that touch a block which
/// still counts. `kept` are the sequences of blocks in bad and pinned slots; 0 for one that is not
/// known, because its header cannot be read: then all ranges stay.
pub fn live_voids(
    voids: &[VoidRange],
    sequence: Sequence,
    slot_count: u64,
    kept: &[Sequence],
) -> Vec<VoidRange> {
    let in_window = |void: &VoidRange| void.to.saturating_add(slot_count) > sequence;
    let kept = |void: &VoidRange| kept.iter().any(|block| *block == 0 || void.touches(*block));
    let live = voids.iter().filter(|void| in_window(void) || kept(void));
    bounded(live.copied().collect())
}

/// At most as many ranges as a header holds.
///
/// Beyond that the two neighbours with the fewest blocks between them become one, which gives up
/// those blocks: a volume that crashed or failed so often within one turn of the ring loses the
/// smallest possible part of it rather than the whole. Ranges that hide nothing are never
/// recorded, so that it takes 96 crashes which each left runs behind a torn one.
fn bounded(mut voids: Vec<VoidRange>) -> Vec<VoidRange> {
    voids.sort_by_key(|void| (void.from, void.to));
    while voids.len() > MAX_VOID_RANGES {
        let gap = |pair: &[VoidRange]| match pair {
            [a, b] => b.from.sequence.saturating_sub(a.to),
            _ => u64::MAX,
        };
        let closest = voids
            .windows(2)
            .enumerate()
            .min_by_key(|(_, pair)| gap(pair));
        let Some((at, _)) = closest else { break };
        let next = voids.remove(at + 1);
        if let Some(void) = voids.get_mut(at) {
            void.to = void.to.max(next.to);
        }
    }
    voids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn void(from: Sequence, to: Sequence) -> VoidRange {
        VoidRange {
            from: Position {
                sequence: from,
                run: 5,
            },
            to,
        }
    }

    #[test]
    fn a_void_range_is_repeated_while_a_block_that_it_touches_counts() {
        let voids = [void(10, 12), void(30, 31)];
        assert_eq!(live_voids(&voids, 27, 16, &[]), voids);
        assert_eq!(live_voids(&voids, 28, 16, &[]), [void(30, 31)]);
        assert_eq!(live_voids(&voids, 28, 16, &[11]), voids, "pinned");
        assert_eq!(
            live_voids(&voids, 28, 16, &[12]),
            [void(30, 31)],
            "12 counts again"
        );
        assert_eq!(
            live_voids(&voids, 99, 16, &[0]),
            voids,
            "who knows what is in that slot"
        );
    }

    #[test]
    fn too_many_ranges_give_up_the_fewest_blocks() {
        let mut voids: Vec<_> = (0..96)
            .map(|n| void(100 * n + 100, 100 * n + 102))
            .collect();
        voids.push(void(305, 306));
        let kept = live_voids(&voids, 9_800, 1 << 20, &[]);
        assert_eq!(kept.len(), MAX_VOID_RANGES);
        assert!(
            kept.contains(&void(300, 306)),
            "the two that lie three blocks apart"
        );
    }
}
