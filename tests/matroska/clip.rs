//! Clips as ffmpeg sees them: frames, times and decoder configurations in which our code had no
//! part.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use camring::base::time::Timestamp;
use camring::frame::{Codec, Frame, TrackSetup};
use serde_json::Value;

/// Whether `tool` can be run; says so on behalf of `test` if it cannot.
pub(crate) fn has_tool(test: &str, tool: &str) -> bool {
    let version = if tool.starts_with("ff") {
        "-version"
    } else {
        "--version"
    };
    let found = Command::new(tool).arg(version).output().is_ok();
    if !found {
        eprintln!("SKIP {test}: {tool} is not installed");
    }
    found
}

/// Runs a program; returns what it printed, and panics with its errors if it failed.
pub(crate) fn run(program: &str, args: &[&str]) -> (Vec<u8>, String) {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    (output.stdout, errors)
}

/// One packet of a file, as ffprobe reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) stream: usize,
    pub(crate) time_us: i64,
    pub(crate) key: bool,
    pub(crate) payload: Bytes,
}

/// All packets and the streams of a file, as ffprobe reports them.
pub(crate) struct Probe {
    pub(crate) packets: Vec<Packet>,
    pub(crate) streams: Vec<Value>,
    pub(crate) format: Value,
    /// What ffprobe complained of.
    pub(crate) complaints: String,
}

impl Probe {
    pub(crate) fn of(path: &Path) -> Self {
        let (json, complaints) = run(
            "ffprobe",
            &[
                "-v",
                "warning",
                "-of",
                "json",
                "-show_data",
                "-show_packets",
                "-show_streams",
                "-show_format",
                path.to_str().unwrap(),
            ],
        );
        let json: Value = serde_json::from_slice(&json).unwrap();
        Self {
            packets: list(&json["packets"]).iter().map(packet).collect(),
            streams: list(&json["streams"]),
            format: json["format"].clone(),
            complaints,
        }
    }

    pub(crate) fn of_stream(&self, stream: usize) -> Vec<Packet> {
        let packets = self.packets.iter();
        packets
            .filter(|packet| packet.stream == stream)
            .cloned()
            .collect()
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn packet(value: &Value) -> Packet {
    let seconds: f64 = value["pts_time"].as_str().unwrap_or("0").parse().unwrap();
    let flags = value["flags"].as_str().unwrap();
    Packet {
        stream: usize::try_from(value["stream_index"].as_u64().unwrap()).unwrap(),
        #[expect(clippy::cast_possible_truncation, reason = "short files")]
        time_us: (seconds * 1e6).round() as i64,
        key: flags.starts_with('K'),
        payload: hex_dump(value["data"].as_str().unwrap_or_default()),
    }
}

/// The bytes of a dump with lines like `00000000: 0164 0020  .d. `.
fn hex_dump(dump: &str) -> Bytes {
    let mut bytes = Vec::new();
    for line in dump.lines().filter(|line| !line.is_empty()) {
        let digits: String = line
            .chars()
            .skip(10)
            .take(40)
            .filter(|c| *c != ' ')
            .collect();
        for at in (0..digits.len()).step_by(2) {
            bytes.push(u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
        }
    }
    Bytes::from(bytes)
}

/// One track of a clip.
#[derive(Clone)]
pub(crate) struct Clip {
    pub(crate) setup: TrackSetup,
    pub(crate) packets: Vec<Packet>,
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/clips")
        .join(name)
}

impl Clip {
    /// A clip that ffmpeg puts into an MP4 file, whose form of frames is also ours.
    pub(crate) fn load(codec: Codec, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mp4 = dir.path().join("clip.mp4");
        let source = path(name);
        let (source, target) = (source.to_str().unwrap(), mp4.to_str().unwrap());
        run(
            "ffmpeg",
            &["-v", "error", "-i", source, "-c", "copy", target],
        );
        Self::probe(codec, &mp4)
    }

    /// JPEG pictures, 10 a second.
    pub(crate) fn jpeg() -> Self {
        let mut clip = Self::probe(Codec::Mjpeg, &path("mjpeg_240p10_2s.mjpeg"));
        for (packet, n) in clip.packets.iter_mut().zip(0..) {
            packet.time_us = n * 100_000;
        }
        clip.setup.extra = Bytes::new();
        clip
    }

    /// G.711 in frames of 20 ms.
    pub(crate) fn g711(codec: Codec, name: &str) -> Self {
        let samples = std::fs::read(path(name)).unwrap();
        let frames = samples.chunks(160).zip(0..);
        Self {
            setup: TrackSetup {
                codec,
                clock_rate_hz: 8_000,
                width_px: 0,
                height_px: 0,
                channel_count: 1,
                extra: Bytes::new(),
            },
            packets: frames
                .map(|(chunk, n)| Packet {
                    stream: 0,
                    time_us: n * 20_000,
                    key: true,
                    payload: Bytes::copy_from_slice(chunk),
                })
                .collect(),
        }
    }

    fn probe(codec: Codec, path: &Path) -> Self {
        let probe = Probe::of(path);
        let stream = &probe.streams[0];
        let number = |key: &str| stream[key].as_u64().unwrap_or(0);
        let rate_hz = stream["sample_rate"]
            .as_str()
            .map_or(90_000, |s| s.parse().unwrap());
        Self {
            setup: TrackSetup {
                codec,
                clock_rate_hz: rate_hz,
                width_px: u16::try_from(number("width")).unwrap(),
                height_px: u16::try_from(number("height")).unwrap(),
                channel_count: u8::try_from(number("channels")).unwrap(),
                extra: hex_dump(stream["extradata"].as_str().unwrap_or_default()),
            },
            packets: probe.packets,
        }
    }

    /// Its frames as frames of `track`, the first at `start`.
    pub(crate) fn frames(&self, track: u8, start: Timestamp) -> Vec<Frame> {
        let zero_us = self.packets[0].time_us;
        let packets = self.packets.iter();
        packets
            .map(|packet| Frame {
                track,
                key: packet.key,
                leading: self.is_leading(&packet.payload),
                time: start.plus_us(packet.time_us - zero_us),
                clock: 0,
                payload: packet.payload.clone(),
            })
            .collect()
    }

    /// Its frames over and over, until there are `count` groups.
    pub(crate) fn repeated(
        &self,
        track: u8,
        start: Timestamp,
        period_us: i64,
        count: i64,
    ) -> Vec<Frame> {
        let starts = (0..count).map(|n| start.plus_us(n * period_us));
        starts.flat_map(|start| self.frames(track, start)).collect()
    }

    /// RASL pictures of H.265: NAL unit types 8 and 9.
    fn is_leading(&self, payload: &[u8]) -> bool {
        self.setup.codec == Codec::H265 && matches!(payload[4] >> 1 & 0x3F, 8 | 9)
    }
}
