//! Filters: sinks that stand between what makes items and what takes them.
//!
//! A filter owns the sink behind it, so a chain is one value: `Select::new(streams, next)`. Setups,
//! gaps, frames and [`Preroll`](super::Item::Preroll) frames go through in their order, and what
//! the sink behind answers is answered, unless a filter says otherwise. A [`Fork`] leads to several
//! sinks, a [`channel()`] to another thread. Files and other programs are `export`'s business.

pub mod channel;
pub mod count;
mod entry;
pub mod fork;
pub mod inspect;
pub mod join;
pub mod renumber;
pub mod repeat;
pub mod select;

pub use self::channel::{ChannelLimits, ChannelSink, Receiver, channel};
pub use self::count::{Count, Counts, StreamCounts};
pub(crate) use self::entry::Entry;
pub use self::fork::{Branch, BranchStatus, Fork};
pub use self::inspect::Inspect;
pub use self::join::Join;
pub use self::renumber::Renumber;
pub use self::repeat::RepeatSetups;
pub use self::select::Select;
use super::{FrameSink, Item, StreamId};
use crate::base::error::Result;

/// Takes everything and keeps nothing: the end of a chain that only counts or inspects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl FrameSink for Discard {
    fn accept(&mut self, _: StreamId, _: Item) -> Result<()> {
        Ok(())
    }
}
