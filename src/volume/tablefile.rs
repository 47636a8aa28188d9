//! The file `blocktable`: the rows of sealed blocks, so that opening a volume does not read every
//! header. A cache: each row has its own checksum, and a row that is missing, torn or old is read
//! from the device again. Never mapped into memory.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::locate::Located;
use crate::base::error::{Error, Result};
use crate::base::geometry::VolumeId;
use crate::block::checksum::crc32c;
use crate::table::TableRow;

/// Name of the file in the directory of a volume.
pub const TABLE_NAME: &str = "blocktable";

const MAGIC: [u8; 8] = *b"CAMRINGB";
const HEADER_LEN: usize = 64;
const ROW_LEN: usize = 64;
const SUM_LEN: usize = 8;

/// The file, open for writing single rows.
#[derive(Debug)]
pub struct TableFile(File);

/// The header that a table of the volume has.
fn header(located: &Located) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    let geometry = &located.geometry;
    let parts = MAGIC
        .into_iter()
        .chain(located.volume.0)
        .chain(geometry.slot_count().to_le_bytes())
        .chain(geometry.block_len().to_le_bytes());
    bytes
        .iter_mut()
        .zip(parts)
        .for_each(|(to, from)| *to = from);
    bytes
}

fn encode_row(row: &TableRow) -> [u8; ROW_LEN] {
    let mut bytes = [0; ROW_LEN];
    let (sum, words) = bytes.split_at_mut(SUM_LEN);
    for (to, word) in words.chunks_exact_mut(8).zip(row.to_words()) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    sum.copy_from_slice(&u64::from(crc32c(words)).to_le_bytes());
    bytes
}

fn decode_row(bytes: &[u8]) -> Option<TableRow> {
    let (sum, words) = bytes.split_at_checked(SUM_LEN)?;
    let sum = u64::from_le_bytes(sum.try_into().ok()?);
    if sum != u64::from(crc32c(words)) {
        return None;
    }
    let mut words = words.chunks_exact(8);
    let word = |_| {
        let word = words.next().and_then(|word| word.try_into().ok());
        word.map_or(0, u64::from_le_bytes)
    };
    Some(TableRow::from_words(std::array::from_fn(word)))
}

/// The rows that the file in `dir` keeps, by slot; none where the file is missing, or of another
/// volume.
pub fn load(dir: &Path, located: &Located) -> Vec<Option<TableRow>> {
    let slot_count = located.geometry.slot_count() as usize;
    let mut bytes = Vec::new();
    let limit = HEADER_LEN + slot_count * ROW_LEN;
    let read = File::open(dir.join(TABLE_NAME))
        .and_then(|file| file.take(limit as u64).read_to_end(&mut bytes));
    let rows = bytes
        .split_at_checked(HEADER_LEN)
        .filter(|(head, _)| *head == header(located));
    let mut rows: Vec<_> = match (read, rows) {
        (Ok(_), Some((_, rows))) => rows.chunks_exact(ROW_LEN).map(decode_row).collect(),
        _ => Vec::new(),
    };
    rows.resize(slot_count, None);
    rows
}

/// The volume that the file in `dir` belongs to, if it can be read.
pub fn volume_of(dir: &Path) -> Option<VolumeId> {
    let mut head = [0; HEADER_LEN];
    File::open(dir.join(TABLE_NAME))
        .and_then(|mut file| file.read_exact(&mut head))
        .ok()?;
    let (magic, rest) = head.split_first_chunk::<8>()?;
    let volume = rest.first_chunk().filter(|_| *magic == MAGIC)?;
    Some(VolumeId(*volume))
}

impl TableFile {
    /// Brings the file in `dir` up to date with `rows`, one per slot, and keeps it open.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io).
    pub fn update(
        dir: &Path,
        located: &Located,
        rows: impl Iterator<Item = TableRow> + Clone,
    ) -> Result<Self> {
        let path = dir.join(TABLE_NAME);
        let stored = load(dir, located);
        if stored.iter().all(Option::is_none) {
            let mut bytes = header(located).to_vec();
            rows.clone().for_each(|row| bytes.extend(encode_row(&row)));
            super::config::replace_file(&path, &bytes)?;
        }
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .map(Self)
            .map_err(|e| Error::io(format_args!("open {}", path.display()), e))?;
        for (slot, (row, stored)) in rows.zip(load(dir, located)).enumerate() {
            if stored != Some(row) {
                file.set(slot as u64, &row)?;
            }
        }
        Ok(file)
    }

    /// Writes the row of `slot`. Not flushed: a lost row is read from the device again.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io); the row is old, new or torn.
    pub fn set(&self, slot: u64, row: &TableRow) -> Result<()> {
        let at = HEADER_LEN as u64 + slot * ROW_LEN as u64;
        self.0
            .write_all_at(&encode_row(row), at)
            .map_err(|e| Error::io("write the blocktable", e))
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests {
    use super::*;
    use crate::base::geometry::{Geometry, VolumeId};
    use crate::base::time::{TimeRange, Timestamp};
    use crate::table::RowState;

    fn row(sequence: u64) -> TableRow {
        let range = TimeRange {
            start: Timestamp(-4),
            end: Timestamp(i64::MAX),
        };
        TableRow {
            sequence,
            nonce: 77,
            state: RowState::Sealed,
            arrivals: range,
            times: range,
            skew_us: 5_000,
        }
    }

    #[test]
    fn rows_survive_and_damaged_ones_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let geometry = Geometry::new(1 << 20, 16, 4096).unwrap();
        let located = Located {
            volume: VolumeId([3; 16]),
            geometry,
        };
        assert_eq!(load(dir.path(), &located), vec![None; 16], "no file yet");
        let file = TableFile::update(dir.path(), &located, (1..=16).map(row)).unwrap();
        file.set(3, &row(20)).unwrap();
        let path = dir.path().join(TABLE_NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER_LEN + 5 * ROW_LEN + 20] ^= 1;
        bytes.truncate(HEADER_LEN + 10 * ROW_LEN + 3);
        std::fs::write(&path, bytes).unwrap();
        let rows = load(dir.path(), &located);
        assert_eq!((rows[0], rows[3]), (Some(row(1)), Some(row(20))));
        assert_eq!((rows[5], rows[10], rows.len()), (None, None, 16));
        let other = Located {
            volume: VolumeId([4; 16]),
            ..located
        };
        assert_eq!(
            load(dir.path(), &other),
            vec![None; 16],
            "the table of another volume"
        );
    }
}
