//! A read as a [`Stream`] for programs on tokio: the only place of the engine that knows a runtime.
//!
//! Waiting needs no runtime ([`Frames::next_async`](super::Frames::next_async)). What does is the
//! work around it which blocks: to open a reader, and to end it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::outlet::Inlet;
use super::{Query, Reader};
use crate::base::error::{Error, ErrorKind, Result};
use crate::frame::Recorded;
use crate::volume::Volume;

/// One read of a volume, with a [`Reader`] of its own, for tasks on tokio. Dropping it ends the
/// read.
///
/// The items are those of [`Frames`](super::Frames). An error is the last item: why the read ended
/// before its end.
pub struct FrameStream {
    inlet: Inlet,
    /// There until the stream is dropped.
    reader: Option<Reader>,
    is_over: bool,
}

impl FrameStream {
    /// Opens a reader of `volume` on a thread that may block, and starts a read.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    ///
    /// # Panics
    ///
    /// When it is called outside a tokio runtime.
    pub async fn open(volume: &Volume, query: Query) -> Result<Self> {
        let volume = volume.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let mut reader = Reader::open(&volume)?;
            Ok(Self {
                inlet: reader.start(query, None)?,
                reader: Some(reader),
                is_over: false,
            })
        });
        let lost = |_| {
            Error::new(
                ErrorKind::Failed,
                "the runtime ended while it opened a reader",
            )
        };
        opening.await.map_err(lost).flatten()
    }

    /// Blocks that were asked for by number and are not in the ring.
    pub fn missing_count(&self) -> u64 {
        self.inlet.missing_count()
    }
}

impl Stream for FrameStream {
    type Item = Result<Recorded>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.inlet.poll_item(task).map(|item| {
            self.is_over = item.is_none();
            let failure = || self.inlet.take_failure().map(Err);
            item.map(Ok).or_else(failure)
        })
    }
}

impl Drop for FrameStream {
    fn drop(&mut self) {
        let reader = self.reader.take();
        self.inlet.stopper().stop();
        // Its thread may be in the midst of a read from the device, and is waited for.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(reader));
        }
    }
}

impl fmt::Debug for FrameStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameStream")
    }
}
