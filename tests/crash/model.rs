//! What must be on the disk: all frames that were ever pushed, and what has become of each.

use std::collections::{BTreeMap, BTreeSet};

use camring::frame::{Frame, GapCause, Item};
use camring::io::buffer::BufferPool;
use camring::io::direct::Access;
use camring::io::sim::{Image, SimDisk, SimOptions};
use camring::reader::{Query, read_all};
use camring::volume::Volume;
use camring::volume::fetch::Fetcher;
use camring::volume::head::header_in_slot;
use camring::writer::ManualWriter;

use crate::SLOT_COUNT;
use crate::simulated;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pushed,
    /// The writer said so, at its `commit`th commit.
    Durable {
        sequence: u64,
        commit: u64,
    },
    /// An opening has not served it: it may never come back.
    Lost,
    /// The disk has spoilt it; whether it comes back depends on what was spoilt.
    Spoilt,
}

/// All frames by stream; a frame's number is its place.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) frames: BTreeMap<u64, Vec<(Frame, Fate)>>,
    pub(crate) head: u64,
    commit_count: u64,
    /// Whether the disk has spoilt something, at any time.
    pub(crate) is_spoilt: bool,
}

/// What an opening serves.
#[derive(Default)]
pub(crate) struct Served {
    /// The places of frames in the model, in the order in which they came, with their blocks.
    frames: BTreeMap<u64, Vec<(u64, u64)>>,
    /// Streams that were told of damage.
    damaged: BTreeSet<u64>,
    /// Whether damage was told of the volume as a whole.
    is_damaged: bool,
    /// The last blocks of older lives. Without the cache file `blocktable` nobody can know that the
    /// last of their runs are missing: a power cut leaves such a block, too.
    ends: BTreeSet<u64>,
}

impl Served {
    pub(crate) fn tells_damage(&self) -> bool {
        self.is_damaged || !self.damaged.is_empty()
    }

    /// The numbers of the frames of a stream, in their order.
    pub(crate) fn numbers(&self, stream: u64) -> Vec<u64> {
        let frames = self.frames.get(&stream).into_iter().flatten();
        frames.map(|(number, _)| *number).collect()
    }

    fn tells_of(&self, stream: u64) -> bool {
        self.is_damaged || self.damaged.contains(&stream)
    }
}

impl Model {
    /// Takes note of what became durable.
    pub(crate) fn note(&mut self, writer: &mut ManualWriter) {
        self.head = self.head.max(writer.volume().table().head());
        let committed = writer.take_committed();
        self.commit_count += u64::from(!committed.is_empty());
        for chunk in committed {
            let frames = self.frames.get_mut(&chunk.stream.0).unwrap();
            let pushed = frames.iter_mut().filter(|(_, fate)| *fate == Fate::Pushed);
            for (_, fate) in pushed.take(chunk.frame_count as usize) {
                *fate = Fate::Durable {
                    sequence: chunk.sequence,
                    commit: self.commit_count,
                };
            }
        }
    }

    /// What an opening of `image` serves. Each frame must be one that was pushed, byte for byte, and
    /// those of a stream come in their order, each once.
    pub(crate) fn served(&self, image: &Image, context: &str) -> Served {
        let disk = SimDisk::new(image.clone(), SimOptions::default());
        let volume = Volume::open_on(simulated::medium(&disk), None)
            .unwrap_or_else(|e| panic!("{context}: does not open: {e}"));
        self.served_by(&volume, context)
    }

    /// The same of a volume that is open.
    pub(crate) fn served_by(&self, volume: &Volume, context: &str) -> Served {
        let sequences: Vec<_> = volume.table().blocks().map(|row| row.sequence).collect();
        let mut served = Served {
            is_damaged: volume.is_damaged() || !volume.lost_blocks().is_empty(),
            ends: ends(volume),
            ..Served::default()
        };
        for recorded in read_all(volume, &Query::blocks(sequences)).unwrap() {
            let stream = recorded.stream.0;
            match recorded.item {
                Item::Frame(frame) => {
                    let number = self.number_of(stream, &frame, context);
                    let frames = served.frames.entry(stream).or_default();
                    frames.push((number, recorded.sequence));
                }
                Item::Gap(gap) if gap.cause == GapCause::Damaged => {
                    served.damaged.insert(stream);
                }
                _ => {}
            }
        }
        for (stream, frames) in &served.frames {
            let in_order = frames.windows(2).all(|w| w[0].0 < w[1].0);
            assert!(in_order, "{context}: stream {stream}: {frames:?}");
        }
        served
    }

