//! The work of a request, as a task of its own.
//!
//! The layer of ripcord-http drops a handler whose request is over, at once. What the handler has
//! started goes on until it sees that its context is done: as a task with a name and a place, so
//! that it is known how long that takes. The answer does not wait for work that overruns.

use super::failure::Failure;
use super::faults::Fault;
use ripcord::{Ctx, CtxExt};
use std::future::Future;

/// Starts the work of a request; its result, for who waits for it.
#[track_caller]
pub(super) fn work<F, Fut>(
    ctx: &Ctx,
    name: &'static str,
    make: F,
) -> impl Future<Output = Result<(), Failure>> + Send + use<F, Fut>
where
    F: FnOnce(Ctx) -> Fut,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    Fault::tag(ctx);
    let task = ctx.spawn(name, make);
    async move { task.await.unwrap_or_else(|error| Err(error.into())) }
}
