//! What an export tells about itself.

use std::collections::BTreeMap;
use std::io::{self, Write};

use camring::base::time::Timestamp;
use camring::frame::{Gap, GapCause, Item};
use camring::volume::timeline::MERGE_US;
use serde::Serialize;

use super::files::Done;
use crate::cmd::is_loss;
use crate::error::Exit;
use crate::output::View;
use crate::{size, time};

/// What an export tells about itself.
#[derive(Debug, Default, Serialize)]
pub(in crate::cmd) struct Report {
    files: Vec<File>,
    /// Frames that were read.
    pub(super) frame_count: u64,
    /// Frames that were read and are in no file.
    skipped_count: u64,
    gaps: BTreeMap<&'static str, Gaps>,
    #[serde(skip)]
    pub(super) last_time: Option<Timestamp>,
    #[serde(skip)]
    open: Option<Gap>,
    #[serde(skip)]
    is_damaged: bool,
}

#[derive(Debug, Serialize)]
struct File {
    path: String,
    from: String,
    to: String,
    len_us: i64,
    frame_count: u64,
    /// Its length in bytes.
    len: u64,
}

/// The gaps of one cause.
#[derive(Debug, Default, Serialize)]
struct Gaps {
    count: u64,
    /// How long they are in all, as far as that is known.
    len_us: i64,
}

impl Report {
    /// Takes note of an item that was read.
    pub(super) fn note(&mut self, item: &Item) {
        self.is_damaged |= is_loss(item);
        match item {
            Item::Setup(_) => {}
            Item::Frame(frame) | Item::Preroll(frame) => {
                self.frame_count += 1;
                self.last_time = Some(frame.time);
            }
            Item::Gap(gap) => self.note_gap(gap),
        }
    }

    /// Takes note that the frames go on at `start`, in another volume.
    pub(super) fn go_on_at(&mut self, start: Timestamp) {
        let Some(last) = self.last_time else { return };
        let unknown = Gap {
            cause: GapCause::Restart,
            start: last,
            end: None,
            lost_count: None,
        };
        let gap = match self.open {
            Some(open) => open,
            None if start.us_since(last) >= MERGE_US => unknown,
            None => return,
        };
        let end = Some(start.max(gap.start));
        self.note_gap(&Gap { end, ..gap });
    }

    fn note_gap(&mut self, gap: &Gap) {
        let gaps = self.gaps.entry(gap.cause.as_str()).or_default();
        let opened = self.open.take();
        // A gap is told when it begins, and once more when it ends.
        let is_end = opened.is_some_and(|open| (open.cause, open.start) == (gap.cause, gap.start));
        gaps.count += u64::from(!is_end);
        match gap.end {
            Some(end) => gaps.len_us = gaps.len_us.saturating_add(end.us_since(gap.start)),
            None => self.open = Some(*gap),
        }
    }

    /// Takes note of the files that were made.
    pub(super) fn set_files(&mut self, done: &[Done]) {
        let files = done.iter().map(|(path, summary)| File {
            path: path.display().to_string(),
            from: time::format(summary.start),
            to: time::format(summary.end),
            len_us: summary.end.us_since(summary.start),
            frame_count: summary.frame_count,
            len: summary.len,
        });
        self.files = files.collect();
        let in_files: u64 = self.files.iter().map(|file| file.frame_count).sum();
        self.skipped_count = self.frame_count.saturating_sub(in_files);
    }

    /// How a program that did this ends.
    pub(super) fn exit(&self) -> Exit {
        if self.is_damaged {
            Exit::Damage
        } else {
            Exit::Ok
        }
    }
}

impl View for Report {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for file in &self.files {
            let File { path, from, to, .. } = file;
            let (count, len) = (file.frame_count, size::format(file.len));
            let span = time::format_span(file.len_us);
            writeln!(
                out,
                "{path}: {span}, {count} frames, {len}, from {from} to {to}"
            )?;
        }
        if self.skipped_count != 0 {
            let count = self.skipped_count;
            writeln!(out, "{count} frames that no decoder could use are left out")?;
        }
        for (cause, gaps) in &self.gaps {
            let (count, span) = (gaps.count, time::format_span(gaps.len_us));
            let s = if count == 1 { "" } else { "s" };
            writeln!(out, "{count} gap{s}: {cause}, {span} in all")?;
        }
        Ok(())
    }
}
