//! The log of the surviving process, and its judgement.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::process::ChildStdin;
use std::time::{Duration, Instant};

use camring::frame::{Frame, Item, Recorded, StreamId};

use super::child;
use super::lives::Figures;
use super::recording::{KEY_EVERY, frame, time_of};

pub(super) const STREAM_COUNT: u64 = 4;
/// Between two frames of a camera.
const FRAME_US: u64 = 40_000;

/// Stream and number of a frame.
type Name = (StreamId, u64);

/// What was done with a frame.
#[derive(Debug)]
struct Entry {
    hash: u64,
    /// When its push had returned, on the boot clock; none where nobody knows whether it did.
    pushed_us: Option<i64>,
    /// The block that it was found in after the kill; none before, and where it was lost.
    block: Option<u64>,
}

/// Everything that the child has told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pushed: Vec<(Name, i64)>,
    /// The time up to which a stream is durable.
    durable: Vec<(StreamId, i64)>,
    open_us: Option<u64>,
    pub(super) unknown: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    entries: BTreeMap<Name, Entry>,
    /// The number of the next life's first frames.
    next: u64,
    /// The frames of the life that has just ended.
    newest: BTreeSet<Name>,
    durable: Vec<(StreamId, i64)>,
    durable_count: usize,
    killed_us: i64,
    last_life: String,
    losses_us: Vec<i64>,
    lost_count: u64,
    kept_count: u64,
    opens_us: Vec<u64>,
}

fn hash_of(frame: &Frame) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Frame {
        track,
        key,
        leading,
        time,
        clock,
        payload,
    } = frame;
    (track, key, leading, time, clock, payload).hash(&mut hasher);
    hasher.finish()
}

/// Sends frames at `speed` times real speed until the child is gone; returns what was sent, with
/// its hash. A frame that was sent in part is listed: nobody knows what the child got of it.
pub(super) fn feed(mut to: ChildStdin, first: u64, speed: u64) -> Vec<(Name, u64)> {
    let mut sent = Vec::new();
    let start = Instant::now();
    for number in first.. {
        let due = start + Duration::from_micros(FRAME_US / speed * (number - first));
        // The pace of cameras.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for stream in 0..STREAM_COUNT {
            let frame = frame(stream, number);
            sent.push(((StreamId(stream), number), hash_of(&frame)));
            if to
                .write_all(&child::encode(stream, number, &frame))
                .is_err()
            {
                return sent;
            }
        }
    }
    sent
}

/// Reads what the child tells until it is gone.
pub(super) fn listen(from: PipeReader) -> Told {
    let mut told = Told::default();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
        match (words[0], number(1), number(2), number(3)) {
            ("push", Some(stream), Some(frame), Some(us)) => {
                told.pushed
                    .push(((StreamId(stream as u64), frame as u64), us));
            }
            ("durable", Some(stream), Some(time), None) => {
                told.durable.push((StreamId(stream as u64), time));
            }
            ("open", Some(us), None, None) => told.open_us = Some(us as u64),
            _ => told.unknown.push(line),
        }
    }
    told
}

impl Log {
    /// The number of the first frames of the next life: a key frame, and a little later.
    pub(super) fn begin_life(&mut self) -> u64 {
        self.next = (self.next / KEY_EVERY + 2) * KEY_EVERY;
        self.next
    }

    pub(super) fn end_life(&mut self, sent: Vec<(Name, u64)>, told: Told, killed_us: i64) {
        self.newest = sent.iter().map(|(name, _)| *name).collect();
        for (name, hash) in sent {
            self.next = self.next.max(name.1);
            let entry = Entry {
                hash,
                pushed_us: None,
                block: None,
            };
            assert!(self.entries.insert(name, entry).is_none());
        }
        for (name, us) in told.pushed {
            self.entries.get_mut(&name).unwrap().pushed_us = Some(us);
        }
        self.opens_us.extend(told.open_us);
        self.durable_count += told.durable.len();
        (self.durable, self.killed_us) = (told.durable, killed_us);
    }

