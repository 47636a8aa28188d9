//! The format document changes together with the code that lays bytes out.
//!
//! `docs/FORMAT.md` carries one line,
//! `<!-- layout: src/block/header.rs src/block/run.rs hash: 0123456789abcdef -->`,
//! with the files that define the layout and a hash over their code. Comments, tests and spaces
//! do not count. When the hash differs, somebody changed the layout and has to look at the
//! document; `cargo xtask tidy --bless` then renews the line.

use std::path::Path;

use super::rust::Source;
use super::tree::{Finding, Tree};
use crate::Result;

const DOCUMENT: &str = "docs/FORMAT.md";
const LAYOUT_FOLDER: &str = "src/block/";

/// The marker line, taken apart.
struct Marker<'a> {
    /// The line itself.
    line: &'a str,
    number: usize,
    files: Vec<&'a str>,
    hash: &'a str,
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    // Without the document there is nothing to compare; documents that link to it notice.
    let Some(document) = tree.file(DOCUMENT) else {
        return Vec::new();
    };
    let Some(marker) = marker(&document.text) else {
        return vec![Finding::new(
            DOCUMENT,
            0,
            "no line `<!-- layout: FILES hash: HASH -->`; add it, then run `cargo xtask tidy --bless`",
        )];
    };
    let hash = match hash(tree, &marker.files) {
        Ok(hash) => hash,
        Err(message) => return vec![Finding::new(DOCUMENT, marker.number, message)],
    };
    let mut findings = unlisted(tree, &marker);
    if hash != marker.hash {
        findings.push(Finding::new(DOCUMENT, marker.number, "the code of the layout changed; bring this document up to date, then run `cargo xtask tidy --bless`"));
    }
    findings
}

/// Writes the hash of the code into the document.
///
/// # Errors
///
/// When there is no document, no marker line or no such file, or it cannot be written.
pub(crate) fn bless(tree: &Tree, root: &Path) -> Result {
    let document = tree
        .file(DOCUMENT)
        .ok_or_else(|| format!("{DOCUMENT} does not exist"))?;
    let marker = marker(&document.text).ok_or_else(|| format!("{DOCUMENT} has no layout line"))?;
    let hash = hash(tree, &marker.files)?;
    let line = format!("<!-- layout: {} hash: {hash} -->", marker.files.join(" "));
    let text = document.text.replacen(marker.line, &line, 1);
    std::fs::write(root.join(DOCUMENT), text)
        .map_err(|e| format!("cannot write {DOCUMENT}: {e}"))?;
    println!("{line}");
    Ok(())
}

fn marker(text: &str) -> Option<Marker<'_>> {
    let mut lines = (1..).zip(text.lines());
    lines.find_map(|(number, line)| {
        let inner = line
            .trim()
            .strip_prefix("<!-- layout:")?
            .strip_suffix("-->")?;
        let (files, hash) = inner.split_once("hash:")?;
        let files = files.split_whitespace().collect();
        Some(Marker {
            line,
            number,
            files,
            hash: hash.trim(),
        })
    })
}

/// A new file beside the listed ones may lay bytes out too.
fn unlisted(tree: &Tree, marker: &Marker<'_>) -> Vec<Finding> {
    let ours = tree.rust(LAYOUT_FOLDER).map(|(path, _)| path);
    let missing = ours.filter(|path| !marker.files.contains(path));
    missing
        .map(|path| {
            Finding::new(
                DOCUMENT,
                marker.number,
                format!("the layout line does not list {path}; add it"),
            )
        })
        .collect()
}

fn hash(tree: &Tree, files: &[&str]) -> Result<String> {
    let mut state = Fnv::new();
    for path in files {
        let file = tree.file(path).and_then(|file| file.rust.as_ref());
        let source =
            file.ok_or_else(|| format!("the layout line names {path}, which does not exist"))?;
        state.add(path.as_bytes());
        for word in shipped_code(source).split_whitespace() {
            state.add(word.as_bytes());
        }
    }
    Ok(format!("{:016x}", state.0))
}

/// The code without comments, up to the tests that end a file.
fn shipped_code(source: &Source) -> &str {
    let end = source
        .code
        .find("#[cfg(test)]")
        .unwrap_or(source.code.len());
    source.uncommented.get(..end).unwrap_or(&source.uncommented)
}

/// FNV-1a: enough to notice a change, and it says the same on every machine.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds the bytes and an end mark, so that `ab c` differs from `a bc`.
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    const CODE: &str = "const MAGIC: &[u8] = b\"CR\";\n#[cfg(test)]\nmod tests {}\n";

    fn hash_of(code: &str) -> String {
        hash(
            &Tree::of(&[("src/block/header.rs", code)]),
            &["src/block/header.rs"],
        )
        .unwrap()
    }

    fn findings(code: &str, document: &str) -> Vec<String> {
        let tree = Tree::of(&[("src/block/header.rs", code), (DOCUMENT, document)]);
        check(&tree)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    fn document(files: &str) -> String {
        format!(
            "# Format\n<!-- layout: {files} hash: {} -->\n",
            hash_of(CODE)
        )
    }

    #[test]
    fn the_hash_is_the_published_function() {
        let mut state = Fnv::new();
        state.add(b"");
        // FNV-1a of one zero byte.
        assert_eq!(state.0, 0xaf63_bd4c_8601_b7df);
    }

    #[test]
    fn comments_spaces_and_tests_do_not_change_the_layout() {
        let same =
            "// why\nconst MAGIC:  &[u8]\n= b\"CR\";\n#[cfg(test)]\nmod tests { fn f() {} }\n";
        assert_eq!(hash_of(CODE), hash_of(same));
        assert_ne!(hash_of(CODE), hash_of(&CODE.replace("CR", "CX")));
    }

    #[test]
    fn code_that_changed_alone_is_noticed() {
        assert!(findings(CODE, &document("src/block/header.rs")).is_empty());
        assert_eq!(
            findings(&CODE.replace("CR", "CX"), &document("src/block/header.rs")).len(),
            1
        );
    }

    #[test]
    fn the_line_lists_exactly_the_files_that_exist() {
        assert!(
            findings(CODE, &document("src/block/gone.rs"))
                .concat()
                .contains("gone.rs")
        );
        assert!(findings(CODE, &document("")).concat().contains("header.rs"));
        assert!(findings(CODE, "# Format\n").concat().contains("no line"));
    }
}
