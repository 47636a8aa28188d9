//! `camring info`: what a volume is, how full it is, and how its bytes are reached.

use std::io::{self, Write};
use std::path::Path;

use camring::Volume;
use camring::base::geometry::Position;
use camring::io::buffer::{BufferPool, HUGE_LEN};
use camring::io::direct::{self, Access, DataKind};
use camring::io::ring::{RingDevice, RingFeatures, RingOptions};
use camring::table::{RowState, TableRow};
use camring::volume::config;
use serde::Serialize;

use crate::args::Read;
use crate::error::{Exit, Outcome};
use crate::output::{self, View};
use crate::{size, time};

pub(super) fn run(args: &Read) -> Outcome {
    let volume = Volume::open(&args.dir)?;
    output::show(&Info::of(&volume, &args.dir)?, args.format.is_json())?;
    Ok(Exit::Ok)
}

/// A volume.
#[derive(Serialize)]
struct Info {
    volume: String,
    data: String,
    /// The file or device that the data is on now.
    path: String,
    len: u64,
    block_len: u32,
    block_count: u64,
    unit_len: u32,
    /// Blocks that hold something.
    used_count: u64,
    oldest_block: Option<u64>,
    newest_block: Option<u64>,
    /// The block and the run up to which everything is on stable storage.
    durable_block: u64,
    durable_run: u64,
    stream_count: usize,
    from: Option<String>,
    to: Option<String>,
    held_us: Option<i64>,
    /// How much time the ring holds once it is full, if recording goes on like this.
    capacity_us: Option<i64>,
    is_being_recorded: bool,
    is_damaged: bool,
    /// Bytes that the file or partition lacks.
    missing_len: u64,
    /// Blocks that held frames, and are gone.
    lost_block_count: usize,
    disk: Disk,
}

/// How this machine reads and writes it.
#[derive(Serialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a list of what is there and what is not"
)]
struct Disk {
    is_partition: bool,
    is_rotating: bool,
    defer_taskrun: bool,
    single_issuer: bool,
    registered_file: bool,
    registered_buffers: bool,
    huge_pages: bool,
    in_flight_max_len: usize,
    transfer_max_len: usize,
}

impl Info {
    fn of(volume: &Volume, dir: &Path) -> camring::Result<Self> {
        let geometry = volume.geometry();
        let rows: Vec<TableRow> = volume.table().blocks().collect();
        let times = volume.time_range();
        let durable = volume.durable();
        let path = config::data_path(dir)?;
        Ok(Self {
            volume: volume.id().to_string(),
            data: volume.medium().name(),
            path: path.display().to_string(),
            len: geometry.device_len(),
            block_len: geometry.block_len(),
            block_count: geometry.slot_count(),
            unit_len: geometry.unit_len(),
            used_count: rows.len() as u64,
            oldest_block: rows.first().map(|row| row.sequence),
            newest_block: rows.last().map(|row| row.sequence),
            durable_block: durable.sequence,
            durable_run: durable.run,
            stream_count: volume.streams().len(),
            from: times.map(|times| time::format(times.start)),
            to: times.map(|times| time::format(times.end)),
            held_us: times.map(|times| times.end.us_since(times.start)),
            capacity_us: capacity_us(&rows, geometry.slot_count()),
            is_being_recorded: volume.medium().is_being_written()?,
            is_damaged: volume.is_damaged(),
            missing_len: volume.missing_len(),
            lost_block_count: volume.lost_blocks().len(),
            disk: Disk::of(&path)?,
        })
    }
}

/// How long `slot_count` blocks last if they fill as the sealed ones among `rows` did. Blocks that
/// were closed early make it an understatement.
fn capacity_us(rows: &[TableRow], slot_count: u64) -> Option<i64> {
    let sealed = rows.iter().filter(|row| row.state == RowState::Sealed);
    let lens_us = sealed.map(|row| row.arrivals.end.us_since(row.arrivals.start));
    let (count, sum_us) = lens_us.fold((0, 0_i128), |(count, sum), len_us| {
        (count + 1, sum + i128::from(len_us))
    });
    let all_us = sum_us
        .checked_mul(i128::from(slot_count))?
        .checked_div(count)?;
    i64::try_from(all_us).ok().filter(|_| count > 1)
}

