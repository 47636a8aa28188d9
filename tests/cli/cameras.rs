//! `camring record` with cameras that send: the project's own RTSP server.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::clip::{has_tool, run as run_tool};
use crate::program::{Running, camring, end, folder, json, run, succeed};
use crate::rtsp_server::{Server, can_serve};

/// Reads status lines up to the first in which `count` cameras are up and something was written.
fn wait_until_up(recorder: &mut Running, count: u64) {
    // One comes each second.
    for _ in 0..60 {
        let line = recorder.line();
        assert!(!line.is_empty(), "the recorder has ended");
        let status: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        assert_eq!(status["event"], "status", "{line}");
        if status["up_count"] == count && status["written_byte_s"].as_u64().unwrap() > 100_000 {
            return;
        }
    }
    panic!("waited in vain for {count} cameras");
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
    let args = "record {} --camera 1:attic=rtsp://127.0.0.1:9/secret-path --for 1s";
    let ended = end(&mut camring(&dir, args));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("no camera has sent a frame"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("secret-path"), "{}", ended.stderr);
    let word = ended.stderr.lines().last().unwrap();
    assert!(word.contains("camera 1: "), "{word}");
    assert!(word.contains("refused"), "{word}");
    let quiet = end(&mut camring(&dir, &format!("{args} -q")));
    assert_eq!(quiet.stderr.lines().count(), 1, "{}", quiet.stderr);
    assert!(quiet.stderr.contains("refused"), "{}", quiet.stderr);
    let lost = ended.stderr.lines().next().unwrap();
    assert!(
        lost.contains("attic") && lost.contains("127.0.0.1:9"),
        "{lost}"
    );

    assert_eq!(
        json(&dir, "streams {} --json")["streams"][0]["name"],
        "attic"
    );
    let timeline = json(&dir, "timeline {} --stream attic --json");
    let stretch = &timeline["streams"][0]["stretches"][0];
    assert_eq!(
        (&stretch["cause"], &stretch["is_open"]),
        (&"no signal".into(), &true.into())
    );
    let ended = run(&dir, "export {} --stream attic -o attic.mkv");
    assert_eq!(ended.code, Some(10), "{ended:?}");
    assert!(ended.stderr.contains("never recorded"), "{}", ended.stderr);
}

