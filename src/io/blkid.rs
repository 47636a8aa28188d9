//! What a file or device holds already, by libblkid: so that a new volume does not go over it.
//!
//! The binding only; whether to go on is decided by `volume`.
#![allow(unsafe_code, reason = "libblkid is a C library")]

use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::ptr;

use blkid_sys as sys;

use crate::base::error::{Error, Result};

/// How many signatures are told of one device: more than it can have without malice.
const MAX_SIGNATURES: usize = 32;

/// What was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// A file system, swap, RAID member, encrypted volume (`ext4`, `swap`, `crypto_LUKS`), or a
    /// partition table (`gpt partition table`).
    pub kind: String,
    /// The name that its owner gave to it, if any.
    pub label: Option<String>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            Some(label) => write!(f, "{} \"{label}\"", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}

/// Looks for file systems, swap, RAID and encryption headers and partition tables in the file or
/// block device at `path`; none where libblkid recognises nothing. Nothing is changed.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) when it cannot be opened or read.
pub fn probe(path: &Path) -> Result<Option<Signature>> {
    let doing = "look for file systems and partition tables";
    let failed = |error: io::Error| Error::io(doing, error).at(path.display());
    let file = File::open(path).map_err(failed)?;
    let probe = Probe::new(file).map_err(failed)?;
    match probe.run() {
        Outcome::Nothing => Ok(None),
        Outcome::Failed => Err(failed(io::Error::last_os_error())),
        Outcome::Ambivalent => Ok(Some(Signature {
            kind: "several file systems or partition tables".to_owned(),
            label: None,
        })),
        Outcome::Found => Ok(Some(probe.signature())),
    }
}

/// Everything that is recognised in the file or block device at `path`, also what another signature
/// hides from [`probe`]. Nothing is changed.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) when it cannot be opened or read.
pub fn signatures(path: &Path) -> Result<Vec<Signature>> {
    let doing = "look for file systems and partition tables";
    let failed = |error: io::Error| Error::io(doing, error).at(path.display());
    let file = File::open(path).map_err(failed)?;
    let probe = Probe::new(file).map_err(failed)?;
    let mut found = Vec::new();
    while found.len() < MAX_SIGNATURES {
        match probe.next() {
            Outcome::Found => found.push(probe.signature()),
            Outcome::Nothing => break,
            Outcome::Ambivalent | Outcome::Failed => {
                return Err(failed(io::Error::last_os_error()));
            }
        }
    }
    Ok(found)
}

/// The device file of the partition with this PARTUUID, as `lsblk -o PARTUUID` prints it; none
/// where the system has no such partition.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) when `partuuid` is not hexadecimal digits and hyphens.
pub fn find_partition(partuuid: &str) -> Result<Option<PathBuf>> {
    let is_well_formed = partuuid
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let value = CString::new(partuuid.to_ascii_lowercase())
        .ok()
        .filter(|_| is_well_formed && !partuuid.is_empty())
        .ok_or_else(|| {
            Error::invalid(format!("\"{partuuid}\" is not a PARTUUID"))
                .with_remedy("`lsblk -o NAME,PARTUUID` lists them")
        })?;
    let name = c"PARTUUID".as_ptr();
    // SAFETY: both strings end with NUL and outlive the call; without a cache, libblkid makes and
    // frees one of its own.
    let found = unsafe { sys::blkid_evaluate_tag(name, value.as_ptr(), ptr::null_mut()) };
    if found.is_null() {
        return Ok(None);
    }
    let path = PathBuf::from(text(found));
    // SAFETY: the caller owns the returned string (blkid.h), which came from malloc; it is not
    // used afterwards.
    unsafe { free(found.cast()) };
    Ok(Some(path))
}

unsafe extern "C" {
    /// The C library's own: libblkid hands out strings that the caller frees with it.
    fn free(memory: *mut std::ffi::c_void);
}

enum Outcome {
    Found,
    Nothing,
    Ambivalent,
    Failed,
}

/// A probe of one file, which it keeps open.
struct Probe {
    probe: sys::blkid_probe,
    _file: File,
}

impl Probe {
    fn new(file: File) -> io::Result<Self> {
        // SAFETY: takes nothing; returns a new probe or null.
        let probe = unsafe { sys::blkid_new_probe() };
        if probe.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let fd = file.as_raw_fd();
        let this = Self { probe, _file: file };
        // SAFETY: the probe is live, and the descriptor stays open as long as it (`_file`). A size
        // of 0 stands for all of the file.
        if unsafe { sys::blkid_probe_set_device(probe, fd, 0, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the probe is live.
        unsafe { sys::blkid_probe_enable_superblocks(probe, 1) };
        // SAFETY: the probe is live.
        unsafe { sys::blkid_probe_enable_partitions(probe, 1) };
        Ok(this)
    }

    fn run(&self) -> Outcome {
        // SAFETY: the probe is live, and has its device.
        match unsafe { sys::blkid_do_safeprobe(self.probe) } {
            0 => Outcome::Found,
            1 => Outcome::Nothing,
            -2 => Outcome::Ambivalent,
            _ => Outcome::Failed,
        }
    }

    /// Goes on to the next thing that can be recognised, whatever was found before.
    fn next(&self) -> Outcome {
        // SAFETY: the probe is live, and has its device.
        match unsafe { sys::blkid_do_probe(self.probe) } {
            0 => Outcome::Found,
            1 => Outcome::Nothing,
            _ => Outcome::Failed,
        }
    }

    /// What was found.
    fn signature(&self) -> Signature {
        let table = self
            .value(c"PTTYPE")
            .map(|kind| format!("{kind} partition table"));
        let kind = self.value(c"TYPE").or(table);
        Signature {
            kind: kind.unwrap_or_else(|| "something unnamed".to_owned()),
            label: self.value(c"LABEL"),
        }
    }

    /// What was found under `name`.
    fn value(&self, name: &CStr) -> Option<String> {
        let mut data = ptr::null();
        let (name, len) = (name.as_ptr(), ptr::null_mut());
        // SAFETY: the probe is live, the name ends with NUL, `data` is a place for a pointer, and
        // the length is not asked for.
        let result = unsafe { sys::blkid_probe_lookup_value(self.probe, name, &raw mut data, len) };
        (result == 0 && !data.is_null()).then(|| text(data))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: made by `blkid_new_probe`, freed once, not used afterwards.
        unsafe { sys::blkid_free_probe(self.probe) };
    }
}

/// A string of libblkid's, copied. Labels may hold any bytes: what is no UTF-8 is replaced.
fn text(data: *const c_char) -> String {
    // SAFETY: libblkid ends its strings with NUL (blkid.h), and keeps them until the probe is
    // freed or the caller frees them, both after this call.
    let text = unsafe { CStr::from_ptr(data) };
    text.to_string_lossy().into_owned()
}
