//! Recording of RTSP cameras.
//!
//! A [`Recorder`] runs any number of cameras on a tokio runtime that the caller owns, a task for
//! each and no thread. Per camera: `session` is one connection, `retry` and `recorder` decide
//! about the next one, `tracks` reads what the camera offers, `anchor` makes UTC of RTP time,
//! `outlet` hands items to the sink and keeps record of what is missing. The protocol itself is
//! retina's.
//!
//! A hostile camera can make retina ask for any amount of memory, which ends the process. Who
//! records cameras that he does not trust runs this module in a process with a memory limit.

mod anchor;
mod camera;
mod outlet;
mod recorder;
mod retry;
mod session;
mod status;
mod tracks;

use std::time::Duration;

pub use self::camera::{Credentials, RtspCamera, Transport, login_parameter};
pub use self::recorder::Recorder;
pub use self::status::{CameraReport, CameraState, CameraStatus};

/// How a [`Recorder`] treats its cameras.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a camera may take to answer until it plays.
    pub connect_timeout: Duration,
    /// How long a camera may send no picture before it counts as lost, whatever else it sends; no
    /// sound, where it has no pictures.
    pub read_timeout: Duration,
    /// The shortest wait before a lost camera is tried again.
    pub retry_min: Duration,
    /// The longest wait; it is reached by doubling, and is shortened by up to half at random.
    pub retry_max: Duration,
    /// The longest frame that is taken, in bytes; longer ones become gaps.
    pub max_frame_len: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(8),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            max_frame_len: 8 << 20,
        }
    }
}
