//! Rust text with its comments and literals blanked out, so that a plain search finds only code.
//!
//! This is no parser: it knows where comments, strings and characters begin and end, and which
//! braces belong together. The rules need no more, and it builds in a second.

/// One Rust file.
pub(crate) struct Source {
    /// The code: comments, strings and characters are spaces; lines and columns are kept.
    pub(crate) code: String,
    /// The text without comments: strings are kept, for rules that need them.
    pub(crate) uncommented: String,
    /// The text as it is.
    pub(crate) text: String,
}

/// What a byte of a Rust file belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let kinds = kinds(text.as_bytes());
        let keep = |wanted: &[Kind]| {
            let bytes = text.bytes().zip(&kinds);
            let kept = bytes.map(|(byte, kind)| {
                if byte == b'\n' || wanted.contains(kind) {
                    byte
                } else {
                    b' '
                }
            });
            // Whole literals and comments are blanked, so what is left is valid UTF-8.
            String::from_utf8_lossy(&kept.collect::<Vec<u8>>()).into_owned()
        };
        Self {
            code: keep(&[Kind::Code]),
            uncommented: keep(&[Kind::Code, Kind::Literal]),
            text: text.to_owned(),
        }
    }

    /// The line, counted from 1, that holds the byte at `at`.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        let before = self.code.as_bytes().iter().take(at);
        1 + before.filter(|&&byte| byte == b'\n').count()
    }

    /// Where `word` stands in the code as a word of its own.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let found = self.code.match_indices(word).map(|found| found.0);
        found.filter(move |&at| {
            let before = self.code.get(..at).and_then(|s| s.chars().next_back());
            let after = self
                .code
                .get(at + word.len()..)
                .and_then(|s| s.chars().next());
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    }

    /// The code from `at` on.
    pub(crate) fn from(&self, at: usize) -> &str {
        self.code.get(at..).unwrap_or_default()
    }

    /// The byte after the brace that closes the first one opened at or after `at`; the end of the
    /// file when braces do not match.
    pub(crate) fn end_of_braces(&self, at: usize) -> usize {
        let mut depth = 0_usize;
        for (offset, byte) in self.from(at).bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' if depth <= 1 => return at + offset + 1,
                b'}' => depth -= 1,
                _ => {}
            }
        }
        self.code.len()
    }

    /// Is the byte at `at` inside an item marked `#[cfg(test)]`?
    pub(crate) fn is_test(&self, at: usize) -> bool {
        let marks = self.code.match_indices("#[cfg(test)]").map(|found| found.0);
        marks
            .take_while(|&mark| mark < at)
            .any(|mark| at < self.end_of_item(mark))
    }

    /// The end of the item that starts at `at`: its closing brace, or its semicolon.
    fn end_of_item(&self, at: usize) -> usize {
        match self.from(at).find(['{', ';']) {
            Some(offset) if self.from(at + offset).starts_with(';') => at + offset + 1,
            Some(_) => self.end_of_braces(at),
            None => self.code.len(),
        }
    }
}

/// May this character stand in a Rust name?
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn kinds(bytes: &[u8]) -> Vec<Kind> {
    let mut kinds = Vec::with_capacity(bytes.len());
    while let Some(rest) = bytes.get(kinds.len()..).filter(|rest| !rest.is_empty()) {
        let after_word = kinds.last() == Some(&Kind::Code)
            && kinds
                .len()
                .checked_sub(1)
                .and_then(|i| bytes.get(i))
                .is_some_and(|&b| is_word(b as char));
        let (kind, len) = token(rest, after_word);
        kinds.resize(kinds.len() + len.clamp(1, rest.len()), kind);
    }
    kinds
}

/// The kind and length of what `rest` begins with. `after_word`: it continues a name.
fn token(rest: &[u8], after_word: bool) -> (Kind, usize) {
    match rest {
        [b'/', b'/', ..] => (
            Kind::Comment,
            rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
        ),
        [b'/', b'*', ..] => (Kind::Comment, block_comment(rest)),
        [b'"', ..] => (Kind::Literal, quoted(rest, b'"')),
        [b'\'', ..] => character(rest),
        [b'r' | b'b' | b'c', ..] if !after_word => prefixed(rest),
        _ => (Kind::Code, 1),
    }
}

