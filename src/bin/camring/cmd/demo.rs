//! `camring demo`: the main job, with cameras that are not there and a recorder that is killed.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use camring::base::time::TimeRange;
use camring::frame::{Codec, GapCause};
use camring::ingest::builtin;
use camring::volume::{CreateOptions, StreamInfo, Volume, VolumeSize};
use camring::{Error, ErrorKind};

use super::blocks::Blocks;
use super::demo_record::{CAMERA_COUNT, READY};
use super::export::{self, Job};
use super::history::{self, History};
use super::streams::Streams;
use super::timeline::Timeline;
use crate::args::Demo;
use crate::error::{Exit, Outcome};
use crate::interrupt::Interrupt;
use crate::output::show;
use crate::screen::Screen;

/// The measures of the demo's volume, in bytes.
const VOLUME_LEN: u64 = 64 << 20;
const BLOCK_LEN: u32 = 1 << 20;

/// How long is recorded until the recorder is killed.
const BEFORE_KILL: Duration = Duration::from_secs(4);
/// How long nobody records: the timeline joins what is less than 2 s apart.
const DEAD: Duration = Duration::from_millis(2_500);
/// How long is recorded after that.
const AFTER_KILL: Duration = Duration::from_secs(6);

pub(super) fn run(args: &Demo, screen: &Screen) -> Outcome {
    let dir = args.dir.as_path();
    make_volume(dir, screen).context("making the demo's volume")?;
    record(dir)?;
    let volume = Volume::open(dir).context("opening the demo's volume")?;
    let streams = volume.streams();
    show_all(&volume)?;
    check_gaps(&volume, &streams)?;
    export_two(volume, streams, dir, screen)
}

fn say(text: impl Display) -> std::io::Result<()> {
    writeln!(anstream::stdout(), "{text}")
}

fn make_volume(dir: &Path, screen: &Screen) -> anyhow::Result<()> {
    let options = CreateOptions {
        size: VolumeSize::Bytes(VOLUME_LEN),
        block_len: Some(BLOCK_LEN),
        replace: is_of_a_demo(dir)?,
    };
    let bar = screen.bytes_bar("Writing zeroes");
    let made = Volume::create(dir, &options, &mut |done, total| bar.set(done, total));
    drop(bar);
    let volume = made.map_err(|error| match error.kind() {
        ErrorKind::Exists => not_of_a_demo(dir),
        _ => error,
    })?;
    let count = VOLUME_LEN / u64::from(BLOCK_LEN);
    say(format_args!(
        "Made volume {} in {}: {count} blocks of 1 MiB",
        volume.id(),
        dir.display()
    ))?;
    Ok(())
}

