//! The control socket: what another process can ask of a recording, and what it cannot do to it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

#[path = "support/camera.rs"]
mod camera;

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use camring::frame::StreamId;
use camring::volume::{CreateOptions, Volume, VolumeSize};
use camring::writer::{ControlClient, Producer, Writer, WriterOptions};
use camring::{Error, ErrorKind};
use serde_json::{Value, json};
use tempfile::TempDir;

const START_US: i64 = 1_700_000_000_000_000;

/// These tests count the threads of the process, so one runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create(dir: &Path) {
    let options = CreateOptions {
        size: VolumeSize::Blocks(16),
        block_len: Some(1 << 20),
        replace: true,
    };
    Volume::create(dir, &options, &mut |_, _| {}).unwrap();
}

fn volume() -> TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    create(dir.path());
    dir
}

/// Commits only when it is asked to, as far as these tests go.
fn options() -> WriterOptions {
    WriterOptions {
        commit_us: 60_000_000,
        ..WriterOptions::default()
    }
}

fn producer(writer: &Writer) -> Producer {
    let mut producer = writer.producer().unwrap();
    producer
        .add_stream(StreamId(1), camera::setup("gate"))
        .unwrap();
    for number in 0..25 {
        let frame = camera::frame(1, number, START_US, 25, 1000);
        producer.push(StreamId(1), frame).unwrap();
    }
    producer
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("control")
}

/// A connection without manners. It gives up after a while, so that a hang is a failure.
fn raw(dir: &Path) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(socket(dir)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    BufReader::new(stream)
}

fn say(client: &mut BufReader<UnixStream>, bytes: &[u8]) {
    client.get_mut().write_all(bytes).unwrap();
}

fn hear(client: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
}

/// How many threads of the control socket there are in this process.
fn thread_count() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("camring-control") || name.starts_with("camring-client"))
        .count()
}

#[test]
fn a_commit_that_was_asked_for_elsewhere_is_on_disk_when_it_is_answered() {
    let _alone = alone();
    let dir = volume();
    let writer = Writer::open(dir.path(), options()).unwrap();
    let _producer = producer(&writer);
    let mut client = ControlClient::connect(dir.path()).unwrap();
    let before = client.status().unwrap();
    assert_eq!(before.volume, writer.volume().id().to_string());
    assert_eq!((before.times, before.writer.flush_count), (None, 0));
    let position = client.commit().unwrap();
    let after = client.status().unwrap();
    assert_eq!(
        (position, after.writer.durable),
        (writer.status().durable, position)
    );
    assert_eq!(after.times, writer.volume().time_range());
    assert_eq!(
        (after.writer.queued_len, after.writer.is_failed),
        (0, false)
    );
    assert_eq!((after.writer.flush_count, after.writer.written_len), {
        let status = writer.status();
        (status.flush_count, status.written_len)
    });
    // Another opening sees what is durable, and nothing else.
    let elsewhere = Volume::open(dir.path()).unwrap();
    let times = elsewhere.stream_time_range(StreamId(1)).unwrap();
    assert_eq!(times.end.us_since(times.start), 24 * 40_000);
}

#[test]
fn the_recording_program_can_answer_requests_of_its_own() {
    let _alone = alone();
    let dir = volume();
    let mut asked = Vec::new();
    let on_request = move |name: &str, with: &Value| match name {
        "add-camera" => {
            asked.push(with["id"].as_u64());
            Ok(json!({ "cameras": asked.len() }))
        }
        "remove-camera" => {
            Err(Error::new(ErrorKind::Exists, "it is there").with_remedy("Ask again"))
        }
        "talk" => Ok("x".repeat(2 << 20).into()),
        other => Err(Error::invalid(format!("{other} is unknown"))),
    };
    let options = WriterOptions {
        on_request: Some(Box::new(on_request)),
        ..options()
    };
    let writer = Writer::open(dir.path(), options).unwrap();
    let mut client = ControlClient::connect(dir.path()).unwrap();
    for count in 1..3 {
        let answer = client.request("add-camera", json!({ "id": 7 })).unwrap();
        assert_eq!(answer, json!({ "cameras": count }));
    }
    let error = client.request("remove-camera", Value::Null).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Exists, "it is there. Ask again")
    );
    assert_eq!(
        client.request("?", Value::Null).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        client.request("talk", Value::Null).unwrap_err().kind(),
        ErrorKind::Failed
    );
    assert!(
        client.status().is_ok(),
        "the connection has survived all that"
    );
    writer.close().unwrap();

    let writer = Writer::open(dir.path(), self::options()).unwrap();
    let mut client = ControlClient::connect(dir.path()).unwrap();
    let error = client
        .request("add-camera", json!({ "id": 7 }))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    writer.close().unwrap();
}

#[test]
fn the_socket_is_for_its_owner_alone_and_goes_with_the_recording() {
    let _alone = alone();
    let dir = volume();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let threads = thread_count();
    for is_closed in [true, false] {
        let writer = Writer::open(dir.path(), options()).unwrap();
        let meta = std::fs::symlink_metadata(socket(dir.path())).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        let mut client = ControlClient::connect(dir.path()).unwrap();
        client.status().unwrap();
        assert_eq!(thread_count(), threads + 2);
        if is_closed {
            writer.close().unwrap();
        } else {
            drop(writer);
        }
        assert_eq!(thread_count(), threads);
        assert!(!socket(dir.path()).exists());
        let error = client.status().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Failed | ErrorKind::Io),
            "{error:?}"
        );
        let error = ControlClient::connect(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("nobody records"), "{error}");
    }
    let options = WriterOptions {
        control: false,
        ..options()
    };
    let _writer = Writer::open(dir.path(), options).unwrap();
    assert!(!socket(dir.path()).exists(), "not asked for");
}

