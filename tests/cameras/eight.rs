//! Eight cameras of all kinds at once, recorded, read back and exported.
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::path::Path;
use std::time::Duration;

use camring::frame::StreamId;
use camring::ingest::rtsp::{Credentials, Options, RtspCamera};
use camring::volume::Volume;

use crate::bench::{Recorded, Recording};
use crate::compare::Comparison;
use crate::export::{Pace, export};
use crate::rtsp_server::{Server, Unit};
use crate::stored::{Stored, StoredFrame};

/// One camera.
struct Camera {
    kind: &'static str,
    pace: Pace,
    has_login: bool,
}

const CAMERAS: [Camera; 8] = [
    open("h264_2M"),
    open("h264_4M"),
    open("h264b"),
    open("h265"),
    open("mjpeg"),
    open("h265cra+aac"),
    open("h264s+pcmu"),
    // This one asks for a login by digest.
    Camera {
        kind: "h264vfr+pcma",
        pace: Pace::Varied,
        has_login: true,
    },
];

const fn open(kind: &'static str) -> Camera {
    Camera {
        kind,
        pace: Pace::Even,
        has_login: false,
    }
}

const LOGIN: [&str; 6] = [
    "--user",
    "admin",
    "--password",
    "correct-horse",
    "--auth",
    "digest",
];
/// How long the last units that were sent may take to arrive; less than the cameras' read timeout.
const LAST_UNITS: Duration = Duration::from_secs(5);

/// What became of the tracks of all cameras.
pub(crate) struct Outcome {
    pub(crate) tracks: Vec<Track>,
    pub(crate) shed_count: u64,
    /// Gaps in what was read back of all cameras.
    pub(crate) gap_count: usize,
}

impl Outcome {
    /// Units that were sent, of all cameras.
    pub(crate) fn sent_count(&self) -> usize {
        self.tracks.iter().map(|t| t.comparison.sent_count).sum()
    }

    /// Units that are missing, and frames that are not as they were sent.
    pub(crate) fn fault_count(&self) -> usize {
        self.tracks.iter().map(|t| t.comparison.fault_count()).sum()
    }

    /// By how much times differ from the server's, at most, in microseconds: of pictures those of
    /// any two, of sound those that follow each other. Sound is put beside the pictures, little by
    /// little, when the first sender reports tell its place.
    pub(crate) fn max_time_error_us(&self) -> i64 {
        let error_us = |track: &Track| {
            let comparison = &track.comparison;
            if track.is_video {
                comparison.max_error_us
            } else {
                comparison.max_step_us
            }
        };
        self.tracks.iter().map(error_us).max().unwrap_or(0)
    }

    /// How far sound is from its place beside the pictures, at most, in microseconds.
    pub(crate) fn max_apart_us(&self) -> i64 {
        let apart_us = self.tracks.iter().map(|track| track.apart_us.abs());
        apart_us.max().unwrap_or(0)
    }

    /// Prints a line for each track.
    pub(crate) fn print(&self) {
        for track in &self.tracks {
            let apart_us = track.apart_us;
            eprintln!("{}: {}, {apart_us} us apart", track.name, track.comparison);
        }
    }
}

/// What became of one track of one camera.
pub(crate) struct Track {
    /// The camera and the codec.
    pub(crate) name: String,
    pub(crate) is_video: bool,
    pub(crate) comparison: Comparison,
    /// How far the track is from its place beside track 0, in microseconds.
    pub(crate) apart_us: i64,
}

/// For how long the eight cameras are recorded: `CAMRING_CAMERA_SECONDS`, or else `usual`.
pub(crate) fn seconds(usual: u64) -> u64 {
    let given = std::env::var("CAMRING_CAMERA_SECONDS").ok();
    given.map_or(usual, |seconds| seconds.parse().unwrap())
}

