//! Tests of `gpt`: tables laid out by hand, whole and damaged; no device is read.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use super::*;

const UUID: &str = "6d1f2f3a-0b5c-4d7e-8f90-a1b2c3d4e5f6";

/// A disk of 1 MiB with one partition, from sector 100 to 199, and both copies of the table.
/// Laid out by hand, after the UEFI specification.
fn disk(sector_len: usize) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    let last = disk.len() / sector_len - 1;
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[446 + 4] = 0xee;
    let mut entries = vec![0; 128 * 128];
    let swap = [
        0x6d, 0xfd, 0x57, 0x06, 0xab, 0xa4, 0xc4, 0x43, 0x84, 0xe5, 0x09, 0x33, 0xc8, 0x4b, 0x4f,
        0x4f,
    ];
    entries[128..144].copy_from_slice(&swap);
    let uuid = [
        0x3a, 0x2f, 0x1f, 0x6d, 0x5c, 0x0b, 0x7e, 0x4d, 0x8f, 0x90, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5,
        0xf6,
    ];
    entries[144..160].copy_from_slice(&uuid);
    entries[160..168].copy_from_slice(&100_u64.to_le_bytes());
    entries[168..176].copy_from_slice(&199_u64.to_le_bytes());
    entries[184..190].copy_from_slice(&[b'r', 0, b'e', 0, b'c', 0]);
    let entries_sectors = entries.len() / sector_len;
    for (own, other, at) in [(1, last, 2), (last, 1, last - entries_sectors)] {
        disk[at * sector_len..at * sector_len + entries.len()].copy_from_slice(&entries);
        let mut header = [0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x0001_0000_u32.to_le_bytes());
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[24..32].copy_from_slice(&(own as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(other as u64).to_le_bytes());
        header[72..80].copy_from_slice(&(at as u64).to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
        let crc = crc32(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        disk[own * sector_len..own * sector_len + 92].copy_from_slice(&header);
    }
    disk
}

fn entries(disk: &[u8], sector_len: u32) -> Option<Vec<Entry>> {
    let mut read = |offset: u64, len: usize| {
        let from = usize::try_from(offset).unwrap().min(disk.len());
        let to = (from + len).min(disk.len());
        Ok::<_, ()>(disk[from..to].to_vec())
    };
    parse(disk.len() as u64, sector_len, &mut read).unwrap()
}

#[test]
fn the_checksum_has_its_published_check_value() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn a_partition_is_read_with_sectors_of_either_length() {
    for sector_len in [512, 4096] {
        let found = entries(&disk(sector_len as usize), sector_len).unwrap();
        let expected = Entry {
            number: 2,
            partuuid: UUID.parse().unwrap(),
            type_id: TypeId::LINUX_SWAP,
            offset: 100 * u64::from(sector_len),
            len: 100 * u64::from(sector_len),
            name: "rec".to_owned(),
        };
        assert_eq!(found, [expected]);
    }
    assert_eq!(entries(&disk(512), 4096), None, "it has other sectors");
}

#[test]
fn the_second_copy_stands_in_for_a_damaged_first_one() {
    let whole = disk(512);
    let expected = entries(&whole, 512);
    for at in [512, 512 + 24, 512 + 90, 1024 + 130, 1024 + 16_000] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        assert_eq!(entries(&damaged, 512), expected, "byte {at}");
        let last = damaged.len() - 512;
        damaged[last + 20] ^= 1;
        assert_eq!(entries(&damaged, 512), None, "byte {at}, and the copy");
    }
}

/// Lengths and places that a header with a good checksum may still claim.
#[test]
fn a_table_that_makes_no_sense_is_none() {
    for (at, value) in [
        (12, u32::MAX),
        (12, 91),
        (72, 1),
        (76, u32::MAX),
        (80, 0),
        (80, u32::MAX),
        (84, 0),
        (84, u32::MAX),
    ] {
        let mut disk = disk(512);
        let last = disk.len() - 512;
        for header in [512, last] {
            disk[header + at..header + at + 4].copy_from_slice(&value.to_le_bytes());
            disk[header + 16..header + 20].fill(0);
            let crc = crc32(&disk[header..header + 92]);
            disk[header + 16..header + 20].copy_from_slice(&crc.to_le_bytes());
        }
        assert_eq!(entries(&disk, 512), None, "{value} at {at}");
    }
    let mut without = disk(512);
    without[446 + 4] = 0x83;
    assert_eq!(entries(&without, 512), None, "an old table counts");
    assert_eq!(entries(&[0; 100], 512), None);
    assert_eq!(entries(&disk(512)[..5000], 512), None, "cut short");
}

#[test]
fn only_the_full_form_of_an_identity_is_taken() {
    let upper = UUID.to_uppercase().parse::<PartUuid>().unwrap();
    assert_eq!(upper.to_string(), UUID);
    let without = UUID.replace('-', "");
    for text in ["", "c3d4e5f6-01", without.as_str(), "no/uuid"] {
        assert!(text.parse::<PartUuid>().is_err(), "{text}");
    }
}
