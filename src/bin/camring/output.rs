//! What the program prints on stdout: text for people, or one JSON document for programs.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

/// The version of all JSON documents. It grows when a field changes its meaning or goes; new
/// fields may come at any time.
const SCHEMA: u32 = 1;

/// Something that commands show: its fields are the JSON document.
pub(crate) trait View: Serialize {
    /// Writes it for people.
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// Prints `view` on stdout, as JSON if `json` says so.
pub(crate) fn show(view: &impl View, json: bool) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(anstream::stdout().lock());
    if json {
        write_json(view, &mut out)?;
    } else {
        view.write_text(&mut out)?;
    }
    out.flush()?;
    Ok(())
}

#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    #[serde(flatten)]
    view: &'a T,
}

/// Prints `view` as a JSON document in one line of `out`.
pub(crate) fn write_json_line(view: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let schema = SCHEMA;
    serde_json::to_writer(&mut *out, &Document { schema, view })?;
    writeln!(out)
}

fn write_json(view: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let schema = SCHEMA;
    serde_json::to_writer_pretty(&mut *out, &Document { schema, view })?;
    writeln!(out)
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Words, which begin on the left.
    Text(&'static str),
    /// Numbers, which end on the right.
    Number(&'static str),
}

/// Writes a table without borders: a line of titles, and a line for each row.
///
/// Nothing in it can control the terminal: a volume from elsewhere may name its streams with
/// escape sequences.
pub(crate) fn write_table(
    out: &mut dyn Write,
    columns: &[Column],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(title) => Cell::new(title),
        Column::Number(title) => Cell::new(title).set_alignment(CellAlignment::Right),
    }));
    for row in rows {
        table.add_row(row.iter().map(|text| printable(text)));
    }
    for (column, layout) in columns.iter().zip(table.column_iter_mut()) {
        if let Column::Number(_) = column {
            layout.set_cell_alignment(CellAlignment::Right);
        }
        layout.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// `text` with a mark in place of each character that controls a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mark = char::REPLACEMENT_CHARACTER;
    let shown = |c: char| if c.is_control() { mark } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a panic is how a test fails"
    )]

    use super::*;

    #[derive(Serialize)]
    struct Disk {
        name: &'static str,
        len: u64,
    }

    impl View for Disk {
        fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
            writeln!(out, "{}", self.name)
        }
    }

    #[test]
    fn a_document_says_its_version_first() {
        let mut out = Vec::new();
        let disk = Disk {
            name: "a",
            len: u64::MAX,
        };
        write_json(&disk, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("{\n  \"schema\": 1,"), "{text}");
        assert!(text.ends_with("}\n"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["name"], "a");
        assert_eq!(value["len"], u64::MAX);
    }

    #[test]
    fn a_table_has_no_borders_and_its_numbers_end_on_the_right() {
        let columns = [
            Column::Number("ID"),
            Column::Text("NAME"),
            Column::Number("SIZE"),
        ];
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let rows = [
            row(["7", "T\u{fc}re", "9"]),
            row(["12", "y\u{1b}[2J", "1024"]),
        ];
        let mut out = Vec::new();
        write_table(&mut out, &columns, &rows).unwrap();
        let expected = "\
ID  NAME   SIZE
 7  T\u{fc}re      9
12  y\u{fffd}[2J  1024
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
