//! Recording: from pushed frames to committed runs.
//!
//! [`Writer`] is the handle of a recording, [`Producer`] the way in. One thread per volume owns
//! everything that is written; a helper thread does whatever may block. The state machine is in
//! `core`, and takes the time as an argument; this file is its shell.

mod blocks;
mod commit;
mod completion;
mod control;
mod core;
mod event;
mod fault;
mod gate;
mod keeper;
mod link;
mod manual;
mod numbers;
mod options;
mod pack;
mod producer;
mod quota;
mod sending;
mod stage;
mod status;
mod summary;

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

pub use self::completion::Completion;
pub use self::control::{ControlClient, ControlStatus};
pub use self::event::{Event, StreamSpan};
pub use self::manual::{CommittedChunk, ManualWriter};
pub use self::options::{EventSink, RequestSink, WriterOptions};
pub use self::producer::Producer;
pub use self::status::WriterStatus;

use self::completion::{Promise, completion};
use self::control::ControlServer;
use self::core::{Core, Life, Start};
use self::fault::Phase;
use self::gate::Gate;
use self::keeper::keeper;
use self::link::Link;
use self::numbers::Numbers;
use self::producer::{ProducerEnd, producer};
use self::quota::Quota;
use self::status::StatusCells;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::{Nonce, Position};
use crate::base::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::io::buffer::{BufferPool, HUGE_LEN};
use crate::io::direct::Access;
use crate::volume::fetch::Fetcher;
use crate::volume::load::load;
use crate::volume::medium::Medium;
use crate::volume::recover::{Recovered, Unreadable};
use crate::volume::void::Verdict;
use crate::volume::{Volume, config};

/// Buffers of the writer's arena: enough to pack while the device's cap is in flight.
const BUFFER_COUNT: usize = 8;

/// A volume that is being recorded by this process.
///
/// Dropping it closes the recording and ignores what goes wrong then: [`close`](Self::close) tells.
#[derive(Debug)]
#[doc(alias = "ValkkaFSWriterThread")]
pub struct Writer {
    link: Link,
    threads: Option<[JoinHandle<()>; 2]>,
    control: Option<ControlServer>,
    ring_count: usize,
}

#[derive(Debug)]
enum Command {
    Add(ProducerEnd),
    Commit(Promise),
    Close(Promise),
}

impl Writer {
    /// Opens the volume in `dir` for recording: locks it, finds out what counts after the last
    /// life, and starts the writer's threads. Nothing is written until there is a frame to
    /// record.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ErrorKind::NotFound): there is no volume in `dir`.
    /// - [`Busy`](ErrorKind::Busy): it is being recorded already.
    /// - [`Unsupported`](ErrorKind::Unsupported): a later release wrote it, or the kernel or file
    ///   system lacks what is needed.
    /// - [`Damaged`](ErrorKind::Damaged): the file or partition is shorter than the volume. Reading works.
    /// - [`Invalid`](ErrorKind::Invalid): an option is out of range.
    /// - [`Io`](ErrorKind::Io).
    pub fn open(dir: impl AsRef<Path>, options: WriterOptions) -> Result<Self> {
        let dir = dir.as_ref();
        let place = config::place(dir)?;
        let writer =
            Self::open_on(place.medium(), Some(dir), options).map_err(|e| e.at(dir.display()))?;
        let located = writer.volume().located();
        config::check_owner(dir, &place, &located).map_err(|e| e.at(dir.display()))?;
        if let Err(e) = config::refresh(dir, &place, &located) {
            tracing::warn!("{e}; the volume is found without it");
        }
        Ok(writer)
    }

