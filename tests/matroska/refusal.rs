//! What the sink refuses, what it says then, and what is left in the file.

use std::io::{Cursor, Error, ErrorKind as IoErrorKind, Seek, SeekFrom, Write};

use bytes::Bytes;
use camring::ErrorKind;
use camring::export::MatroskaSink;
use camring::frame::{Codec, Frame, FrameSink, Item, StreamId, StreamSetup, TrackSetup};

use crate::clip::Clip;
use crate::{START, STREAM, check_decode, check_mkvmerge, have_tools, setup};

pub(crate) fn jpeg_track() -> TrackSetup {
    TrackSetup {
        codec: Codec::Mjpeg,
        clock_rate_hz: 90_000,
        width_px: 320,
        height_px: 240,
        channel_count: 0,
        extra: Bytes::new(),
    }
}

pub(crate) fn setup_item(tracks: Vec<TrackSetup>) -> Item {
    let name = "Door".into();
    Item::Setup(StreamSetup { name, tracks }.into())
}

/// A key frame of a kibibyte, or of several.
pub(crate) fn picture(time_us: i64, kib: usize) -> Item {
    Item::Frame(Frame {
        track: 0,
        key: true,
        leading: false,
        time: START.plus_us(time_us),
        clock: 0,
        payload: Bytes::from(vec![7; kib << 10]),
    })
}

fn new_sink() -> MatroskaSink<Cursor<Vec<u8>>> {
    MatroskaSink::new(Cursor::new(Vec::new()))
}

/// Offers `items`, and returns the kind of the error that the last one brings.
fn refusal(items: Vec<Item>) -> Option<ErrorKind> {
    let mut sink = new_sink();
    let mut items = items.into_iter();
    let last = items.next_back().unwrap();
    for item in items {
        sink.accept(STREAM, item).unwrap();
    }
    sink.accept(STREAM, last).err().map(|error| error.kind())
}

#[test]
fn what_matroska_cannot_hold_is_refused_at_the_setup() {
    let with = |change: fn(&mut TrackSetup)| {
        let mut track = jpeg_track();
        change(&mut track);
        refusal(vec![setup_item(vec![track])])
    };
    let invalid = Some(ErrorKind::Invalid);
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|track| track.codec = Codec::Private), invalid);
    assert_eq!(
        with(|track| track.codec = Codec::PcmAlaw),
        invalid,
        "no channels"
    );
    let short_lengths = |track: &mut TrackSetup| {
        track.codec = Codec::H264;
        track.extra = Bytes::from_static(&[1, 100, 0, 31, 0xFD]);
    };
    assert_eq!(with(short_lengths), invalid);
    assert_eq!(refusal(vec![setup_item(vec![])]), invalid);
    assert_eq!(refusal(vec![picture(0, 1)]), invalid, "no setup");
    let Item::Frame(frame) = picture(0, 1) else {
        unreachable!()
    };
    let of_no_track = Item::Frame(Frame { track: 1, ..frame });
    assert_eq!(
        refusal(vec![setup_item(vec![jpeg_track()]), of_no_track]),
        invalid
    );
}

