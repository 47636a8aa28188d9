//! The files of an export: complete, under their names, or not there.
//!
//! Each is written under another name in its directory, put on stable storage, and renamed.

use std::fs::{File, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use camring::export::{FileSet, Summary, numbered};
use camring::{Error, ErrorKind, Result};
use tempfile::TempPath;

/// The permissions of a new file, before the user's mask.
const MODE: u32 = 0o666;

/// A complete file.
pub(super) type Done = (PathBuf, Summary);

/// Where the files of an export go.
pub(super) struct Files {
    path: PathBuf,
    /// Whether what is there is replaced.
    force: bool,
    /// The files that are complete.
    pub(super) done: Vec<Done>,
}

/// A file that is being written. What is not completed is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    temporary: TempPath,
}

impl Files {
    /// The first file will be at `path`; if one is there already, `force` says to replace it.
    ///
    /// # Errors
    ///
    /// [`Exists`](ErrorKind::Exists), or [`Invalid`](ErrorKind::Invalid) for a directory.
    pub(super) fn new(path: &Path, force: bool) -> Result<Self> {
        let files = Self {
            path: path.to_owned(),
            force,
            done: Vec::new(),
        };
        files.check(path)?;
        Ok(files)
    }

    /// Whether a file may be put at `path`.
    fn check(&self, path: &Path) -> Result<()> {
        match path.symlink_metadata() {
            Ok(there) if there.is_dir() => {
                let text = format!("{} is a directory", path.display());
                Err(Error::invalid(text).with_remedy("Name a file in it, such as door.mkv"))
            }
            Ok(_) if !self.force => Err(exists(path)),
            // A device in its place would be gone.
            Ok(there) if !there.is_file() => {
                let text = format!("{} is there, and no regular file", path.display());
                Err(Error::new(ErrorKind::Exists, text).with_remedy("Choose another name"))
            }
            _ => Ok(()),
        }
    }
}

impl FileSet for Files {
    type File = Part;

    fn open(&mut self, _: u32) -> Result<Part> {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".camring-")
            .suffix(".part")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(directory);
        let file = file.map_err(|e| {
            let doing = format!("make a file in {}", directory.display());
            Error::io(doing, e).with_remedy("Choose another place with -o")
        })?;
        let (file, temporary) = file.into_parts();
        Ok(Part { file, temporary })
    }

    /// Puts the file on stable storage and gives it its name.
    fn complete(&mut self, number: u32, part: Part, summary: Summary) -> Result<()> {
        let path = numbered(&self.path, number);
        let at = |error: Error| error.at(path.display());
        let synced = part.file.sync_all();
        synced.map_err(|e| at(Error::io("put the file on stable storage", e)))?;
        self.check(&path)?;
        let persisted = if self.force {
            part.temporary.persist(&path)
        } else {
            part.temporary.persist_noclobber(&path)
        };
        persisted.map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&path),
            _ => at(Error::io("give the file its name", e.error)),
        })?;
        self.done.push((path, summary));
        Ok(())
    }

    /// It went when it was closed.
    fn discard(&mut self, _: u32) {}
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn exists(path: &Path) -> Error {
    Error::new(
        ErrorKind::Exists,
        format!("{} is there already", path.display()),
    )
    .with_remedy("Choose another name, or replace it with --force")
}
