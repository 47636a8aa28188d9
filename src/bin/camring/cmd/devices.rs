//! `camring devices`: disks and partitions, what is on them, and which may hold a volume.

use std::io::{self, Write};

use camring::volume::devices::{Surveyed, survey};
use serde::Serialize;

use crate::args::partition::Devices as Args;
use crate::error::{Exit, Outcome};
use crate::output::{self, Column, View, printable};
use crate::size;

pub(super) fn run(args: &Args) -> Outcome {
    let devices = survey()?.iter().map(Device::of).collect();
    output::show(&Devices { devices }, args.format.is_json())?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Devices {
    devices: Vec<Device>,
}

/// A disk or partition.
#[derive(Serialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a list of what it has and what it has not"
)]
struct Device {
    path: String,
    /// The kernel's name of its disk; its own for a disk.
    disk: String,
    len: u64,
    /// Its number in the partition table.
    number: Option<u32>,
    partuuid: Option<String>,
    /// What the table says it is for.
    r#type: Option<String>,
    name: Option<String>,
    content: String,
    /// Whether a volume may be created on it.
    is_suitable: bool,
    /// Why not.
    obstacle: Option<String>,
    mounts: Vec<String>,
    holders: Vec<String>,
    is_swap: bool,
    is_read_only: bool,
    is_on_system_disk: Option<bool>,
    sector_len: u32,
    physical_sector_len: u32,
    /// What memory must be aligned to for direct I/O.
    direct_memory_len: Option<u32>,
    /// What offsets and lengths must be multiples of for direct I/O.
    direct_offset_len: Option<u32>,
    is_rotating: bool,
    has_volatile_cache: bool,
    has_fua: bool,
    /// What makes a swap partition of it.
    sfdisk: Option<String>,
}

impl Device {
    fn of(surveyed: &Surveyed) -> Self {
        let Surveyed {
            device,
            entry,
            facts,
            obstacle,
            direct_io,
            ..
        } = surveyed;
        let entry = entry.as_ref();
        let traits = device.traits;
        let mounts = facts.mounts.iter().map(|place| place.display().to_string());
        Self {
            path: device.path.display().to_string(),
            disk: device.disk_name().to_owned(),
            len: device.len,
            number: device.partition.as_ref().map(|place| place.number),
            partuuid: entry.map(|entry| entry.partuuid.to_string()),
            r#type: entry.map(|entry| entry.type_id.to_string()),
            name: entry
                .map(|entry| entry.name.clone())
                .filter(|name| !name.is_empty()),
            content: facts.content.to_string(),
            is_suitable: obstacle.is_none(),
            obstacle: obstacle.as_ref().map(ToString::to_string),
            mounts: mounts.collect(),
            holders: facts.holders.clone(),
            is_swap: facts.is_swap,
            is_read_only: facts.is_read_only,
            is_on_system_disk: facts.is_on_system_disk,
            sector_len: traits.sector_len,
            physical_sector_len: traits.physical_sector_len,
            direct_memory_len: direct_io.map(|(memory, _)| memory),
            direct_offset_len: direct_io.map(|(_, offset)| offset),
            is_rotating: traits.is_rotating,
            has_volatile_cache: traits.has_volatile_cache,
            has_fua: traits.has_fua,
            sfdisk: surveyed.sfdisk_command(),
        }
    }

    /// Whether a volume may be created on it, in words.
    fn verdict(&self) -> String {
        match (&self.obstacle, &self.sfdisk) {
            (None, _) => "yes".to_owned(),
            (Some(_), Some(_)) => "no: a blank disk, see below".to_owned(),
            (Some(obstacle), None) => format!("no: {obstacle}"),
        }
    }

    fn row(&self) -> Vec<String> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.path.clone(),
            size::format(self.len),
            or_none(&self.r#type),
            or_none(&self.partuuid),
            self.content.clone(),
            self.verdict(),
        ]
    }

    /// How it transfers, which is the same for all partitions of a disk.
    fn traits(&self) -> Vec<String> {
        let direct = match (self.direct_memory_len, self.direct_offset_len) {
            (Some(memory), Some(offset)) => format!("{memory}/{offset}"),
            _ => "-".to_owned(),
        };
        let words = |is_so, yes: &str, no: &str| if is_so { yes } else { no }.to_owned();
        vec![
            self.path.clone(),
            format!("{}/{}", self.sector_len, self.physical_sector_len),
            direct,
            words(self.has_volatile_cache, "volatile", "none to lose"),
            words(self.has_fua, "yes", "no"),
            words(self.is_rotating, "yes", "no"),
        ]
    }
}

impl View for Devices {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = [
            Column::Text("DEVICE"),
            Column::Number("SIZE"),
            Column::Text("TYPE"),
            Column::Text("PARTUUID"),
            Column::Text("HOLDS"),
            Column::Text("SUITABLE"),
        ];
        let rows: Vec<_> = self.devices.iter().map(Device::row).collect();
        output::write_table(out, &columns, &rows)?;
        writeln!(out)?;
        let columns = [
            Column::Text("DISK"),
            Column::Text("SECTOR/PHYSICAL"),
            Column::Text("DIRECT MEMORY/OFFSET"),
            Column::Text("CACHE"),
            Column::Text("FUA"),
            Column::Text("ROTATING"),
        ];
        let disks = self.devices.iter().filter(|device| device.number.is_none());
        let rows: Vec<_> = disks.map(Device::traits).collect();
        output::write_table(out, &columns, &rows)?;
        for device in &self.devices {
            let Some(command) = &device.sfdisk else {
                continue;
            };
            let path = printable(&device.path);
            writeln!(
                out,
                "\n{path} is blank. This makes one swap partition of it:"
            )?;
            writeln!(out, "  {}", printable(command))?;
        }
        Ok(())
    }
}
