//! A file is read at one sitting, a function at one glance.

use super::rust::{Source, is_word};
use super::tree::{Finding, Tree};

/// Lines of a file, tests included.
const MAX_FILE_LINES: usize = 600;
/// Lines of a function, from `fn` to its closing brace.
const MAX_FUNCTION_LINES: usize = 70;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust("")
        .flat_map(|(path, source)| check_file(path, source))
        .collect()
}

fn check_file(path: &str, source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_FILE_LINES {
        let message =
            format!("{lines} lines, at most {MAX_FILE_LINES}; split it by what its parts are");
        findings.push(Finding::new(path, 0, message));
    }
    for (at, end) in functions(source) {
        let (first, last) = (source.line_of(at), source.line_of(end));
        let lines = last - first + 1;
        if lines > MAX_FUNCTION_LINES {
            let message = format!(
                "a function of {lines} lines, at most {MAX_FUNCTION_LINES}; give its steps names"
            );
            findings.push(Finding::new(path, first, message));
        }
    }
    findings
}

/// (`fn`, closing brace) of every function that has a body.
fn functions(source: &Source) -> Vec<(usize, usize)> {
    let named = source.words("fn").filter(|&at| {
        // A function's name follows; a function pointer's type has a parenthesis there.
        source
            .from(at + 2)
            .trim_start()
            .starts_with(|c| is_word(c) || c == '$')
    });
    let with_body = named.filter_map(|at| {
        let body = at + body_offset(source.from(at))?;
        Some((at, source.end_of_braces(body).saturating_sub(1)))
    });
    with_body.collect()
}

/// Where the body's brace is; none for a declaration. Brackets hold array lengths and generics.
fn body_offset(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function_of(lines: usize) -> String {
        format!(
            "fn f(a: [u8; 4]) {{\n{}}}\n",
            "    g();\n".repeat(lines - 2)
        )
    }

    fn findings(text: &str) -> Vec<Finding> {
        check(&Tree::of(&[("src/a.rs", text)]))
    }

    #[test]
    fn a_function_may_have_seventy_lines() {
        assert!(findings(&function_of(70)).is_empty());
        let text = format!("\n{}", function_of(71));
        assert_eq!(findings(&text).first().map(|finding| finding.line), Some(2));
    }

    #[test]
    fn a_file_may_have_six_hundred_lines() {
        assert!(findings(&"// x\n".repeat(600)).is_empty());
        assert_eq!(findings(&"// x\n".repeat(601)).len(), 1);
    }

    #[test]
    fn only_functions_with_a_body_are_measured() {
        let lines = "\n".repeat(80);
        assert!(findings(&format!("trait T {{ fn a();{lines} fn b(); }}")).is_empty());
        assert!(findings(&format!("struct S {{ f: fn(u8),{lines} g: u8 }}")).is_empty());
        assert_eq!(
            findings(&format!("impl S {{ async fn a() {{ {lines} }} }}")).len(),
            1
        );
    }
}
