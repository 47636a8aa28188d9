//! Recording on a partition: what is pushed is read back, and no byte outside of it changes.

use std::path::Path;

use camring::Writer;
use camring::frame::StreamId;
use camring::io::blkid;
use camring::volume::Volume;
use camring::writer::WriterOptions;
use serde_json::Value;

use crate::disk::{Disk, tool};
use crate::program::{folder, json, run, succeed};
use crate::recording::{frame, numbers_of};
use crate::skip::skip;
use crate::{camera, create, make};

/// Pushes frames number `numbers` of two cameras into the volume in `dir`.
pub(crate) fn record(dir: &Path, numbers: std::ops::Range<u64>) {
    let writer = Writer::open(dir, WriterOptions::default()).unwrap();
    let mut producer = writer.producer().unwrap();
    producer.set_waiting(true);
    for stream in [1, 2] {
        let setup = camera::setup(&format!("camera {stream}"));
        producer.add_stream(StreamId(stream), setup).unwrap();
    }
    for number in numbers {
        for stream in [1, 2] {
            producer
                .push(StreamId(stream), frame(stream, number))
                .unwrap();
        }
        // So that both streams lie side by side in every stretch of the ring.
        if number % 250 == 0 {
            writer.commit().unwrap();
        }
    }
    drop(producer);
    writer.close().unwrap();
}

/// The ring goes around twice, is opened anew, and goes on.
#[test]
fn a_partition_is_recorded_around_and_read_back() {
    const NAME: &str = "a_partition_is_recorded_around_and_read_back";
    for sector_len in [512, 4096] {
        let disk = match Disk::new(sector_len) {
            Ok(disk) => disk,
            Err(reason) => return skip(NAME, reason),
        };
        assert!(tool("mkswap", &["-q"], &disk.path()));
        let outside = disk.outside();
        let folder = folder();
        let dir = folder.path().join("volume");
        make(&dir, &disk, "--block-size 1MiB");
        assert_eq!(blkid::signatures(&disk.path()).unwrap(), [], "swap is gone");
        let info = json(&dir, "info {} --json");
        assert_eq!(
            (&info["block_count"], &info["len"]),
            (&32.into(), &(32 << 20).into())
        );
        assert_eq!(info["disk"]["is_partition"], true);
        for (from, to) in [(0, 5_000), (6_000, 9_000)] {
            record(&dir, from..to);
            let volume = Volume::open(&dir).unwrap();
            for stream in [1, 2] {
                let numbers = numbers_of(&volume, stream);
                let (first, last) = (numbers[0], *numbers.last().unwrap());
                assert!(last == to - 1 && first > 0, "{first} to {last}");
                // None is missing in between, but those that were never pushed.
                let pushed = (first..to).filter(|number| !(5_000..6_000).contains(number));
                assert_eq!(numbers, pushed.collect::<Vec<_>>());
            }
            succeed(&dir, "verify {}");
        }
        assert_eq!(
            disk.outside(),
            outside,
            "sectors of {sector_len}: a neighbour was changed"
        );
    }
}

