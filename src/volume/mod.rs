//! A volume: one formatted ring, and everything that is kept in memory of it.
//!
//! The only place where blocks and table meet io. [`Volume`] is what readers share with the
//! writer: rows, streams, timeline, the runs that were written lately, and the watermarks. Writing
//! belongs to `writer`, reading frames to `reader`.

pub mod cachefile;
pub mod config;
pub mod create;
pub mod devices;
pub mod fetch;
pub mod head;
pub mod history;
pub mod index;
pub mod live;
pub mod load;
pub mod locate;
pub mod medium;
pub mod rebuild;
pub mod recover;
pub mod registry;
pub mod tablefile;
pub mod timeline;
pub mod verify;
pub mod void;
pub mod walk;
pub mod watermark;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use self::create::{CreateOptions, CreatePlan, VolumeSize};
pub use self::registry::StreamInfo;
pub use self::timeline::Stretch;
pub use self::verify::{Damage, DamagedPart, VerifyOptions, VerifyReport};

use self::fetch::Fetcher;
use self::live::{LiveAppender, LiveCursor, live_runs};
use self::load::{Loaded, load};
use self::locate::Located;
use self::medium::Medium;
use self::registry::Registry;
use self::timeline::Timeline;
use self::void::Verdict;
use self::watermark::{Watermark, WatermarkWriter};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::{Geometry, Position, VolumeId};
use crate::base::sync::{Arc, AtomicBool, AtomicU64, OnceLock, Ordering, lock};
use crate::base::time::{TimeRange, Timestamp};
use crate::block::RunHeader;
use crate::frame::StreamId;
use crate::io::buffer::{BufferPool, HUGE_LEN};
use crate::io::direct::Access;
use crate::io::wake::Waker;
use crate::table::{BlockTable, TableRow, TableWriter};

/// A volume, open for reading. Clones are the same volume.
///
/// Opened beside a recorder in another process it is a snapshot of what was durable then: open it
/// again to see more. Got from a recorder in this process it follows the recording.
#[derive(Clone)]
#[doc(alias("ValkkaFS", "ValkkaSingleFS", "ValkkaMultiFS"))]
pub struct Volume(Arc<Shared>);

struct Shared {
    dir: Option<PathBuf>,
    medium: Arc<dyn Medium>,
    located: Located,
    table: Arc<BlockTable>,
    durable: Arc<Watermark>,
    completed: Arc<Watermark>,
    /// Where readers begin in the list of live runs. The writer never takes this lock.
    live: Mutex<LiveCursor>,
    /// Changed after commits by the writer's helper thread, never by the writer itself.
    state: Mutex<State>,
    /// Whom to wake when there is more to read.
    readers: Mutex<Vec<(u64, Waker)>>,
    /// How many readers follow what is written, without waiting for the commit.
    watcher_count: AtomicU64,
    /// Wakes the writer of this process; set before anything can be recorded.
    writer: OnceLock<Waker>,
    is_recording: AtomicBool,
    is_damaged: bool,
    lost: Vec<TableRow>,
    missing_len: u64,
}

/// Somebody follows what is written: see [`Volume::watch`].
#[derive(Debug)]
pub(crate) struct Watching<'v>(&'v Volume);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.0.watcher_count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What changes from commit to commit, and is asked for now and then.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The streams.
    pub registry: Registry,
    /// Their timelines.
    pub timeline: Timeline,
    /// What counts.
    pub verdict: Verdict,
}

/// The handles with which a writer changes what a [`Volume`] shows.
#[derive(Debug)]
pub(crate) struct VolumeFeed {
    /// The rows.
    pub table: TableWriter,
    /// The durable watermark.
    pub durable: WatermarkWriter,
    /// The last run whose write has completed.
    pub completed: WatermarkWriter,
    /// The runs that were written lately.
    pub live: LiveAppender,
}

