//! Await stacks that were taken and have no names yet: [`Stacks`].
//!
//! To give a stack its names takes milliseconds, so it is not done where it is taken, but by whoever
//! writes the recording.

use crate::sync::Mutex;
use ripcord_core::tasks::StackText;
use ripcord_trace_format::StackWhy;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stacks that wait for their names; what comes beyond is counted.
const WAITING_MAX: usize = 1_024;

#[derive(Default)]
pub(crate) struct Stacks {
    waiting: Mutex<Vec<Taken>>,
    refused: AtomicU64,
}

/// A stack of a task.
pub(crate) struct Taken {
    pub(crate) raw: u64,
    pub(crate) task: u64,
    pub(crate) why: StackWhy,
    pub(crate) stack: Arc<dyn StackText>,
}

impl Stacks {
    /// Keeps a stack until somebody gives it its names.
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
            // Relaxed: a statistic (counter).
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that wait.
    pub(crate) fn take(&self) -> Vec<Taken> {
        std::mem::take(&mut *self.waiting.lock())
    }

    /// How many there was no room for.
    pub(crate) fn refused(&self) -> u64 {
        // Relaxed: a statistic (counter).
        self.refused.load(Ordering::Relaxed)
    }
}