    /// Opens the volume on `medium` for recording; `dir` holds its cache files, if it has any.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_on(
        medium: Arc<dyn Medium>,
        dir: Option<&Path>,
        mut options: WriterOptions,
    ) -> Result<Self> {
        options.check()?;
        let ring_count = options.ring_count;
        let control_dir = dir.filter(|_| options.control).map(Path::to_owned);
        let on_request = options.on_request.take();
        let status = Arc::new(StatusCells::default());
        let (commands, receiver) = mpsc::channel();
        let (reply, opened) = mpsc::sync_channel(1);
        let dir = dir.map(Path::to_owned);
        let cells = status.clone();
        // The device belongs to the thread that uses it first, so that thread opens it.
        let writer = spawn(
            "camring-writer",
            Box::new(move || match start(medium, dir.as_deref(), options) {
                Ok(started) => {
                    let Started { core, gate, keeper } = started;
                    if reply.send(Ok((gate.clone(), keeper))).is_ok() {
                        Shell {
                            core,
                            gate,
                            commands: receiver,
                            waiters: Vec::new(),
                            cells,
                        }
                        .run();
                    }
                }
                Err(e) => drop(reply.send(Err(e))),
            }),
        )?;
        let lost = || Error::new(ErrorKind::Failed, "the writer's thread has ended");
        let opened = opened.recv().map_err(|_| lost()).flatten();
        let (gate, keeper) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                let _ = writer.join();
                return Err(e);
            }
        };
        let helper = spawn("camring-keeper", Box::new(move || keeper.run()))?;
        let link = Link {
            gate,
            commands,
            status,
        };
        let control = control_dir.and_then(|dir| {
            ControlServer::start(&dir, link.clone(), on_request)
                .inspect_err(|e| tracing::warn!("recording without a control socket: {e}"))
                .ok()
        });
        Ok(Self {
            link,
            threads: Some([writer, helper]),
            control,
            ring_count,
        })
    }

    /// The volume, to read what is being recorded.
    pub fn volume(&self) -> &Volume {
        self.link.volume()
    }

    /// A way in for the frames of any number of streams.
    ///
    /// # Errors
    ///
    /// [`Failed`](ErrorKind::Failed) when the recording was closed.
    pub fn producer(&self) -> Result<Producer> {
        let (end, producer) = producer(self.link.gate.clone(), self.ring_count);
        self.link.send(Command::Add(end))?;
        Ok(producer)
    }

    /// Puts everything that was pushed on stable storage and waits for it. Seals nothing.
    ///
    /// # Errors
    ///
    /// [`Failed`](ErrorKind::Failed) when the volume failed meanwhile; what was committed before
    /// is safe.
    #[doc(alias = "updateTable")]
    pub fn commit(&self) -> Result<Position> {
        self.link.commit().wait()
    }

    /// Begins what [`commit`](Self::commit) does, and returns at once; the future is ready when it
    /// is done. It covers what was pushed before this call, whenever the future is polled.
    ///
    /// The future fails as `commit` does.
    pub fn commit_async(&self) -> Completion {
        self.link.commit()
    }

    /// How the recording goes.
    pub fn status(&self) -> WriterStatus {
        self.link.status()
    }

    /// Commits everything, seals the open block, and ends the threads. Producers are refused from
    /// here on.
    ///
    /// # Errors
    ///
    /// [`Failed`](ErrorKind::Failed) when the volume failed before everything was committed.
    pub fn close(mut self) -> Result<Position> {
        self.end()
    }

    fn end(&mut self) -> Result<Position> {
        let Some(threads) = self.threads.take() else {
            return Err(closed());
        };
        // While the volume is still locked: nobody else can have made a socket of that name.
        drop(self.control.take());
        let (promise, closing) = completion();
        self.link.send(Command::Close(promise))?;
        let result = closing.wait();
        for thread in threads {
            if thread.join().is_err() {
                return Err(Error::new(
                    ErrorKind::Failed,
                    "a thread of the writer has panicked",
                ));
            }
        }
        result
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.threads.is_some()
            && let Err(e) = self.end()
        {
            tracing::error!("closing {:?}: {e}", self.link.volume());
        }
    }
}

fn spawn(name: &str, work: Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|e| Error::io("start a thread", e))
}

fn closed() -> Error {
    Error::new(ErrorKind::Failed, "the recording was closed")
}

