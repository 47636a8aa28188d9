//! What a manager's owner and its thread tell each other.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Mutex;

use super::outlet::Outlet;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::lock;
use crate::base::time::{TimeRange, Timestamp};
use crate::frame::StreamId;
use crate::player::{Command, SourceId, State};
use crate::reader::Waker;
use crate::volume::Volume;

/// The most requests that may wait for the manager's thread.
const REQUEST_COUNT: usize = 65_536;

/// What the manager's thread is to do.
pub(super) enum Request {
    Add(SourceId, Volume),
    Map(Outlet),
    Unmap(StreamId),
    Command(Command),
    SinkEnded { slot: StreamId, message: String },
    End,
}

/// What the manager's thread shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    pub(super) time: Option<Timestamp>,
    pub(super) state: State,
    pub(super) range: Option<TimeRange>,
}

/// Requests in their order, and the answer to those who only look.
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    waker: Waker,
}

#[derive(Default)]
struct Inner {
    requests: VecDeque<Request>,
    source_count: u32,
    slots: BTreeSet<StreamId>,
    is_over: bool,
    shown: Shown,
}

impl Mailbox {
    /// A mailbox whose thread is woken by `waker`.
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            inner: Mutex::default(),
            waker,
        }
    }

    /// Puts a request behind those that wait.
    ///
    /// # Errors
    ///
    /// [`Failed`](ErrorKind::Failed) when the thread has ended, [`Full`](ErrorKind::Full) when it
    /// does not keep up.
    pub(super) fn send(&self, request: Request) -> Result<()> {
        let mut inner = lock(&self.inner);
        if inner.is_over {
            let text = "the manager's thread has ended";
            return Err(Error::new(ErrorKind::Failed, text));
        }
        if inner.requests.len() >= REQUEST_COUNT {
            let text = "65,536 requests wait for the manager";
            return Err(Error::new(ErrorKind::Full, text));
        }
        inner.requests.push_back(request);
        drop(inner);
        self.waker.wake();
        Ok(())
    }

    pub(super) fn next(&self) -> Option<Request> {
        lock(&self.inner).requests.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.inner).requests.is_empty()
    }

    /// The thread ends: whatever is sent from now on is refused.
    pub(super) fn end(&self) {
        let mut inner = lock(&self.inner);
        inner.is_over = true;
        inner.requests.clear();
    }

    pub(super) fn next_source(&self) -> SourceId {
        let mut inner = lock(&self.inner);
        let source = SourceId(inner.source_count);
        inner.source_count = inner.source_count.saturating_add(1);
        source
    }

    /// Marks `slot` as in use.
    ///
    /// # Errors
    ///
    /// [`Exists`](ErrorKind::Exists) when it is already.
    pub(super) fn take_slot(&self, slot: StreamId) -> Result<()> {
        if lock(&self.inner).slots.insert(slot) {
            return Ok(());
        }
        let text = format!("slot {slot} is in use");
        Err(Error::new(ErrorKind::Exists, text).with_remedy("Unmap it, or take another number"))
    }

    /// Marks `slot` as free again.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when it is.
    pub(super) fn free_slot(&self, slot: StreamId) -> Result<()> {
        if lock(&self.inner).slots.remove(&slot) {
            return Ok(());
        }
        let text = format!("nothing is mapped to slot {slot}");
        Err(Error::new(ErrorKind::NotFound, text))
    }

    pub(super) fn shown(&self) -> Shown {
        lock(&self.inner).shown
    }

    pub(super) fn show(&self, shown: Shown) {
        lock(&self.inner).shown = shown;
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}
