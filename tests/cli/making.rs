//! `camring create` where it cannot succeed, or is stopped: what was there stays, and nothing is
//! left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::program::{Running, camring, end, folder, run, succeed};
use crate::skip::skip;

/// For `setpriv`: permissions count also for root.
const WITHOUT_PRIVILEGES: [&str; 4] = [
    "--bounding-set",
    "-dac_override,-dac_read_search",
    "--inh-caps",
    "-all",
];

/// Runs a program without `io_uring`, as many containers do.
const WITHOUT_IO_URING: &str = "
import ctypes, os, struct, sys
code = struct.pack('HBBI', 0x20, 0, 0, 0)             # load the number of the call
code += struct.pack('HBBI', 0x15, 0, 1, 425)          # io_uring_setup:
code += struct.pack('HBBI', 0x06, 0, 0, 0x00050001)   # EPERM
code += struct.pack('HBBI', 0x06, 0, 0, 0x7fff0000)   # all others: allowed
buffer = ctypes.create_string_buffer(code)
program = struct.pack('HxxxxxxP', 4, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit('no seccomp here')
os.execv(sys.argv[1], sys.argv[1:])
";

const PYTHON: &str = "/usr/bin/python3";

/// `command`, run by `program`.
fn wrapped(program: &str, args: &[&str], command: &Command) -> Command {
    let mut all = Command::new(program);
    all.args(args)
        .arg(command.get_program())
        .args(command.get_args());
    all.stdin(Stdio::null());
    all
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The directory belongs to somebody else. To make a volume there would be the wrong advice.
#[test]
fn a_volume_that_may_not_be_read_is_not_called_missing() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o000)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    for args in ["info {}", "commit {}", "export {} --stream 1 -o out.mkv"] {
        let mut command = camring(&dir, args);
        if is_root {
            // Root may read everything, unless it gives that up.
            command = wrapped("setpriv", &WITHOUT_PRIVILEGES, &command);
        }
        let ended = end(&mut command);
        assert_eq!(ended.code, Some(1), "{args}: {ended:?}");
        assert!(
            ended.stderr.contains("Permission denied"),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains("camring create"), "{}", ended.stderr);
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn where_io_uring_is_forbidden_nothing_is_made_and_nothing_is_lost() {
    const NAME: &str = "where_io_uring_is_forbidden_nothing_is_made_and_nothing_is_lost";
    let folder = folder();
    let dir = folder.path().join("volume");
    if !Path::new(PYTHON).exists() {
        return skip(NAME, "no Python");
    }
    let without = |args: &str| {
        let command = camring(&dir, args);
        end(&mut wrapped(PYTHON, &["-c", WITHOUT_IO_URING], &command))
    };
    let ended = without("create {} --size 64MiB");
    if ended.stderr.contains("no seccomp") {
        return skip(NAME, "no seccomp");
    }
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("io_uring"), "{}", ended.stderr);
    assert!(!dir.exists(), "{:?}", names_in(&dir));

    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let before = succeed(&dir, "info {}");
    let names = names_in(&dir);
    let ended = without("create {} --size 64MiB --force");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(names_in(&dir), names);
    assert_eq!(succeed(&dir, "info {}"), before);
}

/// Somebody has second thoughts while the zeroes are being written.
#[test]
fn a_creation_that_is_stopped_leaves_nothing() {
    const NAME: &str = "a_creation_that_is_stopped_leaves_nothing";
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 1)] {
        let folder = folder();
        let dir = folder.path().join("volume");
        let mut command = camring(&dir, "create {} --size 6GiB");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let creator = Running::start(&mut command);
        let has_begun = || {
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            entries
                .filter_map(|e| e.metadata().ok())
                .any(|m| m.len() > 0)
        };
        while creator.is_running() && !has_begun() {
            std::thread::yield_now();
        }
        creator.signal(signal);
        let ended = creator.end();
        if ended.code == Some(0) {
            return skip(NAME, "zeroes are written at once");
        }
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(!dir.exists(), "{:?}", names_in(&dir));
    }
}

/// After a power cut in the middle of creation there is no volume, and none has to be destroyed.
#[test]
fn a_creation_that_was_cut_off_is_no_volume() {
    let folder = folder();
    let dir = folder.path().join("volume");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("data.new"), [0; 9_000]).unwrap();
    let ended = run(&dir, "info {}");
    assert_eq!(ended.code, Some(10), "{ended:?}");
    assert!(ended.stderr.contains("not finished"), "{}", ended.stderr);
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    assert_eq!(names_in(&dir), ["data", "volume.json"]);
}
