//! A sink that notes what comes, and when, by its own clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use camring::base::time::Timestamp;
use camring::frame::{FrameSink, Item, StreamId};

use crate::lives::boot_us;
use crate::traffic::Pushed;

/// A frame that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) time: Timestamp,
    hash: u32,
    pub(crate) arrived_us: i64,
    /// It was to be decoded only.
    pub(crate) is_preroll: bool,
}

/// What came of each stream, in order.
pub(crate) type Arrivals = BTreeMap<StreamId, Vec<Arrival>>;

/// Notes the frames of one stream, and shows them when it is dropped.
pub(crate) struct Viewer {
    stream: StreamId,
    arrivals: Vec<Arrival>,
    all: Arc<Mutex<Arrivals>>,
}

impl Viewer {
    /// For `stream`; what came goes to `all` in the end.
    pub(crate) fn new(stream: StreamId, all: &Arc<Mutex<Arrivals>>) -> Self {
        Self {
            stream,
            arrivals: Vec::new(),
            all: all.clone(),
        }
    }
}

impl FrameSink for Viewer {
    fn accept(&mut self, stream: StreamId, item: Item) -> camring::Result<()> {
        let arrived_us = boot_us();
        assert_eq!(stream, self.stream);
        let is_preroll = matches!(item, Item::Preroll(_));
        if let Item::Frame(frame) | Item::Preroll(frame) = item {
            self.arrivals.push(Arrival {
                time: frame.time,
                hash: crc32c::crc32c(&frame.payload),
                arrived_us,
                is_preroll,
            });
        }
        Ok(())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let arrivals = std::mem::take(&mut self.arrivals);
        self.all.lock().unwrap().insert(self.stream, arrivals);
    }
}

/// Where a stream has to begin: at its newest key frame at or before `start`, or the first one
/// behind.
pub(crate) fn first_due(pushed: &[Pushed], start: Timestamp) -> usize {
    let keys = || (0..pushed.len()).filter(|at| pushed[*at].key);
    let before = keys().take_while(|at| pushed[*at].time <= start).last();
    before.or_else(|| keys().next()).unwrap_or(pushed.len())
}

/// How many frames of a stream are missing, too many, changed or out of order in what came. `due`
/// is what was pushed from where it has to begin; the first `due_count` have to be there.
pub(crate) fn fault_count(due: &[Pushed], due_count: usize, came: &[Arrival]) -> usize {
    let mut expected = due.iter();
    let wrong = came.iter().filter(|arrival| {
        let frame = expected.next();
        frame.is_none_or(|frame| (frame.time, frame.hash) != (arrival.time, arrival.hash))
    });
    wrong.count() + due_count.saturating_sub(came.len())
}

/// Whether a frame is due by the clock, and not on the way to `start`, which goes in a burst.
pub(crate) fn is_shown(arrival: &Arrival, start: Timestamp) -> bool {
    !arrival.is_preroll && arrival.time > start
}

/// By how much streams are apart, in microseconds: whenever a frame comes, how far its distance
/// from its time is from that of each other stream, going by the newest frame of that one; streams
/// without a frame in the last second have a gap and do not count. Playing began at `start`.
pub(crate) fn skews_us(came: &Arrivals, start: Timestamp) -> Vec<i64> {
    let shown = came.iter().flat_map(|(stream, arrivals)| {
        let shown = arrivals.iter().filter(move |a| is_shown(a, start));
        shown.map(|a| (a.arrived_us, *stream, a.arrived_us - a.time.0))
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort_unstable();
    let mut newest: BTreeMap<StreamId, (i64, i64)> = BTreeMap::new();
    let mut skews = Vec::new();
    for (now_us, stream, distance_us) in shown {
        let others = newest
            .iter()
            .filter(|(other, (at_us, _))| **other != stream && now_us - at_us <= 1_000_000);
        skews.extend(others.map(|(_, (_, other_us))| (distance_us - other_us).abs()));
        newest.insert(stream, (now_us, distance_us));
    }
    skews
}
