//! The project's RTSP server as a test sees it: `tools/camera/rtsp_camera.py`, and its log.
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use camring::frame::Codec;
use rustix::process::{Pid, Signal};

use crate::skip::skip;

const PYTHON: &str = "/usr/bin/python3";

/// Whether the RTSP server can run here. Prints that the test is skipped if it cannot, and why.
pub(crate) fn can_serve(test: &str) -> bool {
    static LACK: OnceLock<Option<String>> = OnceLock::new();
    let lack = LACK.get_or_init(|| {
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
    if let Some(lack) = lack {
        eprintln!("{PYTHON}: {lack}");
        skip(test, "no GStreamer RTSP server");
    }
    lack.is_none()
}

/// The RTSP server, `tools/camera/rtsp_camera.py`. Ends with this value, and with the test.
pub(crate) struct Server {
    child: Child,
    answers: BufReader<ChildStdout>,
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
            .args(["--obey", "--port", &port.to_string(), "--log"])
            .arg(&log)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let line = answer(&mut answers);
        let port = line
            .strip_prefix("ready ")
            .expect("the server does not start");
        Self {
            port: port.parse().unwrap(),
            child,
            answers,
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

    /// Ends it as a power cut would. Its log stays, but for what it handed out in the last moment.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Makes all its cameras send nothing more, without hanging up. The log is complete then.
    pub(crate) fn rest(&mut self) {
        self.child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"rest\n")
            .unwrap();
        assert_eq!(answer(&mut self.answers), "resting");
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

fn answer(answers: &mut impl BufRead) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
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

/// CRC-32s of what the server's log sums up too: slices, the scan of a JPEG, or all of a frame.
pub(crate) fn parts(codec: Codec, payload: &[u8]) -> Vec<u32> {
    let crc = |part: &[u8]| {
        let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, part);
        u32::try_from(sum).unwrap()
    };
    if codec == Codec::Mjpeg {
        let at = payload.windows(2).position(|w| w == [0xff, 0xda]).unwrap() + 2;
        let header_len = usize::from(u16::from_be_bytes([payload[at], payload[at + 1]]));
        return vec![crc(&payload[at + header_len..payload.len() - 2])];
    }
    if !matches!(codec, Codec::H264 | Codec::H265) {
        return vec![crc(payload)];
    }
    let mut sums = Vec::new();
    let mut rest = payload;
    while let Some((prefix, body)) = rest.split_first_chunk::<4>() {
        let (nal, behind) = body.split_at(u32::from_be_bytes(*prefix) as usize);
        let is_slice = match codec {
            Codec::H264 => (1..=5).contains(&(nal[0] & 0x1f)),
            _ => (nal[0] >> 1) < 32,
        };
        if is_slice {
            sums.push(crc(nal));
        }
        rest = behind;
    }
    assert!(
        rest.is_empty(),
        "{} bytes behind the last NAL unit",
        rest.len()
    );
    sums
}
