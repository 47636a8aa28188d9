//! A document that names a file names one that exists.

use super::markdown::{Piece, code, links};
use super::tree::{Finding, TOP_LEVEL, TextFile, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.markdown()
        .flat_map(|file| check_file(tree, file))
        .collect()
}

fn check_file(tree: &Tree, file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for link in links(&file.text) {
        let elsewhere = link.text.is_empty() || link.text.contains(':');
        if !elsewhere && !tree.has(&joined(&file.path, link.text)) {
            findings.push(broken(&file.path, &link));
        }
    }
    // The change log speaks of files that are gone.
    if file.path != "docs/CHANGELOG.md" {
        let named = code(&file.text)
            .into_iter()
            .filter(|piece| is_path(piece.text));
        findings.extend(
            named
                .filter(|piece| !tree.has(piece.text))
                .map(|piece| broken(&file.path, &piece)),
        );
    }
    findings
}

fn broken(path: &str, piece: &Piece<'_>) -> Finding {
    Finding::new(
        path,
        piece.line,
        format!(
            "`{}` does not exist; correct the path, or write `<name>` for a placeholder",
            piece.text
        ),
    )
}

/// Does this piece of code name one file of the checkout, from its top?
fn is_path(code: &str) -> bool {
    let plain = code
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/_-.".contains(c));
    let Some((top, _)) = code.split_once('/') else {
        return false;
    };
    plain && TOP_LEVEL.contains(&top)
}

/// `link` as seen from the folder of `document`.
fn joined(document: &str, link: &str) -> String {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in link.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Tree::of(&[
            (path, text),
            ("src/lib.rs", "//! x"),
            ("docs/STYLE.md", ""),
        ]))
        .len()
    }

    #[test]
    fn links_are_followed_from_the_document() {
        assert_eq!(
            findings(
                "README.md",
                "[a](docs/STYLE.md) [b](https://example.org) [c](#d)"
            ),
            0
        );
        assert_eq!(
            findings(
                "docs/A.md",
                "[a](STYLE.md#x) [b](../src/lib.rs) [c](../src)"
            ),
            0
        );
        assert_eq!(findings("docs/A.md", "[a](docs/STYLE.md)"), 1);
    }

    #[test]
    fn paths_between_backticks_exist_too() {
        assert_eq!(
            findings(
                "docs/A.md",
                "`src/lib.rs` `src/` `fuzz/<name>` `src/*.rs` `a/b`"
            ),
            0
        );
        assert_eq!(findings("docs/A.md", "`src/gone.rs`"), 1);
        assert_eq!(findings("docs/CHANGELOG.md", "`src/gone.rs`"), 0);
    }
}
