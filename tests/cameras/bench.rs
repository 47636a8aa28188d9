//! Cameras that are being recorded into a volume: the recorder on a runtime of one thread, a
//! producer as its sink, and the writer behind it.
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use camring::base::time::SystemClock;
use camring::ingest::rtsp::{CameraReport, CameraStatus, Options, Recorder, RtspCamera};
use camring::volume::Volume;
use camring::writer::{Producer, Writer, WriterOptions};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::recording;

/// The longest wait for something that will surely happen.
const LONG: Duration = Duration::from_mins(1);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(10);
const BLOCK_LEN: u32 = 2 << 20;

/// Cameras that are being recorded.
pub(crate) struct Recording {
    dir: TempDir,
    writer: Writer,
    cameras: Vec<Arc<CameraStatus>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A volume after the recording.
pub(crate) struct Recorded {
    /// Where the volume is; it goes with this value.
    pub(crate) dir: TempDir,
    /// How the cameras were doing at the end.
    pub(crate) reports: Vec<CameraReport>,
    /// How many frames the engine shed.
    pub(crate) shed_count: u64,
}

impl Recording {
    /// Records `cameras` into a new volume of `block_count` blocks of 2 MiB.
    pub(crate) fn start(block_count: u64, options: Options, cameras: Vec<RtspCamera>) -> Self {
        let dir = recording::volume(block_count, BLOCK_LEN);
        let writer = Writer::open(dir.path(), WriterOptions::default()).unwrap();
        let producer = writer.producer().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            record(producer, options, cameras, &tell, stopped);
        });
        Self {
            dir,
            writer,
            cameras: told.recv().unwrap(),
            stop,
            thread,
        }
    }

    /// Waits until `enough` says so of the cameras; fails after a long time.
    pub(crate) fn wait(&self, what: &str, enough: impl Fn(&[CameraReport]) -> bool) {
        let has_come = self.wait_at_most(LONG, enough);
        assert!(has_come, "waited in vain for {what}: {:#?}", self.reports());
    }

    /// Waits until `enough` says so of the cameras, but for `limit` at most; says whether it did.
    pub(crate) fn wait_at_most(
        &self,
        limit: Duration,
        enough: impl Fn(&[CameraReport]) -> bool,
    ) -> bool {
        let deadline = Instant::now() + limit;
        while !enough(&self.reports()) {
            if Instant::now() >= deadline {
                return false;
            }
            // How the cameras are doing is to be looked at; nobody tells of a change.
            std::thread::sleep(LOOK);
        }
        true
    }

    /// Waits until each camera has been recorded for `seconds`, by its own clock.
    pub(crate) fn wait_for_seconds(&self, seconds: u64) {
        self.wait("the first frame of each camera", |cameras| {
            cameras.iter().all(|camera| camera.last_frame_us.is_some())
        });
        let last_us = |camera: &CameraReport| camera.last_frame_us.unwrap_or(i64::MIN);
        let begin_us: Vec<i64> = self.reports().iter().map(last_us).collect();
        let limit = LONG + Duration::from_secs(seconds);
        let length_us = i64::try_from(seconds).unwrap() * 1_000_000;
        let has_come = self.wait_at_most(limit, |cameras| {
            let mut pairs = cameras.iter().zip(&begin_us);
            pairs.all(|(camera, begin_us)| last_us(camera) - begin_us >= length_us)
        });
        assert!(has_come, "not all cameras sent: {:#?}", self.reports());
    }

    pub(crate) fn reports(&self) -> Vec<CameraReport> {
        self.cameras.iter().map(|camera| camera.report()).collect()
    }

    pub(crate) fn volume(&self) -> &Volume {
        self.writer.volume()
    }

    /// Stops the cameras, and then closes the volume.
    pub(crate) fn finish(self) -> Recorded {
        let reports = self.reports();
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
        let shed_count = self.writer.status().shed_count;
        self.writer.close().unwrap();
        Recorded {
            dir: self.dir,
            reports,
            shed_count,
        }
    }
}

/// The thread of the cameras.
fn record(
    producer: Producer,
    options: Options,
    cameras: Vec<RtspCamera>,
    tell: &mpsc::Sender<Vec<Arc<CameraStatus>>>,
    stopped: oneshot::Receiver<()>,
) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let clock = Arc::new(SystemClock);
    let mut recorder = Recorder::new(runtime.handle().clone(), options, clock, producer);
    let statuses = cameras.into_iter().map(|camera| recorder.add(camera));
    tell.send(statuses.collect::<Result<_, _>>().unwrap())
        .unwrap();
    runtime.block_on(async {
        let _ = stopped.await;
        recorder.stop().await;
    });
}
