//! Places that hold no volume, cannot hold one, or are in use.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use camring::ErrorKind;
use camring::base::time::TimeRange;
use camring::volume::{CreateOptions, Volume, VolumeSize};
use camring::writer::{Writer, WriterOptions};
use tempfile::TempDir;

use super::recording::{frame, frames_of, numbers_of, volume};
use super::skip::skip;
use super::{CAMERA, assert_error, open, record};

const BLOCK_LEN: u32 = 256 << 10;
/// Names a volume, and makes a process of this program its recorder.
const DIR_VARIABLE: &str = "CAMRING_HOLD_DIR";

fn empty_dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn options(replace: bool) -> CreateOptions {
    CreateOptions {
        size: VolumeSize::Blocks(16),
        block_len: Some(BLOCK_LEN),
        replace,
    }
}

fn create(dir: &Path, options: &CreateOptions) -> camring::Result<Volume> {
    Volume::create(dir, options, &mut |_, _| {})
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Reading and recording are both refused, with these words.
#[track_caller]
fn assert_refused(dir: &Path, kind: ErrorKind, words: &[&str]) {
    let reading = Volume::open(dir).unwrap_err();
    let recording = Writer::open(dir, WriterOptions::default()).unwrap_err();
    for refused in [reading, recording] {
        assert_error(&refused, kind, words);
    }
}

/// A path with a typing mistake, a file, an empty directory, somebody's photographs.
#[test]
fn a_directory_that_is_no_volume_is_told_as_such() {
    let dir = empty_dir();
    let words = ["is no camring volume", "Create one"];
    assert_refused(&dir.path().join("nowhere"), ErrorKind::NotFound, &words);
    assert_refused(dir.path(), ErrorKind::NotFound, &words);
    let photo = dir.path().join("photo.jpg");
    std::fs::write(&photo, "a photograph").unwrap();
    assert_refused(dir.path(), ErrorKind::NotFound, &words);
    assert_refused(
        &photo,
        ErrorKind::NotFound,
        &["not a directory", "Create one"],
    );
    for replace in [false, true] {
        let refused = create(dir.path(), &options(replace)).unwrap_err();
        let words = [
            "no part of a volume",
            "photo.jpg",
            "Choose an empty directory",
        ];
        assert_error(&refused, ErrorKind::Exists, &words);
    }
    assert_eq!(std::fs::read(&photo).unwrap(), b"a photograph");
    let nested = dir.path().join("a/b");
    let refused = create(&nested, &options(false)).unwrap_err();
    assert_error(
        &refused,
        ErrorKind::Io,
        &["a/b", "the path above it exists"],
    );
}

/// A data file of zeroes, of noise, of nothing, or a directory in its place.
#[test]
fn a_data_file_without_headers_is_told_as_such() {
    let dir = empty_dir();
    let data = dir.path().join("data");
    let noise: Vec<u8> = (0..4 << 20)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let words = ["no camring volume here", "Create one"];
    for bytes in [vec![0; 4 << 20], noise, vec![0; 4095], Vec::new()] {
        std::fs::write(&data, &bytes).unwrap();
        assert_refused(dir.path(), ErrorKind::NotFound, &words);
        assert!(std::fs::read(&data).unwrap() == bytes);
    }
    std::fs::remove_file(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    assert_refused(
        dir.path(),
        ErrorKind::Invalid,
        &["data", "neither a regular file"],
    );
}

/// Creating over a volume is refused unless it was asked for, and then only while nobody records;
/// whatever is refused leaves what is stored.
#[test]
fn a_volume_is_not_replaced_by_accident() {
    let dir = volume(16, BLOCK_LEN);
    record(dir.path(), 0..50);
    let refused = create(dir.path(), &options(false)).unwrap_err();
    assert_error(
        &refused,
        ErrorKind::Exists,
        &["holds a volume already", "destroys all its recordings"],
    );
    let (writer, producer) = open(dir.path(), WriterOptions::default());
    let refused = create(dir.path(), &options(true)).unwrap_err();
    assert_error(
        &refused,
        ErrorKind::Busy,
        &["is being recorded", "Stop the recorder"],
    );
    drop(producer);
    writer.close().unwrap();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..50).collect::<Vec<_>>());
    let replaced = create(dir.path(), &options(true)).unwrap();
    assert_ne!(replaced.id(), volume.id());
    assert!(frames_of(&replaced, CAMERA.0, TimeRange::ALL).is_empty());
}

/// The new volume cannot be made: then the old one is still there, with all that is in it.
#[test]
fn a_volume_that_cannot_be_replaced_is_kept() {
    let dir = volume(16, BLOCK_LEN);
    record(dir.path(), 0..50);
    let huge = CreateOptions {
        size: VolumeSize::Blocks(1 << 24),
        ..options(true)
    };
    let refused = create(dir.path(), &huge).unwrap_err();
    let words = ["are free", "Choose a smaller size, or make room"];
    assert_error(&refused, ErrorKind::Io, &words);
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..50).collect::<Vec<_>>());
}

