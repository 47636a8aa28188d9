//! Opening, locking and creating data files and block devices, judged by what the standard library
//! and the system's own tools see.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a panic is how a test fails; skips are printed"
)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camring::ErrorKind;
use camring::io::buffer::{Buffer, BufferPool};
use camring::io::direct::{Access, DataKind, create_data, is_locked_by_writer, open_data};
use camring::io::ring::{RingDevice, RingOptions};
use camring::io::{Device, Op, Request};

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn small_file(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("data");
    create_data(&path, 1 << 20, &mut |_, _| {}).unwrap();
    path
}

#[test]
fn a_new_file_is_all_written_zeroes() {
    let directory = directory();
    let path = directory.path().join("data");
    let len = (9 << 20) + 4096;
    let mut seen = Vec::new();
    let data = create_data(&path, len, &mut |done, total| seen.push((done, total))).unwrap();
    assert_eq!((data.len(), data.kind()), (len, DataKind::File));

    let status = std::fs::metadata(&path).unwrap();
    assert_eq!(status.len(), len);
    assert!(status.blocks() * 512 >= len, "it has holes");
    assert_eq!(status.permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read(&path).unwrap().iter().all(|&byte| byte == 0));
    assert!(seen.is_sorted() && seen.iter().all(|&(_, total)| total == len));
    assert_eq!(
        (seen.first(), seen.last()),
        (Some(&(0, len)), Some(&(len, len)))
    );
}

#[test]
fn an_existing_file_is_not_touched() {
    let directory = directory();
    let path = directory.path().join("data");
    std::fs::write(&path, "precious").unwrap();
    let error = create_data(&path, 1 << 20, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_file_that_cannot_fit_is_refused_at_once_and_leaves_nothing() {
    let directory = directory();
    let path = directory.path().join("data");
    let mut is_started = false;
    let error = create_data(&path, 1 << 60, &mut |_, _| is_started = true).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(28), "{error}");
    assert!(error.to_string().contains("are free"), "{error}");
    assert!(!path.exists() && !is_started);
}

#[test]
fn a_length_that_is_no_multiple_of_the_unit_is_refused() {
    let directory = directory();
    let path = directory.path().join("data");
    let error = create_data(&path, 10_000, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(!path.exists());
}

#[test]
fn there_is_one_writer_and_any_number_of_readers() {
    let directory = directory();
    let path = small_file(&directory);
    assert!(!is_locked_by_writer(&path).unwrap());
    let writer = open_data(&path, Access::Write).unwrap();
    let readers = [(); 3].map(|()| open_data(&path, Access::Read).unwrap());
    assert!(is_locked_by_writer(&path).unwrap());

    let start = Instant::now();
    let error = open_data(&path, Access::Write).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "it did not wait for the other"
    );

    drop(writer);
    assert!(!is_locked_by_writer(&path).unwrap());
    open_data(&path, Access::Write).unwrap();
    drop(readers);
}

#[test]
fn a_writer_waits_for_one_that_is_about_to_end() {
    let directory = directory();
    let path = small_file(&directory);
    let first = open_data(&path, Access::Write).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| open_data(&path, Access::Write));
        drop(first);
        second.join().unwrap().unwrap();
    });
}

/// The process that `a_killed_writer_leaves_no_lock` kills: it writes until its end.
#[test]
fn a_killed_writer_leaves_no_lock() {
    let name = "a_killed_writer_leaves_no_lock";
    if let Some(path) = std::env::var_os("CAMRING_TEST_WRITE_TO") {
        return write_until_killed(Path::new(&path));
    }
    let directory = directory();
    let path = small_file(&directory);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("CAMRING_TEST_WRITE_TO", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line == "writing"));
    assert!(is_locked_by_writer(&path).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    open_data(&path, Access::Write).unwrap();
    eprintln!("opened {:?} after the writer was killed", start.elapsed());
}

