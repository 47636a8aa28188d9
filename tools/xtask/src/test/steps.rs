//! The steps of the default tier, in order: cheap ones first.

use std::process::Command as Process;

use super::{Session, Verdict};
use crate::process::cargo;
use crate::setup::Purpose;
use crate::{fuzz, loom, root, setup, tidy};

/// One numbered line of the report.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Session) -> Verdict,
}

/// The name of the step that may download, and is not held to the bound.
pub(crate) const SETUP: &str = "setup";

pub(crate) const STEPS: &[Step] = &[
    Step {
        name: SETUP,
        run: install,
    },
    Step {
        name: "rustfmt",
        run: rustfmt,
    },
    Step {
        name: "tidy",
        run: house_rules,
    },
    Step {
        name: "clippy",
        run: clippy,
    },
    Step {
        name: "tests",
        run: tests,
    },
    Step {
        name: "doc-tests",
        run: doc_tests,
    },
    Step {
        name: "engine-only",
        run: engine_only,
    },
    Step {
        name: "loom",
        run: loom_models,
    },
    Step {
        name: "embed",
        run: embed,
    },
    Step {
        name: "fuzz",
        run: fuzz_targets,
    },
    Step {
        name: "docs",
        run: docs,
    },
];

/// How long each fuzz target searches.
const FUZZ_SECONDS: u32 = 20;
/// The parsers of what a disk holds; without one of these, the tier fails.
const REQUIRED_FUZZ_TARGETS: [&str; 4] = ["block_header", "run_and_chunk", "index", "whole_image"];

fn install(_: &mut Session) -> Verdict {
    match setup::install(Purpose::Test) {
        Ok(()) => Verdict::Passed,
        Err(message) => Verdict::Failed(message),
    }
}

fn rustfmt(session: &mut Session) -> Verdict {
    let workspace = cargo(&["fmt", "--all", "--check"]);
    let apart = ["fuzz/Cargo.toml", "tests/embed/Cargo.toml"].into_iter();
    let apart = apart.filter(|manifest| root().join(manifest).is_file());
    let apart = apart.map(|manifest| cargo(&["fmt", "--check", "--manifest-path", manifest]));
    session.run_all([workspace].into_iter().chain(apart))
}

fn house_rules(session: &mut Session) -> Verdict {
    let findings = match tidy::findings() {
        Ok(findings) => findings,
        Err(message) => return Verdict::Failed(message),
    };
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    session.note(&lines.concat());
    match findings.len() {
        0 => Verdict::Passed,
        count => Verdict::Failed(format!("{count} findings")),
    }
}

fn clippy(session: &mut Session) -> Verdict {
    let everything = cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    let engine = cargo(&[
        "clippy",
        "--no-default-features",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    session.run_all([everything, engine])
}

/// Unit, property and integration tests; the fuzz corpora are replayed by one of them.
fn tests(session: &mut Session) -> Verdict {
    let targets = [
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--no-fail-fast",
    ];
    let mut process = cargo(&["test"]);
    // Without --show-output, libtest hides the reports of skips.
    process.args(targets).args(["--", "--show-output"]);
    // The lessons of docs/tutorial are programs, which one of the suites runs.
    session.run_all([cargo(&["build", "--examples"]), process])
}

fn doc_tests(session: &mut Session) -> Verdict {
    session.run_all([cargo(&["test", "--doc", "--package", "camring"])])
}

/// The engine without features builds, and brings neither a runtime nor a C library.
fn engine_only(session: &mut Session) -> Verdict {
    let build = cargo(&[
        "build",
        "--package",
        "camring",
        "--lib",
        "--no-default-features",
    ]);
    if !session.run(build).success {
        return Verdict::Failed("the engine does not build without features".to_owned());
    }
    let tree = session.run(cargo(&[
        "tree",
        "--package",
        "camring",
        "--no-default-features",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
    ]));
    let unwanted = unwanted_crates(&tree.output);
    if !tree.success || !unwanted.is_empty() {
        return Verdict::Failed(format!(
            "the engine without features depends on: {}",
            unwanted.join(", ")
        ));
    }
    Verdict::Passed
}

/// Crates of a `cargo tree` that are a runtime, compile C, or bind a C library.
fn unwanted_crates(tree: &str) -> Vec<&str> {
    let names = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let unwanted = names.filter(|name| match *name {
        // The kernel's constants in Rust; it binds nothing.
        "linux-raw-sys" => false,
        "tokio" | "cc" | "cmake" | "bindgen" | "pkg-config" => true,
        other => other.ends_with("-sys"),
    });
    unwanted.collect()
}

fn loom_models(session: &mut Session) -> Verdict {
    if !loom::exists() {
        return Verdict::Skipped("tests/loom.rs does not exist".to_owned());
    }
    session.run_all([loom::process()])
}

/// A crate of its own that uses the library as a stranger would.
fn embed(session: &mut Session) -> Verdict {
    let folder = root().join("tests/embed");
    if !folder.join("Cargo.toml").is_file() {
        return Verdict::Skipped("tests/embed does not exist".to_owned());
    }
    let mut process = Process::new("cargo");
    process
        .args(["test", "--", "--show-output"])
        .current_dir(folder);
    process.env("CARGO_TARGET_DIR", root().join("target/embed"));
    session.run_all([process])
}

fn fuzz_targets(session: &mut Session) -> Verdict {
    let targets = fuzz::targets();
    let is_there = |name: &&str| targets.iter().any(|target| target == name);
    let lost: Vec<&str> = REQUIRED_FUZZ_TARGETS
        .into_iter()
        .filter(|name| !is_there(name))
        .collect();
    if !lost.is_empty() {
        return Verdict::Failed(format!(
            "these fuzz targets do not exist: {}",
            lost.join(", ")
        ));
    }
    if !fuzz::has_nightly() {
        return Verdict::Skipped("no nightly toolchain".to_owned());
    }
    let searches: Result<Vec<Process>, String> = targets
        .iter()
        .map(|target| fuzz::search(target, FUZZ_SECONDS))
        .collect();
    match searches {
        Ok(searches) => session.run_all([fuzz::build()].into_iter().chain(searches)),
        Err(message) => Verdict::Failed(message),
    }
}

fn docs(session: &mut Session) -> Verdict {
    let mut process = cargo(&["doc", "--workspace", "--no-deps"]);
    process.env("RUSTDOCFLAGS", "-D warnings");
    session.run_all([process])
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn runtimes_and_c_libraries_are_recognised() {
        let tree =
            "camring v0.1.0\nlinux-raw-sys v0.9\nlibc v0.2\nblkid-sys v0.1\ntokio v1.4 (*)\n";
        assert_eq!(unwanted_crates(tree), ["blkid-sys", "tokio"]);
    }
}
