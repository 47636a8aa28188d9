//! Payloads for benchmarks: bytes that no disk or cache can make smaller, and more of them than the
//! last-level cache holds, so that each is read from memory as a camera's frames are.
#![allow(dead_code, reason = "no benchmark uses all of it")]

use bytes::Bytes;
use camring::base::time::Timestamp;
use camring::block::chunk::PendingFrame;

/// Assumed where the machine does not tell, in bytes.
const DEFAULT_L3_LEN: usize = 64 << 20;
/// When the first frame was taken, in microseconds UTC.
pub(crate) const START_US: i64 = 1_700_000_000_000_000;
/// Between two frames of a stream, in microseconds.
const FRAME_US: i64 = 40_000;

/// Random bytes that are handed out from the beginning to the end, and again.
pub(crate) struct Pool {
    bytes: Bytes,
    at: usize,
}

impl Pool {
    /// Four times as many bytes as the last-level cache has.
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let bytes: Vec<u8> = words.take(pool_len() / 8).flatten().collect();
        Self {
            bytes: bytes.into(),
            at: 0,
        }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next `len` bytes; shares them.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        if self.at + len > self.bytes.len() {
            self.at = 0;
        }
        self.at += len;
        self.bytes.slice(self.at - len..self.at)
    }

    /// `count` frames of one stream, each `len` bytes long, the first of them a key frame.
    pub(crate) fn frames(&mut self, count: usize, len: usize) -> Vec<PendingFrame> {
        let frame = |number: usize| {
            let elapsed_us = FRAME_US * number as i64;
            PendingFrame {
                ordinal: number as u64,
                arrival_us: elapsed_us,
                time: Timestamp(START_US + elapsed_us),
                clock: 3600 * number as i64,
                track: 0,
                key: number == 0,
                leading: false,
                record: false,
                payload: self.take(len),
            }
        };
        (0..count).map(frame).collect()
    }
}

fn pool_len() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size");
    let kib = text
        .ok()
        .and_then(|text| text.trim().strip_suffix('K')?.parse::<usize>().ok());
    4 * kib.map_or(DEFAULT_L3_LEN, |kib| kib << 10)
}
