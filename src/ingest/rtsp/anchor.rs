//! From a camera's clocks to UTC.
//!
//! RTP time says exactly how far apart the frames of a track are, but not when they were taken. So
//! each track has an anchor: one RTP time and the UTC that stands for it. It is set when the first
//! frame of the track arrives. Three things move it:
//!
//! - RTP time runs more than a second ahead of arrival. A frame cannot arrive before it was taken,
//!   so the anchor was wrong: it is set anew at once.
//! - RTP time lags behind arrival. A second or more may be a slow network, which says nothing of the
//!   camera's clock: the anchor is set anew when no frame in ten seconds was better, or at once
//!   when the lag is more than a network can hold back.
//! - Sender reports (RTCP) tell the RTP times of two tracks at the camera's own wall clock. The
//!   anchors of sound tracks are moved so that sound keeps the place that the camera gave it beside
//!   track 0. The camera's wall clock itself is not believed. They are moved little by little: sound
//!   whose time went back would be an error to every player.
//!
//! A step of this machine's wall clock shows as a lag or a lead, and is followed by the first two
//! rules. Unwrapping of the 32-bit RTP time is done before this module.

use crate::base::time::{Now, Timestamp, US_PER_S};

/// How far RTP time and arrival may drift apart.
const MAX_DRIFT_US: i64 = US_PER_S;
/// The longest lag that a network can cause.
const MAX_DELAY_US: i64 = 10 * US_PER_S;
/// For how long a lag must last to count as drift.
const LAG_MUST_LAST_US: i64 = 10 * US_PER_S;
/// Tracks are not moved for less: sender reports are no better than that.
const SYNC_TOLERANCE_US: i64 = 500;
/// A track that has to be moved is moved by one part in so many of the time that passes: less than
/// a millisecond from one frame of sound to the next.
const SYNC_SLOWNESS: i64 = 25;

/// The clocks of one camera during one session.
#[derive(Debug)]
pub(super) struct CameraTime {
    tracks: Vec<TrackTime>,
}

/// What [`CameraTime::stamp`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The presentation time.
    pub(super) time: Timestamp,
    /// By how much the anchor had to be moved, in microseconds; 0 almost always.
    pub(super) moved_us: i64,
}

#[derive(Debug)]
struct TrackTime {
    rate_hz: u32,
    anchor: Option<Point>,
    /// Since when every frame has lagged too much, by the boot clock.
    lagging_since_us: Option<i64>,
    /// The last sender report: RTP time, and the camera's wall clock.
    report: Option<Point>,
    /// By how much the anchor is still to be moved.
    to_move_us: i64,
    /// What the frame before was given.
    last_us: Option<i64>,
}

/// One moment by two clocks.
#[derive(Clone, Copy, Debug)]
struct Point {
    clock: i64,
    wall_us: i64,
}

impl Point {
    /// The wall clock when the RTP clock shows `clock`. Saturates.
    fn wall_us_at(self, clock: i64, rate_hz: u32) -> i64 {
        let ticks = i128::from(clock) - i128::from(self.clock);
        let wall = i128::from(self.wall_us) + ticks * i128::from(US_PER_S) / i128::from(rate_hz);
        i64::try_from(wall).unwrap_or(if wall < 0 { i64::MIN } else { i64::MAX })
    }
}

impl CameraTime {
    /// Clocks of tracks with these rates, which are not 0.
    pub(super) fn new(rates_hz: impl IntoIterator<Item = u32>) -> Self {
        let tracks = rates_hz.into_iter().map(|rate_hz| TrackTime {
            rate_hz: rate_hz.max(1),
            anchor: None,
            lagging_since_us: None,
            report: None,
            to_move_us: 0,
            last_us: None,
        });
        Self {
            tracks: tracks.collect(),
        }
    }

