//! What a file holds once it has begun, and where its clusters begin and end.

use std::borrow::Cow;
use std::io::Write;

use super::cluster::{Cluster, Millis};
use super::cues::Cues;
use super::head::{self, Ending};
use super::output::Output;
use crate::base::error::Result;
use crate::base::sync::Arc;
use crate::base::time::{Timestamp, US_PER_S};
use crate::export::parameter_sets;
use crate::frame::{Codec, Frame, StreamSetup, TrackSetup};

/// A cluster ends when it is this long.
const CLUSTER_MAX_MS: i64 = 5_000;
/// A cluster ends before it would have more bytes than this; a single frame may have more.
const CLUSTER_MAX_LEN: usize = 5 << 20;
/// A key frame that is earlier than the latest frame by more than this shows a clock set back.
/// Less than that is jitter, and players cope with it.
const MAX_STEP_BACK_US: i64 = 2 * US_PER_S;
/// The last frame is shown for at most this long.
const MAX_LAST_FRAME_MS: i64 = 1_000;

/// What a file holds once it has begun.
#[derive(Debug)]
pub(super) struct Content {
    setup: Arc<StreamSetup>,
    lead: u8,
    /// The time of the frame that began the file.
    start: Timestamp,
    /// Whether somebody reads while it is written.
    is_live: bool,
    /// The setup in force, once it is not the one in the head any more.
    changed: Option<Arc<StreamSetup>>,
    /// Whether the lead track is still at the group of pictures that began the file.
    is_first_group: bool,
    ends: Vec<TrackEnd>,
    cluster: Cluster,
    cues: Cues,
    /// What the first cluster, once written, has fixed.
    fixed: Option<Fixed>,
    pub(super) frame_count: u64,
}

/// What cannot change any more when the head is written.
#[derive(Clone, Copy, Debug)]
struct Fixed {
    zero: Millis,
    segment_start: u64,
}

/// The two latest frames of a track in the order of presentation.
#[derive(Clone, Copy, Debug, Default)]
struct TrackEnd {
    latest: Option<Millis>,
    before: Option<Millis>,
}

impl Content {
    pub(super) fn new(setup: Arc<StreamSetup>, first: &Frame, is_live: bool) -> Self {
        let start = Millis::of(first.time);
        let mut cues = Cues::new();
        let is_cue = cues.take_due(start);
        Self {
            lead: first.track,
            start: first.time,
            is_live,
            changed: None,
            is_first_group: true,
            ends: vec![TrackEnd::default(); setup.tracks.len()],
            cluster: Cluster::new(start, is_cue),
            cues,
            fixed: None,
            frame_count: 0,
            setup,
        }
    }

    pub(super) fn setup(&self) -> &Arc<StreamSetup> {
        &self.setup
    }

    /// The track whose key frames begin the file and its clusters.
    pub(super) fn lead(&self) -> u8 {
        self.lead
    }

    /// The time of the frame that began the file.
    pub(super) fn start(&self) -> Timestamp {
        self.start
    }

    /// Whether frames that `setup` describes can go on in this file.
    pub(super) fn fits(&self, setup: &StreamSetup) -> bool {
        let (old, new) = (&self.setup.tracks, &setup.tracks);
        let mut pairs = old.iter().zip(new);
        old.len() == new.len()
            && pairs.all(|(old, new)| {
                is_same_decoder(old, new) || (self.is_live && is_same_nal_codec(old, new))
            })
    }

    /// Takes the setup in force, which [`fits`](Self::fits).
    pub(super) fn set_setup(&mut self, setup: &Arc<StreamSetup>) {
        let mut pairs = self.setup.tracks.iter().zip(&setup.tracks);
        let is_other = pairs.any(|(old, new)| !is_same_decoder(old, new));
        // Back to the first setup is a change as well.
        if is_other || self.changed.is_some() {
            self.changed = Some(Arc::clone(setup));
        }
    }

    /// Whether the stream's clock was set back between the frames so far and `frame`.
    pub(super) fn is_set_back(&self, frame: &Frame) -> bool {
        if frame.track != self.lead || self.skips(frame) {
            return false;
        }
        let time = Millis::of(frame.time);
        let is_before_file = self.fixed.is_some_and(|fixed| time < fixed.zero);
        let earliest = self.latest_of_lead().timestamp().plus_us(-MAX_STEP_BACK_US);
        is_before_file || (frame.key && frame.time < earliest)
    }

    /// Whether `frame` is left out of the file.
    pub(super) fn skips(&self, frame: &Frame) -> bool {
        let is_early = frame.time < self.start;
        if frame.track == self.lead {
            // What is read while it is written has its time 0 before those pictures come. Nothing
            // behind the group refers to them.
            self.is_first_group && (frame.leading || (self.is_live && is_early))
        } else {
            is_early
        }
    }

    pub(super) fn push<W: Write>(&mut self, frame: &Frame, output: &mut Output<W>) -> Result<()> {
        let time = Millis::of(frame.time);
        let is_lead_key = frame.key && frame.track == self.lead;
        let is_first = self.frame_count == 0;
        if !is_first {
            let is_cue = is_lead_key && self.cues.take_due(time);
            if is_cue || self.is_full(time, frame.payload.len()) {
                self.end_cluster(output)?;
                self.cluster.restart(time, is_cue);
                self.open_cluster();
            }
            self.is_first_group &= !is_lead_key;
        } else if self.is_live {
            self.write_first_head(output)?;
            self.open_cluster();
        }
        let number = track_number(frame.track);
        let payload = self.payload(frame);
        self.cluster.push(number, time, frame.key, &payload);
        if self.is_live {
            output.write(self.cluster.unwritten())?;
            output.flush()?;
            self.cluster.set_written();
        }
        self.frame_count += 1;
        if let Some(end) = self.ends.get_mut(usize::from(frame.track)) {
            end.push(time);
        }
        Ok(())
    }

