//! What keys do.

use camring::base::time::{Timestamp, US_PER_S};
use camring::manager::{Command, Speed};
use camring::{Manager, Result};

use super::keyboard::Key;
use super::status::Status;
use crate::args::play::Play;

/// How far an arrow goes.
const JUMP_US: i64 = 10 * US_PER_S;

/// Turns keys into commands.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) status: Status,
    /// Something is being written for which time can only go on.
    is_written: bool,
}

impl Control {
    pub(super) fn new(args: &Play) -> Self {
        Self {
            status: Status::new(args.speed),
            is_written: args.to.is_some(),
        }
    }

    /// Does what `key` means.
    ///
    /// # Errors
    ///
    /// When the manager has ended.
    pub(super) fn press(&mut self, key: Key, manager: &Manager) -> Result<()> {
        self.status.note = None;
        if self.is_written && is_jump(key) {
            self.status.note = Some("no jumps while a file is written");
            return Ok(());
        }
        match key {
            Key::Pause => self.toggle(manager),
            Key::Back => self.jump(manager, -JUMP_US),
            Key::Ahead => self.jump(manager, JUMP_US),
            Key::StepBack => self.step(manager, -1),
            Key::StepAhead => self.step(manager, 1),
            Key::Slower => self.set_speed(manager, Speed(self.status.speed.0 / 2)),
            Key::Faster => self.set_speed(manager, Speed(self.status.speed.0.saturating_mul(2))),
            Key::Reverse => {
                self.status.is_reverse ^= true;
                manager.command(Command::SetReverse(self.status.is_reverse))
            }
            Key::Live => {
                (self.status.is_playing, self.status.is_reverse) = (true, false);
                manager.command(Command::SetReverse(false))?;
                manager.command(Command::Live { uncommitted: false })
            }
            Key::Quit => Ok(()),
        }
    }

    fn toggle(&mut self, manager: &Manager) -> Result<()> {
        self.status.is_playing ^= true;
        manager.command(if self.status.is_playing {
            Command::Play
        } else {
            Command::Pause
        })
    }

    fn step(&mut self, manager: &Manager, count: i32) -> Result<()> {
        self.status.is_playing = false;
        manager.command(Command::Step(count))
    }

    fn set_speed(&mut self, manager: &Manager, speed: Speed) -> Result<()> {
        self.status.speed = speed.clamp(Speed::SLOWEST, Speed::FASTEST);
        manager.command(Command::SetSpeed(self.status.speed))
    }

    /// Goes `us` microseconds on, within what is recorded.
    fn jump(&mut self, manager: &Manager, us: i64) -> Result<()> {
        let Some(time) = self.status.time.or_else(|| manager.time()) else {
            return Ok(());
        };
        let range = manager.time_range();
        let (start, end) = range.map_or((Timestamp::MIN, Timestamp::MAX), |all| {
            (all.start, all.end.max(all.start))
        });
        let to = time.plus_us(us).clamp(start, end);
        // So that the next one goes on from there.
        self.status.time = Some(to);
        manager.command(Command::Seek(to))
    }
}

fn is_jump(key: Key) -> bool {
    matches!(
        key,
        Key::Back | Key::Ahead | Key::StepBack | Key::Reverse | Key::Live
    )
}
