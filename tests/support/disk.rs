//! Disks that a test may do anything to: a loop device on a file in memory, with a GPT whose second
//! partition is the one to work on, between two neighbours.
//!
//! Nothing but the devices made here is ever touched. They are detached when the value is dropped,
//! also by a panic.
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Linux swap.
pub(crate) const SWAP: &str = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F";
const MIB: u64 = 1 << 20;
/// How long the kernel may take to forget a disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the partition begins.
const OFFSET: u64 = 5 * MIB;

/// `camring devices` looks at all devices, and tools that make file systems do not wait: one test
/// at a time.
static TURN: Mutex<()> = Mutex::new(());

/// How a disk is made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Length of its sectors in bytes.
    pub(crate) sector_len: u32,
    /// Length of the partition in bytes.
    pub(crate) len: u64,
    /// The type of the partition.
    pub(crate) type_id: &'static str,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            sector_len: 512,
            len: 32 * MIB,
            type_id: SWAP,
        }
    }
}

/// A disk whose partition 2 is at `path`.
pub(crate) struct Disk {
    file: tempfile::NamedTempFile,
    sector_len: u32,
    len: u64,
    pub(crate) partuuid: String,
    device: Option<String>,
    turn: Option<MutexGuard<'static, ()>>,
}

impl Disk {
    /// A disk with sectors of `sector_len` and a partition of 32 MiB; else why that cannot be.
    pub(crate) fn new(sector_len: u32) -> Result<Self, &'static str> {
        Self::planned(&Plan {
            sector_len,
            ..Plan::default()
        })
    }

    /// A disk with everything as in `plan`.
    pub(crate) fn planned(plan: &Plan) -> Result<Self, &'static str> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut disk = Self::made(plan)?;
        disk.turn = Some(turn);
        Ok(disk)
    }

    /// Another disk of the same test.
    pub(crate) fn beside(&self) -> Self {
        let plan = Plan {
            sector_len: self.sector_len,
            ..Plan::default()
        };
        Self::made(&plan).unwrap()
    }

    fn made(plan: &Plan) -> Result<Self, &'static str> {
        let mut disk = Self::blank(plan.sector_len, OFFSET + plan.len + 6 * MIB)?;
        disk.len = plan.len;
        disk.fill_outside();
        disk.write_table(plan.type_id, plan.len)?;
        disk.add_partitions()?;
        Ok(disk)
    }

    /// A disk of zeroes beside another one of the same test.
    pub(crate) fn blank(sector_len: u32, len: u64) -> Result<Self, &'static str> {
        let file = tempfile::NamedTempFile::new_in("/dev/shm")
            .or_else(|_| tempfile::NamedTempFile::new())
            .unwrap();
        file.as_file().set_len(len).unwrap();
        let mut disk = Self {
            file,
            sector_len,
            len: 0,
            partuuid: new_partuuid(),
            device: None,
            turn: None,
        };
        disk.attach()?;
        Ok(disk)
    }

    /// A copy of this disk, with all that identifies it.
    pub(crate) fn copy(&self) -> Self {
        let mut copy = Self::blank(self.sector_len, self.file_len()).unwrap();
        std::fs::copy(self.file.path(), copy.file.path()).unwrap();
        copy.partuuid.clone_from(&self.partuuid);
        copy.len = self.len;
        copy.add_partitions().unwrap();
        copy
    }

    fn attach(&mut self) -> Result<(), &'static str> {
        let mut losetup = Command::new("losetup");
        losetup.args(["-f", "--show", "-b", &self.sector_len.to_string()]);
        let output = losetup.arg(self.file.path()).output();
        let output = output.map_err(|_| "no losetup")?;
        let device = String::from_utf8(output.stdout).unwrap();
        if !output.status.success() {
            return Err("no loop device");
        }
        self.device = Some(device.trim().to_owned());
        Ok(())
    }

    /// Takes the disk out of the machine.
    pub(crate) fn detach(&mut self) {
        if let Some(device) = self.device.take() {
            let _ = Command::new("partx").args(["-d", &device]).output();
            let _ = Command::new("losetup").args(["-d", &device]).output();
        }
    }

    /// Puts a disk that was taken out in again. It gets the first name that is free.
    pub(crate) fn plug_in(&mut self) {
        self.attach().unwrap();
        self.add_partitions().unwrap();
    }

    /// Writes a table with another type or length of the partition, which the kernel does not
    /// learn of.
    pub(crate) fn write_table(&self, type_id: &str, len: u64) -> Result<(), &'static str> {
        let kib = |len: u64| len / 1024;
        let mut table = "label: gpt\n".to_owned();
        writeln!(table, "start=1MiB, size=4MiB, type={SWAP}, name=before").unwrap();
        let (start, size, uuid) = (kib(OFFSET), kib(len), &self.partuuid);
        writeln!(
            table,
            "start={start}KiB, size={size}KiB, type={type_id}, uuid={uuid}, name=ours"
        )
        .unwrap();
        let after = kib(OFFSET + self.len.max(len));
        writeln!(
            table,
            "start={after}KiB, size=4MiB, type={SWAP}, name=after"
        )
        .unwrap();
        let mut sfdisk = Command::new("sfdisk");
        sfdisk.args(["-q", "--no-reread", "--no-tell-kernel", "--wipe", "never"]);
        sfdisk.arg(self.disk_path());
        let mut child = sfdisk
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|_| "no sfdisk")?;
        let mut input = child.stdin.take().unwrap();
        input.write_all(table.as_bytes()).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success(), "{table}");
        Ok(())
    }

    fn add_partitions(&self) -> Result<(), &'static str> {
        add_partitions(self.disk_path())
    }

    /// Puts bytes around the partition that must not change.
    fn fill_outside(&self) {
        let noise: Vec<u8> = (0..MIB).map(|i| (i * i / 7 + i) as u8 | 1).collect();
        for at in (0..self.file_len()).step_by(MIB as usize) {
            if !(OFFSET..OFFSET + self.len).contains(&at) {
                self.file.as_file().write_all_at(&noise, at).unwrap();
            }
        }
    }

    /// The file below.
    pub(crate) fn file_path(&self) -> &Path {
        self.file.path()
    }

    /// Length of its sectors in bytes.
    pub(crate) fn sector_len(&self) -> u32 {
        self.sector_len
    }

    fn file_len(&self) -> u64 {
        self.file.as_file().metadata().unwrap().len()
    }

    /// The whole disk.
    pub(crate) fn disk_path(&self) -> &Path {
        Path::new(self.device.as_ref().expect("it is attached"))
    }

    /// The partition.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("{}p2", self.disk_path().display()))
    }

    /// A checksum of all bytes outside the partition, the table among them.
    pub(crate) fn outside(&self) -> u32 {
        let before = self.sum(0, OFFSET);
        let end = OFFSET + self.len;
        self.sum(end, self.file_len() - end).rotate_left(1) ^ before
    }

    /// A checksum of the partition.
    pub(crate) fn inside(&self) -> u32 {
        self.sum(OFFSET, self.len)
    }

    /// A checksum of everything.
    pub(crate) fn everything(&self) -> u32 {
        self.sum(0, self.file_len())
    }

    fn sum(&self, offset: u64, len: u64) -> u32 {
        if self.device.is_some() {
            let disk = std::fs::File::open(self.disk_path()).unwrap();
            disk.sync_all().unwrap();
        }
        let mut file = self.file.reopen().unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset)).unwrap();
        let mut rest = file.take(len);
        let (mut sum, mut bytes) = (0, vec![0; MIB as usize]);
        loop {
            let count = rest.read(&mut bytes).unwrap();
            if count == 0 {
                return sum;
            }
            sum = crc32c::crc32c_append(sum, &bytes[..count]);
        }
    }

    /// Writes `bytes` at `offset` of the partition, as another program would have.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(self.path())
            .unwrap();
        file.write_all_at(bytes, offset).unwrap();
        file.sync_all().unwrap();
    }

    /// Reads `len` bytes at `offset` of the partition from the file below.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let file = self.file.as_file();
        file.read_exact_at(&mut bytes, OFFSET + offset).unwrap();
        bytes
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Runs a tool; says whether it is there and succeeded.
pub(crate) fn tool(program: &str, args: &[&str], path: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(args).arg(path);
    command.output().is_ok_and(|output| output.status.success())
}

/// Tells the kernel of the partitions of a loop device, whose number may have been another disk's a
/// moment ago: the kernel refuses while it still forgets that one's.
pub(crate) fn add_partitions(disk: &Path) -> Result<(), &'static str> {
    let start = Instant::now();
    while !tool("partx", &["-a"], disk) {
        if start.elapsed() > PATIENCE {
            return Err("no partx");
        }
        tool("partx", &["-d"], disk);
    }
    Ok(())
}

/// A PARTUUID that nobody else has.
fn new_partuuid() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let high = now.unwrap().as_nanos() << 64;
    let low = u128::from(std::process::id()) << 16 | u128::from(count & 0xffff);
    uuid::Builder::from_random_bytes((high | low).to_be_bytes())
        .into_uuid()
        .to_string()
}
