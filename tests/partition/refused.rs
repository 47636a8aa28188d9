//! What must not be formatted: each is refused by its name, and not a byte is written.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::disk::{Disk, Plan, tool};
use crate::program::{Running, camring, folder, run};
use crate::pseudo::Pseudo;
use crate::skip::skip;
use crate::{create, make};

/// Everything that can be allowed on the command line.
const ALL: &str = "--yes --force --allow-system-disk";

/// Formatting is refused with `code` and `text`; the disk stays as it was, to the byte.
fn refuses(disk: &Disk, code: i32, text: &str) {
    let folder = folder();
    let dir = folder.path().join("volume");
    let image = disk.everything();
    for options in [ALL, "--yes", "--dry-run --force", "--force"] {
        let ended = create(&dir, disk, options);
        assert_eq!(ended.code, Some(code), "{text}, {options}: {ended:?}");
        assert!(
            ended.stderr.contains(text),
            "{:?} lacks {text:?}",
            ended.stderr
        );
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(!dir.exists(), "{text}: a directory is left");
    }
    assert_eq!(disk.everything(), image, "{text}: the disk was changed");
}

#[test]
fn every_file_system_is_refused_by_its_name() {
    const NAME: &str = "every_file_system_is_refused_by_its_name";
    let mib = 1 << 20;
    for (program, args, len, text) in [
        (
            "mkfs.ext4",
            &["-q", "-F", "-L", "home"][..],
            32 * mib,
            "holds ext4 \"home\"",
        ),
        ("mkfs.ext2", &["-q", "-F"], 32 * mib, "holds ext2"),
        (
            "mkfs.xfs",
            &["-q", "-f", "-L", "films"],
            320 * mib,
            "holds xfs \"films\"",
        ),
        ("mkfs.btrfs", &["-q", "-f"], 128 * mib, "holds btrfs"),
        ("mkfs.vfat", &[], 32 * mib, "holds vfat"),
    ] {
        let plan = Plan {
            len,
            ..Plan::default()
        };
        let disk = match Disk::planned(&plan) {
            Ok(disk) => disk,
            Err(reason) => return skip(NAME, reason),
        };
        assert!(tool(program, args, &disk.path()), "{program}");
        refuses(&disk, 12, text);
    }
}

/// Signatures that other tools have made elsewhere; see tests/data/signatures.
#[test]
fn members_of_lvm_raid_and_encrypted_volumes_are_refused_by_their_names() {
    const NAME: &str = "members_of_lvm_raid_and_encrypted_volumes_are_refused_by_their_names";
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/signatures");
    for (file, offset, text) in [
        ("lvm2.bin", 0, "holds LVM2_member"),
        ("luks1.bin", 0, "holds crypto_LUKS"),
        ("luks2.bin", 0, "holds crypto_LUKS \"vault\""),
        ("md1_at_4096.bin", 4096, "holds linux_raid_member"),
    ] {
        let disk = match Disk::new(512) {
            Ok(disk) => disk,
            Err(reason) => return skip(NAME, reason),
        };
        disk.write(offset, &fs::read(kept.join(file)).unwrap());
        refuses(&disk, 12, text);
    }
}

/// A file system behind the signature of swap, and tables of partitions within a partition.
#[test]
fn what_hides_behind_another_signature_is_refused() {
    const NAME: &str = "what_hides_behind_another_signature_is_refused";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    assert!(tool("mkfs.ext4", &["-q", "-F"], &disk.path()));
    let mut page_end = disk.read(4086, 10);
    page_end.copy_from_slice(b"SWAPSPACE2");
    disk.write(4086, &page_end);
    refuses(&disk, 12, "ext4");
}

#[test]
fn data_that_nobody_knows_is_refused() {
    const NAME: &str = "data_that_nobody_knows_is_refused";
    for offset in [0, 700_000, (32 << 20) - 1] {
        let disk = match Disk::new(4096) {
            Ok(disk) => disk,
            Err(reason) => return skip(NAME, reason),
        };
        disk.write(offset, b"x");
        refuses(&disk, 12, "data of an unknown kind");
        assert!(tool("mkswap", &["-q"], &disk.path()));
        make(&folder().path().join("volume"), &disk, "");
    }
}

#[test]
fn another_type_of_partition_is_refused() {
    const NAME: &str = "another_type_of_partition_is_refused";
    for (type_id, text) in [
        (
            "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
            "of type Linux filesystem",
        ),
        ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "of type EFI System"),
        (
            "12345678-9ABC-4DEF-8123-456789ABCDEF",
            "of type 12345678-9abc-4def",
        ),
    ] {
        let plan = Plan {
            type_id,
            ..Plan::default()
        };
        let disk = match Disk::planned(&plan) {
            Ok(disk) => disk,
            Err(reason) => return skip(NAME, reason),
        };
        refuses(&disk, 2, text);
    }
}

