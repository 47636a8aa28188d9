//! Cameras on the loopback address are recorded, and what arrives is compared with the log of the
//! server that sent it.

#![cfg(feature = "rtsp")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and a skipped test says so"
)]

#[path = "rtsp_loopback/actor.rs"]
mod actor;
#[path = "rtsp_loopback/bench.rs"]
mod bench;
#[path = "support/rtsp_server.rs"]
mod rtsp_server;
#[path = "support/skip.rs"]
mod skip;

use std::time::Duration;

use actor::{Actor, Manner};
use bench::{Taken, frame_count, impatient, recorder, runtime};
use camring::frame::{Codec, Frame, Gap, GapCause, Item, StreamId, StreamSetup};
use camring::ingest::rtsp::{CameraState, Credentials, Options, RtspCamera, Transport};

use rtsp_server::{Server, Unit, can_serve, parts};
use rustix::process::Signal;

fn camera(stream: u64, url: &str) -> RtspCamera {
    RtspCamera::new(StreamId(stream), format!("camera {stream}"), url).unwrap()
}

/// Checks that `frames` are what the server handed out, from some point on: each once, in order,
/// with their bytes, key flags, and distances in time.
fn compare(what: &str, codec: Codec, rate_hz: u32, frames: &[Frame], units: &[Unit]) {
    let arrived: Vec<Vec<u32>> = frames.iter().map(|f| parts(codec, &f.payload)).collect();
    let matches_at = |at: &usize| {
        let sent = &units[*at..];
        sent.len() >= arrived.len() && arrived.iter().zip(sent).all(|(a, unit)| *a == unit.parts)
    };
    let start = (0..units.len()).find(matches_at);
    let Some(start) = start else {
        let first = arrived
            .iter()
            .zip(units)
            .position(|(a, unit)| *a != unit.parts);
        panic!(
            "{what}: {} frames, {} in the log, differ at {first:?}",
            frames.len(),
            units.len()
        );
    };
    let sent = &units[start..];
    for (number, (frame, unit)) in frames.iter().zip(sent).enumerate() {
        let sent_us = (unit.pts_ns - sent[0].pts_ns) / 1_000;
        let time_us = frame.time.us_since(frames[0].time);
        let clock_us = (frame.clock - frames[0].clock) * 1_000_000 / i64::from(rate_hz);
        assert_eq!(frame.key, unit.key, "{what}: key flag of frame {number}");
        assert!(
            (clock_us - sent_us).abs() <= 1_000,
            "{what}: {clock_us} {sent_us} {number}"
        );
        if codec.is_video() {
            assert!(
                (time_us - sent_us).abs() <= 1_000,
                "{what}: {time_us} {sent_us} {number}"
            );
        }
    }
    eprintln!(
        "{what}: {} frames equal, from unit {start} of the log on",
        frames.len()
    );
}

fn first_setup(items: &[Item]) -> &StreamSetup {
    match items.first() {
        Some(Item::Setup(setup)) => setup,
        other => panic!("a setup should come first, not {other:?}"),
    }
}

/// The items without the gap at the very start of cameras that are described by their first picture:
/// sound that comes before it cannot be kept.
fn without_first_silence(kind: &str, mut items: Vec<Item>) -> Vec<Item> {
    let is_silence = |item: &&Item| match item {
        Item::Setup(setup) => setup.tracks.is_empty(),
        Item::Gap(gap) => gap.cause == GapCause::NoSignal,
        _ => false,
    };
    let count = items.iter().take_while(is_silence).count();
    let has_late_sound = kind == "mjpeg+pcmu" && count == 3;
    if has_late_sound {
        items.drain(..3);
    }
    items
}

