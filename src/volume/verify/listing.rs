//! The check of a block's index against the directories of its runs.

use super::contents::{Check, Hole, Known};
use super::report::DamagedPart;
use crate::base::time::TimeRange;
use crate::block::index::{INDEX_PAGE_LEN, page_is_whole, summary_every};
use crate::block::{BlockTrailer, ChunkEntry, PAGE_LEN, StreamSection, part};

impl<'c> Check<'c> {
    /// Compares the index with what the runs hold. What only the index knows, because the header
    /// of a run is lost, is checked here.
    pub(super) fn index(&mut self, trailer: &BlockTrailer, holes: &mut [Hole]) {
        let Some(mut bytes) = self.index_bytes(trailer) else {
            return;
        };
        let (mut stream_count, mut chunk_count, mut frame_count) = (0_u64, 0_u64, 0_u64);
        let mut last = None;
        while !bytes.is_empty() {
            let block_len = self.expected.geometry.block_len();
            let (section, len) = match StreamSection::decode(bytes, trailer.first_run, block_len) {
                Ok(section) => section,
                Err(e) => {
                    return self.damage(DamagedPart::Index, trailer.index_offset, e.to_string());
                }
            };
            bytes = bytes.get(len..).unwrap_or_default();
            if last.is_some_and(|last| last >= section.stream) {
                let what = format!("stream {} is out of order", section.stream);
                self.damage(DamagedPart::Index, trailer.index_offset, what);
            }
            last = Some(section.stream);
            stream_count += 1;
            chunk_count += section.chunks.len() as u64;
            frame_count += u64::from(section.frame_count);
            self.section(trailer, &section, holes);
        }
        for (stream, known) in std::mem::take(&mut self.streams) {
            let (part, times) = (DamagedPart::Index, times_of(&known.chunks));
            let what = "the stream is not listed";
            self.damage_of(part, Some(stream), times, trailer.index_offset, what);
        }
        let listed = (stream_count, chunk_count, frame_count);
        let (streams, chunks) = (trailer.stream_count, trailer.chunk_count);
        if listed != (streams.into(), chunks.into(), trailer.frame_count) {
            let what = "its sums are not those of the index";
            let offset = self.bytes.len().saturating_sub(PAGE_LEN);
            self.damage(DamagedPart::Trailer, offset as u32, what);
        }
    }

    /// The bytes of the index, if every page of it passes its check.
    fn index_bytes(&mut self, trailer: &BlockTrailer) -> Option<&'c [u8]> {
        let (offset, len) = (trailer.index_offset, trailer.index_len as usize);
        let bytes = part(self.bytes, offset as usize, len).unwrap_or_default();
        let mut is_whole = true;
        for (number, (page, fence)) in bytes
            .chunks(INDEX_PAGE_LEN)
            .zip(&trailer.fences)
            .enumerate()
        {
            if !page_is_whole(page, fence) {
                is_whole = false;
                let offset = offset.saturating_add((number * INDEX_PAGE_LEN) as u32);
                let what = format!("page {number}: checksum fails");
                self.damage(DamagedPart::Index, offset, what);
            }
        }
        is_whole.then_some(bytes)
    }

    fn section(&mut self, trailer: &BlockTrailer, section: &StreamSection, holes: &mut [Hole]) {
        let known = self.streams.remove(&section.stream).unwrap_or_default();
        let mut listed = Vec::with_capacity(section.chunks.len());
        for chunk in &section.chunks {
            let inside = |hole: &&mut Hole| chunk.offset >= hole.from && chunk.offset < hole.to;
            let Some(hole) = holes.iter_mut().find(inside) else {
                listed.push(*chunk);
                continue;
            };
            let times = hole
                .times
                .map_or(chunk.times, |all| all.union(&chunk.times));
            hole.times = Some(times);
            hole.is_shared |= hole.stream.is_some_and(|other| other != section.stream);
            hole.stream = Some(section.stream);
            // Its frames can still be read by the index, so they are checked like all others.
            self.chunk(section.stream, chunk);
        }
        let is_complete = listed.len() == section.chunks.len() && !known.is_partial;
        let every = summary_every(self.expected.geometry.slot_count());
        let is_summary = trailer.id.sequence.is_multiple_of(every);
        if let Some(what) = difference(section, &listed, &known, is_complete, is_summary) {
            let (stream, times) = (Some(section.stream), section.times());
            self.damage_of(
                DamagedPart::Index,
                stream,
                times,
                trailer.index_offset,
                what,
            );
        }
    }
}

/// How `section`, whose chunks `listed` are in runs that can be read, differs from what is known.
/// Sums and records are compared only where everything is known.
fn difference(
    section: &StreamSection,
    listed: &[ChunkEntry],
    known: &Known,
    is_complete: bool,
    is_summary: bool,
) -> Option<String> {
    if listed != known.chunks {
        return Some(format!(
            "{} chunks are listed otherwise than the runs hold {}",
            listed.len(),
            known.chunks.len()
        ));
    }
    if !is_complete {
        return None;
    }
    if section.chunks.is_empty() {
        // A summary, made from what the writer knew.
        return (!is_summary).then(|| "it lists a stream without a chunk".to_owned());
    }
    if section.records != known.records {
        return Some("setups or gaps are not those of the chunks".to_owned());
    }
    let sums = (section.frame_count, section.payload_len);
    let differs = sums != (known.frame_count, known.payload_len);
    differs.then(|| "its sums are not those of the chunks".to_owned())
}

fn times_of(chunks: &[ChunkEntry]) -> Option<TimeRange> {
    let times = chunks.iter().map(|chunk| chunk.times);
    times.reduce(|all, times| all.union(&times))
}
