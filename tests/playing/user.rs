//! The user: what is asked of the player, and what that is to bring about.

use camring::player::{Command, Speed, State};

use crate::model::Came;
use crate::scenario::Scenario;

impl Scenario {
    /// The user does something.
    pub(crate) fn act(&mut self) {
        match self.below(12) {
            0..=3 => {
                let target = self.random_time();
                self.seek(target);
            }
            4 | 5 => self.command(Command::Play),
            6 => self.command(Command::Pause),
            7 => {
                let speed = [125, 500, 1000, 2000, 8000, 64_000][self.below(6) as usize];
                self.command(Command::SetSpeed(Speed(speed)));
            }
            8 => {
                let is_on = self.below(2) == 0;
                self.command(Command::SkipGaps(is_on));
            }
            9 => self.map_or_unmap(),
            // Standing still, nothing is shown anew.
            10 if self.player.state() == State::Playing => self.turn_round(),
            _ if self.is_settled() && !self.is_backward => {
                let count = 1 + self.below(3) as i32;
                self.command(Command::Step(count));
            }
            _ => {}
        }
        self.settle();
    }

    fn is_settled(&self) -> bool {
        matches!(self.player.state(), State::Playing | State::Standing)
    }

    fn map_or_unmap(&mut self) {
        let keys: Vec<_> = self.streams.keys().copied().collect();
        let key = keys[self.below(keys.len() as u64) as usize];
        if self.mapped.remove(&key).is_some() {
            self.trace(|| format!("unmap {key:?}"));
            self.player.unmap(key);
        } else if !self.is_backward && self.player.state() == State::Standing {
            let target = self.head().unwrap_or_default();
            let mut came = Came::at(target, true);
            came.is_joining = true;
            self.mapped.insert(key, came);
            self.trace(|| format!("map {key:?}"));
            self.player.map(key);
            // It joins where the head is once it was read.
            for _ in 0..1000 {
                self.tick();
                if self.is_satisfied() {
                    break;
                }
            }
        }
    }

    fn turn_round(&mut self) {
        self.is_backward = !self.is_backward;
        let head = self.head().unwrap_or_default();
        self.sent_to(head, false);
        self.command(Command::SetReverse(self.is_backward));
    }
}
