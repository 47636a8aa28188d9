//! How a recording goes, in numbers: pure, from readings of the writer's and the cameras' counters.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use camring::ingest::rtsp::{CameraReport, CameraState};
use camring::writer::WriterStatus;
use camring::{Error, ErrorKind};
use serde::Serialize;

use crate::output::{Column, View, write_table};
use crate::{size, time};

/// All counters at one moment.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// Since the recording began.
    pub(super) elapsed: Duration,
    pub(super) writer: WriterStatus,
    pub(super) cameras: Vec<CameraReport>,
}

/// Makes rates of counters.
#[derive(Debug)]
pub(super) struct Meter {
    device_len: u64,
    elapsed: Duration,
    received_len: u64,
    written_len: u64,
}

/// How a recording goes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename = "status")]
pub(super) struct Status {
    elapsed_ms: u64,
    camera_count: usize,
    /// Cameras that send frames.
    up_count: usize,
    /// What cameras have sent since the status before, in bits per second.
    received_bit_s: u64,
    /// How long the oldest frame that is not on stable storage has waited.
    durable_lag_us: u64,
    /// Frames that were dropped because the disk did not keep up.
    shed_count: u64,
    /// What went to the disk since the status before, in bytes per second.
    written_byte_s: u64,
    /// How much time the ring keeps, at the rate of this recording so far.
    kept_us: Option<i64>,
}

impl Meter {
    /// For a ring of `device_len` bytes.
    pub(super) fn new(device_len: u64) -> Self {
        Self {
            device_len,
            elapsed: Duration::ZERO,
            received_len: 0,
            written_len: 0,
        }
    }

    /// The status at `reading`; rates are those since the one before.
    pub(super) fn read(&mut self, reading: &Reading) -> Status {
        let received_len = reading.cameras.iter().map(|camera| camera.byte_count).sum();
        let written_len = reading.writer.written_len;
        let since = reading.elapsed.saturating_sub(self.elapsed);
        let is_up = |camera: &&CameraReport| camera.state == CameraState::Recording;
        let is_recorded = |camera: &&CameraReport| camera.state != CameraState::Stopped;
        let received_byte_s = per_second(received_len, self.received_len, since);
        let status = Status {
            elapsed_ms: u64::try_from(reading.elapsed.as_millis()).unwrap_or(u64::MAX),
            camera_count: reading.cameras.iter().filter(is_recorded).count(),
            up_count: reading.cameras.iter().filter(is_up).count(),
            received_bit_s: received_byte_s.saturating_mul(8),
            durable_lag_us: reading.writer.lag_us,
            shed_count: reading.writer.shed_count,
            written_byte_s: per_second(written_len, self.written_len, since),
            kept_us: kept_us(self.device_len, written_len, reading.elapsed),
        };
        (self.received_len, self.written_len) = (received_len, written_len);
        self.elapsed = reading.elapsed;
        status
    }
}

fn per_second(now: u64, before: u64, since: Duration) -> u64 {
    let rate = u128::from(now.saturating_sub(before)) * 1_000_000;
    let rate = rate.checked_div(since.as_micros()).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// How long a ring lasts that took `written_len` bytes in `elapsed`.
fn kept_us(device_len: u64, written_len: u64, elapsed: Duration) -> Option<i64> {
    let all_us = elapsed.as_micros().checked_mul(u128::from(device_len))?;
    i64::try_from(all_us.checked_div(u128::from(written_len))?).ok()
}

/// One line for people.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |value: u64, unit: u64| {
            let tenths = value / (unit / 10);
            format!("{}.{}", tenths / 10, tenths % 10)
        };
        write!(f, "{}/{} cameras up, ", self.up_count, self.camera_count)?;
        write!(f, "{} Mbit/s, ", tenths(self.received_bit_s, 1_000_000))?;
        write!(f, "lag {} s, ", tenths(self.durable_lag_us, 1_000_000))?;
        write!(f, "{} shed, ", self.shed_count)?;
        write!(f, "disk {} MB/s", tenths(self.written_byte_s, 1_000_000))?;
        match self.kept_us {
            Some(kept_us) => write!(f, ", keeps {}", time::format_span(kept_us)),
            None => Ok(()),
        }
    }
}

