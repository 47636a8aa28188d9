//! `volume.json`: where the data is. A cache for people and for a quick start; everything in it is
//! also in the block headers.

use std::io::{ErrorKind as IoKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::locate::Located;
use super::medium::{FileMedium, Medium, PartitionMedium};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::Arc;
use crate::io::gpt::PartUuid;
use crate::io::partition;

/// Name of the file in the directory of a volume.
pub const CONFIG_NAME: &str = "volume.json";
/// Name of the data file where none is configured.
#[doc(alias = "dumpfile")]
pub const DATA_NAME: &str = "data";
/// Name of the data file while the volume is being created.
pub const PARTIAL_NAME: &str = "data.new";

/// Where udev has a link for each partition.
pub const PARTUUID_LINKS: &str = "/dev/disk/by-partuuid";
/// The longest `volume.json` that is read, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// What `volume.json` says.
#[doc(alias = "valkkafs.json")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Version of this file.
    pub schema: u32,
    /// Identity of the volume.
    pub volume: String,
    /// Length of a block in bytes.
    pub block_len: u32,
    /// Number of slots.
    pub slot_count: u64,
    /// The data file or block device: relative to the directory where it lies in it, so that the
    /// directory can be moved. For a partition, the link that udev makes; what counts is `partuuid`.
    pub data: PathBuf,
    /// The partition that holds the data, if one does, by what identifies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partuuid: Option<String>,
}

/// Where the bytes of a volume are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file, or on a device that is known by its name only.
    File(PathBuf),
    /// On a partition.
    Partition(PartUuid),
}

impl Place {
    /// What opens it.
    pub fn medium(&self) -> Arc<dyn Medium> {
        match self {
            Self::File(path) => Arc::new(FileMedium::new(path)),
            Self::Partition(partuuid) => Arc::new(PartitionMedium::new(*partuuid)),
        }
    }

    /// The file or device that it is now.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when the partition is not there.
    pub fn path(&self) -> Result<PathBuf> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Partition(partuuid) => Ok(partition::find(*partuuid)?.path),
        }
    }
}

impl Config {
    /// The configuration of `located` in `dir`, whose data is in `place`.
    pub fn new(located: &Located, dir: &Path, place: &Place) -> Self {
        let (data, partuuid) = match place {
            Place::File(path) => (path.strip_prefix(dir).unwrap_or(path).to_owned(), None),
            Place::Partition(id) => (
                Path::new(PARTUUID_LINKS).join(id.to_string()),
                Some(id.to_string()),
            ),
        };
        Self {
            schema: 1,
            volume: located.volume.to_string(),
            block_len: located.geometry.block_len(),
            slot_count: located.geometry.slot_count(),
            data,
            partuuid,
        }
    }

    /// Whether `located` is the volume that it names.
    pub fn names(&self, located: &Located) -> bool {
        let geometry = &located.geometry;
        let found = (geometry.block_len(), geometry.slot_count());
        self.volume == located.volume.to_string() && (self.block_len, self.slot_count) == found
    }

    /// The error where nothing of it is on a device of `len` bytes, in place of `error`.
    pub(super) fn not_there(&self, len: u64, error: &Error) -> Error {
        let whole_len = u64::from(self.block_len).saturating_mul(self.slot_count);
        let text = format!(
            "volume {}, which volume.json names, is not there: {error}. It had {whole_len} bytes, and \
             {len} are left",
            self.volume
        );
        Error::damaged(text).with_remedy(
            "Its data was cut short, overwritten, or is in another place. Nothing was changed: look \
             for a copy before you create anything here",
        )
    }

    /// Reads the configuration in `dir`; none where it is missing or cannot be understood: the
    /// headers know better.
    pub fn load(dir: &Path) -> Option<Self> {
        let path = dir.join(CONFIG_NAME);
        let file = std::fs::File::open(&path).ok()?;
        let mut text = Vec::new();
        file.take(MAX_LEN).read_to_end(&mut text).ok()?;
        let config: Self = serde_json::from_slice(&text)
            .inspect_err(|e| tracing::warn!("{}: {e}; using the block headers", path.display()))
            .ok()?;
        Some(config).filter(|config| config.schema == 1)
    }

