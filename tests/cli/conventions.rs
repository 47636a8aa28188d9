//! What users expect of every program: forms of output, colours, how much is said, the environment.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Running, camring, end, folder, json, run, succeed};
use crate::pseudo::Pseudo;
use crate::recording::Recording;

/// The longest wait for something that will surely happen.
const PATIENCE: Duration = Duration::from_secs(30);

const ESCAPE: char = '\u{1b}';

#[test]
fn format_json_is_json_everywhere_and_each_document_says_its_schema() {
    let recording = Recording::new();
    let dir = recording.dir();
    let out = recording.folder().join("out.mkv");
    let export = format!("export {{}} --stream 1 --force -o {}", out.display());
    for args in [
        "info {}",
        "streams {}",
        "timeline {}",
        "blocks {}",
        "verify {}",
        &export,
    ] {
        let text = succeed(&dir, args);
        assert_eq!(
            succeed(&dir, &format!("{args} --format text")),
            text,
            "{args}"
        );
        let short = json(&dir, &format!("{args} --json"));
        assert_eq!(
            json(&dir, &format!("{args} --format json")),
            short,
            "{args}"
        );
        let both = run(&dir, &format!("{args} --json --format text"));
        assert_eq!(both.code, Some(2), "{args}: {both:?}");
    }
    for args in ["dump {} 1", "play {} --stream 2 --speed 64 --print"] {
        let lines = succeed(&dir, &format!("{args} --format json"));
        assert!(lines.lines().count() > 10, "{args}: {lines}");
        for line in lines.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(value["schema"], 1, "{args}: {line}");
        }
    }
}

/// The numbers are those of the JSON documents, and can be given back as arguments.
#[test]
fn sizes_are_printed_in_bytes_on_request() {
    let recording = Recording::new();
    let dir = recording.dir();
    assert!(succeed(&dir, "info {}").contains("4.0 MiB: 16 blocks of 256.0 KiB"));
    let exact = succeed(&dir, "info {} --bytes");
    assert!(
        exact.contains("4194304 B: 16 blocks of 262144 B"),
        "{exact}"
    );
    let out = recording.folder().join("out.mkv");
    let export = format!("export {{}} --stream 1 -o {} --bytes", out.display());
    let told = succeed(&dir, &export);
    let len = out.metadata().unwrap().len();
    assert!(told.contains(&format!(", {len} B, ")), "{told}");
    let read_len = json(&dir, "verify {} --json")["read_len"].to_string();
    let told = succeed(&dir, "verify {} --bytes");
    assert!(told.contains(&format!("read {read_len} B.")), "{told}");
    let new = recording.folder().join("new");
    let told = succeed(
        &new,
        "create {} --size 4194304B --block-size 262144 --bytes",
    );
    assert!(
        told.contains("4194304 B in 16 blocks of 262144 B"),
        "{told}"
    );
}

/// An error on stderr, which is the pipe here or a terminal.
fn error_line(variables: &[(&str, &str)], args: &str, on_terminal: bool) -> String {
    let folder = folder();
    let mut command = camring(folder.path(), args);
    command.env("TERM", "xterm").envs(variables.iter().copied());
    if !on_terminal {
        return end(&mut command).stderr;
    }
    let mut terminal = Pseudo::open();
    terminal.attach(&mut command);
    let ended = Running::start(&mut command).end();
    assert_eq!(ended.code, Some(10), "{ended:?}");
    terminal.read_until("no camring volume")
}

#[test]
fn colours_are_for_terminals_unless_somebody_says_otherwise() {
    let none: &[(&str, &str)] = &[];
    for (variables, args, on_terminal, has_colours) in [
        (none, "info {}", false, false),
        (none, "info {}", true, true),
        (none, "info {} --color never", true, false),
        (none, "info {} --color always", false, true),
        (&[("NO_COLOR", "1")], "info {}", true, false),
        (&[("CLICOLOR_FORCE", "1")], "info {}", false, true),
        (&[("CAMRING_COLOR", "never")], "info {}", true, false),
        (&[("CAMRING_COLOR", "always")], "info {}", false, true),
        // Whatever is nearer to the call counts more.
        (
            &[("CAMRING_COLOR", "always"), ("NO_COLOR", "1")],
            "info {}",
            false,
            true,
        ),
        (
            &[("CAMRING_COLOR", "always")],
            "info {} --color never",
            true,
            false,
        ),
        (&[("NO_COLOR", "1")], "info {} --color always", false, true),
    ] {
        let line = error_line(variables, args, on_terminal);
        assert!(line.contains("is no camring volume"), "{line}");
        assert_eq!(
            line.contains(ESCAPE),
            has_colours,
            "{variables:?} {args}: {line:?}"
        );
    }
}

/// How many lines `camring record` says on stderr, by their levels: to a camera that is not there.
fn said(flags: &str, log: Option<&str>) -> [usize; 4] {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let record = "record {} --camera 1=rtsp://127.0.0.1:9/x --for 1s";
    let mut command = camring(&dir, &format!("{record}{flags}"));
    if let Some(log) = log {
        command.env("RUST_LOG", log);
    }
    let ended = end(&mut command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("camring: no camera"),
        "errors are always said: {ended:?}"
    );
    ["WARN", "INFO", "DEBUG", "TRACE"].map(|level| {
        let is_one = |line: &&str| line.split_whitespace().nth(1) == Some(level);
        ended.stderr.lines().filter(is_one).count()
    })
}

