//! Short words for what many tests say.

#![allow(clippy::disallowed_types, reason = "outside every model")]

use ripcord_core::{Ctx, Grace};
use ripcord_test::ManualTask;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) fn just_before(duration: Duration) -> Duration {
    duration.saturating_sub(Duration::from_nanos(1))
}

pub(crate) fn grace(seconds: u32) -> Grace {
    Grace::of(Duration::from_secs(seconds.into()))
}

/// The message of the context's cause.
pub(crate) fn message(ctx: &Ctx) -> Option<String> {
    ctx.cause()?.message().map(str::to_owned)
}

/// A child that only its parent ends.
pub(crate) fn below(parent: &Ctx) -> Ctx {
    let (child, guard) = parent.child();
    guard.disarm();
    child
}

/// A test that failed under the lock fails no other.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls each once, which has to leave it waiting.
#[track_caller]
pub(crate) fn park<F: Future>(tasks: &mut [ManualTask<F>]) {
    for task in tasks {
        assert!(task.poll().is_pending());
    }
}
