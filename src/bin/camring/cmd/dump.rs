//! `camring dump`: what is in blocks, a line for each frame, setup and gap.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use camring::Volume;
use camring::base::error::{Error, ErrorKind, Result};
use camring::frame::nal::{LengthPrefixed, NalType};
use camring::frame::{Codec, Frame, Item, Recorded, StreamId, StreamSetup};
use camring::reader::{Query, Reader};
use camring::table::RowState;
use serde::Serialize;

use super::gap::GapLine;
use super::streams::tracks_label;
use crate::args;
use crate::error::{Exit, Outcome};
use crate::output::{printable, write_json_line};
use crate::time;

/// How many of a frame's first bytes are shown.
const FIRST_LEN: usize = 16;

pub(super) fn run(args: &args::Dump) -> Outcome {
    let volume = Volume::open(&args.dir)?;
    check(&volume, args)?;
    let mut out = BufWriter::new(anstream::stdout().lock());
    let mut reader = Reader::open(&volume)?;
    let mut frames = reader.read(Query::blocks(args.blocks.as_slice()))?;
    let mut setups = Setups::new();
    let mut is_damaged = false;
    if !args.format.is_json() {
        writeln!(out, "{TITLES}")?;
    }
    for recorded in &mut frames {
        is_damaged |= super::is_loss(&recorded.item);
        let line = Line::of(&recorded, &mut setups);
        if args.format.is_json() {
            write_json_line(&line, &mut out)?;
        } else {
            line.write_text(&mut out)?;
        }
    }
    out.flush()?;
    is_damaged |= frames.missing_count() != 0;
    frames.finish()?;
    Ok(if is_damaged { Exit::Damage } else { Exit::Ok })
}

/// Whether the volume holds all these blocks.
fn check(volume: &Volume, args: &args::Dump) -> Result<()> {
    let is_there = |block: u64| {
        let row = volume.table().block(block);
        row.is_some_and(|row| row.state != RowState::Empty)
    };
    match args.blocks.iter().find(|block| !is_there(**block)) {
        None => Ok(()),
        Some(block) => {
            let dir = args.dir.display();
            let text = format!("there is no block {block} with frames in {dir}");
            Err(Error::new(ErrorKind::NotFound, text).with_remedy("`camring blocks` lists them"))
        }
    }
}

/// The newest setup of each stream, for the names of NAL units.
type Setups = HashMap<StreamId, Arc<StreamSetup>>;

/// A frame, setup or gap.
#[derive(Serialize)]
struct Line {
    block: u64,
    stream: u64,
    ordinal: u64,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Content {
    Setup {
        name: String,
        tracks: String,
    },
    Frame {
        track: u8,
        time: String,
        clock: i64,
        key: bool,
        leading: bool,
        len: usize,
        nal_types: Vec<String>,
        /// In hexadecimal digits.
        first_bytes: String,
    },
    Gap(GapLine),
}

impl Line {
    fn of(recorded: &Recorded, setups: &mut Setups) -> Self {
        let stream = recorded.stream;
        let content = match &recorded.item {
            Item::Setup(setup) => {
                setups.insert(stream, Arc::clone(setup));
                Content::Setup {
                    name: setup.name.clone(),
                    tracks: tracks_label(setup),
                }
            }
            Item::Frame(frame) | Item::Preroll(frame) => {
                Content::of_frame(frame, setups.get(&stream))
            }
            Item::Gap(gap) => Content::Gap(GapLine::of(gap)),
        };
        Self {
            block: recorded.sequence,
            stream: stream.0,
            ordinal: recorded.ordinal,
            content,
        }
    }
}

impl Content {
    fn of_frame(frame: &Frame, setup: Option<&Arc<StreamSetup>>) -> Self {
        let tracks = setup
            .map(|setup| setup.tracks.as_slice())
            .unwrap_or_default();
        let codec = tracks
            .get(usize::from(frame.track))
            .map(|track| track.codec);
        let first = frame.payload.get(..FIRST_LEN).unwrap_or(&frame.payload);
        Self::Frame {
            track: frame.track,
            time: time::format(frame.time),
            clock: frame.clock,
            key: frame.key,
            leading: frame.leading,
            len: frame.payload.len(),
            nal_types: codec
                .map(|codec| nal_types(codec, &frame.payload))
                .unwrap_or_default(),
            first_bytes: hex(first),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The types of the NAL units in a frame; none where the codec has none.
fn nal_types(codec: Codec, payload: &[u8]) -> Vec<String> {
    if !matches!(codec, Codec::H264 | Codec::H265) {
        return Vec::new();
    }
    let nals = LengthPrefixed::new(payload);
    let types = nals.filter_map(|nal| NalType::of(codec, nal));
    types.map(|nal_type| nal_type.as_str().to_owned()).collect()
}

/// The titles of the columns of `write_text`.
const TITLES: &str = "   BLOCK   STREAM  TRACK  TIME                              KIND        SIZE  \
                      CONTENT";

impl Line {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { block, stream, .. } = self;
        write!(out, "{block:>8} {stream:>8}  ")?;
        match &self.content {
            Content::Setup { name, tracks } => {
                let name = printable(name);
                writeln!(
                    out,
                    "{:>5}  {:<32}  {:<5} {:>10}  {name}: {tracks}",
                    "", "", "setup", ""
                )
            }
            Content::Frame {
                track,
                time,
                key,
                leading,
                len,
                nal_types,
                first_bytes,
                ..
            } => {
                let kind = match (key, leading) {
                    (true, _) => "KEY",
                    (false, true) => "lead",
                    (false, false) => "frame",
                };
                let nal_types = nal_types.join(" ");
                let space = if nal_types.is_empty() { "" } else { " " };
                writeln!(
                    out,
                    "{track:>5}  {time:<32}  {kind:<5} {len:>10}  {nal_types}{space}{first_bytes}"
                )
            }
            Content::Gap(gap) => {
                let (from, text) = (&gap.from, gap.text());
                writeln!(
                    out,
                    "{:>5}  {from:<32}  {:<5} {:>10}  {text}",
                    "", "gap", ""
                )
            }
        }
    }
}
