//! Elementary streams: one track as its codec's own tools know it, without times.
//!
//! H.264 and H.265 become Annex B, AAC becomes ADTS; G.711, JPEG pictures and private data are
//! their payloads back to back. Files with times and with several tracks are `matroska`'s.

use std::io::Write;

use super::parameter_sets;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::Arc;
use crate::frame::filter::Entry;
use crate::frame::{Codec, Frame, FrameSink, Item, StreamId, StreamSetup, TrackSetup};

const START_CODE: [u8; 4] = [0, 0, 0, 1];
const ADTS_HEAD_LEN: usize = 7;
/// The longest AAC frame whose length ADTS can tell, with its head.
const ADTS_MAX_LEN: usize = (1 << 13) - 1;

/// Writes one track of one stream as an elementary stream.
///
/// * **Start.** Video begins at the first key frame whose parameter sets are known, without the
///   [`leading`](Frame::leading) pictures behind it; sound begins at once.
/// * **Bytes.** NAL units go out unchanged, behind start codes. The parameter sets of the setup
///   come before each key frame that does not bring its own, so that decoding can begin anywhere.
///   AAC frames go out unchanged behind their heads.
/// * **Changes.** New parameters are followed; another codec is not.
/// * **Delay and memory.** Each frame is written and flushed when it comes; one frame of memory.
#[derive(Debug)]
pub struct RawSink<W> {
    out: W,
    track: u8,
    stream: Option<StreamId>,
    setup: Option<Arc<StreamSetup>>,
    /// The codec of what is written.
    codec: Option<Codec>,
    entry: Entry,
    /// The bytes of a frame, with its start codes or head.
    bytes: Vec<u8>,
    failed: bool,
    summary: RawSummary,
}

/// What a [`RawSink`] wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawSummary {
    /// How many frames it wrote.
    pub frame_count: u64,
    /// How many frames of the track it left out, as nothing could have decoded them.
    pub skipped_count: u64,
    /// How many bytes it wrote.
    pub len: u64,
}

impl<W: Write> RawSink<W> {
    /// A sink that writes `track` to `out`.
    pub fn new(track: u8, out: W) -> Self {
        Self {
            out,
            track,
            stream: None,
            setup: None,
            codec: None,
            entry: Entry::outside(),
            bytes: Vec::new(),
            failed: false,
            summary: RawSummary::default(),
        }
    }

    /// The writer, and what was written to it.
    pub fn finish(self) -> (W, RawSummary) {
        (self.out, self.summary)
    }

    fn take_setup(&mut self, setup: Arc<StreamSetup>) -> Result<()> {
        let (number, count) = (self.track, setup.tracks.len());
        let track = setup.tracks.get(usize::from(number)).ok_or_else(|| {
            Error::invalid(format!(
                "the stream has {count} tracks, and no track {number}"
            ))
        })?;
        if let Some(codec) = self.codec.filter(|codec| *codec != track.codec) {
            let text = format!(
                "track {number} changes from {codec} to {}, which one elementary stream cannot hold",
                track.codec
            );
            return Err(Error::new(ErrorKind::Unsupported, text)
                .with_remedy("End the file there, and go on in a new one"));
        }
        if track.codec == Codec::Aac {
            AdtsHead::of(track)?;
        }
        self.codec = Some(track.codec);
        self.entry.follow(track.codec.is_video().then_some(number));
        self.setup = Some(setup);
        Ok(())
    }

    fn take_frame(&mut self, frame: &Frame) -> Result<()> {
        let setup = self.setup.as_ref();
        let track = setup.and_then(|setup| setup.tracks.get(usize::from(self.track)));
        let Some(track) = track else {
            return Err(Error::invalid(
                "a frame came before the setup of its stream",
            ));
        };
        self.bytes.clear();
        match track.codec {
            Codec::H264 | Codec::H265 => put_annex_b(&mut self.bytes, track, frame)?,
            Codec::Aac => {
                AdtsHead::of(track)?.put(&mut self.bytes, frame.payload.len())?;
                self.bytes.extend_from_slice(&frame.payload);
            }
            _ => self.bytes.extend_from_slice(&frame.payload),
        }
        let are_sets_known = !track.extra.is_empty() || !parameter_sets::are_missing(track, frame);
        if !are_sets_known || !self.entry.admits(frame) {
            self.summary.skipped_count += 1;
            return Ok(());
        }
        let written = self.out.write_all(&self.bytes);
        written.and_then(|()| self.out.flush()).map_err(|source| {
            self.failed = true;
            Error::io("write the elementary stream", source)
        })?;
        self.summary.frame_count += 1;
        self.summary.len += self.bytes.len() as u64;
        Ok(())
    }
}

