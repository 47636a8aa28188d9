//! The writer's helper thread: streams, timeline, cache files and events.
//!
//! Whatever may block (files, locks, callbacks) is done here, fed by an SPSC ring, so that the
//! writer's thread only ever waits for its device.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::event::{Event, Spans, StreamSpan};
use super::options::EventSink;
use crate::base::geometry::{Position, Sequence};
use crate::base::sync::{Arc, AtomicBool, Ordering};
use crate::base::time::{Clock, US_PER_S};
use crate::block::record::Record;
use crate::block::{DecodeStart, RunHeader};
use crate::frame::StreamId;
use crate::io::wake::{Sleeper, Waker};
use crate::table::TableRow;
use crate::volume::tablefile::TableFile;
use crate::volume::{Volume, cachefile};

/// How many notes may wait.
const NOTE_COUNT: usize = 4096;
/// How often the timeline is saved at most, in microseconds.
const SAVE_US: i64 = 10 * US_PER_S;

/// A run that became durable, and the records in it.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) header: Arc<RunHeader>,
    pub(super) records: Vec<(StreamId, Bytes)>,
}

/// What the writer tells its helper.
#[derive(Debug)]
pub(super) enum Note {
    Written,
    Committed {
        position: Position,
        runs: Vec<Committed>,
    },
    Sealed(TableRow),
    Fault {
        sequence: Sequence,
        spans: Spans,
        message: String,
    },
    Failed {
        sequence: Sequence,
        spans: Spans,
        message: String,
    },
}

/// The writer's end.
pub(super) struct KeeperFeed {
    ring: HeapProd<Note>,
    helper: Waker,
    /// No note follows.
    is_over: Arc<AtomicBool>,
    /// A note found no room: what is kept is incomplete, and must not be saved.
    is_incomplete: Arc<AtomicBool>,
}

/// The helper.
pub(super) struct Keeper {
    ring: HeapCons<Note>,
    sleeper: Sleeper,
    is_over: Arc<AtomicBool>,
    is_incomplete: Arc<AtomicBool>,
    volume: Volume,
    table: Option<TableFile>,
    clock: Arc<dyn Clock>,
    on_event: Option<EventSink>,
    /// What was committed of blocks that are not sealed, for the listener.
    block_spans: BTreeMap<Sequence, Spans>,
    covered: Option<TableRow>,
    saved_us: i64,
}

/// A helper for `volume`, and the writer's end of its ring.
pub(super) fn keeper(
    volume: Volume,
    clock: Arc<dyn Clock>,
    on_event: Option<EventSink>,
) -> (KeeperFeed, Keeper) {
    let (ring, consumer) = HeapRb::new(NOTE_COUNT).split();
    let sleeper = Sleeper::new();
    let is_over = Arc::new(AtomicBool::new(false));
    let is_incomplete = Arc::new(AtomicBool::new(false));
    let feed = KeeperFeed {
        ring,
        helper: sleeper.waker(),
        is_over: is_over.clone(),
        is_incomplete: is_incomplete.clone(),
    };
    let table = volume.dir().and_then(|dir| open_table(dir, &volume));
    // Saved at the end even if nothing is recorded: the file may have been lost or old.
    let newest = volume.table().blocks().last();
    let keeper = Keeper {
        ring: consumer,
        sleeper,
        is_over,
        is_incomplete,
        volume,
        table,
        clock,
        on_event,
        block_spans: BTreeMap::new(),
        covered: newest,
        saved_us: 0,
    };
    (feed, keeper)
}

/// Brings the file `blocktable` up to date. A volume is recorded without it if need be.
fn open_table(dir: &Path, volume: &Volume) -> Option<TableFile> {
    let rows = (0..volume.geometry().slot_count()).map(|slot| volume.table().row(slot));
    TableFile::update(dir, &volume.located(), rows)
        .inspect_err(|e| tracing::warn!("recording goes on without a blocktable file: {e}"))
        .ok()
}

impl KeeperFeed {
    pub(super) fn note(&mut self, note: Note) {
        if self.ring.try_push(note).is_err() && !self.is_incomplete.swap(true, Ordering::Relaxed) {
            tracing::warn!("the helper thread is stuck; the timeline is rebuilt at the next start");
        }
        self.helper.wake();
    }

    /// A run was written: who reads ahead of the commit may go on.
    pub(super) fn wake_readers(&mut self) {
        if self.ring.vacant_len() > NOTE_COUNT / 2 {
            self.note(Note::Written);
        }
    }
}

impl Drop for KeeperFeed {
    fn drop(&mut self) {
        // Release: pairs with the Acquire load in `Sleeper::next`.
        self.is_over.store(true, Ordering::Release);
        self.helper.wake();
    }
}

impl fmt::Debug for KeeperFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeeperFeed({} notes)", self.ring.occupied_len())
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keeper({} notes)", self.ring.occupied_len())
    }
}

impl Keeper {
    /// Handles what was noted until now, and says what of each stream became durable.
    pub(super) fn catch_up(&mut self, mut on_committed: impl FnMut(&Committed)) {
        while let Some(note) = self.ring.try_pop() {
            if let Note::Committed { runs, .. } = &note {
                runs.iter().for_each(&mut on_committed);
            }
            self.handle(note);
        }
    }

