//! Many streams of many volumes, played in step: what is recorded, up to what is being recorded.
//!
//! A [`Manager`] has one thread. It gives the pure [`Player`](crate::player::Player) the time, what
//! readers read, and what its owner wants, and does what the player answers. Sinks have threads of
//! their own, each behind a bounded queue, so none can hold up another. What is played when is
//! decided in `player`.

mod engine;
mod event;
mod mailbox;
mod outlet;
mod renewal;
mod source;

use std::fmt;
use std::sync::Mutex;
use std::thread::JoinHandle;

pub use self::event::{Event, EventSink};
pub use crate::player::{Command, Limits, SourceId, Speed, State, StreamKey};

use self::engine::Engine;
use self::mailbox::{Mailbox, Request};
use self::outlet::Outlet;
use crate::base::error::{Error, Result};
use crate::base::sync::{Arc, lock};
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::filter::{ChannelLimits, Receiver, channel};
use crate::frame::{FrameSink, StreamId};
use crate::reader::Sleeper;
use crate::volume::Volume;

/// How a manager plays.
#[derive(Default)]
pub struct ManagerOptions {
    /// What the player keeps to: memory, how far ahead it reads, how often it tells the time.
    pub limits: Limits,
    /// How much may wait for one sink; beyond that the sink loses frames, counted, unless `waits`.
    pub queue: ChannelLimits,
    /// Whether playing waits, for all, while the queue of any sink is full, so that none loses a
    /// frame: for files and pipes. It goes on where it stood, as fast as the sink allows, until it
    /// has caught up. Commands to the player wait, too; slots can be unmapped at any time.
    pub waits: bool,
    /// Told what happens, on the manager's thread, which it must not hold up. Default: nobody.
    pub on_event: Option<EventSink>,
    /// Whether it is told each frame, too, and how late it was: [`Event::Delivered`].
    pub tell_items: bool,
}

impl fmt::Debug for ManagerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerOptions")
            .field("limits", &self.limits)
            .field("queue", &self.queue)
            .field("waits", &self.waits)
            .field("tell_items", &self.tell_items)
            .finish_non_exhaustive()
    }
}

/// Plays any number of streams of any number of volumes on one clock.
///
/// ```no_run
/// # use camring::{Manager, Volume};
/// # use camring::manager::{Command, ManagerOptions, StreamKey};
/// # use camring::frame::StreamId;
/// # fn run(t: camring::base::time::Timestamp) -> camring::Result<()> {
/// let manager = Manager::start(ManagerOptions::default())?;
/// let garage = manager.add_volume(Volume::open("garage")?)?;
/// let key = StreamKey { source: garage, stream: StreamId(7) };
/// let frames = manager.map(&[key], StreamId(1))?;
/// manager.command(Command::Seek(t))?;
/// manager.command(Command::Play)?;
/// for (slot, item) in frames {
///     println!("{slot}: {item:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias("ValkkaFSManager", "FSGroup", "FileCacheThread", "FileCacherThread"))]
pub struct Manager {
    mailbox: Arc<Mailbox>,
    queue: ChannelLimits,
    thread: Option<JoinHandle<()>>,
    sinks: Mutex<Vec<JoinHandle<()>>>,
}

impl Manager {
    /// A manager without volumes, standing.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) when no thread can be started.
    pub fn start(options: ManagerOptions) -> Result<Self> {
        let queue = options.queue;
        let sleeper = Sleeper::new();
        let mailbox = Arc::new(Mailbox::new(sleeper.waker()));
        let own = mailbox.clone();
        let thread = std::thread::Builder::new()
            .name("camring-player".to_owned())
            .spawn(move || Engine::new(options, own, sleeper).run())
            .map_err(|e| Error::io("start a thread", e))?;
        Ok(Self {
            mailbox,
            queue,
            thread: Some(thread),
            sinks: Mutex::new(Vec::new()),
        })
    }

    /// Adds a volume: one that was opened, or that of a [`Writer`](crate::Writer) which records it
    /// in this process. Each gets a number of its own, counted from 0.
    ///
    /// Where another process records it, it is opened anew, at most twice a second, when playing
    /// has come to the end of what was there: what is committed by then is played, too.
    ///
    /// # Errors
    ///
    /// [`Failed`](crate::ErrorKind::Failed) when the manager's thread has ended.
    pub fn add_volume(&self, volume: Volume) -> Result<SourceId> {
        let source = self.mailbox.next_source();
        self.mailbox.send(Request::Add(source, volume))?;
        Ok(source)
    }

