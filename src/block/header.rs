//! The header page: the first 4 KiB of every block, and a copy of what a superblock would hold.
//!
//! A header is written once, one block ahead of its runs, and never edited. `docs/FORMAT.md` draws
//! it. Which header to believe belongs to `volume`.

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::crc32c;
use super::{BlockId, DecodeError, PAGE_LEN};
use crate::base::geometry::{Geometry, Nonce, Position, Sequence, VolumeId};

/// The format that this release writes.
pub const FORMAT_VERSION: u32 = 1;
/// Features that an older reader may ignore. None yet.
pub const KNOWN_COMPAT: u64 = 0;
/// Features without which a volume cannot be read. None yet.
pub const KNOWN_INCOMPAT: u64 = 0;
/// Features without which a volume can be read, not written. None yet.
pub const KNOWN_READ_ONLY_COMPAT: u64 = 0;

/// The most ranges of bad slots in a header.
pub const MAX_BAD_RANGES: usize = 64;
/// The most ranges of pinned slots in a header.
pub const MAX_PIN_RANGES: usize = 96;
/// The most void ranges in a header.
pub const MAX_VOID_RANGES: usize = 96;

/// The greatest sequence, and the greatest number of lives: 2^62 of them are never used up.
pub const MAX_SEQUENCE: u64 = 1 << 62;

const MAGIC: [u8; 8] = *b"CAMRINGH";

/// Neighbouring slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// The first of them.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl SlotRange {
    /// Whether `slot` is one of them.
    pub fn contains(&self, slot: u64) -> bool {
        let first = u64::from(self.first);
        slot >= first && slot - first < u64::from(self.count)
    }
}

/// Runs that do not count: all from `from` up to, not including, block `to`.
///
/// A crash or a failed flush leaves them; whoever reads must act as if they were not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoidRange {
    /// The first void run.
    pub from: Position,
    /// The first block that counts again.
    pub to: Sequence,
}

impl VoidRange {
    /// Whether the run at `position` is void.
    pub fn contains(&self, position: Position) -> bool {
        position >= self.from && position.sequence < self.to
    }

    /// Whether some run of block `sequence` could be void.
    pub fn touches(&self, sequence: Sequence) -> bool {
        sequence >= self.from.sequence && sequence < self.to
    }
}