/// A recorder that was stopped: the kernel takes connections for it, and nobody answers.
#[test]
fn a_recorder_that_stands_still_is_not_waited_for_without_end() {
    let _alone = alone();
    let dir = volume();
    let _listener = UnixListener::bind(socket(dir.path())).unwrap();
    let mut client = ControlClient::connect(dir.path()).unwrap();
    let started = Instant::now();
    let error = client.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains("has not answered"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

/// More and more wait for it, until the kernel takes no more.
#[test]
fn where_many_wait_for_a_recorder_that_stands_still_one_more_gives_up() {
    let _alone = alone();
    let dir = volume();
    let listener = UnixListener::bind(socket(dir.path())).unwrap();
    // It may be called again, to change how many may wait.
    rustix::net::listen(&listener, 0).unwrap();
    let _first = ControlClient::connect(dir.path()).unwrap();
    let error = ControlClient::connect(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
}

#[test]
fn a_socket_that_a_killed_process_has_left_is_replaced() {
    let _alone = alone();
    let dir = volume();
    // Nobody unlinks it: what is left is what a kill leaves.
    drop(UnixListener::bind(socket(dir.path())).unwrap());
    let error = ControlClient::connect(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let writer = Writer::open(dir.path(), options()).unwrap();
    ControlClient::connect(dir.path())
        .unwrap()
        .commit()
        .unwrap();
    writer.close().unwrap();

    // What is no socket is not ours to remove, and no reason not to record.
    std::fs::write(socket(dir.path()), "notes").unwrap();
    let writer = Writer::open(dir.path(), options()).unwrap();
    assert!(ControlClient::connect(dir.path()).is_err());
    writer.commit().unwrap();
    writer.close().unwrap();
    assert_eq!(
        std::fs::read_to_string(socket(dir.path())).unwrap(),
        "notes"
    );
}

#[test]
fn a_path_that_no_address_holds_is_served_all_the_same() {
    let _alone = alone();
    let outer = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = outer.path().join("a".repeat(120)).join("b".repeat(120));
    std::fs::create_dir_all(&dir).unwrap();
    create(&dir);
    let writer = Writer::open(&dir, options()).unwrap();
    let mut client = ControlClient::connect(&dir).unwrap();
    client.commit().unwrap();
    // The directory moves, and the socket with it.
    let moved = outer.path().join("c");
    std::fs::rename(&dir, &moved).unwrap();
    ControlClient::connect(&moved).unwrap().commit().unwrap();
    writer.close().unwrap();
    assert!(!socket(&moved).exists());
}

/// Connects clients that begin a request and fall silent, until there is room for no more.
fn fill_up(dir: &Path) -> Vec<BufReader<UnixStream>> {
    let silent: Vec<_> = std::iter::from_fn(|| {
        let mut client = raw(dir);
        // One that is refused is told so before it is closed.
        let _ = client
            .get_mut()
            .write_all(b"{\"do\":\"status\"}\n{\"do\":\"stat");
        hear(&mut client)["ok"].is_object().then_some(client)
    })
    .take(20)
    .collect();
    assert!(
        (6..=8).contains(&silent.len()),
        "{} connections",
        silent.len()
    );
    let error = ControlClient::connect(dir).unwrap().status().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    silent
}

/// Clients that send rubbish, half a request, too much, or nothing at all, and more of them than
/// there is room for: whoever comes later is told so, the recording goes on, and ends when it is
/// asked to.
#[test]
fn clients_without_manners_hold_up_nobody() {
    let _alone = alone();
    let dir = volume();
    let writer = Writer::open(dir.path(), options()).unwrap();
    let mut rubbish = raw(dir.path());
    let deep = format!("{}\n", "[".repeat(60_000));
    for line in ["\n", "{}\n", "{\"do\":7}\n", "\u{0}\n", deep.as_str()] {
        say(&mut rubbish, line.as_bytes());
        assert_eq!(hear(&mut rubbish)["error"]["kind"], "invalid", "{line:.20}");
    }
    say(
        &mut rubbish,
        b"{\"do\":\"status\"}\n{\"do\":\"commit\"}\n{\"do\":",
    );
    assert_eq!(hear(&mut rubbish)["ok"]["is_failed"], false);
    assert!(hear(&mut rubbish)["ok"]["durable_block"].is_u64());
    say(&mut rubbish, b"\"status\"}\n");
    assert_eq!(
        hear(&mut rubbish)["ok"]["is_failed"],
        false,
        "it came in two parts"
    );
    drop(rubbish);

    let mut endless = raw(dir.path());
    // It is answered, and closed, before all of this can be sent.
    let _ = endless.get_mut().write_all(&vec![b'x'; 1 << 20]);
    assert_eq!(hear(&mut endless)["error"]["kind"], "invalid");
    let mut rest = Vec::new();
    let end = endless.read_to_end(&mut rest);
    assert!(end.is_err() || rest.is_empty(), "nothing more comes");
    drop(endless);

    let mut silent = fill_up(dir.path());
    let mut producer = producer(&writer);
    writer.commit().unwrap();
    // One leaves, another one comes in: the server sees the end when its thread runs.
    drop(silent.pop());
    while ControlClient::connect(dir.path())
        .unwrap()
        .status()
        .is_err()
    {
        std::thread::yield_now();
    }
    producer
        .push(StreamId(1), camera::frame(1, 25, START_US, 25, 100))
        .unwrap();
    drop(producer);
    writer.close().unwrap();
    for mut client in silent {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "it was closed without another word");
    }
    assert_eq!(thread_count(), 0);
}
