//! What rot takes from the newest blocks, where recovery looks: all the rest is served, and what is
//! gone is told.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use camring::base::time::TimeRange;
use camring::block::PAGE_LEN;
use camring::frame::GapCause;
use camring::reader::Query;
use camring::volume::Volume;
use camring::volume::verify::{VerifyOptions, VerifyReport};
use camring::writer::{Writer, WriterOptions};

use super::recording::{gaps_in, numbers_of, read, volume};
use super::{CAMERA, record};

const BLOCK_LEN: usize = 256 << 10;

/// Puts zeroes into the volume's data.
fn zero(dir: &Path, offset: usize, len: usize) {
    let data = OpenOptions::new().write(true).open(dir.join("data"));
    let data = data.unwrap();
    data.write_all_at(&vec![0; len], offset as u64).unwrap();
}

fn slot_of(sequence: u64) -> usize {
    (sequence as usize - 1) % 16
}

fn verified(volume: &Volume) -> VerifyReport {
    let options = VerifyOptions::default();
    volume.verify(&options, &mut |_, _| {}).unwrap()
}

/// The newest block that holds frames, in a volume that the ring has gone around in or not.
fn recorded(count: u64) -> (tempfile::TempDir, u64) {
    let dir = volume(16, BLOCK_LEN as u32);
    record(dir.path(), 0..count);
    let volume = Volume::open(dir.path()).unwrap();
    let newest = volume.table().blocks().last().unwrap().sequence;
    (dir, newest)
}

#[test]
fn a_lost_header_of_one_of_the_newest_blocks_loses_no_frame() {
    for count in [400, 1500] {
        for back in 0..4 {
            let (dir, newest) = recorded(count);
            let before = numbers_of(&Volume::open(dir.path()).unwrap(), CAMERA.0);
            zero(dir.path(), slot_of(newest - back) * BLOCK_LEN, PAGE_LEN);
            for without_cache in [false, true] {
                if without_cache {
                    std::fs::remove_file(dir.path().join("blocktable")).unwrap();
                    std::fs::remove_file(dir.path().join("timeline")).unwrap();
                }
                let volume = Volume::open(dir.path()).unwrap();
                let found = numbers_of(&volume, CAMERA.0);
                assert_eq!(found, before, "{back} blocks before block {newest}");
                let report = verified(&volume);
                assert_eq!(report.damage_count, 1, "{report:?}");
                assert_eq!(report.damage[0].sequence, newest - back);
                let is_seen = back == 0 || without_cache;
                assert!(!is_seen || back > 1 || volume.is_damaged());
            }
            // Nor does the next life give it up.
            record(dir.path(), count..count + 10);
            let after = numbers_of(&Volume::open(dir.path()).unwrap(), CAMERA.0);
            let is_there = |number: &u64| after.binary_search(number).is_ok();
            assert!((count - 40..count + 10).all(|number| is_there(&number)));
        }
    }
}

#[test]
fn a_newest_block_that_is_gone_is_told_as_damage() {
    for back in 0..3 {
        let (dir, newest) = recorded(400);
        let before = Volume::open(dir.path()).unwrap();
        let row = before.table().block(newest - back).unwrap();
        let whole = numbers_of(&before, CAMERA.0);
        zero(dir.path(), slot_of(newest - back) * BLOCK_LEN, BLOCK_LEN);
        let volume = Volume::open(dir.path()).unwrap();
        let items = read(&volume, Query::time([CAMERA], TimeRange::ALL));
        let is_told = |gap: &camring::frame::Gap| {
            let end = gap.end.unwrap_or(row.times.end);
            gap.cause == GapCause::Damaged && gap.start <= row.times.end && end >= row.times.start
        };
        assert!(
            gaps_in(&items).iter().any(is_told),
            "{back}: {:?}",
            gaps_in(&items)
        );
        assert!(numbers_of(&volume, CAMERA.0).len() < whole.len());
        let report = verified(&volume);
        assert!(
            report.damage.iter().any(|d| d.sequence == newest - back),
            "{report:?}"
        );
        if back == 0 {
            assert!(volume.is_damaged());
            assert_eq!(volume.lost_blocks(), [row]);
        }
    }
}

#[test]
fn what_a_file_that_was_cut_short_lacks_is_told() {
    let (dir, newest) = recorded(400);
    let path = dir.path().join("data");
    let whole_len = std::fs::metadata(&path).unwrap().len();
    let cut_len = 4 * BLOCK_LEN as u64;
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(cut_len)
        .unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert!(volume.is_damaged());
    assert_eq!(volume.missing_len(), whole_len - cut_len);
    let report = verified(&volume);
    assert!(!report.is_whole());
    assert_eq!(report.missing_len, whole_len - cut_len);
    let told: Vec<_> = report.damage.iter().map(|damage| damage.sequence).collect();
    for sequence in 5..=newest {
        assert!(told.contains(&sequence), "block {sequence} of {told:?}");
    }
    let gaps = gaps_in(&read(&volume, Query::time([CAMERA], TimeRange::ALL)));
    assert!(
        gaps.iter().any(|gap| gap.cause == GapCause::Damaged),
        "{gaps:?}"
    );
    // Without the cache nobody knows which blocks there were; that some are missing is known.
    std::fs::remove_file(dir.path().join("blocktable")).unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert!(volume.is_damaged() && !verified(&volume).is_whole());
    assert!(Writer::open(dir.path(), WriterOptions::default()).is_err());
}
