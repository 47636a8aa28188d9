//! The fuzz targets as plain functions.
//!
//! libFuzzer calls them from `fuzz_targets/`, with inputs that it invents; `tests/fuzz_corpus.rs`
//! takes in this very file and calls them with the inputs of `corpus/`, on a stable toolchain.
//!
//! A target takes any bytes, panics when a promise is broken, and returns whether the bytes got
//! through the parser: a corpus whose inputs are all refused at the door would test nothing.

mod image;
mod seal;

use camring::base::geometry::{self, Geometry, Nonce, VolumeId};
use camring::block::index::page_is_whole;
use camring::block::record::Record;
use camring::block::{
    BlockHeader, BlockId, BlockTrailer, ChunkView, PAGE_LEN, RunHeader, StreamSection,
};

/// A target.
pub type Target = fn(&[u8]) -> bool;

/// All targets by name; each has a file in `fuzz_targets/` and a folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("block_header", block_header),
    ("index", index),
    ("run_and_chunk", run_and_chunk),
    ("whole_image", whole_image),
];

/// The block that runs, chunks and trailers are read for.
pub const BLOCK: BlockId = BlockId {
    volume: VolumeId([7; 16]),
    slot: 4,
    sequence: 5,
    nonce: Nonce([9; 16]),
};

/// Where the run begins in its block: behind the header page.
pub const RUN_OFFSET: u32 = geometry::PAGE_LEN;

/// A whole volume with edits: opened, verified, read, recorded into, and read again.
pub fn whole_image(data: &[u8]) -> bool {
    image::whole_image(data)
}

/// The measures of the volume: 16 blocks of 1 MiB.
///
/// # Panics
///
/// Never: the numbers are permitted ones.
pub fn geometry() -> Geometry {
    match Geometry::new(1 << 20, 16, 4096) {
        Ok(geometry) => geometry,
        Err(error) => panic!("{error}"),
    }
}

/// A header page: reading it never panics, and what was read is written the same way again.
pub fn block_header(data: &[u8]) -> bool {
    let _ = BlockHeader::decode(data);
    let mut page = data.to_vec();
    page.resize(PAGE_LEN, 0);
    seal::header(&mut page);
    let Ok(header) = BlockHeader::decode(&page) else {
        return false;
    };
    let mut again = [0; PAGE_LEN];
    header.encode(&mut again);
    assert_eq!(BlockHeader::decode(&again), Ok(header));
    true
}

/// A run and its chunks: whatever the headers claim, frames lie inside the bytes of their chunk.
pub fn run_and_chunk(data: &[u8]) -> bool {
    let geometry = geometry();
    let _ = RunHeader::decode(data, &BLOCK, &geometry, RUN_OFFSET);
    let mut run = data.to_vec();
    seal::run(&mut run, &BLOCK, RUN_OFFSET);
    let Ok(header) = RunHeader::decode(&run, &BLOCK, &geometry, RUN_OFFSET) else {
        return false;
    };
    assert!(header.end() <= geometry.block_len());

    let mut got_through = false;
    for entry in &header.chunks {
        let from = (entry.chunk.offset - RUN_OFFSET) as usize;
        let Some(bytes) = run.get_mut(from..from + entry.chunk.len as usize) else {
            continue;
        };
        let _ = ChunkView::decode(bytes, BLOCK.tag(), entry.stream, entry.chunk.offset);
        seal::chunk(bytes, BLOCK.tag(), entry.stream, entry.chunk.offset);
        let decoded = ChunkView::decode(bytes, BLOCK.tag(), entry.stream, entry.chunk.offset);
        if let Ok(chunk) = decoded {
            got_through |= frames(&chunk, bytes);
        }
    }
    got_through
}

/// Reads every frame of a chunk; says whether one was whole.
fn frames(chunk: &ChunkView, bytes: &[u8]) -> bool {
    let mut any = false;
    for frame in &chunk.frames {
        let Ok(payload) = frame.payload(bytes) else {
            continue;
        };
        assert_eq!(payload.len(), frame.len as usize);
        if frame.record {
            record(payload);
        }
        any = true;
    }
    any
}

/// What was read of a record is written the same way again.
fn record(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

/// A trailer page and the index behind it: every section is found in bounded steps.
pub fn index(data: &[u8]) -> bool {
    let geometry = geometry();
    let Some((page, index)) = data.split_at_checked(PAGE_LEN) else {
        return BlockTrailer::decode(data, &BLOCK, &geometry).is_ok();
    };
    let _ = BlockTrailer::decode(page, &BLOCK, &geometry);
    let mut page = page.to_vec();
    seal::trailer(&mut page, &BLOCK);
    let Ok(trailer) = BlockTrailer::decode(&page, &BLOCK, &geometry) else {
        return false;
    };
    let mut again = [0; PAGE_LEN];
    trailer.encode(&mut again);
    assert_eq!(
        BlockTrailer::decode(&again, &BLOCK, &geometry).as_ref(),
        Ok(&trailer)
    );

    let pages = index.chunks(camring::block::index::INDEX_PAGE_LEN);
    for (page, fence) in pages.zip(&trailer.fences) {
        page_is_whole(page, fence);
        if let Some(from) = fence.first_section {
            let section = page.get(from as usize..).unwrap_or_default();
            let _ = StreamSection::decode(section, trailer.first_run, geometry.block_len());
        }
    }
    sections(index, trailer.first_run, geometry.block_len()) > 0
}

/// Walks over an index; returns the number of sections that could be read.
fn sections(mut index: &[u8], first_run: u64, block_len: u32) -> usize {
    let mut count = 0;
    while let Ok((section, len)) = StreamSection::decode(index, first_run, block_len) {
        assert!(len > 0 && len <= index.len());
        for chunk in &section.chunks {
            assert!(u64::from(chunk.offset) + u64::from(chunk.len) <= u64::from(block_len));
        }
        index = index.get(len..).unwrap_or_default();
        count += 1;
    }
    count
}
