//! Rules that the compiler keeps for us, as long as nobody turns them off.

use super::tree::{Finding, Tree};

/// Lints without which a promise of docs/STYLE.md is not kept.
const REQUIRED: &[&str] = &[
    "missing_docs",
    "missing_debug_implementations",
    "unsafe_code",
    "unsafe_op_in_unsafe_fn",
    "undocumented_unsafe_blocks",
    "multiple_unsafe_ops_per_block",
    "unwrap_used",
    "expect_used",
    "indexing_slicing",
    "missing_errors_doc",
    "allow_attributes_without_reason",
    "print_stdout",
    "print_stderr",
];

/// Lints that no file of the library may lift.
const NEVER_LIFTED: &[&str] = &["missing_docs", "missing_errors_doc"];

/// The members of the workspace, which take its lints over.
const MANIFESTS: &[&str] = &["Cargo.toml", "tools/xtask/Cargo.toml"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = required(tree);
    findings.extend(inherited(tree));
    findings.extend(lifted(tree));
    findings
}

fn required(tree: &Tree) -> Vec<Finding> {
    let manifest = tree
        .file("Cargo.toml")
        .map_or("", |file| file.text.as_str());
    let tables = manifest
        .split("\n[")
        .filter(|table| table.starts_with("workspace.lints."));
    let lines: Vec<&str> = tables.flat_map(str::lines).collect();
    let is_on = |lint: &str| {
        lines.iter().any(|line| {
            let level = line
                .strip_prefix(lint)
                .and_then(|rest| rest.trim_start().strip_prefix('='));
            level.is_some_and(|level| level.contains("\"warn\"") || level.contains("\"deny\""))
        })
    };
    let off = REQUIRED.iter().filter(|lint| !is_on(lint));
    off.map(|lint| {
        Finding::new(
            "Cargo.toml",
            0,
            format!("the lint `{lint}` is off; set it to warn or deny under [workspace.lints]"),
        )
    })
    .collect()
}

fn inherited(tree: &Tree) -> Vec<Finding> {
    let lax = MANIFESTS.iter().filter(|path| {
        let text = tree.file(path).map_or("", |file| file.text.as_str());
        !text.contains("[lints]\nworkspace = true")
    });
    lax.map(|path| {
        Finding::new(
            path,
            0,
            "the lints of the workspace are not taken over; add `[lints]` with `workspace = true`",
        )
    })
    .collect()
}

fn lifted(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.rust("src/") {
        for lint in NEVER_LIFTED {
            for at in source.words(lint) {
                findings.push(Finding::new(
                    path,
                    source.line_of(at),
                    format!("`{lint}` is not to be lifted; write the documentation"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> String {
        let lints: Vec<String> = REQUIRED
            .iter()
            .map(|lint| format!("{lint} = \"warn\""))
            .collect();
        format!(
            "[package]\n\n[workspace.lints.rust]\n{}\n\n[lints]\nworkspace = true\n",
            lints.join("\n")
        )
    }

    fn findings(manifest: &str, code: &str) -> usize {
        let member = ("tools/xtask/Cargo.toml", "[lints]\nworkspace = true\n");
        check(&Tree::of(&[
            ("Cargo.toml", manifest),
            member,
            ("src/lib.rs", code),
        ]))
        .len()
    }

    #[test]
    fn the_lints_have_to_be_on_and_taken_over() {
        assert_eq!(findings(&manifest(), ""), 0);
        assert_eq!(
            findings(
                &manifest().replace("missing_docs = \"warn\"", "missing_docs = \"allow\""),
                ""
            ),
            1
        );
        assert_eq!(findings(&manifest().replace("[lints]", "[other]"), ""), 1);
    }

    #[test]
    fn documentation_is_not_optional() {
        assert_eq!(
            findings(&manifest(), "#![allow(missing_docs, reason = \"later\")]"),
            1
        );
        assert_eq!(findings(&manifest(), "// missing_docs is on"), 0);
    }
}
