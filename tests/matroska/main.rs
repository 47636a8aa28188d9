//! What other programs see in the Matroska files that we write: ffmpeg, mkvmerge, and the crate
//! matroska-demuxer. The streams come from clips that ffmpeg took apart, so that no code of ours
//! is on both sides of a comparison.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and a test that is skipped says so"
)]

mod clip;
mod exact;
mod live;
mod refusal;

use std::fs::File;
use std::path::{Path, PathBuf};

use camring::base::time::Timestamp;
use camring::export::{MatroskaSink, Summary};
use camring::frame::{Codec, Frame, FrameSink, Gap, GapCause, Item, StreamId, StreamSetup};
use serde_json::Value;

use self::clip::{Clip, Probe, has_tool, run};

const STREAM: StreamId = StreamId(7);
/// Some time in November 2026, not on a whole millisecond.
const START: Timestamp = Timestamp(1_795_000_000_123_456);

/// A file that we wrote, and what was written.
struct Export {
    dir: tempfile::TempDir,
    summary: Summary,
    frames: Vec<Frame>,
}

impl Export {
    /// Writes `frames`, in the order of their arrival, which is that of their place in time.
    fn of(clips: &[&Clip], frames: Vec<Frame>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = MatroskaSink::new(File::create(dir.path().join("out.mkv")).unwrap());
        sink.accept(STREAM, Item::Setup(setup(clips).into()))
            .unwrap();
        for frame in &frames {
            sink.accept(STREAM, Item::Frame(frame.clone())).unwrap();
        }
        let (_, summary) = sink.finish().unwrap();
        Self {
            dir,
            summary,
            frames,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("out.mkv")
    }

    /// Checks that other programs find all the frames from the first key frame on, no more, and
    /// no cause for complaint.
    fn check(&self) {
        let skipped = usize::try_from(self.summary.skipped_count).unwrap();
        let missing = self.frames.len() - usize::try_from(self.summary.frame_count).unwrap();
        assert_eq!(missing, skipped);
        self.check_frames(&self.frames);
    }

    /// Checks that other programs find exactly `expected`.
    fn check_frames(&self, expected: &[Frame]) {
        let probe = Probe::of(&self.path());
        assert_eq!(probe.complaints, "");
        assert_eq!(probe.packets.len(), expected.len());
        let zero_us = self.summary.start.0;
        for track in 0..probe.streams.len() {
            let of_track = |frame: &&Frame| usize::from(frame.track) == track;
            let expected: Vec<&Frame> = expected.iter().filter(of_track).collect();
            let found = probe.of_stream(track);
            assert_eq!(found.len(), expected.len(), "track {track}");
            for (n, (packet, frame)) in found.iter().zip(expected).enumerate() {
                assert!(packet.payload == frame.payload, "bytes of {track}:{n}");
                assert_eq!(packet.key, frame.key, "key flag of {track}:{n}");
                let error_us = packet.time_us - (frame.time.0 - zero_us);
                assert!(
                    error_us.abs() <= 500,
                    "time of {track}:{n} is off by {error_us} us"
                );
            }
        }
        check_mkvmerge(&self.path());
        check_decode(&self.path());
    }
}

fn setup(clips: &[&Clip]) -> StreamSetup {
    StreamSetup {
        name: "Yard".into(),
        tracks: clips.iter().map(|clip| clip.setup.clone()).collect(),
    }
}

/// Puts the frames of several tracks in the order in which they would arrive: each track in its
/// own order, video by the latest time so far.
fn interleave(tracks: Vec<Vec<Frame>>) -> Vec<Frame> {
    let mut keyed = Vec::new();
    for frames in tracks {
        let mut latest = Timestamp::MIN;
        for frame in frames {
            latest = latest.max(frame.time);
            keyed.push((latest, frame));
        }
    }
    keyed.sort_by_key(|(latest, _)| *latest);
    keyed.into_iter().map(|(_, frame)| frame).collect()
}

fn mkvmerge(path: &Path) -> Value {
    let (json, _) = run("mkvmerge", &["-J", path.to_str().unwrap()]);
    serde_json::from_slice(&json).unwrap()
}

/// mkvmerge knows the container, copies every frame, and has nothing to complain of.
fn check_mkvmerge(path: &Path) {
    let copy = path.with_extension("copy.mkv");
    let (copy, source) = (copy.to_str().unwrap(), path.to_str().unwrap());
    let (words, _) = run("mkvmerge", &["-q", "-o", copy, source]);
    assert_eq!(String::from_utf8_lossy(&words), "");
    let json = mkvmerge(path);
    assert_eq!(json["errors"], Value::Array(vec![]));
    assert_eq!(json["warnings"], Value::Array(vec![]));
    assert_eq!(json["container"]["supported"], true);
}

/// ffmpeg decodes every track from end to end without an error.
fn check_decode(path: &Path) {
    let path = path.to_str().unwrap();
    let input = ["-v", "error", "-i", path, "-map", "0"];
    // Times go through as they are, not on the grid of a frame rate that ffmpeg guesses.
    let output = [
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "-1",
        "-f",
        "null",
        "-",
    ];
    let (_, errors) = run("ffmpeg", &[&input[..], &output[..]].concat());
    assert_eq!(errors, "");
}

fn have_tools(test: &str) -> bool {
    ["ffmpeg", "ffprobe", "mkvmerge"]
        .iter()
        .all(|tool| has_tool(test, tool))
}

#[test]
fn h264_with_b_frames_and_aac_comes_out_as_it_went_in() {
    if !have_tools("h264_with_b_frames_and_aac_comes_out_as_it_went_in") {
        return;
    }
    let video = Clip::load(Codec::H264, "h264_360p25_bframes.mp4");
    let audio = Clip::load(Codec::Aac, "aac_48k.aac");
    let frames = video.frames(0, START);
    let is_reordered = frames.windows(2).any(|pair| pair[1].time < pair[0].time);
    assert!(is_reordered, "the clip has B-frames");
    let export = Export::of(
        &[&video, &audio],
        interleave(vec![frames, audio.frames(1, START.plus_us(137_211))]),
    );
    assert_eq!(export.summary.skipped_count, 0);
    export.check();

    let json = mkvmerge(&export.path());
    let codecs: Vec<&str> = (0..2)
        .filter_map(|n| json["tracks"][n]["codec"].as_str())
        .collect();
    assert_eq!(codecs, ["AVC/H.264/MPEG-4p10", "AAC"]);
}

#[test]
fn h265_with_open_gops_and_g711_comes_out_as_it_went_in() {
    if !have_tools("h265_with_open_gops_and_g711_comes_out_as_it_went_in") {
        return;
    }
    let video = Clip::load(Codec::H265, "h265_180p25_opengop_cra.mp4");
    let audio = Clip::g711(Codec::PcmMulaw, "g711u_8k.ul");
    let tracks = vec![video.frames(0, START), audio.frames(1, START)];
    let export = Export::of(&[&video, &audio], interleave(tracks));
    export.check();

    let probe = Probe::of(&export.path());
    assert_eq!(probe.streams[0]["codec_name"], "hevc");
    assert_eq!(probe.streams[1]["codec_name"], "pcm_mulaw");
    assert_eq!(probe.streams[1]["sample_rate"], "8000");
}

#[test]
fn jpeg_with_a_law_comes_out_as_it_went_in() {
    if !have_tools("jpeg_with_a_law_comes_out_as_it_went_in") {
        return;
    }
    let video = Clip::jpeg();
    let audio = Clip::g711(Codec::PcmAlaw, "g711a_8k.al");
    let tracks = vec![
        video.repeated(0, START, 500_000, 4),
        audio.frames(1, START.plus_us(3_000)),
    ];
    let export = Export::of(&[&video, &audio], interleave(tracks));
    export.check();

    let probe = Probe::of(&export.path());
    assert_eq!(probe.streams[0]["codec_name"], "mjpeg");
    assert_eq!(probe.streams[1]["codec_name"], "pcm_alaw");
}

#[test]
fn a_stream_without_video_begins_at_once() {
    if !have_tools("a_stream_without_video_begins_at_once") {
        return;
    }
    let audio = Clip::load(Codec::Aac, "aac_48k.aac");
    let export = Export::of(&[&audio], audio.frames(0, START));
    assert_eq!(export.summary.skipped_count, 0);
    export.check();
}

/// A camera that slows down at night and stumbles in between: no frame rate fits, and none is
/// made up.
#[test]
fn times_are_kept_where_the_frame_rate_varies() {
    if !have_tools("times_are_kept_where_the_frame_rate_varies") {
        return;
    }
    let video = Clip::load(Codec::H264, "h264_240p25.h264");
    let mut frames = video.frames(0, START);
    let steps_us = [33_367, 33_367, 100_003, 21_777, 1_333_333, 40_001, 2_499];
    let mut time = START;
    for (frame, step_us) in frames.iter_mut().zip(steps_us.iter().cycle()) {
        frame.time = time;
        time = time.plus_us(*step_us);
    }
    Export::of(&[&video], frames).check();
}

/// The camera was away for ten seconds. They are ten seconds in the file, for both tracks.
#[test]
fn a_gap_stays_as_long_as_it_was() {
    if !have_tools("a_gap_stays_as_long_as_it_was") {
        return;
    }
    let video = Clip::load(Codec::H264, "h264_240p25.h264");
    let audio = Clip::g711(Codec::PcmMulaw, "g711u_8k.ul");
    let again = START.plus_us(12_000_000);
    let gap = Gap {
        cause: GapCause::NoSignal,
        start: START.plus_us(2_000_000),
        end: Some(again),
        lost_count: None,
    };

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.mkv");
    let mut sink = MatroskaSink::new(File::create(&path).unwrap());
    sink.accept(STREAM, Item::Setup(setup(&[&video, &audio]).into()))
        .unwrap();
    for start in [START, again] {
        let tracks = vec![video.frames(0, start), audio.frames(1, start)];
        for frame in interleave(tracks) {
            sink.accept(STREAM, Item::Frame(frame)).unwrap();
        }
        sink.accept(STREAM, Item::Gap(gap)).unwrap();
    }
    let (_, summary) = sink.finish().unwrap();

    assert_eq!(summary.end.us_since(summary.start), 14_000_000);
    let probe = Probe::of(&path);
    assert_eq!(probe.format["duration"], "14.000000");
    for track in [0, 1] {
        let packets = probe.of_stream(track);
        let steps = packets
            .windows(2)
            .map(|pair| pair[1].time_us - pair[0].time_us);
        let last_us = if track == 0 { 40_000 } else { 20_000 };
        assert_eq!(steps.max(), Some(10_000_000 + last_us));
    }
    check_mkvmerge(&path);
    check_decode(&path);
}

/// The stretch that someone asked for begins in the middle of a group of pictures, and sound
/// arrives before the first picture that can be shown.
#[test]
fn the_file_begins_at_the_first_key_frame() {
    if !have_tools("the_file_begins_at_the_first_key_frame") {
        return;
    }
    let video = Clip::load(Codec::H264, "h264_240p25.h264");
    let audio = Clip::g711(Codec::PcmMulaw, "g711u_8k.ul");
    let mut pictures = video.repeated(0, START, 2_000_000, 3);
    pictures.drain(..5);
    let key_time = START.plus_us(1_000_000);
    let sound = audio.repeated(1, START, 2_000_000, 3);
    let frames = interleave(vec![pictures, sound]);
    let export = Export::of(&[&video, &audio], frames.clone());

    let is_kept = |frame: &&Frame| frame.time >= key_time;
    let kept: Vec<Frame> = frames.iter().filter(is_kept).cloned().collect();
    export.check_frames(&kept);
    assert_eq!(export.summary.skipped_count, 20 + 50);
    assert_eq!(export.summary.start.0, 1_795_000_001_123_000);
}

/// Decoding begins at the second group of pictures, a CRA. The pictures between it and the group
/// before cannot be decoded, and would show garbage.
#[test]
fn leading_pictures_behind_the_first_cra_are_left_out() {
    if !have_tools("leading_pictures_behind_the_first_cra_are_left_out") {
        return;
    }
    let video = Clip::load(Codec::H265, "h265_180p25_opengop_cra.mp4");
    let frames = video.frames(0, START);
    let second_key = frames.iter().skip(1).position(|frame| frame.key).unwrap() + 1;
    let frames: Vec<Frame> = frames[second_key..].to_vec();
    let third_key = frames.iter().skip(1).position(|frame| frame.key).unwrap() + 1;
    assert!(frames[1].leading, "the clip has open groups");

    let export = Export::of(&[&video], frames.clone());
    let is_kept = |&(n, frame): &(usize, &Frame)| n >= third_key || !frame.leading;
    let kept = frames
        .iter()
        .enumerate()
        .filter(is_kept)
        .map(|(_, frame)| frame.clone());
    let kept: Vec<Frame> = kept.collect();
    assert!(kept.iter().any(|frame| frame.leading), "later ones stay");
    export.check_frames(&kept);
}

/// Twenty seconds, of which the first 60 % of the bytes survive.
#[test]
fn a_file_that_was_cut_off_can_be_read_up_to_there() {
    if !have_tools("a_file_that_was_cut_off_can_be_read_up_to_there") {
        return;
    }
    let video = Clip::load(Codec::H264, "h264_240p25.h264");
    let frames = video.repeated(0, START, 2_000_000, 10);
    let export = Export::of(&[&video], frames.clone());
    export.check();

    let mut bytes = std::fs::read(export.path()).unwrap();
    bytes.truncate(bytes.len() * 6 / 10);
    let path = export.dir.path().join("cut.mkv");
    std::fs::write(&path, &bytes).unwrap();
    let found = Probe::of(&path).of_stream(0);
    assert!(found.len() >= frames.len() / 2, "{} frames", found.len());
    for (packet, frame) in found.iter().zip(&frames).take(found.len() - 1) {
        assert!(packet.payload == frame.payload);
    }
}

/// The recorder lost its power: the file was never finished.
#[test]
fn a_file_that_was_not_finished_can_be_read() {
    if !have_tools("a_file_that_was_not_finished_can_be_read") {
        return;
    }
    let video = Clip::load(Codec::H264, "h264_240p25.h264");
    let frames = video.repeated(0, START, 2_000_000, 10);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.mkv");
    let mut sink = MatroskaSink::new(File::create(&path).unwrap());
    sink.accept(STREAM, Item::Setup(setup(&[&video]).into()))
        .unwrap();
    for frame in &frames {
        sink.accept(STREAM, Item::Frame(frame.clone())).unwrap();
    }
    drop(sink);

    let probe = Probe::of(&path);
    assert_eq!(probe.complaints, "");
    // All but the last second, which was not yet written.
    assert_eq!(probe.packets.len(), 475);
    for (packet, frame) in probe.packets.iter().zip(&frames) {
        assert!(packet.payload == frame.payload);
    }
    check_mkvmerge(&path);
    check_decode(&path);
}

#[test]
fn players_can_seek_to_every_key_frame() {
    if !have_tools("players_can_seek_to_every_key_frame") {
        return;
    }
    let video = Clip::load(Codec::H264, "h264_240p25.h264");
    let export = Export::of(&[&video], video.repeated(0, START, 2_000_000, 10));
    let path = export.path();
    for second in 1..20 {
        let interval = format!("{second}.5%+#1");
        let args = [
            "-v",
            "warning",
            "-of",
            "csv=p=0",
            "-show_entries",
            "packet=pts_time,flags",
        ];
        let target = ["-read_intervals", &interval, path.to_str().unwrap()];
        let (line, words) = run("ffprobe", &[&args[..], &target[..]].concat());
        assert_eq!(words, "");
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.trim(), format!("{second}.000000,K_"));
    }
}

