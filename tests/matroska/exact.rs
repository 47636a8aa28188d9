//! Random streams, read back by the crate matroska-demuxer: every frame, every byte, every
//! millisecond. proptest prints the stream that failed, as small as it could make it.

use std::io::Cursor;

use bytes::Bytes;
use camring::base::time::Timestamp;
use camring::export::MatroskaSink;
use camring::frame::{Codec, Frame, FrameSink, Item, StreamSetup, TrackSetup};
use matroska_demuxer::MatroskaFile;
use proptest::prelude::*;

use crate::{START, STREAM};

/// Lengths at which an element's length needs one more byte, and others.
fn payload_len() -> impl Strategy<Value = usize> {
    prop_oneof![
        20 => 0..400_usize,
        10 => 119..132_usize,
        10 => 16_370..16_392_usize,
        1 => 2_097_140..2_097_160_usize,
    ]
}

/// How far the clock goes from one frame to the next.
fn step_us() -> impl Strategy<Value = i64> {
    prop_oneof![
        20 => 0..100_000_i64,
        5 => -80_000..0_i64,
        2 => 3_000_000..7_000_000_i64,
        1 => 100_000_000..10_000_000_000_i64,
    ]
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let one = (
        0..2_u8,
        any::<bool>(),
        step_us(),
        payload_len(),
        any::<u8>(),
    );
    prop::collection::vec(one, 1..120).prop_map(|parts| {
        let mut time = START;
        let mut frames = Vec::new();
        for (track, key, step_us, len, fill) in parts {
            time = time.plus_us(step_us);
            frames.push(Frame {
                track,
                key: key || track == 1,
                leading: false,
                time,
                clock: 0,
                payload: Bytes::from(vec![fill; len]),
            });
        }
        frames
    })
}

fn track(codec: Codec, clock_rate_hz: u32) -> TrackSetup {
    let size_px = if codec.is_video() { 240 } else { 0 };
    TrackSetup {
        codec,
        clock_rate_hz,
        width_px: size_px,
        height_px: size_px,
        channel_count: u8::from(codec.is_audio()),
        extra: Bytes::new(),
    }
}

fn setup() -> StreamSetup {
    StreamSetup {
        name: "Gate".into(),
        tracks: vec![track(Codec::Mjpeg, 90_000), track(Codec::PcmMulaw, 8_000)],
    }
}

/// What must be in the file: all from the first key frame of track 0 on, but no earlier sound.
fn kept(frames: &[Frame]) -> Vec<Frame> {
    let is_start = |frame: &Frame| frame.track == 0 && frame.key;
    let Some(first) = frames.iter().position(is_start) else {
        return Vec::new();
    };
    let start = frames[first].time;
    let rest = frames[first..].iter();
    rest.filter(|frame| frame.track == 0 || frame.time >= start)
        .cloned()
        .collect()
}

/// Writes `frames`, reads the file, and compares the two.
fn check(frames: Vec<Frame>) -> Result<(), TestCaseError> {
    let mut sink = MatroskaSink::new(Cursor::new(Vec::new()));
    sink.accept(STREAM, Item::Setup(setup().into())).unwrap();
    let mut offered = Vec::new();
    for frame in frames {
        let item = Item::Frame(frame.clone());
        if !sink.needs_new_file(&item) {
            sink.accept(STREAM, item).unwrap();
            offered.push(frame);
        }
    }
    let expected = kept(&offered);
    let finished = sink.finish();
    prop_assert_eq!(finished.is_err(), expected.is_empty());
    let Ok((file, summary)) = finished else {
        return Ok(());
    };
    prop_assert_eq!(file.get_ref().len() as u64, summary.len);
    let earliest = expected.iter().map(|frame| rounded_ms(frame.time)).min();
    prop_assert_eq!(Some(rounded_ms(summary.start)), earliest);

    let mut file = MatroskaFile::open(Cursor::new(file.into_inner())).unwrap();
    prop_assert_eq!(file.tracks()[0].codec_id(), "V_MJPEG");
    prop_assert_eq!(file.tracks()[1].codec_id(), "A_MS/ACM");
    let mut found = matroska_demuxer::Frame::default();
    for frame in &expected {
        prop_assert!(file.next_frame(&mut found).unwrap());
        prop_assert_eq!(found.track, u64::from(frame.track) + 1);
        prop_assert_eq!(found.is_keyframe, Some(frame.key));
        let time_ms = rounded_ms(frame.time) - rounded_ms(summary.start);
        prop_assert_eq!(i64::try_from(found.timestamp).unwrap(), time_ms);
        prop_assert!(found.data == frame.payload, "payloads differ");
    }
    prop_assert!(!file.next_frame(&mut found).unwrap());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_frame_is_read_back(frames in frames()) {
        check(frames)?;
    }
}

/// A camera that answers a lost connection with the sound of a minute ago: further back than a
/// block can be from its cluster.
#[test]
fn sound_from_long_ago_keeps_its_time() {
    let frame = |track, second: i64| Frame {
        track,
        key: true,
        leading: false,
        time: START.plus_us(second * 1_000_000),
        clock: 0,
        payload: Bytes::from_static(b"one second"),
    };
    let mut frames: Vec<Frame> = (0..60).map(|second| frame(0, second)).collect();
    frames.extend((1..60).map(|second| frame(1, second)));
    check(frames).unwrap();
}

fn rounded_ms(time: Timestamp) -> i64 {
    (time.0 + 500) / 1_000
}