    /// Judges what the blocks hold. Blocks up to `gone` were overwritten.
    pub(super) fn judge_blocks(&mut self, items: &[Recorded], gone: u64) {
        let mut found = BTreeMap::new();
        let mut last = BTreeMap::new();
        for recorded in items {
            let Item::Frame(frame) = &recorded.item else {
                continue;
            };
            let name = (recorded.stream, number_of(frame));
            let entry = self.entries.get(&name);
            let entry = entry.unwrap_or_else(|| panic!("{name:?} was never sent"));
            assert_eq!(hash_of(frame), entry.hash, "{name:?} is not what was sent");
            assert!(
                found.insert(name, recorded.sequence).is_none(),
                "{name:?} comes twice"
            );
            let before = last.insert(recorded.stream, name.1);
            assert!(before < Some(name.1), "{name:?} comes behind {before:?}");
        }
        let mut oldest_lost_us = None;
        for (name, entry) in &mut self.entries {
            let block = found.get(name).copied();
            if self.newest.contains(name) {
                entry.block = block;
                self.kept_count += u64::from(block.is_some());
                let lost_us = entry.pushed_us.filter(|_| block.is_none());
                self.lost_count += u64::from(lost_us.is_some());
                oldest_lost_us = oldest_lost_us.into_iter().chain(lost_us).min();
            } else if entry.block.is_some_and(|block| block > gone) {
                assert_eq!(
                    block, entry.block,
                    "{name:?} was there after an earlier kill"
                );
            } else {
                let was = entry.block;
                assert!(
                    block.is_none() || block == was,
                    "{name:?} was gone, and has come back"
                );
            }
        }
        self.judge_promises();
        let seen = self
            .newest
            .iter()
            .filter(|name| found.contains_key(*name))
            .count();
        let loss_us = oldest_lost_us.map_or(0, |us| self.killed_us - us);
        self.losses_us.push(loss_us);
        self.last_life = format!(
            "{seen} of {} frames, {} ms lost",
            self.newest.len(),
            loss_us / 1000
        );
        self.newest.clear();
    }

    /// What was told to be durable is there; and of each stream it is the end that is missing,
    /// nothing in the middle.
    fn judge_promises(&self) {
        for (stream, time_us) in &self.durable {
            let promised = self
                .newest
                .iter()
                .filter(|(other, number)| other == stream && time_of(*number).0 <= *time_us);
            for name in promised {
                assert!(
                    self.entries[name].block.is_some(),
                    "{name:?} was durable, and is lost"
                );
            }
        }
        for stream in (0..STREAM_COUNT).map(StreamId) {
            let own = self.newest.iter().filter(|(other, _)| *other == stream);
            let mut lost = own.skip_while(|name| self.entries[name].block.is_some());
            let after = lost.find(|name| self.entries[name].block.is_some());
            assert_eq!(after, None, "there, and one before it is not");
        }
    }

    /// Judges one stream as it is read by time: the same frames, from the first key frame on, and a
    /// gap wherever numbers are left out.
    pub(super) fn judge_stream(&self, stream: StreamId, items: &[Recorded]) {
        let (mut last, mut is_told) = (None, false);
        let mut count = 0;
        for recorded in items {
            assert_eq!(recorded.stream, stream);
            match &recorded.item {
                Item::Setup(_) => {}
                Item::Gap(_) => is_told = true,
                Item::Frame(frame) | Item::Preroll(frame) => {
                    let number = number_of(frame);
                    assert_eq!(hash_of(frame), self.entries[&(stream, number)].hash);
                    let follows = last.is_none_or(|last| number == last + 1);
                    assert!(follows || is_told, "{last:?}, then {number}, and no gap");
                    (last, is_told) = (Some(number), false);
                    count += 1;
                }
            }
        }
        let mut newest = self.entries.range((stream, 0)..=(stream, u64::MAX));
        let newest = newest.rfind(|(_, entry)| entry.block.is_some());
        assert_eq!(
            last,
            newest.map(|((_, number), _)| *number),
            "{count} frames"
        );
    }

    pub(super) fn last_life(&self) -> &str {
        &self.last_life
    }

    pub(super) fn summarize(&mut self) -> Figures {
        self.losses_us.sort_unstable();
        let middle = self.losses_us[self.losses_us.len() / 2];
        let longest = self.losses_us.last().copied().unwrap_or(0);
        let open = self.opens_us.iter().max().copied().unwrap_or(0);
        eprintln!(
            "{} frames kept, {} pushed ones lost; loss {} ms as a rule, {} ms at most; \
             recorder opened within {} ms",
            self.kept_count,
            self.lost_count,
            middle / 1000,
            longest / 1000,
            open / 1000
        );
        assert!(
            self.kept_count > 0 && self.durable_count > 0,
            "nothing was recorded, so nothing was shown"
        );
        Figures {
            longest_loss_us: longest,
            longest_open_us: open,
        }
    }
}

/// The number that a made-up camera has written into a frame.
fn number_of(frame: &Frame) -> u64 {
    let bytes = frame.payload.get(8..16).unwrap_or(&[0xff; 8]);
    u64::from_le_bytes(bytes.try_into().unwrap())
}