#[test]
fn a_second_stream_is_refused_and_the_first_goes_on() {
    let mut sink = new_sink();
    sink.accept(STREAM, setup_item(vec![jpeg_track()])).unwrap();
    let error = sink.accept(StreamId(8), picture(0, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("stream 8"), "{error}");
    sink.accept(STREAM, picture(0, 1)).unwrap();
    assert_eq!(sink.finish().unwrap().1.frame_count, 1);
}

/// The camera tells its parameter sets late. What came before cannot be decoded.
#[test]
fn frames_before_the_decoder_configuration_are_skipped() {
    let mut late = jpeg_track();
    late.codec = Codec::H264;
    let mut sink = new_sink();
    sink.accept(STREAM, setup_item(vec![late.clone()])).unwrap();
    sink.accept(STREAM, picture(0, 1)).unwrap();
    assert_eq!(sink.skipped_count(), 1);
    late.extra = Bytes::from_static(&[1, 100, 0, 31, 0xFF]);
    sink.accept(STREAM, setup_item(vec![late])).unwrap();
    sink.accept(STREAM, picture(40_000, 1)).unwrap();
    let (_, summary) = sink.finish().unwrap();
    assert_eq!((summary.frame_count, summary.skipped_count), (1, 1));
}

#[test]
fn a_file_without_frames_is_an_error_that_says_why() {
    let mut track = jpeg_track();
    track.width_px = 0;
    let mut sink = new_sink();
    sink.accept(STREAM, setup_item(vec![track])).unwrap();
    sink.accept(STREAM, picture(0, 1)).unwrap();
    let error = sink.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no picture size"), "{error}");
    assert_eq!(new_sink().finish().unwrap_err().kind(), ErrorKind::NotFound);
}

/// Someone changes the camera's resolution. Each of the two files plays from end to end.
#[test]
fn a_change_of_parameters_needs_a_new_file() {
    if !have_tools("a_change_of_parameters_needs_a_new_file") {
        return;
    }
    let small = Clip::load(Codec::H264, "h264_240p25.h264");
    let large = Clip::load(Codec::H264, "h264_360p25_bframes.mp4");
    let change = START.plus_us(2_000_000);
    let mut items = vec![Item::Setup(setup(&[&small]).into())];
    items.extend(small.frames(0, START).into_iter().map(Item::Frame));
    // The same setup once more, as the reader gives it at the start of a block, changes nothing.
    items.push(Item::Setup(setup(&[&small]).into()));
    items.push(Item::Setup(setup(&[&large]).into()));
    items.extend(large.frames(0, change).into_iter().map(Item::Frame));

    let mut sink = new_sink();
    let mut files = Vec::new();
    for item in items {
        if sink.needs_new_file(&item) {
            let error = sink.accept(STREAM, item.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("@1795000002.083"), "{error}");
            files.push(std::mem::replace(&mut sink, new_sink()).finish().unwrap());
        }
        sink.accept(STREAM, item).unwrap();
    }
    files.push(sink.finish().unwrap());

    let counts: Vec<u64> = files
        .iter()
        .map(|(_, summary)| summary.frame_count)
        .collect();
    assert_eq!(counts, [50, large.packets.len() as u64]);
    let dir = tempfile::tempdir().unwrap();
    for (bytes, _) in files {
        let path = dir.path().join("one.mkv");
        std::fs::write(&path, bytes.into_inner()).unwrap();
        check_mkvmerge(&path);
        check_decode(&path);
    }
}

#[test]
fn a_clock_set_back_needs_a_new_file_and_jitter_does_not() {
    let mut sink = new_sink();
    sink.accept(STREAM, setup_item(vec![jpeg_track()])).unwrap();
    for second in 0..10 {
        sink.accept(STREAM, picture(second * 1_000_000, 1)).unwrap();
    }
    assert!(!sink.needs_new_file(&picture(7_500_000, 1)), "jitter");
    assert!(!sink.needs_new_file(&picture(3_600_000_000, 1)), "a gap");
    assert!(sink.needs_new_file(&picture(6_900_000, 1)));
    assert!(sink.needs_new_file(&picture(-1_000, 1)), "before the file");
    let error = sink.accept(STREAM, picture(0, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    sink.accept(STREAM, picture(10_000_000, 1)).unwrap();
    assert_eq!(sink.finish().unwrap().1.frame_count, 11);
}

/// A full disk: the file ends where writing failed, and nothing is written behind that.
#[test]
fn after_a_failed_write_the_sink_takes_no_more() {
    let mut sink = MatroskaSink::new(Disk::of(100 << 10));
    sink.accept(STREAM, setup_item(vec![jpeg_track()])).unwrap();
    let mut outcomes = (0..200).map(|n| sink.accept(STREAM, picture(n * 100_000, 1)));
    let first = outcomes.find_map(Result::err).unwrap();
    assert_eq!(first.kind(), ErrorKind::Io);
    assert_eq!(first.raw_os_error(), Some(28), "no space: {first}");
    assert!(outcomes.all(|outcome| outcome.unwrap_err().kind() == ErrorKind::Failed));
    assert_eq!(sink.finish().unwrap_err().kind(), ErrorKind::Failed);
}

/// Offers pictures of `kib`, the first of them the only key frame, so that only the limits end a
/// cluster. Returns the sink, not finished, and the number of bytes that each picture has.
fn one_long_group(count: i64, step_us: i64, kib: usize) -> (MatroskaSink<Disk>, usize) {
    let mut sink = MatroskaSink::new(Disk::of(usize::MAX));
    sink.accept(STREAM, setup_item(vec![jpeg_track()])).unwrap();
    for n in 0..count {
        let Item::Frame(frame) = picture(n * step_us, kib) else {
            unreachable!()
        };
        let key = n == 0;
        sink.accept(STREAM, Item::Frame(Frame { key, ..frame }))
            .unwrap();
    }
    (sink, kib << 10)
}

/// No write is longer than 5 MiB, so no more than that is in memory.
#[test]
fn memory_is_bounded_by_one_cluster() {
    let (sink, _) = one_long_group(2_000, 10_000, 64);
    let (disk, summary) = sink.finish().unwrap();
    assert_eq!(summary.frame_count, 2_000);
    assert!(
        disk.longest_write_len <= 5 << 20,
        "{}",
        disk.longest_write_len
    );
    assert!(
        disk.longest_write_len > 4 << 20,
        "clusters are not tiny either"
    );
}

/// A slow stream is written at least every five seconds of it.
#[test]
fn at_most_five_seconds_are_lost_with_the_power() {
    let (sink, picture_len) = one_long_group(250, 100_000, 1);
    let (disk, _) = sink.finish().unwrap();
    assert!(disk.longest_write_len >= 50 * picture_len);
    assert!(disk.longest_write_len < 51 * picture_len);
}

/// A disk that forgets what is written, and fills up.
#[derive(Debug)]
struct Disk {
    free_len: usize,
    position: u64,
    longest_write_len: usize,
}

impl Disk {
    fn of(free_len: usize) -> Self {
        Self {
            free_len,
            position: 0,
            longest_write_len: 0,
        }
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.free_len = self
            .free_len
            .checked_sub(bytes.len())
            .ok_or_else(|| Error::from_raw_os_error(28))?;
        self.longest_write_len = self.longest_write_len.max(bytes.len());
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        match to {
            SeekFrom::Start(position) => self.position = position,
            SeekFrom::Current(0) => {}
            _ => return Err(IoErrorKind::Unsupported.into()),
        }
        Ok(self.position)
    }
}
