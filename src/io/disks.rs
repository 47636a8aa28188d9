//! What the kernel says of its block devices: disks and partitions, what lies on top of them, and
//! which of them are mounted, swap, or under the running system.
//!
//! Read from sysfs and procfs, without opening a device. What is stored on them is not known here.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::ErrorKind as IoKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::base::error::{Error, ErrorKind, Result};

/// Where the kernel lists block devices.
const SYSFS: &str = "/sys/class/block";
/// The unit of sizes in sysfs, whatever the device's own sectors are. Bytes.
const SYSFS_SECTOR_LEN: u64 = 512;
/// How many layers (encryption on RAID on ...) are looked through.
const MAX_LAYERS: usize = 16;
/// The places without which a system does not run.
const SYSTEM_PLACES: [&str; 5] = ["/", "/usr", "/boot", "/boot/efi", "/efi"];

/// What the kernel calls a device by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// Its driver.
    pub major: u32,
    /// Its number there.
    pub minor: u32,
}

impl DeviceNumber {
    /// From the form in which `stat` has it.
    pub fn from_raw(raw: u64) -> Self {
        Self {
            major: rustix::fs::major(raw),
            minor: rustix::fs::minor(raw),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

/// Where a partition lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPlace {
    /// The kernel's name of its disk.
    pub disk: String,
    /// Its number there, from 1.
    pub number: u32,
    /// Where it begins, in bytes.
    pub offset: u64,
}

/// The properties of a disk; partitions have those of their disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskTraits {
    /// Length of a logical sector in bytes: the least that a transfer can be.
    pub sector_len: u32,
    /// Length of a physical sector in bytes: the least that the disk writes at once.
    pub physical_sector_len: u32,
    /// Whether seeking costs milliseconds.
    pub is_rotating: bool,
    /// Whether it keeps what was written in a cache that is lost with the power, until a flush.
    pub has_volatile_cache: bool,
    /// Whether it takes writes that go through that cache ("force unit access").
    pub has_fua: bool,
}

/// A disk or partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockDevice {
    /// The kernel's name of it, such as `sda2`.
    pub name: String,
    /// Its device file. The name may be another one after the next boot.
    pub path: PathBuf,
    /// Its number.
    pub number: DeviceNumber,
    /// Length in bytes.
    pub len: u64,
    /// Where it lies on its disk; none for a whole disk.
    pub partition: Option<PartitionPlace>,
    /// Whether it cannot be written to.
    pub is_read_only: bool,
    /// The devices that are made of it (`dm-0`, `md127`).
    pub holders: Vec<String>,
    /// The devices that it is made of.
    pub parts: Vec<String>,
    /// The disk's properties.
    pub traits: DiskTraits,
}

impl BlockDevice {
    /// The kernel's name of the disk: the device's own, unless it is a partition.
    pub fn disk_name(&self) -> &str {
        let partition = self.partition.as_ref();
        partition.map_or(&self.name, |place| &place.disk)
    }

