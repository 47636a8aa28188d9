//! Tests of `disks`: mounts, swaps and system disks, from made-up lists; no device is read.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::*;

fn number(minor: u32) -> DeviceNumber {
    DeviceNumber { major: 8, minor }
}

fn device(name: &str, minor: u32, disk: Option<&str>, parts: &[&str]) -> BlockDevice {
    BlockDevice {
        name: name.to_owned(),
        path: Path::new("/dev").join(name),
        number: number(minor),
        len: 1 << 30,
        partition: disk.map(|disk| PartitionPlace {
            disk: disk.to_owned(),
            number: minor,
            offset: 1 << 20,
        }),
        is_read_only: false,
        holders: Vec::new(),
        parts: parts.iter().map(ToString::to_string).collect(),
        traits: DiskTraits::default(),
    }
}

fn mounted(mounts: &[(u32, &str)]) -> Uses {
    let mounts = mounts.iter();
    Uses {
        mounts: mounts
            .map(|(minor, place)| (number(*minor), PathBuf::from(place)))
            .collect(),
        swaps: Vec::new(),
    }
}

#[test]
fn mounts_are_read_with_their_device_and_odd_names() {
    let text = b"\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:2 / / rw shared:1 master:2 - ext4 /dev/sda2 rw
31 27 0:44 /sub /my\\040disk rw - btrfs /dev/sdb\\0111 rw
torn 1
";
    let mounts = parse_mounts(text);
    let seen: Vec<_> = mounts
        .iter()
        .map(|mount| (mount.number.to_string(), mount.place.as_path()))
        .collect();
    let expected = [("0:21", "/proc"), ("8:2", "/"), ("0:44", "/my disk")]
        .map(|(number, place)| (number.to_owned(), Path::new(place)));
    assert_eq!(seen, expected);
    assert_eq!(mounts.last().unwrap().source, Path::new("/dev/sdb\t1"));
}

#[test]
fn swaps_are_read_behind_the_titles() {
    let text = b"Filename\tType\n/dev/sda3   partition 1 0 -2\n/swap\\040file file 1 0 -3\n";
    let expected = ["/dev/sda3", "/swap file"].map(PathBuf::from);
    assert_eq!(parse_swaps(text), expected);
    assert!(parse_swaps(b"Filename\tType\n").is_empty());
    assert!(parse_swaps(b"").is_empty());
}

#[test]
fn the_system_lies_on_every_disk_below_its_places() {
    let devices = [
        device("sda", 0, None, &[]),
        device("sda1", 1, Some("sda"), &[]),
        device("sdb", 16, None, &[]),
        device("sdb1", 17, Some("sdb"), &[]),
        device("sdc", 32, None, &[]),
        device("sdc1", 33, Some("sdc"), &[]),
        device("md0", 50, None, &["sdb1", "sdc1"]),
        device("dm-0", 51, None, &["md0"]),
        device("sdd", 60, None, &[]),
    ];
    let disks = |mounts: &[(u32, &str)]| mounted(mounts).system_disks(&devices);
    let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(disks(&[(1, "/"), (60, "/srv")]), names(&["sda"]));
    assert_eq!(disks(&[(51, "/")]), names(&["sdb", "sdc"]), "LVM on RAID");
    assert_eq!(
        disks(&[(51, "/"), (1, "/boot")]),
        names(&["sdb", "sdc", "sda"])
    );
    assert_eq!(
        disks(&[(60, "/"), (1, "/")]),
        names(&["sda"]),
        "the last one counts"
    );
    assert_eq!(disks(&[(99, "/"), (1, "/boot")]), None, "/ is on no disk");
    assert_eq!(disks(&[(1, "/home")]), None);
}

#[test]
fn a_device_that_is_in_a_loop_of_its_own_is_no_trouble() {
    let devices = [device("dm-0", 1, None, &["dm-0"])];
    assert_eq!(
        mounted(&[(1, "/")]).system_disks(&devices).unwrap(),
        ["dm-0"]
    );
}

#[test]
fn what_is_in_use_is_told_by_number() {
    let uses = Uses {
        swaps: vec![number(3)],
        ..mounted(&[(1, "/srv"), (2, "/"), (1, "/mnt")])
    };
    let places: Vec<_> = uses.places_of(number(1)).collect();
    assert_eq!(places, [Path::new("/srv"), Path::new("/mnt")]);
    assert!(uses.is_swap(number(3)) && !uses.is_swap(number(1)));
}