/// Records the eight cameras for `seconds`, checks the export of each, and compares what is stored
/// with what the servers' logs say.
pub(crate) fn record(seconds: u64) -> Outcome {
    let mut server = Server::start(&[]);
    let mut guarded = Server::start(&LOGIN);
    let cameras = (1..).zip(&CAMERAS).map(|(stream, camera)| {
        let server = if camera.has_login { &guarded } else { &server };
        camera.of(stream, server)
    });
    let options = Options::default();
    let recording = Recording::start(32 + 2 * seconds, options, cameras.collect());
    recording.wait_for_seconds(seconds);
    // The cameras fall silent, so that each unit of the log has the time to arrive: nothing is
    // "still on the way" when the recording is stopped.
    server.rest();
    guarded.rest();
    let logs: Vec<_> = CAMERAS
        .iter()
        .map(|camera| {
            let server = if camera.has_login { &guarded } else { &server };
            server.handed_out(&format!("/{}/0", camera.kind))
        })
        .collect();
    let sent_counts: Vec<u64> = logs
        .iter()
        .map(|tracks| tracks.iter().map(|units| units.len() as u64).sum())
        .collect();
    // Whether it has come to that shows below, unit by unit.
    recording.wait_at_most(LAST_UNITS, |reports| {
        let mut pairs = reports.iter().zip(&sent_counts);
        pairs.all(|(report, sent_count)| report.frame_count >= *sent_count)
    });
    let recorded = recording.finish();
    for report in &recorded.reports {
        let losses = (
            report.lost_packet_count,
            report.failure_count,
            report.refused_count,
        );
        assert_eq!(losses, (0, 0, 0), "{report:#?}");
    }
    look_at(&recorded, &logs)
}

impl Camera {
    fn of(&self, stream: u64, server: &Server) -> RtspCamera {
        let url = server.url(&format!("{}/0", self.kind));
        let camera = RtspCamera::new(StreamId(stream), self.kind, &url).unwrap();
        if self.has_login {
            return camera.with_credentials(Credentials::new(LOGIN[1], LOGIN[3]));
        }
        camera
    }
}

/// Opens the volume as a program does that did not record it.
fn look_at(recorded: &Recorded, logs: &[Vec<Vec<Unit>>]) -> Outcome {
    let volume = Volume::open(recorded.dir.path()).unwrap();
    let mut outcome = Outcome {
        tracks: Vec::new(),
        shed_count: recorded.shed_count,
        gap_count: 0,
    };
    let all = Stored::read_all(&volume);
    for ((stream, camera), log) in (1..).zip(&CAMERAS).zip(logs) {
        let stored = &all[&stream];
        assert_eq!(stored.setups.len(), 1, "setups of {}", camera.kind);
        outcome.gap_count += stored.gaps.len();
        check_export(&volume, stream, recorded.dir.path(), stored, camera.pace);
        let mut lead_ahead_us = None;
        for (number, units) in (0u8..).zip(log).filter(|(_, units)| !units.is_empty()) {
            let frames = stored.track(number);
            let comparison = Comparison::of(&frames, units, true);
            let codec = stored.setups[0].1.tracks[usize::from(number)].codec;
            let lead_ahead_us = *lead_ahead_us.get_or_insert(comparison.ahead_us);
            outcome.tracks.push(Track {
                name: format!("{}, {codec}", camera.kind),
                is_video: codec.is_video(),
                apart_us: comparison.ahead_us - lead_ahead_us,
                comparison,
            });
        }
    }
    outcome
}

fn check_export(volume: &Volume, stream: u64, dir: &Path, stored: &Stored, pace: Pace) {
    let exports = export(volume, stream, dir);
    let [export] = &exports[..] else {
        panic!("{} files of stream {stream}", exports.len());
    };
    export.check(&from_first_key(&stored.frames), pace);
}

/// What belongs into a file: all from the first key frame of track 0 on, but no earlier sound.
pub(crate) fn from_first_key(frames: &[StoredFrame]) -> Vec<StoredFrame> {
    let is_start = |frame: &StoredFrame| frame.track == 0 && frame.key;
    let first = frames.iter().position(is_start).expect("no key frame");
    let start = frames[first].time;
    let kept = frames[first..].iter();
    kept.filter(|frame| frame.track == 0 || frame.time >= start)
        .cloned()
        .collect()
}