    /// The time of the frame of `track` with the unwrapped RTP time `clock` that arrived `now`.
    pub(super) fn stamp(&mut self, track: usize, clock: i64, now: Now) -> Stamp {
        let Some(track) = self.tracks.get_mut(track) else {
            return Stamp {
                time: Timestamp(now.utc_us),
                moved_us: 0,
            };
        };
        let arrival = Point {
            clock,
            wall_us: now.utc_us,
        };
        let wall_us = track.wall_us(arrival);
        let lag_us = now.utc_us.saturating_sub(wall_us);
        if !track.has_drifted(lag_us, now) {
            track.last_us = Some(wall_us);
            return Stamp {
                time: Timestamp(wall_us),
                moved_us: 0,
            };
        }
        track.anchor = Some(arrival);
        track.lagging_since_us = None;
        track.report = None;
        track.to_move_us = 0;
        track.last_us = Some(now.utc_us);
        Stamp {
            time: Timestamp(now.utc_us),
            moved_us: lag_us,
        }
    }

    /// Takes a sender report: `track` shows the RTP time `clock` when the camera's wall clock shows
    /// `camera_us`. Returns by how many microseconds a track will be moved, frame by frame, to keep
    /// it beside track 0.
    pub(super) fn report(&mut self, track: usize, clock: i64, camera_us: i64) -> i64 {
        let Some(reporter) = self.tracks.get_mut(track) else {
            return 0;
        };
        reporter.report = Some(Point {
            clock,
            wall_us: camera_us,
        });
        let Some((lead, others)) = self.tracks.split_first_mut() else {
            return 0;
        };
        let Some(camera_ahead_us) = lead.camera_ahead_us() else {
            return 0;
        };
        others
            .iter_mut()
            .map(|other| other.follow(camera_ahead_us))
            .max_by_key(|moved_us| moved_us.unsigned_abs())
            .unwrap_or(0)
    }
}

impl TrackTime {
    /// The time of the frame with the clock of `arrival`. The first sets the anchor; each one moves
    /// it by a part of what it is still to be moved.
    fn wall_us(&mut self, arrival: Point) -> i64 {
        let anchor = self.anchor.get_or_insert(arrival);
        let wall_us = anchor.wall_us_at(arrival.clock, self.rate_hz);
        let passed_us = self.last_us.map_or(0, |last| wall_us.saturating_sub(last));
        let limit_us = passed_us.max(0) / SYNC_SLOWNESS;
        let step_us = self.to_move_us.clamp(-limit_us, limit_us);
        self.to_move_us -= step_us;
        anchor.wall_us = anchor.wall_us.saturating_add(step_us);
        wall_us.saturating_add(step_us)
    }

    /// Whether the anchor must be set anew, now that a frame came `lag_us` after its time.
    fn has_drifted(&mut self, lag_us: i64, now: Now) -> bool {
        if !(-MAX_DRIFT_US..=MAX_DELAY_US).contains(&lag_us) {
            return true;
        }
        if lag_us <= MAX_DRIFT_US {
            self.lagging_since_us = None;
            return false;
        }
        let since_us = *self.lagging_since_us.get_or_insert(now.boot_us);
        now.boot_us.saturating_sub(since_us) >= LAG_MUST_LAST_US
    }

    /// How far the camera's wall clock is ahead of ours, by the last sender report, when the anchor
    /// is where it is to be.
    fn camera_ahead_us(&self) -> Option<i64> {
        let (anchor, report) = (self.anchor?, self.report?);
        let our_us = anchor.wall_us_at(report.clock, self.rate_hz);
        let our_us = our_us.saturating_add(self.to_move_us);
        Some(report.wall_us.saturating_sub(our_us))
    }

