//! Many cameras on one runtime: starting them, trying lost ones again, and stopping them.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use retina::client::SessionGroup;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::outlet::{Outlet, SharedSink};
use super::retry::Backoff;
use super::session::{self, Context, Failure};
use super::status::{CameraReport, CameraState, CameraStatus};
use super::{Credentials, Options, RtspCamera};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::Arc;
use crate::base::time::Clock;
use crate::frame::{FrameSink, StreamId};

/// How long a camera that is stopped is given to hear of it.
const GOODBYE: Duration = Duration::from_secs(1);

/// Records RTSP cameras into one sink, each until it is removed.
///
/// Lost cameras are tried again for ever. Items of one camera reach the sink in order. If the
/// runtime has one thread, the sink is only ever called from that thread. A sink that blocks
/// holds up all cameras of its recorder. Dropping the recorder stops the cameras without a
/// goodbye.
///
/// A sink's errors [`Full`](ErrorKind::Full) and [`Invalid`](ErrorKind::Invalid) concern the one
/// item, which counts as refused; after any other error the camera is stopped.
pub struct Recorder {
    runtime: Handle,
    shared: Arc<Shared>,
    cameras: BTreeMap<StreamId, Running>,
    /// Where the streams go on that were removed, if they are added again.
    left: BTreeMap<StreamId, Outlet>,
}

struct Shared {
    options: Options,
    clock: Arc<dyn Clock>,
    sink: SharedSink,
}

/// A camera that is being recorded.
struct Running {
    task: JoinHandle<Outlet>,
    status: Arc<CameraStatus>,
    group: Arc<SessionGroup>,
    leave: Arc<Notify>,
    /// As the next session will find it.
    camera: watch::Sender<RtspCamera>,
}

impl Recorder {
    /// A recorder without cameras. `runtime` needs its timer and network drivers, and must be
    /// driven for as long as anything shall be recorded.
    pub fn new(
        runtime: Handle,
        options: Options,
        clock: Arc<dyn Clock>,
        sink: impl FrameSink + Send + 'static,
    ) -> Self {
        let shared = Shared {
            options,
            clock,
            sink: Arc::new(Mutex::new(sink)),
        };
        Self {
            runtime,
            shared: Arc::new(shared),
            cameras: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// Starts to record a camera. Whether it can be reached shows in the status.
    ///
    /// # Errors
    ///
    /// [`Exists`](ErrorKind::Exists) if the stream is being recorded already.
    pub fn add(&mut self, camera: RtspCamera) -> Result<Arc<CameraStatus>> {
        let stream = camera.stream();
        if self.cameras.contains_key(&stream) {
            let message = format!("stream {stream} is being recorded already");
            return Err(Error::new(ErrorKind::Exists, message));
        }
        let status = Arc::new(CameraStatus::new(stream, camera.name()));
        let group = Arc::new(SessionGroup::default().named(format!("stream {stream}")));
        let leave = Arc::new(Notify::new());
        let outlet = self.outlet(&camera, &status);
        let (sender, camera) = watch::channel(camera);
        let task = Task {
            camera,
            shared: Arc::clone(&self.shared),
            status: Arc::clone(&status),
            group: Arc::clone(&group),
            leave: Arc::clone(&leave),
        };
        let running = Running {
            task: self.runtime.spawn(task.run(outlet)),
            status: Arc::clone(&status),
            group,
            leave,
            camera: sender,
        };
        self.cameras.insert(stream, running);
        Ok(status)
    }

    /// Where the items of `camera` go: on from where they ended, if it was removed before.
    fn outlet(&mut self, camera: &RtspCamera, status: &Arc<CameraStatus>) -> Outlet {
        let (stream, status) = (camera.stream(), Arc::clone(status));
        if let Some(mut outlet) = self.left.remove(&stream) {
            outlet.rejoin(camera.name(), status);
            return outlet;
        }
        let Shared { options, sink, .. } = &*self.shared;
        let sink = Arc::clone(sink);
        Outlet::new(stream, camera.name(), sink, status, options.max_frame_len)
    }

    /// Stops to record a stream, and tells the camera. Its time becomes a gap by choice
    /// ([`Idle`](crate::frame::GapCause::Idle)) until it is added again and sends something. When
    /// this returns, the sink gets nothing of the stream any more.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the stream is not being recorded.
    pub async fn remove(&mut self, stream: StreamId) -> Result<()> {
        let Some(running) = self.cameras.remove(&stream) else {
            return Err(not_recorded(stream));
        };
        if let Some(outlet) = running.remove().await {
            self.left.insert(stream, outlet);
        }
        Ok(())
    }

    /// Has a camera use another login from its next connection on. A connection that lasts is not
    /// touched; a camera that waits to be tried again is tried at once.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the stream is not being recorded.
    pub fn set_credentials(&self, stream: StreamId, credentials: Credentials) -> Result<()> {
        let Some(running) = self.cameras.get(&stream) else {
            return Err(not_recorded(stream));
        };
        running
            .camera
            .send_if_modified(|camera| camera.set_credentials(credentials));
        Ok(())
    }

    /// Stops all cameras, and drops the sink.
    pub async fn stop(mut self) {
        let cameras = std::mem::take(&mut self.cameras);
        join_all(cameras.into_values().map(Running::stop)).await;
    }

    /// The status of a camera.
    pub fn status(&self, stream: StreamId) -> Option<&Arc<CameraStatus>> {
        self.cameras.get(&stream).map(|running| &running.status)
    }

    /// How all cameras are doing, in the order of their streams.
    pub fn reports(&self) -> Vec<CameraReport> {
        let cameras = self.cameras.values();
        cameras.map(|running| running.status.report()).collect()
    }
}

fn not_recorded(stream: StreamId) -> Error {
    let message = format!("stream {stream} is not being recorded");
    Error::new(ErrorKind::NotFound, message)
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("options", &self.shared.options)
            .field("cameras", &self.reports())
            .finish_non_exhaustive()
    }
}

impl Running {
    async fn stop(mut self) {
        self.task.abort();
        // Aborted is what it shall be, and a panic was reported where it happened.
        let _ = (&mut self.task).await;
        self.say_goodbye().await;
    }

