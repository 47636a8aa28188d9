//! Matroska files: what any player opens, with the camera's own bytes and the camera's own times.
//!
//! The sink remuxes and never decodes: payloads go into the file byte for byte. It decides where
//! the file begins, and when a stream no longer fits into it.

mod cluster;
mod content;
mod cues;
mod ebml;
mod files;
mod head;
mod output;

use std::io::{Seek, Write};

use self::cluster::Millis;
use self::content::Content;
pub use self::files::{FileSet, MatroskaFiles, NumberedFiles, numbered};
use self::output::Output;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::frame::{Frame, FrameSink, Item, StreamId, StreamSetup};

/// Writes one stream, with all its tracks, into a Matroska file.
///
/// * **Start.** The file begins at the first key frame of a video track whose setup is complete;
///   a stream without video begins at once. Frames before that are skipped, and so are frames of
///   other tracks from an earlier time, and the [`leading`](Frame::leading) pictures behind the
///   first key frame. [`Summary::skipped_count`] counts them.
/// * **Bytes.** Payloads are written as they are.
/// * **Time.** The file's clock ticks in milliseconds, and each time is rounded by itself. The
///   file's date is its time 0, the earliest frame's. Gaps stay in the file as time without frames.
/// * **Seeking.** Clusters begin at key frames, and [`finish`](Self::finish) writes the index of
///   them. A file that is not finished can be read up to its last whole cluster: 5 s or 5 MiB.
/// * **Memory.** One cluster: 5 MiB, or the longest frame if that is more; and 1 MiB of index.
///
/// # Live
///
/// [`live`](Self::live) needs no [`Seek`]. Each frame is written and flushed as soon as it comes,
/// in clusters and a segment whose length is not known beforehand, as Matroska asks of live
/// streams; there is no index. Its time 0 is that of the first key frame, so pictures that are
/// shown before that one are skipped. Nobody seeks back in it, so new parameter sets of H.264 and
/// H.265 need no new file: from then on they stand in the key frames that do not bring their own.
///
/// # One file, one setup
///
/// A Matroska track has one decoder configuration. In a file, new H.264 or H.265 parameter sets could be put
/// in front of the frames that need them, but a player that seeks back over such a point then
/// decodes the earlier frames with the later sets, and fails. So an item behind which the stream
/// needs another configuration, or at which its clock is set back, is refused with
/// [`ErrorKind::Unsupported`], and nothing else is. [`needs_new_file`](Self::needs_new_file) tells
/// beforehand. The caller finishes this file, and offers the same item, after the setup in force,
/// to a new sink. [`MatroskaFiles`] does that, and cares for sound that comes late.
///
/// ```no_run
/// # use camring::export::MatroskaSink;
/// # use camring::frame::{FrameSink, Item, StreamId};
/// # fn run(items: Vec<Item>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut sink = MatroskaSink::new(std::fs::File::create("yard.mkv")?);
/// for item in items {
///     sink.accept(StreamId(7), item)?;
/// }
/// let (file, summary) = sink.finish()?;
/// file.sync_all()?;
/// println!("{} frames", summary.frame_count);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "FileFrameFilter")]
#[derive(Debug)]
pub struct MatroskaSink<W> {
    output: Output<W>,
    stream: Option<StreamId>,
    setup: Option<Arc<StreamSetup>>,
    /// What is in the file, once it has begun.
    content: Option<Content>,
    skipped_count: u64,
}