#[test]
fn every_access_unit_of_every_kind_of_camera_arrives_once_and_unchanged() {
    if !can_serve("every_access_unit_of_every_kind_of_camera_arrives_once_and_unchanged") {
        return;
    }
    let kinds = [
        ("h264_2M", Transport::Tcp, 80),
        ("h264_4M", Transport::Tcp, 80),
        ("h264s+aac", Transport::Tcp, 80),
        ("h264b+pcmu", Transport::Tcp, 80),
        ("h264vfr+pcma", Transport::Tcp, 80),
        ("h264switch", Transport::Tcp, 120),
        ("h264wrap", Transport::Tcp, 80),
        ("h265", Transport::Tcp, 80),
        ("h265cra+aac", Transport::Tcp, 80),
        ("mjpeg", Transport::Tcp, 30),
        ("mjpeg+pcmu", Transport::Tcp, 30),
        ("h264s+pcma", Transport::Udp, 80),
        ("h265cra", Transport::Udp, 80),
    ];
    let server = Server::start(&[]);
    let runtime = runtime();
    let (mut recorder, collector) = recorder(&runtime, Options::default());
    for (stream, (kind, transport, _)) in (1..).zip(kinds) {
        let camera = camera(stream, &server.url(&format!("{kind}/0")));
        recorder.add(camera.with_transport(transport)).unwrap();
    }
    collector.wait("frames of all kinds", |items| {
        let mut wanted = (1..).zip(kinds);
        wanted.all(|(stream, (_, _, count))| frame_count(items, stream, 0) >= count)
    });
    for report in recorder.reports() {
        assert_eq!(report.state, CameraState::Recording);
        assert_eq!(
            (report.lost_packet_count, report.failure_count),
            (0, 0),
            "{report:?}"
        );
    }
    runtime.block_on(recorder.stop());
    for (stream, (kind, transport, _)) in (1..).zip(kinds) {
        let items = without_first_silence(kind, collector.items(stream));
        let setup = first_setup(&items);
        let handed_out = server.handed_out(&format!("/{kind}/0"));
        assert_eq!(setup.tracks.len(), if kind.contains('+') { 2 } else { 1 });
        for (number, track) in (0u8..).zip(&setup.tracks) {
            let what = format!("{kind} over {transport:?}, {}", track.codec);
            let frames = collector.frames(stream, number);
            let units = &handed_out[usize::from(number)];
            compare(&what, track.codec, track.clock_rate_hz, &frames, units);
        }
        let is_gap = |item: &Item| matches!(item, Item::Gap(_));
        assert!(!items.iter().any(is_gap), "{kind} has a gap");
    }
    check_kinds(&collector);
}

/// What is special about some kinds.
fn check_kinds(collector: &bench::Collector) {
    let sizes = collector
        .items(6)
        .into_iter()
        .filter_map(|item| match item {
            Item::Setup(setup) => Some(setup.tracks[0].width_px),
            _ => None,
        });
    let sizes: Vec<u16> = sizes.collect();
    assert!(
        sizes.starts_with(&[320, 1280, 320]),
        "h264switch: {sizes:?}"
    );
    let items = collector.items(6);
    for pair in items.windows(2) {
        if let [Item::Setup(_), after] = pair {
            assert!(
                matches!(after, Item::Frame(f) if f.key),
                "a setup comes right before a key frame"
            );
        }
    }

    let goes_back = |frames: &[Frame]| frames.windows(2).any(|w| w[1].time < w[0].time);
    assert!(goes_back(&collector.frames(4, 0)), "h264b has B-frames");
    assert!(
        !goes_back(&collector.frames(7, 0)),
        "h264wrap: the wrap does not show"
    );
    assert!(collector.frames(7, 0).iter().any(|f| f.clock >= 1 << 32));

    // In the clip of 81 pictures the first is IDR and two are CRA, each followed by RASL pictures.
    let cra = collector.frames(9, 0);
    let keys: Vec<usize> = (0..cra.len()).filter(|i| cra[*i].key).collect();
    assert!(keys.starts_with(&[0, 25, 52]), "{keys:?}");
    let leading: Vec<usize> = (0..cra.len()).filter(|i| cra[*i].leading).collect();
    assert!(!leading.is_empty());
    for at in leading {
        let key = keys.iter().rev().find(|key| **key < at).unwrap();
        assert!(
            cra[at].time < cra[*key].time,
            "a leading picture is shown before its CRA"
        );
    }
}

