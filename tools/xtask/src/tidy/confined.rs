//! What may stand in few files only: unsafe code, and the names of shared memory.

use super::paths::starting_with;
use super::rust::Source;
use super::tree::{Finding, Tree};

/// Where `unsafe` is permitted: the two files that talk to the kernel about memory, the binding of
/// libblkid, and the ring that will be shared with ingest workers, which is not written yet.
const UNSAFE_FILES: &[&str] = &[
    "src/io/buffer.rs",
    "src/io/ring.rs",
    "src/io/blkid.rs",
    "src/base/shm.rs",
];

/// The only file that imports atomics, `Arc` and `OnceLock`, so that loom can stand in for them.
const SYNC_FILE: &str = "src/base/sync.rs";

/// Names of `std::sync` that come through the door.
const GUARDED: &[&str] = &["Arc", "OnceLock", "LazyLock", "Weak", "atomic", "*"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let confined = tree.rust("").flat_map(|(path, source)| {
        let mut findings = unsafe_code(path, source);
        findings.extend(shared_memory(path, source));
        findings
    });
    confined.collect()
}

fn unsafe_code(path: &str, source: &Source) -> Vec<Finding> {
    if UNSAFE_FILES.contains(&path) {
        return Vec::new();
    }
    let message = format!(
        "unsafe code belongs in {} only; make a safe function there",
        UNSAFE_FILES.join(", ")
    );
    source
        .words("unsafe")
        .map(|at| Finding::new(path, source.line_of(at), message.clone()))
        .collect()
}

/// The program is built on the public API and cannot be modelled by loom: it is free.
fn shared_memory(path: &str, source: &Source) -> Vec<Finding> {
    if !path.starts_with("src/") || path.starts_with("src/bin/") || path == SYNC_FILE {
        return Vec::new();
    }
    let used = starting_with(source, &["std", "core", "alloc", "loom"]).into_iter();
    let guarded = used.filter(|path| {
        let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
        match names[..] {
            ["loom", ..] | [_, "sync" | "rc"] => true,
            [_, "sync", name, ..] => GUARDED.contains(&name),
            _ => false,
        }
    });
    let message = |names: &[String]| {
        format!(
            "`{}` comes through `crate::base::sync`, so that loom can model it",
            names.join("::")
        )
    };
    guarded
        .map(|used| Finding::new(path, source.line_of(used.at), message(&used.names)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn unsafe_code_is_refused_outside_its_files() {
        assert_eq!(count("src/io/ring.rs", "unsafe { f() }"), 0);
        assert_eq!(count("src/io/mod.rs", "unsafe { f() }"), 1);
        assert_eq!(count("tests/a.rs", "unsafe impl Send for X {}"), 1);
    }

    #[test]
    fn the_word_alone_is_not_the_deed() {
        assert_eq!(
            count(
                "src/a.rs",
                "// unsafe\n#![deny(unsafe_code)]\nf(\"unsafe\");"
            ),
            0
        );
    }

    #[test]
    fn atomics_are_imported_in_one_file() {
        assert_eq!(
            count("src/base/sync.rs", "use std::sync::atomic::AtomicU64;"),
            0
        );
        assert_eq!(
            count("src/table/row.rs", "use std::sync::atomic::AtomicU64;"),
            1
        );
        assert_eq!(
            count("src/table/row.rs", "use std::{fmt, sync::{Arc, Mutex}};"),
            1
        );
        assert_eq!(
            count("src/table/row.rs", "let x = std::sync::Arc::new(1);"),
            1
        );
        assert_eq!(count("src/table/row.rs", "use std::sync;"), 1);
        assert_eq!(count("src/table/row.rs", "use loom::thread;"), 1);
    }

    #[test]
    fn locks_the_program_and_tests_are_free() {
        assert_eq!(
            count("src/volume/mod.rs", "use std::sync::{Mutex, mpsc};"),
            0
        );
        assert_eq!(count("src/bin/camring/main.rs", "use std::sync::Arc;"), 0);
        assert_eq!(count("tests/a.rs", "use std::sync::atomic::AtomicU64;"), 0);
    }
}
