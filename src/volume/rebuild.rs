//! Rebuilding: a directory for data that has none, from the data alone.
//!
//! Nothing in the directory of a volume is needed but where its data is: `volume.json`,
//! `blocktable` and `timeline` are caches. So a disk can be carried to another machine, and a lost
//! system disk costs no recording. The data is only read.

use std::path::Path;
use std::time::{Duration, Instant};

use super::cachefile::{self, TIMELINE_NAME};
use super::config::{CONFIG_NAME, Config, PARTUUID_LINKS, Place};
use super::fetch::Fetcher;
use super::load::{Loaded, load};
use super::locate::{Located, locate};
use super::medium::Medium;
use super::tablefile::{self, TABLE_NAME, TableFile};
use crate::base::error::{Error, ErrorKind, Result};
use crate::io::Device;
use crate::io::buffer::{BufferPool, HUGE_LEN};
use crate::io::direct::{self, Access};
use crate::io::disks::BlockDevice;
use crate::io::gpt::PartUuid;
use crate::io::partition;

/// How long the end of a recorder is waited for.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// The pause between two looks.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// What is written.
const CACHE_NAMES: [&str; 3] = [TABLE_NAME, TIMELINE_NAME, CONFIG_NAME];
/// What else a recorder that was killed may have left beside them: a socket, and files that were
/// being replaced.
const LEFT_NAMES: [&str; 4] = ["control", "blocktable.new", "timeline.new", "volume.new"];

/// Makes the directory `dir` for the volume in the file or block device `data`. The directory is
/// missing or empty, or holds cache files of this volume, which are replaced, or the data itself.
///
/// # Errors
///
/// Nothing was written, but for the last.
///
/// - [`NotFound`](ErrorKind::NotFound): `data` is not there, or is no volume; what it is instead
///   is told if libblkid knows.
/// - [`Exists`](ErrorKind::Exists): `dir` holds something else, or another volume.
/// - [`Busy`](ErrorKind::Busy): the volume is being recorded.
/// - [`Unsupported`](ErrorKind::Unsupported): a later release wrote it, or its file system refuses
///   direct I/O.
/// - [`Io`](ErrorKind::Io).
pub fn rebuild(data: &Path, dir: &Path) -> Result<Located> {
    let mut found = Found::look(data, dir)?;
    let mut fetch = Fetcher::new(found.device.as_mut());
    // As when it is opened: what is believed must not be in a cache only.
    fetch.flush()?;
    let loaded = load(&mut fetch, None).map_err(|e| e.at(data.display()))?;
    let is_new = make_directory(dir)?;
    let written = write_caches(dir, &found.place, loaded);
    if written.is_err() && is_new {
        // Made above. What is left is empty, or not ours: then it stays.
        for name in CACHE_NAMES {
            let _ = std::fs::remove_file(dir.join(name));
        }
        let _ = std::fs::remove_dir(dir);
    }
    written.map(|()| found.located)
}

/// What [`rebuild`] would make a directory for, without writing anything.
///
/// # Errors
///
/// As [`rebuild`].
pub fn plan(data: &Path, dir: &Path) -> Result<Located> {
    Found::look(data, dir).map(|found| found.located)
}

/// A volume that may get the directory.
struct Found {
    device: Box<dyn Device>,
    located: Located,
    /// Where the data is.
    place: Place,
}

impl Found {
    fn look(data: &Path, dir: &Path) -> Result<Self> {
        let place = place_of(data, dir)?;
        let medium = place.medium();
        let pool = BufferPool::new(1, HUGE_LEN)?;
        let mut device = medium.open(Access::Read, &pool)?;
        let located = locate(&mut Fetcher::new(device.as_mut())).map_err(|e| no_volume(data, e))?;
        if is_being_recorded(medium.as_ref())? {
            let text = format!("{} is being recorded", data.display());
            return Err(Error::new(ErrorKind::Busy, text).with_remedy("Use the directory it has"));
        }
        check_directory(dir, &place, &located)?;
        Ok(Self {
            device,
            located,
            place,
        })
    }
}

/// A recorder that was killed counts as one until the kernel has ended its last transfers.
fn is_being_recorded(medium: &dyn Medium) -> Result<bool> {
    let start = Instant::now();
    while medium.is_being_written()? {
        if start.elapsed() > BUSY_PATIENCE {
            return Ok(true);
        }
        std::thread::sleep(BUSY_PAUSE);
    }
    Ok(false)
}

