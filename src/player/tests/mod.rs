//! A recording in memory, and a shell that reads it for a player and moves the clock by hand.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod random;
mod stories;
mod trouble;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::base::sync::Arc;
use crate::frame::{Codec, Frame, Gap, GapCause, Item, StreamId, StreamSetup, TrackSetup};

const S: i64 = 1_000_000;

pub(super) fn key(source: u32, stream: u64) -> StreamKey {
    StreamKey {
        source: SourceId(source),
        stream: StreamId(stream),
    }
}

pub(super) fn setup(codecs: &[Codec]) -> Arc<StreamSetup> {
    let track = |codec: &Codec| TrackSetup {
        codec: *codec,
        clock_rate_hz: 90_000,
        width_px: 0,
        height_px: 0,
        channel_count: 0,
        extra: Bytes::new(),
    };
    Arc::new(StreamSetup {
        name: String::new(),
        tracks: codecs.iter().map(track).collect(),
    })
}

/// What lies on a simulated disk, in recorded order.
#[derive(Clone, Debug, Default)]
pub(super) struct Recording {
    pub(super) items: Vec<Recorded>,
    ordinals: BTreeMap<StreamId, u64>,
}

impl Recording {
    /// Appends; the camera's clock of a frame is its ordinal.
    pub(super) fn put(&mut self, stream: u64, mut item: Item) {
        let stream = StreamId(stream);
        let ordinal = self.ordinals.entry(stream).or_default();
        *ordinal += u64::from(matches!(item, Item::Frame(_)));
        let ordinal = *ordinal;
        if let Item::Frame(frame) = &mut item {
            frame.clock = ordinal.cast_signed();
        }
        self.items.push(Recorded {
            stream,
            sequence: 1,
            ordinal,
            item,
        });
    }

    pub(super) fn frame(&mut self, stream: u64, track: u8, is_key: bool, time: i64, len: usize) {
        let frame = Frame {
            track,
            key: is_key,
            leading: false,
            time: Timestamp(time),
            clock: 0,
            payload: Bytes::from(vec![0; len]),
        };
        self.put(stream, Item::Frame(frame));
    }

    /// Pictures every `step` in `from..to`, each `gop`th a key frame.
    pub(super) fn pictures(&mut self, stream: u64, from: i64, to: i64, step: i64, gop: i64) {
        let mut number = 0;
        while from + number * step < to {
            self.frame(stream, 0, number % gop == 0, from + number * step, 100);
            number += 1;
        }
    }

    pub(super) fn gap(&mut self, stream: u64, start: i64, end: Option<i64>) {
        let gap = Gap {
            cause: GapCause::NoSignal,
            start: Timestamp(start),
            end: end.map(Timestamp),
            lost_count: None,
        };
        self.put(stream, Item::Gap(gap));
    }

    /// Brings what was put in stream by stream into the order of time.
    pub(super) fn by_time(mut self) -> Self {
        let time = |item: &Recorded| match &item.item {
            Item::Frame(frame) | Item::Preroll(frame) => frame.time.0,
            Item::Gap(gap) => gap.start.0,
            Item::Setup(_) => i64::MIN,
        };
        self.items.sort_by_key(time);
        self
    }

    fn time(item: &Recorded) -> Option<Timestamp> {
        match &item.item {
            Item::Frame(frame) => Some(frame.time),
            _ => None,
        }
    }

    /// Where a stream begins for a read at `time`, among the first `count` items.
    fn start(&self, stream: StreamId, time: Timestamp, count: usize) -> usize {
        let is_key = |item: &Recorded| {
            item.stream == stream
                && matches!(&item.item, Item::Frame(frame) if frame.key && frame.track == 0)
        };
        let items = || self.items.iter().take(count).enumerate();
        let crossed = items().find(|(_, item)| {
            item.stream == stream && Self::time(item).is_some_and(|at| at > time)
        });
        let end = crossed.map_or(count, |(index, _)| index);
        let newest = items()
            .take(end)
            .filter(|(_, item)| is_key(item))
            .filter(|(_, item)| Self::time(item) <= Some(time));
        let first = || items().find(|(_, item)| is_key(item));
        newest
            .last()
            .or_else(first)
            .map_or(count, |(index, _)| index)
    }
}

