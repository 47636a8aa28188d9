//! A user who may use one partition, and nothing else of any disk, as docs/OPERATIONS.md has it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::disk::Disk;
use crate::make;
use crate::program::{Ended, camring, end, folder};
use crate::skip::skip;

/// Where udev puts links; not every machine has it.
const LINKS: &str = "/dev/disk/by-partuuid";

/// A device that nobody may open without privileges, until this is dropped.
struct Closed(PathBuf, fs::Permissions);

impl Closed {
    fn new(path: &Path) -> Self {
        let before = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        Self(path.to_owned(), before)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let _ = fs::set_permissions(&self.0, self.1.clone());
    }
}

/// The link that udev would have made, until this is dropped.
struct Link(PathBuf);

impl Link {
    fn new(disk: &Disk) -> Self {
        fs::create_dir_all(LINKS).unwrap();
        let link = Path::new(LINKS).join(&disk.partuuid);
        // On a machine with udev it may be there.
        let _ = symlink(disk.path(), &link);
        Self(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        // Where this is not empty it is not ours, and stays.
        let _ = fs::remove_dir(LINKS);
        let _ = fs::remove_dir("/dev/disk");
    }
}

/// Runs the program as a user for whom permissions count; root is none.
fn without_privileges(dir: &Path, args: &str) -> Ended {
    let command = camring(dir, args);
    let mut all = Command::new("setpriv");
    all.args(["--bounding-set", "-dac_override,-dac_read_search"]);
    all.args(["--inh-caps", "-all"]).arg(command.get_program());
    all.args(command.get_args()).stdin(Stdio::null());
    end(&mut all)
}

#[test]
fn whoever_may_use_one_partition_needs_no_access_to_its_disk() {
    const NAME: &str = "whoever_may_use_one_partition_needs_no_access_to_its_disk";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    let folder = folder();
    let dir = folder.path().join("volume");
    make(&dir, &disk, "");
    let _closed = Closed::new(disk.disk_path());
    let _link = Link::new(&disk);
    for args in ["demo-record {} --for 1s", "info {}", "streams {}"] {
        let ended = without_privileges(&dir, args);
        assert_eq!(ended.code, Some(0), "{args}: {ended:?}");
    }
    let elsewhere = folder.path().join("elsewhere");
    let rebuild = format!("rebuild {LINKS}/{} {{}}", disk.partuuid);
    let ended = without_privileges(&elsewhere, &rebuild);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let config = fs::read_to_string(elsewhere.join("volume.json")).unwrap();
    assert!(
        config.contains(&format!("\"partuuid\": \"{}\"", disk.partuuid)),
        "{config}"
    );
    // Formatting needs to see the table.
    let create = format!("create {{}} --force --yes --partition {}", disk.partuuid);
    let image = disk.inside();
    let ended = without_privileges(&elsewhere, &create);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("Permission denied"),
        "{}",
        ended.stderr
    );
    assert_eq!(disk.inside(), image);
}