/// A ring per disk, each with its own writer; what is on them is played together.
#[test]
fn two_disks_are_recorded_at_once_and_played_together() {
    const NAME: &str = "two_disks_are_recorded_at_once_and_played_together";
    let first = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    let disks = [first.beside(), first];
    let folder = folder();
    let dirs = ["a", "b"].map(|name| folder.path().join(name));
    for (dir, disk) in dirs.iter().zip(&disks) {
        make(dir, disk, "--block-size 1MiB");
    }
    std::thread::scope(|scope| {
        for (dir, numbers) in dirs.iter().zip([0..100, 100..200]) {
            scope.spawn(|| record(dir, numbers));
        }
    });
    let both = format!("{{}} {}", dirs[1].display());
    let args = format!("play {both} --stream 1 --speed 64 --print --json");
    let lines = succeed(&dirs[0], &args);
    // Playing goes by the clock: what the second disk brings too late at this speed is left out.
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let times: Vec<_> = lines
        .iter()
        .map(|line| line["time"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[0].contains("22:13:20.000000"), "{times:?}");
    assert!(
        times.last().unwrap().contains("22:13:27.960000"),
        "{times:?}"
    );
}

/// What a size leaves of the partition is not touched either.
#[test]
fn a_size_leaves_the_rest_of_the_partition_alone() {
    const NAME: &str = "a_size_leaves_the_rest_of_the_partition_alone";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    assert!(tool("mkswap", &["-q"], &disk.path()));
    let rest = vec![0xa5; 16 << 20];
    disk.write(16 << 20, &rest);
    let folder = folder();
    let dir = folder.path().join("volume");
    let too_long = create(&dir, &disk, "--size 33MiB --yes");
    assert_eq!(too_long.code, Some(2), "{too_long:?}");
    assert!(!dir.exists());
    make(&dir, &disk, "--size 16MiB");
    record(&dir, 0..5_000);
    assert!(disk.read(16 << 20, 16 << 20) == rest);
}

/// Machines with longer pages have the signature of swap further behind.
#[test]
fn the_signature_of_swap_goes_wherever_it_is() {
    const NAME: &str = "the_signature_of_swap_goes_wherever_it_is";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    let folder = folder();
    for page_len in [4096, 8192, 16384, 32768, 65536] {
        let args = ["-q", "-p", &page_len.to_string()];
        assert!(tool("mkswap", &args, &disk.path()), "{page_len}");
        let found = blkid::signatures(&disk.path()).unwrap();
        assert_eq!(found.len(), 1, "{page_len}: {found:?}");
        let dir = folder.path().join(page_len.to_string());
        make(&dir, &disk, "--force");
        assert_eq!(blkid::signatures(&disk.path()).unwrap(), [], "{page_len}");
        assert!(!tool("swapon", &[], &disk.path()), "{page_len}");
        let first = disk.read(0, 64 << 10);
        let is_left = first.windows(10).any(|bytes| bytes == b"SWAPSPACE2");
        assert!(!is_left, "{page_len}");
    }
}

/// Swap, mounts and other recorders stay out.
#[test]
fn nobody_else_gets_a_partition_that_is_recorded() {
    const NAME: &str = "nobody_else_gets_a_partition_that_is_recorded";
    let disk = match Disk::new(512) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    let folder = folder();
    let dir = folder.path().join("volume");
    make(&dir, &disk, "");
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(dir.join("volume.json"), other.join("volume.json")).unwrap();
    let writer = Writer::open(&dir, WriterOptions::default()).unwrap();
    assert!(!tool("mkswap", &["-q"], &disk.path()), "mkswap");
    assert!(!tool("mkfs.ext4", &["-q", "-F"], &disk.path()), "mkfs");
    let rebuild = format!("rebuild {} {{}}", disk.path().display());
    for args in ["demo-record {} --for 1s", &rebuild] {
        let ended = run(&other, args);
        assert_eq!(ended.code, Some(11), "{args}: {ended:?}");
    }
    let force = create(&folder.path().join("third"), &disk, "--force --yes");
    assert_eq!(force.code, Some(11), "{force:?}");
    assert_eq!(json(&other, "info {} --json")["is_being_recorded"], true);
    writer.close().unwrap();
    succeed(&other, "demo-record {} --for 1s");
}

/// The disk is told that the old content is not needed, and forgets it.
#[test]
fn what_is_discarded_is_gone() {
    const NAME: &str = "what_is_discarded_is_gone";
    let disk = match Disk::new(4096) {
        Ok(disk) => disk,
        Err(reason) => return skip(NAME, reason),
    };
    assert!(tool("mkswap", &["-q"], &disk.path()));
    disk.write(20 << 20, &[0x5a; 4096]);
    let outside = disk.outside();
    let folder = folder();
    let dir = folder.path().join("volume");
    let ended = create(&dir, &disk, "--discard --yes");
    if ended.stderr.contains("cannot discard") {
        return skip(NAME, "the disk cannot discard");
    }
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(disk.read(20 << 20, 4096).iter().all(|byte| *byte == 0));
    assert_eq!(disk.outside(), outside);
    record(&dir, 0..100);
}