struct Started {
    core: Core,
    gate: Arc<Gate>,
    keeper: keeper::Keeper,
}

/// Opens the device, recovers, and makes everything that the threads need.
fn start(medium: Arc<dyn Medium>, dir: Option<&Path>, options: WriterOptions) -> Result<Started> {
    let pool = BufferPool::new(BUFFER_COUNT, HUGE_LEN)?;
    let mut device = medium.open(Access::Write, &pool)?;
    let mut fetch = Fetcher::new(device.as_mut());
    // What recovery decides on must not be in a cache only.
    fetch.flush()?;
    let loaded = load(&mut fetch, dir)?;
    let located = loaded.located;
    let (len, needed) = (device.len(), located.geometry.device_len());
    if len < needed {
        let text = format!("{} has {len} bytes, and the volume {needed}", medium.name());
        return Err(Error::damaged(text)
            .with_remedy("It can be read, not recorded: copy what you need, then create it anew"));
    }
    let recovered = loaded.recovered.clone();
    may_begin(&recovered, medium.as_ref())?;
    let mut verdict = recovered.verdict();
    // From here on the writer knows its own end.
    verdict.end = Verdict::default().end;
    let voids = recovered.voids.clone();
    let now = options.clock.now();
    let (volume, mut feed) = Volume::with(medium, dir, loaded, verdict);
    feed.durable.set(recovered.end);
    volume.set_writer(device.waker());
    volume.set_recording(true);
    let (keeper_feed, keeper) = keeper(volume.clone(), options.clock.clone(), options.on_event);
    let volume_quota = Quota::new(options.volume_quota_len);
    let pushed_len = Arc::new(AtomicU64::new(0));
    let start = Start {
        located,
        life: Life {
            nonce: Nonce::random()?,
            number: recovered.life + 1,
            boot_id: boot_id(),
        },
        head: recovered.head,
        end: recovered.end,
        voids,
        void_from: recovered.void_from,
        compat: recovered.compat,
        bad: recovered.bad,
        pins: recovered.pins,
        commit_us: options.commit_us.cast_signed(),
        volume_quota: volume_quota.clone(),
        pushed_len: pushed_len.clone(),
    };
    let gate = Arc::new(Gate {
        waker: device.waker(),
        volume,
        clock: options.clock,
        volume_quota,
        stream_quota_len: options.stream_quota_len,
        is_failed: AtomicBool::new(false),
        pushed_len,
        shed_count: AtomicU64::new(0),
        numbers: std::sync::Mutex::new(Numbers::default()),
    });
    let shared = (gate.volume.clone(), feed);
    let core = Core::new(device, pool, shared, keeper_feed, start, now);
    Ok(Started { core, gate, keeper })
}

/// Whether the next life can begin after what recovery has found.
fn may_begin(recovered: &Recovered, medium: &dyn Medium) -> Result<()> {
    if !recovered.is_writable {
        let text =
            "a later release of camring has written features into this volume that this one lacks";
        return Err(Error::new(ErrorKind::Unsupported, text)
            .with_remedy("It can be read; record it with that release or a newer one"));
    }
    if !recovered.unreadable.is_bearable() {
        let Unreadable { headers, pages } = recovered.unreadable;
        let text = format!(
            "{} cannot be read around its newest block, {}: {headers} of the headers behind it, \
             {pages} of the pages that were written last",
            medium.name(),
            recovered.head
        );
        return Err(Error::new(ErrorKind::Io, text).with_remedy(
            "Nothing was changed. Try again; where it stays so the device is failing: what can be \
             read can still be exported",
        ));
    }
    Ok(())
}

/// The kernel's name for this boot; zeroes where it has none.
fn boot_id() -> [u8; 16] {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| uuid::Uuid::parse_str(text.trim()).ok())
        .map_or([0; 16], uuid::Uuid::into_bytes)
}

