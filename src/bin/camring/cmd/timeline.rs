//! `camring timeline`: when each stream was recorded, and why it was not.

use std::io::{self, Write};

use camring::Volume;
use camring::base::time::TimeRange;
use camring::frame::GapCause;
use camring::volume::Stretch;
use serde::Serialize;

use super::history::{self, History};
use crate::args;
use crate::error::{Exit, Outcome};
use crate::output::{self, Column, View, write_table};
use crate::time;

pub(super) fn run(args: &args::Timeline) -> Outcome {
    let volumes = history::open(&args.dirs)?;
    let histories = match &args.stream {
        Some(choice) => vec![history::find_one(&volumes, choice)?],
        None => history::all(&volumes),
    };
    let timeline = Timeline::of(&volumes, &histories, args.range.checked()?);
    output::show(&timeline, args.format.is_json())?;
    Ok(Exit::Ok)
}

/// The stretches of some streams.
#[derive(Serialize)]
pub(super) struct Timeline {
    streams: Vec<Stream>,
}

#[derive(Serialize)]
struct Stream {
    id: u64,
    name: String,
    stretches: Vec<Span>,
}

#[derive(Serialize)]
struct Span {
    /// `recorded` or `gap`.
    state: &'static str,
    /// Why nothing is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    from: String,
    /// The end; of a gap that lasts, the last time that is known.
    to: String,
    len_us: i64,
    /// Whether it is a gap that has not ended.
    is_open: bool,
}

impl Timeline {
    pub(super) fn of(volumes: &[Volume], histories: &[History], range: TimeRange) -> Self {
        let streams = histories.iter().map(|history| Stream {
            id: history.slot.0,
            name: history.name.clone(),
            stretches: history
                .timeline(volumes, range)
                .iter()
                .map(Span::of)
                .collect(),
        });
        Self {
            streams: streams.collect(),
        }
    }
}

impl Span {
    fn of(stretch: &Stretch) -> Self {
        let TimeRange { start, end } = stretch.range;
        Self {
            state: if stretch.gap.is_some() {
                "gap"
            } else {
                "recorded"
            },
            cause: stretch.gap.map(GapCause::as_str),
            from: time::format(start),
            to: time::format(end),
            len_us: end.us_since(start),
            is_open: stretch.is_open,
        }
    }

    fn state_label(&self) -> String {
        match self.cause {
            Some(cause) => format!("gap: {cause}"),
            None => self.state.to_owned(),
        }
    }
}

impl View for Timeline {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = [
            Column::Number("ID"),
            Column::Text("NAME"),
            Column::Text("STATE"),
            Column::Text("FROM"),
            Column::Text("TO"),
            Column::Number("LENGTH"),
        ];
        let rows = self.streams.iter().flat_map(|stream| {
            stream.stretches.iter().map(|span| {
                let (to, len) = if span.is_open {
                    ("still lasting".to_owned(), "-".to_owned())
                } else {
                    (span.to.clone(), time::format_span(span.len_us))
                };
                vec![
                    stream.id.to_string(),
                    stream.name.clone(),
                    span.state_label(),
                    span.from.clone(),
                    to,
                    len,
                ]
            })
        });
        write_table(out, &columns, &rows.collect::<Vec<_>>())
    }
}
