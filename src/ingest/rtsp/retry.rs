//! When to give up waiting for a camera, and when to try it again.
//!
//! Pure code: `now` is passed in, nothing sleeps and nothing is random but by the seed.

use super::Options;

/// A stream that lasted this long was good: the next failure begins a new series.
const GOOD_AFTER_US: i64 = 10_000_000;

/// How long to wait before the next try: twice as long after each failure, with jitter, so that
/// a hundred cameras behind one switch do not come back in the same instant.
#[derive(Debug)]
pub(super) struct Backoff {
    min_us: i64,
    max_us: i64,
    /// Failures since the last good stream.
    failure_count: u32,
    /// The first and the last frame of the current stream, by the boot clock.
    stream_us: Option<(i64, i64)>,
    random: u64,
}

impl Backoff {
    /// No failure yet. The jitter is a function of `seed`.
    pub(super) fn new(options: &Options, seed: u64) -> Self {
        Self {
            min_us: to_us(options.retry_min),
            max_us: to_us(options.retry_max),
            failure_count: 0,
            stream_us: None,
            random: seed,
        }
    }

    /// A frame came.
    pub(super) fn frame(&mut self, boot_us: i64) {
        let first = self.stream_us.map_or(boot_us, |(first, _)| first);
        self.stream_us = Some((first, boot_us));
    }

    /// The stream ended, or could not be had. Returns how long to wait, in microseconds.
    ///
    /// `refused` tells that the camera did not accept the login. Cameras lock an account after a
    /// few of these, so the longest wait is taken at once.
    pub(super) fn failed(&mut self, refused: bool) -> i64 {
        if let Some((first, last)) = self.stream_us.take()
            && last.saturating_sub(first) >= GOOD_AFTER_US
        {
            self.failure_count = 0;
        }
        let doubled = self
            .min_us
            .saturating_mul(2i64.saturating_pow(self.failure_count));
        self.failure_count = self.failure_count.saturating_add(1);
        let wait_us = if refused {
            self.max_us
        } else {
            doubled.min(self.max_us)
        };
        // Between half of it and all of it.
        let half = wait_us / 2;
        let jitter = self.next_random() % (half.unsigned_abs() + 1);
        (half + jitter.cast_signed()).max(self.min_us.min(wait_us))
    }

    /// splitmix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Tells when a camera has been silent for too long.
#[derive(Debug)]
pub(super) struct Watchdog {
    timeout_us: i64,
    last_frame_us: i64,
}

impl Watchdog {
    /// Waits for the first frame from now on.
    pub(super) fn new(options: &Options, boot_us: i64) -> Self {
        Self {
            timeout_us: to_us(options.read_timeout),
            last_frame_us: boot_us,
        }
    }

    /// A frame came.
    pub(super) fn frame(&mut self, boot_us: i64) {
        self.last_frame_us = boot_us;
    }

    /// How long to wait for the next frame, in microseconds; 0 once it was too long.
    pub(super) fn patience_us(&self, boot_us: i64) -> i64 {
        let silent_us = boot_us.saturating_sub(self.last_frame_us);
        self.timeout_us.saturating_sub(silent_us).max(0)
    }
}

fn to_us(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a panic is how a test fails")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn waits_s(backoff: &mut Backoff, count: usize) -> Vec<f64> {
        let us = (0..count).map(|_| backoff.failed(false));
        us.map(|us| Duration::from_micros(us.unsigned_abs()).as_secs_f64())
            .collect()
    }

    #[test]
    fn waits_double_from_half_a_second_to_half_a_minute() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(&Options::default(), seed);
            let waits = waits_s(&mut backoff, 40);
            let most = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0];
            for (wait, most) in waits.iter().zip(most) {
                let least = f64::max(most / 2.0, 0.5);
                assert!((least..=most).contains(wait), "seed {seed}: {waits:?}");
            }
            assert!(waits.iter().all(|wait| (0.5..=30.0).contains(wait)));
        }
    }

    #[test]
    fn two_cameras_do_not_wait_alike() {
        let options = Options::default();
        let (mut a, mut b) = (Backoff::new(&options, 1), Backoff::new(&options, 2));
        assert_ne!(waits_s(&mut a, 5)[1..], waits_s(&mut b, 5)[1..]);
    }

    #[test]
    fn a_good_stream_ends_the_series_and_a_short_one_does_not() {
        let mut backoff = Backoff::new(&Options::default(), 7);
        waits_s(&mut backoff, 10);
        backoff.frame(0);
        backoff.frame(9_000_000);
        assert!(backoff.failed(false) >= 15_000_000);
        backoff.frame(100_000_000);
        backoff.frame(105_000_000);
        backoff.frame(110_000_000);
        assert_eq!(backoff.failed(false), 500_000);
        assert!(backoff.failed(false) <= 1_000_000);
    }

    #[test]
    fn a_refused_login_is_not_tried_again_soon() {
        let mut backoff = Backoff::new(&Options::default(), 7);
        assert!(backoff.failed(true) >= 15_000_000);
    }

    #[test]
    fn patience_ends_when_no_frame_came_for_the_timeout() {
        let mut dog = Watchdog::new(&Options::default(), 1_000_000);
        assert_eq!(dog.patience_us(1_000_000), 8_000_000);
        assert_eq!(dog.patience_us(8_000_000), 1_000_000);
        dog.frame(8_000_000);
        assert_eq!(dog.patience_us(8_000_000), 8_000_000);
        assert_eq!(dog.patience_us(16_000_000), 0);
        assert_eq!(dog.patience_us(i64::MAX), 0);
    }
}