impl Volume {
    /// Creates a volume in `dir` and opens it. `progress` is told the bytes written and the bytes
    /// in all.
    ///
    /// # Errors
    ///
    /// As [`create::create`].
    #[doc(alias = "newFromDirectory")]
    pub fn create(
        dir: impl AsRef<Path>,
        options: &CreateOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self> {
        create::create(dir.as_ref(), options, progress)?;
        Self::open(dir)
    }

    /// As [`create`](Self::create), until `progress` breaks: then there is no volume, and what was
    /// in `dir` before is still there unless it had to make room for the new one.
    ///
    /// # Errors
    ///
    /// As [`create::create`].
    pub fn create_until(
        dir: impl AsRef<Path>,
        options: &CreateOptions,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<Self>> {
        let made = create::create_until(dir.as_ref(), options, progress)?;
        made.map(|_| Self::open(dir)).transpose()
    }

    /// What [`create`](Self::create) would do in `dir`, without changing anything. Whether the file
    /// system takes direct I/O and the system has `io_uring` is not tried.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn plan_creation(dir: impl AsRef<Path>, options: &CreateOptions) -> Result<CreatePlan> {
        create::plan(dir.as_ref(), options)
    }

    /// Opens the volume in `dir` for reading. Needs no write access and changes nothing; works
    /// while another process records.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when there is no volume,
    /// [`Unsupported`](ErrorKind::Unsupported) when a later release wrote it or the file system
    /// refuses direct I/O, [`Io`](ErrorKind::Io).
    #[doc(alias = "loadFromDirectory")]
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let place = config::place(dir)?;
        let volume = Self::open_on(place.medium(), Some(dir)).map_err(|e| e.at(dir.display()))?;
        config::check_owner(dir, &place, &volume.located()).map_err(|e| e.at(dir.display()))?;
        Ok(volume)
    }

