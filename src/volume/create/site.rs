//! The directory in which a volume is created, and the one that may be there already.
//!
//! The data is written under another name, and gets its own when it is a volume. So a creation that
//! was cut off is never taken for one, and an old volume stays until the new one is complete, where
//! there is room for both.

use std::ffi::OsString;
use std::io::ErrorKind as IoKind;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::write_first_headers;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::{Geometry, MIN_BLOCK_LEN, VolumeId};
use crate::io::buffer::{BufferPool, HUGE_LEN};
use crate::io::direct::{self, Access, DataFile};
use crate::volume::config::{CONFIG_NAME, Config, DATA_NAME, PARTIAL_NAME, Place};
use crate::volume::fetch::Fetcher;
use crate::volume::locate::{Located, locate};
use crate::volume::medium::{FileMedium, Medium};
use crate::volume::{cachefile, tablefile};

/// The files of a volume beside its data.
const CACHES: [&str; 4] = [
    CONFIG_NAME,
    tablefile::TABLE_NAME,
    cachefile::TIMELINE_NAME,
    "control",
];
/// How long the file is with which the file system is tried, in bytes.
const PROBE_LEN: u64 = MIN_BLOCK_LEN as u64;

/// Where a volume is created.
#[derive(Debug)]
pub(super) struct Site<'d> {
    dir: &'d Path,
    /// Whether the directory was made for it.
    is_new: bool,
    /// The data that is to be replaced, locked so that nobody begins to record into it.
    old: Option<DataFile>,
}

