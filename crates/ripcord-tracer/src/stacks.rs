//! Await stacks that were taken and have no names yet: [`Stacks`].
//!
//! To give a stack its names takes milliseconds, so it is not done where it is taken, but by whoever
//! writes the recording.
//!
//! # Limitations
//! While nobody names them, the first 1,024 are kept and later ones are counted: it is the
//! first tasks that were late which say why.

use crate::sync::Mutex;
use ripcord_core::tasks::StackText;
use ripcord_trace_format::StackWhy;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stacks that wait for their names; what comes beyond is counted.
const WAITING_MAX: usize = 1_024;

/// A list under a lock. It is taken by who has just walked a stack, which costs a thousand
/// times as much.
#[derive(Default)]
pub(crate) struct Stacks {
    /// In the order in which they were taken.
    waiting: Mutex<Vec<Taken>>,
    /// Came when there was no room.
    refused: AtomicU64,
}

/// A stack of a task.
///
/// As it was taken: instruction pointers, in an object of the adapter's.
pub(crate) struct Taken {
    /// When.
    pub(crate) raw: u64,
    /// The number of the task.
    pub(crate) task: u64,
    /// Who wanted it.
    pub(crate) why: StackWhy,
    /// Knows its frames, and gives them names when it is asked.
    pub(crate) stack: Arc<dyn StackText>,
}

impl Stacks {
    /// Keeps a stack until somebody gives it its names.
    ///
    /// It may be the last reference to the stack that is refused here, so foreign code may
    /// run.
    pub(crate) fn keep(&self, taken: Taken) {
        let mut waiting = self.waiting.lock();
        let refused = if waiting.len() < WAITING_MAX {
            waiting.push(taken);
            None
        } else {
            Some(taken)
        };
        drop(waiting);
        // It is foreign code that is dropped here, outside of the lock.
        if refused.is_some() {
            self.note_refused();
        }
    }

    /// Counts a stack that was not kept, or that could not be given its names.
    pub(crate) fn note_refused(&self) {
        // Relaxed: a statistic (counter).
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// All that wait.
    ///
    /// They are the caller's now; the next who asks finds only what has come since.
    pub(crate) fn take(&self) -> Vec<Taken> {
        std::mem::take(&mut *self.waiting.lock())
    }

    /// How many there was no room for.
    pub(crate) fn refused(&self) -> u64 {
        // Relaxed: a statistic (counter).
        self.refused.load(Ordering::Relaxed)
    }
}
