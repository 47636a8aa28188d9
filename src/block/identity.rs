//! Which block bytes belong to.

use super::checksum::crc64;
use crate::base::geometry::{Nonce, Sequence, VolumeId};

/// The identity of a block: what a run, chunk or trailer must agree with to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockId {
    /// The volume.
    pub volume: VolumeId,
    /// The slot of the ring.
    pub slot: u64,
    /// The number of the block.
    pub sequence: Sequence,
    /// The life that wrote it.
    pub nonce: Nonce,
}

impl BlockId {
    /// Length of the identity in bytes, as run headers and trailers carry it.
    pub const LEN: usize = 48;

    /// The identity in 48 bytes: volume, nonce, slot, sequence.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let parts = self.volume.0.iter().chain(&self.nonce.0).copied();
        let numbers = self
            .slot
            .to_le_bytes()
            .into_iter()
            .chain(self.sequence.to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(parts.chain(numbers)) {
            *to = from;
        }
        bytes
    }

    /// The identity as a 64-bit tag, which every chunk carries.
    pub fn tag(self) -> u64 {
        crc64(&self.to_bytes())
    }
}
