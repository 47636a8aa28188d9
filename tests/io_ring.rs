//! The `io_uring` device on a real file: what it writes and reads is compared with a plain model and
//! with what the standard library sees.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a panic is how a test fails; seeds are printed; small numbers are cast"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use camring::io::buffer::{Buffer, BufferPool};
use camring::io::direct::{Access, create_data, open_data};
use camring::io::ring::{RingDevice, RingOptions};
use camring::io::{Device, Op, Request};

use crate::skip::skip;

#[path = "support/skip.rs"]
mod skip;

const UNIT_LEN: usize = 4096;

/// A directory in the target directory, whose file system is the machine's own.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn ring(path: &Path, pool: &BufferPool, options: RingOptions) -> RingDevice {
    RingDevice::new(open_data(path, Access::Write).unwrap(), pool, options).unwrap()
}

fn data_file(directory: &tempfile::TempDir, len: u64) -> PathBuf {
    let path = directory.path().join("data");
    create_data(&path, len, &mut |_, _| {}).unwrap();
    path
}

fn request(token: u64, op: Op, offset: u64, len: usize, buffer: Buffer) -> Request {
    Request {
        token,
        op,
        offset,
        len,
        buffer: Some(buffer),
    }
}

fn flush(token: u64) -> Request {
    Request {
        token,
        op: Op::Flush,
        offset: 0,
        len: 0,
        buffer: None,
    }
}

/// A small generator of random numbers, good enough to choose offsets and bytes.
struct Random(u64);