/// After an error the item is not in the output. The sink takes more items, unless writing failed.
impl<W: Write> FrameSink for RawSink<W> {
    /// Takes the next item of the one stream. Frames of other tracks are none of its business.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where the codec changes; [`ErrorKind::Invalid`] for a second
    /// stream, a setup without the track or with a form of AAC that ADTS has no head for, a frame
    /// before its setup, and an AAC frame of 8 KiB; [`ErrorKind::Damaged`] for a picture that is
    /// not made of NAL units; [`ErrorKind::Io`] if writing fails, and [`ErrorKind::Failed`] ever
    /// after.
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        if self.failed {
            let text = "writing the elementary stream failed before, and it takes no more";
            return Err(Error::new(ErrorKind::Failed, text));
        }
        let own = *self.stream.get_or_insert(stream);
        if own != stream {
            return Err(Error::invalid(format!(
                "stream {stream} cannot go into the file of stream {own}"
            )));
        }
        match item {
            Item::Setup(setup) => self.take_setup(setup),
            Item::Frame(frame) | Item::Preroll(frame) if frame.track == self.track => {
                self.take_frame(&frame)
            }
            _ => Ok(()),
        }
    }
}

fn put_annex_b(out: &mut Vec<u8>, track: &TrackSetup, frame: &Frame) -> Result<()> {
    let rest = parameter_sets::walk(track, frame, |nal| {
        out.extend(START_CODE);
        out.extend_from_slice(nal);
    });
    if rest.is_empty() {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "a picture of {} bytes does not consist of NAL units",
        frame.payload.len()
    )))
}

/// What stands before each AAC frame, but for its length.
#[derive(Clone, Copy, Debug)]
struct AdtsHead {
    profile: u8,
    rate_index: u8,
    channels: u8,
}

impl AdtsHead {
    /// The head for the `AudioSpecificConfig` of `track`.
    fn of(track: &TrackSetup) -> Result<Self> {
        let unfit = || {
            Error::invalid("ADTS has no head for its AudioSpecificConfig")
                .at(format!("AAC, {} Hz", track.clock_rate_hz))
                .with_remedy("Export the stream as Matroska")
        };
        let Some(&[first, second]) = track.extra.get(..2) else {
            return Err(unfit());
        };
        let object_type = match first >> 3 {
            // High efficiency AAC: what lies in the frames is low complexity, and the rate that
            // stands here is that of the frames.
            5 | 29 => 2,
            other => other,
        };
        let rate_index = (first & 7) << 1 | second >> 7;
        let channels = second >> 3 & 15;
        if !(1..=4).contains(&object_type) || rate_index > 12 || !(1..=7).contains(&channels) {
            return Err(unfit());
        }
        Ok(Self {
            profile: object_type - 1,
            rate_index,
            channels,
        })
    }

    /// Appends the head of a frame of `payload_len` bytes.
    fn put(self, out: &mut Vec<u8>, payload_len: usize) -> Result<()> {
        let len = payload_len.saturating_add(ADTS_HEAD_LEN);
        if len > ADTS_MAX_LEN {
            return Err(Error::invalid(format!(
                "an AAC frame of {payload_len} bytes is too long for ADTS"
            )));
        }
        // The length has 13 bits: 2, 8 and 3 of them in three bytes.
        let (high, middle, low) = ((len >> 11) as u8, (len >> 3) as u8, (len & 7) as u8);
        out.extend([
            0xff,
            0xf1,
            self.profile << 6 | self.rate_index << 2 | self.channels >> 2,
            (self.channels & 3) << 6 | high,
            middle,
            low << 5 | 0x1f,
            0xfc,
        ]);
        Ok(())
    }
}