    /// The bytes of `frame`, with the parameter sets that the head does not have.
    fn payload<'f>(&self, frame: &'f Frame) -> Cow<'f, [u8]> {
        let tracks = self.changed.as_ref().map(|setup| &setup.tracks);
        let track = tracks.and_then(|tracks| tracks.get(usize::from(frame.track)));
        let Some(track) = track.filter(|track| parameter_sets::are_missing(track, frame)) else {
            return Cow::Borrowed(&frame.payload);
        };
        let mut payload = Vec::with_capacity(frame.payload.len() + track.extra.len());
        let rest = parameter_sets::walk(track, frame, |nal| {
            // Both come from lengths of 32 bits at most.
            payload.extend((nal.len() as u32).to_be_bytes());
            payload.extend_from_slice(nal);
        });
        payload.extend_from_slice(rest);
        Cow::Owned(payload)
    }

    /// Whether a frame needs a new cluster.
    fn is_full(&self, time: Millis, payload_len: usize) -> bool {
        time.since(self.cluster.start) >= CLUSTER_MAX_MS
            || !self.cluster.reaches(time)
            || self.cluster.len().saturating_add(payload_len) > CLUSTER_MAX_LEN
    }

    /// The file's time 0.
    pub(super) fn zero(&self) -> Millis {
        self.fixed.map_or(self.cluster.earliest, |fixed| fixed.zero)
    }

    /// The latest time of the lead track.
    pub(super) fn latest_of_lead(&self) -> Millis {
        let end = self.ends.get(usize::from(self.lead));
        let latest = end.and_then(|end| end.latest);
        latest.unwrap_or(self.cluster.start)
    }

    pub(super) fn latest(&self) -> Millis {
        let latest = self.ends.iter().filter_map(|end| end.latest).max();
        latest.unwrap_or(self.cluster.start)
    }

    /// Writes the cluster of a file, and the head before the first one.
    fn end_cluster<W: Write>(&mut self, output: &mut Output<W>) -> Result<()> {
        if self.is_live {
            return Ok(());
        }
        let fixed = match self.fixed {
            Some(fixed) => fixed,
            None => self.write_first_head(output)?,
        };
        let position = output.len - fixed.segment_start;
        let (head, blocks) = self.cluster.parts(fixed.zero);
        output.write(&head)?;
        output.write(blocks)?;
        if self.cluster.is_cue {
            self.cues.push(self.cluster.start, position);
        }
        Ok(())
    }

    /// Begins a live cluster, of which each frame is written at once.
    fn open_cluster(&mut self) {
        if self.is_live {
            let zero = self.zero();
            self.cluster.open(zero);
        }
    }

    fn write_first_head<W: Write>(&mut self, output: &mut Output<W>) -> Result<Fixed> {
        let zero = self.zero();
        let head = head::encode(&self.setup, zero, None);
        let fixed = Fixed {
            zero,
            segment_start: head.segment_start,
        };
        output.write(&head.bytes)?;
        self.fixed = Some(fixed);
        Ok(fixed)
    }

    /// From the earliest frame to the end of the latest.
    pub(super) fn duration_ms(&self) -> i64 {
        let zero = self.zero();
        let ends = self.ends.iter().filter_map(TrackEnd::end);
        ends.map(|end| end.since(zero)).max().unwrap_or(1)
    }

    /// Writes the last cluster of a file, what comes behind it, and the head once more. What is
    /// live just ends.
    pub(super) fn write_ending<W: Write>(&mut self, output: &mut Output<W>) -> Result<()> {
        if self.is_live {
            return Ok(());
        }
        self.end_cluster(output)?;
        let zero = self.zero();
        let segment_start = self.fixed.map_or(0, |fixed| fixed.segment_start);
        let cues_position = output.len - segment_start;
        output.write(&self.cues.encode(track_number(self.lead), zero))?;
        let ending = Ending {
            segment_len: output.len - segment_start,
            cues_position,
            duration_ms: self.duration_ms(),
        };
        output.rewrite(&head::encode(&self.setup, zero, Some(&ending)).bytes)
    }
}

impl TrackEnd {
    fn push(&mut self, time: Millis) {
        if self.latest < Some(time) {
            self.before = self.latest.replace(time);
        } else if self.before < Some(time) {
            self.before = Some(time);
        }
    }

    /// When the track's latest frame ends: it lasts as long as the one before it.
    fn end(&self) -> Option<Millis> {
        let latest = self.latest?;
        let last_ms = self.before.map_or(1, |before| latest.since(before));
        Some(Millis(
            latest.0.saturating_add(last_ms.clamp(1, MAX_LAST_FRAME_MS)),
        ))
    }
}

/// The number in the file of a track of the stream.
fn track_number(track: u8) -> u8 {
    track.saturating_add(1)
}

/// Whether frames of `new` can follow frames of `old` on one track of a file.
pub(super) fn is_same_decoder(old: &TrackSetup, new: &TrackSetup) -> bool {
    let is_same_format = old.codec == new.codec && old.extra == new.extra;
    match new.codec {
        // Each picture says how large it is.
        Codec::Mjpeg => is_same_format,
        codec if codec.is_audio() => {
            is_same_format
                && old.clock_rate_hz == new.clock_rate_hz
                && old.channel_count == new.channel_count
        }
        _ => is_same_format && old.width_px == new.width_px && old.height_px == new.height_px,
    }
}

/// Whether `new` differs from `old` by no more than its parameter sets can tell.
fn is_same_nal_codec(old: &TrackSetup, new: &TrackSetup) -> bool {
    old.codec == new.codec && matches!(new.codec, Codec::H264 | Codec::H265)
}
