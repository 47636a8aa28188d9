//! A scenario: what there is, how time passes, and what comes out.

use std::collections::{BTreeMap, BTreeSet};

use camring::base::time::TimeRange;
use camring::frame::{Item, StreamId};
use camring::player::{Action, Command, Event, Limits, Player, SourceId, Speed, State, StreamKey};

use crate::Counts;
use crate::camera::Random;
use crate::disk::Read;
use crate::model::Came;
use crate::recording::{MS, Piece, START_US, Stream};

/// How much can happen in a scenario.
/// Each with all before it; those are kept so that old seeds keep their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Menu {
    /// What the scenarios began with.
    Small,
    /// Everything that the user can do, with sound, and a disk that stalls.
    Full,
    /// Longer stalls.
    Stalls,
    /// Reads fail.
    Failures,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "what the user wants, each on its own"
)]
pub(crate) struct Scenario {
    pub(crate) context: String,
    pub(crate) menu: Menu,
    pub(crate) random: Random,
    pub(crate) player: Player,
    pub(crate) now_us: i64,
    pub(crate) streams: BTreeMap<StreamKey, Stream>,
    pub(crate) reads: BTreeMap<SourceId, Read>,
    pub(crate) mapped: BTreeMap<StreamKey, Came>,
    /// Whether key frames come, newest first.
    pub(crate) is_backward: bool,
    /// Whether the user wants that, and whether they have begun to come since the last seek.
    pub(crate) wants_reverse: bool,
    pub(crate) went_back: bool,
    pub(crate) skips: bool,
    pub(crate) looped: Option<(i64, i64)>,
    /// Steps under way: where they go, if that is known, and whether that is an end.
    pub(crate) stepping: Option<(Option<i64>, bool)>,
    /// Where the head has been since the last time that a source got stuck.
    pub(crate) heads: Vec<i64>,
    /// Where the head was before.
    pub(crate) last_head: i64,
    /// How much the disk hands over in a tick, at most.
    pub(crate) pace: u64,
    /// A source that hands over nothing, until when; and all that have ever been so.
    pub(crate) stuck: Option<(SourceId, i64)>,
    pub(crate) were_stuck: BTreeSet<SourceId>,
    /// Sources of which the last read failed; and all of which one ever did.
    pub(crate) broken: BTreeSet<SourceId>,
    pub(crate) were_broken: BTreeSet<SourceId>,
    /// Whether the cache holds a few frames only.
    pub(crate) is_tiny: bool,
    pub(crate) has_ended: bool,
    pub(crate) counts: Counts,
    /// Whether reads may fail.
    pub(crate) may_fail: bool,
    is_traced: bool,
}

impl Scenario {
    pub(crate) fn new(seed: u64, menu: Menu) -> Self {
        let mut random = Random::new(seed);
        let mut streams = BTreeMap::new();
        let len_us = (2_000 + random.below(18_000) as i64) * MS;
        for source in 0..=random.below(3) as u32 {
            for stream in 0..=random.below(3) {
                let source = SourceId(source);
                let stream = StreamId(stream);
                let key = StreamKey { source, stream };
                let mut made = Stream::random(&mut random, len_us);
                if menu >= Menu::Full {
                    made = match random.below(8) {
                        0 => made.with_sound(true),
                        1..=3 => made.with_sound(false),
                        _ => made,
                    };
                    made.tells_begins = random.below(2) == 0;
                }
                streams.insert(key, made);
            }
        }
        let size = random.below(3) as usize;
        let limits = Limits {
            cache_len: [40_000, 200_000, 10_000_000][size],
            stall_us: if menu >= Menu::Full { 500 } else { 5_000 } * MS,
            ..Limits::default()
        };
        let pace = [2, 10, 400][random.below(3) as usize];
        let mut scenario = Self {
            context: format!("seed {seed}"),
            menu,
            random,
            player: Player::new(limits),
            now_us: 5_000_000,
            streams,
            reads: BTreeMap::new(),
            mapped: BTreeMap::new(),
            is_backward: false,
            wants_reverse: false,
            went_back: false,
            skips: false,
            looped: None,
            stepping: None,
            heads: Vec::new(),
            last_head: i64::MAX,
            pace,
            stuck: None,
            were_stuck: BTreeSet::new(),
            broken: BTreeSet::new(),
            were_broken: BTreeSet::new(),
            is_tiny: size == 0,
            has_ended: false,
            counts: Counts::new(),
            may_fail: menu >= Menu::Failures,
            is_traced: std::env::var_os("CAMRING_TRACE").is_some(),
        };
        scenario.set_extents();
        scenario
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.random.below(limit)
    }

