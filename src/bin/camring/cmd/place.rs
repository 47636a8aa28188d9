//! Where a command may write: not over the files of a volume.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use camring::volume::{cachefile, config, tablefile};
use camring::{Error, Result};

/// The names of the files in the directory of a volume; each is written as `NAME.new` first.
const NAMES: [&str; 5] = [
    config::DATA_NAME,
    config::CONFIG_NAME,
    tablefile::TABLE_NAME,
    cachefile::TIMELINE_NAME,
    "control",
];

/// Refuses `output` if it is a file of a volume, be it there or not. `dirs` are the directories of
/// the volumes that are read. What cannot be examined is left to whoever opens it.
///
/// # Errors
///
/// [`Invalid`](camring::ErrorKind::Invalid).
pub(super) fn check_output(output: &Path, dirs: &[PathBuf]) -> Result<()> {
    let above = match output.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    // Another way to the same directory changes nothing.
    let (Ok(above), Some(name)) = (above.canonicalize(), output.file_name()) else {
        return Ok(());
    };
    let is_read = |dir: &PathBuf| dir.canonicalize().is_ok_and(|dir| dir == above);
    let is_volume = above.join(config::CONFIG_NAME).exists() || dirs.iter().any(is_read);
    let path = above.join(name);
    let is_data = |dir: &PathBuf| {
        let data = config::data_path(dir).and_then(|data| {
            let found = data.canonicalize();
            found.map_err(|e| Error::io("find the data", e))
        });
        data.is_ok_and(|data| data == path)
    };
    if !(is_volume && is_reserved(name) || dirs.iter().any(is_data)) {
        return Ok(());
    }
    let text = format!(
        "{} is a file of a volume, not a place for a video",
        output.display()
    );
    Err(Error::invalid(text).with_remedy("Choose another name, outside the volume's directory"))
}

fn is_reserved(name: &OsStr) -> bool {
    let is_new = |known: &str| {
        let beside = Path::new(known).with_extension("new");
        name == beside.as_os_str() || name == OsStr::new(&format!("{known}.new"))
    };
    NAMES.iter().any(|known| name == *known || is_new(known))
}