#[test]
fn sound_keeps_its_place_beside_the_pictures() {
    if !can_serve("sound_keeps_its_place_beside_the_pictures") {
        return;
    }
    let server = Server::start(&[]);
    let runtime = runtime();
    let (mut recorder, collector) = recorder(&runtime, Options::default());
    recorder.add(camera(1, &server.url("h264s+aac/0"))).unwrap();
    // Sender reports come after a few seconds.
    let count = 8 * 25;
    collector.wait("8 s of pictures", |items| frame_count(items, 1, 0) >= count);
    runtime.block_on(recorder.stop());
    let handed_out = server.handed_out("/h264s+aac/0");
    let (pictures, sound) = (collector.frames(1, 0), collector.frames(1, 1));
    let offset_us = |frames: &[Frame], units: &[Unit]| {
        let codec = if frames[0].track == 0 {
            Codec::H264
        } else {
            Codec::Aac
        };
        let first = parts(codec, &frames[0].payload);
        let start = units.iter().position(|unit| unit.parts == first).unwrap();
        let last = frames.len() - 1;
        frames[last].time.0 - units[start + last].pts_ns / 1_000
    };
    let apart_us = offset_us(&pictures, &handed_out[0]) - offset_us(&sound, &handed_out[1]);
    eprintln!("pictures and sound are {apart_us} us apart from where they should be");
    assert!(apart_us.abs() <= 2_000, "{apart_us} us");
}

#[test]
fn a_login_works_by_digest_and_basic_and_a_wrong_password_is_a_clear_error() {
    if !can_serve("a_login_works_by_digest_and_basic_and_a_wrong_password_is_a_clear_error") {
        return;
    }
    for scheme in ["digest", "basic"] {
        let login = [
            "--user",
            "admin",
            "--password",
            "correct-horse",
            "--auth",
            scheme,
        ];
        let server = Server::start(&login);
        let runtime = runtime();
        let (mut recorder, collector) = recorder(&runtime, Options::default());
        let url = server.url("h264s/0");
        let right = Credentials::new("admin", "correct-horse");
        let wrong = Credentials::new("admin", "battery-staple");
        recorder
            .add(camera(1, &url).with_credentials(right))
            .unwrap();
        recorder
            .add(camera(2, &url).with_credentials(wrong))
            .unwrap();
        recorder.add(camera(3, &url)).unwrap();
        let is_gap = |taken: &Taken| matches!(taken.item, Item::Gap(_));
        collector.wait("a picture and two refusals", |items| {
            let refused = |stream| items.iter().any(|t| t.stream.0 == stream && is_gap(t));
            frame_count(items, 1, 0) > 0 && refused(2) && refused(3)
        });
        let reports = recorder.reports();
        let error = |stream: usize| reports[stream - 1].last_error.clone();
        assert_eq!(error(1), None, "{scheme}");
        assert_eq!(
            error(2).unwrap(),
            "the camera refuses the user name or the password"
        );
        assert_eq!(
            error(3).unwrap(),
            "the camera asks for a user name and a password"
        );
        let printed = format!("{recorder:?} {}", serde_json::to_string(&reports).unwrap());
        for secret in ["correct-horse", "battery-staple"] {
            assert!(!printed.contains(secret), "{printed}");
        }
        runtime.block_on(recorder.stop());
    }
}

/// The gaps of a stream.
fn gaps(items: &[Taken], stream: u64) -> Vec<(Gap, std::time::Instant)> {
    let gaps = items.iter().filter_map(|taken| match taken.item {
        Item::Gap(gap) if taken.stream.0 == stream => Some((gap, taken.at)),
        _ => None,
    });
    gaps.collect()
}

