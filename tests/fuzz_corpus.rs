//! Replays the fuzz corpora on a stable toolchain, through the very functions that are fuzzed.
//!
//! An input that once broke something stays in `fuzz/corpus` for ever, so this is also where such
//! a defect is kept from coming back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and its output says at which input"
)]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "libFuzzer's crate shares this file")]
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// (file, content) of every input of a target, in a fixed order.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpus().join(target);
    let entries = std::fs::read_dir(&folder).expect("every target has a corpus");
    let files: BTreeSet<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

/// A panic names its input: the line before it is the last one printed.
#[test]
fn no_known_input_breaks_a_parser() {
    for (name, target) in targets::TARGETS {
        for (path, bytes) in inputs(name) {
            println!("{name}: {}", path.display());
            target(&bytes);
        }
    }
}

/// The format may change under the corpora. Then all inputs would be refused at the first check,
/// and both the replay and the search would silently test nothing. A search that begins with few
/// kinds of inputs finds few others.
#[test]
fn every_corpus_has_inputs_of_many_kinds_that_get_through_the_parser() {
    for (name, target) in targets::TARGETS {
        let inputs = inputs(name);
        let through = inputs.iter().filter(|input| target(&input.1)).count();
        assert!(
            inputs.len() >= 12 && through >= 10,
            "of {} inputs of {name} {through} are accepted: run the example `seeds` of fuzz/",
            inputs.len()
        );
    }
}

/// A prefix of a good structure is what a torn write leaves.
#[test]
fn inputs_cut_short_anywhere_break_nothing() {
    for (name, target) in targets::TARGETS {
        for (_, bytes) in inputs(name) {
            let step = (bytes.len() / 500).max(1);
            for len in (0..bytes.len()).step_by(step) {
                target(bytes.get(..len).unwrap());
            }
        }
    }
}

#[test]
fn every_target_has_its_program_and_its_corpus() {
    let listed: BTreeSet<String> = targets::TARGETS.iter().map(|t| t.0.to_owned()).collect();
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries.map(|entry| name(entry.unwrap().path())).collect()
    };
    let programs = corpus().with_file_name("fuzz_targets");
    assert_eq!(names(&programs), listed);
    assert_eq!(names(&corpus()), listed);
}
