//! A document that shows a command shows one that exists.

use super::markdown::code;
use super::tree::{Finding, Tree};
use crate::COMMANDS;

const PROGRAM_FOLDER: &str = "src/bin/camring/";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.markdown() {
        for piece in code(&file.text) {
            let words: Vec<&str> = piece
                .text
                .trim_start_matches("$ ")
                .split_whitespace()
                .collect();
            if let Some(message) = objection(tree, &words) {
                findings.push(Finding::new(&file.path, piece.line, message));
            }
        }
    }
    findings
}

fn objection(tree: &Tree, words: &[&str]) -> Option<String> {
    match *words {
        ["cargo", "xtask", name, ..] => {
            let known = COMMANDS.iter().any(|command| command.name == name);
            (is_name(name) && !known).then(|| {
                format!("`cargo xtask {name}` does not exist; `cargo xtask help` lists what does")
            })
        }
        ["camring" | "target/release/camring", name, ..] => (is_name(name)
            && !is_subcommand(tree, name))
        .then(|| format!("`camring {name}` does not exist; show only what works")),
        _ => None,
    }
}

/// A command's name is lower case; options and placeholders are not.
fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase())
}

/// clap derives `create` from a variant `Create`, so such a name must stand in the program's code.
fn is_subcommand(tree: &Tree, name: &str) -> bool {
    let mut variant = name.to_owned();
    if let Some(first) = variant.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    tree.rust(PROGRAM_FOLDER)
        .any(|(_, source)| source.words(&variant).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        let program = (
            "src/bin/camring/main.rs",
            "enum Command { Create(Create) } // Gone",
        );
        check(&Tree::of(&[("README.md", text), program])).len()
    }

    #[test]
    fn commands_of_the_project_are_looked_up() {
        assert_eq!(
            findings("`cargo xtask test` `cargo xtask` `cargo xtask <command>`"),
            0
        );
        assert_eq!(findings("```\n$ cargo xtask dance\n```"), 1);
    }

    #[test]
    fn commands_of_the_program_are_looked_up() {
        assert_eq!(
            findings("`camring create DIR` `camring` `camring --help`"),
            0
        );
        assert_eq!(findings("`camring gone DIR`"), 1);
        assert_eq!(findings("camring dances"), 0);
    }
}
