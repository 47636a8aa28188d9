//! Where blocks lie on the device, and the numbers that order them.
//!
//! Pure arithmetic; what a block holds is `block`'s business.

use std::fmt;

use super::error::{Error, Result};

/// The smallest alignment unit: a page, and the largest sector in use today. Bytes.
pub const PAGE_LEN: u32 = 4096;
/// The fewest slots of a volume.
pub const MIN_SLOT_COUNT: u64 = 16;
/// The longest block, 64 MiB, so that two headers lie within the first 256 MiB. Bytes.
pub const MAX_BLOCK_LEN: u32 = 64 << 20;
/// The shortest block. Bytes.
pub const MIN_BLOCK_LEN: u32 = 64 << 10;
/// The fewest alignment units of a block: header, index and trailer take one each at least.
pub const MIN_UNIT_COUNT: u32 = 16;
/// The longest frame of any volume: 8 MiB.
pub const MAX_FRAME_LEN: u32 = 8 << 20;

/// The identity of a volume, drawn when it is created.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VolumeId(pub [u8; 16]);

impl VolumeId {
    /// Draws a random identity.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) when the kernel has no random bytes.
    pub fn random() -> Result<Self> {
        Ok(Self(
            uuid::Builder::from_random_bytes(random_bytes()?)
                .into_uuid()
                .into_bytes(),
        ))
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The random mark of one life: one opening of a volume for writing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 16]);

impl Nonce {
    /// Draws a random mark.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) when the kernel has no random bytes.
    pub fn random() -> Result<Self> {
        Ok(Self(random_bytes()?))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

fn random_bytes() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled +=
            rustix::rand::getrandom(rest, flags).map_err(|e| Error::io("draw random bytes", e))?;
    }
    Ok(bytes)
}

/// The number of a block: from 1, never used twice. 0 stands for "none".
pub type Sequence = u64;

/// A place in volume order: a run of a block.
///
/// Run numbers count through a life, so they grow within a block and across the blocks of a life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The block.
    pub sequence: Sequence,
    /// The run; [`Position::WHOLE`] for the end of the block, however many runs it has.
    pub run: u64,
}

impl Position {
    /// As a run number: all runs of the block.
    pub const WHOLE: u64 = u64::MAX;

    /// The end of block `sequence`.
    pub fn end_of(sequence: Sequence) -> Self {
        Self {
            sequence,
            run: Self::WHOLE,
        }
    }

    /// The first place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        if self.run == Self::WHOLE {
            Self {
                sequence: self.sequence.saturating_add(1),
                run: 0,
            }
        } else {
            Self {
                sequence: self.sequence,
                run: self.run + 1,
            }
        }
    }
}

/// The measures of a volume, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    block_len: u32,
    slot_count: u64,
    unit_len: u32,
}

impl Geometry {
    /// A volume of `slot_count` slots of `block_len` bytes, written in multiples of `unit_len`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) when `block_len` is not a multiple of `unit_len`
    /// from 64 KiB to 64 MiB, `unit_len` is no power of two from 4 KiB to 64 KiB, there are fewer
    /// than 16 slots, or the volume's length does not fit in 63 bits.
    pub fn new(block_len: u32, slot_count: u64, unit_len: u32) -> Result<Self> {
        if !unit_len.is_power_of_two() || !(PAGE_LEN..=65536).contains(&unit_len) {
            return Err(Error::invalid(format!(
                "alignment unit of {unit_len} bytes: must be a power of two from 4096 to 65536"
            )));
        }
        if !(MIN_BLOCK_LEN..=MAX_BLOCK_LEN).contains(&block_len)
            || !block_len.is_multiple_of(unit_len)
        {
            return Err(Error::invalid(format!(
                "block size of {block_len} bytes: must be a multiple of {unit_len} from \
                 {MIN_BLOCK_LEN} (64 KiB) to {MAX_BLOCK_LEN} (64 MiB)"
            )));
        }
        if block_len / unit_len < MIN_UNIT_COUNT {
            return Err(Error::invalid(format!(
                "block size of {block_len} bytes: less than {MIN_UNIT_COUNT} alignment units of \
                 {unit_len} bytes"
            )));
        }
        if slot_count < MIN_SLOT_COUNT {
            return Err(Error::invalid(format!(
                "{slot_count} blocks: a volume has at least {MIN_SLOT_COUNT}"
            ))
            .with_remedy("Choose a larger size or smaller blocks"));
        }
        let fits = u64::from(block_len)
            .checked_mul(slot_count)
            .is_some_and(|len| i64::try_from(len).is_ok() && u32::try_from(slot_count).is_ok());
        if !fits {
            return Err(Error::invalid(format!(
                "{slot_count} blocks: a volume has less than 2^32, and less than 2^63 bytes"
            ))
            .with_remedy("Choose a smaller size, or larger blocks"));
        }
        Ok(Self {
            block_len,
            slot_count,
            unit_len,
        })
    }

    /// Length of a block in bytes.
    pub fn block_len(&self) -> u32 {
        self.block_len
    }

    /// Number of slots.
    #[doc(alias = "n_blocks")]
    pub fn slot_count(&self) -> u64 {
        self.slot_count
    }

    /// What offsets and lengths of writes are multiples of, in bytes.
    pub fn unit_len(&self) -> u32 {
        self.unit_len
    }

    /// Length of the ring in bytes.
    pub fn device_len(&self) -> u64 {
        u64::from(self.block_len) * self.slot_count
    }

    /// The longest frame that the volume takes, in bytes.
    pub fn max_frame_len(&self) -> u32 {
        MAX_FRAME_LEN.min(self.block_len / 2)
    }

    /// The longest setup of a stream as a record, in bytes: each block repeats it twice.
    pub fn max_setup_len(&self) -> usize {
        self.block_len as usize / 16
    }

    /// The slot of block `sequence`, which is at least 1.
    pub fn slot_of(&self, sequence: Sequence) -> u64 {
        sequence.wrapping_sub(1) % self.slot_count
    }

    /// Where `slot` begins on the device, in bytes.
    ///
    /// # Panics
    ///
    /// If `slot` is out of range: the caller has checked what came from outside.
    pub fn offset_of_slot(&self, slot: u64) -> u64 {
        assert!(slot < self.slot_count, "slot {slot} of {}", self.slot_count);
        slot * u64::from(self.block_len)
    }

    /// `len` rounded up to the alignment unit.
    pub fn align_up(&self, len: u64) -> u64 {
        len.next_multiple_of(u64::from(self.unit_len))
    }
}
