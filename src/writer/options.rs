//! How a volume is recorded.

use std::fmt;

use crate::base::error::Result;
use crate::base::sync::Arc;
use crate::base::time::{Clock, SystemClock};

use super::event::Event;

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
    /// shed. Default: 256 MiB.
    pub volume_quota_len: u64,
    /// The same for one stream. Default: 32 MiB.
    pub stream_quota_len: u64,
    /// How many frames one producer may have in its ring; a power of two is best. Default: 16,384.
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
