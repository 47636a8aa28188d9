//! A line for each item that goes by.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::base::error::Result;
use crate::base::sync::Arc;
use crate::frame::nal::{LengthPrefixed, NalType};
use crate::frame::{Codec, Frame, FrameSink, Gap, Item, StreamId, StreamSetup};

/// How many NAL units of a frame are named.
const MAX_NAL_COUNT: usize = 16;

/// Writes a line for each item, before the sink behind gets it: stream, track, time in seconds
/// since 1970, kind (`KEY`, `frame`, `lead` for leading pictures, `setup`, `gap`), length in bytes,
/// and what it consists of. A frame that is not to be shown is marked `preroll`.
///
/// Frames matter more than lines: when a line cannot be written there are no more of them, and
/// items go on. Memory: the setup of each stream.
#[derive(Debug)]
#[doc(alias = "InfoFrameFilter")]
#[doc(alias = "BriefInfoFrameFilter")]
pub struct Inspect<W, S> {
    out: W,
    failure: Option<io::Error>,
    setups: HashMap<StreamId, Arc<StreamSetup>>,
    next: S,
}

impl<W: Write, S> Inspect<W, S> {
    /// Writes lines to `out`, and hands items to `next`. Each line is one write.
    pub fn new(out: W, next: S) -> Self {
        Self {
            out,
            failure: None,
            setups: HashMap::new(),
            next,
        }
    }

    /// Why there are no more lines.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// The writer of lines and the sink behind.
    pub fn into_parts(self) -> (W, S) {
        (self.out, self.next)
    }

    fn write(&mut self, stream: StreamId, item: &Item) {
        if self.failure.is_some() {
            return;
        }
        let line = match item {
            Item::Setup(setup) => {
                self.setups.insert(stream, Arc::clone(setup));
                setup_line(stream, setup)
            }
            Item::Frame(frame) => self.frame_line(stream, frame, ""),
            Item::Preroll(frame) => self.frame_line(stream, frame, "preroll "),
            Item::Gap(gap) => gap_line(stream, gap),
        };
        // Columns are padded, and lines do not end in blanks.
        let line = format!("{}\n", line.trim_end());
        self.failure = self.out.write_all(line.as_bytes()).err();
    }

    fn frame_line(&self, stream: StreamId, frame: &Frame, mark: &str) -> String {
        let Frame { track, time, .. } = frame;
        let kind = match (frame.key, frame.leading) {
            (true, _) => "KEY",
            (false, true) => "lead",
            (false, false) => "frame",
        };
        let tracks = self.setups.get(&stream).map(|setup| &setup.tracks);
        let codec = tracks
            .and_then(|tracks| tracks.get(usize::from(*track)))
            .map(|track| track.codec);
        let content = codec.map(|codec| content(codec, &frame.payload));
        let (len, time) = (frame.payload.len(), time.to_string());
        format!(
            "{stream:>8}  {track:>5}  {time:<20}  {kind:<5} {len:>10}  {mark}{}",
            content.unwrap_or_default()
        )
    }
}

impl<W: Write, S: FrameSink> FrameSink for Inspect<W, S> {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        self.write(stream, &item);
        self.next.accept(stream, item)
    }
}

fn setup_line(stream: StreamId, setup: &StreamSetup) -> String {
    let tracks: Vec<String> = setup.tracks.iter().map(track_label).collect();
    // A name is what somebody typed or a camera sent: no control codes for a terminal.
    let name = setup.name.escape_debug();
    format!(
        "{stream:>8}  {:>5}  {:<20}  {:<5} {:>10}  {name}: {}",
        "",
        "",
        "setup",
        "",
        tracks.join(", ")
    )
}

fn track_label(track: &crate::frame::TrackSetup) -> String {
    let codec = track.codec;
    if codec.is_video() {
        format!("{codec} {}x{}", track.width_px, track.height_px)
    } else {
        format!("{codec} {} Hz", track.clock_rate_hz)
    }
}

fn gap_line(stream: StreamId, gap: &Gap) -> String {
    let end = gap.end.map_or_else(|| "?".into(), |end| end.to_string());
    let lost = gap.lost_count.map(|count| format!(", {count} frames lost"));
    format!(
        "{stream:>8}  {:>5}  {:<20}  {:<5} {:>10}  {}, to {end}{}",
        "",
        gap.start.to_string(),
        "gap",
        "",
        gap.cause,
        lost.unwrap_or_default()
    )
}

/// The types of the first NAL units in a frame; the codec where it has none.
fn content(codec: Codec, payload: &[u8]) -> String {
    if !matches!(codec, Codec::H264 | Codec::H265) {
        return codec.to_string();
    }
    let nals = LengthPrefixed::new(payload).take(MAX_NAL_COUNT);
    let types = nals.filter_map(|nal| NalType::of(codec, nal));
    let names: Vec<&str> = types.map(NalType::as_str).collect();
    names.join(" ")
}
