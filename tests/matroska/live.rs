//! Matroska for who reads while it is written: through pipes, and from files that grow.

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use camring::ErrorKind;
use camring::base::time::Timestamp;
use camring::export::MatroskaSink;
use camring::frame::{Codec, Frame, FrameSink, Item};

use crate::clip::{Clip, Probe, run};
use crate::{START, STREAM, check_decode, check_mkvmerge, have_tools, interleave, setup};

/// Pictures with B-frames, and sound.
fn door() -> (Item, Vec<Frame>) {
    let video = Clip::load(Codec::H264, "h264_360p25_bframes.mp4");
    let audio = Clip::load(Codec::Aac, "aac_48k.aac");
    let tracks = vec![video.frames(0, START), audio.frames(1, START)];
    (
        Item::Setup(setup(&[&video, &audio]).into()),
        interleave(tracks),
    )
}

fn write(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join("out.mkv");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Checks that other programs find `frames`, with times from `zero`.
fn check_frames(path: &Path, frames: &[Frame], zero: Timestamp) {
    let probe = Probe::of(path);
    assert_eq!(probe.complaints, "");
    assert_eq!(probe.packets.len(), frames.len());
    for track in 0..2 {
        let expected = frames.iter().filter(|frame| frame.track == track);
        let found = probe.of_stream(track.into());
        for (n, (packet, frame)) in found.iter().zip(expected).enumerate() {
            assert!(packet.payload == frame.payload, "bytes of {track}:{n}");
            assert_eq!(packet.key, frame.key, "key flag of {track}:{n}");
            let error_us = packet.time_us - frame.time.us_since(zero);
            assert!(error_us.abs() <= 500, "time of {track}:{n}: {error_us} us");
        }
    }
}

#[test]
fn what_was_written_live_is_read_by_every_program() {
    if !have_tools("what_was_written_live_is_read_by_every_program") {
        return;
    }
    let (setup, frames) = door();
    // A Vec cannot seek.
    let mut sink = MatroskaSink::live(Vec::new());
    sink.accept(STREAM, setup).unwrap();
    for frame in &frames {
        sink.accept(STREAM, Item::Frame(frame.clone())).unwrap();
    }
    let (bytes, summary) = sink.finish().unwrap();
    assert_eq!(summary.len, bytes.len() as u64);
    assert_eq!(summary.frame_count, frames.len() as u64);
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &bytes);
    check_frames(&path, &frames, summary.start);
    check_mkvmerge(&path);
    check_decode(&path);
}

/// After each frame, what is written holds that frame: nothing waits for a cluster to be full.
#[test]
fn each_frame_can_be_read_as_soon_as_it_came() {
    if !have_tools("each_frame_can_be_read_as_soon_as_it_came") {
        return;
    }
    let (setup, frames) = door();
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("growing.mkv")).unwrap();
    // Nothing may stay in the buffer.
    let mut sink = MatroskaSink::live(io::BufWriter::with_capacity(1 << 20, file));
    sink.accept(STREAM, setup).unwrap();
    for (n, frame) in frames.iter().enumerate() {
        sink.accept(STREAM, Item::Frame(frame.clone())).unwrap();
        if [10, 11, 12, 90, 91].contains(&n) {
            let path = dir.path().join("growing.mkv");
            check_frames(&path, &frames[..=n], Timestamp(START.0 - 456));
        }
    }
}

/// ffmpeg reads from a pipe, as it does behind `camring play ... |`.
#[test]
fn another_program_reads_from_a_pipe() {
    if !have_tools("another_program_reads_from_a_pipe") {
        return;
    }
    let (setup, frames) = door();
    let input = ["-v", "error", "-f", "matroska", "-i", "pipe:0", "-map", "0"];
    let output = ["-c", "copy", "-f", "framecrc", "pipe:1"];
    let mut ffmpeg = Command::new("ffmpeg")
        .args(input)
        .args(output)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = ffmpeg.stdin.take().unwrap();
    let lines = std::thread::spawn(move || ffmpeg.wait_with_output().unwrap());
    let mut sink = MatroskaSink::live(pipe);
    sink.accept(STREAM, setup).unwrap();
    for frame in &frames {
        sink.accept(STREAM, Item::Frame(frame.clone())).unwrap();
    }
    drop(sink.finish().unwrap());
    let output = lines.join().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let lines = String::from_utf8(output.stdout).unwrap();
    let packets = lines.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(packets.count(), frames.len());
}