    /// Plays the streams of `keys` into a queue, under the number `slot`, from now on. Several keys
    /// are one history: a camera that was recorded in one volume and then in another. Where two
    /// have frames at the same time, the one that came first goes on until it has none for two
    /// seconds.
    ///
    /// A queue that is too slow loses frames, counted, up to the next key frame, and is told so by a
    /// gap, unless the manager [waits](ManagerOptions::waits). Dropping it ends the mapping, as [`unmap`](Self::unmap) does.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) when there are no keys, [`Exists`](crate::ErrorKind::Exists) when
    /// the slot is in use, [`Failed`](crate::ErrorKind::Failed) when the manager's thread has ended.
    pub fn map(&self, keys: &[StreamKey], slot: StreamId) -> Result<Receiver> {
        self.map_together(&[(keys, slot)])
    }

    /// As [`map`](Self::map), for several slots with one queue, in which their items lie in the order
    /// of delivery.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map); slots before the one that is refused are mapped until the queue, which
    /// nobody has, is seen to be gone.
    pub fn map_together(&self, slots: &[(&[StreamKey], StreamId)]) -> Result<Receiver> {
        let (sink, receiver) = channel(self.queue);
        let queue = Arc::new(Mutex::new(sink));
        for (keys, slot) in slots {
            if keys.is_empty() {
                return Err(Error::invalid("a slot needs a stream to play"));
            }
            self.mailbox.take_slot(*slot)?;
            let outlet = Outlet::new(*slot, keys, queue.clone());
            self.mailbox.send(Request::Map(outlet))?;
        }
        Ok(receiver)
    }

    /// As [`map`](Self::map), into a sink that gets a thread of its own. A sink that fails is
    /// dropped, and told of by [`Event::SinkEnded`].
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map), and [`Io`](crate::ErrorKind::Io) when no thread can be started.
    pub fn map_sink(
        &self,
        keys: &[StreamKey],
        slot: StreamId,
        mut sink: impl FrameSink + Send + 'static,
    ) -> Result<()> {
        let receiver = self.map(keys, slot)?;
        let mailbox = self.mailbox.clone();
        let work = move || {
            let mut items = receiver.into_iter();
            let failed = items.find_map(|(slot, item)| sink.accept(slot, item).err());
            // The queue goes before the sink is told of, and before what the sink holds goes.
            drop(items);
            if let Some(error) = failed {
                let message = error.to_string();
                let _ = mailbox.send(Request::SinkEnded { slot, message });
            }
        };
        let thread = std::thread::Builder::new()
            .name("camring-sink".to_owned())
            .spawn(work)
            .map_err(|e| Error::io("start a thread", e))?;
        let mut sinks = lock(&self.sinks);
        sinks.retain(|sink| !sink.is_finished());
        sinks.push(thread);
        Ok(())
    }

    /// Ends what was mapped to `slot`. What is in its queue stays there.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) when the slot is not in use,
    /// [`Failed`](crate::ErrorKind::Failed) when the manager's thread has ended.
    pub fn unmap(&self, slot: StreamId) -> Result<()> {
        self.mailbox.free_slot(slot)?;
        self.mailbox.send(Request::Unmap(slot))
    }

    /// Does what the user wants. Commands take effect in their order, at once.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) for a speed out of range and an empty loop,
    /// [`Failed`](crate::ErrorKind::Failed) when the manager's thread has ended. Nothing was changed.
    pub fn command(&self, command: Command) -> Result<()> {
        command.check()?;
        self.mailbox.send(Request::Command(command))
    }

    /// The current time of the recording; none while it is stopped.
    pub fn time(&self) -> Option<Timestamp> {
        self.mailbox.shown().time
    }

    /// What it does.
    pub fn state(&self) -> State {
        self.mailbox.shown().state
    }

    /// From the first frame of all volumes to the last, as it was known lately.
    pub fn time_range(&self) -> Option<TimeRange> {
        self.mailbox.shown().range
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.mailbox.send(Request::End);
        let sinks = std::mem::take(&mut *lock(&self.sinks));
        for thread in self.thread.take().into_iter().chain(sinks) {
            // A panic there was told by its own message.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Manager")
    }
}
