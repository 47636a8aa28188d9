//! The lessons of docs/tutorial: each program runs by itself and prints what its page says, and the
//! page quotes only what stands in the program.
//!
//! The programs are examples, which `cargo build --examples` builds, and `cargo test` too when no
//! target is named.
#![cfg(not(camring_loom))]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A line of a page that stands for any lines of the output.
const ELLIPSIS: &str = "...";

#[test]
fn lesson_1_writing_prints_what_its_page_says() {
    check("1_writing");
}

#[test]
fn lesson_2_reading_prints_what_its_page_says() {
    check("2_reading");
}

#[test]
fn lesson_3_finding_prints_what_its_page_says() {
    check("3_finding");
}

#[test]
fn lesson_4_export_prints_what_its_page_says() {
    check("4_export");
}

#[test]
fn lesson_5_playing_prints_what_its_page_says() {
    check("5_playing");
}

#[test]
fn lesson_6_manager_prints_what_its_page_says() {
    check("6_manager");
}

fn check(lesson: &str) {
    let page = source(&format!("{lesson}.md"));
    let program = source(&format!("{lesson}.rs"));
    for quote in fenced(&page, "rust") {
        let is_there = stands_in(&lines(&program), &quote);
        assert!(
            is_there,
            "{lesson}.md quotes what is not in the program:\n{}",
            quote.join("\n")
        );
    }
    let output = run(lesson);
    let mut rest = lines(&output);
    let told = fenced(&page, "text");
    assert!(!told.is_empty(), "{lesson}.md shows no output");
    for line in told.into_iter().flatten().filter(|line| *line != ELLIPSIS) {
        let at = rest.iter().position(|found| *found == line);
        let at = at.unwrap_or_else(|| panic!("`{line}` is not in the output:\n{output}"));
        rest.drain(..=at);
    }
}

/// Runs a lesson in a directory of its own; its output.
fn run(lesson: &str) -> String {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = program(lesson);
    let output = Command::new(&program).arg(dir.path()).output();
    let output = output.unwrap_or_else(|e| {
        panic!(
            "{}: {e}; `cargo build --examples` builds it",
            program.display()
        )
    });
    assert!(
        output.status.success(),
        "{lesson}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Examples lie in a folder beside that of this program.
fn program(lesson: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join(format!("tutorial_{lesson}"))
}

fn source(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorial");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn lines(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
}

/// The lines of each fenced block in `language`.
fn fenced<'a>(page: &'a str, language: &str) -> Vec<Vec<&'a str>> {
    let blocks = page.split("```").skip(1).step_by(2);
    let wanted = blocks.filter_map(|block| block.strip_prefix(language));
    wanted.map(lines).collect()
}

/// Whether all of `quote` stands in `program`, one line behind the other.
fn stands_in(program: &[&str], quote: &[&str]) -> bool {
    !quote.is_empty() && program.windows(quote.len()).any(|window| window == quote)
}
