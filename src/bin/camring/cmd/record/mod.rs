//! `camring record`: cameras into a volume, until stopped.

mod cameras;
mod listener;
mod presence;
pub(super) mod requests;
mod sink;
mod status;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use camring::base::time::SystemClock;
use camring::ingest::rtsp::{CameraReport, Options, Recorder};
use camring::writer::WriterOptions;
use camring::{Error, Writer};
use tokio::runtime::Builder;
use tokio::sync::mpsc::Receiver;

use self::cameras::Cameras;
use self::listener::Listener;
use self::presence::Presence;
use self::requests::{Asked, Desk};
use self::sink::Sink;
use self::status::{Meter, Reading, Status, Summary};
use crate::args::camera::Record;
use crate::error::{Exit, Outcome};
use crate::interrupt::{Interrupt, Signal};
use crate::output;
use crate::screen::{Bar, Screen};

/// How long it takes at most until a signal is seen.
const LOOK: Duration = Duration::from_millis(100);
/// How often the status is shown.
const SHOW: Duration = Duration::from_secs(1);
/// When the status is logged for the first time where nobody watches.
const FIRST_LOG: Duration = Duration::from_secs(5);
/// How often it is logged from then on.
const LOG: Duration = Duration::from_mins(1);

pub(super) fn run(args: &Record, screen: &Screen) -> Outcome {
    let asked_for = cameras::asked_for(args)?;
    let (desk, requests) = Desk::new();
    let options = WriterOptions {
        on_request: Some(Box::new(move |name, with| desk.ask(name, with))),
        ..WriterOptions::default()
    };
    let writer = Writer::open(&args.dir, options)?;
    let interrupt = catch_signals(args)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the network's runtime")?;
    let sink = Sink {
        producer: writer.producer()?,
        volume: writer.volume().clone(),
    };
    let (handle, clock) = (runtime.handle().clone(), Arc::new(SystemClock));
    let recorder = Recorder::new(handle, Options::default(), clock, sink);
    let watch = Watch {
        args,
        writer: &writer,
        interrupt: &interrupt,
        presence: Presence::of(&args.dir)?,
        cameras: Cameras::start(recorder, asked_for, args)?,
        requests,
        listener: args.format.is_json().then(Listener::new).transpose()?,
        started: Instant::now(),
    };
    let End {
        signal,
        loss,
        summary,
        listener,
    } = runtime.block_on(watch.until_end(screen));
    let closed = writer.close().context("closing the recording");
    let told = tell_end(&summary, listener);
    if let Some(loss) = loss {
        // Whatever else has failed comes of it.
        return Err(loss.into());
    }
    closed?;
    match signal {
        Some(Signal::Interrupt) => Ok(Exit::Interrupted),
        None if summary.frame_count() == 0 => Err(summary.no_frame().into()),
        Some(Signal::Terminate) | None => told.map(|()| Exit::Ok),
    }
}

/// On a terminal SIGHUP is its end, and nobody would see the recording any more. Elsewhere it asks
/// to read the file of credentials anew, if there is one.
fn catch_signals(args: &Record) -> anyhow::Result<Interrupt> {
    if args.credentials.is_some() && !std::io::stderr().is_terminal() {
        Interrupt::catch_with_reload()
    } else {
        Interrupt::catch()
    }
}

fn tell_end(summary: &Summary, listener: Option<Listener>) -> anyhow::Result<()> {
    let Some(mut listener) = listener else {
        return output::show(summary, false);
    };
    listener.tell(summary);
    Ok(listener.finish()?)
}

/// Looks after a recording.
struct Watch<'w> {
    args: &'w Record,
    writer: &'w Writer,
    interrupt: &'w Interrupt,
    /// None on a device.
    presence: Option<Presence>,
    cameras: Cameras,
    requests: Receiver<Asked>,
    listener: Option<Listener>,
    started: Instant,
}

/// How a recording ended.
struct End {
    /// The signal that ended it, if one did.
    signal: Option<Signal>,
    /// What has become of the data, if that ended it.
    loss: Option<Error>,
    summary: Summary,
    listener: Option<Listener>,
}

impl Watch<'_> {
    /// Shows how it goes until it is to end, and stops the cameras.
    async fn until_end(mut self, screen: &Screen) -> End {
        let line = screen.line();
        let mut meter = Meter::new(self.writer.volume().geometry().device_len());
        let (mut next_show, mut next_log) = (SHOW, FIRST_LOG);
        let (signal, loss) = loop {
            self.serve_for(LOOK).await;
            if self.interrupt.takes_reload() {
                self.cameras.reload();
            }
            let signal = self.interrupt.caught();
            let elapsed = self.started.elapsed();
            let duration = self.args.duration;
            let is_over = duration.is_some_and(|duration| elapsed >= duration);
            if signal.is_some() || is_over || self.writer.status().is_failed {
                break (signal, None);
            }
            if elapsed < next_show {
                continue;
            }
            next_show = elapsed + SHOW;
            if let Some(Err(loss)) = self.presence.as_ref().map(Presence::check) {
                break (None, Some(loss));
            }
            let status = meter.read(&self.reading(self.cameras.reports()));
            if elapsed >= next_log && !screen.is_live() {
                next_log = elapsed + LOG;
                tracing::info!("{status}");
            }
            self.tell(&status, &line);
        };
        drop(line);
        self.end(signal, loss).await
    }

    /// Does what other processes ask for, until `time` has passed.
    async fn serve_for(&mut self, time: Duration) {
        let next = tokio::time::timeout(time, self.requests.recv());
        if let Ok(Some(asked)) = next.await {
            let result = self.cameras.serve(&asked.request).await;
            asked.answer(result);
        }
    }

    fn tell(&mut self, status: &Status, line: &Bar) {
        line.say(status.to_string());
        if let Some(listener) = &mut self.listener {
            listener.tell(status);
        }
    }

    fn reading(&self, cameras: Vec<CameraReport>) -> Reading {
        Reading {
            elapsed: self.started.elapsed(),
            writer: self.writer.status(),
            cameras,
        }
    }

    /// Whoever still waits for an answer hears that it is over.
    async fn end(self, signal: Option<Signal>, loss: Option<Error>) -> End {
        let reports = self.cameras.stop().await;
        let reading = Reading {
            elapsed: self.started.elapsed(),
            writer: self.writer.status(),
            cameras: reports,
        };
        End {
            signal,
            loss,
            summary: Summary::of(reading),
            listener: self.listener,
        }
    }
}