    /// The device that the kernel calls `name`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when there is none of that name (any more);
    /// [`Io`](ErrorKind::Io).
    pub fn named(name: &str) -> Result<Self> {
        let folder = Path::new(SYSFS).join(name);
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|e| match e.kind() {
                IoKind::NotFound => gone(&path),
                _ => Error::io(format_args!("read {}", path.display()), e),
            })
        };
        let odd = |what: &str| gone(&folder.join(what));
        let number = DeviceNumber::parse(&read("dev")?).ok_or_else(|| odd("dev"))?;
        let sectors = parse_number(&read("size")?).ok_or_else(|| odd("size"))?;
        let uevent = read("uevent")?;
        let file_name = uevent
            .lines()
            .find_map(|line| line.strip_prefix("DEVNAME="));
        let partition = match fs::read_to_string(folder.join("partition")) {
            Ok(text) => Some(PartitionPlace {
                disk: parent_name(&folder).ok_or_else(|| odd(".."))?,
                number: parse_number(&text)
                    .and_then(|number| u32::try_from(number).ok())
                    .ok_or_else(|| odd("partition"))?,
                offset: parse_number(&read("start")?)
                    .and_then(|start| start.checked_mul(SYSFS_SECTOR_LEN))
                    .ok_or_else(|| odd("start"))?,
            }),
            Err(_) => None,
        };
        let disk = partition.as_ref().map_or(name, |place| &place.disk);
        Ok(Self {
            name: name.to_owned(),
            path: Path::new("/dev").join(file_name.unwrap_or(name)),
            number,
            len: sectors.saturating_mul(SYSFS_SECTOR_LEN),
            is_read_only: parse_number(&read("ro")?) == Some(1),
            holders: names_in(&folder.join("holders")),
            parts: names_in(&folder.join("slaves")),
            traits: DiskTraits::of(disk),
            partition,
        })
    }

    /// The device with this number.
    ///
    /// # Errors
    ///
    /// As [`named`](Self::named).
    pub fn numbered(number: DeviceNumber) -> Result<Self> {
        let DeviceNumber { major, minor } = number;
        let link = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        let folder = fs::canonicalize(&link).map_err(|_| gone(&link))?;
        let name = folder.file_name().and_then(|name| name.to_str());
        Self::named(name.ok_or_else(|| gone(&link))?)
    }

    /// The device whose file, or a link to it, is at `path`; none if something else is there.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) when that cannot be found out; else as [`named`](Self::named).
    pub fn at(path: &Path) -> Result<Option<Self>> {
        let status = fs::metadata(path)
            .map_err(|e| Error::io(format_args!("examine {}", path.display()), e))?;
        if !status.file_type().is_block_device() {
            return Ok(None);
        }
        Self::numbered(DeviceNumber::from_raw(status.rdev())).map(Some)
    }
}

impl DiskTraits {
    fn of(disk: &str) -> Self {
        let queue = Path::new(SYSFS).join(disk).join("queue");
        let text = |name: &str| fs::read_to_string(queue.join(name)).unwrap_or_default();
        let number = |name: &str| parse_number(&text(name)).unwrap_or_default();
        let len = |name: &str| u32::try_from(number(name)).unwrap_or_default();
        Self {
            sector_len: len("logical_block_size"),
            physical_sector_len: len("physical_block_size"),
            is_rotating: number("rotational") == 1,
            has_volatile_cache: text("write_cache").trim() == "write back",
            has_fua: number("fua") == 1,
        }
    }
}

/// All disks and partitions that have any bytes, by name.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io) when the kernel does not list them.
pub fn list() -> Result<Vec<BlockDevice>> {
    let entries =
        fs::read_dir(SYSFS).map_err(|e| Error::io(format_args!("look into {SYSFS}"), e))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // One that has gone since is none.
    let mut devices: Vec<_> = names
        .filter_map(|name| BlockDevice::named(&name).ok())
        .filter(|device| device.len > 0)
        .collect();
    devices.sort_by(|a, b| by_place(a).cmp(&by_place(b)));
    Ok(devices)
}

/// A disk comes before its partitions, and those by number.
fn by_place(device: &BlockDevice) -> (&str, u32) {
    let number = device.partition.as_ref().map_or(0, |place| place.number);
    (device.disk_name(), number)
}

/// What is mounted, and what is swap.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    mounts: Vec<(DeviceNumber, PathBuf)>,
    swaps: Vec<DeviceNumber>,
}

impl Uses {
    /// What is in use now, as this process sees it.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) when the kernel does not say so.
    pub fn now() -> Result<Self> {
        let read = |path: &str| {
            fs::read(path)
                .map_err(|e| Error::io(format_args!("find out what is in use: {path}"), e))
        };
        let mounts = parse_mounts(&read("/proc/self/mountinfo")?);
        let mounts = mounts.into_iter().map(|mount| {
            // Some file systems have a number of their own, but their source is the device.
            let number = number_of(&mount.source).filter(|_| mount.number.major == 0);
            (number.unwrap_or(mount.number), mount.place)
        });
        // A kernel without swap has no such file.
        let swaps = fs::read("/proc/swaps").unwrap_or_default();
        let swaps = parse_swaps(&swaps);
        Ok(Self {
            mounts: mounts.collect(),
            swaps: swaps.iter().filter_map(|path| number_of(path)).collect(),
        })
    }

