//! `camring create --force` and what goes before it: nothing is destroyed that was not named.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::program::{Ended, Running, camring, folder, json, run, succeed};
use crate::pseudo::Pseudo;
use crate::recording::Recording;

/// The names in `dir`, with their lengths.
fn files_in(dir: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().len())
        })
        .collect();
    files.sort();
    files
}

fn identity(dir: &Path) -> String {
    json(dir, "info {} --json")["volume"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// `create --force` on a terminal on which `answer` is typed when it asks, and what was asked.
fn force_and_answer(dir: &Path, answer: &str) -> (Ended, String) {
    let mut terminal = Pseudo::open();
    let mut command = camring(dir, "create {} --blocks 16 --block-size 256KiB --force");
    terminal.attach(&mut command);
    let running = Running::start(&mut command);
    let asked = terminal.read_until("to go on: ");
    terminal.controller.write_all(answer.as_bytes()).unwrap();
    let ended = running.end();
    (ended, asked)
}

/// A word that is typed, and not just a key.
#[test]
fn on_a_terminal_a_volume_is_named_and_goes_only_when_that_is_confirmed() {
    let recording = Recording::new();
    let dir = recording.dir();
    let old = identity(&dir);
    let before = succeed(&dir, "timeline {}");
    // The last one is the end of the input.
    for answer in ["no\n", "\n", "y\n", "yes please\n", "\u{4}"] {
        let (ended, asked) = force_and_answer(&dir, answer);
        assert_eq!(ended.code, Some(12), "{answer:?}: {ended:?}");
        for told in [&old, "4 streams", "4.0 MiB", "2026-11-18T11:06:40"] {
            assert!(asked.contains(told), "{asked} lacks {told}");
        }
        assert_eq!(succeed(&dir, "timeline {}"), before, "{answer:?}");
    }
    let (ended, _) = force_and_answer(&dir, "yes\n");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_ne!(identity(&dir), old);
}

/// A new volume destroys nothing, and --yes has answered before.
#[test]
fn nobody_is_asked_where_nothing_goes_or_the_answer_is_given() {
    let folder = folder();
    let dir = folder.path().join("volume");
    for flags in ["", " --force", " --force --yes"] {
        let terminal = Pseudo::open();
        let old = dir.exists().then(|| identity(&dir));
        let args = format!("create {{}} --blocks 16 --block-size 256KiB{flags}");
        if flags == " --force" {
            fs::remove_dir_all(&dir).unwrap();
        }
        let mut command = camring(&dir, &args);
        terminal.attach(&mut command);
        let ended = Running::start(&mut command).end();
        assert_eq!(ended.code, Some(0), "{flags}: {ended:?}");
        assert_ne!(Some(identity(&dir)), old);
    }
}

/// A script cannot type. It is told what went all the same, unless it wants to hear nothing.
#[test]
fn where_nobody_can_type_force_is_enough() {
    let recording = Recording::new();
    let dir = recording.dir();
    let create = "create {} --blocks 16 --block-size 256KiB";
    let refused = run(&dir, create);
    assert_eq!(refused.code, Some(12), "{refused:?}");
    let old = identity(&dir);
    let ended = run(&dir, &format!("{create} --force"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains(&old), "{}", ended.stderr);
    assert!(ended.stderr.contains("4 streams"), "{}", ended.stderr);
    let ended = run(&dir, &format!("{create} --force --quiet"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

/// What a dry run says is what happens without it, and it leaves everything as it is.
#[test]
fn a_dry_run_changes_nothing_and_refuses_what_would_be_refused() {
    let recording = Recording::new();
    let dir = recording.dir();
    let (old, files) = (identity(&dir), files_in(&dir));
    let create = "create {} --blocks 16 --block-size 256KiB";
    let told = succeed(&dir, &format!("{create} --force --dry-run"));
    assert!(told.contains("Would make"), "{told}");
    assert!(told.contains("4.0 MiB in 16 blocks of 256.0 KiB"), "{told}");
    assert!(
        told.contains("Would destroy") && told.contains(&old),
        "{told}"
    );
    for (args, code) in [
        (create, 12),
        ("create {} --size 900TiB --force", 1),
        ("create {} --blocks 3 --force", 2),
        ("create {}/a/b --blocks 16", 1),
    ] {
        let (wet, dry) = (run(&dir, args), run(&dir, &format!("{args} --dry-run")));
        assert_eq!(
            (wet.code, dry.code),
            (Some(code), Some(code)),
            "{args}: {dry:?}"
        );
        assert_eq!(dry.stdout, "", "{args}");
    }
    assert_eq!((identity(&dir), files_in(&dir)), (old, files));

    let absent = recording.folder().join("absent");
    let told = succeed(&absent, &format!("{create} --dry-run"));
    assert!(!told.contains("destroy"), "{told}");
    assert!(!absent.exists());

    let foreign = folder();
    fs::write(foreign.path().join("letter"), "dear all").unwrap();
    let ended = run(foreign.path(), &format!("{create} --force --dry-run"));
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert!(ended.stderr.contains("letter"), "{}", ended.stderr);
}

/// A directory is made anew only of what can be made anew.
#[test]
fn a_dry_run_of_rebuild_names_the_volume_and_makes_nothing() {
    let recording = Recording::new();
    let dir = recording.dir();
    let made = recording.folder().join("made");
    let rebuild = format!("rebuild {} {{}} --dry-run", dir.join("data").display());
    let told = succeed(&made, &rebuild);
    assert!(told.contains(&identity(&dir)), "{told}");
    assert!(told.starts_with("Would make "), "{told}");
    assert!(!made.exists());
    fs::create_dir(&made).unwrap();
    fs::write(made.join("letter"), "to somebody").unwrap();
    let ended = run(&made, &rebuild);
    assert_eq!(ended.code, Some(12), "{ended:?}");
}