    fn number_of(&self, stream: u64, frame: &Frame, context: &str) -> u64 {
        let number = frame.payload.get(8..16).and_then(|b| b.try_into().ok());
        let number = u64::from_le_bytes(number.unwrap_or_else(|| panic!("{context}: {frame:?}")));
        let frames = self.frames.get(&stream);
        let pushed = frames.and_then(|frames| frames.get(number as usize));
        let is_same = pushed.is_some_and(|(pushed, _)| pushed == frame);
        assert!(
            is_same,
            "{context}: stream {stream} frame {number} has changed"
        );
        number
    }

    /// Compares what `image` serves with what must be there.
    pub(crate) fn check(&self, image: &Image, context: &str) -> Served {
        let served = self.served(image, context);
        self.check_served(&served, context);
        served
    }

    pub(crate) fn check_served(&self, served: &Served, context: &str) {
        assert!(
            self.is_spoilt || !served.tells_damage(),
            "{context}: a power cut or a failure that was told is taken for damage"
        );
        for (stream, frames) in &self.frames {
            let numbers: BTreeSet<_> = served.numbers(*stream).into_iter().collect();
            for (number, (_, fate)) in frames.iter().enumerate() {
                let is_served = numbers.contains(&(number as u64));
                self.check_frame(*stream, number, *fate, is_served, served, context);
            }
        }
    }

    fn check_frame(
        &self,
        stream: u64,
        number: usize,
        fate: Fate,
        is_served: bool,
        served: &Served,
        context: &str,
    ) {
        match fate {
            Fate::Lost => assert!(
                !is_served,
                "{context}: stream {stream}: lost frame {number} came back"
            ),
            Fate::Durable { sequence, commit } if sequence + SLOT_COUNT > self.head => {
                // Damage in the very last commit cannot be told from a torn end.
                let is_told = self.is_spoilt
                    && (served.tells_of(stream)
                        || served.ends.contains(&sequence)
                        || commit + 1 >= self.commit_count);
                assert!(
                    is_served || is_told,
                    "{context}: stream {stream}: durable frame {number} of block {sequence}, \
                     commit {commit} of {}, is missing and nothing tells it; head {}",
                    self.commit_count,
                    self.head
                );
            }
            _ => {}
        }
    }

    /// What is served becomes the truth: the rest is lost for ever. Returns how many frames are.
    pub(crate) fn settle(&mut self, served: &Served) -> u64 {
        let mut lost = 0;
        let is_spoilt = self.is_spoilt;
        for (stream, frames) in &mut self.frames {
            let got = served.frames.get(stream);
            let got: BTreeMap<_, _> = got.into_iter().flatten().copied().collect();
            for (number, (_, fate)) in frames.iter_mut().enumerate() {
                *fate = match (got.get(&(number as u64)), *fate) {
                    (Some(_), Fate::Durable { sequence, commit }) => {
                        Fate::Durable { sequence, commit }
                    }
                    (Some(sequence), _) => Fate::Durable {
                        sequence: *sequence,
                        commit: self.commit_count,
                    },
                    (None, Fate::Pushed | Fate::Durable { .. }) if is_spoilt => Fate::Spoilt,
                    (None, Fate::Pushed) => {
                        lost += 1;
                        Fate::Lost
                    }
                    (None, fate) => fate,
                };
            }
        }
        lost
    }
}

/// See [`Served::ends`].
fn ends(volume: &Volume) -> BTreeSet<u64> {
    let located = volume.located();
    let pool = BufferPool::new(1, 1 << 16).unwrap();
    let mut device = volume.medium().open(Access::Read, &pool).unwrap();
    let mut fetch = Fetcher::new(device.as_mut());
    let slots = 0..located.geometry.slot_count();
    let headers = slots.filter_map(|slot| header_in_slot(&mut fetch, &located, slot));
    let headers: BTreeMap<_, _> = headers.map(|h| (h.id.sequence, h.life)).collect();
    let newest = headers.values().copied().max();
    // The headers that were written ahead, and the block before them.
    let is_end = |sequence: u64, life: u64| {
        let last = headers.iter().filter(|(_, other)| **other == life);
        let last = last.map(|(sequence, _)| *sequence).max().unwrap_or(0);
        Some(life) != newest && sequence + 2 >= last
    };
    let ends = headers.iter().filter(|(s, life)| is_end(**s, **life));
    ends.map(|(sequence, _)| *sequence).collect()
}
