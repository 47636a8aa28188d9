//! Partition tables of the GPT kind: which partitions a disk has, and what identifies them.
//!
//! Reads only, with every checksum; the first copy, or the one at the end of the disk. Which of the
//! kernel's devices a partition is belongs to `partition`.

use std::fmt;
use std::fs::File;
use std::str::FromStr;

use crc_fast::{CrcAlgorithm, checksum};
use rustix::io::Errno;
use uuid::Uuid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::base::error::{Error, Result};

/// The most partitions that a table may have: 128 are usual.
const MAX_ENTRY_COUNT: u32 = 1024;
/// The longest entry, in bytes: 128 are usual.
const MAX_ENTRY_LEN: u32 = 1024;
/// The sectors that disks have, in bytes.
const SECTOR_LENS: std::ops::RangeInclusive<u32> = 512..=65536;
/// The kind of a partition in the old table that keeps old programs away from a GPT.
const PROTECTIVE: u8 = 0xee;

/// What identifies a partition: its "unique partition GUID", as `lsblk -o PARTUUID` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartUuid(Uuid);

impl FromStr for PartUuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Only the hyphenated form: the short one of MBR disks must not be taken for another.
        let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
        uuid.map(Self).ok_or_else(|| {
            Error::invalid(format!("\"{text}\" is not the PARTUUID of a GPT partition"))
                .with_remedy("`camring devices` and `lsblk -o NAME,PARTUUID` list them")
        })
    }
}

impl fmt::Display for PartUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PartUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a partition is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeId(Uuid);

impl TypeId {
    /// The type of a swap partition, which is what a volume lies on.
    pub const LINUX_SWAP: Self = type_id(0x0657_fd6d_a4ab_43c4_84e5_0933_c84b_4f4f);
    /// The type of a partition for data of Linux systems.
    pub const LINUX_FILESYSTEM: Self = type_id(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4);
}

impl TypeId {
    /// The identity as tables and tools have it.
    pub fn id(&self) -> impl fmt::Display {
        self.0
    }
}

/// The types that are met often, and what they are called.
const TYPE_NAMES: [(TypeId, &str); 14] = [
    (TypeId::LINUX_SWAP, "Linux swap"),
    (TypeId::LINUX_FILESYSTEM, "Linux filesystem"),
    (
        type_id(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b),
        "EFI System",
    ),
    (
        type_id(0xe6d6_d379_f507_44c2_a23c_238f_2a3d_f928),
        "Linux LVM",
    ),
    (
        type_id(0xa19d_880f_05fc_4d3b_a006_743f_0f84_911e),
        "Linux RAID",
    ),
    (
        type_id(0xca7d_7ccb_63ed_4c53_861c_1742_5360_59cc),
        "Linux LUKS",
    ),
    (
        type_id(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709),
        "Linux root (x86-64)",
    ),
    (
        type_id(0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae),
        "Linux root (ARM64)",
    ),
    (
        type_id(0x933a_c7e1_2eb4_4f13_b844_0e14_e2ae_f915),
        "Linux home",
    ),
    (
        type_id(0xbc13_c2ff_59e6_4262_a352_b275_fd6f_7172),
        "Linux extended boot",
    ),
    (
        type_id(0x2168_6148_6449_6e6f_744e_6565_6445_4649),
        "BIOS boot",
    ),
    (
        type_id(0xebd0_a0a2_b9e5_4433_87c0_68b6_b726_99c7),
        "Microsoft basic data",
    ),
    (
        type_id(0xe3c9_e316_0b5c_4db8_817d_f92d_f002_15ae),
        "Microsoft reserved",
    ),
    (
        type_id(0xde94_bba4_06d1_4d40_a16a_bfd5_0179_d6ac),
        "Windows recovery",
    ),
];