fn write_until_killed(path: &Path) {
    let pool = BufferPool::new(8, 64 << 10).unwrap();
    let file = open_data(path, Access::Write).unwrap();
    let mut device = RingDevice::new(file, &pool, RingOptions::default()).unwrap();
    for token in 0.. {
        while let Some(buffer) = pool.take() {
            let (op, len) = (Op::Write, buffer.len());
            device.submit(Request {
                token,
                op,
                offset: 0,
                len,
                buffer: Some(buffer),
            });
        }
        device.wait(None).unwrap();
        while let Some(completion) = device.reap() {
            completion.result.unwrap();
        }
        if token == 100 {
            println!("writing");
        }
    }
}

#[test]
fn a_file_that_was_cut_is_noticed() {
    let directory = directory();
    let path = small_file(&directory);
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(8192)
        .unwrap();
    assert_eq!(open_data(&path, Access::Read).unwrap().len(), 8192);
}

#[test]
fn what_cannot_hold_a_volume_is_refused_with_a_reason() {
    let directory = directory();
    let pipe = directory.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for (path, kind, text) in [
        (
            directory.path(),
            ErrorKind::Invalid,
            "neither a regular file nor a block device",
        ),
        (
            &pipe,
            ErrorKind::Invalid,
            "neither a regular file nor a block device",
        ),
        (Path::new("/dev/null"), ErrorKind::Invalid, "neither"),
        (
            Path::new("/nowhere/at/all"),
            ErrorKind::NotFound,
            "nothing there",
        ),
        (
            Path::new("/proc/self/status"),
            ErrorKind::Unsupported,
            "Put the volume on ext4, XFS",
        ),
    ] {
        let error = open_data(path, Access::Read).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(
            error.to_string().contains(&*path.to_string_lossy()),
            "{error}"
        );
    }
}

/// A loop device on a file; none where the machine does not allow it.
struct Loop(String);