impl Disk {
    fn of(path: &Path) -> camring::Result<Self> {
        let file = direct::open_data(path, Access::Read)?;
        let is_partition = file.kind() == DataKind::BlockDevice;
        let is_rotating = file.queue().is_rotating();
        let pool = BufferPool::new(1, HUGE_LEN)?;
        let RingFeatures {
            defer_taskrun,
            single_issuer,
            registered_file,
            registered_buffers,
            huge_pages,
            cap_len,
            piece_len,
        } = RingDevice::new(file, &pool, RingOptions::default())?.features();
        Ok(Self {
            is_partition,
            is_rotating,
            defer_taskrun,
            single_issuer,
            registered_file,
            registered_buffers,
            huge_pages,
            in_flight_max_len: cap_len,
            transfer_max_len: piece_len,
        })
    }

    fn label(&self, unit_len: u32) -> String {
        let medium = if self.is_partition {
            "partition"
        } else {
            "file"
        };
        let kind = if self.is_rotating {
            "rotating"
        } else {
            "solid state"
        };
        let piece_len = size::format(self.transfer_max_len as u64);
        let unit_len = size::format(u64::from(unit_len));
        format!("{medium}, {kind}, transfers of {unit_len} to {piece_len}")
    }

    fn features(&self) -> String {
        let all = [
            ("deferred task runs", self.defer_taskrun),
            ("single issuer", self.single_issuer),
            ("registered file", self.registered_file),
            ("registered buffers", self.registered_buffers),
            ("huge pages", self.huge_pages),
        ];
        let names = |wanted| {
            let names = all.iter().filter(|(_, there)| *there == wanted);
            names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        };
        match (names(true), names(false)) {
            (there, lacks) if lacks.is_empty() => there,
            (there, lacks) => format!("{there}; without {lacks}"),
        }
    }
}

impl View for Info {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, text: &str| writeln!(out, "{name:<14} {text}");
        line("volume", &self.volume)?;
        line("data", &output::printable(&self.data_label()))?;
        line("size", &self.size_label())?;
        line("used", &self.used_label())?;
        line("durable", &self.durable_label())?;
        line("streams", &self.stream_count.to_string())?;
        if let (Some(from), Some(to), Some(held_us)) = (&self.from, &self.to, self.held_us) {
            let held = time::format_span(held_us);
            line("recorded", &format!("{from} to {to}, {held}"))?;
        }
        if let Some(capacity_us) = self.capacity_us {
            line(
                "room for",
                &format!("about {}", time::format_span(capacity_us)),
            )?;
        }
        let is_being_recorded = if self.is_being_recorded { "yes" } else { "no" };
        line("being recorded", is_being_recorded)?;
        let is_damaged = if self.is_damaged {
            "yes: `camring verify` says where"
        } else {
            "no damage seen when opening it"
        };
        line("health", is_damaged)?;
        if self.missing_len > 0 {
            let missing = size::format(self.missing_len);
            line("cut short", &format!("{missing} of the data are missing"))?;
        }
        if self.lost_block_count > 0 {
            line("lost", &format!("{} blocks", self.lost_block_count))?;
        }
        line("disk", &self.disk.label(self.unit_len))?;
        line("io_uring", &self.disk.features())
    }
}

impl Info {
    fn data_label(&self) -> String {
        if self.data == self.path {
            return self.data.clone();
        }
        format!("{}, now {}", self.data, self.path)
    }

    fn size_label(&self) -> String {
        let (len, block_len) = (size::format(self.len), u64::from(self.block_len));
        let (count, block_len) = (self.block_count, size::format(block_len));
        format!("{len}: {count} blocks of {block_len}")
    }

    fn used_label(&self) -> String {
        match (self.oldest_block, self.newest_block) {
            (Some(oldest), Some(newest)) => {
                format!("{} blocks, from {oldest} to {newest}", self.used_count)
            }
            _ => "no block yet".to_owned(),
        }
    }

    fn durable_label(&self) -> String {
        let block = self.durable_block;
        match self.durable_run {
            Position::WHOLE if block == 0 => "nothing yet".to_owned(),
            Position::WHOLE => format!("up to the end of block {block}"),
            run => format!("up to run {run} in block {block}"),
        }
    }
}
