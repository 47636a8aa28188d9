//! Random recordings, commands and reads; what must hold whatever happens.

use std::collections::BTreeSet;

use super::*;

/// A small generator, so that a seed tells everything.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: i64) -> i64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % sides.cast_unsigned()).cast_signed()
    }

    fn is(&mut self, percent: i64) -> bool {
        self.roll(100) < percent
    }
}

/// A stream of pictures, with or without sound and pictures that are decoded early, and gaps.
fn record(dice: &mut Dice, recording: &mut Recording, stream: u64, length: i64) {
    let has_sound = dice.is(40);
    let mut codecs = vec![Codec::H264];
    if has_sound {
        codecs.push(Codec::Aac);
    }
    let step = 10_000 * (2 + dice.roll(20));
    let gop = 1 + dice.roll(20);
    let has_b = step <= 100_000 && dice.is(60);
    let len = 50 + usize::try_from(dice.roll(400)).unwrap();
    recording.put(stream, Item::Setup(setup(&codecs)));
    let mut time = dice.roll(5 * S);
    while time < length {
        let mut number = 0;
        while number < gop {
            let base = time + number * step;
            recording.frame(stream, 0, number == 0, base, len);
            if has_b && number + 3 < gop {
                recording.frame(stream, 0, false, base + 3 * step, len);
                recording.frame(stream, 0, false, base + step, len);
                recording.frame(stream, 0, false, base + 2 * step, len);
                number += 3;
            }
            if has_sound {
                recording.frame(stream, 1, true, base + step / 3, 20);
            }
            number += 1;
        }
        time += gop * step;
        if dice.is(5) {
            let end = time + dice.roll(40 * S);
            recording.gap(stream, time - step, None);
            recording.gap(stream, time - step, Some(end));
            time = end;
        }
    }
}

/// Merges streams as a recorder does: each in its order, chunk by chunk.
fn merge(dice: &mut Dice, streams: Vec<Recording>) -> Recording {
    let mut merged = Recording::default();
    let mut parts: Vec<_> = streams
        .into_iter()
        .map(|r| r.items.into_iter().peekable())
        .collect();
    let mut edge = 0;
    while parts.iter_mut().any(|part| part.peek().is_some()) {
        edge += 100_000 + dice.roll(400_000);
        for part in &mut parts {
            while let Some(item) = part.next_if(|item| match &item.item {
                Item::Frame(frame) => frame.time.0 < edge,
                Item::Gap(gap) => gap.end.unwrap_or(gap.start).0 < edge,
                _ => true,
            }) {
                merged.items.push(item);
            }
        }
    }
    merged
}

/// What came of one stream since it last began anew.
#[derive(Default)]
struct Follower {
    last_ordinals: BTreeMap<u8, i64>,
    has_key: bool,
    has_setup: bool,
}

