//! What has happened in the trials, so that a test can fail where something never did.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use camring::io::sim::Image;

/// Length of a page in bytes.
const PAGE_LEN: usize = 4096;

/// Events by name, and the states that were looked at.
#[derive(Default)]
pub(crate) struct Counts {
    events: BTreeMap<&'static str, u64>,
    pub(crate) state_count: u64,
    distinct: HashSet<u64>,
}

impl Counts {
    pub(crate) fn note(&mut self, event: &'static str) {
        self.add(event, 1);
    }

    pub(crate) fn add(&mut self, event: &'static str, count: u64) {
        *self.events.entry(event).or_default() += count;
    }

    /// Takes note of a state of the disk: `base` names what was on stable storage for certain,
    /// `offsets` are the pages that the cut may have changed.
    pub(crate) fn note_state(&mut self, base: (u64, u64, u64), image: &Image, offsets: &[u64]) {
        let mut hash = DefaultHasher::new();
        base.hash(&mut hash);
        let mut page = [0; PAGE_LEN];
        for offset in offsets {
            image.read(*offset, &mut page);
            crc32c(&page).hash(&mut hash);
        }
        self.state_count += 1;
        self.distinct.insert(hash.finish());
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (event, count) in other.events {
            self.add(event, count);
        }
        self.state_count += other.state_count;
        self.distinct.extend(other.distinct);
    }

    /// Fails where one of `events` never happened.
    pub(crate) fn require(&self, events: &[&'static str]) {
        for event in events {
            let count = self.events.get(event).copied().unwrap_or(0);
            assert!(count > 0, "'{event}' never happened: {self}");
        }
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    camring::block::checksum::crc32c(bytes)
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} distinct",
            self.state_count,
            self.distinct.len()
        )?;
        for (event, count) in &self.events {
            write!(f, ", {event}: {count}")?;
        }
        Ok(())
    }
}