#[test]
fn a_server_that_dies_leaves_a_gap_that_ends_when_it_is_back() {
    if !can_serve("a_server_that_dies_leaves_a_gap_that_ends_when_it_is_back") {
        return;
    }
    for transport in [Transport::Tcp, Transport::Udp] {
        let server = Server::start(&[]);
        let port = server.port;
        let runtime = runtime();
        let (mut recorder, collector) = recorder(&runtime, impatient());
        let camera = camera(1, &server.url("h264s/0")).with_transport(transport);
        let status = recorder.add(camera).unwrap();
        collector.wait("pictures", |items| frame_count(items, 1, 0) >= 10);
        server.signal(Signal::KILL);
        drop(server);
        let items = collector.wait("a gap", |items| !gaps(items, 1).is_empty());
        let last = collector.frames(1, 0).last().unwrap().time;
        let (gap, _) = gaps(&items, 1)[0];
        assert_eq!(
            (gap.cause, gap.start, gap.end),
            (GapCause::NoSignal, last, None)
        );
        let before = collector.frames(1, 0).len();

        let _server = Server::start_at(port, &[]);
        let items = collector.wait("more pictures", |items| frame_count(items, 1, 0) > before);
        let next = collector.frames(1, 0)[before].time;
        let found: Vec<Gap> = gaps(&items, 1).into_iter().map(|(gap, _)| gap).collect();
        let closed = Gap {
            end: Some(next),
            ..gap
        };
        assert_eq!(
            found,
            [gap, closed],
            "told when it began, and when it ended, and not more often"
        );
        assert!(next > last);
        let report = status.report();
        assert!(report.failure_count >= 1);
        assert_eq!(report.state, CameraState::Recording);
        eprintln!(
            "{transport:?}: {} failures until the camera was back",
            report.failure_count
        );
        runtime.block_on(recorder.stop());
    }
}

#[test]
fn a_camera_that_freezes_is_a_gap_after_the_read_timeout() {
    if !can_serve("a_camera_that_freezes_is_a_gap_after_the_read_timeout") {
        return;
    }
    let server = Server::start(&[]);
    let runtime = runtime();
    let (mut recorder, collector) = recorder(&runtime, impatient());
    let status = recorder.add(camera(1, &server.url("h264s/0"))).unwrap();
    collector.wait("pictures", |items| frame_count(items, 1, 0) >= 10);
    server.signal(Signal::STOP);
    let items = collector.wait("a gap", |items| !gaps(items, 1).is_empty());
    let last_frame = items
        .iter()
        .rev()
        .find(|t| matches!(t.item, Item::Frame(_)))
        .unwrap();
    let after = gaps(&items, 1)[0].1 - last_frame.at;
    let expected = Duration::from_millis(990)..Duration::from_secs(4);
    assert!(expected.contains(&after), "{after:?}");
    assert_eq!(
        status.report().last_error.unwrap(),
        "the camera sent no picture for 1s"
    );
    server.signal(Signal::CONT);
    collector.wait("the end of the gap", |items| {
        gaps(items, 1)
            .last()
            .is_some_and(|(gap, _)| gap.end.is_some())
    });
    runtime.block_on(recorder.stop());
}

/// The sound of a camera goes on for ever; that is no reason to believe that it is recorded.
#[test]
fn a_camera_whose_pictures_stop_is_lost_even_if_its_sound_goes_on() {
    let actor = Actor::start(Manner::PicturesStop, 0);
    let runtime = runtime();
    let (mut recorder, collector) = recorder(&runtime, impatient());
    let status = recorder.add(camera(1, &actor.url())).unwrap();
    let items = collector.wait("a gap", |items| !gaps(items, 1).is_empty());
    assert!(frame_count(&items, 1, 0) > 0, "pictures came first");
    assert!(frame_count(&items, 1, 1) > 25, "and sound to the end");
    collector.wait("the loss on record", |_| {
        status.report().last_error.as_deref() == Some("the camera sent no picture for 1s")
    });
    runtime.block_on(recorder.stop());
}

