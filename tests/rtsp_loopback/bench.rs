//! A test bench: the project's RTSP server, a recorder, and a sink that remembers everything.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use camring::base::time::SystemClock;
use camring::frame::{Frame, FrameSink, Item, StreamId};
use camring::ingest::rtsp::{Options, Recorder};
use rustix::process::{Pid, Signal};
use tokio::runtime::{Builder, Runtime};

/// The longest that a test waits for something that will surely happen.
pub(crate) const LONG: Duration = Duration::from_secs(40);

const PYTHON: &str = "/usr/bin/python3";

/// Whether the RTSP server can run here. Prints why the test is skipped if it cannot.
pub(crate) fn can_serve(test: &str) -> bool {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = REASON.get_or_init(|| {
        let script = "import gi; gi.require_version('GstRtspServer', '1.0'); \
             from gi.repository import Gst, GstRtspServer; Gst.init(None); \
             need = 'rtph264pay rtph265pay rtpjpegpay h264parse h265parse jpegparse aacparse'; \
             assert all(map(Gst.ElementFactory.find, need.split())), 'missing one of ' + need";
        match Command::new(PYTHON).args(["-c", script]).output() {
            Ok(out) if out.status.success() => None,
            Ok(out) => {
                let said = String::from_utf8_lossy(&out.stderr).into_owned();
                Some(said.lines().last().unwrap_or("it fails").to_owned())
            }
            Err(error) => Some(error.to_string()),
        }
    });
    if let Some(reason) = reason {
        eprintln!("SKIP {test}: no GStreamer RTSP server for {PYTHON}: {reason}");
    }
    reason.is_none()
}

/// The RTSP server, `tools/camera/rtsp_camera.py`. Ends with this value, and with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at(0, arguments)
    }

    pub(crate) fn start_at(port: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log.jsonl");
        let mut child = Command::new(PYTHON)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tools/camera/rtsp_camera.py"
            ))
            .args(["--until-eof", "--port", &port.to_string(), "--log"])
            .arg(&log)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let port = line
            .trim()
            .strip_prefix("ready ")
            .expect("the server does not start");
        Self {
            port: port.parse().unwrap(),
            child,
            log,
            _folder: folder,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{path}", self.port)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What the server handed out to the last client of `mount`, track by track.
    pub(crate) fn handed_out(&self, mount: &str) -> Vec<Vec<Unit>> {
        let lines = BufReader::new(File::open(&self.log).unwrap()).lines();
        let lines = lines.map(|line| serde_json::from_str(&line.unwrap()));
        // The last line may be half written.
        let units: Vec<Unit> = lines.map_while(Result::ok).collect();
        let of_mount = || units.iter().filter(|unit| unit.mount == mount);
        let last = of_mount()
            .map(|unit| unit.session)
            .max()
            .expect("no such mount in the log");
        let mut tracks = vec![Vec::new(); 2];
        for unit in of_mount().filter(|unit| unit.session == last) {
            tracks[unit.track].push(unit.clone());
        }
        tracks
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An access unit in the server's log.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Unit {
    session: u32,
    mount: String,
    track: usize,
    pub(crate) key: bool,
    pub(crate) pts_ns: i64,
    pub(crate) parts: Vec<u32>,
}

/// Remembers all items, and when they came.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<(Mutex<Vec<Taken>>, Condvar)>);

#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) stream: StreamId,
    pub(crate) item: Item,
    pub(crate) at: Instant,
}

impl FrameSink for Collector {
    fn accept(&mut self, stream: StreamId, item: Item) -> camring::Result<()> {
        let at = Instant::now();
        self.0.0.lock().unwrap().push(Taken { stream, item, at });
        self.0.1.notify_all();
        Ok(())
    }
}

impl Collector {
    /// Waits until `enough` says so of all items so far; fails after a long time.
    pub(crate) fn wait(&self, what: &str, enough: impl Fn(&[Taken]) -> bool) -> Vec<Taken> {
        let items = self.0.0.lock().unwrap();
        let (items, timeout) = self
            .0
            .1
            .wait_timeout_while(items, LONG, |items| !enough(items))
            .unwrap();
        assert!(!timeout.timed_out(), "waited in vain for {what}");
        items.clone()
    }

    pub(crate) fn items(&self, stream: u64) -> Vec<Item> {
        let items = self.0.0.lock().unwrap();
        let of_stream = items.iter().filter(|taken| taken.stream.0 == stream);
        of_stream.map(|taken| taken.item.clone()).collect()
    }

    pub(crate) fn frames(&self, stream: u64, track: u8) -> Vec<Frame> {
        let frames = self
            .items(stream)
            .into_iter()
            .filter_map(|item| match item {
                Item::Frame(frame) if frame.track == track => Some(frame),
                _ => None,
            });
        frames.collect()
    }
}

/// How many frames of `track` there are among the items of `stream`.
pub(crate) fn frame_count(items: &[Taken], stream: u64, track: u8) -> usize {
    let is_one = |taken: &&Taken| {
        taken.stream.0 == stream && matches!(&taken.item, Item::Frame(f) if f.track == track)
    };
    items.iter().filter(is_one).count()
}

/// A runtime of one thread, as ingest uses it.
pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

pub(crate) fn recorder(runtime: &Runtime, options: Options) -> (Recorder, Collector) {
    let collector = Collector::default();
    let clock = Arc::new(SystemClock);
    let recorder = Recorder::new(runtime.handle().clone(), options, clock, collector.clone());
    (recorder, collector)
}

/// Options with which a test need not wait long.
pub(crate) fn impatient() -> Options {
    Options {
        connect_timeout: Duration::from_secs(3),
        read_timeout: Duration::from_secs(1),
        retry_min: Duration::from_millis(50),
        retry_max: Duration::from_millis(200),
        ..Options::default()
    }
}