#[test]
fn a_mounted_partition_is_refused() {
    const NAME: &str = "a_mounted_partition_is_refused";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    assert!(tool("mkfs.ext4", &["-q", "-F"], &disk.path()));
    let place = folder();
    let path = disk.path();
    if !tool("mount", &["-r", path.to_str().unwrap()], place.path()) {
        return skip(NAME, "cannot mount");
    }
    let text = format!("mounted at {}", place.path().display());
    let result = std::panic::catch_unwind(|| refuses(&disk, 11, &text));
    assert!(tool("umount", &[], place.path()));
    result.unwrap();
}

#[test]
fn active_swap_is_refused() {
    const NAME: &str = "active_swap_is_refused";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    assert!(tool("mkswap", &["-q"], &disk.path()));
    if !tool("swapon", &[], &disk.path()) {
        return skip(NAME, "cannot swap");
    }
    let result = std::panic::catch_unwind(|| refuses(&disk, 11, "in use as swap"));
    assert!(tool("swapoff", &[], &disk.path()));
    result.unwrap();
    make(&folder().path().join("volume"), &disk, "");
}

/// Whoever has a device open for himself alone: a RAID, a virtual machine.
#[test]
fn a_partition_that_somebody_holds_is_refused() {
    use std::os::unix::fs::OpenOptionsExt as _;
    const NAME: &str = "a_partition_that_somebody_holds_is_refused";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    let mut options = fs::OpenOptions::new();
    let flags = rustix::fs::OFlags::EXCL.bits().cast_signed();
    let held = options.read(true).custom_flags(flags).open(disk.path());
    refuses(&disk, 11, "in use by another");
    drop(held.unwrap());
    make(&folder().path().join("volume"), &disk, "");
}

/// Only `--force` destroys a volume, and only what is asked for is lost.
#[test]
fn a_volume_is_destroyed_only_by_force() {
    const NAME: &str = "a_volume_is_destroyed_only_by_force";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    let folder = folder();
    let dir = folder.path().join("volume");
    make(&dir, &disk, "");
    let image = disk.everything();
    let other = folder.path().join("other");
    for (dir, options) in [
        (&other, "--yes"),
        (&dir, "--yes"),
        (&dir, "--dry-run --force"),
        (&dir, "--force"),
    ] {
        let ended = create(dir, &disk, options);
        let code = if options.contains("dry-run") { 0 } else { 12 };
        assert_eq!(ended.code, Some(code), "{options}: {ended:?}");
    }
    assert!(!other.exists());
    assert_eq!(disk.everything(), image);
    // Where its beginning is damaged it is still a volume.
    disk.write(0, &[0; 4096]);
    let ended = create(&other, &disk, "--yes");
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert!(
        ended.stderr.contains("holds the camring volume"),
        "{}",
        ended.stderr
    );
    make(&dir, &disk, "--force");
}

/// A word that is typed, after the partition was named.
#[test]
fn on_a_terminal_a_partition_is_formatted_only_when_that_is_confirmed() {
    const NAME: &str = "on_a_terminal_a_partition_is_formatted_only_when_that_is_confirmed";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    assert!(tool("mkswap", &["-q"], &disk.path()));
    let image = disk.everything();
    let folder = folder();
    let dir = folder.path().join("volume");
    let path = disk.path().display().to_string();
    for (answer, code) in [("no\n", 12), ("y\n", 12), ("\u{4}", 12), ("yes\n", 0)] {
        assert_eq!(disk.everything(), image, "before {answer:?}");
        let mut terminal = Pseudo::open();
        let mut command = camring(&dir, &format!("create {{}} --partition {}", disk.partuuid));
        terminal.attach(&mut command);
        let running = Running::start(&mut command);
        let asked = terminal.read_until("to go on: ");
        for told in [path.as_str(), "\"ours\"", "32.0 MiB", "holds swap"] {
            assert!(asked.contains(told), "{asked} lacks {told}");
        }
        terminal.controller.write_all(answer.as_bytes()).unwrap();
        let ended = running.end();
        assert_eq!(ended.code, Some(code), "{answer:?}: {ended:?}");
        assert_eq!(dir.exists(), code == 0, "{answer:?}");
    }
}

#[test]
fn what_is_no_partition_is_not_found() {
    let folder = folder();
    let dir = folder.path().join("volume");
    for (partuuid, code) in [
        ("00000000-1111-4222-8333-444444444444", 10),
        ("/dev/sda1", 2),
        ("c3d4e5f6-01", 2),
    ] {
        let ended = run(&dir, &format!("create {{}} --partition {partuuid} --yes"));
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains("camring devices"), "{}", ended.stderr);
        assert!(!dir.exists());
    }
}
