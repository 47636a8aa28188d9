//! How a test says that it cannot run here: `#[path = "support/skip.rs"] mod skip;`.
//!
//! `cargo xtask test` collects these lines, counts them, and compares them with
//! `tests/expected-skips.txt`. The test returns right after the call.

/// Reports that test `name` is skipped. The reason is fixed text: it is compared.
#[expect(clippy::print_stderr, reason = "this line is the report")]
pub(crate) fn skip(name: &str, reason: &str) {
    eprintln!("SKIP {name}: {reason}");
}
