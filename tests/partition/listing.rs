//! `camring devices`: what it says of disks made for the purpose.

use std::process::Command;

use serde_json::Value;

use crate::disk::{Disk, SWAP, tool};
use crate::make;
use crate::program::{folder, json, succeed};
use crate::skip::skip;

/// What is listed of the device at `path`.
fn listed(path: &std::path::Path) -> Value {
    let folder = folder();
    let all = json(folder.path(), "devices --json");
    let devices = all["devices"].as_array().unwrap().clone();
    let found = devices
        .into_iter()
        .find(|device| device["path"] == *path.to_str().unwrap());
    found.unwrap_or_else(|| panic!("{} is not listed", path.display()))
}

#[test]
fn a_partition_is_listed_with_what_is_on_it() {
    const NAME: &str = "a_partition_is_listed_with_what_is_on_it";
    for sector_len in [512, 4096] {
        let disk = match Disk::new(sector_len) {
            Ok(disk) => disk,
            Err(reason) => return skip(NAME, reason),
        };
        let empty = listed(&disk.path());
        assert_eq!(empty["partuuid"], disk.partuuid);
        assert_eq!(
            (&empty["type"], &empty["name"]),
            (&"Linux swap".into(), &"ours".into())
        );
        assert_eq!(
            (&empty["len"], &empty["number"]),
            (&(32 << 20).into(), &2.into())
        );
        assert_eq!(
            (&empty["content"], &empty["is_suitable"]),
            (&"nothing".into(), &true.into())
        );
        assert_eq!(empty["sector_len"], sector_len);
        assert_eq!(empty["direct_offset_len"], sector_len);
        assert!(tool("mkfs.ext4", &["-q", "-F", "-L", "home"], &disk.path()));
        let ext4 = listed(&disk.path());
        assert_eq!(
            (&ext4["content"], &ext4["is_suitable"]),
            (&"ext4 \"home\"".into(), &false.into())
        );
        assert!(tool("wipefs", &["-qa"], &disk.path()));
        assert!(tool("mkswap", &["-q"], &disk.path()));
        assert_eq!(listed(&disk.path())["content"], "swap");
        let folder = folder();
        make(&folder.path().join("volume"), &disk, "");
        let volume = listed(&disk.path());
        let content = volume["content"].as_str().unwrap();
        assert!(content.starts_with("camring volume "), "{content}");
        assert_eq!(volume["is_suitable"], false);
        let whole = listed(disk.disk_path());
        assert_eq!(whole["obstacle"], "a whole disk, not a partition");
        assert_eq!(
            (&whole["sfdisk"], &whole["partuuid"]),
            (&Value::Null, &Value::Null)
        );
    }
}

/// The way from a blank disk: the command that is shown makes a partition that can be formatted.
#[test]
fn the_command_that_is_shown_for_a_blank_disk_works() {
    const NAME: &str = "the_command_that_is_shown_for_a_blank_disk_works";
    // For its turn only.
    let _turn = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    for sector_len in [512, 4096] {
        let disk = Disk::blank(sector_len, 40 << 20).unwrap();
        let shown = listed(disk.disk_path());
        let command = shown["sfdisk"].as_str().unwrap();
        assert!(command.to_uppercase().contains(SWAP), "{command}");
        let folder = folder();
        assert!(succeed(folder.path(), "devices").contains(command));
        let made = Command::new("sh").args(["-c", command]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let partition = format!("{}p1", disk.disk_path().display());
        // Without udev, sfdisk may not have told the kernel.
        tool("partx", &["-a"], disk.disk_path());
        let made = listed(partition.as_ref());
        assert_eq!(made["is_suitable"], true, "{made}");
        let create = format!(
            "create {{}} --yes --partition {}",
            made["partuuid"].as_str().unwrap()
        );
        succeed(&folder.path().join("volume"), &create);
    }
}
