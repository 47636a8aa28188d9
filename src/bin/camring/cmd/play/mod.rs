//! `camring play`: streams as they were recorded, on a terminal, into another program, as lines,
//! or into a file.
//!
//! One thread, this one, takes what the manager tells, what keys are pressed and what was written
//! from one bounded queue. Who fills it waits when it is full, so `--print` into a slow pipe slows
//! down the playing instead of losing lines.

mod control;
mod keyboard;
mod line;
mod status;
mod target;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use camring::frame::filter::{ChannelLimits, Discard};
use camring::frame::{Item, StreamId};
use camring::manager::{Command, Event, Limits, ManagerOptions, SourceId, StreamKey};
use camring::{Error, ErrorKind, Manager, Volume};

use self::control::Control;
use self::keyboard::{Key, Keyboard};
use self::line::Printer;
use self::target::{Target, Written};
use super::history::{self, History};
use super::place;
use crate::args::play::Play;
use crate::error::{Exit, Outcome};
use crate::interrupt::{Interrupt, Signal};
use crate::output::{self, write_json_line};
use crate::screen::{Bar, Screen};

/// How many inputs may wait.
const INPUT_COUNT: usize = 1_024;

/// How often signals are looked for, and the status line is drawn anew.
const LOOK: Duration = Duration::from_millis(50);

/// How often the manager tells the time, in microseconds.
const PERIOD_US: i64 = 100_000;

/// How long the program behind a pipe may take for the rest after the end was asked for.
const FAREWELL: Duration = Duration::from_secs(1);

/// What waits for the target at most: enough not to hold up the playing while a disk is busy.
const QUEUE: ChannelLimits = ChannelLimits {
    item_count: 65_536,
    payload_len: 64 << 20,
};

/// Something has happened.
#[derive(Debug)]
enum Input {
    Event(Event),
    Key(Key),
    /// All is written, or nothing more can be.
    Written(camring::Result<Written>),
}

pub(super) fn run(args: &Play, screen: &Screen) -> Outcome {
    let has_keys = keyboard::is_there() && screen.is_live() && !args.is_to_stdout();
    check(args, has_keys)?;
    let volumes = history::open(&args.dirs)?;
    let histories = history::find(&volumes, &args.streams)?;
    let first = if args.live {
        history::check_live(&volumes)?;
        None
    } else {
        Some(history::start(&volumes, &histories, args.at)?)
    };
    let interrupt = Interrupt::catch()?;
    let target = target(args)?;
    let (sender, mut session) = Session::start(&volumes, args.print)?;
    session.map(&volumes, &histories, target, &sender)?;
    let keyboard = if has_keys {
        Some(Keyboard::open(sender)?)
    } else {
        None
    };
    session.manager.command(Command::SetSpeed(args.speed))?;
    session.manager.command(Command::SkipGaps(args.skip_gaps))?;
    match first {
        Some(time) => {
            session.manager.command(Command::Seek(time))?;
            session.manager.command(Command::Play)?;
        }
        None => session
            .manager
            .command(Command::Live { uncommitted: false })?,
    }
    let mut show = Show {
        args,
        screen,
        line: screen.line(),
        control: Control::new(args),
        printer: args.print.then(|| Printer::new(args.format.is_json())),
        is_damaged: false,
        failure: None,
    };
    let end = show.until_end(&session, &interrupt, has_keys)?;
    drop(keyboard);
    show.finish(&session, &interrupt, end)
}

/// Refuses what makes no sense together.
fn check(args: &Play, has_keys: bool) -> camring::Result<()> {
    if args.is_to_stdout() && args.print {
        let error = Error::invalid("--to - and --print both want stdout");
        return Err(error.with_remedy("Write to a file, with --to FILE"));
    }
    if args.to.is_none() && !args.print && !has_keys {
        let error = Error::invalid("there is no terminal, and nothing to be done with the frames");
        return Err(error.with_remedy("Give --to or --print"));
    }
    Ok(())
}

fn target(args: &Play) -> camring::Result<Option<Target>> {
    if args.is_to_stdout() {
        return Target::stdout().map(Some);
    }
    let Some(path) = &args.to else {
        return Ok(None);
    };
    place::check_output(path, &args.dirs)?;
    Target::file(path).map(Some)
}

/// A manager that plays, and what comes of it.
struct Session {
    /// It goes before the manager, whose thread may wait for room in it.
    inputs: Receiver<Input>,
    manager: Manager,
    sources: Vec<SourceId>,
    slots: Vec<StreamId>,
}

impl Session {
    fn start(volumes: &[Volume], tell_items: bool) -> camring::Result<(SyncSender<Input>, Self)> {
        let (sender, inputs) = sync_channel(INPUT_COUNT);
        let events = sender.clone();
        let manager = Manager::start(ManagerOptions {
            limits: Limits {
                period_us: PERIOD_US,
                ..Limits::default()
            },
            queue: QUEUE,
            // What is written is complete: a program behind the pipe that stands still, or a slow
            // disk, holds up the playing.
            waits: true,
            tell_items,
            on_event: Some(Box::new(move |event| {
                // It is gone at the end only.
                let _ = events.send(Input::Event(event.clone()));
            })),
        })?;
        let sources = volumes
            .iter()
            .map(|volume| manager.add_volume(volume.clone()))
            .collect::<camring::Result<_>>()?;
        let session = Self {
            inputs,
            manager,
            sources,
            slots: Vec::new(),
        };
        Ok((sender, session))
    }

