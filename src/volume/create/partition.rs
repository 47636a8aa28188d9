//! Creating a volume on a partition: nothing is written before everything that speaks against it
//! was looked for, and the partition is held by nobody else from then on.

use std::path::Path;

use super::site::Site;
use super::{VolumeSize, default_block_len, write_first_headers};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::{Geometry, MIN_BLOCK_LEN, VolumeId};
use crate::io::Device;
use crate::io::buffer::{Buffer, BufferPool, HUGE_LEN};
use crate::io::direct::{self, Access, DataFile};
use crate::io::disks::BlockDevice;
use crate::io::gpt::{Entry, PartUuid};
use crate::io::partition;
use crate::io::ring::{RingDevice, RingOptions};
use crate::volume::config::{CONFIG_NAME, Config, Place};
use crate::volume::devices::facts_about;
use crate::volume::devices::suitable::{Allowed, Content, obstacle};
use crate::volume::fetch::Fetcher;
use crate::volume::locate::{Located, locate};

/// What is zeroed before the first headers are written, in bytes: systems with pages of 64 KiB have
/// the signature of swap as far behind. A block is at least as long.
const SIGNATURES_LEN: usize = MIN_BLOCK_LEN as usize;
/// Where two headers that agree make a volume, in bytes.
const SEARCHED_LEN: u64 = 256 << 20;

/// How a volume is created on a partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartitionOptions {
    /// Its size; by default all of the partition.
    pub size: Option<VolumeSize>,
    /// Length of a block in bytes; by default as [`CreateOptions`](super::CreateOptions) has it.
    pub block_len: Option<u32>,
    /// What may be done that is refused otherwise.
    pub allowed: Allowed,
    /// Whether to tell the disk first that the partition's old content is not needed.
    pub discard: bool,
}

/// A volume that can be created on a partition: it was looked at, nothing speaks against it, and
/// nobody else can use it while this exists. Nothing was written to it.
#[derive(Debug)]
pub struct Formatting<'d> {
    site: Site<'d>,
    device: BlockDevice,
    entry: Entry,
    content: Content,
    file: DataFile,
    geometry: Geometry,
    discard: bool,
}

impl<'d> Formatting<'d> {
    /// Looks at the partition with this PARTUUID, and at `dir`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ErrorKind::NotFound): there is no such partition.
    /// - [`Invalid`](ErrorKind::Invalid): it is no GPT partition of type Linux swap, or the size is
    ///   out of range.
    /// - [`Exists`](ErrorKind::Exists): something is on it, or in `dir`; it is on the disk of the
    ///   running system.
    /// - [`Busy`](ErrorKind::Busy): it is mounted, active swap, or held by somebody else.
    /// - [`Unsupported`](ErrorKind::Unsupported): this build has no libblkid.
    /// - [`Io`](ErrorKind::Io).
    pub fn prepare(dir: &'d Path, partuuid: PartUuid, options: &PartitionOptions) -> Result<Self> {
        let device = partition::find(partuuid)?;
        let entry = partition::entry_of(&device);
        let facts = facts_about(&device, entry.as_ref())?;
        if let Some(obstacle) = obstacle(&facts, options.allowed) {
            return Err(obstacle.into_error(&device.path));
        }
        let file = partition::open(partuuid, Access::Write)?;
        // Once more: only now nobody else can change anything.
        let facts = facts_about(&device, entry.as_ref())?;
        if let Some(obstacle) = obstacle(&facts, options.allowed) {
            return Err(obstacle.into_error(&device.path));
        }
        let is_same = |entry: &Entry| entry.partuuid == partuuid && entry.len == file.len();
        let entry = entry.filter(is_same).ok_or_else(|| {
            let text = format!(
                "{} is not what its partition table says",
                device.path.display()
            );
            Error::new(ErrorKind::Invalid, text).with_remedy("Reconnect the disk, and try again")
        })?;
        let geometry = geometry(&file, options)?;
        let site = Site::prepare(dir, options.allowed.replace)?;
        if site.holds_data() {
            site.undo();
            let text = format!("{} holds a volume in a file", dir.display());
            return Err(Error::new(ErrorKind::Exists, text)
                .with_remedy("Choose another directory for the volume on the partition"));
        }
        Ok(Self {
            site,
            device,
            entry,
            content: facts.content,
            file,
            geometry,
            discard: options.discard,
        })
    }

