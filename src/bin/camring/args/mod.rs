//! The command line: what can be asked for, and how its words become values.
//!
//! What an argument means is checked here as far as the text alone says it; everything else is
//! the command's business.

#[cfg(feature = "rtsp")]
pub(crate) mod camera;
mod format;
pub(crate) mod partition;
pub(crate) mod play;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use camring::base::time::{TimeRange, Timestamp};
use camring::frame::StreamId;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "rtsp")]
use self::camera::{CameraChange, Record};
use self::format::{Format, LineFormat};
use self::partition::{Devices, OnPartition};
use self::play::Play;
use crate::{size, time};

/// Records video from many cameras into a ring on disk, and plays it back.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_long_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto,
          env = "CAMRING_COLOR", hide_env_values = true)]
    pub(crate) color: Color,
    /// Print times in UTC instead of local time.
    #[arg(long, global = true)]
    pub(crate) utc: bool,
    /// Print sizes in bytes instead of KiB, MiB and so on.
    #[arg(long, global = true)]
    pub(crate) bytes: bool,
    /// Say more on stderr; twice for details.
    ///
    /// `RUST_LOG` says it in full, such as `RUST_LOG=camring=trace` for every frame, and counts more
    /// than -v and -q.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Say nothing on stderr but errors: no progress, no status, no warnings.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but damage was found, 10 nothing there (no volume, stream, block or recorder), \
11 locked by another process, 12 would destroy data (see --force), 130 interrupted. Others may come, and mean that it failed.

An option counts more than its variable in the environment, and that more than the default. The \
help of each command names the variables: CAMRING_COLOR for all, CAMRING_CREDENTIALS and \
CAMRING_TRANSPORT for `camring record`.

-h prints a summary, --help all there is to say, with examples.";

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set; everywhere if `CLICOLOR_FORCE` is.
    Auto,
    /// Also into pipes and files.
    Always,
    /// Nowhere.
    Never,
}

impl Color {
    /// Makes it the choice of all output streams.
    pub(crate) fn apply(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a volume: a directory with a ring of blocks in it.
    Create(Create),
    /// List disks and partitions, and which may hold a volume.
    Devices(Devices),
    /// Record cameras into a volume until stopped.
    #[cfg(feature = "rtsp")]
    Record(Record),
    /// Add a camera to a recording that goes on, or remove one.
    #[cfg(feature = "rtsp")]
    Camera(CameraChange),
    /// Show what a volume is: size, age, health, and how it is written.
    #[command(after_long_help = "\
Examples:
  camring info ./house
  camring info ./house --json --utc")]
    Info(Read),
    /// List the streams of a volume.
    #[command(after_long_help = "\
Examples:
  camring streams ./house
  camring streams ./house --json")]
    Streams(Read),
    /// Show when each stream was recorded, and why it was not.
    Timeline(Timeline),
    /// List blocks.
    Blocks(Blocks),
    /// Show what is in blocks.
    Dump(Dump),
    /// Make the program that records commit all it has, now.
    Commit(Commit),
    /// Write a stretch of one stream into a Matroska file.
    Export(Export),
    /// Play streams: on a terminal, into another program, as lines, or into a file.
    Play(Play),
    /// Read everything, and check every checksum.
    #[command(after_long_help = "\
Examples:
  camring verify ./house
  camring verify ./house --json")]
    Verify(Read),
    /// Make a volume's directory anew from its data alone.
    Rebuild(Rebuild),
    /// Try it all out with cameras that are not there.
    Demo(Demo),
    /// Print what a shell needs to complete the words of this command line.
    Completions(Completions),
    /// Print the manual page.
    #[command(after_long_help = "\
Examples:
  camring man | man -l -
  camring man > camring.1")]
    Man,
    /// Record the built-in cameras. `demo` starts this, and kills it.
    #[command(hide = true)]
    DemoRecord(DemoRecord),
}

/// A volume, and how to print it.
#[derive(Debug, Args)]
pub(crate) struct Read {
    /// The volume's directory.
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Makes a volume.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring create /var/lib/camring/house --size 500GiB
  camring create ./try --blocks 16 --block-size 1MiB
  camring create ./house --size 1TiB --force --dry-run
  camring create ./house --size 1TiB --force --yes
  camring create ./house --partition 3f2504e0-4f89-41d3-9a0c-0305e82c3301

What --force destroys is told before. On a terminal it has to be confirmed by typing yes; where \
nobody can type, --force is enough.

A partition is formatted only if it is one of type Linux swap in a GPT, not in use, and holds \
nothing, swap, or (with --force) a volume; `camring devices` shows what there is. This has to be \
confirmed in any case: by typing yes, and where nobody can type, by --yes.")]
#[command(group(clap::ArgGroup::new("extent").multiple(false)))]
pub(crate) struct Create {
    /// The directory; it is made if it is not there.
    pub(crate) dir: PathBuf,
    /// How long the ring is, such as 10GiB.
    #[arg(long, value_name = "SIZE", value_parser = size::parse, group = "extent",
          required_unless_present_any = ["blocks", "partition"])]
    pub(crate) size: Option<u64>,
    /// How many blocks the ring has, at least 16.
    #[arg(long, value_name = "N", group = "extent")]
    pub(crate) blocks: Option<u64>,
    /// How long a block is, such as 16MiB; by default it suits the size.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) block_size: Option<u64>,
    #[command(flatten)]
    pub(crate) on: OnPartition,
    /// Destroy the volume that is there.
    #[arg(long)]
    pub(crate) force: bool,
    /// Ask nothing, also on a terminal.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only say what would be made, and what would be destroyed.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The times of streams.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring timeline ./house
  camring timeline ./house --stream door --from 'yesterday 18:00' --to 'today 08:00'
  camring timeline ./old-house ./house

A stream that several of the directories have is one history. Without --stream, those of one name \
are one.")]
pub(crate) struct Timeline {
    /// The directories of one or more volumes.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// Only this stream: its number or its name.
    #[arg(long, value_name = "ID|NAME", value_parser = StreamChoice::parse)]
    pub(crate) stream: Option<StreamChoice>,
    #[command(flatten)]
    pub(crate) range: Range,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// A stretch of time; open where an end is not given.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Range {
    /// From this time on.
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    pub(crate) from: Option<Timestamp>,
    /// Up to this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    pub(crate) to: Option<Timestamp>,
}

impl Range {
    /// The stretch, if it does not end before it begins.
    pub(crate) fn checked(&self) -> camring::Result<TimeRange> {
        let start = self.from.unwrap_or(Timestamp::MIN);
        let end = self.to.unwrap_or(Timestamp::MAX);
        if end < start {
            let (from, to) = (time::format(start), time::format(end));
            let text = format!("--to {to} is before --from {from}");
            return Err(camring::Error::invalid(text));
        }
        Ok(TimeRange { start, end })
    }
}

/// Which blocks.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring blocks ./house --from -1h
  camring blocks ./house --around '2026-11-20 14:00' -n 2")]
pub(crate) struct Blocks {
    /// The volume's directory.
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) range: Range,
    /// The block at this time, and its neighbours.
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true,
          conflicts_with_all = ["from", "to"])]
    pub(crate) around: Option<Timestamp>,
    /// How many neighbours on each side.
    #[arg(
        short = 'n',
        value_name = "COUNT",
        default_value_t = 2,
        requires = "around"
    )]
    pub(crate) neighbor_count: u64,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Which blocks to show.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring dump ./house 17
  camring dump ./house 17 18 --json")]
