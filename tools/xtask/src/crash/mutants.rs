//! `cargo xtask crash --mutants`: the protocol without one of its rules, or without two that stand in
//! for each other. The simulation has to notice each.
//!
//! A mutant is a change of the source, made in a copy of the checkout, so that nothing of it is in
//! the product. One whose text is no longer there fails: whoever changes a rule changes its mutant.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::process::cargo;
use crate::{Result, root};

/// One change: the file, what stands in it once, and what stands there instead.
type Edit = (&'static str, &'static str, &'static str);

/// The protocol with something missing.
struct Mutant {
    name: &'static str,
    edits: &'static [Edit],
}

const BLOCKS: &str = "src/writer/blocks.rs";
const COMMIT: &str = "src/writer/commit.rs";
const CORE: &str = "src/writer/core.rs";
const FAULT: &str = "src/writer/fault.rs";
const WRITER: &str = "src/writer/mod.rs";
const RECOVER: &str = "src/volume/recover.rs";
const LOAD: &str = "src/volume/load.rs";
const HEAD: &str = "src/volume/head.rs";
const INDEX: &str = "src/volume/index.rs";
const TABLE: &str = "src/table/query.rs";
const VOID: &str = "src/volume/void.rs";

/// A block is opened as soon as its header is written.
const HEADER_NOT_FLUSHED: Edit = (
    BLOCKS,
    ".pop_front_if(|ahead| ahead.state == HeaderState::Durable);",
    ".pop_front_if(|ahead| ahead.state != HeaderState::Submitted);",
);
/// The first header of a life is not waited for.
const SEGMENT_NOT_FLUSHED: Edit = (
    BLOCKS,
    "self.phase = Phase::Opening;",
    "self.phase = Phase::Ready;",
);

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "W2 and W4: no header is flushed before its runs",
        edits: &[HEADER_NOT_FLUSHED, SEGMENT_NOT_FLUSHED],
    },
    Mutant {
        name: "W5: a flush counts for writes that were under way when it began",
        edits: &[
            (
                COMMIT,
                ".is_some_and(|token| self.first_token >= token);",
                ".is_some();",
            ),
            (
                COMMIT,
                ".completed_count\n            .checked_sub(1)",
                ".unflushed\n            .len()\n            .checked_sub(1)",
            ),
            (
                COMMIT,
                "run_count: self.completed_count,",
                "run_count: self.unflushed.len(),",
            ),
            (
                COMMIT,
                "self.completed_count -= flush.run_count;",
                "self.completed_count = self.completed_count.saturating_sub(flush.run_count);",
            ),
        ],
    },
    Mutant {
        name: "W10: only the newest void range is repeated",
        edits: &[(
            BLOCKS,
            "voids: self.voids.clone(),\n        };",
            "voids: self.voids.last().copied().into_iter().collect(),\n        };",
        )],
    },
    Mutant {
        name: "W11: whatever is in a slot counts",
        edits: &[
            (
                LOAD,
                "(id.sequence == *sequence || is_kept).then_some(id)",
                "(id.sequence != 0 || is_kept).then_some(id)",
            ),
            (
                TABLE,
                "            head.saturating_sub(self.slot_count())\n                .saturating_add(1)\n                .max(1),\n            head,",
                "            1,\n            head,",
            ),
        ],
    },
    Mutant {
        name: "F1: a failed header leaves the slot to the new block",
        edits: &[(
            FAULT,
            "if self.ahead.iter().any(|ahead| ahead.is_under_way_to(slot)) {",
            "if self.ahead.iter().any(|ahead| ahead.is_under_way_to(slot)) && false {",
        )],
    },
    Mutant {
        name: "F2: a failed flush is believed",
        edits: &[(
            CORE,
            "Err(e) => self.fail(&format!(\"flush: {e}\"), None),",
            "Err(_) => self.flushed(&flush),",
        )],
    },
    Mutant {
        name: "F4: a sequence is used again after a failure",
        edits: &[(
            BLOCKS,
            "let Some(sequence) = self.next_usable(self.headers_written) else {\n            return self.give_up_volume(\"every slot is bad or pinned\");",
            "let Some(sequence) = self.next_usable(self.durable.sequence.min(self.headers_written)) else {\n            return self.give_up_volume(\"every slot is bad or pinned\");",
        )],
    },
    Mutant {
        name: "F5: what a failure leaves is not void",
        edits: &[(
            FAULT,
            "self.void_from.get_or_insert(self.durable.next());",
            "self.void_from = None;",
        )],
    },
    Mutant {
        name: "O2: recovery decides on what is in the cache only",
        edits: &[(WRITER, "    fetch.flush()?;\n", "")],
    },
    Mutant {
        name: "O4: the search for the head ends at the first older slot",
        edits: &[(
            HEAD,
            "pub const PROBE_COUNT: u32 = 8;",
            "pub const PROBE_COUNT: u32 = 1;",
        )],
    },
    Mutant {
        name: "O6: runs count behind a missing one",
        edits: &[(
            RECOVER,
            "if run.run != number + 1 {",
            "if run.run <= number {",
        )],
    },
    Mutant {
        name: "O6: a torn run counts",
        edits: &[(
            RECOVER,
            "let is_whole = |run: &&RunHeader| !walked.torn.contains(&run.position());",
            "let is_whole = |run: &&RunHeader| walked.torn.len() < usize::MAX && run.run > 0;",
        )],
    },
    Mutant {
        name: "O7: the watermark of runs is ignored",
        edits: &[(
            RECOVER,
            "newest_mark(&headers, &walked.runs).unwrap_or(own)",
            "newest_mark(&headers, &[]).unwrap_or(own)",
        )],
    },
    Mutant {
        name: "O7b: recovery goes on whatever cannot be read",
        edits: &[(
            RECOVER,
            "self.headers <= 1 && self.pages <= 8",
            "self.headers <= u32::MAX && self.pages <= u64::MAX",
        )],
    },
    Mutant {
        name: "O7c: a hole between runs is not noticed",
        edits: &[(INDEX, "if run.offset != at {", "if run.offset < at {")],
    },
    Mutant {
        name: "O8: a trailer proves its runs",
        edits: &[(
            LOAD,
            "trailer.filter(|trailer| verdict.counts(trailer.last_position()))",
            "trailer.filter(|trailer| verdict.counts(trailer.last_position()) || true)",
        )],
    },
    Mutant {
        name: "O9: the torn end of a life is not void",
        edits: &[(
            RECOVER,
            "void_from: walked.hides_behind(end).then(|| end.next()),",
            "void_from: walked.hides_behind(end).then(|| end.next()).filter(|_| false),",
        )],
    },
    Mutant {
        name: "O9: the next life goes on at the end of the last one",
        edits: &[(
            WRITER,
            "head: recovered.head,",
            "head: recovered.end.sequence,",
        )],
    },
    Mutant {
        name: "O10: void ranges are not obeyed",
        edits: &[(
            VOID,
            "position <= self.end && !self.voids.iter().any(|void| void.contains(position))",
            "position <= self.end",
        )],
    },
];

