//! [`Watch`]: a context beside a stream of frames, which ends with it.
//!
//! # Order of looks
//! The context comes first in every poll. A single answer that is ready is worth having, and
//! [`Ctx::run`] hands it over; of a stream there may always be one more frame.
//!
//! # Costs
//! One `is_done` for each frame; a waiter is registered when a poll is first pending, and
//! deregistered when the watch is dropped.

use ripcord_core::{Cause, Ctx, Done};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A context that is asked at each poll of something else.
pub(crate) struct Watch {
    ctx: Ctx,
    done: Done,
}

impl Watch {
    pub(crate) fn new(ctx: &Ctx) -> Self {
        Self {
            ctx: ctx.clone(),
            done: ctx.done(),
        }
    }

    pub(crate) fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// Polls `inner` unless the context is done; with its cause, if it is done before or meanwhile.
    ///
    /// The context comes first, so that what is always ready ends, too.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        inner: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Cause>> {
        if let Some(cause) = self.ctx.cause() {
            return Poll::Ready(Err(cause));
        }
        match inner(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => Pin::new(&mut self.done).poll(cx).map(Err),
        }
    }
}