#[test]
fn more_is_said_on_request_and_less() {
    let [warn, info, debug, trace] = said("", None);
    assert!(warn > 0 && info + debug + trace == 0);
    assert_eq!(said(" -q", None), [0; 4]);
    let [warn, _, debug, _] = said(" -v", None);
    assert!(warn > 0 && debug == 0, "{warn} {debug}");
    let [warn, _, debug, trace] = said(" -vv", None);
    assert!(
        warn > 0 && debug > 0 && trace == 0,
        "{warn} {debug} {trace}"
    );
    // The variable says it in full, and counts more.
    assert_eq!(said(" -vv", Some("off")), [0; 4]);
    let [.., trace] = said(" -q", Some("camring=trace"));
    assert!(trace > 0);
    let folder = folder();
    assert_eq!(run(folder.path(), "info {} -q -v").code, Some(2));
}

/// Somebody watches a recording, and somebody else only wants to hear of errors.
#[test]
fn the_status_moves_on_a_terminal_unless_it_is_to_be_quiet() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    for (flag, is_shown) in [("", true), (" --quiet", false)] {
        let terminal = Pseudo::open();
        let record = "record {} --camera 1=rtsp://127.0.0.1:9/x --for 2s";
        let mut command = camring(&dir, &format!("{record}{flag}"));
        terminal.attach(&mut command);
        let recorder = Running::start(&mut command);
        drop(command);
        assert_eq!(recorder.end().code, Some(1));
        let screen = terminal.rest();
        assert_eq!(screen.contains("0/1 cameras up"), is_shown, "{screen}");
        assert!(screen.contains("no camera has sent a frame"), "{screen}");
    }
}

/// A setting of a machine stands in its environment; a call can say otherwise.
#[test]
fn an_option_counts_more_than_its_variable() {
    let folder = folder();
    let dir = folder.path().join("volume");
    succeed(&dir, "create {} --blocks 16 --block-size 256KiB");
    let record = |args: &str, name: &str, value: &str| {
        let args = format!("record {{}} --camera 1=rtsp://127.0.0.1:9/x --for 1s {args}");
        end(camring(&dir, args.trim()).env(name, value))
    };
    let absent = record("", "CAMRING_CREDENTIALS", "/nowhere/at/all");
    assert_eq!(absent.code, Some(1), "{absent:?}");
    assert!(
        absent.stderr.contains("/nowhere/at/all"),
        "{}",
        absent.stderr
    );
    let given = record(
        "--credentials /elsewhere",
        "CAMRING_CREDENTIALS",
        "/nowhere",
    );
    assert!(given.stderr.contains("/elsewhere"), "{}", given.stderr);
    let pigeon = record("", "CAMRING_TRANSPORT", "pigeon");
    assert_eq!(pigeon.code, Some(2), "{pigeon:?}");
    assert!(pigeon.stderr.contains("pigeon"), "{}", pigeon.stderr);
    let udp = record("--transport udp", "CAMRING_TRANSPORT", "pigeon");
    assert_eq!(udp.code, Some(1), "{udp:?}");
    let help = run(&dir, "record --help").stdout;
    for name in ["CAMRING_CREDENTIALS", "CAMRING_TRANSPORT", "CAMRING_COLOR"] {
        assert!(help.contains(name), "{help}");
    }
}

#[test]
fn the_short_help_is_short_and_the_version_is_told() {
    let folder = folder();
    for command in ["", "record ", "export "] {
        let short = succeed(folder.path(), &format!("{command}-h"));
        let long = succeed(folder.path(), &format!("{command}--help"));
        assert!(short.len() < long.len(), "{command}");
        let ends = ["Examples:", "Exit codes:"];
        assert!(ends.iter().any(|end| long.contains(end)), "{long}");
        assert!(!ends.iter().any(|end| short.contains(end)), "{short}");
        let version = succeed(folder.path(), &format!("{command}-V"));
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    }
    let man = succeed(folder.path(), "man");
    for told in [
        "130 interrupted",
        "CAMRING_CREDENTIALS",
        "camring camera add",
    ] {
        assert!(man.contains(told), "{told}");
    }
}

/// Somebody presses Ctrl-C, and again because nothing happens: the program that reads has stopped.
#[test]
fn a_second_interrupt_ends_the_program_at_once() {
    let recording = Recording::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let len = fcntl_setpipe_size(&writer, 4_096).unwrap();
    let mut command = camring(&recording.dir(), "play {} --stream 2 --speed 64 --print");
    let player = Running::start(command.stdout(Stdio::from(writer)).stderr(Stdio::piped()));
    drop(command);
    let deadline = Instant::now() + PATIENCE;
    let go_on = || {
        assert!(Instant::now() < deadline, "it goes on for ever");
        std::thread::yield_now();
    };
    // No line is longer than 300 bytes: it waits for room in the pipe.
    while ioctl_fionread(&reader).unwrap() < len as u64 - 300 {
        go_on();
    }
    // Signals of a kind that come at the same time are one.
    while player.is_running() {
        player.signal(Signal::INT);
        go_on();
    }
    let ended = player.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
}