/// What a recording has come to.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "end")]
pub(super) struct Summary {
    elapsed_ms: u64,
    written_len: u64,
    shed_count: u64,
    cameras: Vec<CameraReport>,
}

impl Summary {
    pub(super) fn of(reading: Reading) -> Self {
        Self {
            elapsed_ms: u64::try_from(reading.elapsed.as_millis()).unwrap_or(u64::MAX),
            written_len: reading.writer.written_len,
            shed_count: reading.writer.shed_count,
            cameras: reading.cameras,
        }
    }

    /// Frames of all cameras.
    pub(super) fn frame_count(&self) -> u64 {
        self.cameras.iter().map(|camera| camera.frame_count).sum()
    }

    /// Why there is no frame, as far as it is known: what the first camera has said last.
    pub(super) fn no_frame(&self) -> Error {
        let said = self.cameras.iter().find_map(|camera| {
            let error = camera.last_error.as_ref()?;
            Some((camera.stream, error))
        });
        let Some((stream, error)) = said else {
            return Error::new(ErrorKind::Failed, "no camera has sent a frame")
                .with_remedy("Record for longer, or try their URLs with another program");
        };
        let text = format!("no camera has sent a frame; camera {stream}: {error}");
        Error::new(ErrorKind::Failed, text)
            .with_remedy("Check its URL, and its user and password in the file of --credentials")
    }
}

impl View for Summary {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = [
            Column::Number("ID"),
            Column::Text("NAME"),
            Column::Number("FRAMES"),
            Column::Number("SIZE"),
            Column::Number("REFUSED"),
            Column::Number("PACKETS LOST"),
            Column::Number("CONNECTIONS LOST"),
        ];
        let rows = self.cameras.iter().map(|camera| {
            vec![
                camera.stream.to_string(),
                camera.name.clone(),
                camera.frame_count.to_string(),
                size::format(camera.byte_count),
                camera.refused_count.to_string(),
                camera.lost_packet_count.to_string(),
                camera.failure_count.to_string(),
            ]
        });
        write_table(out, &columns, &rows.collect::<Vec<_>>())?;
        let elapsed_us = i64::try_from(self.elapsed_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let (elapsed, len) = (
            time::format_span(elapsed_us),
            size::format(self.written_len),
        );
        let shed_count = self.shed_count;
        writeln!(
            out,
            "{elapsed} recorded, {len} written, {shed_count} frames shed"
        )
    }
}

#[cfg(test)]
mod tests {
    use camring::base::geometry::Position;

    use super::*;

    fn reading(seconds: u64, received_len: u64, written_len: u64) -> Reading {
        let camera = |state, byte_count| CameraReport {
            stream: 1,
            name: String::new(),
            state,
            frame_count: 0,
            byte_count,
            refused_count: 0,
            lost_packet_count: 0,
            failure_count: 0,
            clock_move_count: 0,
            last_frame_us: None,
            last_error: None,
        };
        Reading {
            elapsed: Duration::from_secs(seconds),
            writer: WriterStatus {
                durable: Position::default(),
                lag_us: 430_000,
                queued_len: 0,
                written_len,
                flush_count: 0,
                shed_count: 3,
                is_failed: false,
            },
            cameras: vec![
                camera(CameraState::Recording, received_len),
                camera(CameraState::Waiting, 0),
            ],
        }
    }

    #[test]
    fn rates_are_those_since_the_last_look_and_the_ring_lasts_as_on_average() {
        let mut meter = Meter::new(100_000_000_000);
        assert_eq!(
            meter.read(&reading(0, 0, 0)).to_string(),
            "1/2 cameras up, 0.0 Mbit/s, lag 0.4 s, 3 shed, disk 0.0 MB/s"
        );
        meter.read(&reading(1, 4_000_000, 5_000_000));
        assert_eq!(
            meter.read(&reading(3, 5_000_000, 8_000_000)).to_string(),
            "1/2 cameras up, 4.0 Mbit/s, lag 0.4 s, 3 shed, disk 1.5 MB/s, \
             keeps 10h 25m"
        );
    }
}