impl Loop {
    fn new(test: &str, file: &Path, sector_len: u32) -> Option<Self> {
        let output = Command::new("losetup")
            .args(["-f", "--show", "-b", &sector_len.to_string()])
            .arg(file)
            .output();
        match output {
            Ok(output) if output.status.success() => Some(Self(
                String::from_utf8(output.stdout).unwrap().trim().to_owned(),
            )),
            other => {
                eprintln!("SKIP {test}: no loop device ({other:?})");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

/// A file in memory, where the machine has that: a loop device on it is fast, and as strict about
/// alignment as any disk.
fn file_for_a_loop(len: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new_in("/dev/shm")
        .or_else(|_| tempfile::NamedTempFile::new())
        .unwrap();
    file.as_file().set_len(len).unwrap();
    file
}

#[test]
fn a_block_device_works_like_a_file() {
    let len = 16 << 20;
    let file = file_for_a_loop(len);
    for sector_len in [512, 4096] {
        let test = "a_block_device_works_like_a_file";
        let Some(device) = Loop::new(test, file.path(), sector_len) else {
            return;
        };
        let data = open_data(device.path(), Access::Write).unwrap();
        assert_eq!((data.len(), data.kind()), (len, DataKind::BlockDevice));
        assert_eq!(data.alignment().unit_len(), 4096);
        let busy = open_data(device.path(), Access::Write).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);

        let pool = BufferPool::new(2, 2 << 20).unwrap();
        let mut ring = RingDevice::new(data, &pool, RingOptions::default()).unwrap();
        eprintln!("{:?}", ring.features());
        let write_len = (5 << 20) + 4096;
        let mut buffer = Buffer::allocate(write_len).unwrap();
        for (i, byte) in (sector_len..).zip(buffer.iter_mut()) {
            *byte = u8::try_from(i % 251).unwrap();
        }
        let expected = buffer.to_vec();
        let op = Op::Write;
        ring.submit(Request {
            token: 1,
            op,
            offset: 4096,
            len: write_len,
            buffer: Some(buffer),
        });
        ring.submit(Request {
            token: 2,
            op: Op::Flush,
            offset: 0,
            len: 0,
            buffer: None,
        });
        while ring.in_flight() > 0 {
            ring.wait(None).unwrap();
            while let Some(completion) = ring.reap() {
                completion.result.unwrap();
            }
        }
        // Closing it lets the next one in at once: the ring has given the device back.
        drop(ring);
        let start = Instant::now();
        open_data(device.path(), Access::Write).unwrap();
        eprintln!("opened again after {:?}", start.elapsed());
        let content = std::fs::read(file.path()).unwrap();
        assert!(content.get(4096..4096 + write_len).unwrap() == expected);
    }
}

#[test]
fn a_mounted_device_is_busy() {
    let test = "a_mounted_device_is_busy";
    let file = file_for_a_loop(16 << 20);
    let Some(device) = Loop::new(test, file.path(), 512) else {
        return;
    };
    let run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let place = directory();
    let is_mounted = run(Command::new("mkfs.ext4").arg("-q").arg(device.path()))
        && run(Command::new("mount").arg(device.path()).arg(place.path()));
    if !is_mounted {
        eprintln!("SKIP {test}: cannot mount");
        return;
    }
    let error = open_data(device.path(), Access::Write).unwrap_err();
    assert!(run(Command::new("umount").arg(place.path())));
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    open_data(device.path(), Access::Write).unwrap();
}

#[cfg(feature = "blkid")]
mod blkid {
    use super::*;
    use camring::io::blkid::{find_partition, probe};

    /// Runs a tool of the system on a new file; returns what libblkid makes of the result.
    fn signature_after(
        test: &str,
        program: &str,
        arguments: &[&str],
        input: &str,
    ) -> Option<String> {
        let directory = directory();
        let path = directory.path().join("image");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(32 << 20)
            .unwrap();
        assert_eq!(
            probe(&path).unwrap(),
            None,
            "a file of zeroes holds nothing"
        );
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let Ok(mut child) = command.stderr(Stdio::null()).spawn() else {
            eprintln!("SKIP {test}: no {program}");
            return None;
        };
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        Some(probe(&path).unwrap().unwrap().to_string())
    }

    #[test]
    fn what_a_file_holds_is_named() {
        for (program, arguments, input, expected) in [
            (
                "mkfs.ext4",
                &["-q", "-L", "holiday"][..],
                "",
                "ext4 \"holiday\"",
            ),
            ("mkswap", &["-L", "spare"], "", "swap \"spare\""),
            ("sfdisk", &["-q"], "label: gpt\n", "gpt partition table"),
            ("sfdisk", &["-q"], "label: dos\n", "dos partition table"),
        ] {
            let found = signature_after("what_a_file_holds_is_named", program, arguments, input);
            if let Some(found) = found {
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn an_empty_file_and_one_of_noise_hold_nothing() {
        let directory = directory();
        let path = directory.path().join("image");
        for len in [0, 1, 100_000] {
            std::fs::write(&path, vec![0x5a; len]).unwrap();
            assert_eq!(probe(&path).unwrap(), None, "{len} bytes");
        }
        let error = probe(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(2));
    }

    #[test]
    fn a_partition_is_found_by_its_uuid() {
        let test = "a_partition_is_found_by_its_uuid";
        let file = file_for_a_loop(8 << 20);
        let uuid =
            uuid::Uuid::from_u128(u128::from(std::process::id()) << 64 | 0x8000_0000_0000_0001);
        assert_eq!(find_partition(&uuid.to_string()).unwrap(), None);
        let table = format!("label: gpt\nstart=1MiB, size=4MiB, uuid={uuid}\n");
        let mut sfdisk = Command::new("sfdisk");
        sfdisk.arg("-q").arg(file.path()).stdin(Stdio::piped());
        let Ok(mut child) = sfdisk.spawn() else {
            eprintln!("SKIP {test}: no sfdisk");
            return;
        };
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), table.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        let Some(device) = Loop::new(test, file.path(), 512) else {
            return;
        };
        let partx = |how| Command::new("partx").arg(how).arg(device.path()).output();
        if !partx("-a").is_ok_and(|output| output.status.success()) {
            eprintln!("SKIP {test}: no partx");
            return;
        }
        let found = find_partition(&uuid.to_string().to_uppercase()).unwrap();
        partx("-d").unwrap();
        assert_eq!(found, Some(PathBuf::from(format!("{}p1", device.0))));
        assert_eq!(
            find_partition("no/uuid").unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
}
