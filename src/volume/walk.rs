//! Walking the runs of a block that has no trailer to be believed.

use bytes::Bytes;

use super::fetch::Fetcher;
use super::head;
use super::locate::Located;
use crate::base::error::{Error, Result};
use crate::base::geometry::{Geometry, Sequence};
use crate::block::run::{self, MAX_RUN_CHUNKS, RunHeader};
use crate::block::{BlockId, ChunkView, PAGE_LEN, part};
use crate::io::Device;

/// How far a run header can reach, in bytes.
const MAX_HEADER_LEN: usize = run::header_len(MAX_RUN_CHUNKS);

/// Length in bytes of the pieces that a block is read in where it cannot be read at once.
const PIECE_LEN: usize = 64 << 10;

/// How many pages of a block may fail before it is no longer tried page by page.
const MAX_UNREADABLE_PAGES: usize = 64;

/// Where the first run of a block begins, in bytes from the beginning of the block.
pub fn first_run_offset(geometry: &Geometry) -> u32 {
    (PAGE_LEN as u32).next_multiple_of(geometry.unit_len())
}

/// The runs of block `id` out of its bytes, wherever they are. Where none begins, or its header is
/// damaged, the search goes on at the next alignment unit, so damage hides nothing behind it.
///
/// Chunks and frames are not checked: see [`run_is_whole`].
pub fn runs_in(block: &[u8], id: &BlockId, geometry: &Geometry) -> Vec<RunHeader> {
    let mut runs = Vec::new();
    let mut at = first_run_offset(geometry) as usize;
    while let Some(bytes) = block.get(at..).filter(|bytes| !bytes.is_empty()) {
        match RunHeader::decode(bytes, id, geometry, at as u32) {
            Ok(run) => {
                at += run.len as usize;
                runs.push(run);
            }
            Err(_) => at += geometry.unit_len() as usize,
        }
    }
    runs
}

/// The identity of block `sequence` in `slot`, out of the first of its runs that is found in its
/// bytes: for a block whose header is lost.
pub fn claimed_id(
    block: &[u8],
    located: &Located,
    slot: u64,
    sequence: Sequence,
) -> Option<BlockId> {
    let geometry = &located.geometry;
    let first = first_run_offset(geometry) as usize;
    let mut places = (first..block.len()).step_by(geometry.unit_len() as usize);
    places.find_map(|at| {
        let bytes = block.get(at..)?;
        let id = RunHeader::claimed_id(bytes).ok()?;
        let is_own = id.volume == located.volume && id.slot == slot && id.sequence == sequence;
        let run = RunHeader::decode(bytes, &id, geometry, at as u32);
        run.ok().filter(|_| is_own).map(|run| run.id)
    })
}

/// The identity of block `sequence` in `slot`: from its header or, where that is damaged, from one
/// of its runs, which carry it too. None where the slot holds another block.
///
/// # Errors
///
/// [`Damaged`](crate::ErrorKind::Damaged) when neither header nor run is left,
/// [`Io`](crate::ErrorKind::Io).
pub fn id_of_block<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    located: &Located,
    slot: u64,
    sequence: Sequence,
) -> Result<Option<BlockId>> {
    if let Some(header) = head::header_in_slot(fetch, located, slot) {
        return Ok(Some(header.id).filter(|id| id.sequence == sequence));
    }
    let block = read_block(fetch, &located.geometry, slot);
    let id = claimed_id(&block.bytes, located, slot, sequence);
    let lost = || Error::damaged(format!("the header of block {sequence} is lost"));
    let why = || block.unreadable.unwrap_or_else(lost);
    id.map(Some).ok_or_else(why)
}

/// Whether every chunk and frame of `run` passes its checks; `block` are the bytes of its block.
pub fn run_is_whole(block: &[u8], run: &RunHeader) -> bool {
    let tag = run.id.tag();
    run.chunks.iter().all(|entry| {
        let chunk = &entry.chunk;
        let Some(bytes) = part(block, chunk.offset as usize, chunk.len as usize) else {
            return false;
        };
        ChunkView::decode(bytes, tag, entry.stream, chunk.offset)
            .is_ok_and(|view| view.frames.iter().all(|frame| frame.payload(bytes).is_ok()))
    })
}