struct World {
    dice: Dice,
    shell: Shell,
    followers: BTreeMap<StreamKey, Follower>,
    mapped: BTreeSet<StreamKey>,
    checked: usize,
    cache_len: u64,
    is_reverse: bool,
    /// Whether sources came, whose share the others had to give up.
    was_shared: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let source_count = 1 + dice.roll(3);
        let length = S * (10 + dice.roll(80));
        let mut recordings = Vec::new();
        for _ in 0..source_count {
            let stream_count = 1 + dice.roll(3).cast_unsigned();
            let streams: Vec<_> = (0..stream_count)
                .map(|stream| {
                    let mut recording = Recording::default();
                    record(&mut dice, &mut recording, stream, length);
                    recording
                })
                .collect();
            recordings.push(merge(&mut dice, streams));
        }
        let cache_len = [2_000, 20_000, 200_000, 100 << 20][usize::try_from(dice.roll(4)).unwrap()];
        let limits = Limits {
            cache_len,
            ahead_us: dice.roll(4) * S,
            period_us: dice.roll(3) * 150_000,
            stall_us: S * (1 + dice.roll(5)),
        };
        let shell = if dice.is(80) {
            Shell::with(limits, recordings)
        } else {
            Shell::new(limits, recordings)
        };
        let mapped = shell.player.sources.iter().flat_map(|(source, s)| {
            let source = *source;
            s.streams.keys().map(move |stream| StreamKey {
                source,
                stream: *stream,
            })
        });
        let mapped = mapped.collect();
        Self {
            dice,
            shell,
            followers: BTreeMap::new(),
            mapped,
            checked: 0,
            cache_len,
            is_reverse: false,
            was_shared: false,
        }
    }

    fn turn(&mut self) {
        match self.dice.roll(22) {
            0..=3 => self.jump(),
            4..=6 => self.order(Command::Play),
            7 => self.order(Command::Pause),
            8 => {
                let count = i32::try_from(self.dice.roll(7)).unwrap() - 3;
                self.order(Command::Step(count));
            }
            9..=10 => {
                let speed = 125 << self.dice.roll(10);
                self.order(Command::SetSpeed(Speed(speed)));
            }
            11 => self.map(),
            12 => self.unmap(),
            13 => {
                let skips = self.dice.is(50);
                self.order(Command::SkipGaps(skips));
            }
            14 => {
                self.is_reverse = self.dice.is(50);
                let is_reverse = self.is_reverse;
                self.order(Command::SetReverse(is_reverse));
            }
            15 if self.dice.is(20) => {
                self.order(Command::Stop);
            }
            16 => {
                let stuck = SourceId(u32::try_from(self.dice.roll(3)).unwrap());
                self.shell.stuck = vec![stuck];
            }
            17 => self.shell.stuck.clear(),
            18 if self.dice.is(30) => {
                self.order(Command::Live { uncommitted: false });
            }
            _ => {
                let us = self.dice.roll(8 * S);
                self.shell.run(us);
            }
        }
        self.check();
    }

    fn order(&mut self, command: Command) {
        self.check();
        self.shell.command(command);
    }

    fn jump(&mut self) {
        let time = self.dice.roll(100 * S);
        self.check();
        self.order(Command::Seek(Timestamp(time)));
        // Nothing before the newest key frame.
        let picture = self.shell.out[self.checked..]
            .iter()
            .filter_map(|out| match &out.item {
                Item::Frame(frame) if frame.track == 0 => Some((out.key, frame.time.0)),
                _ => None,
            });
        // In a cache that holds a few frames only, it is not known which picture is the last.
        if self.is_reverse || self.cache_len < 100_000 {
            return;
        }
        let mut shown = BTreeSet::new();
        for (key, at) in picture.filter(|(_, at)| *at <= time).collect::<Vec<_>>() {
            let out = &self.shell.out[self.checked..];
            assert!(
                shown.insert(key),
                "two pictures shown at {time}: {at} {:?} {out:?}",
                self.shell.events
            );
        }
    }

    fn map(&mut self) {
        let source = u32::try_from(self.dice.roll(3)).unwrap();
        let key = key(source, self.dice.roll(3).cast_unsigned());
        if self.shell.recordings.contains_key(&key.source) && self.mapped.insert(key) {
            self.check();
            self.was_shared |= !self
                .mapped
                .iter()
                .any(|k| *k != key && k.source == key.source);
            self.shell.player.map(key);
            self.shell.settle();
        }
    }

    fn unmap(&mut self) {
        if let Some(key) = self.mapped.iter().next().copied() {
            self.check();
            self.mapped.remove(&key);
            self.shell.player.unmap(key);
            self.shell.settle();
            let after = &self.shell.out[self.checked..];
            assert!(after.iter().all(|out| out.key != key), "unmapped");
        }
    }

    /// Each frame once and in the order of its track, nothing that cannot be decoded, within the
    /// cache's bound.
    fn check(&mut self) {
        for out in &self.shell.out[self.checked..] {
            assert!(out.due_us <= out.now_us);
            assert!(self.mapped.contains(&out.key), "nobody asked for {out:?}");
            let follower = self.followers.entry(out.key).or_default();
            match &out.item {
                // These recordings have one setup: when it comes again, the stream begins anew.
                Item::Setup(_) => {
                    *follower = Follower::default();
                    follower.has_setup = true;
                }
                Item::Gap(_) => {}
                Item::Frame(frame) | Item::Preroll(frame) => {
                    assert!(follower.has_setup, "no setup before {out:?}");
                    follower.has_key |= frame.key && frame.track == 0;
                    assert!(
                        follower.has_key || frame.track != 0,
                        "no key frame before {out:?}"
                    );
                    let place = frame.clock;
                    if !self.is_reverse {
                        let last = follower.last_ordinals.insert(frame.track, place);
                        assert!(last < Some(place), "twice or out of order: {out:?}");
                    }
                }
            }
        }
        self.checked = self.shell.out.len();
        let slack = 700 * self.shell.recordings.len() as u64;
        assert!(
            self.was_shared || self.shell.peak_len <= self.cache_len + slack,
            "{}",
            self.shell.peak_len
        );
    }

    /// With all data there, time goes on to the end.
    fn finish(&mut self) {
        self.shell.stuck.clear();
        self.order(Command::SetReverse(false));
        self.is_reverse = false;
        self.order(Command::Loop(None));
        if self.mapped.is_empty() {
            return;
        }
        self.jump();
        self.shell.events.clear();
        self.order(Command::SetSpeed(Speed(64_000)));
        self.order(Command::Play);
        self.shell.run(20 * S);
        self.check();
        assert!(
            self.shell.has_ended(),
            "stuck at {}: {:?}",
            self.shell.head(),
            self.shell.events
        );
    }
}

