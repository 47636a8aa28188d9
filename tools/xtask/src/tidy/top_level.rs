//! The top level of the checkout stays as short as it is.

use super::tree::{Finding, TOP_LEVEL, Tree};

/// What commands leave there: a build, and the demo with what it exports. `.gitignore` has the same.
fn is_left_by_a_command(path: &str) -> bool {
    path == "target" || path.starts_with("demo-volume")
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let tops = tree.paths.iter().filter(|path| !path.contains('/'));
    let known = |path: &str| {
        path.starts_with('.') || TOP_LEVEL.contains(&path) || is_left_by_a_command(path)
    };
    let strange = tops.filter(|path| !known(path));
    let message = format!(
        "the top level holds only {} and dot files; put it into one of them",
        TOP_LEVEL.join(", ")
    );
    strange
        .map(|path| Finding::new(path, 0, message.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agreed_names_stand_at_the_top() {
        let tree = Tree::of(&[
            ("src/lib.rs", ""),
            ("Cargo.toml", ""),
            (".gitignore", ""),
            ("target", ""),
            ("demo-volume", ""),
            ("demo-volume-h265.mkv", ""),
        ]);
        assert_eq!(check(&tree), []);
        assert_eq!(check(&Tree::of(&[("notes.txt", "")])).len(), 1);
    }
}
