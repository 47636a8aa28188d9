//! Filters between a source and its sinks: who gets which items, what each may lose, and what
//! others then notice. Compared with plain lists of what went in.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and a random test prints its seed"
)]

#[path = "../support/camera.rs"]
mod camera;
mod fork;
mod join;
mod one_to_one;
mod queue;

use std::sync::{Arc, Mutex};

use camring::base::time::Timestamp;
use camring::frame::filter::{ChannelLimits, Receiver};
use camring::frame::{Codec, Frame, FrameSink, Gap, GapCause, Item, StreamId};
use camring::{Error, ErrorKind, Result};

const START_US: i64 = 1_700_000_000_000_000;
const KEY_EVERY: u64 = 10;
const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);

type Items = Vec<(StreamId, Item)>;

/// Keeps what it takes where the test can see it.
#[derive(Clone, Debug, Default)]
struct Keeper(Arc<Mutex<Items>>);

impl Keeper {
    fn items(&self) -> Items {
        self.0.lock().unwrap().clone()
    }
}

impl FrameSink for Keeper {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        self.0.lock().unwrap().push((stream, item));
        Ok(())
    }
}

/// Refuses every third item.
#[derive(Debug, Default)]
struct Moody {
    offered_count: u64,
    keeper: Keeper,
}

impl FrameSink for Moody {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        self.offered_count += 1;
        if self.offered_count.is_multiple_of(3) {
            return Err(Error::new(ErrorKind::Io, "every third item is too much"));
        }
        self.keeper.accept(stream, item)
    }
}

fn setup(name: &str) -> Item {
    Item::Setup(camera::setup(name).into())
}

/// A setup with pictures on track 0 and sound on track 1.
fn setup_with_sound(name: &str) -> Item {
    let mut setup = camera::setup(name);
    let mut sound = setup.tracks[0].clone();
    sound.codec = Codec::PcmMulaw;
    (sound.clock_rate_hz, sound.channel_count) = (8_000, 1);
    setup.tracks.push(sound);
    Item::Setup(setup.into())
}

fn frame(stream: StreamId, number: u64) -> Item {
    Item::Frame(picture(stream, number))
}

fn picture(stream: StreamId, number: u64) -> Frame {
    camera::frame(stream.0, number, START_US, KEY_EVERY, 100)
}

/// Sound at the time of picture `number`.
fn sound(stream: StreamId, number: u64) -> Item {
    Item::Frame(Frame {
        track: 1,
        key: true,
        ..picture(stream, number)
    })
}

fn time_of(number: u64) -> Timestamp {
    Timestamp(START_US + 40_000 * number.cast_signed())
}

fn lost_gap(from: u64, to: u64, lost_count: u64) -> Item {
    Item::Gap(Gap {
        cause: GapCause::QueueFull,
        start: time_of(from),
        end: Some(time_of(to)),
        lost_count: Some(lost_count),
    })
}

fn limits(item_count: usize) -> ChannelLimits {
    ChannelLimits {
        item_count,
        ..ChannelLimits::default()
    }
}

/// Offers all to `sink`, and returns how many it refused.
fn offer(sink: &mut impl FrameSink, items: impl IntoIterator<Item = (StreamId, Item)>) -> usize {
    let outcomes = items
        .into_iter()
        .map(|(stream, item)| sink.accept(stream, item));
    outcomes.filter(Result::is_err).count()
}

fn frames(stream: StreamId, numbers: std::ops::Range<u64>) -> Items {
    numbers.map(|n| (stream, frame(stream, n))).collect()
}

/// Takes all that is in the queue now.
fn waiting(receiver: &Receiver) -> Items {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}
