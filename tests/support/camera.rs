//! Made-up cameras: frames whose content tells stream and number, so that a test knows what to
//! expect without asking camring.
#![allow(dead_code, reason = "each suite uses a part of it")]

use bytes::Bytes;
use camring::base::time::Timestamp;
use camring::frame::{Codec, Frame, StreamSetup, TrackSetup};

/// A repeatable source of numbers (xorshift), for tests that print its seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Numbers from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }
}

/// The seed of a random test: `CAMRING_SEED`, or else one from the clock.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("CAMRING_SEED").ok();
    given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_nanos() as u64)
    })
}

/// The setup of a made-up camera: one video track.
pub(crate) fn setup(name: &str) -> StreamSetup {
    let track = TrackSetup {
        codec: Codec::H264,
        clock_rate_hz: 90_000,
        width_px: 640,
        height_px: 360,
        channel_count: 0,
        extra: Bytes::from_static(b"\x01avcC stand-in"),
    };
    StreamSetup {
        name: name.to_owned(),
        tracks: vec![track],
    }
}

/// Frame number `number` of stream `stream`, 40 ms after the one before, every `key_every`th a key
/// frame, `len` bytes long (at least 24).
pub(crate) fn frame(stream: u64, number: u64, start_us: i64, key_every: u64, len: usize) -> Frame {
    let mut payload = Vec::with_capacity(len.max(24));
    payload.extend(stream.to_le_bytes());
    payload.extend(number.to_le_bytes());
    payload.extend((len.max(24) as u64).to_le_bytes());
    let mut state = stream
        .wrapping_mul(31)
        .wrapping_add(number)
        .wrapping_mul(0x9e37_79b9)
        | 1;
    while payload.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        payload.push((state >> 56) as u8);
    }
    Frame {
        track: 0,
        key: number.is_multiple_of(key_every),
        leading: false,
        time: Timestamp(start_us + 40_000 * number.cast_signed()),
        clock: 3600 * number.cast_signed(),
        payload: Bytes::from(payload),
    }
}
