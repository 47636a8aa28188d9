//! Where the devices of a volume come from: every thread that reads or writes opens its own.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::base::error::Result;
use crate::io::Device;
use crate::io::buffer::BufferPool;
use crate::io::direct::{self, Access};
use crate::io::gpt::PartUuid;
use crate::io::partition;
use crate::io::ring::{RingDevice, RingOptions};
use crate::io::sim::SimDisk;

/// A place that holds the bytes of one volume.
pub trait Medium: Send + Sync + fmt::Debug {
    /// Opens it; buffers of `pool` are the fast ones. The device belongs to the thread that uses
    /// it first.
    ///
    /// # Errors
    ///
    /// [`Busy`](crate::ErrorKind::Busy) when someone else writes to it and `access` is for
    /// writing; [`NotFound`](crate::ErrorKind::NotFound),
    /// [`Unsupported`](crate::ErrorKind::Unsupported), [`Io`](crate::ErrorKind::Io).
    fn open(&self, access: Access, pool: &BufferPool) -> Result<Box<dyn Device>>;

    /// Whether someone writes to it now.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) for reading.
    fn is_being_written(&self) -> Result<bool>;

    /// What to call it in messages.
    fn name(&self) -> String;
}

/// A data file or block device.
#[derive(Clone, Debug)]
#[doc(alias = "dumpfile")]
pub struct FileMedium {
    path: PathBuf,
    options: RingOptions,
}

impl FileMedium {
    /// The file or device at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            options: RingOptions::default(),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Medium for FileMedium {
    fn open(&self, access: Access, pool: &BufferPool) -> Result<Box<dyn Device>> {
        let file = direct::open_data(&self.path, access)?;
        Ok(Box::new(RingDevice::new(file, pool, self.options)?))
    }

    fn is_being_written(&self) -> Result<bool> {
        direct::is_locked_by_writer(&self.path)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// A partition, looked up by its PARTUUID whenever it is opened: the name of its device may change.
#[derive(Clone, Debug)]
pub struct PartitionMedium {
    partuuid: PartUuid,
    options: RingOptions,
}

impl PartitionMedium {
    /// The partition with this PARTUUID.
    pub fn new(partuuid: PartUuid) -> Self {
        Self {
            partuuid,
            options: RingOptions::default(),
        }
    }
}

impl Medium for PartitionMedium {
    fn open(&self, access: Access, pool: &BufferPool) -> Result<Box<dyn Device>> {
        let file = partition::open(self.partuuid, access)?;
        Ok(Box::new(RingDevice::new(file, pool, self.options)?))
    }

    fn is_being_written(&self) -> Result<bool> {
        direct::is_locked_by_writer(&partition::find(self.partuuid)?.path)
    }

    fn name(&self) -> String {
        format!("partition {}", self.partuuid)
    }
}

/// A simulated disk.
#[derive(Clone, Debug)]
pub struct SimMedium(SimDisk);

impl SimMedium {
    /// The volume on `disk`.
    pub fn new(disk: SimDisk) -> Self {
        Self(disk)
    }
}

impl Medium for SimMedium {
    /// Takes no lock: a test opens what it wants to see.
    fn open(&self, _: Access, _: &BufferPool) -> Result<Box<dyn Device>> {
        Ok(Box::new(self.0.open()))
    }

    fn is_being_written(&self) -> Result<bool> {
        Ok(false)
    }

    fn name(&self) -> String {
        "simulated disk".to_owned()
    }
}
