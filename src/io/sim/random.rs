//! The simulated disk's source of chance: the same seed, the same course of events.

/// `SplitMix64`: small, fast, and good enough to choose what goes wrong.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // The upper bits of a product: no division, and a bias that does not matter here.
        ((u128::from(self.next()) * u128::from(end.max(1))) >> 64) as u64
    }

    /// The same for an index.
    pub(super) fn index(&mut self, end: usize) -> usize {
        // Below `end`, so it fits.
        usize::try_from(self.below(end as u64)).unwrap_or(0)
    }

    /// True `count` times out of `of`.
    pub(super) fn chance(&mut self, count: u64, of: u64) -> bool {
        self.below(of) < count
    }
}
