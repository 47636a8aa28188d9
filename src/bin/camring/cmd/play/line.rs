//! What `--print` prints: a line for each frame and gap.

use std::io::{self, Write};

use camring::base::time::TimeRange;
use camring::frame::{Frame, Item, StreamId};
use camring::manager::Event;
use serde::Serialize;

use super::super::gap::GapLine;
use crate::output::{View, write_json_line};
use crate::time;

/// The titles of the columns of `write_text`.
const TITLES: &str =
    "  STREAM  TRACK  TIME                              KIND           SIZE      LATE ms\n";

/// Collects lines, and prints them.
#[derive(Debug)]
pub(super) struct Printer {
    lines: Vec<u8>,
    is_json: bool,
}

impl Printer {
    /// Begins with titles where people read.
    pub(super) fn new(is_json: bool) -> Self {
        let titles = if is_json { "" } else { TITLES };
        Self {
            lines: titles.into(),
            is_json,
        }
    }

    /// Adds the line of `event`, if it has one.
    ///
    /// # Errors
    ///
    /// None that should happen: there is room in memory for a line.
    pub(super) fn note(&mut self, event: &Event) -> io::Result<()> {
        match Line::of(event) {
            Some(line) if self.is_json => write_json_line(&line, &mut self.lines),
            Some(line) => line.write_text(&mut self.lines),
            None => Ok(()),
        }
    }

    /// Whether there are lines to be printed.
    pub(super) fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Prints the lines to `out`.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(super) fn print(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        out.write_all(&lines)?;
        out.flush()
    }
}

/// A frame, a gap, or frames that were left out.
#[derive(Debug, Serialize)]
struct Line {
    stream: u64,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Content {
    Frame {
        track: u8,
        time: String,
        key: bool,
        leading: bool,
        /// It is to be decoded, and not to be shown.
        preroll: bool,
        len: usize,
        /// How long after it was due.
        late_us: i64,
    },
    Gap(GapLine),
    /// The disk was too slow.
    LeftOut {
        from: String,
        to: String,
    },
}

impl Line {
    fn of(event: &Event) -> Option<Self> {
        let (slot, content) = match event {
            Event::Delivered {
                slot,
                item,
                late_us,
            } => (slot, Content::of_item(item, *late_us)?),
            Event::LeftOut { slot, range } => (slot, Content::of_left_out(*range)),
            _ => return None,
        };
        let StreamId(stream) = *slot;
        Some(Self { stream, content })
    }
}

impl Content {
    fn of_item(item: &Item, late_us: i64) -> Option<Self> {
        match item {
            Item::Setup(_) => None,
            Item::Frame(frame) => Some(Self::of_frame(frame, false, late_us)),
            Item::Preroll(frame) => Some(Self::of_frame(frame, true, late_us)),
            Item::Gap(gap) => Some(Self::Gap(GapLine::of(gap))),
        }
    }

    fn of_frame(frame: &Frame, preroll: bool, late_us: i64) -> Self {
        Self::Frame {
            track: frame.track,
            time: time::format(frame.time),
            key: frame.key,
            leading: frame.leading,
            preroll,
            len: frame.payload.len(),
            late_us,
        }
    }

    fn of_left_out(range: TimeRange) -> Self {
        Self::LeftOut {
            from: time::format(range.start),
            to: time::format(range.end),
        }
    }
}

impl View for Line {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let stream = self.stream;
        match &self.content {
            Content::Frame {
                track,
                time,
                key,
                leading,
                preroll,
                len,
                late_us,
            } => {
                let kind = match (preroll, key, leading) {
                    (true, true, _) => "(KEY)",
                    (true, false, _) => "(frame)",
                    (false, true, _) => "KEY",
                    (false, false, true) => "lead",
                    (false, false, false) => "frame",
                };
                let sign = if *late_us < 0 { "-" } else { "" };
                let late_us = late_us.unsigned_abs();
                let late = format!("{sign}{}.{:03}", late_us / 1_000, late_us % 1_000);
                writeln!(
                    out,
                    "{stream:>8}  {track:>5}  {time:<32}  {kind:<7} {len:>11} {late:>12}"
                )
            }
            Content::Gap(gap) => {
                let (from, text) = (&gap.from, gap.text());
                writeln!(out, "{stream:>8}  {:>5}  {from:<32}  gap      {text}", "")
            }
            Content::LeftOut { from, to } => writeln!(
                out,
                "{stream:>8}  {:>5}  {from:<32}  left out, as the disk is too slow, to {to}",
                ""
            ),
        }
    }
}
