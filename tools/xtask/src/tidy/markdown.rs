//! What the rules need of Markdown: where code stands, and where links lead.

/// A piece of a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// The lines of fenced code, trimmed, and all that stands between backticks.
pub(crate) fn code(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    for (line, fenced, content) in lines(text) {
        if fenced {
            pieces.push(Piece {
                line,
                text: content.trim(),
            });
        } else {
            let between = content.split('`').skip(1).step_by(2);
            pieces.extend(between.map(|text| Piece { line, text }));
        }
    }
    pieces
}

/// The targets of links, outside code, without their anchors.
pub(crate) fn links(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    for (line, _, content) in lines(text).filter(|(_, fenced, _)| !fenced) {
        for after in content.split("](").skip(1) {
            let target = after.split([')', '#', ' ']).next().unwrap_or_default();
            pieces.push(Piece { line, text: target });
        }
    }
    pieces
}

/// (number, inside a fence, line); the fences themselves are left out.
fn lines(text: &str) -> impl Iterator<Item = (usize, bool, &str)> {
    let mut fenced = false;
    let numbered = (1..).zip(text.lines());
    numbered.filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        Some((number, fenced, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "See `a b` and `c`, [d](e.md#f).\n```sh\n  g `h` [i](j)\n```\n[k](#l)\n";

    #[test]
    fn code_is_fenced_or_between_backticks() {
        let seen: Vec<_> = code(TEXT)
            .into_iter()
            .map(|piece| (piece.line, piece.text))
            .collect();
        assert_eq!(seen, [(1, "a b"), (1, "c"), (3, "g `h` [i](j)")]);
    }

    #[test]
    fn links_stand_outside_code() {
        let seen: Vec<_> = links(TEXT)
            .into_iter()
            .map(|piece| (piece.line, piece.text))
            .collect();
        assert_eq!(seen, [(1, "e.md"), (5, "")]);
    }
}
