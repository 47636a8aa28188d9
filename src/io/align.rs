//! What direct I/O demands of offsets, lengths and memory.
//!
//! The kernel is asked where it can answer (`statx`, Linux 6.1); sector sizes of block devices are
//! the older answer. How buffers meet the demand is `buffer`'s business.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, StatxFlags};

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::PAGE_LEN;

/// The largest alignment unit that a volume can have, in bytes.
const MAX_UNIT_LEN: u32 = 64 << 10;

/// The alignment that an open file or block device demands, never less than a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    unit_len: u32,
}

impl Alignment {
    /// The alignment where nothing more is known: a page of 4 KiB.
    pub const PAGE: Self = Self { unit_len: PAGE_LEN };

    /// Asks the kernel about an open regular file or block device.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) when the file system refuses direct I/O for this
    /// file, or demands more than a unit of 64 KiB or memory aligned to more than a page;
    /// [`Io`](ErrorKind::Io) when the kernel does not answer.
    pub fn of(file: impl AsFd, is_block_device: bool) -> Result<Self> {
        let file = file.as_fd();
        let sector_len = if is_block_device {
            rustix::fs::ioctl_blksszget(file)
                .map_err(|e| Error::io("ask for the sector size", e))?
        } else {
            PAGE_LEN
        };
        let status = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
            .map_err(|e| Error::io("ask for the alignment of direct I/O", e))?;
        if status.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
            return Self::from_demands(sector_len, PAGE_LEN, PAGE_LEN);
        }
        Self::from_demands(
            sector_len,
            status.stx_dio_offset_align,
            status.stx_dio_mem_align,
        )
    }

    /// What the kernel says of an open file or block device: what memory and what offsets must be
    /// multiples of for direct I/O, in bytes; none where it does not say.
    pub fn told_by_kernel(file: impl AsFd) -> Option<(u32, u32)> {
        let flags = StatxFlags::DIOALIGN;
        let status = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, flags).ok()?;
        let is_told = status.stx_mask & flags.bits() != 0;
        is_told.then_some((status.stx_dio_mem_align, status.stx_dio_offset_align))
    }

    fn from_demands(sector_len: u32, offset_align: u32, memory_align: u32) -> Result<Self> {
        if offset_align == 0 || memory_align == 0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the file system does not allow direct I/O on this file",
            )
            .with_remedy("Put the volume on ext4, XFS or a raw partition, without encryption"));
        }
        let unit_len = PAGE_LEN.max(sector_len).max(offset_align);
        if !unit_len.is_power_of_two() || unit_len > MAX_UNIT_LEN || memory_align > PAGE_LEN {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "direct I/O demands offsets aligned to {unit_len} bytes and memory aligned to \
                     {memory_align} bytes; camring can do {MAX_UNIT_LEN} and {PAGE_LEN}"
                ),
            ));
        }
        Ok(Self { unit_len })
    }

    /// What offsets and lengths must be multiples of, in bytes: a power of two from 4 KiB to
    /// 64 KiB.
    pub fn unit_len(&self) -> u32 {
        self.unit_len
    }

    /// Whether direct I/O at `offset` of `len` bytes is possible.
    pub fn fits(&self, offset: u64, len: usize) -> bool {
        let unit_len = u64::from(self.unit_len);
        offset.is_multiple_of(unit_len) && (len as u64).is_multiple_of(unit_len)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_a_page_or_more() {
        let unit_len = |sector, offset| {
            let alignment = Alignment::from_demands(sector, offset, 512).unwrap();
            alignment.unit_len()
        };
        assert_eq!(unit_len(512, 512), 4096);
        assert_eq!(unit_len(4096, 512), 4096);
        assert_eq!(unit_len(512, 16384), 16384);
        assert_eq!(unit_len(65536, 4096), 65536);
    }

    #[test]
    fn demands_that_cannot_be_met_are_refused() {
        for (sector, offset, memory) in [
            (512, 0, 0),
            (512, 131_072, 4),
            (512, 6144, 4),
            (512, 512, 8192),
        ] {
            let error = Alignment::from_demands(sector, offset, memory).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
    }

    #[test]
    fn a_request_fits_when_both_its_ends_lie_on_units() {
        assert!(Alignment::PAGE.fits(8192, 4096));
        assert!(!Alignment::PAGE.fits(8192, 4095));
        assert!(!Alignment::PAGE.fits(512, 4096));
    }
}