/// Block comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a literal that ends at the first `quote` that no backslash escapes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            _ if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `'x'` is a character, `'a` a lifetime.
fn character(rest: &[u8]) -> (Kind, usize) {
    let text = std::str::from_utf8(rest.get(1..rest.len().min(6)).unwrap_or_default());
    let first = match text {
        Ok(text) => text.chars().next(),
        Err(e) => rest
            .get(1..1 + e.valid_up_to())
            .and_then(|s| std::str::from_utf8(s).ok()?.chars().next()),
    };
    match first {
        Some('\\') => (Kind::Literal, quoted(rest, b'\'')),
        Some(c) if rest.get(1 + c.len_utf8()) == Some(&b'\'') => (Kind::Literal, 2 + c.len_utf8()),
        _ => (Kind::Code, 1),
    }
}

/// `r".."`, `r#".."#`, `b".."`, `b'.'`, `br".."`, `c".."`, `cr".."`; or a name that begins so.
fn prefixed(rest: &[u8]) -> (Kind, usize) {
    let letters = rest
        .iter()
        .take_while(|b| matches!(b, b'r' | b'b' | b'c'))
        .count()
        .min(2);
    let raw = rest
        .get(..letters)
        .is_some_and(|prefix| prefix.ends_with(b"r"));
    let after = rest.get(letters..).unwrap_or_default();
    let hashes = after.iter().take_while(|&&b| b == b'#').count();
    match after.get(hashes) {
        Some(b'"') if raw => {
            let mut end = vec![b'"'];
            end.resize(1 + hashes, b'#');
            let body = after.get(hashes + 1..).unwrap_or_default();
            let found = body.windows(end.len()).position(|window| window == end);
            let len = found.map_or(rest.len(), |at| letters + hashes + 1 + at + end.len());
            (Kind::Literal, len)
        }
        Some(b'"') if hashes == 0 => (Kind::Literal, letters + quoted(after, b'"')),
        Some(b'\'') if hashes == 0 && rest.first() == Some(&b'b') && letters == 1 => {
            (Kind::Literal, 1 + quoted(after, b'\''))
        }
        _ => (Kind::Code, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let source = Source::new(text);
        assert_eq!(source.code.len(), text.len(), "columns moved");
        source.code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_blanked_also_when_they_nest() {
        assert_eq!(code("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(code("a /* never closed"), "a");
    }

    #[test]
    fn literals_are_blanked_whatever_they_hold() {
        assert_eq!(code(r#"f("a \" // b") + 1"#), "f( ) + 1");
        assert_eq!(code(r##"f(r#"a " b"#, b"x", br"\", c"y")"##), "f( , , , )");
        assert_eq!(code("f('x', '\\'', b'\"', 'e')"), "f( , , , )");
        assert_eq!(code("\"never closed"), "");
    }

    #[test]
    fn lifetimes_and_names_with_such_letters_stay() {
        assert_eq!(
            code("fn f<'a>(rb: &'a str, cr: char) {}"),
            "fn f<'a>(rb: &'a str, cr: char) {}"
        );
        assert_eq!(code("let r#type = b; r"), "let r#type = b; r");
    }

    #[test]
    fn a_non_ascii_character_is_one_literal() {
        assert_eq!(code("f('\u{e9}', '\u{20ac}')"), "f( , )");
    }

    #[test]
    fn strings_stay_where_only_comments_are_blanked() {
        let source = Source::new("const M: &[u8] = b\"CAMR\"; // magic");
        assert_eq!(source.uncommented.trim_end(), "const M: &[u8] = b\"CAMR\";");
    }

    #[test]
    fn words_are_whole_words_of_code() {
        let source = Source::new("unsafe_code // unsafe\nunsafe { }");
        assert_eq!(
            source
                .words("unsafe")
                .map(|at| source.line_of(at))
                .collect::<Vec<_>>(),
            [2]
        );
    }

    #[test]
    fn test_code_is_known_by_its_mark() {
        let source = Source::new("fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}");
        let is_test = |name| source.code.find(name).is_some_and(|at| source.is_test(at));
        assert!(!is_test("fn a") && is_test("fn b") && !is_test("fn c"));
    }
}