    /// Works until the writer's end is dropped and everything was handled; then saves.
    pub(super) fn run(mut self) {
        while let Some(note) = self.sleeper.next(&self.is_over, || self.ring.try_pop()) {
            self.handle(note);
        }
        self.save();
    }

    fn handle(&mut self, note: Note) {
        match note {
            Note::Written => self.volume.wake_readers(),
            Note::Committed { position, runs } => self.committed(position, &runs),
            Note::Sealed(row) => self.sealed(row),
            Note::Fault {
                sequence,
                spans,
                message,
            } => self.tell(|volume| Event::Fault {
                volume: volume.id(),
                sequence,
                streams: streams_of(volume, &spans),
                times: volume.time_range(),
                message,
            }),
            Note::Failed {
                sequence,
                spans,
                message,
            } => self.tell(|volume| Event::Failed {
                volume: volume.id(),
                sequence,
                streams: streams_of(volume, &spans),
                times: volume.time_range(),
                message,
            }),
        }
    }

    fn committed(&mut self, position: Position, runs: &[Committed]) {
        self.volume.with_state(|state| {
            for run in runs {
                let sequence = run.header.id.sequence;
                for (stream, record) in &run.records {
                    match Record::decode(record) {
                        Ok(Record::Setup(setup)) => {
                            state.registry.set_setup(*stream, Arc::new(setup));
                        }
                        Ok(Record::Gap(record)) => {
                            state.timeline.add_gap(*stream, sequence, record.gap);
                        }
                        Err(e) => tracing::error!("a record of our own: {e}"),
                    }
                }
                for entry in run
                    .header
                    .chunks
                    .iter()
                    .filter(|entry| entry.chunk.has_frames)
                {
                    let chunk = &entry.chunk;
                    let key = chunk.first_key.map(|frame| DecodeStart {
                        sequence,
                        offset: chunk.offset,
                        len: chunk.len,
                        frame,
                    });
                    state
                        .timeline
                        .add_recorded(entry.stream, sequence, chunk.times);
                    state
                        .registry
                        .add_frames(entry.stream, sequence, chunk.times.end, key);
                }
            }
        });
        self.volume.wake_readers();
        if self.on_event.is_some() {
            self.tell_committed(position, runs);
        }
    }

    fn tell_committed(&mut self, position: Position, runs: &[Committed]) {
        let mut spans = Spans::default();
        for Committed { header, .. } in runs {
            spans.add_run(header);
            let block = self.block_spans.entry(header.id.sequence);
            block.or_default().add_run(header);
        }
        self.tell(|volume| Event::Committed {
            volume: volume.id(),
            position,
            streams: streams_of(volume, &spans),
            times: volume.time_range(),
        });
    }

    fn sealed(&mut self, row: TableRow) {
        let slot = self.volume.geometry().slot_of(row.sequence);
        if let Some(Err(e)) = self.table.as_ref().map(|table| table.set(slot, &row)) {
            tracing::warn!("{e}; the row is read from the device at the next start");
        }
        self.covered = Some(row);
        self.volume.trim_live(row.sequence + 1);
        let oldest = self.volume.table().blocks().next();
        if let Some(TableRow {
            sequence, times, ..
        }) = oldest
        {
            self.volume
                .with_state(|state| state.timeline.trim(sequence, times.start));
        }
        let now = self.clock.now().boot_us;
        if now.saturating_sub(self.saved_us) >= SAVE_US {
            self.saved_us = now;
            self.save();
        }
        // Blocks before it that were never sealed are not any more.
        let later = self.block_spans.split_off(&(row.sequence + 1));
        let mut spans = std::mem::replace(&mut self.block_spans, later);
        let spans = spans.remove(&row.sequence).unwrap_or_default();
        self.tell(|volume| Event::Sealed {
            volume: volume.id(),
            sequence: row.sequence,
            block_times: row.times,
            streams: streams_of(volume, &spans),
            times: volume.time_range(),
        });
    }

    /// Tells the listener, if there is one, what `event` makes of the volume.
    fn tell(&mut self, event: impl FnOnce(&Volume) -> Event) {
        let Some(mut on_event) = self.on_event.take() else {
            return;
        };
        let event = event(&self.volume);
        // A panic there must not end this thread, which keeps streams and timeline.
        if catch_unwind(AssertUnwindSafe(|| on_event(&event))).is_ok() {
            self.on_event = Some(on_event);
        } else {
            tracing::error!("the listener for events has panicked and is told nothing more");
            self.block_spans.clear();
        }
    }

    fn save(&self) {
        let Some((dir, covered)) = self.volume.dir().zip(self.covered) else {
            return;
        };
        if self.is_incomplete.load(Ordering::Relaxed) {
            return;
        }
        let (registry, timeline) = self
            .volume
            .with_state(|state| (state.registry.clone(), state.timeline.clone()));
        let covered = (covered.sequence, covered.nonce);
        let located = self.volume.located();
        if let Err(e) = cachefile::save(dir, &located, covered, &registry, timeline) {
            tracing::warn!("{e}; the timeline is rebuilt at the next start");
        }
    }
}

/// What `spans` are about, with what `volume` holds of each stream.
fn streams_of(volume: &Volume, spans: &Spans) -> Vec<StreamSpan> {
    volume.with_state(|state| spans.streams(|stream| state.timeline.time_range(stream)))
}