fn play(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..40 {
        world.turn();
    }
    world.finish();
}

#[test]
fn whatever_happens_frames_come_once_and_in_order_and_time_goes_on() {
    for seed in 0..80 {
        let result = std::panic::catch_unwind(|| play(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

/// Everything due between two times comes, whatever the cache holds.
#[test]
fn nothing_is_missing_when_playing_forward() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        if world.mapped.is_empty() {
            continue;
        }
        world.order(Command::Seek(Timestamp(-1)));
        let speed = Speed(1 << world.dice.roll(16).max(7));
        world.order(Command::SetSpeed(speed));
        world.order(Command::Play);
        world.shell.run(1000 * S);
        assert!(world.shell.has_ended(), "seed {seed}");
        world.check();
        for (source, recording) in &world.shell.recordings {
            let all = recording
                .items
                .iter()
                .filter(|item| !matches!(item.item, Item::Setup(_)));
            let mut wanted: Vec<_> = all
                .map(|item| (item.stream, format!("{:?}", item.item)))
                .collect();
            let out = world
                .shell
                .out
                .iter()
                .filter(|out| out.key.source == *source);
            let out = out.filter(|out| !matches!(out.item, Item::Setup(_)));
            let mut got: Vec<_> = out
                .map(|out| (out.key.stream, format!("{:?}", out.item)))
                .collect();
            wanted.sort();
            got.sort();
            let differ = wanted.iter().zip(&got).find(|(a, b)| a != b);
            assert!(
                wanted == got,
                "seed {seed}: {} of {}: {differ:?}",
                got.len(),
                wanted.len()
            );
        }
        let late = world
            .shell
            .out
            .iter()
            .map(|out| out.now_us - out.due_us)
            .max();
        if world.cache_len > 1 << 20 {
            assert_eq!(late, Some(0), "seed {seed}");
        }
    }
}

/// Times that no clock tells: whatever comes out of them, it comes to an end, and in order.
#[test]
fn hostile_times_and_clock_steps_neither_panic_nor_spin() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut recordings = Vec::new();
        for _ in 0..2 {
            let mut recording = Recording::default();
            let mut time = 50 * S;
            for _ in 0..300 {
                time += match dice.roll(40) {
                    0 => -20 * S,
                    1 => 20 * S,
                    _ => 50_000,
                };
                let told = match dice.roll(60) {
                    0 => i64::MAX,
                    1 => i64::MIN,
                    2 => dice.roll(i64::MAX),
                    _ => time,
                };
                let track = u8::from(dice.is(20));
                if dice.is(2) {
                    recording.gap(dice.roll(2).cast_unsigned(), told, Some(time));
                } else {
                    let stream = dice.roll(2).cast_unsigned();
                    recording.frame(stream, track, dice.is(20), told, 50);
                }
            }
            recordings.push(recording);
        }
        let cache_len = [0, 3_000, 1 << 20][usize::try_from(dice.roll(3)).unwrap()];
        let limits = Limits {
            cache_len,
            ..Limits::default()
        };
        let mut shell = Shell::with(limits, recordings);
        let time = [i64::MIN, 0, 50 * S, 60 * S, i64::MAX];
        for _ in 0..30 {
            let at = Timestamp(time[usize::try_from(dice.roll(5)).unwrap()]);
            shell.command(match dice.roll(9) {
                0..=2 => Command::Seek(at),
                3..=4 => Command::Play,
                5 => Command::Step(i32::try_from(dice.roll(9)).unwrap() - 4),
                6 => Command::SetReverse(dice.is(50)),
                7 => Command::SkipGaps(dice.is(50)),
                _ => Command::SetSpeed(Speed(64_000)),
            });
            shell.run(dice.roll(3 * S));
        }
        let mut last = BTreeMap::new();
        shell.command(Command::SetReverse(false));
        shell.command(Command::Seek(Timestamp(50 * S)));
        shell.out.clear();
        shell.command(Command::SkipGaps(true));
        shell.command(Command::Play);
        shell.run(20 * S);
        for out in &shell.out {
            if let Item::Frame(frame) | Item::Preroll(frame) = &out.item {
                let before = last.insert((out.key, frame.track), frame.clock);
                assert!(before < Some(frame.clock), "seed {seed}: {out:?}");
            }
        }
    }
}