    pub(crate) fn note(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// Prints what happens.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            let head = self.head().map(|head| head - START_US);
            println!("{} head {head:?}: {}", self.now_us, what());
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.trace(|| format!("{command:?} {:?}", self.player.state()));
        self.player.command(self.now_us, command).unwrap();
    }

    /// All streams begin anew at `target`.
    pub(crate) fn sent_to(&mut self, target: i64, is_sent: bool) {
        self.has_ended = false;
        self.stepping = None;
        self.last_head = target;
        self.heads.clear();
        let stuck = self.stuck.map(|(source, _)| source);
        for (key, came) in &mut self.mapped {
            *came = Came::at(target, is_sent);
            // It may stall, and join later.
            came.is_joining = is_sent && Some(key.source) == stuck;
        }
    }

    pub(crate) fn head(&self) -> Option<i64> {
        self.player.time(self.now_us).map(|time| time.0)
    }

    /// The disk hands over a little, time passes, and the player does what it can.
    pub(crate) fn tick(&mut self) {
        self.now_us += self.random.below(40) as i64 * MS;
        self.hand_over();
        self.settle();
        let head = self.head().unwrap_or_default();
        self.mapped.values_mut().for_each(|came| came.join(head));
        self.check();
        self.last_head = head;
        if self.heads.last() != Some(&head) {
            self.heads.push(head);
        }
    }

    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(action) = self.player.poll(self.now_us) else {
                let wake = self.player.wake_at();
                let is_idle = wake.is_none_or(|wake| wake > self.now_us);
                assert!(is_idle, "{}: woken with nothing to do", self.context);
                self.went_back |= self.wants_reverse && self.player.state() == State::Playing;
                return;
            };
            match action {
                Action::Load {
                    source,
                    load,
                    streams,
                    what,
                } => {
                    self.trace(|| format!("  {source} {streams:?} {what:?}"));
                    self.load(source, load, &streams, what);
                }
                Action::Deliver { key, item, due_us } => {
                    assert!(due_us <= self.now_us, "{}", self.context);
                    self.take(key, &item);
                }
                Action::Event(event) => self.hear(&event),
            }
        }
        panic!("{}: polling does not end", self.context);
    }

    fn take(&mut self, key: StreamKey, item: &Item) {
        let stream = &self.streams[&key];
        let piece = match item {
            Item::Frame(frame) => Piece::Frame(stream.number(frame)),
            Item::Preroll(frame) => Piece::Preroll(stream.number(frame)),
            Item::Gap(gap) => stream.piece_of(gap),
            Item::Setup(_) => {
                self.begin(key);
                return;
            }
        };
        self.trace(|| format!("  {}/{} {piece:?}", key.source, key.stream.0));
        let kind = match item {
            Item::Gap(_) => "gap",
            Item::Frame(frame) if frame.track == 1 => "sound",
            _ => "frame",
        };
        self.note(kind);
        let head = self.head().unwrap_or_default();
        let came = self.mapped.get_mut(&key);
        let came = came.unwrap_or_else(|| panic!("{}: {key:?} is not mapped", self.context));
        came.join(head);
        came.pieces.push(piece);
    }

    fn hear(&mut self, event: &Event) {
        self.trace(|| format!("  {event:?}"));
        match event {
            Event::Jumped { from, to } => self.jump(from.0, to.0),
            Event::End => self.has_ended = true,
            Event::LeftOut { key, range } => self.leave_out(*key, *range),
            Event::Failed { source, .. } => {
                assert!(self.were_broken.contains(source), "{}", self.context);
                self.note("failure");
            }
            _ => {}
        }
    }

    pub(crate) fn random_time(&mut self) -> i64 {
        START_US - 500 * MS + self.random.below(20_000) as i64 * MS + self.random.below(1000) as i64
    }

    /// A setup comes: behind what has come, a stream whose source was stuck begins anew.
    fn begin(&mut self, key: StreamKey) {
        let has_frames = self.mapped.get(&key).is_some_and(Came::has_frames);
        if self.were_stuck.contains(&key.source) && has_frames && !self.is_backward {
            self.rejoin(key);
        }
    }

    fn rejoin(&mut self, key: StreamKey) {
        let mut heads = self.heads.clone();
        heads.push(self.head().unwrap_or_default());
        let came = self.mapped.get_mut(&key).unwrap();
        came.rejoin(&self.streams[&key], heads);
        self.note("rejoin");
    }

    /// The clock went on without a source.
    fn leave_out(&mut self, key: StreamKey, range: TimeRange) {
        let context = format!("{}: {range:?} of {key:?}", self.context);
        assert!(self.were_stuck.contains(&key.source), "{context}");
        self.note("left out");
        let came = self.mapped.get_mut(&key).unwrap();
        came.left_out = Some(range);
        assert!(range.start < range.end, "{context}");
        self.rejoin(key);
    }

    /// The head jumped: over a stretch in which there is nothing, or to the begin of a loop.
    fn jump(&mut self, from: i64, to: i64) {
        let context = format!("{}: a jump from {from} to {to}", self.context);
        let is_skip = (to < from) == self.is_backward;
        if is_skip {
            self.note("gap skipped");
            let between = from.min(to) + 1..from.max(to);
            let lies_between = |came: (&StreamKey, &Came)| {
                let stream = &self.streams[came.0];
                if self.were_stuck.contains(&came.0.source) {
                    return false;
                }
                if self.is_backward {
                    return stream.key_times().any(|time| between.contains(&time));
                }
                let target = came.1.targets[0];
                let mut expected = stream.expected(target).into_iter();
                expected.any(|due| between.contains(&due.earliest))
            };
            assert!(
                self.skips && !self.mapped.iter().any(lies_between),
                "{context}"
            );
            return;
        }
        self.note("loop");
        let (start, end) = self.looped.unwrap_or_else(|| panic!("{context}"));
        assert_eq!(to, if self.is_backward { end } else { start }, "{context}");
        self.sent_to(to, !self.is_backward);
    }

    /// From here on everything is played to the end, and nothing may be missing.
    fn play_out(&mut self) {
        (self.stuck, self.may_fail) = (None, false);
        self.wants_reverse = false;
        self.command(Command::SetReverse(false));
        self.looped = None;
        self.command(Command::Loop(None));
        self.seek(START_US + 1_000 * MS);
        self.command(Command::SetSpeed(Speed::FASTEST));
        self.command(Command::Play);
        self.settle();
        for _ in 0..20_000 {
            if self.has_ended {
                break;
            }
            self.tick();
        }
        assert!(
            self.has_ended || self.mapped.is_empty(),
            "{}: no end",
            self.context
        );
        for (key, came) in &self.mapped {
            let expected = self.streams[key].expected(came.targets[0]).into_iter();
            let expected: Vec<_> = expected.map(|due| due.piece).collect();
            let context = &self.context;
            assert_eq!(came.pieces, expected, "{context}: {key:?} at the end");
        }
    }

    pub(crate) fn run(&mut self) {
        let keys: Vec<_> = self.streams.keys().copied().collect();
        for key in keys {
            if self.below(4) > 0 {
                self.mapped.insert(key, Came::default());
                self.player.map(key);
            }
        }
        let target = self.random_time();
        self.seek(target);
        for _ in 0..5 + self.below(15) {
            for _ in 0..self.below(12) {
                self.tick();
            }
            self.act();
        }
        self.play_out();
    }
}
