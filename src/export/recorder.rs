//! Recording into files at the press of a button, while items flow.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::matroska::{FileSet, MatroskaFiles};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::Arc;
use crate::frame::{FrameSink, Item, StreamId, StreamSetup};

/// A sink that writes its stream into Matroska files between [`start`](Self::start) and
/// [`stop`](Self::stop), which any thread may call. Clones are the same recorder: one is the sink,
/// another the button.
///
/// A recording begins at the next key frame, with the setup in force, and goes on in a new file
/// where [`MatroskaSink`](super::MatroskaSink) needs one. Items of other streams are dropped.
///
/// Files are written in the thread that brings the items; behind a
/// [`channel`](crate::frame::filter::channel()) a slow disk holds up nobody else.
///
/// ```no_run
/// # use camring::export::{MatroskaRecorder, NumberedFiles};
/// # use camring::frame::{FrameSink, Item, StreamId, filter::Fork};
/// # fn run(fork: Fork) -> Result<(), Box<dyn std::error::Error>> {
/// let recorder = MatroskaRecorder::new(StreamId(7));
/// fork.connect(recorder.clone());
/// recorder.start(NumberedFiles::new("yard.mkv"))?;
/// // Later, perhaps in another thread:
/// for (path, summary) in recorder.stop()?.done() {
///     println!("{}: {} frames", path.display(), summary.frame_count);
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "FileFrameFilter")]
pub struct MatroskaRecorder<F: FileSet> {
    stream: StreamId,
    state: Arc<Mutex<State<F>>>,
}

struct State<F: FileSet> {
    setup: Option<Arc<StreamSetup>>,
    /// What is being recorded.
    running: Option<MatroskaFiles<F>>,
}

impl<F: FileSet> MatroskaRecorder<F> {
    /// A recorder of `stream` that waits to be started.
    pub fn new(stream: StreamId) -> Self {
        let state = State {
            setup: None,
            running: None,
        };
        Self {
            stream,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Opens the first of `files`; it begins at the next key frame.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] if it is recording already, and goes on; those of [`FileSet::open`];
    /// [`ErrorKind::Invalid`] for a codec that Matroska has no form for.
    pub fn start(&self, files: F) -> Result<()> {
        if self.is_running() {
            return Err(self.busy());
        }
        // Not under the lock, as a file may take long to open.
        let mut begun = MatroskaFiles::begin(files)?;
        let mut state = self.lock();
        let outcome = if state.running.is_some() {
            Err(self.busy())
        } else if let Some(setup) = &state.setup {
            begun.accept(self.stream, Item::Setup(Arc::clone(setup)))
        } else {
            Ok(())
        };
        if outcome.is_ok() {
            state.running = Some(begun);
            return Ok(());
        }
        drop(state);
        // Only so that the file that was opened is discarded: it has no frames.
        let _ = begun.finish();
        outcome
    }

    /// Completes the files and returns them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if it was not recording, or if there was no frame that could begin
    /// a file; those of [`MatroskaFiles::finish`]. It can be started again in any case.
    pub fn stop(&self) -> Result<F> {
        let running = self.lock().running.take();
        let running = running.ok_or_else(|| {
            let text = format!("stream {} is not being recorded into a file", self.stream);
            Error::new(ErrorKind::NotFound, text)
        })?;
        running.finish()
    }

    /// Whether it was started, and not stopped yet.
    pub fn is_running(&self) -> bool {
        self.lock().running.is_some()
    }

    fn busy(&self) -> Error {
        let text = format!("stream {} is being recorded into a file", self.stream);
        Error::new(ErrorKind::Busy, text).with_remedy("Stop that recording first")
    }

    fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: FileSet> FrameSink for MatroskaRecorder<F> {
    /// Takes the next item, of any stream.
    ///
    /// # Errors
    ///
    /// Those of [`MatroskaFiles`] while it is recording. After [`ErrorKind::Io`] and
    /// [`ErrorKind::Failed`] nothing more gets into the files, until it is started again.
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        if stream != self.stream {
            return Ok(());
        }
        let mut state = self.lock();
        if let Item::Setup(setup) = &item {
            state.setup = Some(Arc::clone(setup));
        }
        match &mut state.running {
            Some(running) => running.accept(stream, item),
            None => Ok(()),
        }
    }
}

impl<F: FileSet> Clone for MatroskaRecorder<F> {
    fn clone(&self) -> Self {
        Self {
            stream: self.stream,
            state: Arc::clone(&self.state),
        }
    }
}

impl<F: FileSet> fmt::Debug for MatroskaRecorder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatroskaRecorder")
            .field("stream", &self.stream)
            .field("is_running", &self.is_running())
            .finish_non_exhaustive()
    }
}