impl<'d> Site<'d> {
    /// Makes sure that a volume may be created in `dir`, which is made if it is missing. Changes
    /// nothing else.
    pub(super) fn prepare(dir: &'d Path, replace: bool) -> Result<Self> {
        let place = dir.display();
        let at = |e: std::io::Error| Error::io(format_args!("make {place}"), e);
        match std::fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {
                return Ok(Self {
                    dir,
                    is_new: true,
                    old: None,
                });
            }
            Err(e) if e.kind() == IoKind::AlreadyExists => {}
            Err(e) => return Err(at(e).with_remedy("Check that the path above it exists")),
        }
        Ok(Self::there(dir, replace)?.0)
    }

    /// As [`prepare`](Self::prepare) for a directory that is there. Says also whether it is taken.
    fn there(dir: &'d Path, replace: bool) -> Result<(Self, bool)> {
        let place = dir.display();
        let names = std::fs::read_dir(dir)
            .and_then(|entries| entries.map(|e| Ok(e?.file_name())).collect())
            .map_err(|e| not_a_directory(dir, e))?;
        let is_taken = check_names(dir, names)?;
        if is_taken && !replace {
            let text = format!("{place} holds a volume already");
            let remedy = "Replacing it destroys all its recordings, and has to be asked for";
            return Err(Error::new(ErrorKind::Exists, text).with_remedy(remedy));
        }
        let site = Self {
            dir,
            is_new: false,
            old: lock_old(&dir.join(DATA_NAME))?,
        };
        Ok((site, is_taken))
    }

    /// The directory.
    pub(super) fn dir(&self) -> &'d Path {
        self.dir
    }

    /// Whether the data of a volume lies in the directory itself.
    pub(super) fn holds_data(&self) -> bool {
        self.old.is_some()
    }

    /// Removes the directory again, if it was made for a volume that does not come.
    pub(super) fn undo(&self) {
        if self.is_new {
            // Empty again, or not ours: then it stays.
            let _ = std::fs::remove_dir(self.dir);
        }
    }

    /// Removes the files that belong to an old volume. They would be ignored, but for people they
    /// would be wrong.
    pub(super) fn remove_caches(&self) -> Result<()> {
        for name in CACHES {
            remove(&self.dir.join(name))?;
        }
        Ok(())
    }

    /// Creates the volume, unless `progress` breaks.
    pub(super) fn build(
        &mut self,
        geometry: Geometry,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<Located>> {
        let partial = self.dir.join(PARTIAL_NAME);
        remove_cut_off(&partial)?;
        let unit_len = self.probe(&partial)?;
        with_unit(geometry, unit_len)?;
        if !self.has_room_beside(geometry.device_len(), self.dir)? {
            remove(&self.dir.join(DATA_NAME))?;
            // Its room is free when nobody has it open any more.
            self.old = None;
        }
        let len = geometry.device_len();
        let Some(file) = direct::create_data_until(&partial, len, progress)? else {
            return Ok(None);
        };
        let geometry = with_unit(geometry, file.alignment().unit_len());
        drop(file);
        let made = geometry.and_then(|geometry| self.finish(&partial, geometry));
        if made.is_err() {
            // What is reported is why it failed.
            let _ = std::fs::remove_file(&partial);
        }
        made.map(Some)
    }

    /// Tries what can be tried before anything is given up: direct I/O, and `io_uring`. Returns the
    /// unit in which the file system transfers.
    fn probe(&self, partial: &Path) -> Result<u32> {
        let pool = BufferPool::new(1, HUGE_LEN)?;
        if let Some(old) = &self.old {
            FileMedium::new(old.path()).open(Access::Read, &pool)?;
            return Ok(old.alignment().unit_len());
        }
        let unit_len = direct::create_data(partial, PROBE_LEN, &mut |_, _| {})?
            .alignment()
            .unit_len();
        let opened = FileMedium::new(partial).open(Access::Write, &pool);
        remove(partial)?;
        opened.map(|_| unit_len)
    }

    /// Whether there is room for `len` bytes without what the old data takes. `named` is the
    /// directory that was asked for.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io): not even with it.
    fn has_room_beside(&self, len: u64, named: &Path) -> Result<bool> {
        let at = |doing: &str, e: std::io::Error| Error::io(doing, e).at(self.dir.display());
        let space =
            rustix::fs::statvfs(self.dir).map_err(|e| at("ask for free space", e.into()))?;
        let free_len = space.f_bavail.saturating_mul(space.f_frsize);
        let old_len = match &self.old {
            Some(old) => taken_len(old.path()).map_err(|e| at("examine the old data", e))?,
            None => 0,
        };
        // What a creation has left that was cut off goes first.
        let cut_off_len = taken_len(&self.dir.join(PARTIAL_NAME)).unwrap_or(0);
        let free_len = free_len.saturating_add(cut_off_len);
        let with_old_len = free_len.saturating_add(old_len);
        if len > with_old_len {
            return Err(direct::no_space(named, len, with_old_len));
        }
        Ok(len <= free_len)
    }

    /// Makes a volume of the zeroes in `partial`, and puts it in the place of the old one.
    fn finish(&self, partial: &Path, geometry: Geometry) -> Result<Located> {
        let located = Located {
            volume: VolumeId::random()?,
            geometry,
        };
        let pool = BufferPool::new(1, HUGE_LEN)?;
        let mut device = FileMedium::new(partial).open(Access::Write, &pool)?;
        write_first_headers(device.as_mut(), &located)?;
        drop(device);
        self.remove_caches()?;
        let data = self.dir.join(DATA_NAME);
        std::fs::rename(partial, &data)
            .map_err(|e| Error::io("give the data its name", e).at(data.display()))?;
        Config::new(&located, self.dir, &Place::File(data.clone())).save(self.dir)?;
        direct::sync_directory_of(&data)?;
        Ok(located)
    }
}

/// Makes sure, without changing anything, that a volume of `len` bytes may be created in `dir` and
/// has room there. Says whether it would take the place of another one.
pub(super) fn check(dir: &Path, replace: bool, len: u64) -> Result<bool> {
    if dir.symlink_metadata().is_ok() {
        let (site, is_taken) = Site::there(dir, replace)?;
        site.has_room_beside(len, dir)?;
        return Ok(is_taken);
    }
    let above = match dir.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let site = Site {
        dir: above,
        is_new: true,
        old: None,
    };
    // The file system says only that something is not there, not what.
    if !above.exists() {
        let text = format!(
            "{}: there is no directory {}",
            dir.display(),
            above.display()
        );
        let remedy = "Make it first; only the last directory of the path is made";
        return Err(Error::new(ErrorKind::Io, text).with_remedy(remedy));
    }
    site.has_room_beside(len, dir)?;
    Ok(false)
}

