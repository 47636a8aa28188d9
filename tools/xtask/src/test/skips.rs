//! The list of skips that are expected, `tests/expected-skips.txt`.
//!
//! A line is `name: reason`, exactly as the summary prints it. A line that begins with `? ` may
//! or may not happen: it depends on the machine. Empty lines and lines with `#` are comments.

use std::collections::BTreeSet;

use crate::{Result, root};

const LIST: &str = "tests/expected-skips.txt";

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    skip: String,
    depends_on_machine: bool,
}

/// Reads the list.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) fn expected() -> Result<Vec<Expected>> {
    let text = std::fs::read_to_string(root().join(LIST))
        .map_err(|e| format!("cannot read {LIST}: {e}"))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<Expected> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let expected = lines.map(|line| {
        let optional = line.strip_prefix("? ");
        Expected {
            skip: optional.unwrap_or(line).to_owned(),
            depends_on_machine: optional.is_some(),
        }
    });
    expected.collect()
}

/// What was skipped and is not listed, and the other way round.
pub(crate) fn differences(expected: &[Expected], seen: &BTreeSet<String>) -> Vec<String> {
    let unexpected = seen
        .iter()
        .filter(|skip| !expected.iter().any(|line| line.skip == **skip));
    let mut differences: Vec<String> = unexpected
        .map(|skip| format!("not listed: {skip}"))
        .collect();
    let absent = expected
        .iter()
        .filter(|line| !line.depends_on_machine && !seen.contains(&line.skip));
    differences.extend(absent.map(|line| format!("listed, but not skipped: {}", line.skip)));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Why.\n\na: no disk\n? b: no nightly\n";

    fn differences_of(seen: &[&str]) -> Vec<String> {
        differences(
            &parse(TEXT),
            &seen.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn the_expected_skips_make_no_difference() {
        assert!(differences_of(&["a: no disk"]).is_empty());
        assert!(differences_of(&["a: no disk", "b: no nightly"]).is_empty());
    }

    #[test]
    fn a_new_skip_a_missing_one_and_another_reason_do() {
        assert_eq!(
            differences_of(&["a: no disk", "c: x"]),
            ["not listed: c: x"]
        );
        assert_eq!(differences_of(&[]), ["listed, but not skipped: a: no disk"]);
        assert_eq!(differences_of(&["a: other"]).len(), 2);
    }
}
