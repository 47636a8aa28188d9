//! Repairs what no fuzzer can guess: magic numbers, identities and checksums.
//!
//! The places are those of docs/FORMAT.md. Bytes that are too short are left as they are.

use camring::block::checksum::crc32c;
use camring::block::header::FORMAT_VERSION;
use camring::block::{BlockId, RunHeader};
use camring::frame::StreamId;

/// The checksum of pages and runs stands behind the magic number and covers all that follows it.
const CRC_AT: usize = 8;
const SUMMED_FROM: usize = 12;

/// A header page.
pub(crate) fn header(page: &mut [u8]) {
    put(page, 0, b"CAMRINGH");
    put(page, 12, &FORMAT_VERSION.to_le_bytes());
    sum(page, CRC_AT, SUMMED_FROM, page.len());
}

/// Puts the checksum of a page right that claims to be a header, a run or a trailer.
pub(crate) fn any_page(page: &mut [u8]) {
    match page.first_chunk() {
        Some(b"CAMRINGH" | b"CAMRINGT") => sum(page, CRC_AT, SUMMED_FROM, page.len()),
        Some(b"CAMRINGR") => {
            if let Ok(len) = RunHeader::claimed_len(page) {
                sum(page, CRC_AT, SUMMED_FROM, len);
            }
        }
        _ => {}
    }
}

/// A trailer page of `block`.
pub(crate) fn trailer(page: &mut [u8], block: &BlockId) {
    put(page, 0, b"CAMRINGT");
    put(page, 16, &block.to_bytes());
    sum(page, CRC_AT, SUMMED_FROM, page.len());
}

/// The header of a run at `offset` of `block`.
pub(crate) fn run(bytes: &mut [u8], block: &BlockId, offset: u32) {
    put(bytes, 0, b"CAMRINGR");
    put(bytes, 16, &block.to_bytes());
    put(bytes, 112, &offset.to_le_bytes());
    if let Ok(len) = RunHeader::claimed_len(bytes) {
        sum(bytes, CRC_AT, SUMMED_FROM, len);
    }
}

/// The header of a chunk of `stream` at `offset` of the block with `tag`.
pub(crate) fn chunk(bytes: &mut [u8], tag: u64, stream: StreamId, offset: u32) {
    put(bytes, 0, b"CHNK");
    put(bytes, 8, &tag.to_le_bytes());
    put(bytes, 16, &stream.0.to_le_bytes());
    put(bytes, 64, &offset.to_le_bytes());
    let entry_count = match bytes.get(60..62) {
        Some(&[low, high]) => usize::from(u16::from_le_bytes([low, high])),
        _ => 0,
    };
    sum(bytes, 4, 8, 80 + 16 * entry_count);
}

/// Writes `what` at `at`, if there is room.
fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + what.len()) {
        place.copy_from_slice(what);
    }
}

/// Writes the checksum of the bytes from `from` to `to` at `at`.
fn sum(bytes: &mut [u8], at: usize, from: usize, to: usize) {
    if let Some(crc) = bytes.get(from..to).map(crc32c) {
        put(bytes, at, &crc.to_le_bytes());
    }
}
