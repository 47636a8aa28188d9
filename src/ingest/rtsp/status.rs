//! How the cameras are doing, readable by other threads at any time.
//!
//! Counters are atomics that only the camera's task writes. The text of the last error is behind a
//! lock, which is taken only when something went wrong, and by readers.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::base::time::Timestamp;
use crate::frame::StreamId;

/// What a camera is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraState {
    /// Being asked for its stream.
    Connecting,
    /// Sending frames.
    Recording,
    /// Not there; it will be tried again.
    Waiting,
    /// No longer recorded: it was removed, or the sink failed.
    Stopped,
}

impl CameraState {
    const ALL: [Self; 4] = [
        Self::Connecting,
        Self::Recording,
        Self::Waiting,
        Self::Stopped,
    ];

    /// The state in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Recording => "recording",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

/// The state and the counters of a camera.
#[derive(Debug)]
pub struct CameraStatus {
    stream: StreamId,
    name: String,
    state: AtomicU32,
    frame_count: AtomicU64,
    byte_count: AtomicU64,
    refused_count: AtomicU64,
    lost_packet_count: AtomicU64,
    failure_count: AtomicU64,
    clock_move_count: AtomicU64,
    /// A `Timestamp`; `i64::MIN` while there is none.
    last_frame_us: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// A copy of a [`CameraStatus`] at one moment. The fields are read one after the other, so they may
/// differ by a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CameraReport {
    /// The stream that the camera is recorded as.
    pub stream: u64,
    /// The camera's name.
    pub name: String,
    /// What it is doing.
    pub state: CameraState,
    /// Frames that the sink took, of all tracks.
    pub frame_count: u64,
    /// Bytes of these frames.
    pub byte_count: u64,
    /// Frames that the sink did not take, or that were too long.
    pub refused_count: u64,
    /// RTP packets that did not arrive.
    pub lost_packet_count: u64,
    /// Connections that failed or ended.
    pub failure_count: u64,
    /// How often the camera's clock and ours had drifted apart by a second or more.
    pub clock_move_count: u64,
    /// The time of the last frame, in microseconds since 1970 UTC; none before the first.
    pub last_frame_us: Option<i64>,
    /// What went wrong last; it may be long over. Holds no secrets.
    pub last_error: Option<String>,
}

impl CameraStatus {
    pub(super) fn new(stream: StreamId, name: &str) -> Self {
        Self {
            stream,
            name: name.to_owned(),
            state: AtomicU32::new(0),
            frame_count: AtomicU64::new(0),
            byte_count: AtomicU64::new(0),
            refused_count: AtomicU64::new(0),
            lost_packet_count: AtomicU64::new(0),
            failure_count: AtomicU64::new(0),
            clock_move_count: AtomicU64::new(0),
            last_frame_us: AtomicU64::new(i64::MIN.cast_unsigned()),
            last_error: Mutex::new(None),
        }
    }

    /// What the camera is doing.
    pub fn state(&self) -> CameraState {
        let code = self.state.load(Ordering::Relaxed);
        let known = CameraState::ALL.into_iter().find(|s| *s as u32 == code);
        known.unwrap_or(CameraState::Stopped)
    }

    /// Reads everything.
    pub fn report(&self) -> CameraReport {
        // Relaxed everywhere: each number stands for itself.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last_frame_us = read(&self.last_frame_us).cast_signed();
        CameraReport {
            stream: self.stream.0,
            name: self.name.clone(),
            state: self.state(),
            frame_count: read(&self.frame_count),
            byte_count: read(&self.byte_count),
            refused_count: read(&self.refused_count),
            lost_packet_count: read(&self.lost_packet_count),
            failure_count: read(&self.failure_count),
            clock_move_count: read(&self.clock_move_count),
            last_frame_us: (last_frame_us != i64::MIN).then_some(last_frame_us),
            last_error: self.lock_error().clone(),
        }
    }

    pub(super) fn set_state(&self, state: CameraState) {
        self.state.store(state as u32, Ordering::Relaxed);
    }

    pub(super) fn count_frame(&self, len: usize, time: Timestamp) {
        add(&self.frame_count, 1);
        add(&self.byte_count, len as u64);
        let us = time.0.cast_unsigned();
        self.last_frame_us.store(us, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        add(&self.refused_count, 1);
    }

    pub(super) fn count_lost_packets(&self, count: u16) {
        add(&self.lost_packet_count, u64::from(count));
    }

    pub(super) fn count_clock_move(&self) {
        add(&self.clock_move_count, 1);
    }

    pub(super) fn fail(&self, state: CameraState, error: String) {
        add(&self.failure_count, 1);
        *self.lock_error() = Some(error);
        self.set_state(state);
    }

    fn lock_error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        // The text is replaced in one go, so it is whole even if a holder panicked.
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