/// Where there is no room for both, the old data goes to make room for the new one.
#[test]
fn a_volume_is_replaced_where_there_is_no_room_for_two() {
    let name = "a_volume_is_replaced_where_there_is_no_room_for_two";
    let Some(mounted) = Mounted::tmpfs(6 << 20) else {
        return skip(name, "cannot mount");
    };
    let dir = mounted.0.path().join("volume");
    match create(&dir, &options(false)) {
        Err(e) if e.kind() == ErrorKind::Unsupported => {
            return skip(name, "no direct I/O on tmpfs");
        }
        created => drop(created.unwrap()),
    }
    record(&dir, 0..50);
    let longer = |count| CreateOptions {
        size: VolumeSize::Blocks(count),
        ..options(true)
    };
    create(&dir, &longer(40)).unwrap_err();
    let volume = Volume::open(&dir).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..50).collect::<Vec<_>>());
    let replaced = create(&dir, &longer(20)).unwrap();
    assert_eq!(replaced.geometry().slot_count(), 20);
}

/// Any program may call a file `data`.
#[test]
fn a_file_called_data_is_not_taken_for_a_volume() {
    let dir = empty_dir();
    let data = dir.path().join("data");
    std::fs::write(&data, "a table of measurements\n".repeat(1000)).unwrap();
    for replace in [false, true] {
        let refused = create(dir.path(), &options(replace)).unwrap_err();
        let words = ["data", "no part of a volume", "Choose an empty directory"];
        assert_error(&refused, ErrorKind::Exists, &words);
        assert!(!refused.to_string().contains("holds a volume"), "{refused}");
    }
    assert_eq!(std::fs::metadata(&data).unwrap().len(), 24_000);
}

/// Sizes that make no ring are refused, and nothing is left behind.
#[test]
fn impossible_sizes_are_refused() {
    let dir = empty_dir();
    let place = dir.path().join("volume");
    let size = |size, block_len| CreateOptions {
        size,
        block_len,
        replace: false,
    };
    let cases = [
        (size(VolumeSize::Blocks(15), Some(BLOCK_LEN)), "at least 16"),
        (size(VolumeSize::Blocks(0), None), "at least 16"),
        (size(VolumeSize::Bytes(0), None), "at least 16"),
        (
            size(VolumeSize::Bytes(1 << 20), Some(64 << 10 | 1)),
            "multiple of 4096",
        ),
        (
            size(VolumeSize::Blocks(16), Some(0)),
            "block size of 0 bytes",
        ),
        (size(VolumeSize::Blocks(16), Some(128 << 20)), "64 MiB"),
        (
            size(VolumeSize::Blocks(u64::MAX), Some(BLOCK_LEN)),
            "Choose a smaller size, or larger blocks",
        ),
    ];
    for (options, words) in cases {
        let refused = create(&place, &options).unwrap_err();
        assert_error(&refused, ErrorKind::Invalid, &[words]);
        assert!(!place.exists(), "{words}");
    }
    create(&place, &self::options(false)).unwrap();
    for commit_us in [0, 9999, 60_000_001] {
        let options = WriterOptions {
            commit_us,
            ..WriterOptions::default()
        };
        let refused = Writer::open(&place, options).unwrap_err();
        assert_error(
            &refused,
            ErrorKind::Invalid,
            &["commit period", "10 ms to 60 s"],
        );
    }
}

/// More than any disk has: refused at once, with what is free, and nothing is left behind.
#[test]
fn too_small_a_disk_is_told_before_anything_is_written() {
    let dir = empty_dir();
    let huge = CreateOptions {
        size: VolumeSize::Blocks(u64::from(u32::MAX)),
        block_len: Some(64 << 20),
        replace: false,
    };
    let words = ["are free", "Choose a smaller size, or make room"];
    let refused = create(dir.path(), &huge).unwrap_err();
    assert_error(&refused, ErrorKind::Io, &words);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let refused = create(&dir.path().join("new"), &huge).unwrap_err();
    assert_error(&refused, ErrorKind::Io, &words);
    assert!(!dir.path().join("new").exists());
    create(dir.path(), &options(false)).unwrap();
}

/// Not a test of its own: a recorder that holds a volume until its input ends.
#[test]
fn holder_process() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let (writer, mut producer) = open(Path::new(&dir), WriterOptions::default());
    for number in 100..150 {
        producer.push(CAMERA, frame(CAMERA.0, number)).unwrap();
    }
    writer.commit().unwrap();
    eprintln!("held");
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn spawn_holder(dir: &Path) -> Child {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "places::holder_process", "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = holder.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "held"), "the holder did not start");
    holder
}

