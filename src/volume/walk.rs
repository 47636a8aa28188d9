//! Walking the runs of a block that has no trailer to be believed.

use bytes::Bytes;

use super::fetch::Fetcher;
use crate::base::error::Result;
use crate::base::geometry::Geometry;
use crate::block::run::{self, MAX_RUN_CHUNKS, RunHeader};
use crate::block::{BlockId, ChunkView, PAGE_LEN, part};
use crate::io::Device;

/// How far a run header can reach, in bytes.
const MAX_HEADER_LEN: usize = run::header_len(MAX_RUN_CHUNKS);

/// All whole runs of block `id` out of its bytes, wherever they are.
///
/// A run counts as whole when its header, every chunk and every frame pass their checks. Where
/// one does not, the search goes on at the next alignment unit, so damage hides nothing behind it.
pub fn whole_runs(block: &Bytes, id: &BlockId, geometry: &Geometry) -> Vec<RunHeader> {
    let mut runs = Vec::new();
    let mut at = PAGE_LEN.next_multiple_of(geometry.unit_len() as usize);
    while let Some(bytes) = block.get(at..).filter(|bytes| !bytes.is_empty()) {
        match RunHeader::decode(bytes, id, geometry, at as u32) {
            Ok(run) if run_is_whole(block, &run) => {
                at += run.len as usize;
                runs.push(run);
            }
            _ => at += geometry.unit_len() as usize,
        }
    }
    runs
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

/// Reads block `id` whole.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) when a part of it cannot be read.
pub fn read_block<D: Device + ?Sized>(
    fetch: &mut Fetcher<'_, D>,
    geometry: &Geometry,
    slot: u64,
) -> Result<Bytes> {
    fetch.read(geometry.offset_of_slot(slot), geometry.block_len() as usize)
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
