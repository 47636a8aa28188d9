//! The one clock of a player: from the time that passes to the time of the recording.

use crate::base::time::Timestamp;

/// Where the head is, and how it moves. Integers only; everything saturates.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Where the head was at `base_us`.
    base: Timestamp,
    base_us: i64,
    speed: super::Speed,
    is_reverse: bool,
    is_running: bool,
}

impl Clock {
    /// The head at `now_us`.
    pub(super) fn at(&self, now_us: i64) -> Timestamp {
        if !self.is_running {
            return self.base;
        }
        let passed_us = (i128::from(now_us) - i128::from(self.base_us)).max(0);
        let moved_us = passed_us * i128::from(self.speed.0) / 1000;
        let base = i128::from(self.base.0);
        Timestamp(narrow(if self.is_reverse {
            base - moved_us
        } else {
            base + moved_us
        }))
    }

    /// When the head is at `time`: not before the clock was last set; none while it stands and
    /// when `time` lies the other way.
    pub(super) fn when(&self, time: Timestamp) -> Option<i64> {
        let way_us = i128::from(time.0) - i128::from(self.base.0);
        let way_us = if self.is_reverse { -way_us } else { way_us };
        if !self.is_running || way_us < 0 {
            return None;
        }
        let speed = i128::from(self.speed.0.max(1));
        let passed_us = (way_us * 1000 + speed - 1) / speed;
        Some(narrow(i128::from(self.base_us) + passed_us))
    }

    /// When something at `time` was due that is delivered at `now_us`.
    pub(super) fn due_us(&self, time: Timestamp, now_us: i64) -> i64 {
        self.when(time).unwrap_or(self.base_us).min(now_us)
    }

    /// Moves the head; the clock runs or stands as before.
    pub(super) fn set(&mut self, time: Timestamp, now_us: i64) {
        (self.base, self.base_us) = (time, now_us);
    }

    /// Lets the head run or stand, from where it is.
    pub(super) fn run(&mut self, is_running: bool, now_us: i64) {
        if self.is_running != is_running {
            self.set(self.at(now_us), now_us);
            self.is_running = is_running;
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    pub(super) fn set_speed(&mut self, speed: super::Speed, now_us: i64) {
        self.set(self.at(now_us), now_us);
        self.speed = speed;
    }

    pub(super) fn speed(&self) -> super::Speed {
        self.speed
    }

    pub(super) fn set_reverse(&mut self, is_reverse: bool, now_us: i64) {
        self.set(self.at(now_us), now_us);
        self.is_reverse = is_reverse;
    }
}

fn narrow(us: i128) -> i64 {
    i64::try_from(us).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::super::Speed;
    use super::*;

    #[test]
    fn speed_and_pause_take_effect_at_once() {
        let mut clock = Clock::default();
        clock.set(Timestamp(1000), 50);
        assert_eq!(clock.at(90), Timestamp(1000));
        clock.run(true, 90);
        assert_eq!(clock.at(100), Timestamp(1010));
        clock.set_speed(Speed(64_000), 100);
        assert_eq!(clock.at(101), Timestamp(1074));
        clock.run(false, 102);
        assert_eq!(clock.at(500), Timestamp(1138));
        clock.run(true, 500);
        clock.set_reverse(true, 500);
        assert_eq!(clock.at(501), Timestamp(1074));
    }

    #[test]
    fn a_time_is_reached_when_the_clock_says_so_and_not_before() {
        for speed in [125, 333, 1000, 1001, 64_000] {
            for is_reverse in [false, true] {
                let mut clock = Clock::default();
                clock.set(Timestamp(0), 0);
                clock.set_speed(Speed(speed), 0);
                clock.set_reverse(is_reverse, 0);
                clock.run(true, 0);
                for us in [0, 1, 7, 999, 40_000] {
                    let time = Timestamp(if is_reverse { -us } else { us });
                    let at = clock.when(time).unwrap_or(i64::MAX);
                    let is_there = |now| clock.at(now).0.abs() >= us;
                    assert!(is_there(at), "{speed} {us}");
                    assert!(at == 0 || !is_there(at - 1), "{speed} {us}");
                }
            }
        }
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let mut clock = Clock::default();
        clock.set(Timestamp::MIN, i64::MIN);
        clock.run(true, i64::MIN);
        clock.set_speed(Speed::FASTEST, i64::MIN);
        assert_eq!(clock.at(i64::MAX), Timestamp::MAX);
        assert!(clock.due_us(Timestamp::MAX, 5) < 5);
        clock.set_reverse(true, i64::MAX);
        assert_eq!(clock.when(Timestamp::MAX), Some(i64::MAX));
    }
}
