//! Volumes in real files, and what is read from them: what several suites need.
#![allow(dead_code, reason = "each suite uses a part of it")]

use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{Frame, Gap, Item, Recorded, StreamId};
use camring::reader::{Query, Reader};
use camring::volume::{CreateOptions, Volume, VolumeSize};
use tempfile::TempDir;

/// When made-up recordings begin.
pub(crate) const START_US: i64 = 1_700_000_000_000_000;
/// Every so many frames of a made-up camera there is a key frame.
pub(crate) const KEY_EVERY: u64 = 25;

/// An empty volume of `block_count` blocks in a directory of its own, which goes with the value.
pub(crate) fn volume(block_count: u64, block_len: u32) -> TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = CreateOptions {
        size: VolumeSize::Blocks(block_count),
        block_len: Some(block_len),
        replace: true,
    };
    Volume::create(dir.path(), &options, &mut |_, _| {}).unwrap();
    dir
}

/// Frame number `number` of made-up camera `stream`: a few thousand bytes, sometimes more.
pub(crate) fn frame(stream: u64, number: u64) -> Frame {
    let step = stream.wrapping_mul(7919).wrapping_add(number * 131) % 7000;
    let len = if number.is_multiple_of(KEY_EVERY) {
        20_000
    } else {
        500
    };
    crate::camera::frame(stream, number, START_US, KEY_EVERY, len + step as usize)
}

/// The time of frame number `number` of a made-up camera.
pub(crate) fn time_of(number: u64) -> Timestamp {
    Timestamp(START_US + 40_000 * number.cast_signed())
}

/// The number of a frame that [`frame`] has made. Panics when any part of it is not as it was
/// made: the payload alone says what it must be.
pub(crate) fn number_of(stream: StreamId, found: &Frame) -> u64 {
    let word = |at: usize| {
        let bytes = found.payload.get(at..at + 8).unwrap_or(&[0xff; 8]);
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    assert_eq!(word(0), stream.0, "a frame of another stream");
    let number = word(8);
    assert!(number < 1 << 40, "stream {stream}: rubbish in a frame");
    assert!(
        frame(stream.0, number) == *found,
        "stream {stream}: frame {number} is not as it was pushed"
    );
    number
}

/// Everything that `query` returns.
pub(crate) fn read(volume: &Volume, query: Query) -> Vec<Recorded> {
    let mut reader = Reader::open(volume).unwrap();
    reader.read(query).unwrap().collect()
}

/// The frames among `items`.
pub(crate) fn frames_in(items: &[Recorded]) -> Vec<Frame> {
    let frames = items.iter().filter_map(|recorded| match &recorded.item {
        Item::Frame(frame) => Some(frame.clone()),
        _ => None,
    });
    frames.collect()
}

/// The gaps among `items`.
pub(crate) fn gaps_in(items: &[Recorded]) -> Vec<Gap> {
    let gaps = items.iter().filter_map(|recorded| match &recorded.item {
        Item::Gap(gap) => Some(*gap),
        _ => None,
    });
    gaps.collect()
}

/// The frames of one stream in a range of time.
pub(crate) fn frames_of(volume: &Volume, stream: u64, range: TimeRange) -> Vec<Frame> {
    frames_in(&read(volume, Query::time([StreamId(stream)], range)))
}

/// The numbers of the frames of made-up camera `stream` that `volume` holds; each is checked.
pub(crate) fn numbers_of(volume: &Volume, stream: u64) -> Vec<u64> {
    let frames = frames_of(volume, stream, TimeRange::ALL);
    frames
        .iter()
        .map(|frame| number_of(StreamId(stream), frame))
        .collect()
}
