//! Cameras that go away and come back, or change what they send.

use std::time::Duration;

use camring::base::time::{Clock, SystemClock, TimeRange};
use camring::frame::{GapCause, StreamId};
use camring::ingest::rtsp::{CameraReport, Options, RtspCamera};
use camring::volume::{Stretch, Volume};

use crate::bench::{Recorded, Recording};
use crate::can_run;
use crate::compare::{Comparison, TOLERANCE_US};
use crate::eight::from_first_key;
use crate::export::{Pace, export};
use crate::rtsp_server::{Server, Unit};
use crate::stored::{Stored, StoredFrame};

/// Stretches of a timeline that are closer than this are shown as one.
const APART_US: i64 = 2_000_000;
/// Blocks of the volumes of these tests: more than they fill.
const BLOCK_COUNT: u64 = 32;

fn camera(stream: u64, server: &Server, kind: &str) -> RtspCamera {
    let url = server.url(&format!("{kind}/0"));
    RtspCamera::new(StreamId(stream), kind, &url).unwrap()
}

/// Compares each track with its log; all must be there.
fn check(what: &str, frames: &[StoredFrame], log: &[Vec<Unit>], is_complete: bool) {
    for (track, units) in (0u8..).zip(log).filter(|(_, units)| !units.is_empty()) {
        let frames: Vec<StoredFrame> = of_track(frames, track);
        let comparison = Comparison::of(&frames, units, is_complete);
        eprintln!("{what}, track {track}: {comparison}");
        assert!(comparison.sent_count > 0, "{what}, track {track}");
        assert_eq!(comparison.fault_count(), 0, "{what}, track {track}");
        assert!(
            comparison.max_step_us <= TOLERANCE_US,
            "{what}, track {track}"
        );
    }
}

fn of_track(frames: &[StoredFrame], track: u8) -> Vec<StoredFrame> {
    let frames = frames.iter().filter(|frame| frame.track == track);
    frames.cloned().collect()
}

fn times(frames: &[StoredFrame]) -> TimeRange {
    let times = || frames.iter().map(|frame| frame.time);
    TimeRange {
        start: times().min().unwrap(),
        end: times().max().unwrap(),
    }
}

/// A recording in which the first of two cameras was killed, and what the servers sent.
struct WithKill {
    recorded: Recorded,
    /// The volume as the recorder's own process has it.
    live: Volume,
    /// Of the camera that was killed, before and after.
    logs: [Vec<Vec<Unit>>; 2],
    other_log: Vec<Vec<Unit>>,
}

fn record_with_kill() -> WithKill {
    let mut killed = Server::start(&[]);
    let mut other = Server::start(&[]);
    let options = Options {
        connect_timeout: Duration::from_secs(3),
        retry_min: Duration::from_millis(50),
        retry_max: Duration::from_millis(200),
        ..Options::default()
    };
    let cameras = vec![camera(1, &killed, "h264s+pcma"), camera(2, &other, "h264s")];
    let recording = Recording::start(BLOCK_COUNT, options, cameras);
    recording.wait_for_seconds(3);
    killed.kill();
    recording.wait("the loss of the camera", |cameras| {
        cameras[0].failure_count > 0
    });
    let before = recording.reports();
    recording.wait("a stretch of nothing", |cameras| {
        silent_us(&cameras[0]) > APART_US
    });
    let mut again = Server::start_at(killed.port, &[]);
    recording.wait("the camera again", |cameras| {
        cameras[0].frame_count > before[0].frame_count
    });
    recording.wait_for_seconds(3);
    other.rest();
    again.rest();
    let logs = [
        killed.handed_out("/h264s+pcma/0"),
        again.handed_out("/h264s+pcma/0"),
    ];
    let other_log = other.handed_out("/h264s/0");
    let (again_count, other_count) = (unit_count(&logs[1]), unit_count(&other_log));
    recording.wait("the last units", |cameras| {
        cameras[0].frame_count >= before[0].frame_count + again_count
            && cameras[1].frame_count >= other_count
    });
    let live = recording.volume().clone();
    WithKill {
        recorded: recording.finish(),
        live,
        logs,
        other_log,
    }
}

