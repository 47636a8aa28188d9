//! What disks and partitions a machine has, what is on them, and which may hold a volume.
//!
//! Looks only. Whether what was found speaks against formatting is decided in `suitable`.

pub mod suitable;

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use self::suitable::{Allowed, Content, Facts, Obstacle, obstacle};
use super::fetch::Fetcher;
use super::locate::locate;
use super::medium::{FileMedium, Medium};
use crate::base::error::{ErrorKind, Result};
use crate::block::{BlockHeader, DecodeError, PAGE_LEN};
use crate::io::align::Alignment;
use crate::io::buffer::{BufferPool, HUGE_LEN};
use crate::io::direct::Access;
use crate::io::disks::{self, BlockDevice, Uses};
use crate::io::gpt::{Entry, TypeId};
use crate::io::partition;

/// How much of each end of a device has to be zero for it to count as empty, in bytes.
const EMPTY_LEN: u64 = 1 << 20;

/// How closely a device is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Its first page, and what libblkid knows: a few reads.
    Brief,
    /// Also the first 256 MiB for a volume whose beginning is damaged.
    Thorough,
}

/// A disk or partition, and whether it may hold a volume.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The device.
    pub device: BlockDevice,
    /// Its place in the GPT of its disk; none for whole disks, and where that cannot be read.
    pub entry: Option<Entry>,
    /// What is known of it.
    pub facts: Facts,
    /// Why it may not be formatted, without anything allowed; none if it may.
    pub obstacle: Option<Obstacle>,
    /// What memory and offsets must be multiples of for direct I/O, in bytes, as the kernel has it.
    pub direct_io: Option<(u32, u32)>,
    /// Whether it is a disk with nothing on it, on which partitions can be made.
    pub is_blank_disk: bool,
}

impl Surveyed {
    /// The command that makes one swap partition of a blank disk; none for what is no blank disk.
    pub fn sfdisk_command(&self) -> Option<String> {
        self.is_blank_disk.then(|| {
            let (type_id, path) = (TypeId::LINUX_SWAP.id(), self.device.path.display());
            format!("printf 'label: gpt\\n,,{type_id}\\n' | sfdisk {path}")
        })
    }
}

/// Looks at all disks and partitions of the machine. Nothing is changed.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io) when the kernel does not list its devices. What cannot be read is told in
/// the list.
pub fn survey() -> Result<Vec<Surveyed>> {
    let devices = disks::list()?;
    let uses = Uses::now()?;
    let system_disks = uses.system_disks(&devices);
    let surveyed = devices.iter().map(|device| {
        let entry = partition::entry_of(device);
        let mut facts = facts_of(
            device,
            entry.as_ref(),
            &uses,
            system_disks.as_deref(),
            Look::Brief,
        );
        let is_candidate = obstacle(&facts, Allowed::default()).is_none();
        facts.is_held = is_candidate && is_held(&device.path);
        facts.copies = copies_of(device, entry.as_ref(), &devices);
        let is_parent = |other: &BlockDevice| {
            let place = other.partition.as_ref();
            place.is_some_and(|place| place.disk == device.name)
        };
        let is_blank_disk = facts.is_whole
            && matches!(facts.content, Content::Empty)
            && obstacle(&facts, Allowed::default()) == Some(Obstacle::WholeDisk)
            && !device.is_read_only
            && !devices.iter().any(is_parent);
        Surveyed {
            device: device.clone(),
            obstacle: obstacle(&facts, Allowed::default()),
            facts,
            entry,
            direct_io: File::open(&device.path)
                .ok()
                .and_then(Alignment::told_by_kernel),
            is_blank_disk,
        }
    });
    Ok(surveyed.collect())
}

/// What is known of one device that shall be formatted; the caller holds it, if anybody does.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io) when the kernel does not list its devices.
pub(super) fn facts_about(device: &BlockDevice, entry: Option<&Entry>) -> Result<Facts> {
    let devices = disks::list()?;
    let uses = Uses::now()?;
    let system_disks = uses.system_disks(&devices);
    let mut facts = facts_of(
        device,
        entry,
        &uses,
        system_disks.as_deref(),
        Look::Thorough,
    );
    facts.copies = copies_of(device, entry, &devices);
    Ok(facts)
}

