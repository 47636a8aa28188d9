//! Creating a volume: how large it becomes, and its first headers. Its directory and what is in it
//! already is the business of `site`, what is special about partitions that of `partition`.

pub mod partition;
mod site;

use std::ops::ControlFlow;
use std::path::Path;

use self::site::Site;
use super::fetch::Fetcher;
use super::locate::Located;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::{Geometry, MIN_BLOCK_LEN, MIN_SLOT_COUNT, Nonce, Position};
use crate::base::time::{Clock, SystemClock};
use crate::block::{BlockHeader, BlockId, PAGE_LEN};
use crate::io::Device;
use crate::io::buffer::Buffer;

/// How large a volume is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeSize {
    /// At most so many bytes; rounded down to whole blocks.
    Bytes(u64),
    /// So many blocks.
    Blocks(u64),
}

/// How a volume is created.
#[derive(Clone, Copy, Debug)]
pub struct CreateOptions {
    /// Its size.
    pub size: VolumeSize,
    /// Length of a block in bytes; by default 16 MiB, less for volumes under 1 GiB and more from
    /// 16 TiB on.
    pub block_len: Option<u32>,
    /// Whether to replace a volume that is there already. Everything in it is lost.
    pub replace: bool,
}

/// What creating a volume would come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatePlan {
    /// The measures of the new volume. Its file system may ask for longer units.
    pub geometry: Geometry,
    /// Whether a volume is there, or what is left of one, that would be destroyed.
    pub replaces: bool,
}

/// How many slots get a header at creation. Two must agree at all times, and the first life
/// overwrites them one by one: with four, a write that is torn there leaves enough.
const FIRST_HEADERS: u64 = 4;

const GIB: u64 = 1 << 30;

/// Block length for a volume of `len` bytes: a table has about a million rows at most, and a small
/// volume still has a few dozen blocks.
pub fn default_block_len(len: u64) -> u32 {
    let by_capacity = match len {
        0..GIB => (len / 64).clamp(1 << 20, 4 << 20),
        GIB..0x1000_0000_0000 => 16 << 20,
        _ => (len >> 20).clamp(16 << 20, 64 << 20),
    };
    let at_most = (len / MIN_SLOT_COUNT).max(u64::from(MIN_BLOCK_LEN));
    let len = by_capacity.min(at_most);
    // The greatest power of two that is not longer.
    1 << len.ilog2()
}

impl CreateOptions {
    fn geometry(&self, unit_len: u32) -> Result<Geometry> {
        let (block_len, slot_count) = match self.size {
            VolumeSize::Bytes(len) => {
                let block_len = self.block_len.unwrap_or_else(|| default_block_len(len));
                (block_len, len / u64::from(block_len.max(1)))
            }
            VolumeSize::Blocks(count) => (self.block_len.unwrap_or(16 << 20), count),
        };
        Geometry::new(block_len, slot_count, unit_len)
    }
}

/// Creates a volume in `dir`, which is made if it is missing. `progress` is told the bytes
/// written and the bytes in all.
///
/// A volume that is to be replaced is given up as late as it can be: when the new one is complete,
/// or, where there is no room for both, when everything was tried that can be tried without it.
/// What can fail after that is the disk itself, or another program that takes the room.
///
/// # Errors
///
/// - [`Invalid`](ErrorKind::Invalid): the size or block size is out of range.
/// - [`Exists`](ErrorKind::Exists): there is a volume or something else in `dir`; nothing was
///   changed.
/// - [`Busy`](ErrorKind::Busy): the volume that was to be replaced is being recorded, or somebody
///   else creates one in `dir`.
/// - [`Unsupported`](ErrorKind::Unsupported): the file system refuses direct I/O, or the system
///   `io_uring`.
/// - [`Io`](ErrorKind::Io): among others, too little space.
pub fn create(
    dir: &Path,
    options: &CreateOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Located> {
    let mut go_on = |done, total| {
        progress(done, total);
        ControlFlow::Continue(())
    };
    let made = create_until(dir, options, &mut go_on)?;
    made.ok_or_else(|| Error::new(ErrorKind::Failed, "the creation was stopped").at(dir.display()))
}

/// As [`create`]; when `progress` breaks, what was made is removed again and there is no volume.
///
/// # Errors
///
/// As [`create`].
pub fn create_until(
    dir: &Path,
    options: &CreateOptions,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Option<Located>> {
    let geometry = options.geometry(crate::base::geometry::PAGE_LEN)?;
    let mut site = Site::prepare(dir, options.replace)?;
    let made = site.build(geometry, progress);
    if !matches!(made, Ok(Some(_))) {
        site.undo();
    }
    made
}

/// What [`create`] would do, without changing anything. Whether the file system takes direct I/O and
/// the system has `io_uring` is not tried.
///
/// # Errors
///
/// As [`create`].
pub fn plan(dir: &Path, options: &CreateOptions) -> Result<CreatePlan> {
    let geometry = options.geometry(crate::base::geometry::PAGE_LEN)?;
    let replaces = site::check(dir, options.replace, geometry.device_len())?;
    Ok(CreatePlan { geometry, replaces })
}

/// Writes the headers that make a device a volume: block 0 into the first slots, flushed.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io): the device is no volume then.
pub fn write_first_headers<D: Device + ?Sized>(device: &mut D, located: &Located) -> Result<()> {
    let now = SystemClock.now();
    let mut fetch = Fetcher::new(device);
    for slot in 0..FIRST_HEADERS {
        let nonce = Nonce::default();
        let header = BlockHeader {
            id: BlockId {
                volume: located.volume,
                slot,
                sequence: 0,
                nonce,
            },
            geometry: located.geometry,
            compat: 0,
            read_only_compat: 0,
            life: 0,
            written_utc_us: now.utc_us,
            written_boot_us: now.boot_us,
            boot_id: [0; 16],
            mark: Position::end_of(0),
            bad: Vec::new(),
            pins: Vec::new(),
            voids: Vec::new(),
        };
        let len = PAGE_LEN.max(located.geometry.unit_len() as usize);
        let mut page = Buffer::allocate(len)?;
        header.encode(&mut page);
        fetch.write(located.geometry.offset_of_slot(slot), len, page)?;
    }
    fetch.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_fit_the_capacity() {
        let mib = 1 << 20;
        let cases = [
            (16 * mib, mib),
            (100 * mib, mib),
            (500 * mib, 4 * mib),
            (GIB, 16 * mib),
            (1 << 40, 16 * mib),
            (20 << 40, 16 * mib),
            (100 << 40, 64 * mib),
            (4 * mib, mib / 4),
        ];
        for (len, block_len) in cases {
            assert_eq!(u64::from(default_block_len(len)), block_len, "{len} bytes");
        }
    }
}