#[test]
fn a_camera_that_is_not_there_is_a_gap_from_the_start_and_others_do_not_suffer() {
    if !can_serve("a_camera_that_is_not_there_is_a_gap_from_the_start_and_others_do_not_suffer") {
        return;
    }
    let server = Server::start(&[]);
    let runtime = runtime();
    let (mut recorder, collector) = recorder(&runtime, impatient());
    // Nobody listens on port 1.
    recorder.add(camera(1, "rtsp://127.0.0.1:1/")).unwrap();
    recorder.add(camera(2, &server.url("nothing/0"))).unwrap();
    recorder.add(camera(3, &server.url("h264s/0"))).unwrap();
    let nonsense = Actor::start(Manner::NoRtsp, 1);
    recorder.add(camera(4, &nonsense.url())).unwrap();
    let items = collector.wait("pictures and gaps", |items| {
        let has_gap = |stream| !gaps(items, stream).is_empty();
        has_gap(1) && has_gap(2) && frame_count(items, 3, 0) >= 25
    });
    assert!(gaps(&items, 3).is_empty());
    let errors: Vec<_> = recorder
        .reports()
        .into_iter()
        .map(|r| r.last_error)
        .collect();
    let error = |n: usize| errors[n].as_deref().unwrap_or_default();
    assert!(error(0).contains("refused"), "{errors:?}");
    assert!(error(1).contains("404"), "{errors:?}");
    assert!(error(1).contains("Check the path in its URL"), "{errors:?}");
    let name_of = |stream| match collector.items(stream).first() {
        Some(Item::Setup(setup)) => setup.name.clone(),
        other => panic!("a camera that is not there has no name: {other:?}"),
    };
    assert_eq!([name_of(1), name_of(2)], ["camera 1", "camera 2"]);
    assert!(recorder.add(camera(1, "rtsp://127.0.0.1:1/")).is_err());

    runtime.block_on(recorder.remove(StreamId(3))).unwrap();
    let count = collector.frames(3, 0).len();
    assert!(runtime.block_on(recorder.remove(StreamId(3))).is_err());
    // The time in which camera 4 is tried three more times is long enough for some pictures.
    nonsense.wait_for_clients(nonsense.client_count() + 3);
    let items = collector.items(3);
    assert_eq!(
        collector.frames(3, 0).len(),
        count,
        "a removed camera sends nothing"
    );
    let last = collector.frames(3, 0).last().unwrap().time;
    let idle = Gap {
        cause: GapCause::Idle,
        start: last,
        end: None,
        lost_count: None,
    };
    assert_eq!(items.last(), Some(&Item::Gap(idle)));

    recorder.add(camera(3, &server.url("h264s/0"))).unwrap();
    let count = items.len();
    collector.wait("it again", |items| frame_count(items, 3, 0) > count);
    let next = collector.frames(3, 0)[items.len() - 2].time;
    let closed = Gap {
        end: Some(next),
        ..idle
    };
    assert_eq!(collector.items(3)[items.len()], Item::Gap(closed));
    runtime.block_on(recorder.stop());
}

