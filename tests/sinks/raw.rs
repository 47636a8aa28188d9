//! Elementary streams: ffmpeg decodes them, and its pictures and samples are those that it makes of
//! the clip itself.

use std::io::{Error, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use camring::ErrorKind;
use camring::export::RawSink;
use camring::frame::nal::length_prefixed_to_annex_b;
use camring::frame::{Codec, Frame, FrameSink, Item, StreamId, StreamSetup};

use crate::clip::{Clip, run};
use crate::{START, STREAM, have_tools, setup};

fn clip_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/clips")
        .join(name)
}

/// Writes `frames` of a stream with one track.
fn written(clip: &Clip, frames: &[Frame]) -> Vec<u8> {
    let mut sink = RawSink::new(0, Vec::new());
    sink.accept(STREAM, setup(&[clip])).unwrap();
    for frame in frames {
        sink.accept(STREAM, Item::Frame(frame.clone())).unwrap();
    }
    let (bytes, summary) = sink.finish();
    assert_eq!(summary.frame_count, frames.len() as u64);
    assert_eq!(summary.len, bytes.len() as u64);
    bytes
}

/// A checksum of every picture or block of samples that ffmpeg decodes; nothing may be wrong.
fn decoded(format: &[&str], path: &Path) -> Vec<String> {
    let input = ["-i", path.to_str().unwrap(), "-map", "0:0"];
    let output = ["-fps_mode", "passthrough", "-f", "framemd5", "-"];
    let args = [&["-v", "error"], format, &input[..], &output[..]].concat();
    let (lines, errors) = run("ffmpeg", &args);
    assert_eq!(errors, "");
    let lines = String::from_utf8(lines).unwrap();
    let sums = lines.lines().filter(|line| !line.starts_with('#'));
    sums.map(|line| line.rsplit(", ").next().unwrap().to_owned())
        .collect()
}

/// What ffmpeg makes of `bytes` is what it makes of the clip.
fn check_decoded(bytes: &[u8], format: &[&str], name: &str, count: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    std::fs::write(&path, bytes).unwrap();
    let found = decoded(format, &path);
    assert_eq!(found.len(), count);
    assert_eq!(found, decoded(&[], &clip_path(name)));
}

#[test]
fn annex_b_decodes_to_the_pictures_of_the_clip() {
    if !have_tools("annex_b_decodes_to_the_pictures_of_the_clip") {
        return;
    }
    for (codec, name, format) in [
        (Codec::H264, "h264_240p25.h264", "h264"),
        (Codec::H264, "h264_360p25_bframes.mp4", "h264"),
        (Codec::H265, "h265_180p25_opengop_cra.mp4", "hevc"),
    ] {
        let clip = Clip::load(codec, name);
        let frames = clip.frames(0, START);
        let bytes = written(&clip, &frames);
        check_decoded(&bytes, &["-f", format], name, frames.len());
    }
}

#[test]
fn adts_decodes_to_the_sound_of_the_clip() {
    if !have_tools("adts_decodes_to_the_sound_of_the_clip") {
        return;
    }
    let clip = Clip::load(Codec::Aac, "aac_48k.aac");
    let frames = clip.frames(0, START);
    let bytes = written(&clip, &frames);
    check_decoded(&bytes, &["-f", "aac"], "aac_48k.aac", frames.len());
    // The clip is ADTS as well, of the same encoder's frames.
    let original = std::fs::read(clip_path("aac_48k.aac")).unwrap();
    assert_eq!(bytes.len(), original.len());
}

#[test]
fn codecs_without_a_form_of_their_own_are_written_as_they_are() {
    if !have_tools("codecs_without_a_form_of_their_own_are_written_as_they_are") {
        return;
    }
    let clip = Clip::g711(Codec::PcmAlaw, "g711a_8k.al");
    let bytes = written(&clip, &clip.frames(0, START));
    assert!(bytes == std::fs::read(clip_path("g711a_8k.al")).unwrap());
    let clip = Clip::jpeg();
    let bytes = written(&clip, &clip.frames(0, START));
    assert!(bytes == std::fs::read(clip_path("mjpeg_240p10_2s.mjpeg")).unwrap());
}

