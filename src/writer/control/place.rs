//! Where the socket is: its name in the file system.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::base::error::{Error, ErrorKind, Result};

/// Name of the socket in the directory of a volume.
pub(super) const CONTROL_NAME: &str = "control";
/// The longest path of a socket in bytes: what the kernel's address holds.
const MAX_PATH_LEN: usize = 107;
/// How many connections may wait to be accepted.
const BACKLOG: i32 = 8;

/// A socket in the file system.
#[derive(Debug)]
pub(super) struct Place {
    directory: OwnedFd,
    /// Device and inode, to know it again.
    own: (u64, u64),
}

impl Place {
    /// Makes the socket in `dir`, for its owner alone, and listens on it.
    pub(super) fn bind(dir: &Path) -> Result<(Self, UnixListener)> {
        let at = |doing: &str, e: Errno| Error::io(doing, e).at(dir.join(CONTROL_NAME).display());
        let directory = open_directory(dir).map_err(|e| at("open the directory", e))?;
        remove_stale(&directory).map_err(|e| e.at(dir.display()))?;
        let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)
            .map_err(|e| at("make a socket", e))?;
        // Its file gets the mode of the socket, so it never exists with any other.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)
            .map_err(|e| at("restrict the socket", e))?;
        let address = SocketAddrUnix::new(short_path(dir, &directory));
        address
            .and_then(|address| rustix::net::bind(&socket, &address))
            .and_then(|()| rustix::net::listen(&socket, BACKLOG))
            .map_err(|e| at("bind the socket", e))?;
        let status = look(&directory).map_err(|e| at("find the socket", e))?;
        let place = Self {
            directory,
            own: (status.st_dev, status.st_ino),
        };
        Ok((place, UnixListener::from(socket)))
    }

    /// Removes the socket, if it is still ours.
    pub(super) fn remove(&self) {
        let is_own =
            look(&self.directory).is_ok_and(|status| (status.st_dev, status.st_ino) == self.own);
        if is_own
            && let Err(e) = rustix::fs::unlinkat(&self.directory, CONTROL_NAME, AtFlags::empty())
        {
            tracing::warn!("the control socket cannot be removed: {e}");
        }
    }
}

/// The socket of the volume in `dir` by a path that fits into an address. `directory` is `dir`,
/// open, and stays so while the path is used.
pub(super) fn short_path(dir: &Path, directory: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    let path = dir.join(CONTROL_NAME);
    if path.as_os_str().as_bytes().len() <= MAX_PATH_LEN {
        return path;
    }
    let number = directory.as_raw_fd();
    PathBuf::from(format!("/proc/self/fd/{number}/{CONTROL_NAME}"))
}

/// Opens `dir` to find names in it.
pub(super) fn open_directory(dir: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::empty())
}

fn look(directory: &OwnedFd) -> Result<Stat, Errno> {
    rustix::fs::statat(directory, CONTROL_NAME, AtFlags::SYMLINK_NOFOLLOW)
}

/// Removes what a killed process has left.
fn remove_stale(directory: &OwnedFd) -> Result<()> {
    let status = match look(directory) {
        Ok(status) => status,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(Error::io("look for an old control socket", e)),
    };
    if FileType::from_raw_mode(status.st_mode) != FileType::Socket {
        let text = format!("there is a file called {CONTROL_NAME} that is no socket");
        return Err(Error::new(ErrorKind::Exists, text).with_remedy("Move it elsewhere"));
    }
    rustix::fs::unlinkat(directory, CONTROL_NAME, AtFlags::empty())
        .map_err(|e| Error::io("remove the control socket of a process that has ended", e))
}
