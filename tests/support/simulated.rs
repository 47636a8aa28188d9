//! Volumes on simulated disks, recorded by a clock that the test moves: what several suites need.
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::sync::Arc;

use camring::base::geometry::{Geometry, VolumeId};
use camring::base::time::{ManualClock, Now};
use camring::io::sim::{Image, SimDisk, SimOptions};
use camring::volume::Volume;
use camring::volume::create::write_first_headers;
use camring::volume::locate::Located;
use camring::volume::medium::SimMedium;
use camring::writer::WriterOptions;

/// When simulated recordings begin.
pub(crate) const START_US: i64 = 1_700_000_000_000_000;

/// A disk with an empty volume of `slot_count` blocks of 64 KiB.
pub(crate) fn disk(slot_count: u64) -> SimDisk {
    disk_with(slot_count, SimOptions::default())
}

/// The same, with `options`.
pub(crate) fn disk_with(slot_count: u64, options: SimOptions) -> SimDisk {
    let geometry = Geometry::new(64 << 10, slot_count, 4096).unwrap();
    let disk = SimDisk::new(Image::new(geometry.device_len()), options);
    let located = Located {
        volume: VolumeId([7; 16]),
        geometry,
    };
    write_first_headers(&mut disk.open(), &located).unwrap();
    disk
}

/// A clock that stands at the beginning.
pub(crate) fn clock() -> ManualClock {
    ManualClock::new(Now {
        boot_us: 1_000_000,
        utc_us: START_US,
    })
}

/// A recording by `clock`, with a commit every `commit_us`.
pub(crate) fn options(clock: &ManualClock, commit_us: u64) -> WriterOptions {
    WriterOptions {
        commit_us,
        clock: Arc::new(clock.clone()),
        control: false,
        ..WriterOptions::default()
    }
}

/// What `disk` is to a volume.
pub(crate) fn medium(disk: &SimDisk) -> Arc<SimMedium> {
    Arc::new(SimMedium::new(disk.clone()))
}

/// The volume on `disk`, as one finds it.
pub(crate) fn open(disk: &SimDisk) -> Volume {
    Volume::open_on(medium(disk), None).unwrap()
}
