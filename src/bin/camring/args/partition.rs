//! Arguments about partitions: which one to format, and the list of what there is.

use camring::io::gpt::PartUuid;
use clap::Args;

use super::format::Format;

/// The partition to make a volume on, if it shall be one.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OnPartition {
    /// The partition to put the ring on, by its PARTUUID; all of it, unless a size is given.
    #[arg(long, value_name = "PARTUUID")]
    pub(crate) partition: Option<PartUuid>,
    /// Format a partition also on the disk of the running system.
    #[arg(long, requires = "partition")]
    pub(crate) allow_system_disk: bool,
    /// Tell the disk first that the partition's old content is not needed.
    #[arg(long, requires = "partition")]
    pub(crate) discard: bool,
}

/// What to list.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring devices
  camring devices --json

Nothing is changed. What may only be read by root is told as such.")]
pub(crate) struct Devices {
    #[command(flatten)]
    pub(crate) format: Format,
}
