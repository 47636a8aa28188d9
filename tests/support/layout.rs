//! What lies where in a data file, read by the byte tables of `docs/FORMAT.md` alone: so that a
//! test can damage a chosen place and know what it has hit without asking camring.

use std::ops::Range;

/// Length of header and trailer pages, and of the alignment unit of these volumes.
const PAGE: usize = 4096;

/// What a stretch of a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The header page.
    Header,
    /// A run header and its directory.
    Run,
    /// The header and the entries of a chunk of this stream, and the numbers of its frames.
    Chunk(u64, Vec<u64>),
    /// Frame `number` of a stream, made by `camera::frame`.
    Frame(u64, u64),
    /// A setup or gap record of a stream.
    Record(u64),
    /// The index.
    Index,
    /// The trailer page.
    Trailer,
    /// Nothing that was written is there.
    Unused,
}

/// A stretch of a data file.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    /// The block; 0 where there is none.
    pub(crate) sequence: u64,
    /// Where, in bytes from the beginning of the file.
    pub(crate) range: Range<usize>,
    /// What.
    pub(crate) what: What,
}

/// Everything in `data`, a volume of blocks of `block_len` bytes that was closed; sorted, without
/// holes.
pub(crate) fn map(data: &[u8], block_len: usize) -> Vec<Region> {
    let blocks = data.chunks(block_len).enumerate();
    blocks
        .flat_map(|(slot, block)| map_block(block, slot * block_len))
        .collect()
}

fn map_block(block: &[u8], base: usize) -> Vec<Region> {
    let is_block = block.starts_with(b"CAMRINGH");
    let sequence = if is_block { u64_at(block, 80) } else { 0 };
    let mut regions = Vec::new();
    let mut at = 0;
    let mut add = |range: Range<usize>, what: What| {
        let region = |range: Range<usize>, what| Region {
            sequence,
            range: base + range.start..base + range.end,
            what,
        };
        if range.start > at {
            regions.push(region(at..range.start, What::Unused));
        }
        at = range.end;
        regions.push(region(range, what));
    };
    if is_block && sequence != 0 {
        add(0..PAGE, What::Header);
        let mut run = PAGE;
        while run < block.len()
            && block[run..].starts_with(b"CAMRINGR")
            && u64_at(block, run + 56) == sequence
        {
            map_run(block, run, &mut add);
            run += u32_at(block, run + 72) as usize;
        }
        let page = block.len() - PAGE;
        if block[page..].starts_with(b"CAMRINGT") && u64_at(block, page + 56) == sequence {
            let index = u32_at(block, page + 84) as usize;
            let len = u32_at(block, page + 88) as usize;
            add(index..index + len, What::Index);
            add(page..block.len(), What::Trailer);
        }
    }
    add(block.len()..block.len(), What::Unused);
    regions
}

fn map_run(block: &[u8], run: usize, add: &mut impl FnMut(Range<usize>, What)) {
    let header_len = u32_at(block, run + 12) as usize;
    add(run..run + header_len, What::Run);
    for entry in (run + 128..run + header_len).step_by(64) {
        let stream = u64_at(block, entry);
        let chunk = u32_at(block, entry + 44) as usize;
        let entries = usize::from(u16::from_le_bytes([block[chunk + 60], block[chunk + 61]]));
        let mut at = chunk + 80 + 16 * entries;
        let words = (0..entries).map(|n| u32_at(block, chunk + 80 + 16 * n));
        let frames: Vec<_> = words
            .filter(|word| word >> 31 == 0)
            .map(|word| {
                let from = at;
                at += (word & 0x00ff_ffff) as usize;
                let what = match word & 0x4000_0000 {
                    0 => What::Frame(stream, u64_at(block, from + 8)),
                    _ => What::Record(stream),
                };
                (from..at, what)
            })
            .collect();
        let numbers = frames.iter().filter_map(|(_, what)| match what {
            What::Frame(_, number) => Some(*number),
            _ => None,
        });
        let head = chunk..chunk + 80 + 16 * entries;
        add(head, What::Chunk(stream, numbers.collect()));
        for (range, what) in frames {
            add(range, what);
        }
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
