//! The only door to atomics, `Arc`, cells that threads share, and parking.
//!
//! Under `cfg(camring_loom)` the same names come from loom, so that the models in `tests/loom.rs`
//! run the code that ships. Nothing else in the crate imports them from `std`. Locks that never
//! meet a hot path (the control socket's) are `std`'s own and are not modelled; a lock that is part
//! of a lock-free protocol is a `ModelledMutex`.

// Loom's own `Arc` lacks half of what std's can do, and its counting is not ours to model.
pub use std::sync::{Arc, Weak};

#[cfg(not(camring_loom))]
pub use crossbeam_utils::sync::{Parker, Unparker};
#[cfg(not(camring_loom))]
pub use std::sync::{
    Mutex as ModelledMutex, OnceLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(camring_loom)]
pub use self::models::{OnceLock, Parker, Unparker};
#[cfg(camring_loom)]
pub use loom::sync::Mutex as ModelledMutex;
#[cfg(camring_loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// Takes a lock that no hot path meets. A thread that panicked while it held it left whole values
/// behind: each change in this crate is one assignment, or one call that does not panic.
pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Hints that the thread waits for another one.
pub fn yield_now() {
    #[cfg(not(camring_loom))]
    std::hint::spin_loop();
    #[cfg(camring_loom)]
    loom::thread::yield_now();
}

/// What loom lacks, made of what it has.
#[cfg(camring_loom)]
mod models {
    use std::time::Duration;

    use loom::sync::Notify;

    use super::{Arc, AtomicBool, Ordering};

    /// `OnceLock` is std's, behind a flag that loom knows, with the orderings that std promises.
    #[derive(Debug)]
    pub struct OnceLock<T> {
        is_set: AtomicBool,
        value: std::sync::OnceLock<T>,
    }

    impl<T> OnceLock<T> {
        /// An empty cell.
        pub fn new() -> Self {
            Self {
                is_set: AtomicBool::new(false),
                value: std::sync::OnceLock::new(),
            }
        }

        /// The value, once it is set.
        pub fn get(&self) -> Option<&T> {
            self.is_set
                .load(Ordering::Acquire)
                .then(|| self.value.get())?
        }

        /// Sets the value.
        ///
        /// # Errors
        ///
        /// The value, if the cell holds one already.
        pub fn set(&self, value: T) -> Result<(), T> {
            self.value.set(value)?;
            self.is_set.store(true, Ordering::Release);
            Ok(())
        }

        /// The value, if there is one.
        pub fn into_inner(self) -> Option<T> {
            self.value.into_inner()
        }
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> Self {
            Self::new()
        }
    }

    /// Parks a thread, like crossbeam's: remembers one signal.
    #[derive(Debug)]
    pub struct Parker(Unparker);

    /// The other end of a [`Parker`].
    #[derive(Clone, Debug)]
    pub struct Unparker(Arc<Notify>);

    impl Parker {
        /// Nothing was signalled yet.
        #[allow(clippy::new_without_default, reason = "crossbeam's is made like this")]
        pub fn new() -> Self {
            Self(Unparker(Arc::new(Notify::new())))
        }

        /// Waits for a signal, or takes the one that is there.
        pub fn park(&self) {
            self.0.0.wait();
        }

        /// The same: a protocol must not rely on the timeout to be right.
        pub fn park_timeout(&self, _: Duration) {
            self.park();
        }

        /// The other end.
        pub fn unparker(&self) -> &Unparker {
            &self.0
        }
    }

    impl Unparker {
        /// Signals.
        pub fn unpark(&self) {
            self.0.notify();
        }
    }
}