/// How much room the file at `path` takes, in bytes.
fn taken_len(path: &Path) -> std::io::Result<u64> {
    let status = std::fs::symlink_metadata(path)?;
    Ok(status.blocks().saturating_mul(512))
}

fn with_unit(geometry: Geometry, unit_len: u32) -> Result<Geometry> {
    Geometry::new(geometry.block_len(), geometry.slot_count(), unit_len)
}

/// Whether a directory with these names holds a volume; refuses one that holds anything else.
fn check_names(dir: &Path, names: Vec<OsString>) -> Result<bool> {
    let is_temporary = |name: &OsString| {
        let mut caches = CACHES
            .iter()
            .map(|cache| Path::new(cache).with_extension("new"));
        *name == PARTIAL_NAME || caches.any(|cache| cache.as_os_str() == name)
    };
    let names: Vec<_> = names
        .into_iter()
        .filter(|name| !is_temporary(name))
        .collect();
    let is_cache = |name: &OsString| CACHES.iter().any(|cache| name == cache);
    let is_ours = |name: &&OsString| is_cache(name) || *name == DATA_NAME;
    if let Some(other) = names.iter().find(|name| !is_ours(name)) {
        return Err(foreign(dir, &other.display().to_string()));
    }
    let has_cache = names.iter().any(is_cache);
    if !has_cache && !names.is_empty() && !is_volume(&dir.join(DATA_NAME))? {
        return Err(foreign(dir, DATA_NAME));
    }
    Ok(!names.is_empty())
}

fn not_a_directory(dir: &Path, e: std::io::Error) -> Error {
    let remedy = match e.kind() {
        IoKind::NotADirectory => {
            "A volume is a directory: name one that is empty, or a new one beside this file"
        }
        IoKind::NotFound => "It is a link to nothing: make its target, or choose another place",
        _ => "Do this as the user to whom it belongs",
    };
    Error::io(format_args!("look into {}", dir.display()), e).with_remedy(remedy)
}

fn foreign(dir: &Path, name: &str) -> Error {
    let text = format!(
        "{} holds something that is no part of a volume: {name}",
        dir.display()
    );
    Error::new(ErrorKind::Exists, text).with_remedy("Choose an empty directory")
}

/// Whether the blocks of a volume are in the file at `path`, even if they are damaged or those of
/// a later release.
fn is_volume(path: &Path) -> Result<bool> {
    if !path.is_file() {
        return Ok(false);
    }
    let pool = BufferPool::new(1, HUGE_LEN)?;
    let mut device = FileMedium::new(path).open(Access::Read, &pool)?;
    match locate(&mut Fetcher::new(device.as_mut())) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        _ => Ok(true),
    }
}

/// Keeps everybody from recording into the data at `path` until it is replaced.
fn lock_old(path: &Path) -> Result<Option<DataFile>> {
    if !path.exists() {
        return Ok(None);
    }
    if direct::is_locked_by_writer(path)? {
        let text = format!("{} is being recorded", path.display());
        return Err(Error::new(ErrorKind::Busy, text).with_remedy("Stop the recorder first"));
    }
    direct::open_data(path, Access::Write).map(Some)
}

/// Removes what a creation has left that was cut off.
fn remove_cut_off(partial: &Path) -> Result<()> {
    if partial.is_file() && direct::is_locked_by_writer(partial)? {
        let text = format!(
            "{} is being written: a volume is created there",
            partial.display()
        );
        return Err(Error::new(ErrorKind::Busy, text).with_remedy("Wait for its end"));
    }
    remove(partial)
}

/// Removes the file at `path`, if there is one.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != IoKind::NotFound => {
            Err(Error::io(format_args!("remove {}", path.display()), e))
        }
        _ => Ok(()),
    }
}
