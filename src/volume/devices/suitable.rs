//! Whether a device may be formatted: a decision about what was found out, with a name for each
//! reason against it.
//!
//! Pure: finding out is the business of `devices`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, ErrorKind};
use crate::io::gpt::TypeId;

/// What is on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Zeroes, as far as was looked.
    Empty,
    /// A swap area.
    Swap,
    /// The blocks of a volume; which one, in words.
    Volume(String),
    /// File systems, RAID members, encrypted volumes, partition tables; which ones, in words.
    Foreign(String),
    /// Bytes that nobody knows.
    Unrecognized,
    /// It could not be read; why.
    Unreadable(String),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing"),
            Self::Swap => f.write_str("swap"),
            Self::Volume(which) => write!(f, "camring {which}"),
            Self::Foreign(what) => f.write_str(what),
            Self::Unrecognized => f.write_str("unknown data"),
            Self::Unreadable(_) => f.write_str("could not be read"),
        }
    }
}

/// What was found out about a device.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a list of findings, each for itself"
)]
pub struct Facts {
    /// Whether it is a whole disk, or something that is used like one.
    pub is_whole: bool,
    /// Its type in a GPT; none where it is no partition of one.
    pub type_id: Option<TypeId>,
    /// Why the table of its disk could not be read, if that is so.
    pub table_error: Option<String>,
    /// Other devices with the same PARTUUID.
    pub copies: Vec<PathBuf>,
    /// Whether it begins within a physical sector of its disk, or within a page of 4 KiB.
    pub is_misaligned: bool,
    /// Whether it cannot be written to.
    pub is_read_only: bool,
    /// Where it is mounted.
    pub mounts: Vec<PathBuf>,
    /// Whether it is active swap.
    pub is_swap: bool,
    /// The devices that are made of it.
    pub holders: Vec<String>,
    /// Whether somebody else has it open for himself alone.
    pub is_held: bool,
    /// Whether the running system lies on its disk; none where that cannot be told.
    pub is_on_system_disk: Option<bool>,
    /// What is on it.
    pub content: Content,
}

/// What was asked for in so many words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// A volume may be destroyed.
    pub replace: bool,
    /// The disk may be that of the running system.
    pub system_disk: bool,
}

/// Why a device may not be formatted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// It is no partition.
    WholeDisk,
    /// Its disk has no GPT, or another one than the kernel goes by.
    NotInTable,
    /// It is mounted there.
    Mounted(PathBuf),
    /// It is swap, and active.
    ActiveSwap,
    /// Other devices are made of it.
    HasHolders(Vec<String>),
    /// Its content belongs to somebody.
    Foreign(String),
    /// It is meant for something else.
    OtherType(TypeId),
    /// Another partition has its PARTUUID.
    Copied(PathBuf),
    /// It shares a physical sector with what lies before it.
    Misaligned,
    /// It cannot be written to.
    ReadOnly,
    /// The running system is on its disk.
    SystemDisk,
    /// Where the running system lies is not known.
    UnknownSystemDisk,
    /// Somebody has it open for himself alone.
    Held,
    /// It, or the table of its disk, could not be read.
    Unreadable(String),
    /// Nobody knows what is on it.
    Unrecognized,
    /// There is a volume on it.
    Volume(String),
}

/// The first reason against formatting a device of which `facts` are known.
pub fn obstacle(facts: &Facts, allowed: Allowed) -> Option<Obstacle> {
    against_use(facts)
        .or_else(|| against_kind(facts, allowed))
        .or_else(|| against_loss(facts, allowed))
}

/// It is in use.
fn against_use(facts: &Facts) -> Option<Obstacle> {
    if let Some(place) = facts.mounts.first() {
        return Some(Obstacle::Mounted(place.clone()));
    }
    if facts.is_swap {
        return Some(Obstacle::ActiveSwap);
    }
    if !facts.holders.is_empty() {
        return Some(Obstacle::HasHolders(facts.holders.clone()));
    }
    None
}

/// It is not a place for a volume.
fn against_kind(facts: &Facts, allowed: Allowed) -> Option<Obstacle> {
    if facts.is_whole {
        return Some(Obstacle::WholeDisk);
    }
    // Before the type: what is destroyed says more than what it is meant for.
    if let Content::Foreign(what) = &facts.content {
        return Some(Obstacle::Foreign(what.clone()));
    }
    if let Some(why) = &facts.table_error {
        return Some(Obstacle::Unreadable(why.clone()));
    }
    let Some(type_id) = facts.type_id else {
        return Some(Obstacle::NotInTable);
    };
    if type_id != TypeId::LINUX_SWAP {
        return Some(Obstacle::OtherType(type_id));
    }
    if let Some(copy) = facts.copies.first() {
        return Some(Obstacle::Copied(copy.clone()));
    }
    if facts.is_misaligned {
        return Some(Obstacle::Misaligned);
    }
    if facts.is_read_only {
        return Some(Obstacle::ReadOnly);
    }
    match facts.is_on_system_disk {
        _ if allowed.system_disk => None,
        Some(false) => None,
        Some(true) => Some(Obstacle::SystemDisk),
        None => Some(Obstacle::UnknownSystemDisk),
    }
}

