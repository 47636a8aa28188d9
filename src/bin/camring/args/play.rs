//! The arguments of `camring play`.

use std::path::{Path, PathBuf};

use camring::base::time::Timestamp;
use camring::manager::Speed;
use clap::Args;

use super::StreamChoice;
use super::format::LineFormat;
use crate::time;

/// Plays streams.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring play ./house --stream door --at -5min --to - | mpv -
  camring play ./house --stream door --stream 2 --at 'today 14:00' --print
  camring play ./old-house ./house --stream door --at 'yesterday 18:00' --speed 64 --to door.mkv
  camring play ./house --stream door --live

A stream that several of the directories have is one history: a camera that moved from one volume \
to another.

Keys, on a terminal, but for --to - where the program behind the pipe has the keyboard:
  space        pause, and play on
  left, right  10 s back, 10 s ahead
  ,  .         a picture back, a picture ahead
  [  ]         half as fast, twice as fast
  r            backward on key frames, and forward again
  l            live
  q            quit
With --to time only goes on: there is no going back, and no jumping.

Without a terminal it ends where the recording ends. While another process records, it follows the \
recording, half a second and a commit behind, until it is interrupted.")]
pub(crate) struct Play {
    /// The directories of one or more volumes.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// A stream: its number or its name. May be repeated.
    #[arg(long = "stream", value_name = "ID|NAME", required = true,
          value_parser = StreamChoice::parse)]
    pub(crate) streams: Vec<StreamChoice>,
    /// Begin at this time; without it, where the recording begins.
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true,
          conflicts_with = "live")]
    pub(crate) at: Option<Timestamp>,
    /// How fast, from 0.125 to 64.
    #[arg(long, value_name = "X", default_value = "1", value_parser = parse_speed)]
    pub(crate) speed: Speed,
    /// Write Matroska with the tracks of all streams: into a file that is not there yet, or with - to
    /// stdout. Playing waits for whoever reads it, and nothing is lost.
    #[arg(long, value_name = "FILE|-")]
    pub(crate) to: Option<PathBuf>,
    /// Print a line per frame, with how late it was.
    #[arg(long)]
    pub(crate) print: bool,
    /// Follow what another process records, from its newest key frame on.
    #[arg(long)]
    pub(crate) live: bool,
    /// Jump over stretches in which nothing was recorded.
    #[arg(long)]
    pub(crate) skip_gaps: bool,
    #[command(flatten)]
    pub(crate) format: LineFormat,
}

impl Play {
    /// Whether Matroska goes to stdout.
    pub(crate) fn is_to_stdout(&self) -> bool {
        self.to.as_deref() == Some(Path::new("-"))
    }
}

/// Reads a speed, as a decimal number.
fn parse_speed(text: &str) -> Result<Speed, String> {
    let no_speed = || format!("{text:?} is no speed; write a number from 0.125 to 64");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 3 {
        return Err(no_speed());
    }
    let thousandths = format!("{whole}{fraction:0<3}").parse();
    let speed = Speed(thousandths.map_err(|_| no_speed())?);
    speed.checked().map_err(|_| no_speed())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a panic is how a test fails")]

    use super::super::Command;
    use super::super::tests::{parse, refusal};
    use super::*;

    #[test]
    fn speeds_are_decimal_numbers_within_bounds() {
        for (text, thousandths) in [
            ("1", 1_000),
            ("0.125", 125),
            ("0.5", 500),
            ("64", 64_000),
            ("64.000", 64_000),
            ("2.25", 2_250),
        ] {
            assert_eq!(parse_speed(text), Ok(Speed(thousandths)), "{text}");
        }
        for text in [
            "",
            "0",
            "0.1",
            "64.001",
            "65",
            "-1",
            "1x",
            "1.",
            ".5",
            "1e3",
            "1.0000",
            "99999999999",
        ] {
            assert!(parse_speed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_played_needs_a_place_and_a_stream() {
        let line = "camring play a b --stream 1 --stream door --at -5min --to -";
        let Command::Play(play) = parse(line).expect(line) else {
            panic!("it can be played");
        };
        assert_eq!((play.dirs.len(), play.streams.len()), (2, 2));
        assert!(play.is_to_stdout());
        refusal("camring play --stream 1");
        refusal("camring play a");
        refusal("camring play a --stream 1 --at -5min --live");
        refusal("camring play a --stream 1 --speed 100");
    }
}