impl Random {
    fn from_clock(test: &str) -> Self {
        let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
        eprintln!("{test}: seed {seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Writes and reads at random, many at a time, never two that overlap; then compares the file
/// with a model in memory.
fn random_transfers(register_buffers: bool, random: &mut Random) {
    const FILE_LEN: usize = 32 << 20;
    const CELL_LEN: usize = 1 << 20;
    let directory = directory();
    let path = data_file(&directory, FILE_LEN as u64);
    let pool = BufferPool::new(12, CELL_LEN).unwrap();
    let options = RingOptions {
        register_buffers,
        ..RingOptions::default()
    };
    let mut device = ring(&path, &pool, options);
    assert_eq!(device.len(), FILE_LEN as u64);
    let mut model = vec![0; FILE_LEN];
    // What is under way in each cell of the file: its offset and length.
    let mut busy = [None; FILE_LEN / CELL_LEN];
    let mut left_count = 600;
    while left_count > 0 || device.in_flight() > 0 {
        if left_count > 0 && device.in_flight() < 14 {
            let cell = random.below(busy.len() as u64) as usize;
            if busy[cell].is_none() {
                left_count -= 1;
                let at = random.below(64) as usize * UNIT_LEN;
                let len = (1 + random.below(192) as usize) * UNIT_LEN;
                let offset = cell * CELL_LEN + at;
                // Buffers that no pool has must work as well.
                let mut buffer = pool
                    .take()
                    .unwrap_or_else(|| Buffer::allocate(len).unwrap());
                busy[cell] = Some((offset, len));
                let op = if random.below(3) == 0 {
                    Op::Read
                } else {
                    Op::Write
                };
                if matches!(op, Op::Write) {
                    random.fill(&mut buffer[..len]);
                    model[offset..offset + len].copy_from_slice(&buffer[..len]);
                }
                let token = cell as u64 * 2 + u64::from(matches!(op, Op::Read));
                device.submit(request(token, op, offset as u64, len, buffer));
                if random.below(8) == 0 {
                    device.submit(flush(u64::MAX));
                }
                continue;
            }
        }
        device.wait(None).unwrap();
        while let Some(completion) = device.reap() {
            completion.result.unwrap();
            let Some(buffer) = completion.buffer else {
                assert_eq!(completion.token, u64::MAX);
                continue;
            };
            let (offset, len) = busy[completion.token as usize / 2].take().unwrap();
            if completion.token % 2 == 1 {
                assert!(
                    buffer[..len] == model[offset..offset + len],
                    "read at {offset}"
                );
            }
        }
    }
    assert_eq!(pool.free_count(), pool.count());
    drop(device);
    assert!(std::fs::read(&path).unwrap() == model);
}

#[test]
fn what_is_written_is_what_the_file_holds() {
    let mut random = Random::from_clock("what_is_written_is_what_the_file_holds");
    random_transfers(true, &mut random);
    random_transfers(false, &mut random);
}

#[test]
fn the_kernel_never_has_more_bytes_than_the_cap() {
    let directory = directory();
    let path = data_file(&directory, 8 << 20);
    let pool = BufferPool::new(16, 256 << 10).unwrap();
    let options = RingOptions {
        cap_len: 1 << 20,
        ..RingOptions::default()
    };
    let mut device = ring(&path, &pool, options);
    let mut most = 0;
    for token in 0..16 {
        let buffer = pool.take().unwrap();
        device.submit(request(
            token,
            Op::Write,
            token * (256 << 10),
            256 << 10,
            buffer,
        ));
        most = most.max(device.active_len());
    }
    let mut order = Vec::new();
    while device.in_flight() > 0 {
        device.wait(None).unwrap();
        most = most.max(device.active_len());
        while let Some(completion) = device.reap() {
            completion.result.unwrap();
            order.push(completion.token);
        }
    }
    assert_eq!(most, 1 << 20);
    assert!(
        order[..4].iter().all(|&token| token < 8),
        "requests wait in order: {order:?}"
    );
}

#[test]
fn one_request_may_be_longer_than_the_cap_and_than_a_piece() {
    let directory = directory();
    let path = data_file(&directory, 16 << 20);
    let pool = BufferPool::new(1, 4096).unwrap();
    let options = RingOptions {
        cap_len: 1 << 20,
        ..RingOptions::default()
    };
    let mut device = ring(&path, &pool, options);
    let mut random = Random::from_clock("one_request_may_be_longer_than_the_cap_and_than_a_piece");
    let len = 7 * (1 << 20) + 3 * UNIT_LEN;
    let mut buffer = Buffer::allocate(len).unwrap();
    random.fill(&mut buffer);
    let expected = buffer.to_vec();
    device.submit(request(1, Op::Write, UNIT_LEN as u64, len, buffer));
    device.wait(None).unwrap();
    device.reap().unwrap().result.unwrap();
    let content = std::fs::read(&path).unwrap();
    assert!(content[UNIT_LEN..UNIT_LEN + len] == expected);
    assert!(
        content[..UNIT_LEN]
            .iter()
            .chain(&content[UNIT_LEN + len..])
            .all(|&byte| byte == 0)
    );
}

#[test]
fn a_read_past_the_end_is_an_unexpected_end() {
    let directory = directory();
    let path = data_file(&directory, 1 << 20);
    let pool = BufferPool::new(1, 4096).unwrap();
    let mut device = ring(&path, &pool, RingOptions::default());
    for offset in [(1 << 20) - UNIT_LEN as u64, 1 << 20, 1 << 30] {
        let buffer = Buffer::allocate(2 * UNIT_LEN).unwrap();
        device.submit(request(1, Op::Read, offset, 2 * UNIT_LEN, buffer));
        device.wait(None).unwrap();
        let error = device.reap().unwrap().result.unwrap_err();
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::UnexpectedEof,
            "at {offset}"
        );
    }
}

#[test]
fn a_file_that_was_cut_within_a_sector_is_an_unexpected_end() {
    let directory = directory();
    let path = data_file(&directory, 1 << 20);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(10_000).unwrap();
    let pool = BufferPool::new(1, 4096).unwrap();
    let mut device = ring(&path, &pool, RingOptions::default());
    assert_eq!(device.len(), 10_000);
    device.submit(request(
        1,
        Op::Read,
        0,
        16384,
        Buffer::allocate(16384).unwrap(),
    ));
    device.wait(None).unwrap();
    let error = device.reap().unwrap().result.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn nothing_is_written_past_the_end() {
    let directory = directory();
    let path = data_file(&directory, 1 << 20);
    let pool = BufferPool::new(1, 8192).unwrap();
    let mut device = ring(&path, &pool, RingOptions::default());
    device.submit(request(
        1,
        Op::Write,
        (1 << 20) - 4096,
        8192,
        pool.take().unwrap(),
    ));
    let error = device.reap().unwrap().result.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20);
}

#[test]
fn dropping_a_device_waits_for_what_is_under_way() {
    let directory = directory();
    let path = data_file(&directory, 64 << 20);
    let pool = BufferPool::new(16, 4 << 20).unwrap();
    let options = RingOptions {
        cap_len: 64 << 20,
        ..RingOptions::default()
    };
    let mut device = ring(&path, &pool, options);
    for token in 0..16 {
        let mut buffer = pool.take().unwrap();
        buffer.fill(token as u8 + 1);
        device.submit(request(
            token,
            Op::Write,
            token * (4 << 20),
            4 << 20,
            buffer,
        ));
    }
    drop(device);
    assert_eq!(pool.free_count(), 16);
    // The kernel would write these bytes if it still had the buffers.
    let mut taken: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
    for buffer in &mut taken {
        buffer.fill(0xff);
    }
    let content = std::fs::read(&path).unwrap();
    for (i, block) in (1..).zip(content.chunks(4 << 20)) {
        assert!(block.iter().all(|&byte| byte == i), "block {i}");
    }
    // The lock is gone at once, too.
    assert!(!camring::io::direct::is_locked_by_writer(&path).unwrap());
}

#[test]
fn a_device_that_another_thread_drops_leaks_its_buffers_but_frees_none() {
    let directory = directory();
    let path = data_file(&directory, 16 << 20);
    let pool = BufferPool::new(2, 4 << 20).unwrap();
    let mut device = ring(&path, &pool, RingOptions::default());
    if !device.features().single_issuer {
        eprintln!("SKIP a_device_that_another_thread_drops: the kernel lets any thread drive it");
        return;
    }
    device.submit(request(1, Op::Write, 0, 4 << 20, pool.take().unwrap()));
    std::thread::spawn(move || drop(device)).join().unwrap();
    assert_eq!(pool.free_count(), 1);
}

#[test]
fn a_wake_up_from_another_thread_ends_the_wait() {
    let directory = directory();
    let path = data_file(&directory, 1 << 20);
    let pool = BufferPool::new(1, 4096).unwrap();
    let mut device = ring(&path, &pool, RingOptions::default());
    let waker = device.waker();
    let (to_waker, turns) = mpsc::channel::<()>();
    let (work, queue) = mpsc::channel();
    let helper = std::thread::spawn(move || {
        for () in turns {
            work.send(Instant::now()).unwrap();
            waker.wake();
        }
    });
    let mut delays = Vec::new();
    for _ in 0..200 {
        to_waker.send(()).unwrap();
        // The loop that every thread on a device runs. A lost wake-up would hang the test.
        let sent = loop {
            device.prepare_wait();
            if let Ok(sent) = queue.try_recv() {
                device.cancel_wait();
                break sent;
            }
            device.wait(None).unwrap();
        };
        delays.push(sent.elapsed());
    }
    drop(to_waker);
    helper.join().unwrap();
    delays.sort_unstable();
    eprintln!("wake-up: median {:?}, worst {:?}", delays[100], delays[199]);
    assert!(delays[100] < Duration::from_millis(20), "{delays:?}");
}

#[test]
fn a_wait_ends_when_its_time_is_up() {
    let directory = directory();
    let path = data_file(&directory, 1 << 20);
    let pool = BufferPool::new(1, 4096).unwrap();
    let mut device = ring(&path, &pool, RingOptions::default());
    let start = Instant::now();
    device.wait(Some(20_000)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
    device.wait(Some(0)).unwrap();
}

#[test]
fn a_device_may_be_moved_before_its_first_use_but_not_after() {
    let directory = directory();
    let path = data_file(&directory, 1 << 20);
    let pool = BufferPool::new(1, 4096).unwrap();
    let mut device = ring(&path, &pool, RingOptions::default());
    let is_bound = device.features().single_issuer;
    let moved = std::thread::scope(|scope| {
        let device = &mut device;
        scope
            .spawn(move || {
                device.submit(request(
                    1,
                    Op::Read,
                    0,
                    4096,
                    Buffer::allocate(4096).unwrap(),
                ));
                device.wait(None).unwrap();
                device.reap().unwrap().result.unwrap();
            })
            .join()
    });
    moved.unwrap();
    if is_bound {
        let error = device.wait(Some(1_000)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("Drive the device from the thread"),
            "{error}"
        );
    }
}

#[test]
fn the_kernel_gives_what_it_has() {
    let directory = directory();
    let path = data_file(&directory, 1 << 20);
    let pool = BufferPool::new(2, 2 << 20).unwrap();
    let device = ring(&path, &pool, RingOptions::default());
    let features = device.features();
    eprintln!("{features:?}");
    assert!(features.registered_file);
    assert_eq!(features.piece_len, 1 << 20);
}

/// Registered buffers count as locked memory, of which a process without privileges has little.
#[test]
fn without_locked_memory_the_device_works_all_the_same() {
    let name = "without_locked_memory_the_device_works_all_the_same";
    if std::env::var_os("CAMRING_TEST_UNPRIVILEGED").is_none() {
        return run_unprivileged(name);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    create_data(&path, 8 << 20, &mut |_, _| {}).unwrap();
    let pool = BufferPool::new(2, 2 << 20).unwrap();
    let mut device = ring(&path, &pool, RingOptions::default());
    assert!(!device.features().registered_buffers, "{device:?}");
    let mut buffer = pool.take().unwrap();
    buffer.fill(0xa5);
    device.submit(request(1, Op::Write, 0, 2 << 20, buffer));
    device.wait(None).unwrap();
    device.reap().unwrap().result.unwrap();
    let content = std::fs::read(&path).unwrap();
    assert!(content[..2 << 20].iter().all(|&byte| byte == 0xa5));
}

/// Runs the test `name` of this program once more, as a user with 64 KiB of locked memory: no limit
/// counts for root.
fn run_unprivileged(name: &str) {
    // The target directory may be one that only root can enter.
    let public = std::fs::Permissions::from_mode(0o755);
    let directory = tempfile::Builder::new().permissions(public).tempdir();
    let directory = directory.unwrap();
    let program = directory.path().join("io_ring");
    // Permissions are copied too.
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = std::process::Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "prlimit",
        ])
        .arg("--memlock=65536")
        .arg(&program)
        .args(["--exact", name, "--nocapture"])
        .env("CAMRING_TEST_UNPRIVILEGED", "1")
        .current_dir(directory.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{said}");
        }
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
        other => {
            eprintln!("{other:?}");
            skip(name, "cannot drop privileges");
        }
    }
}