    /// Opens the volume on `medium` for reading; `dir` holds its cache files, if it has any.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_on(medium: Arc<dyn Medium>, dir: Option<&Path>) -> Result<Self> {
        let pool = BufferPool::new(1, HUGE_LEN)?;
        let mut device = medium.open(Access::Read, &pool)?;
        let mut fetch = Fetcher::new(device.as_mut());
        let is_being_written = medium.is_being_written()?;
        if !is_being_written {
            // What is decided must not be in a cache only: after a power cut it could be gone.
            fetch.flush()?;
        }
        let loaded = load(&mut fetch, dir)?;
        if is_being_written {
            // The newest commit is not on record yet: a run tells of those before it. What was found
            // whole is durable once a flush that began after it was found has returned.
            fetch.flush()?;
        }
        let verdict = loaded.recovered.verdict();
        let end = loaded.recovered.end;
        let (volume, mut feed) = Self::with(medium, dir, loaded, verdict);
        feed.durable.set(end);
        Ok(volume)
    }

    /// The volume that `loaded` describes, and the handles that change it.
    pub(crate) fn with(
        medium: Arc<dyn Medium>,
        dir: Option<&Path>,
        loaded: Loaded,
        verdict: Verdict,
    ) -> (Self, VolumeFeed) {
        let durable = WatermarkWriter::new(loaded.recovered.mark);
        let completed = WatermarkWriter::new(loaded.recovered.end);
        let (appender, cursor) = live_runs();
        let Loaded {
            located,
            recovered,
            table,
            registry,
            timeline,
            lost,
            missing_len,
            is_damaged,
            ..
        } = loaded;
        let shared = Shared {
            dir: dir.map(Path::to_owned),
            medium,
            located,
            table: table.table().clone(),
            durable: durable.mark().clone(),
            completed: completed.mark().clone(),
            live: Mutex::new(cursor),
            state: Mutex::new(State {
                registry,
                timeline,
                verdict,
            }),
            readers: Mutex::new(Vec::new()),
            watcher_count: AtomicU64::new(0),
            writer: OnceLock::new(),
            is_recording: AtomicBool::new(false),
            is_damaged: is_damaged || recovered.is_damaged || !lost.is_empty() || missing_len > 0,
            lost,
            missing_len,
        };
        let feed = VolumeFeed {
            table,
            durable,
            completed,
            live: appender,
        };
        (Self(Arc::new(shared)), feed)
    }

    /// Its identity.
    pub fn id(&self) -> VolumeId {
        self.0.located.volume
    }

    /// Its measures.
    pub fn geometry(&self) -> Geometry {
        self.0.located.geometry
    }

    /// Its identity and measures.
    pub fn located(&self) -> Located {
        self.0.located
    }

    /// The directory that it was opened from.
    pub fn dir(&self) -> Option<&Path> {
        self.0.dir.as_deref()
    }

    /// What holds its bytes.
    pub fn medium(&self) -> &Arc<dyn Medium> {
        &self.0.medium
    }

    /// Its rows.
    pub fn table(&self) -> &Arc<BlockTable> {
        &self.0.table
    }

    /// Whether committed data was found damaged or missing when it was opened:
    /// [`verify`](Self::verify) says what.
    pub fn is_damaged(&self) -> bool {
        self.0.is_damaged
    }

    /// The blocks that were found lost when it was opened: the cache file `blocktable` knows them,
    /// and nothing is left of them that counts.
    pub fn lost_blocks(&self) -> &[TableRow] {
        &self.0.lost
    }

    /// How many bytes of it lay behind the end of its data when it was opened: more than 0 where
    /// the file was cut short.
    pub fn missing_len(&self) -> u64 {
        self.0.missing_len
    }

    /// Everything up to here is on stable storage.
    pub fn durable(&self) -> Position {
        self.0.durable.get()
    }

    /// Everything up to here counts and can be read: what is on stable storage, and, where nobody
    /// records, whatever the last life has left.
    pub fn readable(&self) -> Position {
        if self.is_recording() {
            return self.durable();
        }
        self.durable()
            .max(self.completed())
            .min(lock(&self.0.state).verdict.end)
    }

    /// Whether this process records it.
    pub fn is_recording(&self) -> bool {
        // Acquire: pairs with the Release store in `set_recording`.
        self.0.is_recording.load(Ordering::Acquire)
    }

    /// The recording in this process has begun, or ended; wakes those who wait for more.
    pub(crate) fn set_recording(&self, is_recording: bool) {
        self.0.is_recording.store(is_recording, Ordering::Release);
        self.wake_readers();
    }

    /// Everything up to here is written, if not on stable storage yet.
    pub fn completed(&self) -> Position {
        self.0.completed.get()
    }

    /// The runs that were written lately, oldest first.
    pub fn live(&self) -> LiveCursor {
        lock(&self.0.live).clone()
    }

    /// Wakes those who wait for more to read.
    pub(crate) fn wake_readers(&self) {
        lock(&self.0.readers)
            .iter()
            .for_each(|(_, waker)| waker.wake());
    }

    /// Wakes `waker` whenever there may be more to read, until
    /// [`forget_waker`](Self::forget_waker) is called with the number that this returns.
    pub(crate) fn wake_on_change(&self, waker: Waker) -> u64 {
        let mut readers = lock(&self.0.readers);
        let number = readers.last().map_or(0, |(number, _)| number + 1);
        readers.push((number, waker));
        number
    }

    /// The reader with this number waits no more.
    pub(crate) fn forget_waker(&self, number: u64) {
        lock(&self.0.readers).retain(|(other, _)| *other != number);
    }

    /// Somebody follows what is written, without waiting for the commit, until the guard is dropped:
    /// the writer of this process writes more often meanwhile.
    pub(crate) fn watch(&self) -> Watching<'_> {
        self.0.watcher_count.fetch_add(1, Ordering::Relaxed);
        // It may sleep for as long as nobody watches.
        self.0.writer.get().into_iter().for_each(Waker::wake);
        Watching(self)
    }

    /// Whether somebody [watches](Self::watch).
    pub(crate) fn is_watched(&self) -> bool {
        self.0.watcher_count.load(Ordering::Relaxed) > 0
    }

    /// Whom [`watch`](Self::watch) wakes.
    pub(crate) fn set_writer(&self, writer: Waker) {
        // A volume has one writer in its lifetime.
        let _ = self.0.writer.set(writer);
    }

    /// Forgets live runs of blocks that are found by their index now.
    pub(crate) fn trim_live(&self, sealed_before: u64) {
        lock(&self.0.live).skip_while(|run| run.id.sequence < sealed_before);
    }

    /// What counts.
    pub fn verdict(&self) -> Verdict {
        lock(&self.0.state).verdict.clone()
    }

    /// Looks at, or changes, what changes from commit to commit. `look` runs under a lock: it must
    /// not come back to the volume.
    pub(crate) fn with_state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut lock(&self.0.state))
    }

    /// The streams that were ever set up and are not forgotten, by number.
    pub fn streams(&self) -> Vec<StreamInfo> {
        lock(&self.0.state).registry.iter().cloned().collect()
    }

    /// One stream.
    pub fn stream(&self, id: StreamId) -> Option<StreamInfo> {
        lock(&self.0.state).registry.get(id).cloned()
    }

    /// The stream that `text` means: its number, or its name.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when no stream has the number or name, or several have
    /// the name.
    pub fn find_stream(&self, text: &str) -> Result<StreamInfo> {
        let state = lock(&self.0.state);
        let by_number = text
            .parse()
            .ok()
            .and_then(|id| state.registry.get(StreamId(id)));
        if let Some(stream) = by_number {
            return Ok(stream.clone());
        }
        let named: Vec<_> = state.registry.by_name(text).collect();
        let (what, remedy) = match named[..] {
            [stream] => return Ok(stream.clone()),
            [] => (
                format!("no stream is called {text}"),
                "The list of streams has their numbers and names",
            ),
            [first, second, ..] => (
                format!(
                    "{} streams are called {text}, such as {} and {}",
                    named.len(),
                    first.id,
                    second.id
                ),
                "Give the number of one",
            ),
        };
        Err(Error::new(ErrorKind::NotFound, what).with_remedy(remedy))
    }

    /// The presentation times of all frames that are recorded; none where there are none. A setup
    /// or a gap has a time as well, which may be far from those of the frames, and does not count.
    #[doc(alias = "getTimeRange")]
    pub fn time_range(&self) -> Option<TimeRange> {
        // In this order: what the list of live runs loses is in the timeline before.
        let live = self.live_time_range();
        let told = lock(&self.0.state).timeline.time_range_of_all();
        let frames = live.into_iter().chain(told);
        let frames = frames.reduce(|all, range| all.union(&range))?;
        // The timeline may still have what the ring has overwritten; the rows count records, too.
        let rows = self.0.table.time_range()?;
        let (start, end) = (frames.start.max(rows.start), frames.end.min(rows.end));
        (start <= end).then_some(TimeRange { start, end })
    }

    /// The times of frames that are durable, and which the helper may not have noted yet.
    fn live_time_range(&self) -> Option<TimeRange> {
        let durable = self.durable();
        let runs = self.live().runs();
        let durable = runs.filter(|run| run.position() <= durable);
        let range_of = |run: Arc<RunHeader>| {
            let chunks = run.chunks.iter().map(|entry| entry.chunk);
            let framed = chunks.filter(|chunk| chunk.has_frames);
            { framed.map(|chunk| chunk.times) }.reduce(|all, range| all.union(&range))
        };
        durable
            .filter_map(range_of)
            .reduce(|all, range| all.union(&range))
    }

    /// The presentation times of one stream.
    pub fn stream_time_range(&self, stream: StreamId) -> Option<TimeRange> {
        lock(&self.0.state).timeline.time_range(stream)
    }

    /// When `stream` was recorded within `range`, and why not; in order of time.
    pub fn timeline(&self, stream: StreamId, range: TimeRange) -> Vec<Stretch> {
        if range.is_empty() {
            return Vec::new();
        }
        lock(&self.0.state).timeline.stretches(stream, range)
    }

    /// The blocks with some frame in `range`, oldest first.
    #[doc(alias = "getInd")]
    pub fn blocks_in(&self, range: TimeRange) -> Vec<TableRow> {
        self.0.table.blocks_in(range)
    }

    /// The block around `time` with `radius` neighbours on each side, oldest first.
    #[doc(alias = "getIndNeigh")]
    pub fn blocks_near(&self, time: Timestamp, radius: usize) -> Vec<TableRow> {
        self.0.table.blocks_near(time, radius)
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "volume {} on {}", self.id(), self.0.medium.name())
    }
}
