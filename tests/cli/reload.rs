//! SIGHUP while cameras are recorded: the credentials change, the recording does not.

use std::fs;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Running, camring, folder, json, succeed};
use crate::pseudo::Pseudo;
use crate::rtsp_server::{Server, can_serve};

/// Reads status lines up to the first in which `count` cameras are up.
fn wait_until_up(recorder: &mut Running, count: u64) {
    // One comes each second.
    for _ in 0..60 {
        let line = recorder.line();
        let status: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        if status["up_count"] == count {
            return;
        }
    }
    panic!("waited in vain for {count} cameras");
}

fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Reads the log up to a line with `text`, and returns all of it.
fn read_until(log: &mut impl std::io::BufRead, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let count = log.read_line(&mut all).unwrap();
        assert_ne!(count, 0, "{text} was not logged: {all}");
    }
    all
}

/// The password of a camera is changed at the camera, then in the file, first with a mistake.
#[test]
fn a_changed_password_is_taken_over_without_stopping_any_camera() {
    const NAME: &str = "a_changed_password_is_taken_over_without_stopping_any_camera";
    if !can_serve(NAME) {
        return;
    }
    let other = Server::start(&[]);
    let mut server = Server::start(&["--user", "viewer", "--password", "hunter2"]);
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --size 64MiB");
    let secret = folder.path().join("secret");
    write_secret(&secret, "1 viewer hunter2\n");
    let args = format!(
        "record {{}} --camera 1:gate={} --camera 2:yard={} --credentials {} --json",
        server.url("h264s/0"),
        other.url("h264s/0"),
        secret.display()
    );
    let (log, write_log) = std::io::pipe().unwrap();
    let mut log = BufReader::new(log);
    let mut command = camring(&dir, &args);
    let mut recorder = Running::start(command.stdout(Stdio::piped()).stderr(write_log));
    // It holds the other end of the log.
    drop(command);
    wait_until_up(&mut recorder, 2);

    server.kill();
    let _server = Server::start_at(server.port, &["--user", "viewer", "--password", "hunter3"]);
    read_until(&mut log, "refuses the user name or the password");
    wait_until_up(&mut recorder, 1);
    for (text, told) in [("1 viewer\n", "line 1"), ("nothing\n", "line 1")] {
        write_secret(&secret, text);
        recorder.signal(Signal::HUP);
        let all = read_until(&mut log, "keep the credentials");
        assert!(all.contains(told), "{all}");
        assert!(!all.contains("hunter"), "{all}");
    }
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    recorder.signal(Signal::HUP);
    assert!(read_until(&mut log, "keep the credentials").contains("chmod 600"));
    write_secret(&secret, "1 viewer hunter3\n9 viewer hunter3\n");
    recorder.signal(Signal::HUP);
    let all = read_until(&mut log, "were read anew");
    assert!(all.contains("camera 9, which is not recorded"), "{all}");
    wait_until_up(&mut recorder, 2);

    recorder.signal(Signal::TERM);
    let ended = recorder.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let last: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["cameras"][1]["failure_count"], 0, "{last}");
    let yard = json(&dir, "timeline {} --stream yard --json");
    let stretches = yard["streams"][0]["stretches"].as_array().unwrap();
    assert!(stretches.iter().all(|s| s["state"] == "recorded"), "{yard}");
}

/// The window is closed. Nobody would see any more how the recording goes, so it ends, and is whole.
#[test]
fn a_terminal_that_hangs_up_ends_the_recording_in_order() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let secret = folder.path().join("secret");
    write_secret(&secret, "1 viewer hunter2\n");
    let args = format!(
        "record {{}} --camera 1=rtsp://127.0.0.1:9/x --json --credentials {}",
        secret.display()
    );
    let record = camring(&dir, &args);
    // The leader of a session of its own, whose terminal this is: the kernel tells it of the end.
    let mut command = Command::new("setsid");
    command
        .arg("--ctty")
        .arg(record.get_program())
        .args(record.get_args());
    let terminal = Pseudo::open();
    terminal.attach(&mut command);
    let mut recorder = Running::start(&mut command);
    drop(command);
    assert!(recorder.line().contains("status"));
    drop(terminal);
    // The shell passes the signal on, and when it ends the kernel sends it once more.
    while recorder.is_running() {
        recorder.signal(Signal::HUP);
        std::thread::yield_now();
    }
    let ended = recorder.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("\"end\""), "{}", ended.stdout);
}
