//! `cargo xtask tidy`: the house rules, read off the checkout.
//!
//! Each rule is a module with one function from the checkout to its findings. A finding says
//! where, what, and what to do. Rules about meaning are clippy's and rustdoc's; here are those
//! that no general tool knows.

mod commands;
mod confined;
mod format_hash;
mod held_by;
mod layers;
mod lengths;
mod links;
mod lints;
mod markdown;
mod paths;
mod rust;
mod suites;
mod text;
mod top_level;
mod tree;

use crate::args::Args;
use crate::{Command, Result, root};
use tree::Tree;

pub(crate) use tree::Finding;

pub(crate) const COMMAND: Command = Command {
    name: "tidy",
    usage: "[--bless]",
    summary: "Checks the house rules; `--bless` renews the hash in docs/FORMAT.md.",
    run,
};

type Rule = fn(&Tree) -> Vec<Finding>;

/// The rules, in the order in which their findings are printed.
const RULES: &[Rule] = &[
    top_level::check,
    layers::check,
    lengths::check,
    confined::check,
    lints::check,
    text::check,
    format_hash::check,
    suites::check,
    links::check,
    held_by::check,
    commands::check,
];

fn run(args: &mut Args) -> Result {
    let bless = args.flag("--bless");
    args.finish()?;
    let tree = Tree::read(&root())?;
    if bless {
        return format_hash::bless(&tree, &root());
    }
    let findings = findings_of(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("{} files are tidy.", tree.files.len());
            Ok(())
        }
        count => Err(format!(
            "{count} findings; docs/STYLE.md has the rules and their reasons"
        )),
    }
}

/// What is wrong with the checkout.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) fn findings() -> Result<Vec<Finding>> {
    Ok(findings_of(&Tree::read(&root())?))
}

fn findings_of(tree: &Tree) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule(tree)).collect()
}
