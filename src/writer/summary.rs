//! The summary: what every 1,024th index, or so, says of the streams that its block does not hold,
//! so that a stream that was silent for long is found without looking into every block.

use std::collections::HashMap;

use super::core::Core;
use crate::base::geometry::Sequence;
use crate::block::index::{AbsentStream, IndexBuilder};
use crate::block::record::{GapRecord, Record};
use crate::frame::GapCause;

/// A summary takes at most this part of its block; the streams that do not fit are left out.
const SHARE: usize = 8;

impl Core {
    /// Lists in `index`, that of the new block `sequence`, all streams that the ring still holds,
    /// and those that would record but for a gap. A stream that is in the block after all leaves
    /// the list with its first chunk.
    pub(super) fn summarize(&self, sequence: Sequence, index: &mut IndexBuilder) {
        let max_len = self.geometry().block_len() as usize / SHARE;
        for absent in self.absent_streams(sequence) {
            index.add_absent(&absent);
            if index.encoded_len() > max_len {
                tracing::warn!(block = sequence, "too many streams for its summary");
                index.remove_absent(absent.stream);
                return;
            }
        }
    }

    fn absent_streams(&self, sequence: Sequence) -> Vec<AbsentStream> {
        let oldest = sequence.saturating_sub(self.geometry().slot_count());
        // What is packed but not yet committed is known only here.
        let own = self.stage.streams.iter();
        let own: HashMap<_, _> = own.map(|stream| (stream.id, stream)).collect();
        self.volume.with_state(|state| {
            let mut listed = Vec::new();
            for known in state.registry.iter() {
                let own = own.get(&known.id);
                let previous = own.map_or(known.last_sequence, |own| own.last_sequence);
                let gap = state.timeline.lasting_gap(known.id);
                let gap = gap.filter(|gap| gap.cause != GapCause::Idle);
                let last_time = known.last_time.or(gap.map(|gap| gap.start));
                let Some(last_time) = last_time.filter(|_| previous > oldest || gap.is_some())
                else {
                    continue;
                };
                let stored = || Record::Setup(known.setup.as_ref().clone()).encode();
                let setup = own.map_or_else(stored, |own| own.setup.clone());
                let mut records = vec![setup];
                if let Some(gap) = gap {
                    // The block that told of it may be overwritten soon; this one tells it anew.
                    state.timeline.add_gap(known.id, sequence, gap);
                    let (first_ordinal, end_ordinal) = (0, 0);
                    let record = GapRecord {
                        gap,
                        first_ordinal,
                        end_ordinal,
                    };
                    records.push(Record::Gap(record).encode());
                }
                listed.push(AbsentStream {
                    stream: known.id,
                    previous,
                    last_time,
                    records,
                });
            }
            listed
        })
    }
}