/// Something would be lost.
fn against_loss(facts: &Facts, allowed: Allowed) -> Option<Obstacle> {
    if facts.is_held {
        return Some(Obstacle::Held);
    }
    match &facts.content {
        Content::Empty | Content::Swap => None,
        Content::Volume(_) if allowed.replace => None,
        Content::Volume(which) => Some(Obstacle::Volume(which.clone())),
        Content::Foreign(what) => Some(Obstacle::Foreign(what.clone())),
        Content::Unrecognized => Some(Obstacle::Unrecognized),
        Content::Unreadable(why) => Some(Obstacle::Unreadable(why.clone())),
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WholeDisk => f.write_str("a whole disk, not a partition"),
            Self::NotInTable => {
                f.write_str("no partition of a GPT, or the kernel goes by an older table")
            }
            Self::Mounted(place) => write!(f, "mounted at {}", place.display()),
            Self::ActiveSwap => f.write_str("in use as swap"),
            Self::HasHolders(names) => write!(f, "in use by {}", names.join(", ")),
            Self::Foreign(what) => write!(f, "holds {what}"),
            Self::OtherType(type_id) => write!(f, "of type {type_id}, not Linux swap"),
            Self::Copied(path) => write!(f, "{} has the same PARTUUID", path.display()),
            Self::Misaligned => {
                f.write_str("misaligned: it begins within a physical sector of its disk")
            }
            Self::ReadOnly => f.write_str("read-only"),
            Self::SystemDisk => f.write_str("on the disk of the running system"),
            Self::UnknownSystemDisk => {
                f.write_str("perhaps on the disk of the running system: that cannot be told here")
            }
            Self::Held => f.write_str("in use by another program"),
            Self::Unreadable(why) => write!(f, "not readable: {why}"),
            Self::Unrecognized => f.write_str("holds data of an unknown kind"),
            Self::Volume(which) => write!(f, "holds the camring {which}"),
        }
    }
}

