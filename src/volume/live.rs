//! The runs that were written lately: an append-only list of immutable entries.
//!
//! The writer appends and never waits: it sets the empty `next` of the last entry. Readers hold
//! their own place in the list and go on from there; entries that everyone has left behind are
//! freed. What was sealed and made durable is found in the blocks' indexes instead.

use crate::base::sync::{Arc, OnceLock};
use crate::block::RunHeader;

/// A place in the list: an entry, and all behind it.
#[derive(Clone, Debug)]
pub struct LiveCursor(Arc<Node>);

/// The one handle that appends.
#[derive(Debug)]
pub struct LiveAppender(Arc<Node>);

#[derive(Debug)]
struct Node {
    /// None in the entry that every list begins with.
    run: Option<Arc<RunHeader>>,
    next: OnceLock<Arc<Node>>,
}

/// An empty list.
pub fn live_runs() -> (LiveAppender, LiveCursor) {
    let node = Arc::new(Node {
        run: None,
        next: OnceLock::new(),
    });
    (LiveAppender(node.clone()), LiveCursor(node))
}

impl LiveAppender {
    /// Publishes `run` to everyone who holds a cursor.
    ///
    /// # Panics
    ///
    /// If there were two appenders, which this type does not allow.
    pub fn append(&mut self, run: Arc<RunHeader>) {
        let node = Arc::new(Node {
            run: Some(run),
            next: OnceLock::new(),
        });
        // The cell synchronises: whoever sees the entry sees what was written before. It was
        // empty, because this is the only appender and it stands on the last entry.
        let appended = self.0.next.set(node.clone());
        assert!(appended.is_ok(), "two appenders on one list");
        self.0 = node;
    }
}

impl LiveCursor {
    /// The run at the cursor's place; none at the beginning of a list.
    pub fn run(&self) -> Option<&Arc<RunHeader>> {
        self.0.run.as_ref()
    }

    /// The next place, if something was appended behind this one.
    pub fn next(&self) -> Option<Self> {
        self.0.next.get().map(|next| Self(next.clone()))
    }

    /// All runs behind this place that were appended so far.
    pub fn runs(&self) -> impl Iterator<Item = Arc<RunHeader>> + use<> {
        let mut at = self.clone();
        std::iter::from_fn(move || {
            at = at.next()?;
            at.run().cloned()
        })
    }

    /// Moves past runs for which `is_done` holds, up to the first for which it does not.
    pub fn skip_while(&mut self, is_done: impl Fn(&RunHeader) -> bool) {
        while let Some(next) = self.next() {
            if !next.run().is_some_and(|run| is_done(run)) {
                break;
            }
            *self = next;
        }
    }
}

impl Drop for Node {
    /// Frees a chain that nobody else holds in a loop: thousands of nested drops would overflow
    /// the stack.
    fn drop(&mut self) {
        let mut next = std::mem::take(&mut self.next);
        while let Some(node) = next.into_inner() {
            match Arc::try_unwrap(node) {
                Ok(mut node) => next = std::mem::take(&mut node.next),
                Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::{Nonce, Position, VolumeId};
    use crate::block::BlockId;

    fn run(number: u64) -> Arc<RunHeader> {
        let id = BlockId {
            volume: VolumeId([0; 16]),
            slot: 0,
            sequence: 1,
            nonce: Nonce([0; 16]),
        };
        Arc::new(RunHeader {
            id,
            run: number,
            offset: 4096,
            len: 4096,
            mark: Position::default(),
            utc_offset_us: 0,
            packed_boot_us: 0,
            chunks: Vec::new(),
        })
    }

    #[test]
    fn every_cursor_sees_every_run_in_order() {
        let (mut list, early) = live_runs();
        (1..=3).for_each(|n| list.append(run(n)));
        let mut late = early.clone();
        late.skip_while(|run| run.run < 3);
        list.append(run(4));
        let numbers = |cursor: &LiveCursor| cursor.runs().map(|run| run.run).collect::<Vec<_>>();
        assert_eq!(numbers(&early), [1, 2, 3, 4]);
        assert_eq!(numbers(&late), [3, 4]);
    }

    /// A reader that slept through a night frees a long chain at once.
    #[test]
    fn a_long_chain_is_freed_without_recursion() {
        let (mut list, cursor) = live_runs();
        (0..1_000_000).for_each(|n| list.append(run(n)));
        drop(list);
        drop(cursor);
    }
}