/// What the header of a block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Which block it is. Sequence 0 and nonce 0: a header written when the volume was created.
    pub id: BlockId,
    /// The measures of the volume.
    pub geometry: Geometry,
    /// Features that an older reader may ignore.
    pub compat: u64,
    /// Features without which the volume can be read, not written.
    pub read_only_compat: u64,
    /// How many lives the volume has had, this one included.
    pub life: u64,
    /// UTC when the header was written, in microseconds.
    pub written_utc_us: i64,
    /// Boot clock when the header was written, in microseconds.
    pub written_boot_us: i64,
    /// The boot that the boot clock belongs to.
    pub boot_id: [u8; 16],
    /// All runs up to here are durable, or decided to be void.
    pub mark: Position,
    /// Slots that are never written again, because a write to them failed.
    pub bad: Vec<SlotRange>,
    /// Slots that are kept: the ring goes around them.
    pub pins: Vec<SlotRange>,
    /// Runs that do not count.
    pub voids: Vec<VoidRange>,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSlotRange {
    first: U32,
    count: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawVoidRange {
    from_sequence: U64,
    from_run: U64,
    to: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    crc: U32,
    version: U32,
    compat: U64,
    incompat: U64,
    read_only_compat: U64,
    volume: [u8; 16],
    block_len: U32,
    unit_len: U32,
    slot_count: U64,
    slot: U64,
    sequence: U64,
    nonce: [u8; 16],
    life: U64,
    written_utc_us: I64,
    written_boot_us: I64,
    boot_id: [u8; 16],
    mark_sequence: U64,
    mark_run: U64,
    bad_count: U32,
    pin_count: U32,
    void_count: U32,
    reserved: [u8; 20],
    bad: [RawSlotRange; MAX_BAD_RANGES],
    pins: [RawSlotRange; MAX_PIN_RANGES],
    voids: [RawVoidRange; MAX_VOID_RANGES],
    rest: [u8; 320],
}

const _: () = {
    assert!(size_of::<RawHeader>() == PAGE_LEN);
    assert!(std::mem::offset_of!(RawHeader, volume) == 40);
    assert!(std::mem::offset_of!(RawHeader, sequence) == 80);
    assert!(std::mem::offset_of!(RawHeader, mark_sequence) == 144);
    assert!(std::mem::offset_of!(RawHeader, bad) == 192);
    assert!(std::mem::offset_of!(RawHeader, pins) == 704);
    assert!(std::mem::offset_of!(RawHeader, voids) == 1472);
};

/// Where the checksummed bytes begin: behind the magic and the checksum.
const SUMMED_FROM: usize = 12;

impl BlockHeader {
    /// Writes the header into the first page of `page`.
    ///
    /// # Panics
    ///
    /// If `page` is shorter than 4 KiB or a list is longer than the header holds: the writer
    /// keeps its lists within their limits.
    pub fn encode(&self, page: &mut [u8]) {
        assert!(self.bad.len() <= MAX_BAD_RANGES && self.pins.len() <= MAX_PIN_RANGES);
        assert!(self.voids.len() <= MAX_VOID_RANGES && page.len() >= PAGE_LEN);
        let mut raw = RawHeader::new_zeroed();
        raw.magic = MAGIC;
        raw.version = FORMAT_VERSION.into();
        raw.compat = self.compat.into();
        raw.read_only_compat = self.read_only_compat.into();
        raw.volume = self.id.volume.0;
        raw.block_len = self.geometry.block_len().into();
        raw.unit_len = self.geometry.unit_len().into();
        raw.slot_count = self.geometry.slot_count().into();
        raw.slot = self.id.slot.into();
        raw.sequence = self.id.sequence.into();
        raw.nonce = self.id.nonce.0;
        raw.life = self.life.into();
        raw.written_utc_us = self.written_utc_us.into();
        raw.written_boot_us = self.written_boot_us.into();
        raw.boot_id = self.boot_id;
        raw.mark_sequence = self.mark.sequence.into();
        raw.mark_run = self.mark.run.into();
        raw.bad_count = (self.bad.len() as u32).into();
        raw.pin_count = (self.pins.len() as u32).into();
        raw.void_count = (self.voids.len() as u32).into();
        let slot_range = |r: &SlotRange| RawSlotRange {
            first: r.first.into(),
            count: r.count.into(),
        };
        raw.bad
            .iter_mut()
            .zip(&self.bad)
            .for_each(|(to, from)| *to = slot_range(from));
        raw.pins
            .iter_mut()
            .zip(&self.pins)
            .for_each(|(to, from)| *to = slot_range(from));
        for (to, from) in raw.voids.iter_mut().zip(&self.voids) {
            *to = RawVoidRange {
                from_sequence: from.from.sequence.into(),
                from_run: from.from.run.into(),
                to: from.to.into(),
            };
        }
        raw.crc = crc32c(raw.as_bytes().get(SUMMED_FROM..).unwrap_or_default()).into();
        raw.write_to_prefix(page)
            .unwrap_or_else(|_| unreachable!("the length was asserted above"));
    }

    /// Reads the header page at the beginning of `bytes`.
    ///
    /// # Errors
    ///
    /// - [`NoMagic`](DecodeError::NoMagic): the slot was never written.
    /// - [`Version`](DecodeError::Version): a later release wrote it.
    /// - [`Checksum`](DecodeError::Checksum): the write was torn, or the page is damaged.
    /// - [`Range`](DecodeError::Range): a number is impossible; a checksum proves nothing about
    ///   whoever wrote it.
    ///
    /// Whether it is the header of the expected volume and slot is for the caller to compare.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (raw, _) =
            RawHeader::ref_from_prefix(bytes).map_err(|_| DecodeError::Range("page length"))?;
        if raw.magic != MAGIC {
            return Err(DecodeError::NoMagic);
        }
        if raw.crc.get() != crc32c(raw.as_bytes().get(SUMMED_FROM..).unwrap_or_default()) {
            return Err(DecodeError::Checksum);
        }
        // Behind the checksum, which every version keeps where it is: a rotten bit is no later
        // release.
        if raw.version.get() != FORMAT_VERSION {
            return Err(DecodeError::Version(raw.version.get().into()));
        }
        let unknown = raw.incompat.get() & !KNOWN_INCOMPAT;
        if unknown != 0 {
            return Err(DecodeError::Version(unknown));
        }
        let geometry = Geometry::new(
            raw.block_len.get(),
            raw.slot_count.get(),
            raw.unit_len.get(),
        )
        .map_err(|_| DecodeError::Range("geometry"))?;
        let id = BlockId {
            volume: VolumeId(raw.volume),
            slot: raw.slot.get(),
            sequence: raw.sequence.get(),
            nonce: Nonce(raw.nonce),
        };
        if id.slot >= geometry.slot_count() {
            return Err(DecodeError::Range("slot"));
        }
        if id.sequence != 0 && geometry.slot_of(id.sequence) != id.slot {
            return Err(DecodeError::Range("sequence"));
        }
        let mark = Position {
            sequence: raw.mark_sequence.get(),
            run: raw.mark_run.get(),
        };
        // Sequences stay far from the end of their type, so that counting on cannot overflow.
        if id.sequence > MAX_SEQUENCE || raw.life.get() > MAX_SEQUENCE {
            return Err(DecodeError::Range("sequence"));
        }
        if mark.sequence >= id.sequence.max(1) {
            return Err(DecodeError::Range("durable watermark"));
        }
        Ok(Self {
            id,
            geometry,
            compat: raw.compat.get(),
            read_only_compat: raw.read_only_compat.get(),
            life: raw.life.get(),
            written_utc_us: raw.written_utc_us.get(),
            written_boot_us: raw.written_boot_us.get(),
            boot_id: raw.boot_id,
            mark,
            bad: slot_ranges(&raw.bad, raw.bad_count.get(), &geometry)?,
            pins: slot_ranges(&raw.pins, raw.pin_count.get(), &geometry)?,
            voids: void_ranges(&raw.voids, raw.void_count.get(), id.sequence)?,
        })
    }

    /// Whether this release may write to the volume.
    pub fn is_writable(&self) -> bool {
        self.read_only_compat & !KNOWN_READ_ONLY_COMPAT == 0
    }
}