/// The camera sends parameter sets only in its description of the stream; and the recording is
/// looked at from its middle.
#[test]
fn parameter_sets_stand_before_every_key_frame() {
    if !have_tools("parameter_sets_stand_before_every_key_frame") {
        return;
    }
    let clip = Clip::load(Codec::H264, "h264_240p25.h264");
    let mut frames = clip.repeated(0, START, 2_000_000, 2);
    for frame in &mut frames {
        frame.payload = without_parameter_sets(&frame.payload);
    }
    let middle = frames.iter().rposition(|frame| frame.key).unwrap();
    let mut sink = RawSink::new(0, Vec::new());
    sink.accept(STREAM, setup(&[&clip])).unwrap();
    for frame in &frames[middle - 3..] {
        sink.accept(STREAM, Item::Frame(frame.clone())).unwrap();
    }
    let (bytes, summary) = sink.finish();
    assert_eq!(summary.skipped_count, 3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.h264");
    std::fs::write(&path, bytes).unwrap();
    let pictures = decoded(&["-f", "h264"], &path);
    assert_eq!(pictures.len(), frames.len() - middle);
}

/// Leaves out NAL units of type 7 and 8, by the book and not by our code.
fn without_parameter_sets(payload: &[u8]) -> Bytes {
    let mut kept = Vec::new();
    let mut rest = payload;
    while let Some((prefix, behind)) = rest.split_first_chunk::<4>() {
        let (nal, next) = behind.split_at(u32::from_be_bytes(*prefix) as usize);
        if !matches!(nal[0] & 31, 7 | 8) {
            kept.extend(prefix);
            kept.extend(nal);
        }
        rest = next;
    }
    kept.into()
}

/// Sound goes elsewhere, and a new resolution goes on in the same stream.
#[test]
fn one_track_is_written_through_a_change_of_its_parameters() {
    if !have_tools("one_track_is_written_through_a_change_of_its_parameters") {
        return;
    }
    let small = Clip::load(Codec::H264, "h264_240p25.h264");
    let large = Clip::load(Codec::H264, "h264_360p25_bframes.mp4");
    let sound = Clip::g711(Codec::PcmMulaw, "g711u_8k.ul");
    let mut sink = RawSink::new(0, Vec::new());
    for clip in [&small, &large] {
        sink.accept(STREAM, setup(&[clip, &sound])).unwrap();
        for frame in [clip.frames(0, START), sound.frames(1, START)].concat() {
            sink.accept(STREAM, Item::Frame(frame)).unwrap();
        }
    }
    let (bytes, _) = sink.finish();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.h264");
    std::fs::write(&path, bytes).unwrap();
    // Without a scaler, which ffmpeg would put in to keep the first size.
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
    let count = |width: u16| {
        let lines = widths.lines();
        lines
            .filter(|line| line.trim_end_matches(',').parse() == Ok(width))
            .count()
    };
    assert_eq!(count(small.setup.width_px), small.packets.len());
    assert_eq!(count(large.setup.width_px), large.packets.len());
}

#[test]
fn what_cannot_be_written_is_refused_and_the_rest_goes_on() {
    if !have_tools("what_cannot_be_written_is_refused_and_the_rest_goes_on") {
        return;
    }
    let clip = Clip::load(Codec::H264, "h264_240p25.h264");
    let frames = clip.frames(0, START);
    let mut sink = RawSink::new(0, Vec::new());
    let mut kind = |stream, item| sink.accept(stream, item).err().map(|error| error.kind());
    let invalid = Some(ErrorKind::Invalid);
    assert_eq!(
        kind(STREAM, Item::Frame(frames[0].clone())),
        invalid,
        "no setup"
    );
    let nothing = Item::Setup(StreamSetup::default().into());
    assert_eq!(kind(STREAM, nothing), invalid, "no such track");
    assert_eq!(kind(STREAM, setup(&[&clip])), None);
    assert_eq!(
        kind(StreamId(8), setup(&[&clip])),
        invalid,
        "another stream"
    );
    let broken = Frame {
        payload: frames[0].payload.slice(..100),
        ..frames[0].clone()
    };
    assert_eq!(kind(STREAM, Item::Frame(broken)), Some(ErrorKind::Damaged));
    let sound = Clip::g711(Codec::PcmMulaw, "g711u_8k.ul");
    assert_eq!(kind(STREAM, setup(&[&sound])), Some(ErrorKind::Unsupported));
    for frame in &frames {
        assert_eq!(kind(STREAM, Item::Preroll(frame.clone())), None);
    }
    let (bytes, summary) = sink.finish();
    assert_eq!(summary.frame_count, 50);
    let payloads = frames.iter().map(|frame| &frame.payload[..]);
    let expected = payloads.flat_map(|payload| length_prefixed_to_annex_b(payload).unwrap());
    assert!(bytes == expected.collect::<Vec<u8>>());
}

#[test]
fn aac_that_adts_cannot_tell_is_refused() {
    if !have_tools("aac_that_adts_cannot_tell_is_refused") {
        return;
    }
    let mut clip = Clip::load(Codec::Aac, "aac_48k.aac");
    let mut frame = clip.frames(0, START).remove(0);
    let mut sink = RawSink::new(0, Vec::new());
    sink.accept(STREAM, setup(&[&clip])).unwrap();
    frame.payload = Bytes::from(vec![0; 8_185]);
    let error = sink.accept(STREAM, Item::Frame(frame)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    // A sampling rate that is told in full, and no configuration at all.
    for extra in [&[0x17, 0x80, 0, 0, 0x08][..], &[]] {
        clip.setup.extra = Bytes::from_static(extra);
        let mut sink = RawSink::new(0, Vec::new());
        let error = sink.accept(STREAM, setup(&[&clip])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_written() {
    #[derive(Debug)]
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(Error::from_raw_os_error(28))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let clip = Clip::g711(Codec::PcmMulaw, "g711u_8k.ul");
    let mut sink = RawSink::new(0, Full);
    sink.accept(STREAM, setup(&[&clip])).unwrap();
    let kinds = clip.frames(0, START).into_iter().take(3).map(|frame| {
        let outcome = sink.accept(STREAM, Item::Frame(frame));
        outcome.unwrap_err().kind()
    });
    let kinds: Vec<ErrorKind> = kinds.collect();
    assert_eq!(kinds, [ErrorKind::Io, ErrorKind::Failed, ErrorKind::Failed]);
}