    /// Where the device with this number is mounted.
    pub fn places_of(&self, number: DeviceNumber) -> impl Iterator<Item = &Path> {
        let mounts = self.mounts.iter().filter(move |(own, _)| *own == number);
        mounts.map(|(_, place)| place.as_path())
    }

    /// Whether the device with this number is active swap.
    pub fn is_swap(&self, number: DeviceNumber) -> bool {
        self.swaps.contains(&number)
    }

    /// The names of the disks that the running system lies on; none where that cannot be told, in
    /// a container for instance.
    pub fn system_disks(&self, devices: &[BlockDevice]) -> Option<Vec<String>> {
        let mut disks = Vec::new();
        for place in SYSTEM_PLACES {
            // The last mount hides those before it.
            let mut mounts = self.mounts.iter().rev();
            let mount = mounts.find(|(_, mounted)| mounted == Path::new(place));
            let Some((number, _)) = mount else { continue };
            let before = disks.len();
            if let Some(device) = devices.iter().find(|device| device.number == *number) {
                add_disks_below(device, devices, MAX_LAYERS, &mut disks);
            }
            if place == "/" && disks.len() == before {
                return None;
            }
        }
        (!disks.is_empty()).then_some(disks)
    }
}

fn add_disks_below(
    device: &BlockDevice,
    devices: &[BlockDevice],
    layers: usize,
    disks: &mut Vec<String>,
) {
    let named = |name: &str| devices.iter().find(|device| device.name == name);
    let disk = named(device.disk_name()).unwrap_or(device);
    if disk.parts.is_empty() || layers == 0 {
        disks.push(disk.name.clone());
        return;
    }
    for part in disk.parts.iter().filter_map(|name| named(name)) {
        add_disks_below(part, devices, layers - 1, disks);
    }
}

struct Mount {
    number: DeviceNumber,
    place: PathBuf,
    source: PathBuf,
}

/// The lines of /proc/self/mountinfo (proc(5)).
fn parse_mounts(text: &[u8]) -> Vec<Mount> {
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = std::str::from_utf8(fields.nth(2)?).ok()?;
        let place = unescape(fields.nth(1)?);
        // Optional fields end with a hyphen; then come the kind of the file system and its source.
        fields.find(|field| *field == b"-")?;
        Some(Mount {
            number: DeviceNumber::parse(number)?,
            place,
            source: unescape(fields.nth(1)?),
        })
    };
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(mount).collect()
}

/// The paths in /proc/swaps, whose first line has titles.
fn parse_swaps(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|byte| *byte == b'\n').skip(1);
    let first = lines.filter_map(|line| line.split(u8::is_ascii_whitespace).next());
    first
        .filter(|path| !path.is_empty())
        .map(unescape)
        .collect()
}

/// The kernel writes blanks and backslashes in paths as `\040`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let byte = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = tail.get(3..).filter(|_| byte.is_some()).unwrap_or(tail);
    }
    OsString::from_vec(bytes).into()
}

fn number_of(path: &Path) -> Option<DeviceNumber> {
    let status = fs::metadata(path).ok()?;
    let is_device = status.file_type().is_block_device();
    is_device.then(|| DeviceNumber::from_raw(status.rdev()))
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.collect()
}

/// The disk of the partition whose folder in sysfs this is.
fn parent_name(folder: &Path) -> Option<String> {
    let folder = fs::canonicalize(folder).ok()?;
    let name = folder.parent()?.file_name()?.to_str()?;
    Some(name.to_owned())
}

fn parse_number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn gone(path: &Path) -> Error {
    let text = format!(
        "there is no such block device (any more): {}",
        path.display()
    );
    Error::new(ErrorKind::NotFound, text)
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests;
