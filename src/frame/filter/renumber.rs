//! Other numbers for streams.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::error::{Error, Result};
use crate::frame::{FrameSink, Item, StreamId};

/// Gives streams other numbers, and drops those for which it has none.
///
/// One stands before a recording where the cameras' numbers differ from the volume's, and one
/// behind a player where those of the windows do.
#[derive(Clone, Debug)]
#[doc(alias = "SetSlotFrameFilter")]
#[doc(alias = "setSlotIdCall")]
pub struct Renumber<S> {
    numbers: BTreeMap<StreamId, StreamId>,
    next: S,
}

impl<S> Renumber<S> {
    /// A filter that hands each stream to `next` under a new number; `numbers` are pairs of the
    /// old and the new one.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if an old or a new number is there twice: nobody
    /// could decode two cameras in one stream, and to have a camera twice is a [`Fork`]'s business.
    ///
    /// [`Fork`]: super::Fork
    pub fn new(numbers: impl IntoIterator<Item = (StreamId, StreamId)>, next: S) -> Result<Self> {
        let mut old_to_new = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (old, new) in numbers {
            if !taken.insert(new) {
                return Err(Error::invalid(format!("two streams are to become {new}"))
                    .with_remedy("Give each stream a number of its own"));
            }
            if let Some(other) = old_to_new.insert(old, new) {
                return Err(Error::invalid(format!(
                    "stream {old} is to become both {other} and {new}"
                ))
                .with_remedy("Fork the stream, and renumber each branch"));
            }
        }
        Ok(Self {
            numbers: old_to_new,
            next,
        })
    }

    /// The sink behind, for its own end.
    pub fn into_next(self) -> S {
        self.next
    }
}

impl<S: FrameSink> FrameSink for Renumber<S> {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        match self.numbers.get(&stream) {
            Some(new) => self.next.accept(*new, item),
            None => Ok(()),
        }
    }
}
