//! `camring verify`: reads everything in a volume, and says what is not as it was written.

use std::io::{self, Write};

use camring::Volume;
use camring::volume::{Damage, VerifyOptions, VerifyReport};
use serde::Serialize;

use crate::args::Read;
use crate::error::{Exit, Outcome};
use crate::output::{self, Column, View, write_table};
use crate::screen::Screen;
use crate::{size, time};

pub(super) fn run(args: &Read, screen: &Screen) -> Outcome {
    let volume = Volume::open(&args.dir)?;
    let bar = screen.bytes_bar("Reading");
    let report = volume.verify(&VerifyOptions::default(), &mut |done, total| {
        bar.set(done, total);
    });
    drop(bar);
    let report = report?;
    output::show(&Verified::of(&report), args.format.is_json())?;
    Ok(if report.is_whole() {
        Exit::Ok
    } else {
        Exit::Damage
    })
}

/// What was checked, and what was found.
#[derive(Serialize)]
struct Verified {
    block_count: u64,
    run_count: u64,
    chunk_count: u64,
    frame_count: u64,
    read_len: u64,
    /// Blocks that were recorded over while they were read.
    overwritten_count: u64,
    /// Bytes that the file or partition lacks.
    missing_len: u64,
    damage_count: u64,
    /// The first of it.
    damage: Vec<Piece>,
}

/// Something that is damaged.
#[derive(Serialize)]
struct Piece {
    block: u64,
    part: &'static str,
    /// None where it is unknown, or more than one.
    stream: Option<u64>,
    from: Option<String>,
    to: Option<String>,
    /// Where the part begins in its block.
    offset: u32,
    what: String,
}

impl Verified {
    fn of(report: &VerifyReport) -> Self {
        Self {
            block_count: report.block_count,
            run_count: report.run_count,
            chunk_count: report.chunk_count,
            frame_count: report.frame_count,
            read_len: report.read_len,
            overwritten_count: report.overwritten_count,
            missing_len: report.missing_len,
            damage_count: report.damage_count,
            damage: report.damage.iter().map(Piece::of).collect(),
        }
    }
}

impl Piece {
    fn of(damage: &Damage) -> Self {
        Self {
            block: damage.sequence,
            part: damage.part.as_str(),
            stream: damage.stream.map(|stream| stream.0),
            from: damage.times.map(|times| time::format(times.start)),
            to: damage.times.map(|times| time::format(times.end)),
            offset: damage.offset,
            what: damage.what.clone(),
        }
    }

    fn row(&self) -> Vec<String> {
        let unknown = || "-".to_owned();
        vec![
            self.block.to_string(),
            self.part.to_owned(),
            self.stream
                .map_or_else(unknown, |stream| stream.to_string()),
            self.from.clone().unwrap_or_else(unknown),
            self.to.clone().unwrap_or_else(unknown),
            self.offset.to_string(),
            self.what.clone(),
        ]
    }
}

impl View for Verified {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "Checked {} blocks, {} runs, {} chunks and {} frames; read {}.",
            self.block_count,
            self.run_count,
            self.chunk_count,
            self.frame_count,
            size::format(self.read_len)
        )?;
        if self.overwritten_count > 0 {
            let count = self.overwritten_count;
            writeln!(out, "{count} blocks were recorded over meanwhile.")?;
        }
        if self.missing_len > 0 {
            let missing = size::format(self.missing_len);
            writeln!(out, "The data was cut short: {missing} are missing.")?;
        }
        if self.damage_count == 0 && self.missing_len > 0 {
            return writeln!(out, "All that is left is as it was written.");
        }
        if self.damage_count == 0 {
            return writeln!(out, "All of it is as it was written.");
        }
        let columns = [
            Column::Number("BLOCK"),
            Column::Text("PART"),
            Column::Number("STREAM"),
            Column::Text("FROM"),
            Column::Text("TO"),
            Column::Number("OFFSET"),
            Column::Text("WHAT"),
        ];
        let rows: Vec<_> = self.damage.iter().map(Piece::row).collect();
        write_table(out, &columns, &rows)?;
        let left = self.damage_count - self.damage.len() as u64;
        if left > 0 {
            writeln!(out, "And {left} more.")?;
        }
        writeln!(out, "What is not listed is as it was written.")
    }
}
