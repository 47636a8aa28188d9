//! What producers and the writer share.

use std::sync::Mutex;

use super::numbers::Numbers;
use super::quota::Quota;
use crate::base::sync::{Arc, AtomicBool, AtomicU64};
use crate::base::time::Clock;
use crate::io::wake::Waker;
use crate::volume::Volume;

/// What producers and the writer share.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) waker: Waker,
    pub(super) volume: Volume,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) volume_quota: Arc<Quota>,
    pub(super) stream_quota_len: u64,
    pub(super) is_failed: AtomicBool,
    /// Bytes that were pushed, by all producers, since the writer last looked.
    pub(super) pushed_len: Arc<AtomicU64>,
    /// Frames that were shed.
    pub(super) shed_count: AtomicU64,
    /// Dense numbers of the streams of this life, and which of them a producer holds now.
    pub(super) numbers: Mutex<Numbers>,
}
