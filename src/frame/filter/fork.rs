//! One source, many sinks.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Mutex;

use super::Entry;
use crate::base::error::{Error, Result};
use crate::base::sync::{Arc, lock};
use crate::frame::{FrameSink, Item, StreamId, StreamSetup};

/// Hands each item to any number of branches, which are connected and disconnected from any thread
/// while items flow. Clones are the same fork.
///
/// * **Joining.** A branch first gets the setups in force of all streams. It begins a stream with
///   video at a key frame, without the [`leading`](crate::frame::Frame::leading) pictures behind
///   it, and one without video at once. All that it gets comes from the thread that feeds the fork,
///   and begins with the next item.
/// * **Failing.** A branch that refuses an item has lost that item, and its
///   [`status`](Branch::status) says so; the others do not notice. It is offered the next items as
///   before.
/// * **Being slow.** All branches run in the thread that feeds the fork. One that may wait belongs
///   behind a [`channel()`](super::channel()), which loses frames instead.
/// * **Memory.** The setup of each stream, and for each branch an entry per stream.
#[derive(Clone, Debug, Default)]
#[doc(alias = "ForkFrameFilterN")]
pub struct Fork(Arc<Mutex<State>>);

/// A branch that is connected to a [`Fork`]. Dropped, it stays connected for as long as the fork
/// lives.
#[derive(Debug)]
pub struct Branch<S> {
    fork: Fork,
    outlet: Arc<Outlet<S>>,
}

/// How a branch does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchStatus {
    /// How many frames it took.
    pub taken_count: u64,
    /// How many frames it was offered and refused.
    pub lost_count: u64,
    /// What it said when it refused an item last.
    pub last_error: Option<String>,
}

#[derive(Default)]
struct State {
    setups: BTreeMap<StreamId, Arc<StreamSetup>>,
    /// Replaced, never changed, so that nobody holds the lock while branches work.
    outlets: Arc<Vec<Arc<dyn Offer>>>,
}

/// A branch as the fork sees it.
trait Offer: Send + Sync {
    fn offer(&self, stream: StreamId, item: &Item);
}

struct Outlet<S>(Mutex<Inner<S>>);

struct Inner<S> {
    /// None once it is disconnected.
    sink: Option<S>,
    /// The setups that were in force when it was connected, until they are handed over.
    setups: BTreeMap<StreamId, Arc<StreamSetup>>,
    entries: HashMap<StreamId, Entry>,
    status: BranchStatus,
}

impl Fork {
    /// A fork without branches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects a branch. It never waits for other branches.
    pub fn connect<S: FrameSink + Send + 'static>(&self, sink: S) -> Branch<S> {
        let mut state = lock(&self.0);
        let outlet = Arc::new(Outlet(Mutex::new(Inner {
            sink: Some(sink),
            setups: state.setups.clone(),
            entries: HashMap::new(),
            status: BranchStatus::default(),
        })));
        let mut outlets = state.outlets.to_vec();
        outlets.push(Arc::<Outlet<S>>::clone(&outlet));
        state.outlets = Arc::new(outlets);
        Branch {
            fork: self.clone(),
            outlet,
        }
    }

    /// How many branches are connected.
    pub fn branch_count(&self) -> usize {
        lock(&self.0).outlets.len()
    }
}

impl FrameSink for Fork {
    /// Hands `item` to all branches, in the order in which they were connected.
    ///
    /// # Errors
    ///
    /// None: what a branch refuses is in its [`status`](Branch::status).
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        let outlets = {
            let mut state = lock(&self.0);
            // In one step with the list, so that a branch gets each setup exactly once.
            if let Item::Setup(setup) = &item {
                state.setups.insert(stream, Arc::clone(setup));
            }
            Arc::clone(&state.outlets)
        };
        for outlet in outlets.iter() {
            outlet.offer(stream, &item);
        }
        Ok(())
    }
}

impl<S: FrameSink + Send + 'static> Branch<S> {
    /// How the branch does.
    pub fn status(&self) -> BranchStatus {
        lock(&self.outlet.0).status.clone()
    }

    /// Disconnects the branch and returns its sink. Waits for the item that the sink is taking, so
    /// the sink itself must not call it.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "nothing else takes the sink out, and this cannot be called twice"
    )]
    pub fn disconnect(self) -> S {
        let this: Arc<dyn Offer> = Arc::<Outlet<S>>::clone(&self.outlet);
        let mut state = lock(&self.fork.0);
        let mut outlets = state.outlets.to_vec();
        outlets.retain(|outlet| !Arc::ptr_eq(outlet, &this));
        state.outlets = Arc::new(outlets);
        drop(state);
        let sink = lock(&self.outlet.0).sink.take();
        sink.expect("a branch has its sink until it is disconnected")
    }
}

impl<S: FrameSink + Send> Offer for Outlet<S> {
    fn offer(&self, stream: StreamId, item: &Item) {
        let mut inner = lock(&self.0);
        for (stream, setup) in std::mem::take(&mut inner.setups) {
            inner.hand_over(stream, &Item::Setup(setup));
        }
        inner.hand_over(stream, item);
    }
}

impl<S: FrameSink> Inner<S> {
    fn hand_over(&mut self, stream: StreamId, item: &Item) {
        let Some(sink) = &mut self.sink else {
            return;
        };
        let entry = self.entries.entry(stream).or_insert_with(Entry::outside);
        let is_frame = match item {
            Item::Setup(setup) => {
                entry.follow(setup.video_track());
                false
            }
            Item::Frame(frame) | Item::Preroll(frame) => {
                if !entry.admits(frame) {
                    return;
                }
                true
            }
            Item::Gap(_) => false,
        };
        let outcome = sink.accept(stream, item.clone());
        self.status.note(is_frame, outcome.err());
    }
}

impl BranchStatus {
    fn note(&mut self, is_frame: bool, error: Option<Error>) {
        let count = match &error {
            None => &mut self.taken_count,
            Some(_) => &mut self.lost_count,
        };
        *count += u64::from(is_frame);
        if let Some(error) = error {
            self.last_error = Some(error.to_string());
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("stream_count", &self.setups.len())
            .field("branch_count", &self.outlets.len())
            .finish()
    }
}

impl<S> fmt::Debug for Outlet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}
