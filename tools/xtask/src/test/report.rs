//! Reads what cargo and the test programs print.

/// How many tests there were. Skips are kept by name, elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// The most lines of a failed step that are shown; the log has them all.
const MAX_EXCERPT_LINES: usize = 120;

/// The sum of all `test result:` lines. A test that reported a skip returned early, and libtest
/// took it for passed: it is not counted so here.
pub(crate) fn counts(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines() {
        if let Some(result) = line.strip_prefix("test result: ") {
            counts.passed += number_before(result, " passed");
            counts.failed += number_before(result, " failed");
        }
    }
    let skipped = output.lines().filter_map(skip_line).count();
    counts.passed = counts.passed.saturating_sub(skipped);
    counts
}

fn number_before(text: &str, label: &str) -> usize {
    let before = text.split(label).next().unwrap_or_default();
    let number = before.rsplit(|c: char| !c.is_ascii_digit()).next();
    number.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Every skip as `name: reason`: those that tests report, and those that `#[ignore]` makes.
pub(crate) fn skips(output: &str) -> Vec<String> {
    let skips = output
        .lines()
        .filter_map(|line| skip_line(line).or_else(|| ignored_line(line)));
    skips.collect()
}

/// `SKIP name: reason`.
fn skip_line(line: &str) -> Option<String> {
    let (name, reason) = line.strip_prefix("SKIP ")?.split_once(": ")?;
    Some(format!("{name}: {reason}"))
}

/// `test name ... ignored, reason`.
fn ignored_line(line: &str) -> Option<String> {
    let (name, reason) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    let reason = reason.strip_prefix(", ").unwrap_or("no reason given");
    Some(format!("{name}: {reason}"))
}

/// The names of the tests that failed.
pub(crate) fn failed_tests(output: &str) -> Vec<String> {
    let name = |line: &str| {
        Some(
            line.strip_prefix("test ")?
                .strip_suffix(" ... FAILED")?
                .to_owned(),
        )
    };
    output.lines().filter_map(name).collect()
}

/// The part of a failed step's output that says why: what libtest shows of failed tests, else the
/// last lines.
pub(crate) fn excerpt(output: &str) -> String {
    let mut failures = Vec::new();
    let mut inside = false;
    for line in output.lines() {
        inside = (inside || line == "failures:") && !line.starts_with("test result:");
        if inside {
            failures.push(line);
        }
    }
    let lines: Vec<&str> = if failures.is_empty() {
        output.lines().collect()
    } else {
        failures
    };
    let hidden = lines.len().saturating_sub(MAX_EXCERPT_LINES);
    let shown: Vec<String> = lines
        .iter()
        .skip(hidden)
        .map(|line| format!("    {line}"))
        .collect();
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 4 tests
test a ... ok
test b ... FAILED
test c ... ignored, needs a disk
test d ... ok

successes:

---- d stdout ----
SKIP d: no loop devices

failures:

---- b stdout ----
it broke

failures:
    b

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    #[test]
    fn a_skip_is_not_counted_as_passed() {
        assert_eq!(
            counts(OUTPUT),
            Counts {
                passed: 31,
                failed: 1
            }
        );
        assert!(counts("warning: nothing\n").is_zero());
    }

    #[test]
    fn both_kinds_of_skips_are_found_with_their_reasons() {
        assert_eq!(skips(OUTPUT), ["c: needs a disk", "d: no loop devices"]);
        assert_eq!(skips("test e ... ignored\n"), ["e: no reason given"]);
    }

    #[test]
    fn failures_are_named_and_shown() {
        assert_eq!(failed_tests(OUTPUT), ["b"]);
        let shown = excerpt(OUTPUT);
        assert!(shown.contains("it broke") && !shown.contains("no loop devices"));
    }

    #[test]
    fn output_without_tests_is_shown_by_its_end() {
        let lines: Vec<String> = (0..500).map(|number| format!("line {number}")).collect();
        let output = lines.join(
            "
",
        );
        let shown = excerpt(&output);
        assert!(shown.ends_with("line 499") && !shown.contains("line 300\n"));
    }
}