/// The index has an entry for each key frame, by the words of another program.
#[test]
fn every_key_frame_is_in_the_index() {
    if !have_tools("every_key_frame_is_in_the_index") {
        return;
    }
    let video = Clip::load(Codec::H264, "h264_240p25.h264");
    let export = Export::of(&[&video], video.repeated(0, START, 2_000_000, 10));
    let (lines, _) = run("mkvinfo", &["-a", export.path().to_str().unwrap()]);
    let lines = String::from_utf8(lines).unwrap();
    let times: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split("Cue time: ").nth(1))
        .collect();
    let expected: Vec<String> = (0..20).map(|s| format!("00:00:{s:02}.000000000")).collect();
    assert_eq!(times, expected);
}

#[test]
fn the_file_says_when_it_was_recorded_and_how_long_it_is() {
    if !have_tools("the_file_says_when_it_was_recorded_and_how_long_it_is") {
        return;
    }
    let video = Clip::load(Codec::H264, "h264_240p25.h264");
    let export = Export::of(&[&video], video.frames(0, START));
    let format = Probe::of(&export.path()).format;
    // 1795000000.123 in another program's words: date -u -d @1795000000
    assert_eq!(
        format["tags"]["creation_time"],
        "2026-11-18T11:06:40.123000Z"
    );
    assert_eq!(format["tags"]["title"], "Yard");
    assert_eq!(format["duration"], "2.000000");
    let json = mkvmerge(&export.path());
    assert_eq!(
        json["container"]["properties"]["date_utc"],
        "2026-11-18T11:06:40Z"
    );
    assert_eq!(
        json["container"]["properties"]["duration"],
        2_000_000_000_u64
    );
}