impl Obstacle {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WholeDisk
            | Self::NotInTable
            | Self::OtherType(_)
            | Self::Misaligned
            | Self::ReadOnly => ErrorKind::Invalid,
            Self::Mounted(_)
            | Self::ActiveSwap
            | Self::HasHolders(_)
            | Self::Held
            | Self::Copied(_) => ErrorKind::Busy,
            Self::Unreadable(_) => ErrorKind::Io,
            Self::SystemDisk
            | Self::UnknownSystemDisk
            | Self::Foreign(_)
            | Self::Unrecognized
            | Self::Volume(_) => ErrorKind::Exists,
        }
    }

    /// The error for the device at `path`.
    pub fn into_error(self, path: &Path) -> Error {
        let path = path.display();
        let verb = match &self {
            Self::Foreign(_) | Self::Unrecognized | Self::Volume(_) => "it ",
            Self::Copied(_) => "",
            _ => "it is ",
        };
        let error = Error::new(
            self.kind(),
            format!("{path} is not formatted: {verb}{self}"),
        );
        match self.remedy(&path.to_string()) {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        }
    }

    fn remedy(&self, path: &str) -> Option<String> {
        let remedy = match self {
            Self::WholeDisk => {
                "Make a partition of type Linux swap on it; `camring devices` shows how".to_owned()
            }
            Self::NotInTable => {
                "A volume lies on a partition of a GPT; if the table was changed, reconnect the disk"
                    .to_owned()
            }
            Self::Mounted(_) => "Is it the right one? Only a swap partition is formatted".to_owned(),
            Self::ActiveSwap => format!("If it is the right one: `swapoff {path}`"),
            Self::HasHolders(_) | Self::Held => "Stop what uses it, then try again".to_owned(),
            Self::Foreign(_) => {
                format!("If it is the right one, and not needed: `wipefs --all {path}`, `mkswap {path}`")
            }
            Self::OtherType(_) => {
                "If it is the right one: set its type with `sfdisk --part-type`".to_owned()
            }
            Self::Misaligned => "Make it anew: sfdisk aligns partitions by itself".to_owned(),
            Self::Copied(_) => "Disconnect the disk that is not meant".to_owned(),
            Self::SystemDisk | Self::UnknownSystemDisk => {
                "If that is meant: --allow-system-disk".to_owned()
            }
            Self::Unrecognized => {
                format!("If it is the right one, and not needed: `mkswap {path}` marks it as free")
            }
            Self::Volume(_) => {
                "--force destroys all its recordings".to_owned()
            }
            Self::ReadOnly | Self::Unreadable(_) => return None,
        };
        Some(remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Facts);

    fn good() -> Facts {
        Facts {
            is_whole: false,
            type_id: Some(TypeId::LINUX_SWAP),
            table_error: None,
            copies: Vec::new(),
            is_misaligned: false,
            is_read_only: false,
            mounts: Vec::new(),
            is_swap: false,
            holders: Vec::new(),
            is_held: false,
            is_on_system_disk: Some(false),
            content: Content::Empty,
        }
    }

    fn changed(change: Change) -> Facts {
        let mut facts = good();
        change(&mut facts);
        facts
    }

    const ALL: Allowed = Allowed {
        replace: true,
        system_disk: true,
    };

    /// What is never formatted, whatever was allowed, and what it is called.
    const NEVER: [(Change, &str); 14] = [
        (|f| f.is_whole = true, "a whole disk"),
        (|f| f.type_id = None, "no partition of a GPT"),
        (|f| f.mounts.push("/srv".into()), "mounted at /srv"),
        (|f| f.is_swap = true, "in use as swap"),
        (|f| f.holders.push("dm-0".into()), "in use by dm-0"),
        (
            |f| f.content = Content::Foreign("ext4 \"home\"".into()),
            "holds ext4 \"home\"",
        ),
        (
            |f| f.copies.push("/dev/sdz1".into()),
            "/dev/sdz1 has the same PARTUUID",
        ),
        (|f| f.is_read_only = true, "read-only"),
        (
            |f| f.table_error = Some("EACCES".into()),
            "not readable: EACCES",
        ),
        (|f| f.is_misaligned = true, "misaligned"),
        (|f| f.is_held = true, "in use by another program"),
        (
            |f| f.content = Content::Unrecognized,
            "data of an unknown kind",
        ),
        (
            |f| f.content = Content::Unreadable("EIO".into()),
            "not readable: EIO",
        ),
        (
            |f| f.type_id = Some(TypeId::LINUX_FILESYSTEM),
            "of type Linux filesystem, not Linux swap",
        ),
    ];

    #[test]
    fn an_empty_swap_partition_elsewhere_is_formatted() {
        assert_eq!(obstacle(&good(), Allowed::default()), None);
        let swap = changed(|f| f.content = Content::Swap);
        assert_eq!(obstacle(&swap, Allowed::default()), None);
    }

    #[test]
    fn each_reason_against_it_has_its_name() {
        for (change, name) in NEVER {
            for allowed in [Allowed::default(), ALL] {
                let found = obstacle(&changed(change), allowed);
                let text = found.map(|found| found.to_string()).unwrap_or_default();
                assert!(text.contains(name), "{text:?} lacks {name:?}");
            }
        }
    }

    #[test]
    fn a_volume_is_destroyed_only_if_that_was_asked_for() {
        let volume = changed(|f| f.content = Content::Volume("volume 1".into()));
        let expected = Some(Obstacle::Volume("volume 1".into()));
        let system_disk = Allowed {
            system_disk: true,
            ..Allowed::default()
        };
        assert_eq!(obstacle(&volume, system_disk), expected);
        let replace = Allowed {
            replace: true,
            ..Allowed::default()
        };
        assert_eq!(obstacle(&volume, replace), None);
    }

    #[test]
    fn the_system_disk_is_taken_only_if_that_was_asked_for() {
        let system = changed(|f| f.is_on_system_disk = Some(true));
        let unknown = changed(|f| f.is_on_system_disk = None);
        let replace = Allowed {
            replace: true,
            ..Allowed::default()
        };
        assert_eq!(obstacle(&system, replace), Some(Obstacle::SystemDisk));
        assert_eq!(
            obstacle(&unknown, replace),
            Some(Obstacle::UnknownSystemDisk)
        );
        assert_eq!(obstacle(&system, ALL), None);
        assert_eq!(obstacle(&unknown, ALL), None);
    }

    /// Every two reasons together are told by one of them: none hides behind another.
    #[test]
    fn no_reason_makes_up_for_another() {
        for (first, _) in NEVER {
            for (second, _) in NEVER {
                let mut facts = changed(first);
                second(&mut facts);
                assert!(obstacle(&facts, ALL).is_some(), "{facts:?}");
            }
        }
    }
}
