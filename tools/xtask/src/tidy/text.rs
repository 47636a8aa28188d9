//! Small rules about single lines.

use super::rust::Source;
use super::tree::{Finding, TextFile, Tree, has_extension};

/// Folders of somebody's machine. Split, so that this file passes.
const MACHINE_FOLDERS: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
];

/// Macros that mark unfinished work; code under a cfg escapes clippy's eye.
const UNFINISHED: &[&str] = &["todo!", "dbg!", "unimplemented!"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        machine_paths(file, &mut findings);
        if has_extension(&file.path, "rs") || has_extension(&file.path, "toml") {
            ascii(file, &mut findings);
        }
        if let Some(source) = &file.rust {
            module_docs(&file.path, source, &mut findings);
            unfinished(&file.path, source, &mut findings);
            ignored_tests(&file.path, source, &mut findings);
            sleeping_tests(&file.path, source, &mut findings);
        }
    }
    findings
}

fn machine_paths(file: &TextFile, findings: &mut Vec<Finding>) {
    for (number, line) in (1..).zip(file.text.lines()) {
        if let Some(folder) = MACHINE_FOLDERS
            .iter()
            .find(|folder| line.contains(**folder))
        {
            findings.push(Finding::new(
                &file.path,
                number,
                format!("`{folder}` is a folder of one machine; write a relative path"),
            ));
        }
    }
}

fn ascii(file: &TextFile, findings: &mut Vec<Finding>) {
    for (number, line) in (1..).zip(file.text.lines()) {
        if let Some(odd) = line.chars().find(|c| !c.is_ascii()) {
            let message = format!(
                "'{}' is not ASCII; write it with ASCII, or escaped in a string",
                odd.escape_unicode()
            );
            findings.push(Finding::new(&file.path, number, message));
        }
    }
}

fn module_docs(path: &str, source: &Source, findings: &mut Vec<Finding>) {
    let first = source
        .text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
    if !first.is_some_and(|line| line.starts_with("//!")) {
        findings.push(Finding::new(
            path,
            1,
            "begin with `//!`: what this file is, and what does not belong in it",
        ));
    }
}

fn unfinished(path: &str, source: &Source, findings: &mut Vec<Finding>) {
    for mark in UNFINISHED {
        let name = mark.trim_end_matches('!');
        for at in source
            .words(name)
            .filter(|&at| source.from(at).starts_with(mark))
        {
            findings.push(Finding::new(
                path,
                source.line_of(at),
                format!("`{mark}` marks unfinished work; finish it"),
            ));
        }
    }
}

fn ignored_tests(path: &str, source: &Source, findings: &mut Vec<Finding>) {
    for (at, _) in source.code.match_indices("#[ignore]") {
        findings.push(Finding::new(
            path,
            source.line_of(at),
            "say why: `#[ignore = \"reason\"]`; it becomes a line of the list of skips",
        ));
    }
}

/// A test that sleeps to wait for an event is slow on a fast machine and wrong on a slow one.
fn sleeping_tests(path: &str, source: &Source, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = source.text.lines().collect();
    let commented = |number: usize| {
        let line = |number: usize| {
            number
                .checked_sub(1)
                .and_then(|i| lines.get(i))
                .copied()
                .unwrap_or_default()
        };
        line(number).contains("//") || line(number - 1).trim_start().starts_with("//")
    };
    for at in source
        .words("sleep")
        .filter(|&at| source.from(at + "sleep".len()).starts_with('('))
    {
        let line = source.line_of(at);
        let in_test = path.starts_with("tests/") || source.is_test(at);
        if in_test && !commented(line) {
            findings.push(Finding::new(path, line, "tests wait for events, they do not sleep; if time itself is the matter, say so in a comment here"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)]))
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn folders_of_a_machine_are_refused_everywhere() {
        assert_eq!(
            findings(
                "docs/A.md",
                &format!("fine\nsee {}x\n", MACHINE_FOLDERS.concat())
            ),
            [2]
        );
        assert!(findings("docs/A.md", "see work/x and /etc/x\n").is_empty());
    }

    #[test]
    fn code_is_ascii_prose_need_not_be() {
        assert_eq!(findings("src/a.rs", "//! a\n// \u{e9}\n"), [2]);
        assert!(findings("docs/A.md", "\u{e9}\n").is_empty());
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(findings("src/a.rs", "fn f() {}\n"), [1]);
        assert!(findings("src/a.rs", "#![no_main]\n//! What it is.\n").is_empty());
    }

    #[test]
    fn unfinished_work_and_silent_skips_are_refused() {
        assert_eq!(findings("src/a.rs", "//! a\nfn f() { todo!() }\n"), [2]);
        assert_eq!(findings("tests/a.rs", "//! a\n#[ignore]\nfn f() {}\n"), [2]);
        assert!(
            findings(
                "tests/a.rs",
                "//! a\n#[ignore = \"needs a disk\"]\nfn f() {}\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_test_that_sleeps_gives_its_reason() {
        let sleep = "//! a\nfn f() {\n    sleep(SECOND);\n}\n";
        assert_eq!(findings("tests/a.rs", sleep), [3]);
        assert!(findings("src/a.rs", sleep).is_empty());
        assert!(
            findings(
                "tests/a.rs",
                "//! a\n// The lease has to run out.\nsleep(SECOND);\n"
            )
            .is_empty()
        );
        assert_eq!(
            findings(
                "src/a.rs",
                "//! a\n#[cfg(test)]\nmod t {\n fn f() {\n std::thread::sleep(S); } }\n"
            ),
            [5]
        );
    }
}
