//! Partitions by their PARTUUID: which device has it now, and whether a device still has it.
//!
//! Names such as `/dev/sdb1` change between boots; the PARTUUID is stored in the partition table
//! and does not. What is on a partition is not known here.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::direct::{self, Access, DataFile};
use super::disks::{self, BlockDevice, DeviceNumber};
use super::gpt::{self, Entry, PartUuid};
use crate::base::error::{Error, ErrorKind, Result};

/// The device that a PARTUUID names now.
///
/// libblkid is asked first, which needs no access to whole disks where udev runs; where it finds
/// nothing, or cannot be right, all partition tables that can be read are.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound) when no partition has it, or none that can be seen;
/// [`Io`](ErrorKind::Io) when the kernel does not list its devices.
pub fn find(partuuid: PartUuid) -> Result<BlockDevice> {
    let known = known_path(partuuid)
        .and_then(|path| BlockDevice::at(&path).ok().flatten())
        // A link or a cache may be older than the table.
        .filter(|device| entry_of(device).is_none_or(|entry| entry.partuuid == partuuid));
    if let Some(device) = known {
        return Ok(device);
    }
    let mut found = find_all(partuuid)?;
    found.pop().ok_or_else(|| {
        let text = format!("no partition has the PARTUUID {partuuid}");
        Error::new(ErrorKind::NotFound, text)
            .with_remedy("Check that the disk is connected; `camring devices` lists what is there")
    })
}

/// All devices whose tables name this PARTUUID: more than one where a disk was copied.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io) when the kernel does not list its devices.
pub fn find_all(partuuid: PartUuid) -> Result<Vec<BlockDevice>> {
    let mut devices = disks::list()?;
    devices.retain(|device| entry_of(device).is_some_and(|entry| entry.partuuid == partuuid));
    Ok(devices)
}

/// The entry of the partition `device` in the table of its disk; none where it is no partition of
/// a GPT, the disk may not be read, or the kernel does not know the table as it is now.
pub fn entry_of(device: &BlockDevice) -> Option<Entry> {
    let place = device.partition.as_ref()?;
    let disk = BlockDevice::named(&place.disk).ok()?;
    let mut entries = entries_of(&disk).ok()??.into_iter();
    entries.find(|entry| {
        let is_same = (entry.offset, entry.len) == (place.offset, device.len);
        entry.number == place.number && is_same
    })
}

/// The partitions in the GPT of `disk`; none where it has no GPT.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io) when it cannot be read.
pub fn entries_of(disk: &BlockDevice) -> Result<Option<Vec<Entry>>> {
    let at = |e| Error::io("read its partition table", e).at(disk.path.display());
    let file = File::open(&disk.path).map_err(at)?;
    gpt::read(&file, disk.len, disk.traits.sector_len).map_err(|e| e.at(disk.path.display()))
}

/// Opens the partition with this PARTUUID, for direct I/O.
///
/// # Errors
///
/// As [`find`] and [`direct::open_data`] have it.
pub fn open(partuuid: PartUuid, access: Access) -> Result<DataFile> {
    let device = find(partuuid)?;
    let file = direct::open_data(&device.path, access)?;
    // Names are given anew when a disk comes and goes: what was opened has to be what was found.
    let status = std::fs::metadata(&device.path);
    let opened = rustix::fs::fstat(&file)
        .map_err(|e| Error::io("examine it", e).at(device.path.display()))?;
    let is_found = DeviceNumber::from_raw(opened.st_rdev) == device.number;
    if is_found && status.is_ok_and(|status| status.rdev() == opened.st_rdev) {
        return Ok(file);
    }
    let path = device.path.display();
    let text = format!("{path} has become another device while it was opened");
    Err(Error::new(ErrorKind::NotFound, text).with_remedy("Try again"))
}

#[cfg(feature = "blkid")]
fn known_path(partuuid: PartUuid) -> Option<PathBuf> {
    let found = super::blkid::find_partition(&partuuid.to_string());
    found.ok().flatten()
}

/// Where udev puts links.
#[cfg(not(feature = "blkid"))]
fn known_path(partuuid: PartUuid) -> Option<PathBuf> {
    let link = PathBuf::from(format!("/dev/disk/by-partuuid/{partuuid}"));
    std::fs::canonicalize(link).ok()
}
