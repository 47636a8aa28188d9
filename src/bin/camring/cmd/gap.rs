//! A gap, as commands that print a line per item show it.

use camring::frame::Gap;
use serde::Serialize;

use crate::time;

/// A gap.
#[derive(Debug, Serialize)]
pub(super) struct GapLine {
    cause: &'static str,
    pub(super) from: String,
    to: Option<String>,
    lost_count: Option<u64>,
}

impl GapLine {
    pub(super) fn of(gap: &Gap) -> Self {
        Self {
            cause: gap.cause.as_str(),
            from: time::format(gap.start),
            to: gap.end.map(time::format),
            lost_count: gap.lost_count,
        }
    }

    /// Why, until when, and how much is missing, as far as that is known.
    pub(super) fn text(&self) -> String {
        let to = self.to.as_deref().unwrap_or("?");
        let lost = self
            .lost_count
            .map(|count| format!(", {count} frames lost"));
        format!("{}, to {to}{}", self.cause, lost.unwrap_or_default())
    }
}
