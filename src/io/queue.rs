//! What the kernel says about the disk below a file or partition: its limits, and whether it turns.
//!
//! Read from sysfs. Where sysfs says nothing (a network file system, a container without /sys),
//! careful defaults stand in; a wrong one costs speed, never data.

use std::path::PathBuf;

use super::buffer::HUGE_LEN;

/// The longest piece for a file, in bytes: file systems split as they need, and longer pieces are
/// no faster.
const FILE_PIECE_LEN: usize = 1 << 20;
/// The longest piece for a block device, in bytes.
const DEVICE_PIECE_LEN: usize = 2 << 20;

/// The block layer's queue for one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskQueue {
    /// The longest single transfer in bytes.
    max_len: usize,
    /// The most stretches of contiguous memory in one transfer.
    max_segment_count: usize,
    /// The longest such stretch in bytes.
    max_segment_len: usize,
    is_rotating: bool,
}

impl DiskQueue {
    const UNKNOWN: Self = Self {
        max_len: 512 << 10,
        max_segment_count: 128,
        max_segment_len: 64 << 10,
        is_rotating: false,
    };

    /// Looks up the disk with device number `major`:`minor`; partitions have their disk's queue.
    pub(super) fn of(major: u32, minor: u32) -> Self {
        let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        let number = |name: &str| -> Option<usize> {
            let disk = device.join("queue").join(name);
            let parent = device.join("..").join("queue").join(name);
            let text = std::fs::read_to_string(disk).or_else(|_| std::fs::read_to_string(parent));
            text.ok()?.trim().parse().ok().filter(|&number| number > 0)
        };
        let unknown = Self::UNKNOWN;
        Self {
            max_len: number("max_sectors_kb")
                .map_or(unknown.max_len, |kib| kib.saturating_mul(1024)),
            max_segment_count: number("max_segments").unwrap_or(unknown.max_segment_count),
            max_segment_len: number("max_segment_size").unwrap_or(unknown.max_segment_len),
            is_rotating: number("rotational") == Some(1),
        }
    }

    /// Whether seeking costs milliseconds.
    pub fn is_rotating(&self) -> bool {
        self.is_rotating
    }

    /// The longest piece in bytes that a block device takes without splitting it, a positive
    /// multiple of `unit_len`; `is_huge` says that buffers lie on huge pages. The kernel hands a
    /// transfer that it must split to a slower path.
    pub(super) fn device_piece_len(&self, unit_len: usize, is_huge: bool) -> usize {
        let contiguous_len = if is_huge { HUGE_LEN } else { 4096 };
        let segment_len = contiguous_len.min(self.max_segment_len);
        let len = self
            .max_segment_count
            .saturating_mul(segment_len)
            .min(self.max_len)
            .min(DEVICE_PIECE_LEN);
        (len - len % unit_len).max(unit_len)
    }

    /// The same for a file.
    pub(super) fn file_piece_len() -> usize {
        FILE_PIECE_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_respect_every_limit() {
        let queue = DiskQueue {
            max_len: 1280 << 10,
            max_segment_count: 128,
            max_segment_len: 65536,
            is_rotating: false,
        };
        assert_eq!(queue.device_piece_len(4096, false), 128 * 4096);
        assert_eq!(queue.device_piece_len(4096, true), 1280 << 10);
        let narrow = DiskQueue {
            max_len: 6000,
            ..queue
        };
        assert_eq!(narrow.device_piece_len(4096, true), 4096);
        assert_eq!(narrow.device_piece_len(65536, true), 65536);
    }

    #[test]
    fn an_unknown_disk_has_careful_limits() {
        assert_eq!(DiskQueue::of(u32::MAX, 0), DiskQueue::UNKNOWN);
    }
}
