//! Opening, locking and creating the file or partition that holds a volume's blocks.
//!
//! All access is direct (`O_DIRECT`): what is read is what the device holds, and writing leaves
//! the page cache to others. Transfers are `ring`'s business; what lies in the file is not known
//! here.
//!
//! A writer holds an exclusive `flock` on the data descriptor itself, and opens block devices
//! with `O_EXCL`, which mounted file systems and active swap hold too. Both belong to the open
//! file, not to the process: after a crash the kernel keeps them until the dead process's last
//! transfer has ended, some 20 to 30 ms later. So opening tries again for a second, and two
//! writers can never overlap, not even by a transfer that was under way.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind as IoKind;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, SeekFrom};
use rustix::io::Errno;

use super::align::Alignment;
use super::buffer::Buffer;
use super::queue::DiskQueue;
use crate::base::error::{Error, ErrorKind, Result};

/// How long opening waits for the end of another process.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// The pause between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// What is zeroed by one write, in bytes.
const ZERO_LEN: usize = 4 << 20;
/// What is zeroed by one call that moves no data, in bytes: so that progress shows.
const ZERO_STEP_LEN: u64 = 1 << 30;
/// `FALLOC_FL_WRITE_ZEROES` of Linux 6.17: allocated, written and zero, without moving data.
const WRITE_ZEROES: FallocateFlags = FallocateFlags::from_bits_retain(0x80);

/// What a data file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading. Takes no lock: any number of readers, also beside a writer.
    Read,
    /// Reading and writing, alone.
    Write,
}

/// What holds the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// A regular file.
    File,
    /// A disk or partition.
    BlockDevice,
}

/// An open file or block device for direct I/O. A writer's lock ends when it is dropped.
#[derive(Debug)]
pub struct DataFile {
    file: File,
    path: PathBuf,
    access: Access,
    kind: DataKind,
    len: u64,
    alignment: Alignment,
    queue: DiskQueue,
}

/// Opens the file or block device at `path`, for direct I/O.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound); [`Busy`](ErrorKind::Busy) when another writer, a mounted
/// file system or active swap holds it for longer than a second;
/// [`Unsupported`](ErrorKind::Unsupported) when the file system refuses direct I/O;
/// [`Invalid`](ErrorKind::Invalid) when it is neither file nor block device;
/// [`Io`](ErrorKind::Io) for all else. Nothing was changed.
pub fn open_data(path: &Path, access: Access) -> Result<DataFile> {
    let is_block_device = kind_of(path)? == DataKind::BlockDevice;
    let mut flags = OFlags::DIRECT | OFlags::CLOEXEC;
    if access == Access::Write && is_block_device {
        flags |= OFlags::EXCL;
    }
    let file = patiently(|| open(path, access, flags)).map_err(|e| open_error(e, path))?;
    let file = lock(file, path, access)?;
    DataFile::examine(file, path, access)
}

/// Creates a file of `len` bytes at `path`, open for writing and locked: every byte is written
/// as zero, so that recording never meets a hole, and all is on stable storage. `progress` is
/// told the bytes done and the bytes in all; it is called at least once.
///
/// # Errors
///
/// [`Exists`](ErrorKind::Exists) when there is something at `path`, which stays as it is;
/// [`Unsupported`](ErrorKind::Unsupported) when the file system refuses direct I/O;
/// [`Io`](ErrorKind::Io) for all else, too little space among it: refused at once when it is
/// plain. The file is removed again.
pub fn create_data(path: &Path, len: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<DataFile> {
    let mut go_on = |done, total| {
        progress(done, total);
        ControlFlow::Continue(())
    };
    let made = create_data_until(path, len, &mut go_on)?;
    made.ok_or_else(|| Error::new(ErrorKind::Failed, "the creation was stopped").at(path.display()))
}

/// As [`create_data`]; when `progress` breaks, the file is removed again and there is none.
///
/// # Errors
///
/// As [`create_data`].
pub fn create_data_until(
    path: &Path,
    len: u64,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Option<DataFile>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| create_error(e, path))?;
    let made = fill_new(file, path, len, progress);
    // Made above, and by nobody else (`create_new`).
    if !matches!(made, Ok(Some(_)))
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(path = %path.display(), %error, "a partial data file was left behind");
    }
    made
}