/// A second recorder on the same volume is refused, in this process or another one; readers are
/// welcome; when the first is gone, however it went, the second may.
#[test]
fn a_volume_that_is_being_recorded_is_busy() {
    let dir = volume(16, BLOCK_LEN);
    record(dir.path(), 0..50);
    let refuse = || {
        let refused = Writer::open(dir.path(), WriterOptions::default()).unwrap_err();
        assert_error(
            &refused,
            ErrorKind::Busy,
            &["in use by another writer", "Stop the other"],
        );
    };
    let (writer, producer) = open(dir.path(), WriterOptions::default());
    refuse();
    drop((producer, writer));

    let mut holder = spawn_holder(dir.path());
    refuse();
    let stored: Vec<_> = (0..50).chain(100..150).collect();
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), stored);
    holder.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(holder.wait().unwrap().success());
    record(dir.path(), 200..210);

    let mut holder = spawn_holder(dir.path());
    holder.kill().unwrap();
    holder.wait().unwrap();
    record(dir.path(), 300..310);
    let volume = Volume::open(dir.path()).unwrap();
    let stored: Vec<_> = stored
        .into_iter()
        .chain(200..210)
        .chain(100..150)
        .chain(300..310)
        .collect();
    let found = frames_of(&volume, CAMERA.0, TimeRange::ALL);
    let found: Vec<_> = found
        .iter()
        .map(|f| super::recording::number_of(CAMERA, f))
        .collect();
    assert_eq!(found, stored);
}

/// Takes the right to write away from a directory or file, root included, and gives it back.
struct ReadOnly(PathBuf);

impl ReadOnly {
    /// None where this file system or user cannot.
    fn make(path: &Path) -> Option<Self> {
        if is_root() {
            let made = Command::new("chattr").arg("+i").arg(path).output().ok()?;
            return made.status.success().then(|| Self(path.to_owned()));
        }
        let mode = if path.is_dir() { 0o500 } else { 0o400 };
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        Some(Self(path.to_owned()))
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if is_root() {
            let _ = Command::new("chattr").arg("-i").arg(&self.0).output();
        } else {
            let mode = if self.0.is_dir() { 0o700 } else { 0o600 };
            let _ = std::fs::set_permissions(&self.0, PermissionsExt::from_mode(mode));
        }
    }
}

/// In a directory that cannot be written to no volume is made. One that is there already is recorded
/// all the same, since its cache files can be done without; when its data cannot be written either,
/// it can be read.
#[test]
fn a_read_only_directory_keeps_what_it_has() {
    let dir = volume(16, BLOCK_LEN);
    record(dir.path(), 0..50);
    let Some(read_only) = ReadOnly::make(dir.path()) else {
        return skip(
            "a_read_only_directory_keeps_what_it_has",
            "chattr +i does not work here",
        );
    };
    let refused = create(&dir.path().join("new"), &options(false)).unwrap_err();
    assert_error(&refused, ErrorKind::Io, &["could not make", "new"]);
    record(dir.path(), 50..100);
    let expected: Vec<_> = (0..100).collect();
    assert_eq!(
        numbers_of(&Volume::open(dir.path()).unwrap(), CAMERA.0),
        expected
    );

    let data = dir.path().join("data");
    let read_only_data = ReadOnly::make(&data).unwrap();
    let refused = Writer::open(dir.path(), WriterOptions::default()).unwrap_err();
    assert_error(
        &refused,
        ErrorKind::Io,
        &["data", "could not open", "Run as its owner"],
    );
    assert_eq!(
        numbers_of(&Volume::open(dir.path()).unwrap(), CAMERA.0),
        expected
    );
    drop((read_only_data, read_only));
    record(dir.path(), 100..150);
    let volume = Volume::open(dir.path()).unwrap();
    assert_eq!(numbers_of(&volume, CAMERA.0), (0..150).collect::<Vec<_>>());
}

/// A small file system of its own, mounted for one test.
struct Mounted(TempDir);

impl Mounted {
    fn tmpfs(len: u64) -> Option<Self> {
        let place = empty_dir();
        let size = format!("size={len}");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(place.path());
        let mounted = is_root() && mount.output().ok()?.status.success();
        mounted.then_some(Self(place))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// The file system of the volume runs full by something else: all of the ring is reserved, so
/// recording goes on, around and around, and only cache files are missing.
#[test]
fn a_full_file_system_does_not_stop_recording() {
    let name = "a_full_file_system_does_not_stop_recording";
    let Some(mounted) = Mounted::tmpfs(6 << 20) else {
        return skip(name, "cannot mount");
    };
    let dir = mounted.0.path().join("volume");
    match create(&dir, &options(false)) {
        Err(e) if e.kind() == ErrorKind::Unsupported => {
            return skip(name, "no direct I/O on tmpfs");
        }
        created => drop(created.unwrap()),
    }
    let too_large = CreateOptions {
        size: VolumeSize::Bytes(4 << 20),
        ..options(false)
    };
    let refused = create(&mounted.0.path().join("second"), &too_large).unwrap_err();
    assert_error(
        &refused,
        ErrorKind::Io,
        &["are free", "Choose a smaller size"],
    );
    let mut junk = std::fs::File::create(mounted.0.path().join("junk")).unwrap();
    while junk.write_all(&[1; 4096]).is_ok() {}
    record(&dir, 0..700);
    record(&dir, 1000..1700);
    let numbers = numbers_of(&Volume::open(&dir).unwrap(), CAMERA.0);
    assert!(numbers.ends_with(&(1000..1700).collect::<Vec<_>>()));
}