/// A block as far as the device gives it back.
#[derive(Debug)]
pub struct Salvaged {
    /// Its bytes; zeroes where it gives nothing back.
    pub bytes: Bytes,
    /// Why a part of them is missing.
    pub unreadable: Option<Error>,
    /// How many pages are.
    pub unreadable_count: u64,
}

/// Reads the block in `slot`. Where that fails, it is read in pieces, so that one bad sector takes
/// no more along than it must.
pub fn read_block<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    slot: u64,
) -> Salvaged {
    let (base, len) = (geometry.offset_of_slot(slot), geometry.block_len() as usize);
    match fetch.read(base, len) {
        Ok(bytes) => Salvaged {
            bytes,
            unreadable: None,
            unreadable_count: 0,
        },
        Err(error) => in_pieces(fetch, base, len, error),
    }
}

/// The bytes at `base` after a read of all of them has failed because of `error`.
fn in_pieces<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    base: u64,
    len: usize,
    error: Error,
) -> Salvaged {
    let mut bytes = vec![0; len];
    let mut unreadable_count = 0;
    for at in (0..len).step_by(PIECE_LEN) {
        let piece_len = PIECE_LEN.min(len - at);
        let pieces = match fetch.read(base + at as u64, piece_len) {
            Ok(piece) => vec![(at, piece)],
            // A device that gives nothing back is not asked for every page.
            Err(_) if unreadable_count >= MAX_UNREADABLE_PAGES => {
                unreadable_count += piece_len / PAGE_LEN;
                Vec::new()
            }
            Err(_) => {
                let places = (at..at + piece_len).step_by(PAGE_LEN);
                let pages = places.map(|at| (at, fetch.read(base + at as u64, PAGE_LEN)));
                let read = pages.filter_map(|(at, page)| Some((at, page.ok()?)));
                let read: Vec<_> = read.collect();
                unreadable_count += piece_len.div_ceil(PAGE_LEN) - read.len();
                read
            }
        };
        for (at, piece) in pieces {
            if let Some(place) = bytes.get_mut(at..at + piece.len()) {
                place.copy_from_slice(&piece);
            }
        }
    }
    if unreadable_count > 0 {
        tracing::warn!(base, len, unreadable_count, "pages cannot be read: {error}");
    }
    Salvaged {
        bytes: bytes.into(),
        unreadable: Some(error).filter(|_| unreadable_count > 0),
        unreadable_count: unreadable_count as u64,
    }
}

/// Reads the header of the run at `offset` of block `id`; `None` where no run of the block begins
/// there.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) when the device cannot be read.
pub fn run_at<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    id: &BlockId,
    offset: u32,
) -> Result<Option<RunHeader>> {
    let base = geometry.offset_of_slot(id.slot);
    let room = (geometry.block_len() - offset.min(geometry.block_len())) as usize;
    if room < PAGE_LEN {
        return Ok(None);
    }
    let page = fetch.read(base + u64::from(offset), PAGE_LEN)?;
    let Ok(len) = RunHeader::claimed_len(&page) else {
        return Ok(None);
    };
    let len = len.min(MAX_HEADER_LEN).next_multiple_of(PAGE_LEN);
    let bytes = match len {
        PAGE_LEN => page,
        len if len <= room => fetch.read(base + u64::from(offset), len)?,
        _ => return Ok(None),
    };
    Ok(RunHeader::decode(&bytes, id, geometry, offset).ok())
}

/// The headers of the runs of block `id` from `offset` on, as long as one follows another.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) when the device cannot be read.
pub fn follow_runs<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    id: &BlockId,
    mut offset: u32,
) -> Result<Vec<RunHeader>> {
    let mut runs = Vec::new();
    while let Some(run) = run_at(fetch, geometry, id, offset)? {
        offset = run.end();
        runs.push(run);
    }
    Ok(runs)
}