/// A read under way.
#[derive(Debug)]
struct Reading {
    load: LoadId,
    starts: BTreeMap<StreamId, usize>,
    setups: BTreeMap<StreamId, Arc<StreamSetup>>,
    at: usize,
    end: Option<Timestamp>,
    is_over: bool,
}

/// An item that came out, and when.
#[derive(Clone, Debug)]
pub(super) struct Out {
    pub(super) now_us: i64,
    pub(super) key: StreamKey,
    pub(super) item: Item,
    pub(super) due_us: i64,
}

pub(super) struct Shell {
    pub(super) player: Player,
    pub(super) now_us: i64,
    pub(super) recordings: BTreeMap<SourceId, Recording>,
    /// How many items of each recording are there already; the rest comes later.
    pub(super) counts: BTreeMap<SourceId, usize>,
    /// Sources that go on being recorded.
    pub(super) growing: bool,
    /// Sources that bring nothing for now.
    pub(super) stuck: Vec<SourceId>,
    reads: BTreeMap<SourceId, Reading>,
    pub(super) loads: Vec<(SourceId, Load)>,
    pub(super) out: Vec<Out>,
    pub(super) events: Vec<Event>,
    pub(super) peak_len: u64,
}

impl Shell {
    pub(super) fn new(limits: Limits, recordings: Vec<Recording>) -> Self {
        let recordings = (0..).map(SourceId).zip(recordings);
        let recordings: BTreeMap<_, _> = recordings.collect();
        let counts = recordings.iter().map(|(id, r)| (*id, r.items.len()));
        Self {
            player: Player::new(limits),
            now_us: 1000,
            counts: counts.collect(),
            recordings,
            growing: false,
            stuck: Vec::new(),
            reads: BTreeMap::new(),
            loads: Vec::new(),
            out: Vec::new(),
            events: Vec::new(),
            peak_len: 0,
        }
    }

    /// With default limits, everything mapped.
    pub(super) fn mapped(recordings: Vec<Recording>) -> Self {
        Self::with(Limits::default(), recordings)
    }

    pub(super) fn with(limits: Limits, recordings: Vec<Recording>) -> Self {
        let mut shell = Self::new(limits, recordings);
        for (source, recording) in shell.recordings.clone() {
            let streams: std::collections::BTreeSet<_> =
                recording.items.iter().map(|item| item.stream).collect();
            for stream in streams {
                shell.player.map(StreamKey { source, stream });
            }
        }
        shell
    }

    pub(super) fn command(&mut self, command: Command) {
        self.player.command(self.now_us, command).unwrap();
        self.settle();
    }

    /// Polls and reads until there is nothing more to do now.
    pub(super) fn settle(&mut self) {
        for _ in 0..1_000_000 {
            let polled = self.poll();
            let fed = self.feed();
            if !polled && !fed {
                return;
            }
        }
        panic!("the player never rests: {:?}", self.events);
    }

    fn poll(&mut self) -> bool {
        let mut any = false;
        for _ in 0..1_000_000 {
            let Some(action) = self.player.poll(self.now_us) else {
                return any;
            };
            any = true;
            match action {
                Action::Load {
                    source,
                    load,
                    streams,
                    what,
                } => {
                    self.load(source, load, &streams, what);
                }
                Action::Deliver { key, item, due_us } => self.out.push(Out {
                    now_us: self.now_us,
                    key,
                    item,
                    due_us,
                }),
                Action::Event(event) => self.events.push(event),
            }
        }
        panic!("poll never ends");
    }