/// The process that serves the camera is killed, and started again seconds later. What it sent
/// before and after is all there, and the timeline says from when until when there was nothing.
/// A camera on another server is not concerned.
#[test]
fn a_camera_that_was_killed_leaves_a_gap_in_the_timeline_and_goes_on() {
    if !can_run("a_camera_that_was_killed_leaves_a_gap_in_the_timeline_and_goes_on") {
        return;
    }
    let WithKill {
        recorded,
        live,
        logs,
        other_log,
    } = record_with_kill();
    let reopened = Volume::open(recorded.dir.path()).unwrap();

    let all = Stored::read_all(&reopened);
    check("the other camera", &all[&2].frames, &other_log, true);
    assert!(all[&2].gaps.is_empty());
    let stored = &all[&1];
    let [(opened_at, opening), (closed_at, closing)] = stored.gaps[..] else {
        panic!("one gap should be told twice: {:?}", stored.gaps);
    };
    assert_eq!(opened_at, closed_at, "a frame between the two");
    let (first, second) = stored.frames.split_at(opened_at);
    check_first_session(first, &logs[0]);
    check("the session after the kill", second, &logs[1], true);
    let span = TimeRange {
        start: times(first).end,
        end: second[0].time,
    };
    assert!(span.end.us_since(span.start) > APART_US);
    assert_eq!((opening.start, opening.end), (span.start, None));
    assert_eq!((closing.start, closing.end), (span.start, Some(span.end)));
    for volume in [&live, &reopened] {
        let stretches = volume.timeline(StreamId(1), TimeRange::ALL);
        assert_eq!(stretches, expected(times(first), span, times(second)));
        let stretches = volume.timeline(StreamId(2), TimeRange::ALL);
        assert_eq!(stretches.len(), 1, "{stretches:?}");
    }

    let exports = export(&reopened, 1, recorded.dir.path());
    assert_eq!(exports.len(), 1, "the gap is time in the one file");
    exports[0].check(&from_first_key(&stored.frames), Pace::Even);
}

/// For how long the camera has sent nothing, by the clock of this machine.
fn silent_us(camera: &CameraReport) -> i64 {
    let last_us = camera.last_frame_us.unwrap_or(i64::MAX);
    SystemClock.now().utc_us.saturating_sub(last_us)
}

fn unit_count(log: &[Vec<Unit>]) -> u64 {
    log.iter().map(|units| units.len() as u64).sum()
}

/// A server that is killed may have sent a unit or two that it had no time to log.
fn check_first_session(frames: &[StoredFrame], log: &[Vec<Unit>]) {
    let mut logged = Vec::new();
    for (track, units) in (0u8..).zip(log) {
        let mut frames = of_track(frames, track);
        assert!(frames.len() <= units.len() + 2, "track {track}");
        frames.truncate(units.len());
        logged.extend(frames);
    }
    check("the session before the kill", &logged, log, false);
}

fn expected(first: TimeRange, gap: TimeRange, second: TimeRange) -> [Stretch; 3] {
    let stretch = |range, gap| Stretch {
        range,
        gap,
        is_open: false,
    };
    [
        stretch(first, None),
        stretch(gap, Some(GapCause::NoSignal)),
        stretch(second, None),
    ]
}

/// The camera switches between two resolutions every two seconds. Matroska tells the parameters of
/// a track once in a file.
#[test]
fn parameters_that_change_come_back_before_their_frame_and_begin_a_new_file() {
    if !can_run("parameters_that_change_come_back_before_their_frame_and_begin_a_new_file") {
        return;
    }
    let mut server = Server::start(&[]);
    let cameras = vec![camera(1, &server, "h264switch")];
    let recording = Recording::start(BLOCK_COUNT, Options::default(), cameras);
    recording.wait_for_seconds(6);
    server.rest();
    let log = server.handed_out("/h264switch/0");
    recording.wait("the last units", |cameras| {
        cameras[0].frame_count >= unit_count(&log)
    });
    let recorded = recording.finish();
    let volume = Volume::open(recorded.dir.path()).unwrap();

    let stored = &Stored::read_all(&volume)[&1];
    check("h264switch", &stored.frames, &log, true);
    let widths = stored
        .setups
        .iter()
        .map(|(_, setup)| setup.tracks[0].width_px);
    let widths: Vec<u16> = widths.collect();
    assert!(widths.starts_with(&[320, 1280, 320]), "{widths:?}");

    let exports = export(&volume, 1, recorded.dir.path());
    assert_eq!(
        exports.len(),
        stored.setups.len(),
        "one file for each setup"
    );
    let starts = stored.setups.iter().map(|(before, _)| *before);
    let ends = starts.clone().skip(1).chain([stored.frames.len()]);
    for ((export, start), end) in exports.iter().zip(starts).zip(ends) {
        let frames = &stored.frames[start..end];
        assert!(frames[0].key, "a setup comes right before a key frame");
        export.check(frames, Pace::Even);
    }
}
