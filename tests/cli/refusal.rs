//! What goes wrong: each kind has its exit code, and a line that says what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use camring::Writer;
use camring::base::time::Timestamp;
use camring::frame::{FrameSink as _, Gap, GapCause, Item, StreamId, StreamSetup};
use camring::writer::WriterOptions;

use crate::program::{folder, run, succeed};
use crate::recording::{Recording, at};
use crate::skip::skip;

/// The program refuses with `code`, and one line that holds `text`.
fn refuses(dir: &Path, args: &str, code: i32, text: &str) {
    let ended = run(dir, args);
    assert_eq!(ended.code, Some(code), "{args}: {ended:?}");
    let line = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        ended.stderr.contains(text),
        "{args}: {:?} lacks {text:?}",
        ended.stderr
    );
    if code != 2 {
        assert!(line.starts_with("camring: "), "{args}: {line}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    assert_eq!(ended.stdout, "", "{args}");
}

const LOOKING: [&str; 6] = [
    "info {}",
    "streams {}",
    "timeline {}",
    "blocks {}",
    "dump {} 1",
    "export {} --stream 1 -o out.mkv",
];

#[test]
fn where_no_volume_is_the_code_is_10() {
    let folder = folder();
    let absent = folder.path().join("absent");
    let file = folder.path().join("file");
    fs::write(&file, "a letter").unwrap();
    for args in LOOKING
        .iter()
        .chain(&["record {} --camera 1=rtsp://127.0.0.1:9/x"])
    {
        refuses(&absent, args, 10, "is no camring volume");
        refuses(folder.path(), args, 10, "is no camring volume");
        refuses(&file, args, 10, "is no camring volume");
    }
}

#[test]
fn where_nothing_of_that_name_is_the_code_is_10() {
    let recording = Recording::new();
    let dir = recording.dir();
    refuses(
        &dir,
        "timeline {} --stream attic",
        10,
        "no stream is called attic",
    );
    refuses(&dir, "timeline {} --stream attic", 10, "numbers and names");
    refuses(
        &dir,
        "export {} --stream 9 -o out.mkv",
        10,
        "numbers and names",
    );
    let nowhere = format!("no block 999 with frames in {}", dir.display());
    refuses(&dir, "dump {} 1 999", 10, &nowhere);
    let range = format!("--from {} --to {}", at(60_000), at(90_000));
    let args = format!("export {{}} --stream 1 {range} -o out.mkv");
    refuses(
        &dir,
        &args,
        10,
        "It was recorded from 2026-11-18T11:06:40.000000+00:00",
    );
}

#[test]
fn while_another_process_records_the_code_is_11() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let writer = Writer::open(&dir, WriterOptions::default()).unwrap();
    refuses(
        &dir,
        "record {} --camera 1=rtsp://127.0.0.1:9/x",
        11,
        "in use",
    );
    refuses(&dir, "demo-record {} --for 1s", 11, "in use");
    refuses(&dir, "create {} --blocks 16 --force", 11, "being recorded");
    for args in ["info {}", "streams {}", "timeline {}", "blocks {}"] {
        succeed(&dir, args);
    }
    writer.close().unwrap();
}

#[test]
fn what_would_destroy_something_has_the_code_12() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    refuses(&dir, "create {} --blocks 16", 12, "destroys all");
    let made = succeed(&dir, "create {} --blocks 20 --block-size 256KiB --force");
    assert!(made.contains("20 blocks of 256.0 KiB"), "{made}");
    fs::write(dir.join("letter"), "to somebody").unwrap();
    refuses(&dir, "create {} --blocks 16 --force", 12, "letter");
}

#[test]
fn what_makes_no_sense_has_the_code_2() {
    let recording = Recording::new();
    let dir = recording.dir();
    refuses(&dir, "", 2, "unrecognized");
    refuses(&dir, "fly {}", 2, "fly");
    refuses(&dir, "create {}", 2, "--size");
    refuses(&dir, "create {} --size 10G", 2, "10GiB");
    refuses(&dir, "create {} --blocks 3 --force", 2, "at least 16");
    refuses(
        &dir,
        "create {} --blocks 16 --block-size 128MiB --force",
        2,
        "64 MiB",
    );
    refuses(
        &dir,
        "create {} --blocks 16 --block-size 5GiB --force",
        2,
        "64 MiB",
    );
    refuses(&dir, "dump {}", 2, "BLOCK");
    refuses(&dir, "blocks {} --from soon", 2, "is no point in time");
    refuses(&dir, "blocks {} --from ", 2, "there is no time");
    let many = "create {} --blocks 4294967296 --force";
    refuses(&dir, many, 2, "Choose a smaller size");
    refuses(&dir, "export {} --stream 1 -o {}", 2, "is a directory");
    refuses(
        &dir,
        "export {} --stream 1 -o {} --force",
        2,
        "is a directory",
    );
    let range = format!("blocks {{}} --from {} --to {}", at(2_000), at(1_000));
    refuses(&dir, &range, 2, "is before");
    let twice = "record {} --camera 1=rtsp://127.0.0.1:9/x --camera 1=rtsp://127.0.0.1:9/y";
    refuses(&dir, twice, 2, "two cameras have the ID 1");
    let named = "record {} --camera 1:a=rtsp://127.0.0.1:9/x --camera 2:a=rtsp://127.0.0.1:9/y";
    refuses(&dir, named, 2, "have the same name, a");
}

