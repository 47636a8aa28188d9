//! docs/TESTING.md lists the test suites, all of them and no others.

use super::markdown::code;
use super::tree::{Finding, Tree, has_extension};

const DOCUMENT: &str = "docs/TESTING.md";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let suites = suites(tree);
    let Some(document) = tree.file(DOCUMENT) else {
        let finding = Finding::new(DOCUMENT, 0, "does not exist; it lists the test suites");
        return (!suites.is_empty())
            .then_some(finding)
            .into_iter()
            .collect();
    };
    let lines: Vec<&str> = document.text.lines().collect();
    let in_table = |line: usize| {
        lines
            .get(line - 1)
            .is_some_and(|line| line.starts_with('|'))
    };
    let rows: Vec<_> = code(&document.text)
        .into_iter()
        .filter(|piece| piece.text.starts_with("tests/") && in_table(piece.line))
        .collect();

    let mut findings = Vec::new();
    for suite in suites
        .iter()
        .filter(|suite| !rows.iter().any(|row| row.text == **suite))
    {
        findings.push(Finding::new(
            suite,
            0,
            format!("this suite has no row in {DOCUMENT}; add one with its tier and its minutes"),
        ));
    }
    for row in rows
        .iter()
        .filter(|row| !suites.iter().any(|suite| suite == row.text))
    {
        findings.push(Finding::new(
            DOCUMENT,
            row.line,
            format!("`{}` is no test suite; delete the row", row.text),
        ));
    }
    findings
}

/// `tests/name.rs`, and `tests/name` for a folder with a `main.rs` or a `Cargo.toml`.
fn suites(tree: &Tree) -> Vec<String> {
    let suite = |path: &String| {
        let inner = path.strip_prefix("tests/")?;
        match inner.split_once('/') {
            None => has_extension(inner, "rs").then(|| path.clone()),
            Some((folder, "main.rs" | "Cargo.toml")) => Some(format!("tests/{folder}")),
            Some(_) => None,
        }
    };
    tree.paths.iter().filter_map(suite).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(document: &str) -> usize {
        check(&Tree::of(&[
            ("tests/wrap.rs", ""),
            ("tests/embed/Cargo.toml", ""),
            ("tests/embed/src/lib.rs", ""),
            ("tests/support/skip.rs", ""),
            ("tests/expected-skips.txt", ""),
            (DOCUMENT, document),
        ]))
        .len()
    }

    #[test]
    fn every_suite_has_its_row() {
        assert_eq!(
            findings("| `tests/wrap.rs` | default |\n| `tests/embed` | default |\n"),
            0
        );
        assert_eq!(
            findings("| `tests/wrap.rs` | default |\nAnd `tests/embed`.\n"),
            1
        );
    }

    #[test]
    fn every_row_has_its_suite() {
        assert_eq!(
            findings("| `tests/wrap.rs` |\n| `tests/embed` |\n| `tests/gone.rs` |\n"),
            1
        );
    }

    #[test]
    fn suites_need_the_document() {
        assert_eq!(check(&Tree::of(&[("tests/wrap.rs", "")])).len(), 1);
        assert_eq!(check(&Tree::of(&[("src/lib.rs", "")])).len(), 0);
    }
}