/// What a finished file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The file's time 0, in whole milliseconds: when its earliest frame was taken.
    pub start: Timestamp,
    /// Where its latest frame ends, in whole milliseconds.
    pub end: Timestamp,
    /// How many frames of all tracks it holds.
    pub frame_count: u64,
    /// How many frames were offered that are not in it.
    pub skipped_count: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl<W: Write> MatroskaSink<W> {
    /// A sink that writes to `file` from its present position on.
    ///
    /// It writes a cluster at a time, so `file` needs no buffer of its own. Nothing is written
    /// before the first cluster is complete.
    pub fn new(file: W) -> Self
    where
        W: Seek,
    {
        Self::to(Output::file(file))
    }

    /// A sink for who reads while it is written: a pipe, a socket, a growing file. See
    /// [*Live*](Self#live).
    pub fn live(out: W) -> Self {
        Self::to(Output::live(out))
    }

    fn to(output: Output<W>) -> Self {
        Self {
            output,
            stream: None,
            setup: None,
            content: None,
            skipped_count: 0,
        }
    }

    /// Whether `item` can only be taken by a new file: the stream's parameters change there, or
    /// its clock is set back.
    pub fn needs_new_file(&self, item: &Item) -> bool {
        self.obstacle(item).is_some()
    }

    /// How many frames were skipped so far.
    pub fn skipped_count(&self) -> u64 {
        self.skipped_count
    }

    /// Completes the file and returns it, at its end, with what it holds.
    ///
    /// The file is not flushed to stable storage; that is its owner's decision.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if no frame could begin the file, which is still empty;
    /// [`ErrorKind::Io`] if writing fails, [`ErrorKind::Failed`] if it failed before: the file can
    /// then be read up to the last cluster that was written.
    pub fn finish(mut self) -> Result<(W, Summary)> {
        let Some(mut content) = self.content.take() else {
            return Err(self.no_start());
        };
        content.write_ending(&mut self.output)?;
        let zero = content.zero();
        let summary = Summary {
            start: zero.timestamp(),
            end: Millis(zero.0.saturating_add(content.duration_ms())).timestamp(),
            frame_count: content.frame_count,
            skipped_count: self.skipped_count,
            len: self.output.len,
        };
        Ok((self.output.writer, summary))
    }

    /// The time of the frame that began the file.
    fn start(&self) -> Option<Timestamp> {
        self.content.as_ref().map(Content::start)
    }

    fn take_setup(&mut self, setup: Arc<StreamSetup>) -> Result<()> {
        head::check(&setup)?;
        if let Some(content) = &mut self.content {
            content.set_setup(&setup);
        }
        self.setup = Some(setup);
        Ok(())
    }

    fn take_frame(&mut self, frame: &Frame) -> Result<()> {
        let Some(setup) = &self.setup else {
            return Err(Error::invalid(
                "a frame came before the setup of its stream",
            ));
        };
        let track_count = setup.tracks.len();
        if usize::from(frame.track) >= track_count {
            return Err(Error::invalid(format!(
                "a frame of track {}, but the stream has {track_count} tracks",
                frame.track
            )));
        }
        if self.content.is_none() && can_start(setup, frame) {
            let is_live = self.output.is_live();
            self.content = Some(Content::new(Arc::clone(setup), frame, is_live));
            self.output.begin()?;
        }
        match &mut self.content {
            Some(content) if !content.skips(frame) => content.push(frame, &mut self.output),
            _ => {
                self.skipped_count += 1;
                Ok(())
            }
        }
    }

    /// Why `item` does not fit into the file that has begun.
    fn obstacle(&self, item: &Item) -> Option<Error> {
        let content = self.content.as_ref()?;
        let what = match item {
            Item::Setup(setup) if !content.fits(setup) => "changes its parameters",
            Item::Frame(frame) | Item::Preroll(frame) if content.is_set_back(frame) => {
                "sets its clock back"
            }
            _ => return None,
        };
        let until = content.latest().timestamp();
        Some(
            Error::new(
                ErrorKind::Unsupported,
                format!("the stream {what} after {until}, which one Matroska file cannot hold"),
            )
            .with_remedy("Finish the file there, and go on in a new one"),
        )
    }

    fn no_start(&self) -> Error {
        let lack = self.setup.as_ref().and_then(|setup| head::missing(setup));
        let reason = lack.unwrap_or_else(|| "there was no key frame".into());
        Error::new(
            ErrorKind::NotFound,
            format!("nothing to export: no frame can begin a file, as {reason}"),
        )
        .with_remedy("Export a longer stretch")
    }
}

/// After an error the item is not in the file. The sink takes more items, unless writing failed:
/// then it answers [`ErrorKind::Failed`] to all that follows.
impl<W: Write> FrameSink for MatroskaSink<W> {
    /// Takes the next item of the one stream that the file holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where [`needs_new_file`](Self::needs_new_file) says so;
    /// [`ErrorKind::Invalid`] for a codec that Matroska has no form for, for a second stream, and
    /// for a frame without a setup or a track; [`ErrorKind::Io`] if writing fails, and
    /// [`ErrorKind::Failed`] ever after.
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        self.output.check()?;
        let own = *self.stream.get_or_insert(stream);
        if own != stream {
            return Err(Error::invalid(format!(
                "stream {stream} cannot go into the file of stream {own}"
            )));
        }
        if let Some(obstacle) = self.obstacle(&item) {
            return Err(obstacle);
        }
        match item {
            Item::Setup(setup) => self.take_setup(setup),
            Item::Frame(frame) | Item::Preroll(frame) => self.take_frame(&frame),
            // Time goes on without frames, and nothing else need be said.
            Item::Gap(_) => Ok(()),
        }
    }
}

/// Whether a file can begin at `frame`: at a key frame of a video track, or where there is none, of
/// the first track. Key frames of its track begin the clusters, too.
fn can_start(setup: &StreamSetup, frame: &Frame) -> bool {
    let is_lead = match setup.video_track() {
        Some(_) => setup
            .tracks
            .get(usize::from(frame.track))
            .is_some_and(|track| track.codec.is_video()),
        None => frame.track == 0,
    };
    frame.key && is_lead && head::missing(setup).is_none()
}