#[test]
fn passwords_are_kept_where_only_their_owner_can_read_them() {
    let recording = Recording::new();
    let secret = recording.folder().join("secret");
    fs::write(&secret, "1 admin hunter2\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let camera = "record {} --camera 1=rtsp://127.0.0.1:9/x";
    let args = format!("{camera} --credentials {}", secret.display());
    let ended = run(&recording.dir(), &args);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("chmod 600"), "{}", ended.stderr);
    let args = format!("{camera} --for 1s --credentials {}", secret.display());
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&secret, "1 admin hunter2\n7 admin hunter2\n").unwrap();
    let unused = run(&recording.dir(), &args);
    let told = "credentials for camera 7, which is not recorded";
    assert!(unused.stderr.contains(told), "{}", unused.stderr);
    let in_url = run(
        &recording.dir(),
        "record {} --camera 1=rtsp://admin:hunter2@127.0.0.1/x",
    );
    assert_eq!(in_url.code, Some(2), "{in_url:?}");
    assert!(in_url.stderr.contains("--credentials"), "{}", in_url.stderr);
    assert!(!in_url.stderr.contains("hunter2") && !ended.stderr.contains("hunter2"));
}

#[test]
fn a_disk_that_is_too_small_and_a_place_without_files_are_named() {
    let folder = folder();
    let dir = folder.path().join("volume");
    let named = format!("{}: could not reserve 900.0 TiB", dir.display());
    refuses(&dir, "create {} --size 900TiB", 1, &named);
    assert!(!dir.exists(), "nothing is left of it");
    refuses(&dir, "create {}/a/b --size 16MiB", 1, "Make it first");
    assert!(!dir.exists(), "nothing is left of it");
    let file = folder.path().join("file");
    fs::write(&file, "a letter").unwrap();
    refuses(
        &file,
        "create {} --size 16MiB",
        1,
        "A volume is a directory",
    );
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    refuses(&link, "create {} --size 16MiB", 1, "a link to nothing");
    let recording = Recording::new();
    refuses(
        &recording.dir(),
        "export {} --stream 1 -o /proc/nowhere/out.mkv",
        1,
        "/proc/nowhere",
    );
    let truncated = fs::OpenOptions::new()
        .write(true)
        .open(recording.dir().join("data"))
        .unwrap();
    truncated.set_len(15 * (256 << 10)).unwrap();
    let record = "record {} --camera 1=rtsp://127.0.0.1:9/x";
    let ended = run(&recording.dir(), record);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("It can be read"), "{}", ended.stderr);
}

/// What is recorded may not go for a video of it, on whatever way its files are named.
#[test]
fn no_output_takes_the_place_of_a_file_of_a_volume() {
    let recording = Recording::new();
    let dir = recording.dir();
    let other = recording.folder().join("other");
    succeed(&other, "create {} --blocks 16 --block-size 256KiB");
    let link = recording.folder().join("link");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let before = fs::read(dir.join("data")).unwrap();
    for name in ["data", "volume.json", "blocktable", "timeline", "control"] {
        for place in ["{}", "{}/../volume", "{}/../other", "{}/../link"] {
            let export = format!("export {{}} --stream 1 --force -o {place}/{name}");
            refuses(&dir, &export, 2, "is a file of a volume");
            let play = format!("play {{}} --stream 1 --to {place}/{name}");
            refuses(&dir, &play, 2, "is a file of a volume");
        }
    }
    assert_eq!(fs::read(dir.join("data")).unwrap(), before);
    // Beside them there is room.
    succeed(&dir, "export {} --stream 1 -o {}/../data");
}

#[test]
fn an_export_to_stdout_is_told_how() {
    let recording = Recording::new();
    let dir = recording.dir();
    refuses(&dir, "export {} --stream 1 -o -", 2, "camring play --to -");
}

/// Two streams of one name, recorded by a program that does not mind.
#[test]
fn a_name_that_two_streams_have_is_told_with_their_numbers() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let writer = Writer::open(&dir, WriterOptions::default()).unwrap();
    let mut producer = writer.producer().unwrap();
    for id in [4, 7] {
        let setup = StreamSetup {
            name: "door".to_owned(),
            tracks: Vec::new(),
        };
        let gap = Gap {
            cause: GapCause::NoSignal,
            start: Timestamp(1_700_000_000_000_000),
            end: None,
            lost_count: None,
        };
        producer
            .accept(StreamId(id), Item::Setup(setup.into()))
            .unwrap();
        producer.accept(StreamId(id), Item::Gap(gap)).unwrap();
    }
    drop(producer);
    writer.close().unwrap();
    let text = "2 streams are called door, such as 4 and 7";
    refuses(&dir, "timeline {} --stream door", 10, text);
}

/// The disk under an export runs full.
#[test]
fn an_export_without_room_says_where_and_what_to_do() {
    const NAME: &str = "an_export_without_room_says_where_and_what_to_do";
    let recording = Recording::new();
    let place = folder();
    let mut mount = std::process::Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(place.path());
    if !mount.output().is_ok_and(|output| output.status.success()) {
        return skip(NAME, "cannot mount");
    }
    let file = place.path().join("door.mkv");
    let args = format!("export {{}} --stream 1 -o {}", file.display());
    let ended = run(&recording.dir(), &args);
    let left = fs::read_dir(place.path()).unwrap().count();
    let mut unmount = std::process::Command::new("umount");
    unmount.arg("-l").arg(place.path()).output().unwrap();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for text in ["door.mkv", "No space left", "Make room there"] {
        assert!(ended.stderr.contains(text), "{}", ended.stderr);
    }
    assert_eq!(left, 0, "files are left behind");
}
