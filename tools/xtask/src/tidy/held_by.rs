//! A document that says which test holds a promise names one that exists.
//!
//! The last column of a table that is headed `held by` has the names of tests between backticks.
//! Paths stand there too; those are the business of `links`.

use std::collections::HashSet;

use super::markdown::{Piece, code};
use super::rust::is_word;
use super::tree::{Finding, TextFile, Tree};

const HEADING: &str = "held by";

/// Here every row names a test; elsewhere an empty field is work to be done.
const COMPLETE: &str = "docs/VALKKA.md";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let tests = tests(tree);
    tree.markdown()
        .flat_map(|file| check_file(file, &tests))
        .collect()
}

fn check_file(file: &TextFile, tests: &HashSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cell in cells(&file.text) {
        let pieces = code(cell.text).into_iter().map(|piece| piece.text);
        let names: Vec<&str> = pieces.filter(|name| !name.contains('/')).collect();
        if names.is_empty() && file.path == COMPLETE {
            let message = "this row names no test; write one, or leave the row out";
            findings.push(Finding::new(&file.path, cell.line, message));
        }
        for name in names.into_iter().filter(|name| !tests.contains(name)) {
            let message = format!("there is no test `{name}` in src or tests; correct the name");
            findings.push(Finding::new(&file.path, cell.line, message));
        }
    }
    findings
}

/// The last cells of the rows below a heading that ends in [`HEADING`].
fn cells(text: &str) -> Vec<Piece<'_>> {
    let mut cells = Vec::new();
    // How many lines of the table have passed; none outside.
    let mut passed = None;
    for (line, row) in (1..).zip(text.lines()) {
        let inner = row
            .trim()
            .strip_prefix('|')
            .and_then(|r| r.strip_suffix('|'));
        let last = inner.and_then(|row| row.rsplit('|').next()).map(str::trim);
        passed = match (last, passed) {
            (None, _) => None,
            (Some(last), None) => (last == HEADING).then_some(1),
            (Some(_), Some(1)) => Some(2),
            (Some(text), Some(count)) => {
                cells.push(Piece { line, text });
                Some(count)
            }
        };
    }
    cells
}

/// The names of all tests.
fn tests(tree: &Tree) -> HashSet<&str> {
    let sources = tree.rust("src/").chain(tree.rust("tests/"));
    let names = sources.flat_map(|(_, source)| {
        let marks = source.code.match_indices("#[test]").map(|found| found.0);
        marks.filter_map(|mark| {
            let (_, named) = source.from(mark).split_once("fn ")?;
            named.split(|c| !is_word(c)).next()
        })
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "#[test]\nfn first() {}\nfn no_test() {}\n#[test]\n// why\nfn last() {}\n";

    fn findings(path: &str, table: &str) -> Vec<usize> {
        let tree = Tree::of(&[("tests/a.rs", CODE), (path, table)]);
        check(&tree).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn only_tests_that_exist_are_named() {
        let table = "| a | held by |\n|---|---|\n| x | `first`, `src/a.rs`: `last` |\n";
        assert!(findings("docs/A.md", table).is_empty());
        let table = "| a | held by |\n|---|---|\n| x | `first` |\n| `gone` | `gone`, `no_test` |\n";
        assert_eq!(findings("docs/A.md", table), [4, 4]);
    }

    #[test]
    fn only_tables_with_the_heading_are_looked_at() {
        let table = "| a | what |\n|---|---|\n| x | `gone` |\n\n`gone`\n";
        assert!(findings("docs/A.md", table).is_empty());
        let table = "| a | held by |\n|---|---|\n\n| a | b |\n|---|---|\n| x | `gone` |\n";
        assert!(findings("docs/A.md", table).is_empty());
    }

    #[test]
    fn a_row_without_a_test_is_refused_where_none_may_lack() {
        let table = "| a | held by |\n|---|---|\n| x | |\n";
        assert!(findings("docs/A.md", table).is_empty());
        assert_eq!(findings(COMPLETE, table), [3]);
    }
}