fn facts_of(
    device: &BlockDevice,
    entry: Option<&Entry>,
    uses: &Uses,
    system_disks: Option<&[String]>,
    look: Look,
) -> Facts {
    let disk = device.disk_name();
    let unit_len = u64::from(device.traits.physical_sector_len).max(PAGE_LEN as u64);
    let place = device.partition.as_ref();
    let table = place.map(|place| {
        let disk = BlockDevice::named(&place.disk);
        disk.and_then(|disk| partition::entries_of(&disk))
    });
    Facts {
        is_whole: device.partition.is_none(),
        type_id: entry.map(|entry| entry.type_id),
        table_error: table.and_then(Result::err).map(|e| e.to_string()),
        copies: Vec::new(),
        is_misaligned: place.is_some_and(|place| !place.offset.is_multiple_of(unit_len)),
        is_read_only: device.is_read_only,
        mounts: uses.places_of(device.number).map(PathBuf::from).collect(),
        is_swap: uses.is_swap(device.number),
        holders: device.holders.clone(),
        is_held: false,
        is_on_system_disk: system_disks.map(|disks| disks.iter().any(|name| name == disk)),
        content: content_of(&device.path, look)
            .unwrap_or_else(|e| Content::Unreadable(e.to_string())),
    }
}

/// The other devices with the PARTUUID of `entry`.
fn copies_of(device: &BlockDevice, entry: Option<&Entry>, devices: &[BlockDevice]) -> Vec<PathBuf> {
    let Some(entry) = entry else {
        return Vec::new();
    };
    let others = devices.iter().filter(|other| other.number != device.number);
    let same = others.filter(|other| {
        let found = partition::entry_of(other);
        found.is_some_and(|found| found.partuuid == entry.partuuid)
    });
    same.map(|other| other.path.clone()).collect()
}

/// Whether somebody has the device at `path` open for himself alone, as mounts and RAID do.
fn is_held(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
    matches!(
        rustix::fs::open(path, flags, Mode::empty()),
        Err(Errno::BUSY)
    )
}

/// What is on the device at `path`.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io) when it cannot be read;
/// [`Unsupported`](ErrorKind::Unsupported) without the feature `blkid`.
pub fn content_of(path: &Path, look: Look) -> Result<Content> {
    let signatures = signatures(path)?;
    let foreign: Vec<&String> = signatures.iter().filter(|name| !is_swap(name)).collect();
    if !foreign.is_empty() {
        let names: Vec<&str> = foreign.into_iter().map(String::as_str).collect();
        return Ok(Content::Foreign(names.join(" and ")));
    }
    let pool = BufferPool::new(1, HUGE_LEN)?;
    let mut device = FileMedium::new(path).open(Access::Read, &pool)?;
    let mut fetch = Fetcher::new(device.as_mut());
    if let Some(which) = volume_on(&mut fetch, look)? {
        return Ok(Content::Volume(which));
    }
    if !signatures.is_empty() {
        return Ok(Content::Swap);
    }
    let len = EMPTY_LEN.min(fetch.device_len()) as usize;
    for offset in [0, fetch.device_len() - len as u64] {
        if fetch.read(offset, len)?.iter().any(|byte| *byte != 0) {
            return Ok(Content::Unrecognized);
        }
    }
    Ok(Content::Empty)
}

/// The volume on a device, in words.
fn volume_on<D: crate::io::Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    look: Look,
) -> Result<Option<String>> {
    if fetch.device_len() < PAGE_LEN as u64 {
        return Ok(None);
    }
    let later = || "volume of a later release".to_owned();
    match BlockHeader::decode(&fetch.read(0, PAGE_LEN)?) {
        Ok(header) => return Ok(Some(format!("volume {}", header.id.volume))),
        Err(DecodeError::Version(_)) => return Ok(Some(later())),
        Err(_) if look == Look::Brief => return Ok(None),
        Err(_) => {}
    }
    match locate(fetch) {
        Ok(located) => Ok(Some(format!("volume {}", located.volume))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == ErrorKind::Unsupported => Ok(Some(later())),
        Err(e) if e.kind() == ErrorKind::Damaged => {
            Ok(Some("volume that was cut short".to_owned()))
        }
        Err(e) => Err(e),
    }
}

fn is_swap(name: &str) -> bool {
    name == "swap" || name.starts_with("swap \"")
}

#[cfg(feature = "blkid")]
fn signatures(path: &Path) -> Result<Vec<String>> {
    let found = crate::io::blkid::signatures(path)?;
    Ok(found.iter().map(ToString::to_string).collect())
}

/// Without libblkid nobody can tell a file system from free space.
#[cfg(not(feature = "blkid"))]
fn signatures(_path: &Path) -> Result<Vec<String>> {
    let text = "this build cannot recognise what a device holds";
    Err(crate::base::error::Error::new(ErrorKind::Unsupported, text)
        .with_remedy("Build camring with the feature `blkid`"))
}