#[test]
fn a_camera_that_sends_rubbish_is_an_error_and_harms_nobody() {
    let seed = 0x5eed_cafe_u64;
    eprintln!("seed {seed:#x}");
    let manners = [
        Manner::NoRtsp,
        Manner::BadDescription,
        Manner::UnknownTracks,
        Manner::BadPackets,
        Manner::BadFraming,
        Manner::Mute,
    ];
    let runtime = runtime();
    let options = Options {
        connect_timeout: Duration::from_millis(500),
        ..impatient()
    };
    let (mut recorder, collector) = recorder(&runtime, options);
    let actors: Vec<Actor> = (1..)
        .zip(manners)
        .map(|(stream, manner)| Actor::start(manner, seed + stream))
        .collect();
    for (stream, actor) in (1..).zip(&actors) {
        recorder.add(camera(stream, &actor.url())).unwrap();
    }
    // A third try comes after two failures: the first did not end the trying.
    for actor in &actors {
        actor.wait_for_clients(3);
    }
    let reports = recorder.reports();
    for (report, manner) in reports.iter().zip(manners) {
        eprintln!(
            "{manner:?}: {} failures, {:?}",
            report.failure_count, report.last_error
        );
        assert!(report.failure_count >= 2, "{manner:?}");
        assert_eq!(report.frame_count, 0, "{manner:?}");
    }
    let error = |n: usize| reports[n].last_error.as_deref().unwrap_or_default();
    assert!(error(2).contains("video/vp8, audio/opus"), "{}", error(2));
    assert!(
        error(5).contains("did not answer within 500ms"),
        "{}",
        error(5)
    );
    let items = collector.wait("gaps", |_| true);
    for stream in 1..=6 {
        assert_eq!(gaps(&items, stream).len(), 1, "one gap, that lasts");
    }
    runtime.block_on(recorder.stop());
}

#[test]
fn lost_packets_are_a_gap_between_the_frames_around_them() {
    let runtime = runtime();
    let (mut recorder, collector) = recorder(&runtime, impatient());
    let actor = Actor::start(Manner::LosesPackets, 1);
    let status = recorder.add(camera(1, &actor.url())).unwrap();
    let items = collector.wait("pictures", |items| frame_count(items, 1, 0) >= 20);
    runtime.block_on(recorder.stop());
    // The description told no parameter sets, so the setup waited for those in the stream.
    let items: Vec<Item> = items.into_iter().map(|taken| taken.item).collect();
    let setup = first_setup(&items);
    assert_eq!(
        (setup.tracks[0].width_px, setup.tracks[0].height_px),
        (320, 240)
    );
    let found = items
        .iter()
        .position(|item| matches!(item, Item::Gap(_)))
        .unwrap();
    let [Item::Frame(before), Item::Gap(gap), Item::Frame(after)] = &items[found - 1..found + 2]
    else {
        panic!("the gap should be between two frames");
    };
    let expected = Gap {
        cause: GapCause::PacketLoss,
        start: before.time,
        end: Some(after.time),
        lost_count: None,
    };
    assert_eq!(*gap, expected);
    // The setup and ten pictures, then three lost packets with a picture each.
    assert_eq!(found, 11);
    assert_eq!(after.time.us_since(before.time), 4 * 40_000);
    assert_eq!(status.report().lost_packet_count, 3);
}

#[test]
fn sound_that_arrives_late_is_moved_to_where_sender_reports_say() {
    let runtime = runtime();
    let (mut recorder, collector) = recorder(&runtime, impatient());
    let actor = Actor::start(Manner::LateSound, 1);
    recorder.add(camera(1, &actor.url())).unwrap();
    collector.wait("sound", |items| frame_count(items, 1, 1) >= 40);
    runtime.block_on(recorder.stop());
    let pictures_start = collector.frames(1, 0)[0].time;
    let times = collector.frames(1, 1).into_iter();
    let times: Vec<i64> = times.map(|f| f.time.us_since(pictures_start)).collect();
    // The first came before the reports. In the end it is 20 ms before the pictures, and on the way
    // there no time went back.
    assert!(times[0] >= 0, "{times:?}");
    for (number, pair) in times.windows(2).enumerate() {
        let step_us = pair[1] - pair[0];
        assert!((19_000..=20_000).contains(&step_us), "{number}: {times:?}");
    }
    assert_eq!(times[39], 39 * 20_000 - 20_000, "{times:?}");
}
