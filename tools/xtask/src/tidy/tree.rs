//! The checkout as the rules see it: text files with their paths, and findings about them.

use std::fmt;
use std::path::Path;

use super::rust::Source;
use crate::Result;

/// What stands at the top of the checkout, folders first; dot files are free.
pub(crate) const TOP_LEVEL: &[&str] = &[
    "src",
    "tests",
    "benches",
    "fuzz",
    "tools",
    "docs",
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

/// Folders with text that is ours although their name begins with a dot.
const DOT_FOLDERS: &[&str] = &[".cargo", ".ci", ".github"];

/// Folders that programs fill, wherever they stand: their names count, their files do not.
const FILLED_BY_PROGRAMS: &[&str] = &["target", "artifacts", "corpus", "__pycache__"];

/// Folders and files of the checkout, sorted by path.
pub(crate) struct Tree {
    pub(crate) files: Vec<TextFile>,
    /// Every path, also of files that are not text, relative to the checkout, with `/`.
    pub(crate) paths: Vec<String>,
}

/// One file that is valid UTF-8.
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The same as Rust code, when it is.
    pub(crate) rust: Option<Source>,
}

/// A broken rule, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// Counted from 1; 0 for the whole file.
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

impl Tree {
    /// Reads the checkout.
    ///
    /// # Errors
    ///
    /// When a folder or file cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self {
            files: Vec::new(),
            paths: Vec::new(),
        };
        for name in TOP_LEVEL.iter().chain(DOT_FOLDERS) {
            tree.add(root, name)?;
        }
        tree.add_names_of_top_level(root)?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        tree.paths.sort();
        Ok(tree)
    }

    /// A tree out of thin air, for the tests of the rules.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let paths = files.iter().map(|file| file.0.to_owned()).collect();
        let files = files
            .iter()
            .map(|(path, text)| TextFile::new(path, (*text).to_owned()));
        Self {
            files: files.collect(),
            paths,
        }
    }

    /// The file at `path`, when it exists and is text.
    pub(crate) fn file(&self, path: &str) -> Option<&TextFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Is there a file or a folder at `path`?
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let inside = |known: &String| {
            known
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        path.is_empty() || self.paths.iter().any(inside)
    }

    /// The documents.
    pub(crate) fn markdown(&self) -> impl Iterator<Item = &TextFile> {
        self.files
            .iter()
            .filter(|file| has_extension(&file.path, "md"))
    }

    /// The Rust files whose path begins with `folder`.
    pub(crate) fn rust<'a>(
        &'a self,
        folder: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Source)> {
        let ours = self
            .files
            .iter()
            .filter(move |file| file.path.starts_with(folder));
        ours.filter_map(|file| Some((file.path.as_str(), file.rust.as_ref()?)))
    }

    fn add(&mut self, root: &Path, path: &str) -> Result {
        let full = root.join(path);
        let fail = |e: std::io::Error| format!("cannot read {path}: {e}");
        if full.is_dir() {
            for entry in std::fs::read_dir(&full).map_err(fail)? {
                let name = entry
                    .map_err(fail)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned();
                if FILLED_BY_PROGRAMS.contains(&name.as_str()) {
                    self.paths.push(format!("{path}/{name}"));
                } else {
                    self.add(root, &format!("{path}/{name}"))?;
                }
            }
        } else if full.is_file() {
            self.paths.push(path.to_owned());
            let bytes = std::fs::read(&full).map_err(fail)?;
            if let Ok(text) = String::from_utf8(bytes) {
                self.files.push(TextFile::new(path, text));
            }
        }
        Ok(())
    }

    /// Names that stand at the top but do not belong there are paths too, so that a rule sees them.
    fn add_names_of_top_level(&mut self, root: &Path) -> Result {
        let fail = |e| format!("cannot read the checkout: {e}");
        for entry in std::fs::read_dir(root).map_err(fail)? {
            let name = entry
                .map_err(fail)?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if !TOP_LEVEL.contains(&name.as_str()) {
                self.paths.push(name);
            }
        }
        Ok(())
    }
}

/// Does the path end in `.extension`?
pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

impl TextFile {
    fn new(path: &str, text: String) -> Self {
        let rust = has_extension(path, "rs").then(|| Source::new(&text));
        Self {
            path: path.to_owned(),
            text,
            rust,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_exists_when_something_lies_in_it() {
        let tree = Tree::of(&[("src/io/ring.rs", "")]);
        assert!(tree.has("src/io/ring.rs") && tree.has("src/io") && tree.has("src/io/"));
        assert!(!tree.has("src/i") && !tree.has("src/io/ring"));
    }

    #[test]
    fn a_finding_leads_an_editor_to_its_line() {
        assert_eq!(
            Finding::new("src/a.rs", 7, "x").to_string(),
            "src/a.rs:7: x"
        );
        assert_eq!(Finding::new("src/a.rs", 0, "x").to_string(), "src/a.rs: x");
    }
}
