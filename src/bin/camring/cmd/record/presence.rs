//! Whether the data is still where it was: a recording into a file that somebody has deleted goes
//! on without an error, and all of it is gone at its end.

use std::io::ErrorKind as IoKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use camring::volume::config;
use camring::{Error, ErrorKind, Result};

/// The data file of a recording, as it was at the beginning.
#[derive(Debug)]
pub(super) struct Presence {
    path: PathBuf,
    /// Device and inode.
    own: (u64, u64),
}

impl Presence {
    /// The data file of the volume in `dir`; none for a device, which nobody deletes.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io).
    pub(super) fn of(dir: &Path) -> Result<Option<Self>> {
        let path = config::data_path(dir)?;
        let at = |e| Error::io("examine the data", e).at(path.display());
        // It is looked at again from the same place, whatever the working directory is then.
        let path = path.canonicalize().map_err(at)?;
        let status = path.metadata().map_err(at)?;
        let own = (status.dev(), status.ino());
        Ok(status.is_file().then_some(Self { path, own }))
    }

    /// Looks whether it is still there.
    ///
    /// # Errors
    ///
    /// [`Failed`](ErrorKind::Failed): it was deleted, moved or replaced. Where it cannot be looked
    /// at, it is taken to be there.
    pub(super) fn check(&self) -> Result<()> {
        let what = match self.path.metadata() {
            Ok(status) if (status.dev(), status.ino()) == self.own => return Ok(()),
            Ok(_) => "was replaced by another file",
            Err(e) if matches!(e.kind(), IoKind::NotFound | IoKind::NotADirectory) => {
                "was deleted or moved"
            }
            Err(_) => return Ok(()),
        };
        let text = format!("{} {what} while it was recorded", self.path.display());
        let remedy =
            "Stop the recorder before that; create the volume anew, or record where it is now";
        Err(Error::new(ErrorKind::Failed, text).with_remedy(remedy))
    }
}