/// Another program would be refused, too.
#[test]
fn a_refused_login_is_the_last_word() {
    const NAME: &str = "a_refused_login_is_the_last_word";
    if !can_serve(NAME) {
        return;
    }
    let server = Server::start(&["--user", "viewer", "--password", "hunter2"]);
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let url = server.url("h264s/0");
    let ended = run(&dir, &format!("record -q {{}} --camera 1={url} --for 2s"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("asks for a user"), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains("another program"),
        "{}",
        ended.stderr
    );
}

/// Whoever chose small blocks must not find out next week that only short frames were recorded.
#[test]
fn frames_that_are_too_long_for_the_volume_are_told_once() {
    const NAME: &str = "frames_that_are_too_long_for_the_volume_are_told_once";
    if !can_serve(NAME) {
        return;
    }
    let server = Server::start(&[]);
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 64 --block-size 64KiB");
    let url = server.url("h264_4M/0");
    let ended = run(&dir, &format!("record {{}} --camera 1:gate={url} --for 6s"));
    let told = { ended.stderr.lines() }.filter(|line| line.contains("--block-size"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{ended:?}");
    assert!(told[0].contains("stream 1 \"gate\""), "{}", told[0]);
}

/// What is recorded into a deleted file is gone at the end: better now than next week.
#[test]
fn a_recording_ends_when_its_data_is_deleted_or_replaced() {
    let folder = folder();
    let dir = folder.path().join("volume");
    let record = "record {} --camera 1:attic=rtsp://127.0.0.1:9/x --json";
    for is_replaced in [false, true] {
        succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
        let mut command = camring(&dir, record);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut recorder = Running::start(&mut command);
        assert!(recorder.line().contains("status"));
        if is_replaced {
            let data = dir.join("data");
            std::fs::copy(&data, dir.join("data.new")).unwrap();
            std::fs::rename(dir.join("data.new"), &data).unwrap();
        } else {
            std::fs::remove_dir_all(&dir).unwrap();
        }
        let ended = recorder.end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let last = ended.stderr.lines().last().unwrap();
        let what = if is_replaced {
            "was replaced"
        } else {
            "was deleted"
        };
        assert!(last.contains(what), "{}", ended.stderr);
        assert!(last.contains("volume/data"), "{last}");
    }
}

/// A camera that is down when the recorder starts again is still what it was.
#[test]
fn a_camera_that_is_down_today_keeps_its_tracks() {
    const NAME: &str = "a_camera_that_is_down_today_keeps_its_tracks";
    if !can_serve(NAME) {
        return;
    }
    let server = Server::start(&[]);
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --size 64MiB");
    let url = server.url("h264s+aac/0");
    succeed(&dir, &format!("record {{}} --camera 1:gate={url} --for 2s"));
    let before = json(&dir, "streams {} --json");
    assert_eq!(before["streams"][0]["tracks"][1]["codec"], "AAC");
    let ended = run(
        &dir,
        "record {} --camera 1:door=rtsp://127.0.0.1:9/x --for 1s",
    );
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let after = json(&dir, "streams {} --json");
    assert_eq!(after["streams"][0]["name"], "door");
    assert_eq!(
        after["streams"][0]["tracks"],
        before["streams"][0]["tracks"]
    );
}

#[test]
fn cameras_are_added_and_removed_while_others_are_recorded() {
    const NAME: &str = "cameras_are_added_and_removed_while_others_are_recorded";
    if !can_serve(NAME) {
        return;
    }
    let server = Server::start(&["--user", "viewer", "--password", "hunter2"]);
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --size 64MiB");
    let yard = format!("camera add {{}} 2:yard={}", server.url("h264s/0"));
    let nobody = run(&dir, &yard);
    assert_eq!(nobody.code, Some(10), "{nobody:?}");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "1 viewer hunter2\n").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let args = format!(
        "record {{}} --camera 1:gate={} --credentials {} --json",
        server.url("h264_2M/0"),
        secret.display()
    );
    let mut command = camring(&dir, &args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut recorder = Running::start(&mut command);
    wait_until_up(&mut recorder, 1);

    let absent = run(&dir, "camera remove {} 77");
    let place = format!("camera 77 is not recorded in {}", dir.display());
    assert!(absent.stderr.contains(&place), "{}", absent.stderr);
    for (args, code) in [
        ("camera add {} 1:attic=rtsp://127.0.0.1:9/x", 2),
        ("camera add {} 7:gate=rtsp://127.0.0.1:9/x", 2),
        ("camera add {} 7=rtsp://admin:hunter2@127.0.0.1:9/x", 2),
        (
            "camera add {} 7=rtsp://127.0.0.1/ --credentials /nowhere",
            1,
        ),
        ("camera remove {} 7", 10),
    ] {
        let ended = run(&dir, args);
        assert_eq!(ended.code, Some(code), "{args}: {ended:?}");
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    // The recorder reads its file of credentials anew.
    std::fs::write(&secret, "1 viewer hunter2\n2 viewer hunter2\n").unwrap();
    succeed(&dir, &yard);
    wait_until_up(&mut recorder, 2);
    succeed(&dir, "commit {}");
    succeed(&dir, "camera remove {} 2");
    wait_until_up(&mut recorder, 1);
    let gap = |dir| {
        let timeline = json(dir, "timeline {} --stream yard --json");
        let stretches = timeline["streams"][0]["stretches"].as_array().unwrap();
        let gaps: Vec<_> = stretches.iter().filter(|s| s["state"] == "gap").collect();
        assert_eq!(gaps.len(), 1, "{timeline}");
        (gaps[0]["cause"].clone(), gaps[0]["is_open"].clone())
    };
    assert_eq!(gap(&dir), ("idle".into(), true.into()));
    succeed(&dir, &yard);
    wait_until_up(&mut recorder, 2);
    recorder.signal(Signal::INT);
    let ended = recorder.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let last: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["cameras"][1]["name"], "yard");
    assert_eq!(gap(&dir), ("idle".into(), false.into()));
}
