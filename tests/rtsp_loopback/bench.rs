//! A test bench: a recorder, and a sink that remembers everything.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use camring::base::time::SystemClock;
use camring::frame::{Frame, FrameSink, Item, StreamId};
use camring::ingest::rtsp::{Options, Recorder};
use tokio::runtime::{Builder, Runtime};

/// The longest that a test waits for something that will surely happen.
pub(crate) const LONG: Duration = Duration::from_secs(40);

/// Remembers all items, and when they came.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<(Mutex<Vec<Taken>>, Condvar)>);

#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) stream: StreamId,
    pub(crate) item: Item,
    pub(crate) at: Instant,
}

impl FrameSink for Collector {
    fn accept(&mut self, stream: StreamId, item: Item) -> camring::Result<()> {
        let at = Instant::now();
        self.0.0.lock().unwrap().push(Taken { stream, item, at });
        self.0.1.notify_all();
        Ok(())
    }
}

impl Collector {
    /// Waits until `enough` says so of all items so far; fails after a long time.
    pub(crate) fn wait(&self, what: &str, enough: impl Fn(&[Taken]) -> bool) -> Vec<Taken> {
        let items = self.0.0.lock().unwrap();
        let (items, timeout) = self
            .0
            .1
            .wait_timeout_while(items, LONG, |items| !enough(items))
            .unwrap();
        assert!(!timeout.timed_out(), "waited in vain for {what}");
        items.clone()
    }

    pub(crate) fn items(&self, stream: u64) -> Vec<Item> {
        let items = self.0.0.lock().unwrap();
        let of_stream = items.iter().filter(|taken| taken.stream.0 == stream);
        of_stream.map(|taken| taken.item.clone()).collect()
    }

    pub(crate) fn frames(&self, stream: u64, track: u8) -> Vec<Frame> {
        let frames = self
            .items(stream)
            .into_iter()
            .filter_map(|item| match item {
                Item::Frame(frame) if frame.track == track => Some(frame),
                _ => None,
            });
        frames.collect()
    }
}

/// How many frames of `track` there are among the items of `stream`.
pub(crate) fn frame_count(items: &[Taken], stream: u64, track: u8) -> usize {
    let is_one = |taken: &&Taken| {
        taken.stream.0 == stream && matches!(&taken.item, Item::Frame(f) if f.track == track)
    };
    items.iter().filter(is_one).count()
}

/// A runtime of one thread, as ingest uses it.
pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

pub(crate) fn recorder(runtime: &Runtime, options: Options) -> (Recorder, Collector) {
    let collector = Collector::default();
    let clock = Arc::new(SystemClock);
    let recorder = Recorder::new(runtime.handle().clone(), options, clock, collector.clone());
    (recorder, collector)
}

/// Options with which a test need not wait long.
pub(crate) fn impatient() -> Options {
    Options {
        connect_timeout: Duration::from_secs(3),
        read_timeout: Duration::from_secs(1),
        retry_min: Duration::from_millis(50),
        retry_max: Duration::from_millis(200),
        ..Options::default()
    }
}
