//! kill -9 of a recorder on a partition, judged as in `tests/kill.rs`. A lost or damaged
//! `volume.json` does not matter: the directory is rebuilt from the partition.

use std::path::Path;

use camring::Volume;
use camring::volume::rebuild::rebuild;

use crate::disk::Disk;
use crate::program::folder;
use crate::skip::skip;
use crate::{camera, lives, make};

#[test]
fn what_was_durable_on_a_partition_survives_every_kill() {
    const NAME: &str = "what_was_durable_on_a_partition_survives_every_kill";
    let mut rebuilt_count = 0;
    for sector_len in [512, 4096] {
        let disk = match Disk::new(sector_len) {
            Ok(disk) => disk,
            Err(reason) => return skip(NAME, reason),
        };
        let outside = disk.outside();
        let folder = folder();
        let dir = folder.path().join("volume");
        make(&dir, &disk, "--block-size 1MiB");
        let mut mend = |dir: &Path| {
            if Volume::open(dir).is_err() {
                std::fs::remove_dir_all(dir).unwrap();
                rebuild(&disk.path(), dir).unwrap();
                rebuilt_count += 1;
            }
        };
        lives::run_in(&dir, 12, camera::seed(), &mut |_| {}, &mut mend);
        assert_eq!(
            disk.outside(),
            outside,
            "sectors of {sector_len}: a neighbour was changed"
        );
    }
    eprintln!("rebuilt {rebuilt_count} times");
}
