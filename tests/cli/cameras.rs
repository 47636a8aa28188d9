//! `camring record` with cameras that send: the project's own RTSP server.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::clip::{has_tool, run as run_tool};
use crate::program::{Running, camring, end, folder, json, run, succeed};
use crate::rtsp_server::{Server, can_serve};

/// Reads status lines up to the first in which `count` cameras are up and something was written.
fn wait_until_up(recorder: &mut Running, count: u64) {
    loop {
        let line = recorder.line();
        let status: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        assert_eq!(status["event"], "status", "{line}");
        if status["up_count"] == count && status["written_byte_s"].as_u64().unwrap() > 100_000 {
            return;
        }
    }
}

#[test]
fn cameras_are_recorded_until_ctrl_c_and_can_be_looked_at_meanwhile() {
    const NAME: &str = "cameras_are_recorded_until_ctrl_c_and_can_be_looked_at_meanwhile";
    if !can_serve(NAME) || !has_tool(NAME, "ffmpeg") {
        return;
    }
    let server = Server::start(&[]);
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --size 64MiB");
    let cameras = format!(
        "--camera 1:front_door={} --camera 2:yard={}",
        server.url("h264_2M+aac/0"),
        server.url("h265/0")
    );
    let mut command = camring(&dir, &format!("record {{}} {cameras} --json"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut recorder = Running::start(&mut command);
    wait_until_up(&mut recorder, 2);
    wait_until_up(&mut recorder, 2);

    assert_eq!(json(&dir, "info {} --json")["is_being_recorded"], true);
    let streams = json(&dir, "streams {} --json");
    assert_eq!(streams["streams"][0]["name"], "front_door");
    assert_eq!(streams["streams"][0]["tracks"][1]["codec"], "AAC");
    let timeline = json(&dir, "timeline {} --stream yard --json");
    assert_eq!(timeline["streams"][0]["stretches"][0]["state"], "recorded");
    assert!(succeed(&dir, "dump {} 1").contains("KEY"));
    let second = run(&dir, &format!("record {{}} {cameras}"));
    assert_eq!(second.code, Some(11), "{second:?}");
    let early = folder.path().join("early.mkv");
    succeed(
        &dir,
        &format!("export {{}} --stream yard -o {}", early.display()),
    );

    recorder.signal(Signal::INT);
    let ended = recorder.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let last: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "end");
    assert_eq!(last["shed_count"], 0);
    let blocks = json(&dir, "blocks {} --json");
    let blocks = blocks["blocks"].as_array().unwrap();
    assert!(
        blocks.iter().all(|block| block["state"] == "sealed"),
        "{blocks:?}"
    );
    let late = folder.path().join("late.mkv");
    let args = format!("export {{}} --stream 2 --json -o {}", late.display());
    let report = json(&dir, &args);
    // All that the recorder says it has taken: the first frame was a key frame.
    let taken = &last["cameras"][1]["frame_count"];
    assert_eq!(report["files"][0]["frame_count"], *taken);
    for path in [early, late] {
        let args = [
            "-v",
            "error",
            "-i",
            path.to_str().unwrap(),
            "-f",
            "null",
            "-",
        ];
        assert_eq!(run_tool("ffmpeg", &args).1, "", "{}", path.display());
    }
}

#[test]
fn a_recording_ends_by_itself_or_by_sigterm_and_is_whole() {
    const NAME: &str = "a_recording_ends_by_itself_or_by_sigterm_and_is_whole";
    if !can_serve(NAME) {
        return;
    }
    let server = Server::start(&["--user", "viewer", "--password", "hunter2"]);
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --size 64MiB");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "1 viewer hunter2\n").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let record = format!(
        "record {{}} --camera 1={} --credentials {}",
        server.url("h264_2M/0"),
        secret.display()
    );
    let ended = run(&dir, &format!("{record} --for 2s"));
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), ""),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("0 frames shed"), "{}", ended.stdout);

    let mut command = camring(&dir, &format!("{record} --transport udp --json"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut recorder = Running::start(&mut command);
    wait_until_up(&mut recorder, 1);
    recorder.signal(Signal::TERM);
    let ended = recorder.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let timeline = json(&dir, "timeline {} --json");
    let stretches = timeline["streams"][0]["stretches"].as_array().unwrap();
    let gaps = stretches.iter().filter(|stretch| stretch["state"] == "gap");
    let causes: Vec<_> = gaps.map(|gap| &gap["cause"]).collect();
    assert_eq!(causes, ["restart"], "{timeline}");
}

/// Nobody may find out next week that the camera was never there.
#[test]
fn a_camera_that_never_answers_is_a_failure() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let args = "record {} --camera 1=rtsp://127.0.0.1:9/secret-path --for 1s";
    let ended = end(&mut camring(&dir, args));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("no camera has sent a frame"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("secret-path"), "{}", ended.stderr);
}