/// The viewer closes the window.
#[test]
fn a_pipe_that_was_closed_ends_the_stream_with_an_error() {
    let (reader, pipe) = io::pipe().unwrap();
    let mut sink = MatroskaSink::live(pipe);
    let track = crate::refusal::jpeg_track();
    sink.accept(STREAM, crate::refusal::setup_item(vec![track]))
        .unwrap();
    sink.accept(STREAM, crate::refusal::picture(0, 1)).unwrap();
    drop(reader);
    let next = |n: i64| crate::refusal::picture(n * 40_000, 1);
    let error = sink.accept(STREAM, next(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(error.raw_os_error(), Some(32), "{error}");
    let error = sink.accept(STREAM, next(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
}

/// Pictures that are shown before the key frame at which the stream begins would have times below
/// 0, and what is written cannot be mended. In a file they stay.
#[test]
fn pictures_before_the_first_key_frame_are_left_out_of_a_live_stream() {
    fn written<W: Write>(mut sink: MatroskaSink<W>) -> (u64, u64) {
        let track = crate::refusal::jpeg_track();
        sink.accept(STREAM, crate::refusal::setup_item(vec![track]))
            .unwrap();
        for (time_us, key) in [
            (80_000, true),
            (0, false),
            (40_000, false),
            (200_000, true),
            (160_000, false),
        ] {
            let Item::Frame(frame) = crate::refusal::picture(time_us, 1) else {
                unreachable!()
            };
            sink.accept(STREAM, Item::Frame(Frame { key, ..frame }))
                .unwrap();
        }
        let (_, summary) = sink.finish().unwrap();
        (summary.frame_count, summary.skipped_count)
    }
    assert_eq!(written(MatroskaSink::live(Vec::new())), (3, 2));
    assert_eq!(written(MatroskaSink::new(Cursor::new(Vec::new()))), (5, 0));
}

/// The camera's resolution is changed, and changed back, while somebody looks. Its key frames do
/// not bring parameter sets.
#[test]
fn a_live_stream_goes_on_through_new_parameters() {
    if !have_tools("a_live_stream_goes_on_through_new_parameters") {
        return;
    }
    for (codec, names) in [
        (Codec::H264, ["h264_240p25.h264", "h264_360p25_bframes.mp4"]),
        (
            Codec::H265,
            ["h265_180p25_opengop_cra.mp4", "h265_360p25_opengop.mp4"],
        ),
    ] {
        let clips = names.map(|name| Clip::load(codec, name));
        let mut sink = MatroskaSink::live(Vec::new());
        for (clip, n) in [&clips[0], &clips[1], &clips[0]].into_iter().zip(0..) {
            let change = Item::Setup(setup(&[clip]).into());
            assert!(!sink.needs_new_file(&change));
            sink.accept(STREAM, change).unwrap();
            for frame in clip.frames(0, START.plus_us(n * 10_000_000)) {
                let payload = without_parameter_sets(codec, &frame.payload);
                let frame = Frame { payload, ..frame };
                sink.accept(STREAM, Item::Frame(frame)).unwrap();
            }
        }
        let (bytes, _) = sink.finish().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &bytes);
        let args = [
            "-v",
            "error",
            "-of",
            "csv=p=0",
            "-show_entries",
            "frame=width",
        ];
        let (lines, errors) = run("ffprobe", &[&args[..], &[path.to_str().unwrap()]].concat());
        assert_eq!(errors, "");
        let widths = String::from_utf8(lines).unwrap();
        for (clip, times) in clips.iter().zip([2, 1]) {
            let width = |line: &str| line.trim_end_matches(',').parse() == Ok(clip.setup.width_px);
            let found = widths.lines().filter(|line| width(line)).count();
            assert_eq!(found, times * clip.packets.len(), "{codec}");
        }
    }
}

/// Leaves out parameter sets, by the numbers in the standards and not by our code.
fn without_parameter_sets(codec: Codec, payload: &[u8]) -> Bytes {
    let mut kept = Vec::new();
    let mut rest = payload;
    while let Some((prefix, behind)) = rest.split_first_chunk::<4>() {
        let (nal, next) = behind.split_at(u32::from_be_bytes(*prefix) as usize);
        let is_set = match codec {
            Codec::H264 => matches!(nal[0] & 31, 7 | 8),
            _ => matches!(nal[0] >> 1 & 63, 32..=34),
        };
        if !is_set {
            kept.extend(prefix);
            kept.extend(nal);
        }
        rest = next;
    }
    kept.into()
}

#[test]
fn a_live_stream_cannot_change_its_codec() {
    if !have_tools("a_live_stream_cannot_change_its_codec") {
        return;
    }
    let h264 = Clip::load(Codec::H264, "h264_240p25.h264");
    let h265 = Clip::load(Codec::H265, "h265_180p25_opengop_cra.mp4");
    let mut sink = MatroskaSink::live(Vec::new());
    sink.accept(STREAM, Item::Setup(setup(&[&h264]).into()))
        .unwrap();
    for frame in h264.frames(0, START) {
        sink.accept(STREAM, Item::Frame(frame)).unwrap();
    }
    let change = Item::Setup(setup(&[&h265]).into());
    let error = sink.accept(STREAM, change).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
