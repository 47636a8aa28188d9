//! `camring blocks`: what is in the slots of the ring.

use std::io::{self, Write};

use camring::Volume;
use camring::table::{RowState, TableRow};
use serde::Serialize;

use crate::args;
use crate::error::{Exit, Outcome};
use crate::output::{self, Column, View, write_table};
use crate::time;

pub(super) fn run(args: &args::Blocks) -> Outcome {
    let volume = Volume::open(&args.dir)?;
    let rows = match args.around {
        Some(time) => {
            let radius = usize::try_from(args.neighbor_count).unwrap_or(usize::MAX);
            volume.blocks_near(time, radius)
        }
        None => volume.blocks_in(args.range.checked()?),
    };
    output::show(&Blocks::of(&volume, &rows), args.format.is_json())?;
    Ok(Exit::Ok)
}

/// Rows of the blocktable.
#[derive(Serialize)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
}

#[derive(Serialize)]
struct Block {
    #[serde(rename = "block")]
    sequence: u64,
    slot: u64,
    state: &'static str,
    /// The times of its frames.
    from: String,
    to: String,
    /// When they arrived, by the clock of the recorder.
    first_arrival: String,
    last_arrival: String,
    /// No frame's time is further than this from its arrival.
    skew_us: u64,
}

impl Blocks {
    pub(super) fn of(volume: &Volume, rows: &[TableRow]) -> Self {
        let geometry = volume.geometry();
        let blocks = rows.iter().map(|row| Block {
            sequence: row.sequence,
            slot: geometry.slot_of(row.sequence),
            state: state_label(row.state),
            from: time::format(row.times.start),
            to: time::format(row.times.end),
            first_arrival: time::format(row.arrivals.start),
            last_arrival: time::format(row.arrivals.end),
            skew_us: row.skew_us,
        });
        Self {
            blocks: blocks.collect(),
        }
    }
}

/// What a row's state is called.
fn state_label(state: RowState) -> &'static str {
    match state {
        RowState::Empty => "empty",
        RowState::Open => "open",
        RowState::Sealed => "sealed",
        RowState::Unsealed => "unsealed",
    }
}

impl View for Blocks {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = [
            Column::Number("BLOCK"),
            Column::Number("SLOT"),
            Column::Text("STATE"),
            Column::Text("FROM"),
            Column::Text("TO"),
            Column::Text("FIRST ARRIVAL"),
            Column::Text("LAST ARRIVAL"),
        ];
        let rows = self.blocks.iter().map(|block| {
            vec![
                block.sequence.to_string(),
                block.slot.to_string(),
                block.state.to_owned(),
                block.from.clone(),
                block.to.clone(),
                block.first_arrival.clone(),
                block.last_arrival.clone(),
            ]
        });
        write_table(out, &columns, &rows.collect::<Vec<_>>())
    }
}
