//! Real cameras to disk and back: the project's RTSP server sends, a volume records, and what comes
//! out of the volume and of its exports is compared with the server's own log, unit by unit. Other
//! programs look at the exported files.
//!
//! `CAMRING_CAMERA_SECONDS` sets for how long the eight cameras are recorded; 10 if it is not set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and a skipped test says so"
)]

#[path = "cameras/bench.rs"]
mod bench;
#[path = "cameras/compare.rs"]
mod compare;
#[path = "cameras/eight.rs"]
mod eight;
#[path = "cameras/export.rs"]
mod export;
#[path = "cameras/stored.rs"]
mod stored;
#[path = "cameras/trouble.rs"]
mod trouble;

#[path = "support/camera.rs"]
mod camera;
#[path = "support/recording.rs"]
mod recording;
#[path = "support/rtsp_server.rs"]
mod rtsp_server;
#[path = "support/skip.rs"]
mod skip;

fn can_run(test: &str) -> bool {
    rtsp_server::can_serve(test) && export::can_look(test)
}

/// For how long the eight cameras are recorded.
fn seconds() -> u64 {
    let given = std::env::var("CAMRING_CAMERA_SECONDS").ok();
    given.map_or(10, |seconds| seconds.parse().unwrap())
}

#[test]
fn every_unit_of_eight_cameras_is_on_disk_once_and_in_the_export_once() {
    if !can_run("every_unit_of_eight_cameras_is_on_disk_once_and_in_the_export_once") {
        return;
    }
    let outcome = eight::record(seconds());
    for track in &outcome.tracks {
        let apart_us = track.apart_us;
        eprintln!("{}: {}, {apart_us} us apart", track.name, track.comparison);
    }
    for track in &outcome.tracks {
        let comparison = &track.comparison;
        assert_eq!(comparison.fault_count(), 0, "{}: {comparison}", track.name);
        assert!(comparison.sent_count > 0, "{}", track.name);
        // Sound is put beside the pictures once, when the first sender reports tell its place.
        let allowed = if track.is_video { 0 } else { 1 };
        assert!(
            comparison.time_step_count <= allowed,
            "{}: {comparison}",
            track.name
        );
        assert!(
            track.apart_us.abs() <= 1_000,
            "{} is {} us from its place",
            track.name,
            track.apart_us
        );
    }
    assert_eq!(outcome.tracks.len(), 11);
    assert_eq!((outcome.shed_count, outcome.gap_count), (0, 0));
}