    fn load(&mut self, source: SourceId, load: LoadId, streams: &[StreamId], what: Load) {
        self.loads.push((source, what));
        let recording = &self.recordings[&source];
        let count = self.counts[&source];
        let start = |time: Timestamp| -> BTreeMap<StreamId, usize> {
            let start = |id: &StreamId| (*id, recording.start(*id, time, count));
            streams.iter().map(start).collect()
        };
        let (starts, end) = match what {
            Load::At(time) => (start(time), None),
            Load::Range(range) => (start(range.start), Some(range.end)),
            Load::Live { .. } => (start(Timestamp::MAX), None),
            Load::Nothing => {
                self.reads.remove(&source);
                return;
            }
        };
        let at = starts.values().copied().min().unwrap_or(0);
        let mut setups = BTreeMap::new();
        for item in &recording.items[..at.min(count)] {
            if let Item::Setup(setup) = &item.item {
                setups.insert(item.stream, setup.clone());
            }
        }
        let reading = Reading {
            load,
            starts,
            setups,
            at,
            end,
            is_over: false,
        };
        for (stream, setup) in &reading.setups {
            if reading.starts.contains_key(stream) {
                let recorded = Recorded {
                    stream: *stream,
                    sequence: 1,
                    ordinal: 0,
                    item: Item::Setup(setup.clone()),
                };
                self.player.feed(source, load, recorded);
            }
        }
        self.reads.insert(source, reading);
    }

    fn feed(&mut self) -> bool {
        let sources: Vec<_> = self.reads.keys().copied().collect();
        let mut any = false;
        for source in sources {
            for _ in 0..7 {
                any |= self.feed_one(source);
            }
        }
        any
    }

    pub(super) fn feed_one(&mut self, source: SourceId) -> bool {
        if !self.player.wants_more(source) || self.stuck.contains(&source) {
            return false;
        }
        let Some(read) = self.reads.get_mut(&source).filter(|read| !read.is_over) else {
            return false;
        };
        let count = self.counts[&source];
        let Some(item) = self.recordings[&source].items[..count]
            .get(read.at)
            .cloned()
        else {
            read.is_over = true;
            if self.growing && read.end.is_none() {
                self.player.caught_up(source, read.load);
            } else {
                self.player.ended(source, read.load, None);
            }
            return true;
        };
        read.at += 1;
        let is_wanted = read
            .starts
            .get(&item.stream)
            .is_some_and(|at| read.at > *at);
        let is_setup = matches!(item.item, Item::Setup(_));
        let is_behind = read
            .end
            .is_some_and(|end| Recording::time(&item) > Some(end));
        if (is_wanted || is_setup && read.starts.contains_key(&item.stream)) && !is_behind {
            self.player.feed(source, read.load, item);
        }
        self.peak_len = self.peak_len.max(self.player.cached_len());
        true
    }

    /// More was recorded.
    pub(super) fn grow(&mut self, source: u32, count: usize) {
        self.counts.insert(SourceId(source), count);
        for read in self.reads.values_mut() {
            read.is_over = false;
        }
        self.settle();
    }

    /// Lets time pass; the player is polled when it asks for it.
    pub(super) fn run(&mut self, us: i64) {
        let end = self.now_us + us;
        self.settle();
        while self.now_us < end {
            let wake = self.player.wake_at().unwrap_or(end);
            let state = self.player.state();
            assert!(wake > self.now_us, "woken with nothing to do, {state:?}");
            self.now_us = wake.min(end);
            self.settle();
        }
    }

    pub(super) fn head(&self) -> i64 {
        self.player.time(self.now_us).unwrap().0
    }

    /// What came out since the last call: times of frames, `p` before those that are not shown.
    pub(super) fn take(&mut self, stream: u64) -> Vec<String> {
        let out = std::mem::take(&mut self.out);
        let (mine, others) = out.into_iter().partition(|out| out.key.stream.0 == stream);
        self.out = others;
        let mine: Vec<Out> = mine;
        mine.iter().map(|out| told(&out.item)).collect()
    }

    pub(super) fn jumps(&self) -> Vec<(i64, i64)> {
        let jumps = self.events.iter().filter_map(|event| match event {
            Event::Jumped { from, to } => Some((from.0, to.0)),
            _ => None,
        });
        jumps.collect()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.events.contains(&Event::End)
    }
}

fn told(item: &Item) -> String {
    match item {
        Item::Setup(_) => "setup".to_owned(),
        Item::Frame(frame) => frame.time.0.to_string(),
        Item::Preroll(frame) => format!("p{}", frame.time.0),
        Item::Gap(gap) => format!("gap {}", gap.start.0),
    }
}