pub(crate) struct Dump {
    /// The volume's directory.
    pub(crate) dir: PathBuf,
    /// The blocks' numbers, as `camring blocks` lists them.
    #[arg(required = true, value_name = "BLOCK")]
    pub(crate) blocks: Vec<u64>,
    #[command(flatten)]
    pub(crate) format: LineFormat,
}

/// Commits.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring commit ./house")]
pub(crate) struct Commit {
    /// The volume's directory.
    pub(crate) dir: PathBuf,
}

/// What to export.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring export ./house --stream door --from -5min --to now -o door.mkv
  camring export ./house --stream 2 --from '2026-11-20 14:00' --to '2026-11-20 14:10' -o yard.mkv
  camring export ./old-house ./house --stream door --from 'yesterday 18:00' -o door.mkv

A stream that several of the directories have is one history: a camera that moved from one volume \
to another.

The file begins at the last key frame up to the given time. Where the stream changes its \
parameters or its clock is set back, another file begins: yard-2.mkv and so on.")]
pub(crate) struct Export {
    /// The directories of one or more volumes.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// The stream: its number or its name.
    #[arg(long, value_name = "ID|NAME", value_parser = StreamChoice::parse)]
    pub(crate) stream: StreamChoice,
    #[command(flatten)]
    pub(crate) range: Range,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Overwrite the file if it is there.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// What to rebuild.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring rebuild /mnt/old-disk/house/data /var/lib/camring/house
  camring rebuild /dev/disk/by-partuuid/0fc63daf-8483-4772-8e79-3d69d8477de4 ./house

Nothing is destroyed: a directory that holds anything but what can be made anew of this volume is \
refused.")]
pub(crate) struct Rebuild {
    /// The file or the partition that holds the blocks. It is only read.
    pub(crate) data: PathBuf,
    /// The directory to make.
    pub(crate) dir: PathBuf,
    /// Only say what was found and where the directory would be made.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Tries it all out.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring demo
  camring demo ./try

Records four built-in cameras for 10 s into a volume of 64 MiB, kills the recording process in the \
middle and starts it again, then shows blocks, timeline and streams, and exports two cameras to \
files beside the volume.")]
pub(crate) struct Demo {
    /// The directory to make the volume in; the volume of an earlier demo is replaced.
    #[arg(default_value = "demo-volume")]
    pub(crate) dir: PathBuf,
}

/// For which shell.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring completions bash
  camring completions zsh

For bash, put what is printed into ~/.local/share/bash-completion/completions/camring")]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Records the built-in cameras.
#[derive(Debug, Args)]
pub(crate) struct DemoRecord {
    /// The volume's directory.
    pub(crate) dir: PathBuf,
    /// Stop also when the input ends: whoever started this holds the other end.
    #[arg(long)]
    pub(crate) until_input_ends: bool,
    /// Stop after this long, such as 30s.
    #[arg(long = "for", value_name = "DURATION", value_parser = time::parse_duration)]
    pub(crate) duration: Duration,
}

/// A stream by its number or by its name. What has digits only is a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamChoice {
    /// By number.
    Id(StreamId),
    /// By name.
    Name(String),
}

impl StreamChoice {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a stream is given by its number or its name".into());
        }
        if text.bytes().any(|byte| !byte.is_ascii_digit()) {
            return Ok(Self::Name(text.into()));
        }
        let number = text
            .parse()
            .map_err(|_| format!("{text} is too large for a number"))?;
        Ok(Self::Id(StreamId(number)))
    }
}

