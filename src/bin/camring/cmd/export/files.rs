//! The files of an export: complete, under their names, or not there.
//!
//! Each is written under another name in its directory, put on stable storage, and renamed.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use camring::export::{MatroskaSink, Summary};
use camring::frame::{FrameSink as _, Item, StreamId};
use camring::{Error, ErrorKind, Result};
use tempfile::TempPath;

/// The permissions of a new file, before the user's mask.
const MODE: u32 = 0o666;

/// A complete file.
pub(super) type Done = (PathBuf, Summary);

/// Takes the items of one stream and cuts them into files.
pub(super) struct Files {
    target: Target,
    current: Current,
    /// The setup in force.
    setup: Option<Item>,
    /// The files that are complete.
    pub(super) done: Vec<Done>,
}

/// Where the files go.
struct Target {
    path: PathBuf,
    /// Whether what is there is replaced.
    force: bool,
}

/// The file that is being written. What is not completed is gone when this is dropped.
struct Current {
    sink: MatroskaSink<File>,
    temporary: TempPath,
}

impl Files {
    /// The first file will be at `path`; if one is there already, `force` says to replace it.
    ///
    /// # Errors
    ///
    /// [`Exists`](ErrorKind::Exists), and [`Io`](ErrorKind::Io) when the directory takes no files.
    pub(super) fn begin(path: &Path, force: bool) -> Result<Self> {
        let target = Target {
            path: path.to_owned(),
            force,
        };
        target.check(path)?;
        Ok(Self {
            current: Current::begin(path)?,
            target,
            setup: None,
            done: Vec::new(),
        })
    }

    /// Takes the next item.
    ///
    /// # Errors
    ///
    /// Those of [`MatroskaSink`] and [`finish`](Self::finish).
    pub(super) fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        if self.current.sink.needs_new_file(&item) {
            let next = Current::begin(&self.target.path)?;
            let full = std::mem::replace(&mut self.current, next);
            self.done
                .extend(full.finish(&self.target, self.done.len())?);
            if let Some(setup) = self.setup.clone() {
                self.current.sink.accept(stream, setup)?;
            }
        }
        if matches!(item, Item::Setup(_)) {
            self.setup = Some(item.clone());
        }
        self.current.sink.accept(stream, item)
    }

    /// Completes the last file, and returns all of them.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when no file could begin, [`Exists`](ErrorKind::Exists)
    /// when one has come to lie in the way meanwhile, [`Io`](ErrorKind::Io).
    pub(super) fn finish(mut self) -> Result<Vec<Done>> {
        let last = self.current.finish(&self.target, self.done.len())?;
        self.done.extend(last);
        Ok(self.done)
    }
}

impl Current {
    fn begin(path: &Path) -> Result<Self> {
        let directory = match path.parent() {
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
        Ok(Self {
            sink: MatroskaSink::new(file),
            temporary,
        })
    }

    /// Completes the file behind `done_count` others, and gives it its name; none if no frame
    /// could begin it and there are others.
    fn finish(self, target: &Target, done_count: usize) -> Result<Option<Done>> {
        let path = target.numbered(done_count + 1);
        let at = |error: Error| error.at(path.display());
        let (file, summary) = match self.sink.finish() {
            Ok(finished) => finished,
            Err(e) if e.kind() == ErrorKind::NotFound && done_count > 0 => return Ok(None),
            Err(e) => return Err(e),
        };
        file.sync_all()
            .map_err(|e| at(Error::io("put the file on stable storage", e)))?;
        target.check(&path)?;
        let persisted = if target.force {
            self.temporary.persist(&path)
        } else {
            self.temporary.persist_noclobber(&path)
        };
        persisted.map_err(|e| match e.error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(&path),
            _ => at(Error::io("give the file its name", e.error)),
        })?;
        Ok(Some((path, summary)))
    }
}

impl Target {
    /// The name of file `number`: the path itself for 1, with the number behind it for others.
    fn numbered(&self, number: usize) -> PathBuf {
        if number == 1 {
            return self.path.clone();
        }
        let mut name = self.path.file_stem().unwrap_or_default().to_owned();
        name.push(format!("-{number}"));
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    /// Whether a file may be put at `path`.
    fn check(&self, path: &Path) -> Result<()> {
        match path.symlink_metadata() {
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

fn exists(path: &Path) -> Error {
    Error::new(
        ErrorKind::Exists,
        format!("{} is there already", path.display()),
    )
    .with_remedy("Choose another name, or replace it with --force")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_files_have_a_number_before_the_extension() {
        for (path, third) in [
            ("yard.mkv", "yard-3.mkv"),
            ("/a/b.c/yard", "/a/b.c/yard-3"),
            ("a/.mkv", "a/.mkv-3"),
            ("x.y.mkv", "x.y-3.mkv"),
        ] {
            let target = Target {
                path: path.into(),
                force: false,
            };
            assert_eq!(target.numbered(1), Path::new(path));
            assert_eq!(target.numbered(3), Path::new(third));
        }
    }
}