    /// The partition.
    pub fn device(&self) -> &BlockDevice {
        &self.device
    }

    /// The partition as the table of its disk has it.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// What is on it, and will be lost.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The measures of the volume.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Leaves everything as it is.
    pub fn cancel(self) {
        self.site.undo();
    }

    /// Creates the volume.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io): the old content of the partition is lost, as far as it was reached.
    /// [`Unsupported`](ErrorKind::Unsupported): the disk cannot discard, or the system has no
    /// `io_uring`; nothing was written.
    pub fn run(self) -> Result<Located> {
        let Self {
            site,
            device,
            entry,
            content,
            file,
            geometry,
            discard,
        } = self;
        let made = write(file, &content, geometry, discard)
            .map_err(|e| e.at(device.path.display()))
            .and_then(|located| {
                site.remove_caches()?;
                let place = Place::Partition(entry.partuuid);
                Config::new(&located, site.dir(), &place).save(site.dir())?;
                direct::sync_directory_of(&site.dir().join(CONFIG_NAME))?;
                Ok(located)
            });
        if made.is_err() {
            site.undo();
        }
        made
    }
}

fn geometry(file: &DataFile, options: &PartitionOptions) -> Result<Geometry> {
    let size = options.size.unwrap_or(VolumeSize::Bytes(file.len()));
    let (block_len, slot_count) = match size {
        VolumeSize::Bytes(len) => {
            let block_len = options.block_len.unwrap_or_else(|| default_block_len(len));
            (block_len, len / u64::from(block_len.max(1)))
        }
        VolumeSize::Blocks(count) => {
            let block_len = options
                .block_len
                .unwrap_or_else(|| default_block_len(file.len()));
            (block_len, count)
        }
    };
    let geometry = Geometry::new(block_len, slot_count, file.alignment().unit_len())?;
    if geometry.device_len() > file.len() {
        let (wanted, len) = (geometry.device_len(), file.len());
        let text = format!("{wanted} bytes: the partition has {len}");
        return Err(Error::invalid(text).with_remedy("Choose a smaller size, or leave it out"));
    }
    Ok(geometry)
}

/// Makes a volume of the partition that `file` is.
fn write(file: DataFile, content: &Content, geometry: Geometry, discard: bool) -> Result<Located> {
    let located = Located {
        volume: VolumeId::random()?,
        geometry,
    };
    if discard {
        file.discard()?;
    }
    let pool = BufferPool::new(1, HUGE_LEN)?;
    let mut device = RingDevice::new(file, &pool, RingOptions::default())?;
    if matches!(content, Content::Volume(_)) {
        erase_headers(&mut device)?;
    }
    let mut fetch = Fetcher::new(&mut device);
    fetch.write(0, SIGNATURES_LEN, Buffer::allocate(SIGNATURES_LEN)?)?;
    fetch.flush()?;
    write_first_headers(&mut device, &located)?;
    Ok(located)
}

/// Zeroes the headers by which the old volume could be found again, in place of the new one if
/// that one's first headers are damaged some day.
fn erase_headers(device: &mut RingDevice) -> Result<()> {
    let unit_len = device.unit_len() as usize;
    let mut fetch = Fetcher::new(device);
    let Ok(old) = locate(&mut fetch) else {
        return Ok(());
    };
    let geometry = old.geometry;
    for slot in 0..geometry.slot_count() {
        let offset = geometry.offset_of_slot(slot);
        if offset + unit_len as u64 > SEARCHED_LEN.min(fetch.device_len()) {
            break;
        }
        fetch.write(offset, unit_len, Buffer::allocate(unit_len)?)?;
    }
    Ok(())
}