impl fmt::Display for StreamChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::expect_used, reason = "a panic is how a test fails")]

    use clap::CommandFactory as _;

    use super::*;

    pub(in crate::args) fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = line.split_whitespace().map(|word| word.replace('_', " "));
        Cli::try_parse_from(words).map(|cli| cli.command)
    }

    pub(in crate::args) fn refusal(line: &str) -> String {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        error.to_string()
    }

    #[test]
    fn the_definitions_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    /// Every command that does something, with those below others.
    fn leaves(command: &clap::Command) -> Vec<clap::Command> {
        let shown = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set());
        let all = shown.flat_map(|below| {
            if below.has_subcommands() {
                leaves(below)
            } else {
                vec![below.clone()]
            }
        });
        all.filter(|below| below.get_name() != "help").collect()
    }

    /// Every example in the help texts is a line that can be typed, and every command has one.
    #[test]
    fn the_examples_in_the_help_can_be_typed() {
        for mut command in leaves(&Cli::command()) {
            let name = command.get_name().to_owned();
            let short = command.render_help().to_string();
            assert!(!short.contains("Examples:"), "-h is short: {short}");
            let help = command.render_long_help().to_string().replace("\\\n", " ");
            let examples = help.lines().map(str::trim_start);
            let mut count = 0;
            for line in examples.filter(|line| line.starts_with("camring ")) {
                let ours = line.split(['|', '>']).next().unwrap_or(line);
                let in_quotes = ours.split('\'').enumerate();
                let words: String = in_quotes
                    .map(|(n, part)| {
                        if n % 2 == 0 {
                            part.into()
                        } else {
                            part.replace(' ', "_")
                        }
                    })
                    .collect();
                parse(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
                count += 1;
            }
            assert!(count > 0, "`camring {name} --help` has no example: {help}");
        }
    }

    #[test]
    fn a_volume_has_exactly_one_extent() {
        let Ok(Command::Create(create)) = parse("camring create d --size 10GiB --block-size 16MiB")
        else {
            panic!("it can be created");
        };
        assert_eq!(
            (create.size, create.block_size),
            (Some(10 << 30), Some(16 << 20))
        );
        refusal("camring create d");
        refusal("camring create d --size 10GiB --blocks 16");
        assert!(refusal("camring create d --size 10G").contains("10GiB"));
    }

    #[test]
    fn times_may_begin_with_a_minus() {
        let line = "camring export d --stream door --from -5min --to now -o f.mkv";
        let Ok(Command::Export(export)) = parse(line) else {
            panic!("it can be exported");
        };
        assert_eq!(export.stream, StreamChoice::Name("door".into()));
        let range = export.range.checked().expect("it is a range");
        let span_us = range.end.us_since(range.start);
        assert!((300_000_000..301_000_000).contains(&span_us), "{span_us}");
        refusal("camring export d --stream door --from soon --to now -o f.mkv");
        refusal("camring blocks d --around now --from -5min");
        refusal("camring blocks d -n 2");
    }

    #[test]
    fn a_stream_of_digits_is_a_number() {
        let id = |text| StreamChoice::parse(text);
        assert_eq!(id("7"), Ok(StreamChoice::Id(StreamId(7))));
        assert_eq!(id("7a"), Ok(StreamChoice::Name("7a".into())));
        assert!(id("").is_err());
        assert!(id("18446744073709551616").is_err());
    }
}