fn fill_new(
    file: File,
    path: &Path,
    len: u64,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Option<DataFile>> {
    let at = |error: Error| error.at(path.display());
    rustix::fs::fcntl_setfl(&file, OFlags::DIRECT).map_err(|e| open_error(e, path))?;
    let file = lock(file, path, Access::Write)?;
    let space = rustix::fs::fstatvfs(&file).map_err(|e| at(Error::io("ask for free space", e)))?;
    let free_len = space.f_bavail.saturating_mul(space.f_frsize);
    if len > free_len {
        return Err(no_space(path, len, free_len));
    }
    let mut data = DataFile::examine(file, path, Access::Write)?;
    if !data.alignment.fits(len, 0) {
        let unit_len = data.alignment.unit_len();
        return Err(at(Error::invalid(format!(
            "{len} bytes: must be a multiple of {unit_len}"
        ))));
    }
    let written = data.write_zeroes(len, progress).map_err(|e| match e {
        Errno::NOSPC => no_space(path, len, free_len),
        e => at(Error::io(format!("write {len} bytes of zeroes"), e)),
    })?;
    if written.is_break() {
        return Ok(None);
    }
    rustix::fs::fsync(&data.file)
        .map_err(|e| at(Error::io("put the file on stable storage", e)))?;
    sync_directory_of(path)?;
    data.len = len;
    Ok(Some(data))
}

/// Whether another opening of `path`, in this process or another one, holds it for writing.
///
/// # Errors
///
/// As [`open_data`] for reading.
pub fn is_locked_by_writer(path: &Path) -> Result<bool> {
    let data = open_data(path, Access::Read)?;
    match rustix::fs::flock(&data.file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(e) => Err(Error::io("test the lock", e).at(path.display())),
    }
}

/// Puts the directory entry of `path` on stable storage.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io) when the directory cannot be opened or synchronised.
pub fn sync_directory_of(path: &Path) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| Error::io("put the directory on stable storage", e).at(directory.display()))
}

impl DataFile {
    fn examine(file: File, path: &Path, access: Access) -> Result<Self> {
        let at = |error: Error| error.at(path.display());
        let status = file
            .metadata()
            .map_err(|e| at(Error::io("examine the file", e)))?;
        let kind = kind_from(&status, path)?;
        // Some devices have no length in their status; the end of all is where a seek finds it.
        let len = rustix::fs::seek(&file, SeekFrom::End(0))
            .map_err(|e| at(Error::io("find the end", e)))?;
        let is_block_device = kind == DataKind::BlockDevice;
        let number = if is_block_device {
            status.rdev()
        } else {
            status.dev()
        };
        Ok(Self {
            alignment: Alignment::of(&file, is_block_device).map_err(at)?,
            queue: DiskQueue::of(rustix::fs::major(number), rustix::fs::minor(number)),
            file,
            path: path.to_owned(),
            access,
            kind,
            len,
        })
    }

    /// Length in bytes when it was opened. Compare it with what the volume needs: a file may have
    /// been cut short.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is a file or a block device.
    pub fn kind(&self) -> DataKind {
        self.kind
    }

    /// What it was opened for.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Where it was opened; for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What direct I/O demands.
    pub fn alignment(&self) -> Alignment {
        self.alignment
    }

    /// The disk below.
    pub fn queue(&self) -> DiskQueue {
        self.queue
    }

    /// The length of a transfer that the kernel need not split, in bytes.
    pub(super) fn piece_len(&self, is_huge: bool) -> usize {
        match self.kind {
            DataKind::File => DiskQueue::file_piece_len(),
            DataKind::BlockDevice => {
                let unit_len = self.alignment.unit_len() as usize;
                self.queue.device_piece_len(unit_len, is_huge)
            }
        }
    }

    /// Tells the disk that nothing on this block device is needed any more; it reads as zeroes then.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported): the disk cannot do that, nothing was changed;
    /// [`Io`](ErrorKind::Io): part of it is zero now.
    pub fn discard(&self) -> Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let mut done = 0;
        while done < self.len {
            let step_len = ZERO_STEP_LEN.min(self.len - done);
            match rustix::fs::fallocate(&self.file, flags, done, step_len) {
                Ok(()) => done += step_len,
                Err(Errno::INTR) => {}
                Err(e @ (Errno::OPNOTSUPP | Errno::NOSYS)) if done == 0 => {
                    let text = "the disk cannot discard so that zeroes are read afterwards";
                    return Err(Error::new(ErrorKind::Unsupported, text)
                        .with_source(std::io::Error::from(e))
                        .with_remedy("Do without, or run `blkdiscard` before"));
                }
                Err(e) => return Err(Error::io("discard", e)),
            }
        }
        Ok(())
    }

    /// Writes zeroes from the start up to `len`, or as far as `progress` lets it.
    fn write_zeroes(
        &self,
        len: u64,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Errno> {
        if progress(0, len).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(end) = self.zero_without_data(len, progress)? {
            return Ok(end);
        }
        // The file system may find long stretches for the whole file at once.
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(e) => return Err(e),
        }
        let zeroes = Buffer::allocate(ZERO_LEN).map_err(|_| Errno::NOMEM)?;
        let mut done = 0;
        while done < len {
            let rest = usize::try_from(len - done)
                .unwrap_or(usize::MAX)
                .min(zeroes.len());
            let bytes = zeroes.get(..rest).unwrap_or_default();
            match rustix::io::pwrite(&self.file, bytes, done) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(count) => done += count as u64,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e),
            }
            if progress(done, len).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Asks the file system for written zeroes; returns nothing if it cannot do that.
    fn zero_without_data(
        &self,
        len: u64,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<ControlFlow<()>>, Errno> {
        let mut done = 0;
        while done < len {
            let step_len = ZERO_STEP_LEN.min(len - done);
            match rustix::fs::fallocate(&self.file, WRITE_ZEROES, done, step_len) {
                Ok(()) => done += step_len,
                Err(Errno::INTR) => continue,
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) if done == 0 => {
                    return Ok(None);
                }
                Err(e) => return Err(e),
            }
            if progress(done, len).is_break() {
                return Ok(Some(ControlFlow::Break(())));
            }
        }
        Ok(Some(ControlFlow::Continue(())))
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        if self.access == Access::Write {
            // At once, whatever still refers to the open file. Closing it would do as well.
            let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        }
    }
}

