//! The blocktable: which block is in which slot, and which time it holds.
//!
//! One row per slot; one thread writes, any number read, nobody waits. The table answers "which
//! blocks hold this time" from memory. It is a cache: `volume` builds it from the device.

mod query;
mod row;

pub use self::row::{RowState, TableRow, skew_of};

use std::sync::{Mutex, PoisonError};

use self::row::Row;
use crate::base::geometry::{Geometry, Sequence};
use crate::base::sync::{Arc, AtomicU64, Ordering};

/// The rows of a volume.
#[derive(Debug)]
#[doc(alias = "blockfile")]
pub struct BlockTable {
    rows: Box<[Row]>,
    /// The newest block that has a header, which bounds the window of blocks that count.
    head: AtomicU64,
    /// No row's skew is larger; never shrinks.
    max_skew_us: AtomicU64,
    /// Slots whose blocks count although the window has left them: bad and pinned ones. Changed
    /// once in years, so a lock that is held for a copy of a short list hurts nobody.
    kept: Mutex<Vec<u64>>,
}

/// The one handle that may change a [`BlockTable`].
#[derive(Debug)]
pub struct TableWriter {
    table: Arc<BlockTable>,
    /// The version of the last write to any row.
    version: u64,
}

impl BlockTable {
    /// Slots whose blocks count although the window has left them.
    fn kept(&self) -> Vec<u64> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Number of rows.
    pub fn slot_count(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The newest block that has a header; 0 for none.
    pub fn head(&self) -> Sequence {
        // Acquire: pairs with the Release store in `set_head`, so that the row of the head is seen.
        self.head.load(Ordering::Acquire)
    }

    /// The row of `slot`; an empty one where the slot does not exist.
    pub fn row(&self, slot: u64) -> TableRow {
        usize::try_from(slot)
            .ok()
            .and_then(|slot| self.rows.get(slot))
            .map_or_else(TableRow::default, Row::read)
    }

    /// The row of block `sequence`, if it is still in its slot.
    pub fn block(&self, sequence: Sequence) -> Option<TableRow> {
        let row = self.row(sequence.checked_sub(1)? % self.slot_count().max(1));
        (row.sequence == sequence).then_some(row)
    }

    /// Whether block `sequence` can still be in the ring.
    pub fn in_window(&self, sequence: Sequence) -> bool {
        let head = self.head();
        sequence != 0 && sequence <= head && sequence.saturating_add(self.slot_count()) > head
    }
}

impl TableWriter {
    /// An empty table of `slot_count` rows.
    pub fn new(slot_count: u64) -> Self {
        let table = BlockTable {
            rows: (0..slot_count).map(|_| Row::default()).collect(),
            head: AtomicU64::new(0),
            max_skew_us: AtomicU64::new(0),
            kept: Mutex::default(),
        };
        Self {
            table: Arc::new(table),
            version: 0,
        }
    }

    /// The table, to share.
    pub fn table(&self) -> &Arc<BlockTable> {
        &self.table
    }

    /// Replaces the row of its block's slot.
    pub fn set(&mut self, geometry: &Geometry, row: TableRow) {
        let slot = geometry.slot_of(row.sequence) as usize;
        self.set_slot(slot, row);
    }

    /// Replaces the row of `slot`; does nothing where there is no such slot.
    pub fn set_slot(&mut self, slot: usize, row: TableRow) {
        // Relaxed: a bound that comes too late only makes a query that runs meanwhile miss the
        // block that is being added meanwhile.
        self.table
            .max_skew_us
            .fetch_max(row.skew_us, Ordering::Relaxed);
        if let Some(place) = self.table.rows.get(slot) {
            self.version += 2;
            place.write(self.version, &row);
        }
    }

    /// Keeps the blocks in these slots although the window leaves them.
    pub fn set_kept(&mut self, slots: Vec<u64>) {
        *self
            .table
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = slots;
    }

    /// Moves the head to block `sequence`. Its row is set before.
    pub fn set_head(&mut self, sequence: Sequence) {
        // Release: pairs with the Acquire load in `BlockTable::head`.
        self.table.head.store(sequence, Ordering::Release);
    }
}
