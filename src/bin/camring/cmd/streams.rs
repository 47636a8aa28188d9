//! `camring streams`: who is recorded in a volume.

use std::fmt::Write as _;
use std::io::{self, Write};

use camring::Volume;
use camring::base::time::TimeRange;
use camring::frame::{StreamSetup, TrackSetup};
use camring::volume::StreamInfo;
use serde::Serialize;

use crate::args::Read;
use crate::error::{Exit, Outcome};
use crate::output::{self, Column, View, write_table};
use crate::time;

pub(super) fn run(args: &Read) -> Outcome {
    let volume = Volume::open(&args.dir)?;
    output::show(&Streams::of(&volume), args.format.is_json())?;
    Ok(Exit::Ok)
}

/// The streams of a volume.
#[derive(Serialize)]
pub(super) struct Streams {
    streams: Vec<Stream>,
}

#[derive(Serialize)]
struct Stream {
    id: u64,
    name: String,
    tracks: Vec<Track>,
    /// The times that can be read; none where the ring has overwritten all.
    from: Option<String>,
    to: Option<String>,
    /// The time of the last frame that was ever recorded.
    last: Option<String>,
    /// The newest block that holds it.
    last_block: u64,
}

#[derive(Serialize)]
struct Track {
    codec: &'static str,
    clock_rate_hz: u32,
    width_px: u16,
    height_px: u16,
    channel_count: u8,
}

impl Streams {
    pub(super) fn of(volume: &Volume) -> Self {
        let infos = volume.streams();
        let streams = infos
            .iter()
            .map(|info| Stream::of(info, volume.stream_time_range(info.id)));
        Self {
            streams: streams.collect(),
        }
    }
}

impl Stream {
    fn of(info: &StreamInfo, times: Option<TimeRange>) -> Self {
        Self {
            id: info.id.0,
            name: info.setup.name.clone(),
            tracks: info.setup.tracks.iter().map(Track::of).collect(),
            from: times.map(|times| time::format(times.start)),
            to: times.map(|times| time::format(times.end)),
            last: info.last_time.map(time::format),
            last_block: info.last_sequence,
        }
    }
}

impl Track {
    fn of(track: &TrackSetup) -> Self {
        Self {
            codec: track.codec.as_str(),
            clock_rate_hz: track.clock_rate_hz,
            width_px: track.width_px,
            height_px: track.height_px,
            channel_count: track.channel_count,
        }
    }
}

impl View for Streams {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = [
            Column::Number("ID"),
            Column::Text("NAME"),
            Column::Text("TRACKS"),
            Column::Text("FROM"),
            Column::Text("TO"),
        ];
        let rows: Vec<_> = self.streams.iter().map(Stream::row).collect();
        write_table(out, &columns, &rows)
    }
}

impl Stream {
    fn row(&self) -> Vec<String> {
        let tracks: Vec<_> = self.tracks.iter().map(Track::label).collect();
        let shown = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.id.to_string(),
            self.name.clone(),
            tracks.join(", "),
            shown(&self.from),
            shown(&self.to),
        ]
    }
}

impl Track {
    fn label(&self) -> String {
        let mut label = self.codec.to_owned();
        // Writing to a string cannot fail.
        if self.width_px != 0 {
            let _ = write!(label, " {}x{}", self.width_px, self.height_px);
        }
        if self.channel_count != 0 {
            let _ = write!(label, " {} Hz", self.clock_rate_hz);
        }
        if self.channel_count > 1 {
            let _ = write!(label, " {} channels", self.channel_count);
        }
        label
    }
}

/// The tracks of a setup in a few words.
pub(super) fn tracks_label(setup: &StreamSetup) -> String {
    let labels: Vec<_> = setup
        .tracks
        .iter()
        .map(|track| Track::of(track).label())
        .collect();
    labels.join(", ")
}