impl AsFd for DataFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn kind_of(path: &Path) -> Result<DataKind> {
    // Before opening: to open a pipe or a tape drive has effects.
    let status = std::fs::metadata(path).map_err(|e| {
        let errno = Errno::from_io_error(&e).unwrap_or(Errno::IO);
        open_error(errno, path)
    })?;
    kind_from(&status, path)
}

fn kind_from(status: &std::fs::Metadata, path: &Path) -> Result<DataKind> {
    if status.is_file() {
        Ok(DataKind::File)
    } else if status.file_type().is_block_device() {
        Ok(DataKind::BlockDevice)
    } else {
        Err(Error::invalid("neither a regular file nor a block device").at(path.display()))
    }
}

fn open(path: &Path, access: Access, flags: OFlags) -> Result<File, Errno> {
    let mode = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::RDWR,
    };
    rustix::fs::open(path, mode | flags, rustix::fs::Mode::empty()).map(File::from)
}

fn lock(file: File, path: &Path, access: Access) -> Result<File> {
    if access == Access::Write {
        patiently(|| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)).map_err(
            |e| match e {
                Errno::WOULDBLOCK => open_error(Errno::BUSY, path),
                e => Error::io("lock the file", e).at(path.display()),
            },
        )?;
    }
    Ok(file)
}

/// Tries again while the device is busy, for a second at most.
fn patiently<T>(mut step: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let start = Instant::now();
    loop {
        match step() {
            Err(Errno::BUSY | Errno::WOULDBLOCK) if start.elapsed() < BUSY_PATIENCE => {
                std::thread::sleep(BUSY_PAUSE);
            }
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn open_error(errno: Errno, path: &Path) -> Error {
    let new = |kind, text: &str| Error::new(kind, text).with_source(std::io::Error::from(errno));
    let error = match errno {
        Errno::NOENT | Errno::NOTDIR => new(ErrorKind::NotFound, "nothing there"),
        Errno::BUSY => new(ErrorKind::Busy, "in use by another writer, a mount or swap")
            .with_remedy("Stop the other program, unmount it or `swapoff` it, then try again"),
        Errno::INVAL | Errno::OPNOTSUPP => new(
            ErrorKind::Unsupported,
            "the file system refuses direct I/O (O_DIRECT)",
        )
        .with_remedy("Put the volume on ext4, XFS or a raw partition"),
        Errno::ACCESS | Errno::PERM => Error::io("open it", errno)
            .with_remedy("Run as its owner, or as a member of the group that may use the disk"),
        _ => Error::io("open it", errno),
    };
    error.at(path.display())
}

fn create_error(error: std::io::Error, path: &Path) -> Error {
    match error.kind() {
        IoKind::AlreadyExists => Error::new(ErrorKind::Exists, "there is a file already")
            .with_remedy("Choose another place, or remove the file if its content is not needed")
            .with_source(error)
            .at(path.display()),
        IoKind::NotFound => Error::new(ErrorKind::NotFound, "the directory does not exist")
            .with_source(error)
            .at(path.display()),
        _ => Error::io("create it", error).at(path.display()),
    }
}

/// The error for a file system with too little room for a data file at `path`.
pub fn no_space(path: &Path, needed_len: u64, free_len: u64) -> Error {
    Error::io(
        format!(
            "reserve {}, and {} are free",
            readable(needed_len),
            readable(free_len)
        ),
        Errno::NOSPC,
    )
    .with_remedy("Choose a smaller size, or make room")
    .at(path.display())
}

/// A length to the byte, and for people.
fn readable(len: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20)];
    let Some((unit, bits)) = units.into_iter().find(|(_, bits)| len >> bits != 0) else {
        return format!("{len} bytes");
    };
    // Tenths, rounded down.
    let tenths = (u128::from(len) * 10) >> bits;
    format!("{}.{} {unit} ({len} bytes)", tenths / 10, tenths % 10)
}
