//! Disks that come and go: other names, other machines, other tables.

use std::fs;

use camring::Volume;
use camring::io::{gpt::PartUuid, partition};

use crate::disk::{Disk, SWAP, tool};
use crate::program::{folder, run, succeed};
use crate::recorded::record;
use crate::recording::numbers_of;
use crate::skip::skip;
use crate::{create, make};

/// The device has another name after the next boot; its directory is lost, or the disk carried to
/// another machine.
#[test]
fn a_disk_under_another_name_plays_at_once() {
    const NAME: &str = "a_disk_under_another_name_plays_at_once";
    for sector_len in [512, 4096] {
        let mut disk = match Disk::new(sector_len) {
            Ok(disk) => disk,
            Err(reason) => return skip(NAME, reason),
        };
        let folder = folder();
        let dir = folder.path().join("volume");
        make(&dir, &disk, "--block-size 1MiB");
        record(&dir, 0..500);
        let before = numbers_of(&Volume::open(&dir).unwrap(), 1);
        let old_path = disk.path();
        disk.detach();
        let gone = run(&dir, "info {}");
        assert_eq!(gone.code, Some(10), "{gone:?}");
        assert!(gone.stderr.contains(&disk.partuuid), "{}", gone.stderr);
        let in_the_way = Disk::blank(512, 1 << 20).unwrap();
        disk.plug_in();
        assert_ne!(disk.path(), old_path);
        drop(in_the_way);
        assert_eq!(numbers_of(&Volume::open(&dir).unwrap(), 1), before);
        let partuuid: PartUuid = disk.partuuid.parse().unwrap();
        let found = partition::find_all(partuuid).unwrap();
        assert_eq!(found.len(), 1, "without libblkid it is found as well");
        assert_eq!((&found[0].path, found[0].len), (&disk.path(), 32 << 20));
        let image = disk.everything();
        let elsewhere = folder.path().join("elsewhere");
        succeed(
            &elsewhere,
            &format!("rebuild {} {{}}", disk.path().display()),
        );
        assert_eq!(disk.everything(), image, "rebuilding only reads");
        assert_eq!(numbers_of(&Volume::open(&elsewhere).unwrap(), 1), before);
        record(&elsewhere, 600..700);
    }
}

/// The directory of a volume that was destroyed by another one on its partition.
#[test]
fn a_partition_that_holds_another_volume_is_not_opened() {
    const NAME: &str = "a_partition_that_holds_another_volume_is_not_opened";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    let folder = folder();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    make(&old, &disk, "--block-size 1MiB");
    record(&old, 0..2_000);
    make(&new, &disk, "--force --block-size 256KiB");
    for args in ["info {}", "demo-record {} --for 1s"] {
        let ended = run(&old, args);
        assert_eq!(ended.code, Some(10), "{args}: {ended:?}");
        assert!(ended.stderr.contains("formatted anew"), "{}", ended.stderr);
    }
    assert_eq!(Volume::open(&new).unwrap().streams().len(), 0);
    // Even if nothing is left of the new volume's first headers, the old one does not come back.
    disk.write(0, &vec![0; 1 << 20]);
    let path = disk.path();
    let ended = run(
        &folder.path().join("third"),
        &format!("rebuild {} {{}}", path.display()),
    );
    assert_eq!(ended.code, Some(10), "{ended:?}");
}

/// Somebody shrinks the partition under a volume.
#[test]
fn a_partition_that_was_shrunk_is_read_and_not_recorded() {
    const NAME: &str = "a_partition_that_was_shrunk_is_read_and_not_recorded";
    let mut disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    let folder = folder();
    let dir = folder.path().join("volume");
    make(&dir, &disk, "--block-size 1MiB");
    record(&dir, 0..500);
    let before = numbers_of(&Volume::open(&dir).unwrap(), 1);
    disk.detach();
    let mut smaller = disk;
    smaller.plug_in();
    smaller.write_table(SWAP, 24 << 20).unwrap();
    smaller.detach();
    smaller.plug_in();
    let image = smaller.everything();
    let info = succeed(&dir, "info {}");
    assert!(info.contains("8.0 MiB"), "{info}");
    assert_eq!(numbers_of(&Volume::open(&dir).unwrap(), 1), before);
    let recorded = run(&dir, "demo-record {} --for 1s");
    assert_eq!(recorded.code, Some(3), "{recorded:?}");
    assert!(
        recorded.stderr.contains("can be read, not recorded"),
        "{}",
        recorded.stderr
    );
    assert_eq!(smaller.everything(), image);
}

/// Two disks of which one is a copy of the other: nobody knows which one is meant.
#[test]
fn a_copied_disk_is_not_formatted() {
    const NAME: &str = "a_copied_disk_is_not_formatted";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    let copy = disk.copy();
    let images = [disk.everything(), copy.everything()];
    let folder = folder();
    let dir = folder.path().join("volume");
    let ended = create(&dir, &disk, "--yes --force");
    assert_eq!(ended.code, Some(11), "{ended:?}");
    assert!(
        ended.stderr.contains("has the same PARTUUID"),
        "{}",
        ended.stderr
    );
    assert_eq!([disk.everything(), copy.everything()], images);
    drop(copy);
    make(&dir, &disk, "");
}

/// The table was changed, and the kernel still goes by the old one.
#[test]
fn a_table_that_the_kernel_does_not_know_is_not_believed() {
    const NAME: &str = "a_table_that_the_kernel_does_not_know_is_not_believed";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    assert!(tool("mkswap", &["-q"], &disk.path()));
    disk.write_table(SWAP, 24 << 20).unwrap();
    let image = disk.everything();
    let folder = folder();
    let ended = create(&folder.path().join("volume"), &disk, "--yes");
    assert!(matches!(ended.code, Some(2 | 10)), "{ended:?}");
    assert_eq!(disk.everything(), image);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