/// Whether `dir` holds nothing but what an earlier demo has recorded, so that it can go.
fn is_of_a_demo(dir: &Path) -> anyhow::Result<bool> {
    let volume = match Volume::open(dir) {
        Ok(volume) => volume,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let cameras = builtin::cameras(CAMERA_COUNT)?;
    let is_ours = |info: &StreamInfo| {
        let mut setups = cameras.iter().map(|camera| camera.setup().name.as_str());
        setups.any(|name| name == info.setup.name)
    };
    let geometry = volume.geometry();
    if (geometry.block_len(), geometry.device_len()) == (BLOCK_LEN, VOLUME_LEN)
        && volume.streams().iter().all(is_ours)
    {
        return Ok(true);
    }
    Err(not_of_a_demo(dir).into())
}

fn not_of_a_demo(dir: &Path) -> Error {
    let text = format!("{} holds something that no demo has made", dir.display());
    let remedy = "Give another directory: camring demo DIR";
    Error::new(ErrorKind::Exists, text).with_remedy(remedy)
}

/// Records, is killed, and records again.
fn record(dir: &Path) -> anyhow::Result<()> {
    let mut killed = Recorder::start(dir, BEFORE_KILL + Duration::from_mins(1))?;
    say(format_args!(
        "Process {} records {CAMERA_COUNT} cameras for {BEFORE_KILL:?} ...",
        killed.child.id()
    ))?;
    thread::sleep(BEFORE_KILL);
    if let Some(status) = killed.child.try_wait()? {
        bail!("the recording process ended too early: {status}");
    }
    killed
        .child
        .kill()
        .context("killing the recording process")?;
    killed.child.wait()?;
    say(format_args!(
        "Killed it by SIGKILL. Nobody records for {DEAD:?} ..."
    ))?;
    thread::sleep(DEAD);
    let mut second = Recorder::start(dir, AFTER_KILL)?;
    say(format_args!(
        "Process {} goes on for {AFTER_KILL:?} ...",
        second.child.id()
    ))?;
    let status = second.child.wait()?;
    ensure!(
        status.success(),
        "the second recording process failed: {status}"
    );
    Ok(())
}

/// A process of ours that records. It outlives neither this value nor this process: its input ends
/// then, however we end.
struct Recorder {
    child: Child,
    /// Held open for as long as it is to record.
    _input: ChildStdin,
}

impl Recorder {
    /// Starts the process, and waits until it records.
    fn start(dir: &Path, duration: Duration) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program's own file")?;
        let mut child = Command::new(program)
            .arg("demo-record")
            .arg(dir)
            .args(["--for", &format!("{}s", duration.as_secs())])
            .arg("--until-input-ends")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a recording process")?;
        // To wait for a process closes its input, so it is kept apart.
        let input = child.stdin.take().context("no pipe to the process")?;
        let mut recorder = Self {
            child,
            _input: input,
        };
        let stdout = recorder
            .child
            .stdout
            .take()
            .context("no pipe from the process")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim_end() != READY {
            let status = recorder.child.wait()?;
            bail!("the recording process could not begin: {status}");
        }
        Ok(recorder)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Most often it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn show_all(volume: &Volume) -> anyhow::Result<()> {
    say("\nBlocks:")?;
    show(
        &Blocks::of(volume, &volume.blocks_in(TimeRange::ALL)),
        false,
    )?;
    say("\nStreams:")?;
    show(&Streams::of(volume), false)?;
    say("\nTimeline:")?;
    let volumes = std::slice::from_ref(volume);
    show(
        &Timeline::of(volumes, &history::all(volumes), TimeRange::ALL),
        false,
    )
}

/// Whether the kill is on record in every stream.
fn check_gaps(volume: &Volume, streams: &[StreamInfo]) -> anyhow::Result<()> {
    let found = streams.len();
    ensure!(
        found == CAMERA_COUNT as usize,
        "{found} of {CAMERA_COUNT} cameras were recorded"
    );
    for info in streams {
        let stretches = volume.timeline(info.id, TimeRange::ALL);
        let mut gaps = stretches.iter().filter_map(|stretch| stretch.gap);
        let name = &info.setup.name;
        ensure!(
            gaps.any(|cause| cause == GapCause::Restart),
            "the timeline of {name} does not show that the recorder was killed"
        );
    }
    Ok(())
}

/// Exports a camera with H.264 and sound, and one with H.265, to files beside the volume.
fn export_two(
    volume: Volume,
    mut streams: Vec<StreamInfo>,
    dir: &Path,
    screen: &Screen,
) -> Outcome {
    say("\nExports:")?;
    let interrupt = Interrupt::catch()?;
    let codecs = |info: &StreamInfo| -> Vec<Codec> {
        info.setup.tracks.iter().map(|track| track.codec).collect()
    };
    let mut paths = Vec::new();
    for (what, wanted) in [
        ("h264-aac", &[Codec::H264, Codec::Aac][..]),
        ("h265", &[Codec::H265][..]),
    ] {
        let stream = streams.iter().position(|info| codecs(info) == wanted);
        let stream = stream.with_context(|| format!("no camera with {what} was recorded"))?;
        let path = beside(dir, what);
        let job = Job {
            volumes: std::slice::from_ref(&volume),
            history: &History::begin(0, streams.swap_remove(stream)),
            range: TimeRange::ALL,
            path: &path,
            force: true,
        };
        let bar = screen.share_bar("Exporting");
        let exported = export::export(&job, &interrupt, &bar);
        drop(bar);
        let (report, exit) = exported.with_context(|| format!("exporting {what}"))?;
        show(&report, false)?;
        if exit != Exit::Ok {
            return Ok(exit);
        }
        paths.push(path.display().to_string());
    }
    say("\nPlay them with any player, such as mpv, VLC or ffplay:")?;
    for path in paths {
        say(format_args!("  mpv {path}"))?;
    }
    Ok(Exit::Ok)
}

/// A file in the directory that holds `dir`, with `dir`'s name before `what`.
fn beside(dir: &Path, what: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or("demo".as_ref()).to_owned();
    name.push(format!("-{what}.mkv"));
    dir.with_file_name(name)
}