    /// Plays all histories, into `target` if there is one.
    fn map(
        &mut self,
        volumes: &[Volume],
        histories: &[History],
        target: Option<Target>,
        inputs: &SyncSender<Input>,
    ) -> anyhow::Result<()> {
        let keys_of = |history: &History| -> Vec<StreamKey> {
            let parts = history.parts.iter();
            let keys = parts.filter_map(|(n, stream)| {
                let (source, stream) = (*self.sources.get(*n)?, *stream);
                Some(StreamKey { source, stream })
            });
            keys.collect()
        };
        let slots: Vec<_> = { histories.iter() }
            .map(|history| (keys_of(history), history.slot))
            .collect();
        match target {
            Some(target) => {
                let slots: Vec<_> = slots
                    .iter()
                    .map(|(keys, slot)| (&keys[..], *slot))
                    .collect();
                let members = histories.iter().filter_map(|history| {
                    let (volume, stream) = history.streams(volumes).last()?;
                    Some((history.slot, volume.stream(stream)?.setup))
                });
                let receiver = self.manager.map_together(&slots)?;
                target.start(receiver, members.collect(), inputs.clone())?;
            }
            None => {
                for (keys, slot) in &slots {
                    self.manager.map_sink(keys, *slot, Discard)?;
                }
            }
        }
        self.slots = histories.iter().map(|history| history.slot).collect();
        Ok(())
    }
}

/// How playing came to its end.
#[derive(Debug)]
enum End {
    /// All was played, or somebody pressed `q`.
    Over,
    Stopped(Signal),
    /// The target wants no more.
    Written(camring::Result<Written>),
}

/// What is shown of the playing.
struct Show<'s> {
    args: &'s Play,
    screen: &'s Screen,
    line: Bar,
    control: Control,
    printer: Option<Printer>,
    is_damaged: bool,
    /// Why a volume could not be read.
    failure: Option<String>,
}

impl Show<'_> {
    fn until_end(
        &mut self,
        session: &Session,
        interrupt: &Interrupt,
        has_keys: bool,
    ) -> anyhow::Result<End> {
        let stays = has_keys && self.args.to.is_none();
        loop {
            if let Some(signal) = interrupt.caught() {
                return Ok(End::Stopped(signal));
            }
            let first = match session.inputs.recv_timeout(LOOK) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Over),
            };
            let more = session.inputs.try_iter().take(INPUT_COUNT);
            for input in first.into_iter().chain(more) {
                match input {
                    Input::Written(written) => return Ok(End::Written(written)),
                    Input::Key(Key::Quit) => return Ok(End::Over),
                    Input::Key(key) => self.control.press(key, &session.manager)?,
                    Input::Event(Event::End) if !stays => return Ok(End::Over),
                    Input::Event(event) => self.note(&event)?,
                }
            }
            self.print()?;
            if has_keys {
                self.line.say(self.control.status.to_string());
            }
        }
    }

    fn note(&mut self, event: &Event) -> io::Result<()> {
        self.control.status.note(event);
        match event {
            Event::Gap { gap, .. } => self.is_damaged |= super::is_loss(&Item::Gap(*gap)),
            Event::Failed { message, .. } => self.failure = Some(message.clone()),
            _ => {}
        }
        match &mut self.printer {
            Some(printer) => printer.note(event),
            None => Ok(()),
        }
    }

    fn print(&mut self) -> io::Result<()> {
        match &mut self.printer {
            Some(printer) if printer.has_lines() => {
                let mut stdout = anstream::stdout().lock();
                self.screen.apart(|| printer.print(&mut stdout))
            }
            _ => Ok(()),
        }
    }

    /// Completes what is being written, and says what it is.
    fn finish(mut self, session: &Session, interrupt: &Interrupt, end: End) -> Outcome {
        self.print()?;
        let (signal, written) = match end {
            End::Written(written) => (None, Some(written)),
            End::Over => (None, self.last_words(session, interrupt)?),
            End::Stopped(signal) => (Some(signal), self.last_words(session, interrupt)?),
        };
        let exit = match written.transpose() {
            // Whoever stops it early need not be told that it was too early.
            Err(error) if signal.is_some() && error.kind() == ErrorKind::NotFound => Exit::Ok,
            written => self.tell_written(written?)?,
        };
        if let Some(message) = self.failure {
            return Err(Error::new(ErrorKind::Failed, message).into());
        }
        Ok(match signal {
            Some(signal) if !self.args.live => signal.exit_of_unfinished(),
            _ if self.is_damaged => Exit::Damage,
            _ => exit,
        })
    }

    /// Ends what is written, and waits for it; once a signal has come, not for ever for the program
    /// behind a pipe.
    fn last_words(
        &self,
        session: &Session,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<camring::Result<Written>>> {
        if self.args.to.is_none() {
            return Ok(None);
        }
        for slot in &session.slots {
            session.manager.unmap(*slot)?;
        }
        let mut stopped = None;
        loop {
            if let Ok(Input::Written(written)) = session.inputs.recv_timeout(LOOK) {
                return Ok(Some(written));
            }
            if self.args.is_to_stdout() && interrupt.caught().is_some() {
                let stopped: &mut Instant = stopped.get_or_insert_with(Instant::now);
                if stopped.elapsed() >= FAREWELL {
                    return Ok(None);
                }
            }
        }
    }

    fn tell_written(&self, written: Option<Written>) -> anyhow::Result<Exit> {
        let Some(written) = written else {
            return Ok(Exit::Ok);
        };
        if !self.args.is_to_stdout() && self.args.format.is_json() {
            write_json_line(&written, &mut anstream::stdout().lock())?;
        } else {
            // None for stdout, which holds Matroska.
            output::show(&written, false)?;
        }
        if written.lost_count == 0 {
            return Ok(Exit::Ok);
        }
        let count = written.lost_count;
        tracing::warn!("{count} frames are missing: they came faster than they could be written");
        Ok(Exit::Damage)
    }
}