/// How many states of each kind a mutant gets before it counts as missed.
const STATE_COUNT: u64 = 100_000;

/// Tries the mutants whose names contain `only`, or all.
pub(super) fn run(only: Option<&str>) -> Result {
    let copy = root().join("target/mutants/checkout");
    let chosen: Vec<_> = MUTANTS
        .iter()
        .filter(|mutant| only.is_none_or(|only| mutant.name.contains(only)))
        .collect();
    if chosen.is_empty() {
        return Err(format!(
            "no mutant's name contains '{}'",
            only.unwrap_or("")
        ));
    }
    let mut missed = Vec::new();
    for mutant in &chosen {
        copy_folder(&root(), &copy)?;
        for edit in mutant.edits {
            apply(&copy, edit)?;
        }
        let verdict = simulate(&copy).map_err(|e| format!("{}: {e}", mutant.name))?;
        println!(
            "{}: {}",
            mutant.name,
            verdict.as_deref().unwrap_or("MISSED")
        );
        if verdict.is_none() {
            missed.push(mutant.name);
        }
    }
    println!(
        "{} of {} mutants were noticed",
        chosen.len() - missed.len(),
        chosen.len()
    );
    if missed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the simulation does not notice: {}",
        missed.join("; ")
    ))
}

fn apply(copy: &Path, (file, from, to): &Edit) -> Result {
    let path = copy.join(file);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let count = text.matches(from).count();
    if count != 1 {
        return Err(format!("{file} has {count} times, not once: {from}"));
    }
    fs::write(&path, text.replacen(from, to, 1)).map_err(|e| format!("{}: {e}", path.display()))
}

/// Builds the copy and runs its simulation; what that has found, if anything.
fn simulate(copy: &Path) -> Result<Option<String>> {
    let test = ["test", "--no-default-features", "--test", "crash"];
    let in_copy = |more: &[&str]| {
        let mut process = cargo(&test);
        process.args(more).current_dir(copy);
        process.env("CARGO_TARGET_DIR", root().join("target/mutants/build"));
        process.env("CAMRING_STATES", STATE_COUNT.to_string());
        process.env("RUST_BACKTRACE", "0");
        process.stderr(Stdio::piped()).stdout(Stdio::piped());
        process
            .output()
            .map_err(|e| format!("cannot start cargo: {e}"))
    };
    let built = in_copy(&["--no-run"])?;
    if !built.status.success() {
        let log = String::from_utf8_lossy(&built.stderr).into_owned();
        return Err(format!("it does not build:\n{log}"));
    }
    let ran = in_copy(&["--", "--test-threads", "1"])?;
    if ran.status.success() {
        return Ok(None);
    }
    let output = [ran.stdout, ran.stderr].concat();
    let output = String::from_utf8_lossy(&output);
    let mut lines = output
        .lines()
        .skip_while(|line| !line.contains("panicked at"));
    let found = lines.nth(1).unwrap_or("it failed without a word");
    Ok(Some(found.chars().take(160).collect()))
}

/// Makes `to` what `from` is, but for what is built and what git keeps.
fn copy_folder(from: &Path, to: &Path) -> Result {
    let wrong = |e: std::io::Error| format!("cannot copy {}: {e}", from.display());
    fs::create_dir_all(to).map_err(wrong)?;
    for entry in fs::read_dir(from).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let name = entry.file_name();
        if ["target", ".git"].iter().any(|left_out| name == *left_out) {
            continue;
        }
        let (source, copy) = (entry.path(), to.join(&name));
        if entry.file_type().map_err(wrong)?.is_dir() {
            copy_folder(&source, &copy)?;
            continue;
        }
        let bytes = fs::read(&source).map_err(wrong)?;
        // What is as it was keeps its time, so that little is built again.
        if fs::read(&copy).ok().as_ref() != Some(&bytes) {
            fs::write(&copy, bytes).map_err(wrong)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_changes_something_that_is_there_once() {
        for mutant in MUTANTS {
            for (file, from, to) in mutant.edits {
                let text = fs::read_to_string(root().join(file)).unwrap_or_default();
                assert_eq!(text.matches(from).count(), 1, "{}: {from}", mutant.name);
                assert_ne!(from, to, "{}", mutant.name);
            }
        }
    }
}