/// How `data` is found again: a partition by its PARTUUID. Otherwise as it was given, since a link
/// outlives the number that a disk has today; in the form of `dir` if it lies there.
fn place_of(data: &Path, dir: &Path) -> Result<Place> {
    let at = |e| Error::io(format_args!("find {}", data.display()), e);
    if let Some(partuuid) = partuuid_of(data)? {
        return Ok(Place::Partition(partuuid));
    }
    let path = std::path::absolute(data).map_err(at)?;
    let parent = path.parent().map(Path::canonicalize).transpose();
    let is_inside = match (parent, dir.canonicalize()) {
        (Ok(Some(parent)), Ok(dir)) => parent == dir,
        _ => false,
    };
    let name = path.file_name().filter(|_| is_inside);
    Ok(Place::File(
        name.map_or_else(|| path.clone(), |name| dir.join(name)),
    ))
}

/// The PARTUUID of the device at `data`; none for a file, and for a device that has none, or whose
/// disk this user may not read.
fn partuuid_of(data: &Path) -> Result<Option<PartUuid>> {
    // What is not there, or is odd, is told by those who open it.
    let Ok(Some(device)) = BlockDevice::at(data) else {
        return Ok(None);
    };
    let Some(entry) = partition::entry_of(&device) else {
        // A link of udev's tells it also to those who may not read the disk.
        let is_link = data.parent() == Some(Path::new(PARTUUID_LINKS));
        let name = data.file_name().filter(|_| is_link);
        return Ok(name.and_then(|name| name.to_str()?.parse().ok()));
    };
    let same = partition::find_all(entry.partuuid)?;
    if let Some(other) = same.iter().find(|other| other.number != device.number) {
        let (path, id) = (other.path.display(), entry.partuuid);
        let text = format!("{} and {path} have the same PARTUUID, {id}", data.display());
        return Err(Error::new(ErrorKind::Busy, text)
            .with_remedy("One is a copy of the other: disconnect the one that is not meant"));
    }
    Ok(Some(entry.partuuid))
}

/// Makes sure that nothing in `dir` belongs to anything else.
fn check_directory(dir: &Path, place: &Place, located: &Located) -> Result<()> {
    let at = |e| Error::io(format_args!("look into {}", dir.display()), e);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(at(e)),
    };
    let known = || CACHE_NAMES.into_iter().chain(LEFT_NAMES);
    let is_data = |name: &Path| matches!(place, Place::File(path) if *path == dir.join(name));
    for entry in entries {
        let name = entry.map_err(at)?.file_name();
        if !known().any(|known| name == known) && !is_data(Path::new(&name)) {
            let text = format!("{} holds something else: {}", dir.display(), name.display());
            return Err(
                Error::new(ErrorKind::Exists, text).with_remedy("Choose an empty directory")
            );
        }
    }
    let own = located.volume;
    let named = Config::load(dir).map(|config| config.volume);
    let is_foreign = named.is_some_and(|volume| volume != own.to_string())
        || tablefile::volume_of(dir).is_some_and(|volume| volume != own)
        || cachefile::volume_of(dir).is_some_and(|volume| volume != own.to_string());
    if is_foreign {
        let text = format!("{} is the directory of another volume", dir.display());
        return Err(Error::new(ErrorKind::Exists, text).with_remedy("Choose an empty directory"));
    }
    Ok(())
}

/// Says whether `dir` was made.
fn make_directory(dir: &Path) -> Result<bool> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Error::io(format_args!("make {}", dir.display()), e)
            .with_remedy("Check that the path above it exists")),
    }
}

fn write_caches(dir: &Path, place: &Place, loaded: Loaded) -> Result<()> {
    let Loaded {
        located,
        table,
        registry,
        timeline,
        ..
    } = loaded;
    let table = table.table();
    let rows = (0..table.slot_count()).map(|slot| table.row(slot));
    TableFile::update(dir, &located, rows)?;
    if let Some(newest) = table.blocks().last() {
        let covered = (newest.sequence, newest.nonce);
        cachefile::save(dir, &located, covered, &registry, timeline)?;
    }
    // Last: from here on the directory is one of a volume.
    Config::new(&located, dir, place).save(dir)?;
    direct::sync_directory_of(&dir.join(CONFIG_NAME))
}

/// What `data` holds instead of a volume.
fn no_volume(data: &Path, error: Error) -> Error {
    let Some(found) = found_by_libblkid(data).filter(|_| error.kind() == ErrorKind::NotFound)
    else {
        return error.at(data.display());
    };
    let text = format!("{} is no camring volume, it holds {found}", data.display());
    Error::new(ErrorKind::NotFound, text).with_remedy("Check the path")
}

#[cfg(feature = "blkid")]
fn found_by_libblkid(data: &Path) -> Option<String> {
    let found = crate::io::blkid::probe(data).ok().flatten();
    found.map(|found| found.to_string())
}

#[cfg(not(feature = "blkid"))]
fn found_by_libblkid(_data: &Path) -> Option<String> {
    None
}
