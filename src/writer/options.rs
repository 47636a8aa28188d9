//! How a volume is recorded.

use std::fmt;
use std::ops::RangeInclusive;

use crate::base::error::{Error, Result};
use crate::base::sync::Arc;
use crate::base::time::{Clock, SystemClock};

use super::event::Event;

/// The bounds of the commit period, in microseconds.
const COMMIT_US: RangeInclusive<u64> = 10_000..=60_000_000;
/// Below these hardly a frame fits, and all are shed.
const MIN_VOLUME_QUOTA_LEN: u64 = 64 << 10;
const MIN_STREAM_QUOTA_LEN: u64 = 4 << 10;
/// A ring is allocated at once; this many places take about 80 MB.
const RING_COUNT: RangeInclusive<usize> = 1..=1 << 20;

/// Told of every [`Event`], on the writer's helper thread. A slow one delays events, not recording;
/// one that panics is told nothing more, and recording goes on.
pub type EventSink = Box<dyn FnMut(&Event) + Send>;

/// Answers what other processes ask of the recording through the control socket: the name of a
/// request, and what came with it. Called on threads of the control socket, one call at a time.
///
/// [`Writer::close`](super::Writer::close) waits for it, so it must come back within seconds, and
/// wait for nothing that the closing thread has to do.
pub type RequestSink = Box<dyn FnMut(&str, &serde_json::Value) -> Result<serde_json::Value> + Send>;

/// How a volume is recorded. The defaults suit hundreds of cameras.
pub struct WriterOptions {
    /// Everything that was pushed is on stable storage after this long, in microseconds, plus one
    /// write and two flushes, while the device keeps up. Default: 500 ms; from 10 ms to 60 s.
    pub commit_us: u64,
    /// Bytes of all streams that may be on their way to stable storage. Beyond that frames are
    /// shed. Default: 256 MiB; at least 64 KiB.
    pub volume_quota_len: u64,
    /// The same for one stream. Default: 32 MiB; at least 4 KiB.
    pub stream_quota_len: u64,
    /// How many frames one producer may have in its ring; a power of two is best. Default: 16,384;
    /// from 1 to 1,048,576, and fewer than 256 count as 256.
    pub ring_count: usize,
    /// Told what happens. Default: nobody.
    pub on_event: Option<EventSink>,
    /// The clocks. Default: the machine's.
    pub clock: Arc<dyn Clock>,
    /// Whether to serve the control socket in the volume's directory. Default: yes.
    pub control: bool,
    /// Answers requests on the control socket beside `status` and `commit`. Default: nobody.
    pub on_request: Option<RequestSink>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            commit_us: 500_000,
            volume_quota_len: 256 << 20,
            stream_quota_len: 32 << 20,
            ring_count: 16_384,
            on_event: None,
            clock: Arc::new(SystemClock),
            control: true,
            on_request: None,
        }
    }
}

impl WriterOptions {
    /// Checks all ranges.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid): one is left; the message says which.
    pub(super) fn check(&self) -> Result<()> {
        let Self {
            commit_us,
            volume_quota_len,
            stream_quota_len,
            ring_count,
            ..
        } = self;
        let text = if !COMMIT_US.contains(commit_us) {
            format!("a commit period of {commit_us} us: from 10 ms to 60 s")
        } else if *volume_quota_len < MIN_VOLUME_QUOTA_LEN {
            format!("a volume quota of {volume_quota_len} bytes: at least {MIN_VOLUME_QUOTA_LEN}")
        } else if *stream_quota_len < MIN_STREAM_QUOTA_LEN {
            format!("a stream quota of {stream_quota_len} bytes: at least {MIN_STREAM_QUOTA_LEN}")
        } else if !RING_COUNT.contains(ring_count) {
            format!(
                "a ring for {ring_count} frames: from 1 to {}",
                RING_COUNT.end()
            )
        } else {
            return Ok(());
        };
        Err(Error::invalid(text))
    }
}

impl fmt::Debug for WriterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterOptions")
            .field("commit_us", &self.commit_us)
            .field("volume_quota_len", &self.volume_quota_len)
            .field("stream_quota_len", &self.stream_quota_len)
            .field("ring_count", &self.ring_count)
            .field("clock", &self.clock)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}