    /// As [`stop`](Self::stop), after the task has told of it. Returns where the stream goes on, if
    /// it does.
    async fn remove(mut self) -> Option<Outlet> {
        self.leave.notify_one();
        // A panic was reported where it happened.
        let outlet = (&mut self.task).await.ok();
        self.say_goodbye().await;
        outlet
    }

    async fn say_goodbye(&self) {
        self.status.set_state(CameraState::Stopped);
        // A camera that does not hear it drops the session by itself after a while.
        let _ = tokio::time::timeout(GOODBYE, self.group.await_teardown()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        self.status.set_state(CameraState::Stopped);
    }
}

/// The life of one camera.
struct Task {
    camera: watch::Receiver<RtspCamera>,
    shared: Arc<Shared>,
    status: Arc<CameraStatus>,
    group: Arc<SessionGroup>,
    leave: Arc<Notify>,
}

impl Task {
    /// Records until the camera is to leave, or the sink fails.
    async fn run(self, mut outlet: Outlet) -> Outlet {
        let error = tokio::select! {
            error = self.record_for_ever(&mut outlet) => Some(error),
            () = self.leave.notified() => outlet.leave(self.shared.clock.now()).err(),
        };
        if let Some(error) = error {
            let stream = self.camera.borrow().stream().0;
            tracing::error!(stream, %error, "camera stopped: the sink failed");
            self.status.fail(CameraState::Stopped, error.to_string());
        }
        outlet
    }

    /// One session after the other. Returns the error of a sink that failed.
    async fn record_for_ever(&self, outlet: &mut Outlet) -> Error {
        let Shared { options, clock, .. } = &*self.shared;
        let mut newest = self.camera.clone();
        let stream = newest.borrow().stream();
        let seed = stream.0 ^ clock.now().boot_us.cast_unsigned();
        let mut backoff = Backoff::new(options, seed);
        loop {
            self.status.set_state(CameraState::Connecting);
            let camera = newest.borrow_and_update().clone();
            let failure = self.one_session(&camera, outlet, &mut backoff).await;
            if let Failure::Sink(error) = failure {
                return error;
            }
            let text = failure.to_string();
            let wait_us = backoff.failed(matches!(failure, Failure::Login(_)));
            let wait = Duration::from_micros(wait_us.unsigned_abs());
            let (name, place) = (camera.name(), camera.place());
            tracing::warn!(
                stream = stream.0,
                name,
                place,
                error = text,
                ?wait,
                "camera lost"
            );
            self.status.fail(CameraState::Waiting, text);
            if let Err(error) = outlet.no_signal(clock.now()) {
                return error;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // It has another login, which may be the right one.
                Ok(()) = newest.changed() => {}
            }
        }
    }

    async fn one_session(
        &self,
        camera: &RtspCamera,
        outlet: &mut Outlet,
        backoff: &mut Backoff,
    ) -> Failure {
        let context = Context {
            camera,
            options: &self.shared.options,
            clock: &*self.shared.clock,
            status: &self.status,
            group: &self.group,
        };
        let session = session::record(&context, outlet, backoff);
        // Bytes from a camera must not end the recording of it, even if they find a defect in the
        // protocol library. The outlet stays whole: it calls nothing but the sink, behind a lock
        // that remembers a panic.
        match AssertUnwindSafe(session).catch_unwind().await {
            Ok(Err(failure)) => failure,
            Ok(Ok(never)) => match never {},
            Err(_) => {
                Failure::Camera("the camera sent what the RTSP library cannot stand".to_owned())
            }
        }
    }
}
