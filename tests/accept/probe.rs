//! How fast the disk is by itself, and how busy the machine: the longest write, flush and wake-up,
//! without camring.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use aligned_vec::{AVec, ConstAlign, avec};
use rustix::fs::OFlags;

/// What is written at a time: as much as the writer gathers before it writes.
const WRITE_LEN: usize = 1 << 20;
/// How many places of the file are written in turn.
const PLACE_COUNT: u64 = 16;
/// How often it is measured at a time.
const ROUND_COUNT: usize = 3;
/// For how long it sleeps at a time.
const NAP: Duration = Duration::from_millis(10);

/// A file beside a volume, and what was measured with it.
pub(crate) struct Probe {
    file: File,
    bytes: AVec<u8, ConstAlign<4096>>,
    next: u64,
    /// The longest direct write of 1 MiB.
    pub(crate) write: Duration,
    /// The longest flush after one.
    pub(crate) flush: Duration,
    /// By how much a thread that slept was late to go on, each time: how busy the machine is.
    pub(crate) wakes: Vec<Duration>,
}

impl Probe {
    /// A probe in `dir`, whose file is written once and so has its place on the disk.
    pub(crate) fn new(dir: &Path) -> Self {
        let direct = i32::try_from(OFlags::DIRECT.bits()).unwrap();
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).custom_flags(direct);
        let mut probe = Self {
            file: options.open(dir.join("probe")).unwrap(),
            bytes: avec!([4096]| 0x5a; WRITE_LEN),
            next: 0,
            write: Duration::ZERO,
            flush: Duration::ZERO,
            wakes: Vec::new(),
        };
        for _ in 0..PLACE_COUNT {
            probe.write_next();
        }
        probe.file.sync_all().unwrap();
        probe
    }

    /// Measures a few times.
    pub(crate) fn measure(&mut self) {
        for _ in 0..ROUND_COUNT {
            let start = Instant::now();
            self.write_next();
            let written = Instant::now();
            self.file.sync_data().unwrap();
            self.write = self.write.max(written - start);
            self.flush = self.flush.max(written.elapsed());
        }
    }

    /// Does nothing for half a second, and measures how well that goes.
    pub(crate) fn rest(&mut self) {
        for _ in 0..50 {
            let start = Instant::now();
            // How late this ends is what is measured.
            std::thread::sleep(NAP);
            self.wakes.push(start.elapsed() - NAP);
        }
    }

    fn write_next(&mut self) {
        let at = self.next % PLACE_COUNT * WRITE_LEN as u64;
        self.file.write_all_at(&self.bytes, at).unwrap();
        self.next += 1;
    }
}