/// The thread around the state machine.
struct Shell {
    core: Core,
    gate: Arc<Gate>,
    commands: mpsc::Receiver<Command>,
    waiters: Vec<Waiter>,
    cells: Arc<StatusCells>,
}

/// Somebody who waits for a commit.
struct Waiter {
    promise: Promise,
    goal: Goal,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// The commit that is under way.
    Commit,
    /// The one after it. Somebody who asks again and again must not put off those who asked before.
    NextCommit,
    Close,
}

impl Shell {
    fn run(mut self) {
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.command(command);
            }
            self.begin_next_commit();
            let now = self.gate.clock.now();
            self.core.turn(now);
            self.cells.update(&self.core, now);
            if self.answer() {
                break;
            }
            if let Err(e) = self.sleep() {
                self.core.give_up_volume(&e.to_string());
                self.answer();
                break;
            }
        }
        self.gate.volume.set_recording(false);
        // Acquire loads in producers pair with this: they see that nobody takes frames any more.
        self.gate.is_failed.store(true, Ordering::Release);
    }

    fn command(&mut self, command: Command) {
        match command {
            // Dropped, it refuses its producer.
            Command::Add(_) if self.core.phase == Phase::Failed => {}
            Command::Add(end) => self.core.producers.push(end),
            Command::Commit(promise) => {
                // Who asks again and again, and waits for none, must not fill the memory.
                self.waiters.retain(|waiter| !waiter.promise.is_abandoned());
                let goal = Goal::NextCommit;
                self.waiters.push(Waiter { promise, goal });
            }
            Command::Close(promise) => {
                self.gate.is_failed.store(true, Ordering::Release);
                self.core.producers.iter().for_each(ProducerEnd::refuse);
                self.core.collect();
                self.core.begin_close();
                let goal = Goal::Close;
                self.waiters.push(Waiter { promise, goal });
            }
        }
    }

    /// Whether somebody waits for the next commit, and none is under way.
    fn is_next_commit_due(&self) -> bool {
        let mut waiters = self.waiters.iter();
        !self.core.is_commit_awaited && waiters.any(|waiter| waiter.goal == Goal::NextCommit)
    }

    fn begin_next_commit(&mut self) {
        if !self.is_next_commit_due() {
            return;
        }
        self.core.collect();
        self.core.begin_commit_for_waiter();
        for waiter in &mut self.waiters {
            if waiter.goal == Goal::NextCommit {
                waiter.goal = Goal::Commit;
            }
        }
    }

    /// Answers those whose commit is done; says whether the thread is to end.
    fn answer(&mut self) -> bool {
        let failed = self.core.phase == Phase::Failed;
        let (is_committed, is_closed) = (self.core.waiter_is_served(), self.core.is_closed());
        let position = self.core.durable;
        let served = self
            .waiters
            .extract_if(.., |waiter| {
                let is_done = match waiter.goal {
                    Goal::Commit => is_committed,
                    Goal::NextCommit | Goal::Close => false,
                };
                is_done || is_closed || failed
            })
            .map(|waiter| {
                let result = if failed {
                    Err(volume_failed())
                } else {
                    Ok(position)
                };
                waiter.promise.keep(result);
                waiter.goal == Goal::Close
            });
        served.fold(false, |is_over, is_closing| is_over | is_closing)
    }

    fn sleep(&mut self) -> Result<()> {
        let now = self.gate.clock.now();
        self.core.device.prepare_wait();
        // From here on a command is told to the waker, which ends the wait; one that came before,
        // and after the last look, was not.
        let command = self.commands.try_recv().ok();
        if command.is_some() || self.core.has_work() || self.is_next_commit_due() {
            self.core.device.cancel_wait();
            if let Some(command) = command {
                self.command(command);
            }
            return Ok(());
        }
        let sleep_us = self.core.sleep_us(now);
        self.core.wait(sleep_us)
    }
}

fn volume_failed() -> Error {
    Error::new(
        ErrorKind::Failed,
        "the volume has failed before everything was committed",
    )
    .with_remedy("Its log says why; what was committed before can be read")
}