    /// Has the anchor moved so that the camera's clock is as far ahead here as on track 0. A
    /// difference that no network explains comes from wrong reports, and is not followed.
    fn follow(&mut self, lead_ahead_us: i64) -> i64 {
        let Some(ahead_us) = self.camera_ahead_us() else {
            return 0;
        };
        let move_us = ahead_us.saturating_sub(lead_ahead_us);
        if !(SYNC_TOLERANCE_US..=MAX_DRIFT_US).contains(&move_us.saturating_abs()) {
            return 0;
        }
        self.to_move_us = self.to_move_us.saturating_add(move_us);
        move_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{Clock, ManualClock};

    const START: Now = Now {
        boot_us: 77_000_000,
        utc_us: 1_700_000_000_000_000,
    };
    /// One picture at 25 per second, at 90 kHz.
    const STEP: i64 = 3_600;

    fn camera() -> (CameraTime, ManualClock) {
        (CameraTime::new([90_000, 48_000]), ManualClock::new(START))
    }

    /// The time of a picture, in microseconds since the start, and the move of the anchor.
    fn picture(time: &mut CameraTime, clock: i64, now: Now) -> (i64, i64) {
        let stamp = time.stamp(0, clock, now);
        (stamp.time.us_since(Timestamp(START.utc_us)), stamp.moved_us)
    }

    #[test]
    fn jitter_of_the_network_does_not_show_in_the_times() {
        let (mut time, clock) = camera();
        for number in 0..500i64 {
            let late_us = u64::try_from((number * 7_919) % 90_000).unwrap_or(0);
            let mut now = clock.now();
            now.utc_us += late_us.cast_signed();
            now.boot_us += late_us.cast_signed();
            let (at_us, moved_us) = picture(&mut time, 123_456 + number * STEP, now);
            assert_eq!((at_us, moved_us), (number * 40_000, 0));
            clock.advance_us(40_000);
        }
    }

    #[test]
    fn pictures_in_decode_order_keep_their_times() {
        let (mut time, clock) = camera();
        for (number, shown) in [0, 4, 2, 1, 3, 8, 6, 5, 7].into_iter().enumerate() {
            let stamp = picture(&mut time, shown * STEP, clock.now());
            assert_eq!(stamp, (shown * 40_000, 0), "picture {number}");
            clock.advance_us(40_000);
        }
    }

    #[test]
    fn times_go_on_over_the_wrap_of_rtp_time() {
        // The caller unwraps; what must hold here is that there is nothing special about 2^32.
        let (mut time, clock) = camera();
        let start = (1i64 << 32) - 2 * STEP;
        for number in 0..5 {
            let stamp = picture(&mut time, start + number * STEP, clock.now());
            assert_eq!(stamp, (number * 40_000, 0));
            clock.advance_us(40_000);
        }
    }

    #[test]
    fn a_camera_clock_that_runs_fast_is_set_back_when_it_is_a_second_ahead() {
        let (mut time, clock) = camera();
        let mut moves = Vec::new();
        // One picture a second, and the camera's second is 1 ms short: 1.001 RTP seconds each.
        for number in 0..2_500i64 {
            let (_, moved_us) = picture(&mut time, number * 90_090, clock.now());
            if moved_us != 0 {
                moves.push((number, moved_us));
            }
            clock.advance_us(1_000_000);
        }
        assert_eq!(moves, [(1_001, -1_001_000), (2_002, -1_001_000)]);
    }

    #[test]
    fn a_camera_clock_that_runs_slow_is_set_forward_once_it_is_sure() {
        let (mut time, clock) = camera();
        let mut moves = Vec::new();
        for number in 0..1_500i64 {
            let (_, moved_us) = picture(&mut time, number * 89_910, clock.now());
            if moved_us != 0 {
                moves.push((number, moved_us));
            }
            clock.advance_us(1_000_000);
        }
        // Beyond a second from number 1,001 on, for ten seconds.
        assert_eq!(moves, [(1_011, 1_011_000)]);
    }

    #[test]
    fn frames_held_back_by_the_network_keep_their_times() {
        let (mut time, clock) = camera();
        picture(&mut time, 0, clock.now());
        clock.advance_us(5_000_000);
        // Five seconds of pictures arrive at once.
        for number in 1..=125 {
            let stamp = picture(&mut time, number * STEP, clock.now());
            assert_eq!(stamp, (number * 40_000, 0));
        }
        clock.advance_us(40_000);
        assert_eq!(picture(&mut time, 126 * STEP, clock.now()), (5_040_000, 0));
    }

    #[test]
    fn steps_of_our_wall_clock_are_followed_at_once() {
        for step_us in [3_600_000_000i64, -3_600_000_000, -2_000_000] {
            let (mut time, clock) = camera();
            picture(&mut time, 0, clock.now());
            clock.advance_us(40_000);
            clock.step_utc_us(step_us);
            let stamp = picture(&mut time, STEP, clock.now());
            assert_eq!(stamp, (40_000 + step_us, step_us));
            clock.advance_us(40_000);
            let stamp = picture(&mut time, 2 * STEP, clock.now());
            assert_eq!(stamp, (80_000 + step_us, 0));
        }
    }

    #[test]
    fn garbage_in_rtp_time_moves_one_track_and_cannot_overflow() {
        let (mut time, clock) = camera();
        picture(&mut time, 0, clock.now());
        time.stamp(1, 0, clock.now());
        for garbage in [i64::MAX, i64::MIN, 0, 1 << 40, -(1 << 40), i64::MAX] {
            clock.advance_us(40_000);
            let stamp = time.stamp(0, garbage, clock.now());
            assert_eq!(stamp.time, Timestamp(clock.now().utc_us));
            assert_ne!(stamp.moved_us, 0);
        }
        clock.advance_us(40_000);
        let elapsed_us = clock.now().utc_us - START.utc_us;
        let sound = time.stamp(1, elapsed_us * 48 / 1_000, clock.now());
        assert_eq!(sound.moved_us, 0);
        assert_eq!(sound.time, Timestamp(clock.now().utc_us));
    }

    #[test]
    fn sound_that_arrives_late_is_moved_beside_the_pictures_by_sender_reports() {
        let (mut time, clock) = camera();
        time.stamp(0, 1_000, clock.now());
        // Sound of the same moment comes 300 ms later; its first anchor is that much wrong.
        clock.advance_us(300_000);
        let wrong = time.stamp(1, 5_000, clock.now());
        assert_eq!(wrong.time.us_since(Timestamp(START.utc_us)), 300_000);
        // The camera thinks it is 1970; both clocks showed these values at the same moment.
        let camera_us = 86_400_000_000;
        assert_eq!(time.report(1, 5_000, camera_us), 0);
        assert_eq!(time.report(0, 1_000, camera_us), -300_000);
        // It takes 25 times as long as the way is, and no time goes back meanwhile.
        let mut last_us = 300_000;
        let mut sound_us = |time: &mut CameraTime, number: i64| {
            let stamp = time.stamp(1, 5_000 + number * 960, clock.now());
            let at_us = stamp.time.us_since(Timestamp(START.utc_us));
            let step_us = at_us - std::mem::replace(&mut last_us, at_us);
            clock.advance_us(20_000);
            (step_us, at_us)
        };
        for number in 1..=375 {
            assert_eq!(sound_us(&mut time, number).0, 20_000 - 800, "{number}");
        }
        assert_eq!(sound_us(&mut time, 376), (20_000, 376 * 20_000));
        // Reports a little later agree, and nothing moves again.
        assert_eq!(time.report(0, 1_000 + 90_000, camera_us + 1_000_000), 0);
        let camera_us = camera_us + 1_000_000;
        assert_eq!(time.report(1, 5_000 + 48_000, camera_us + 400), 0);
    }

    #[test]
    fn sender_reports_that_cannot_be_true_are_not_followed() {
        let (mut time, clock) = camera();
        time.stamp(0, 0, clock.now());
        time.stamp(1, 0, clock.now());
        assert_eq!(time.report(0, 0, 0), 0);
        for nonsense in [i64::MAX, i64::MIN, 5_000_000, -5_000_000] {
            assert_eq!(time.report(1, 0, nonsense), 0);
        }
        assert_eq!(time.report(9, 0, 0), 0);
        assert_eq!(
            time.stamp(1, 480, clock.now()).time.0,
            START.utc_us + 10_000
        );
    }
}
