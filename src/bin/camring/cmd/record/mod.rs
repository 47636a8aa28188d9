//! `camring record`: cameras into a volume, until stopped.

mod status;

use std::collections::BTreeSet;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use camring::base::time::SystemClock;
use camring::ingest::rtsp::{self, CameraStatus, Options, Recorder, RtspCamera};
use camring::writer::WriterOptions;
use camring::{Error, ErrorKind, Writer};
use tokio::runtime::Builder;

use self::status::{Meter, Reading, Status, Summary};
use crate::args::camera::{Record, Transport};
use crate::credentials;
use crate::error::{Exit, Outcome};
use crate::interrupt::{Interrupt, Signal};
use crate::output::{self, write_json_line};
use crate::screen::{Bar, Screen};

/// How long it takes at most until a signal is seen.
const LOOK: Duration = Duration::from_millis(100);
/// How often the status is shown.
const SHOW: Duration = Duration::from_secs(1);
/// How often the status is logged where nobody watches.
const LOG: Duration = Duration::from_mins(1);

pub(super) fn run(args: &Record, screen: &Screen) -> Outcome {
    let cameras = cameras(args)?;
    let writer = Writer::open(&args.dir, WriterOptions::default())?;
    let interrupt = Interrupt::catch()?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the network's runtime")?;
    let producer = writer.producer()?;
    let options = Options::default();
    let clock = Arc::new(SystemClock);
    let mut recorder = Recorder::new(runtime.handle().clone(), options, clock, producer);
    let statuses = cameras.into_iter().map(|camera| recorder.add(camera));
    let statuses = statuses.collect::<camring::Result<Vec<_>>>()?;
    let watch = Watch {
        args,
        writer: &writer,
        interrupt: &interrupt,
        statuses,
        started: Instant::now(),
    };
    let signal = runtime.block_on(async {
        let signal = watch.until_end(screen).await?;
        recorder.stop().await;
        anyhow::Ok(signal)
    })?;
    let summary = watch.summary();
    writer.close().context("closing the recording")?;
    show(&summary, args.format.json)?;
    match signal {
        Some(Signal::Interrupt) => Ok(Exit::Interrupted),
        None if summary.frame_count() == 0 => {
            let error = Error::new(ErrorKind::Failed, "no camera has sent a frame");
            let remedy = "Try their URLs with another program, such as ffprobe";
            Err(error.with_remedy(remedy).into())
        }
        Some(Signal::Terminate) | None => Ok(Exit::Ok),
    }
}

/// The cameras that were asked for, with their logins.
fn cameras(args: &Record) -> camring::Result<Vec<RtspCamera>> {
    let path = args.credentials.as_deref();
    let logins = path.map(credentials::read).transpose()?.unwrap_or_default();
    let mut seen = BTreeSet::new();
    let transport = match args.transport {
        Transport::Tcp => rtsp::Transport::Tcp,
        Transport::Udp => rtsp::Transport::Udp,
    };
    let cameras = args.cameras.iter().map(|camera| {
        if !seen.insert(camera.id) {
            let text = format!("two cameras have the ID {}", camera.id);
            return Err(Error::invalid(text).with_remedy("Each camera is a stream of its own"));
        }
        let name = camera.name.as_str();
        let made = RtspCamera::new(camera.id, name, camera.url.as_str())?.with_transport(transport);
        Ok(match logins.get(&camera.id) {
            Some(login) => made.with_credentials(rtsp::Credentials::new(
                login.user.as_str(),
                login.password.reveal(),
            )),
            None => made,
        })
    });
    cameras.collect()
}

fn show(summary: &Summary, json: bool) -> anyhow::Result<()> {
    if json {
        return Ok(write_json_line(summary, &mut stdout().lock())?);
    }
    output::show(summary, false)
}

/// Looks after a recording.
struct Watch<'w> {
    args: &'w Record,
    writer: &'w Writer,
    interrupt: &'w Interrupt,
    statuses: Vec<Arc<CameraStatus>>,
    started: Instant,
}

impl Watch<'_> {
    /// Shows how it goes until it is to end; returns the signal that ended it, if one did.
    async fn until_end(&self, screen: &Screen) -> anyhow::Result<Option<Signal>> {
        let line = screen.line();
        let mut meter = Meter::new(self.writer.volume().geometry().device_len());
        let (mut next_show, mut next_log) = (SHOW, LOG);
        loop {
            tokio::time::sleep(LOOK).await;
            let signal = self.interrupt.caught();
            let elapsed = self.started.elapsed();
            let is_over = self
                .args
                .duration
                .is_some_and(|duration| elapsed >= duration);
            if signal.is_some() || is_over || self.writer.status().is_failed {
                return Ok(signal);
            }
            if elapsed < next_show {
                continue;
            }
            next_show = elapsed + SHOW;
            let status = meter.read(&self.reading(elapsed));
            if elapsed >= next_log && !screen.is_live() {
                next_log = elapsed + LOG;
                tracing::info!("{status}");
            }
            self.tell(&status, &line)?;
        }
    }

    fn tell(&self, status: &Status, line: &Bar) -> anyhow::Result<()> {
        line.say(status.to_string());
        if self.args.format.json {
            let mut out = stdout().lock();
            write_json_line(status, &mut out)?;
            out.flush()?;
        }
        Ok(())
    }

    fn reading(&self, elapsed: Duration) -> Reading {
        Reading {
            elapsed,
            writer: self.writer.status(),
            cameras: self.statuses.iter().map(|status| status.report()).collect(),
        }
    }

    fn summary(&self) -> Summary {
        Summary::of(self.reading(self.started.elapsed()))
    }
}