const fn type_id(value: u128) -> TypeId {
    TypeId(Uuid::from_u128(value))
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TYPE_NAMES.iter().find(|(id, _)| id == self) {
            Some((_, name)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// A partition as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1: `p2` at the end of a name means 2.
    pub number: u32,
    /// What identifies it.
    pub partuuid: PartUuid,
    /// What it is meant for.
    pub type_id: TypeId,
    /// Where it begins on the disk, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The name that somebody gave to it; may be empty.
    pub name: String,
}

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    revision: U32,
    header_len: U32,
    header_crc: U32,
    reserved: U32,
    own_sector: U64,
    other_sector: U64,
    first_usable: U64,
    last_usable: U64,
    disk_id: [u8; 16],
    entries_sector: U64,
    entry_count: U32,
    entry_len: U32,
    entries_crc: U32,
}

const _: () = assert!(size_of::<RawHeader>() == 92);

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct RawEntry {
    type_id: [u8; 16],
    partuuid: [u8; 16],
    first_sector: U64,
    last_sector: U64,
    attributes: U64,
    name: [U16; 36],
}

const _: () = assert!(size_of::<RawEntry>() == 128);

/// The partitions of the disk `file`, which has `disk_len` bytes in sectors of `sector_len`; none
/// where it has no GPT with good checksums.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) when the disk cannot be read.
pub fn read(file: &File, disk_len: u64, sector_len: u32) -> Result<Option<Vec<Entry>>> {
    let failed = |e: Errno| Error::io("read the partition table", e);
    let mut read = |offset, len| read_at(file, offset, len);
    parse(disk_len, sector_len, &mut read).map_err(failed)
}

type ReadAt<'a, E> = dyn FnMut(u64, usize) -> Result<Vec<u8>, E> + 'a;

/// The table on a disk that `read` gives bytes of.
fn parse<E>(
    disk_len: u64,
    sector_len: u32,
    read: &mut ReadAt<'_, E>,
) -> Result<Option<Vec<Entry>>, E> {
    let sector_count = disk_len / u64::from(sector_len.max(1));
    if !SECTOR_LENS.contains(&sector_len) || !sector_len.is_power_of_two() || sector_count < 6 {
        return Ok(None);
    }
    if !is_protective(&read(0, 512)?) {
        return Ok(None);
    }
    for sector in [1, sector_count - 1] {
        let header = read(sector * u64::from(sector_len), sector_len as usize)?;
        let Some(place) = EntriesPlace::decode(&header, sector, sector_count) else {
            continue;
        };
        let entries = read(place.sector * u64::from(sector_len), place.len())?;
        if crc32(&entries) == place.crc {
            let entries = entries.chunks_exact(place.entry_len as usize);
            let decoded = (1..).zip(entries).filter_map(|(number, bytes)| {
                decode_entry(number, bytes, u64::from(sector_len), sector_count)
            });
            return Ok(Some(decoded.collect()));
        }
    }
    Ok(None)
}

/// Whether an old partition table says that a GPT is what counts.
fn is_protective(sector: &[u8]) -> bool {
    let mut kinds = (0..4).map(|slot| sector.get(446 + 16 * slot + 4));
    sector.get(510..512) == Some(&[0x55, 0xaa]) && kinds.any(|kind| kind == Some(&PROTECTIVE))
}

/// Where the entries are, by a header that was found good.
struct EntriesPlace {
    sector: u64,
    count: u32,
    entry_len: u32,
    crc: u32,
}

impl EntriesPlace {
    fn decode(bytes: &[u8], sector: u64, sector_count: u64) -> Option<Self> {
        let (header, _) = RawHeader::ref_from_prefix(bytes).ok()?;
        let len = usize::try_from(header.header_len.get()).ok()?;
        if &header.magic != b"EFI PART" || len < size_of::<RawHeader>() {
            return None;
        }
        let mut summed = bytes.get(..len)?.to_vec();
        summed.get_mut(16..20)?.fill(0);
        let place = Self {
            sector: header.entries_sector.get(),
            count: header.entry_count.get(),
            entry_len: header.entry_len.get(),
            crc: header.entries_crc.get(),
        };
        let is_sane = (size_of::<RawEntry>()..=MAX_ENTRY_LEN as usize)
            .contains(&(place.entry_len as usize))
            && (1..=MAX_ENTRY_COUNT).contains(&place.count)
            && (2..sector_count).contains(&place.sector);
        let is_good = crc32(&summed) == header.header_crc.get();
        (is_good && is_sane && header.own_sector.get() == sector).then_some(place)
    }

    fn len(&self) -> usize {
        // At most 1 MiB, by the limits above.
        self.count as usize * self.entry_len as usize
    }
}

/// An entry; none where it is unused, or leads out of the disk.
fn decode_entry(number: u32, bytes: &[u8], sector_len: u64, sector_count: u64) -> Option<Entry> {
    let (raw, _) = RawEntry::ref_from_prefix(bytes).ok()?;
    let (first, last) = (raw.first_sector.get(), raw.last_sector.get());
    if raw.type_id == [0; 16] || first > last || last >= sector_count {
        return None;
    }
    let name: Vec<u16> = raw.name.iter().map(|unit| unit.get()).collect();
    let name = name.split(|unit| *unit == 0).next().unwrap_or_default();
    Some(Entry {
        number,
        partuuid: PartUuid(Uuid::from_bytes_le(raw.partuuid)),
        type_id: TypeId(Uuid::from_bytes_le(raw.type_id)),
        offset: first * sector_len,
        len: (last - first + 1) * sector_len,
        name: String::from_utf16_lossy(name),
    })
}

fn crc32(bytes: &[u8]) -> u32 {
    // A 32-bit CRC fills the low half of the result.
    (checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) & 0xffff_ffff) as u32
}

/// Reads `len` bytes from `offset`, or as many as there are.
fn read_at(file: &File, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
