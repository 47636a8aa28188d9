//! Paths in Rust code: `crate::a::{b, c as d}` as a list of whole paths.

use super::rust::{Source, is_word};

/// One path as the code spells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Where it begins, in bytes.
    pub(crate) at: usize,
    /// Its names; a glob ends in `*`.
    pub(crate) names: Vec<String>,
    /// The name that `as` gives it, or its last one.
    pub(crate) known_as: String,
}

/// Nested braces deeper than this are not followed; rustfmt'd code has two or three levels.
const MAX_DEPTH: usize = 16;

/// Every path of the code whose first name is one of `first`.
pub(crate) fn starting_with(source: &Source, first: &[&str]) -> Vec<Path> {
    let mut paths = Vec::new();
    for name in first {
        for at in source.words(name) {
            let begins = !source
                .code
                .get(..at)
                .is_some_and(|before| before.trim_end().ends_with("::"));
            if begins {
                let mut scanner = Scanner { source, at };
                scanner.tree(at, &mut Vec::new(), 0, &mut paths);
            }
        }
    }
    paths.sort_by_key(|path| path.at);
    paths
}

struct Scanner<'a> {
    source: &'a Source,
    at: usize,
}

impl Scanner<'_> {
    /// Reads `name::name::{tree, tree}`; adds every path that it stands for.
    fn tree(&mut self, begin: usize, names: &mut Vec<String>, depth: usize, paths: &mut Vec<Path>) {
        let outer = names.len();
        while let Some(name) = self.name() {
            names.push(name);
            if !self.take("::") {
                break;
            }
            if self.take("{") {
                if depth < MAX_DEPTH {
                    self.group(names, depth, paths);
                }
                names.truncate(outer);
                return;
            }
        }
        let last = names.last().cloned().unwrap_or_default();
        let known_as = self.alias().unwrap_or(last);
        paths.push(Path {
            at: begin,
            names: names.clone(),
            known_as,
        });
        names.truncate(outer);
    }

    fn group(&mut self, names: &mut Vec<String>, depth: usize, paths: &mut Vec<Path>) {
        while !self.take("}") && self.at < self.source.code.len() {
            let begin = self.skip_space();
            self.tree(begin, names, depth + 1, paths);
            if !self.take(",") && !self.rest().trim_start().starts_with('}') {
                return;
            }
        }
    }

    fn alias(&mut self) -> Option<String> {
        let rest = self.rest();
        let after = rest.trim_start().strip_prefix("as")?;
        after.starts_with(char::is_whitespace).then_some(())?;
        self.at += rest.len() - after.len();
        self.name()
    }

    fn name(&mut self) -> Option<String> {
        if self.take("*") {
            return Some("*".to_owned());
        }
        self.skip_space();
        let name: String = self.rest().chars().take_while(|&c| is_word(c)).collect();
        self.at += name.len();
        (!name.is_empty()).then_some(name)
    }

    fn take(&mut self, mark: &str) -> bool {
        let rest = self.rest();
        let Some(after) = rest.trim_start().strip_prefix(mark) else {
            return false;
        };
        self.at += rest.len() - after.len();
        true
    }

    fn skip_space(&mut self) -> usize {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    fn rest(&self) -> &str {
        self.source.from(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let source = Source::new(text);
        let paths = starting_with(&source, &["crate", "super"]);
        paths.iter().map(|path| path.names.join("::")).collect()
    }

    #[test]
    fn braces_are_spread_out() {
        assert_eq!(
            paths("use crate::{a::{B, C as D}, e::*};\nfn f() { super::super::g() }"),
            [
                "crate::a::B",
                "crate::a::C",
                "crate::e::*",
                "super::super::g"
            ]
        );
    }

    #[test]
    fn code_and_macros_are_read_comments_are_not() {
        assert_eq!(
            paths("let x = crate::a::b(1); // crate::c\n$crate::d!()"),
            ["crate::a::b", "crate::d"]
        );
        assert_eq!(paths("pub(crate) fn f() {}"), ["crate"]);
    }

    #[test]
    fn an_alias_is_remembered() {
        let source = Source::new("pub use crate::a::{B as C};");
        let known: Vec<_> = starting_with(&source, &["crate"])
            .into_iter()
            .map(|path| path.known_as)
            .collect();
        assert_eq!(known, ["C"]);
    }

    #[test]
    fn broken_text_ends_the_search() {
        assert!(paths("use crate::{").is_empty());
        assert_eq!(paths("use crate::{a"), ["crate::a"]);
    }
}
