//! The only door to atomics, `Arc` and cells that threads share.
//!
//! Under `cfg(camring_loom)` the same names come from loom, so that the models in `tests/loom.rs`
//! run the code that ships. Nothing else in the crate imports them from `std`. Locks that never
//! meet a hot path (the control socket's) are `std`'s own and are not modelled.

#[cfg(not(camring_loom))]
pub use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(camring_loom)]
pub use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};

/// Loom has no `OnceLock`; a mutex has the same meaning, and the same synchronisation.
#[cfg(camring_loom)]
#[derive(Debug)]
pub struct OnceLock<T>(loom::sync::Mutex<Option<&'static T>>);

#[cfg(camring_loom)]
impl<T> OnceLock<T> {
    /// An empty cell.
    #[allow(
        clippy::new_without_default,
        reason = "the twin of std's, for models only"
    )]
    pub fn new() -> Self {
        Self(loom::sync::Mutex::new(None))
    }

    /// The value, once it is set.
    pub fn get(&self) -> Option<&T> {
        *self.0.lock().unwrap()
    }

    /// Sets the value; leaks it, which a model can afford.
    ///
    /// # Errors
    ///
    /// The value, if the cell holds one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut cell = self.0.lock().unwrap();
        if cell.is_some() {
            return Err(value);
        }
        *cell = Some(Box::leak(Box::new(value)));
        Ok(())
    }
}

/// Hints that the thread waits for another one.
pub fn yield_now() {
    #[cfg(not(camring_loom))]
    std::hint::spin_loop();
    #[cfg(camring_loom)]
    loom::thread::yield_now();
}
