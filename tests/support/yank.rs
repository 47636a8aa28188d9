//! A disk that can be pulled out under load and put in again: a loop device on a file that a
//! storage daemon serves. When the daemon is killed, every transfer fails.
//!
//! See `disk.rs` for the table on it, and for the promise to touch nothing else.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::disk::{Disk, add_partitions, tool};

/// How long the daemon may take to begin or to end its service.
const PATIENCE: Duration = Duration::from_secs(30);

/// A disk on a daemon's file.
pub(crate) struct Yank {
    disk: Disk,
    folder: tempfile::TempDir,
    daemon: Option<Child>,
    device: Option<String>,
}

impl Yank {
    /// Serves the file of `disk`, which is taken out of the machine before.
    pub(crate) fn new(mut disk: Disk) -> Result<Self, &'static str> {
        disk.detach();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("disk"), "").unwrap();
        let mut yank = Self {
            disk,
            folder,
            daemon: None,
            device: None,
        };
        yank.put_in()?;
        Ok(yank)
    }

    fn export(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// The partition of the disk, by its PARTUUID.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Puts the disk in, under the first name that is free.
    pub(crate) fn put_in(&mut self) -> Result<(), &'static str> {
        let file = self.disk.file_path().display().to_string();
        let export = self.export().display().to_string();
        let mut daemon = Command::new("qemu-storage-daemon");
        daemon
            .arg("--blockdev")
            .arg(format!("driver=file,filename={file},node-name=b0"))
            .arg("--export")
            .arg(format!(
                "type=fuse,id=e,node-name=b0,mountpoint={export},writable=on"
            ));
        daemon.stdin(Stdio::null()).stderr(Stdio::piped());
        self.daemon = Some(daemon.spawn().map_err(|_| "no qemu-storage-daemon")?);
        let is_served = || {
            let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
            mounts.contains(&format!(" {export} fuse"))
        };
        let start = Instant::now();
        while !is_served() {
            let daemon = self.daemon.as_mut().unwrap();
            if daemon.try_wait().unwrap().is_some() {
                let mut why = String::new();
                let _ = daemon.stderr.take().unwrap().read_to_string(&mut why);
                eprintln!("qemu-storage-daemon: {why}");
                return Err("the storage daemon cannot serve a file");
            }
            assert!(start.elapsed() < PATIENCE, "the daemon does not begin");
            std::thread::yield_now();
        }
        let sector_len = self.disk.sector_len().to_string();
        // Not with --direct-io: qemu-storage-daemon 10.0 mixes up writes that come at once, as
        // `fio --verify` shows as well.
        let args = ["-f", "--show", "-b", &sector_len];
        let output = Command::new("losetup").args(args).arg(&export).output();
        let output = output.map_err(|_| "no losetup")?;
        if !output.status.success() {
            return Err("no loop device on a served file");
        }
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        self.device = Some(device.clone());
        add_partitions(device.as_ref())
    }

    /// Pulls the disk: from now on all transfers fail.
    pub(crate) fn pull(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // The child that was started above, by its own handle.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Lets the machine forget the device of a disk that was pulled. Nobody uses it any more.
    pub(crate) fn forget(&mut self) {
        if let Some(device) = self.device.take() {
            let start = Instant::now();
            let is_known = || Path::new(&format!("{device}p2")).exists();
            // The kernel may still be ending transfers of a process that has gone. What partx
            // says counts for nothing: the disk cannot be read.
            while is_known() && start.elapsed() < PATIENCE {
                tool("partx", &["-d", "--nr", "1-3"], device.as_ref());
            }
            tool("losetup", &["-d"], device.as_ref());
        }
        tool("umount", &["-l"], &self.export());
    }
}

impl Drop for Yank {
    fn drop(&mut self) {
        self.pull();
        self.forget();
    }
}
