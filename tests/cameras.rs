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

use compare::TOLERANCE_US;

fn can_run(test: &str) -> bool {
    rtsp_server::can_serve(test) && export::can_look(test)
}

#[test]
fn every_unit_of_eight_cameras_is_on_disk_once_and_in_the_export_once() {
    if !can_run("every_unit_of_eight_cameras_is_on_disk_once_and_in_the_export_once") {
        return;
    }
    let outcome = eight::record(eight::seconds(10));
    outcome.print();
    assert_eq!(outcome.tracks.len(), 11);
    assert!(outcome.tracks.iter().all(|t| t.comparison.sent_count > 0));
    assert_eq!(outcome.fault_count(), 0);
    assert_eq!((outcome.shed_count, outcome.gap_count), (0, 0));
    assert!(outcome.max_time_error_us() <= TOLERANCE_US);
    assert!(outcome.max_apart_us() <= TOLERANCE_US);
}
