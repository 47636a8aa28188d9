//! The simulated disk keeps the promises of a real one, and breaks only those that a real one may
//! break. Everything is compared with a list of what was written and flushed.
#![cfg(not(camring_loom))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a panic is how a test fails; seeds are printed; small numbers are cast"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use camring::io::buffer::Buffer;
use camring::io::sim::{
    Fate, Fault, FaultRule, FaultTarget, Image, SimDevice, SimDisk, SimOptions,
};
use camring::io::{Completion, Device, Op, Request};

const PAGE_LEN: u64 = 4096;
const DISK_LEN: u64 = 1 << 20;
const PAGE_COUNT: u64 = DISK_LEN / PAGE_LEN;
const EIO: i32 = 5;

fn write(token: u64, page: u64, page_count: u64, fill: u8) -> Request {
    let len = (page_count * PAGE_LEN) as usize;
    let mut buffer = Buffer::allocate(len).unwrap();
    buffer.fill(fill);
    Request {
        token,
        op: Op::Write,
        offset: page * PAGE_LEN,
        len,
        buffer: Some(buffer),
    }
}

fn read(token: u64, page: u64) -> Request {
    let buffer = Some(Buffer::allocate(4096).unwrap());
    Request {
        token,
        op: Op::Read,
        offset: page * PAGE_LEN,
        len: 4096,
        buffer,
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

/// Carries one request out.
fn run(device: &mut SimDevice, request: Request) -> Completion {
    device.submit(request);
    loop {
        if let Some(completion) = device.reap() {
            return completion;
        }
        device.wait(None).unwrap();
    }
}

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(
        Image::new(DISK_LEN),
        SimOptions {
            seed,
            ..SimOptions::default()
        },
    )
}

fn page(image: &Image, index: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    image.read(index * PAGE_LEN, &mut bytes);
    bytes
}

/// The byte that fills the page, if one does.
fn fill_of(image: &Image, index: u64) -> Option<u8> {
    let bytes = page(image, index);
    bytes
        .iter()
        .all(|&byte| byte == bytes[0])
        .then_some(bytes[0])
}

fn seed_of(test: &str) -> u64 {
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    eprintln!("{test}: seed {seed}");
    seed
}

#[test]
fn what_was_flushed_survives_every_crash_and_the_rest_is_old_new_or_torn() {
    let seed = seed_of("what_was_flushed_survives_every_crash");
    let mut torn_count = 0;
    for round in 0..200 {
        let sector_len = if round % 2 == 0 { 4096 } else { 512 };
        let options = SimOptions {
            seed: seed + round,
            sector_len,
            ..SimOptions::default()
        };
        let disk = SimDisk::new(Image::new(DISK_LEN), options);
        let mut device = disk.open();
        // Per page: what it may hold after a crash, the flushed content first.
        let mut allowed: BTreeMap<u64, Vec<u8>> = (0..PAGE_COUNT).map(|i| (i, vec![0])).collect();
        for step in 1..=60u8 {
            let first = u64::from(step) * 37 % (PAGE_COUNT - 8);
            run(&mut device, write(0, first, 1 + u64::from(step) % 8, step))
                .result
                .unwrap();
            for index in first..=first + u64::from(step) % 8 {
                allowed.get_mut(&index).unwrap().push(step);
            }
            if step % 16 == 0 {
                run(&mut device, flush(0)).result.unwrap();
                for contents in allowed.values_mut() {
                    *contents = vec![*contents.last().unwrap()];
                }
            }
        }
        let image = disk.crash(seed ^ round);
        for (&index, contents) in &allowed {
            let bytes = page(&image, index);
            assert!(
                bytes.iter().all(|byte| contents.contains(byte)),
                "page {index}: {contents:?}"
            );
            let sectors = bytes.chunks(sector_len);
            torn_count += sectors
                .filter(|s| s.iter().any(|&byte| byte != s[0]))
                .count() as u64;
        }
        // What reads see has not changed by taking the image.
        for (&index, contents) in &allowed {
            assert_eq!(fill_of(&disk.image(), index), contents.last().copied());
        }
    }
    assert!(torn_count > 100, "{torn_count}");
}

#[test]
fn every_outcome_of_an_unflushed_write_happens() {
    let disk = disk(1);
    let mut device = disk.open();
    run(&mut device, write(0, 3, 1, 1)).result.unwrap();
    run(&mut device, write(0, 3, 1, 2)).result.unwrap();
    let mut seen = BTreeMap::new();
    for seed in 0..1_000 {
        *seen.entry(fill_of(&disk.crash(seed), 3)).or_insert(0) += 1;
    }
    assert_eq!(
        seen.into_keys().collect::<Vec<_>>(),
        [None, Some(0), Some(1), Some(2)]
    );
}

#[test]
fn a_flush_covers_only_what_was_completed_before_it_was_submitted() {
    let options = SimOptions {
        reorders: false,
        ..SimOptions::default()
    };
    let disk = SimDisk::new(Image::new(DISK_LEN), options);
    let mut device = disk.open();
    run(&mut device, write(0, 0, 1, 1)).result.unwrap();
    device.submit(write(1, 1, 1, 2));
    device.submit(flush(2));
    while device.in_flight() > 0 {
        device.wait(None).unwrap();
        while device.reap().is_some() {}
    }
    let image = disk.crash_with(|_, _| Fate::Dropped);
    assert_eq!(fill_of(&image, 0), Some(1));
    assert_eq!(
        fill_of(&image, 1),
        Some(0),
        "its write completed after the flush was submitted"
    );
    assert_eq!(disk.unflushed_offsets(), [PAGE_LEN]);
}

#[test]
fn a_write_under_way_may_leave_traces() {
    let disk = disk(1);
    disk.set_stalled(true);
    let mut device = disk.open();
    device.submit(write(0, 0, 2, 7));
    device.wait(Some(1)).unwrap();
    assert!(device.reap().is_none());
    assert_eq!(
        fill_of(&disk.image(), 0),
        Some(0),
        "reads do not see it yet"
    );
    let image = disk.crash_with(|offset, _| {
        if offset == 0 {
            Fate::Kept(0)
        } else {
            Fate::Torn(4)
        }
    });
    assert_eq!(fill_of(&image, 0), Some(7));
    assert_eq!(page(&image, 1)[2047..2049], [7, 0]);
    disk.set_stalled(false);
    device.wait(None).unwrap();
    assert_eq!(device.in_flight(), 1);
    drop(device);
}

#[test]
fn the_same_seed_gives_the_same_course() {
    let course = |seed| {
        let disk = disk(seed);
        let mut device = disk.open();
        let mut order = Vec::new();
        for token in 0..100 {
            device.submit(write(token, token * 7 % 250, 1 + token % 4, token as u8));
            if token % 9 == 0 {
                device.submit(flush(1000 + token));
            }
            order.extend(std::iter::from_fn(|| device.reap()).map(|completion| completion.token));
        }
        (order, disk.crash(seed), disk.counters())
    };
    for seed in 0..20 {
        assert_eq!(course(seed), course(seed));
    }
    assert_ne!(course(1).0, course(2).0);
}

#[test]
fn requests_complete_in_any_order_but_each_once() {
    let disk = disk(5);
    let mut device = disk.open();
    for token in 0..50 {
        device.submit(write(token, token, 1, 1));
    }
    let mut order = Vec::new();
    while device.in_flight() > 0 {
        device.wait(None).unwrap();
        order.extend(std::iter::from_fn(|| device.reap()).map(|completion| completion.token));
    }
    assert!(!order.is_sorted());
    order.sort_unstable();
    assert_eq!(order, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_reader_sees_what_the_writer_completed() {
    let disk = disk(1);
    let (mut writer, mut reader) = (disk.open(), disk.open());
    run(&mut writer, write(0, 9, 1, 4)).result.unwrap();
    let completion = run(&mut reader, read(0, 9));
    completion.result.unwrap();
    assert!(completion.buffer.unwrap().iter().all(|&byte| byte == 4));
}

#[test]
fn a_killed_process_loses_no_completed_write() {
    for seed in 0..100 {
        let disk = disk(seed);
        let mut device = disk.open();
        run(&mut device, write(0, 0, 1, 1)).result.unwrap();
        device.submit(write(1, 1, 1, 2));
        drop(device);
        let image = disk.image();
        assert_eq!(fill_of(&image, 0), Some(1));
        assert!(matches!(fill_of(&image, 1), Some(0 | 2)));
    }
}

#[test]
fn a_failed_write_is_reported_and_leaves_anything_behind() {
    let mut seen = BTreeMap::new();
    for seed in 0..200 {
        let disk = disk(seed);
        disk.add_fault(FaultRule::next(FaultTarget::Write, Fault::Error(EIO)).after(1));
        let mut device = disk.open();
        run(&mut device, write(0, 0, 1, 1)).result.unwrap();
        let error = run(&mut device, write(0, 0, 1, 2)).result.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EIO));
        run(&mut device, write(0, 1, 1, 3)).result.unwrap();
        *seen.entry(fill_of(&disk.image(), 0)).or_insert(0) += 1;
    }
    assert_eq!(
        seen.into_keys().collect::<Vec<_>>(),
        [None, Some(1), Some(2)]
    );
}

#[test]
fn after_a_failed_flush_a_page_is_durable_or_lost_or_pending() {
    let mut seen = BTreeMap::new();
    for seed in 0..200 {
        let disk = disk(seed);
        disk.add_fault(FaultRule::next(FaultTarget::Flush, Fault::Error(EIO)));
        let mut device = disk.open();
        run(&mut device, write(0, 0, 1, 1)).result.unwrap();
        run(&mut device, flush(0)).result.unwrap_err();
        // A flush that succeeds afterwards proves nothing about what the failed one covered.
        let before = disk.crash_with(|_, _| Fate::Dropped);
        run(&mut device, flush(0)).result.unwrap();
        let after = disk.crash_with(|_, _| Fate::Dropped);
        assert_eq!(fill_of(&after, 0), fill_of(&disk.image(), 0));
        *seen
            .entry((fill_of(&before, 0), fill_of(&after, 0)))
            .or_insert(0) += 1;
    }
    let outcomes: Vec<_> = seen.into_keys().collect();
    let (old, new) = (Some(0), Some(1));
    assert_eq!(outcomes, [(old, old), (old, new), (new, new)]);
}

#[test]
fn sticky_faults_stay_and_ranges_limit_them() {
    let disk = disk(1);
    let rule = FaultRule::next(FaultTarget::Read, Fault::Error(EIO));
    disk.add_fault(rule.sticky().within(8 * PAGE_LEN..9 * PAGE_LEN));
    let mut device = disk.open();
    for _ in 0..3 {
        run(&mut device, read(0, 8)).result.unwrap_err();
        run(&mut device, read(0, 7)).result.unwrap();
        run(&mut device, read(0, 9)).result.unwrap();
    }
    disk.clear_faults();
    run(&mut device, read(0, 8)).result.unwrap();
    assert_eq!(disk.counters().failed_count, 3);
}

#[test]
fn writes_can_be_lost_or_go_astray_or_rot() {
    let disk = disk(1);
    let mut device = disk.open();
    let fault = |fault| disk.add_fault(FaultRule::next(FaultTarget::Write, fault));

    fault(Fault::Lost);
    run(&mut device, write(0, 0, 1, 1)).result.unwrap();
    assert_eq!(fill_of(&disk.image(), 0), Some(0));

    fault(Fault::Misdirected(5 * PAGE_LEN));
    run(&mut device, write(0, 1, 1, 2)).result.unwrap();
    assert_eq!(fill_of(&disk.image(), 1), Some(0));
    assert_eq!(fill_of(&disk.image(), 5), Some(2));

    fault(Fault::BitFlip(4096 * 8 + 1));
    run(&mut device, write(0, 10, 2, 0)).result.unwrap();
    assert_eq!(fill_of(&disk.image(), 10), Some(0));
    assert_eq!(page(&disk.image(), 11)[..2], [2, 0]);

    run(&mut device, flush(0)).result.unwrap();
    disk.tamper(|image| image.flip_bit(5 * PAGE_LEN, 0));
    assert_eq!(page(&disk.crash(0), 5)[..2], [3, 2]);
}

#[test]
fn wrong_requests_are_refused_as_by_the_real_device() {
    let disk = disk(1);
    let mut device = disk.open();
    let mut unaligned = write(0, 1, 1, 1);
    unaligned.offset += 512;
    for request in [unaligned, write(0, PAGE_COUNT, 1, 1)] {
        let error = run(&mut device, request).result.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    let error = run(&mut device, read(0, PAGE_COUNT)).result.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_sleeping_device_is_woken() {
    let options = SimOptions {
        sleeps: true,
        ..SimOptions::default()
    };
    let mut device = SimDisk::new(Image::new(DISK_LEN), options).open();
    let waker = device.waker();
    device.prepare_wait();
    let helper = std::thread::spawn(move || waker.wake());
    // Hangs if the wake-up is lost.
    device.wait(None).unwrap();
    helper.join().unwrap();

    let start = Instant::now();
    device.wait(Some(5_000)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(5));
}

/// Speed matters: the crash tests of the engine take images by the million.
#[test]
fn taking_and_opening_an_image_costs_microseconds() {
    let disk = disk(1);
    let mut device = disk.open();
    for index in 0..PAGE_COUNT / 2 {
        run(&mut device, write(0, index, 1, 1)).result.unwrap();
    }
    run(&mut device, flush(0)).result.unwrap();
    for index in 0..16 {
        run(&mut device, write(0, index * 5, 1, 2)).result.unwrap();
    }
    let count = 20_000;
    let start = Instant::now();
    for seed in 0..count {
        let next = SimDisk::new(disk.crash(seed), SimOptions::default());
        drop(next.open());
    }
    let each = start.elapsed() / count as u32;
    eprintln!("crash and open: {each:?} each");
    // Far above what it takes, far below a copy of a large image.
    assert!(each < Duration::from_micros(500), "{each:?}");
}