    /// Writes the configuration into `dir`, all or nothing.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io).
    pub fn save(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::new(ErrorKind::Io, "could not write JSON").with_source(e))?;
        replace_file(&dir.join(CONFIG_NAME), &text)
    }
}

/// Where the data of the volume in `dir` is. What lies in the directory itself comes before what
/// `volume.json` says of other places: that file may be a copy from another volume.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound) when there is no such directory, or nothing of a volume in
/// it; [`Io`](ErrorKind::Io) when that cannot be found out, for want of permission for instance.
pub fn place(dir: &Path) -> Result<Place> {
    let unknown = |e| {
        Error::io(format_args!("look into {}", dir.display()), e)
            .with_remedy("Do this as the user to whom it belongs")
    };
    let meta = std::fs::metadata(dir).map_err(|e| match e.kind() {
        IoKind::NotFound | IoKind::NotADirectory => not_a_volume(dir).with_source(e),
        _ => unknown(e),
    })?;
    if !meta.is_dir() {
        return Err(not_a_volume(dir).at("not a directory"));
    }
    let config = Config::load(dir);
    let partuuid = config.as_ref().and_then(|config| config.partuuid.clone());
    let named = config.map(|config| config.data);
    let inside = named.iter().filter(|path| path.is_relative());
    let outside = named.iter().filter(|path| path.is_absolute());
    let default = PathBuf::from(DATA_NAME);
    for path in inside.chain([&default]).map(|path| dir.join(path)) {
        if path.try_exists().map_err(unknown)? {
            return Ok(Place::File(path));
        }
    }
    if let Some(text) = partuuid {
        return text.parse().map(Place::Partition).map_err(|e: Error| {
            e.at(dir.join(CONFIG_NAME).display())
                .with_remedy("Correct it, or let `camring rebuild` write it anew")
        });
    }
    for path in outside {
        if path.try_exists().map_err(unknown)? {
            return Ok(Place::File(path.clone()));
        }
    }
    Err(not_a_volume(dir))
}

/// The data file or block device of the volume in `dir`.
///
/// # Errors
///
/// As [`place`] and [`Place::path`] have it.
pub fn data_path(dir: &Path) -> Result<PathBuf> {
    place(dir)?.path()
}

/// Makes sure that `place`, where the data of the volume in `dir` was found to be `located`, does
/// not hold another volume: a device may have got the name of another one, a partition may have
/// been formatted anew.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound) when `volume.json` names this place and another volume.
pub fn check_owner(dir: &Path, place: &Place, located: &Located) -> Result<()> {
    let Some(config) = Config::load(dir) else {
        return Ok(());
    };
    let found = Config::new(located, dir, place);
    let is_named = match place {
        Place::File(path) => config.data == *path,
        Place::Partition(_) => config.partuuid == found.partuuid,
    };
    if !is_named || config.volume == found.volume {
        return Ok(());
    }
    let (wanted, found, name) = (config.volume, found.volume, place.medium().name());
    let text = format!("this is the directory of volume {wanted}, and {name} holds {found}");
    let remedy = match place {
        Place::File(_) => "Correct `data` in its volume.json: devices change their names",
        Place::Partition(_) => {
            "It was formatted anew: `camring rebuild` makes a directory for what is there now"
        }
    };
    Err(Error::new(ErrorKind::NotFound, text).with_remedy(remedy))
}

/// Brings `volume.json` in `dir` up to date with `located`, whose data is at `place`.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io); the file is as it was.
pub fn refresh(dir: &Path, place: &Place, located: &Located) -> Result<()> {
    let config = Config::new(located, dir, place);
    if Config::load(dir).as_ref() == Some(&config) {
        return Ok(());
    }
    config.save(dir)
}

fn not_a_volume(dir: &Path) -> Error {
    let why = if dir.join(PARTIAL_NAME).exists() {
        ": its creation was not finished"
    } else {
        ""
    };
    Error::new(
        ErrorKind::NotFound,
        format!("{} is no camring volume{why}", dir.display()),
    )
    .with_remedy("Create one there, or check the path")
}

/// Puts `bytes` into the file at `path`: the old contents stay until the new ones are on disk.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io); the file is as it was.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|e: std::io::Error| {
        Error::io(format_args!("write {}", path.display()), e)
            .with_remedy("Check the free space and the permissions of the directory")
    })
}