fn slot_ranges(
    raw: &[RawSlotRange],
    count: u32,
    geometry: &Geometry,
) -> Result<Vec<SlotRange>, DecodeError> {
    let raw = raw
        .get(..count as usize)
        .ok_or(DecodeError::Range("number of slot ranges"))?;
    raw.iter()
        .map(|r| {
            let range = SlotRange {
                first: r.first.get(),
                count: r.count.get(),
            };
            let end = u64::from(range.first) + u64::from(range.count);
            let fits = range.count > 0 && end <= geometry.slot_count();
            fits.then_some(range)
                .ok_or(DecodeError::Range("slot range"))
        })
        .collect()
}

fn void_ranges(
    raw: &[RawVoidRange],
    count: u32,
    sequence: Sequence,
) -> Result<Vec<VoidRange>, DecodeError> {
    let raw = raw
        .get(..count as usize)
        .ok_or(DecodeError::Range("number of void ranges"))?;
    raw.iter()
        .map(|r| {
            let from = Position {
                sequence: r.from_sequence.get(),
                run: r.from_run.get(),
            };
            let range = VoidRange {
                from,
                to: r.to.get(),
            };
            // A header cannot declare itself void, nor what comes after it.
            let fits = from.sequence <= range.to && range.to <= sequence;
            fits.then_some(range)
                .ok_or(DecodeError::Range("void range"))
        })
        .collect()
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests {
    use super::*;

    fn sample() -> BlockHeader {
        let id = BlockId {
            volume: VolumeId([7; 16]),
            slot: 4,
            sequence: 5,
            nonce: Nonce([9; 16]),
        };
        BlockHeader {
            id,
            geometry: Geometry::new(1 << 20, 16, 4096).unwrap(),
            compat: 0,
            read_only_compat: 0,
            life: 3,
            written_utc_us: 1_700_000_000_000_000,
            written_boot_us: 1_000_000,
            boot_id: [1; 16],
            mark: Position {
                sequence: 4,
                run: 17,
            },
            bad: vec![SlotRange { first: 1, count: 2 }],
            pins: vec![
                SlotRange { first: 8, count: 1 },
                SlotRange {
                    first: 12,
                    count: 4,
                },
            ],
            voids: vec![VoidRange {
                from: Position {
                    sequence: 2,
                    run: 3,
                },
                to: 4,
            }],
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was() {
        let mut page = [0xff; PAGE_LEN];
        sample().encode(&mut page);
        assert_eq!(BlockHeader::decode(&page).unwrap(), sample());
    }

    /// Every single-bit error is refused, whichever field it falls in.
    #[test]
    fn bit_flips_are_refused() {
        let mut page = [0; PAGE_LEN];
        sample().encode(&mut page);
        for bit in 0..PAGE_LEN * 8 {
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(
                BlockHeader::decode(&page).is_err(),
                "bit {bit} was not noticed"
            );
            page[bit / 8] ^= 1 << (bit % 8);
        }
    }

    /// A good checksum does not make a number sane: lists beyond their limits, ranges beyond the
    /// volume and sequences in the wrong slot are refused.
    #[test]
    fn impossible_numbers_are_refused_behind_a_good_checksum() {
        let refused = |what: &str, change: &dyn Fn(&mut RawHeader)| {
            let mut page = [0; PAGE_LEN];
            sample().encode(&mut page);
            let raw = RawHeader::mut_from_bytes(&mut page).unwrap();
            change(raw);
            raw.crc = crc32c(&raw.as_bytes()[SUMMED_FROM..]).into();
            assert!(BlockHeader::decode(&page).is_err(), "{what}");
        };
        refused("too many bad ranges", &|h| h.bad_count = 65.into());
        refused("pin beyond the end", &|h| h.pins[0].first = 16.into());
        refused("empty pin", &|h| h.pins[0].count = 0.into());
        refused("overflowing pin", &|h| h.pins[0].count = u32::MAX.into());
        refused("void of the future", &|h| h.voids[0].to = 6.into());
        refused("void backwards", &|h| h.voids[0].from_sequence = 5.into());
        refused("slot out of range", &|h| h.slot = 16.into());
        refused("sequence of another slot", &|h| h.sequence = 6.into());
        refused("block length 0", &|h| h.block_len = 0.into());
        refused("slot count that overflows", &|h| {
            h.slot_count = u64::MAX.into();
        });
        refused("unknown incompatible feature", &|h| h.incompat = 1.into());
        refused("later version", &|h| h.version = 2.into());
        refused("a watermark of the future", &|h| h.mark_sequence = 5.into());
        refused("life without end", &|h| h.life = u64::MAX.into());
    }
}
