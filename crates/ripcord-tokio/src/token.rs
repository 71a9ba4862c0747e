//! Both ways between contexts and tokio-util's [`CancellationToken`].
//!
//! Rust's orphan rule forbids `From` between two types of other crates here, so the
//! conversions are methods of two traits: [`TokenExt`] and [`CtxTokenExt`].
//!
//! # Costs
//! A context from a token: no task; one subscription when somebody first waits, shared
//! by all contexts below. A token from a context: one hook.

use ripcord_core::{Armed, Cause, Ctx, Hook, Kind, Source};
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Waker};
use tokio_util::sync::CancellationToken;

/// Adds [`to_ctx`](TokenExt::to_ctx) to [`CancellationToken`].
pub trait TokenExt {
    /// Makes a context that is done when this token is cancelled.
    ///
    /// A token carries no reason: the cause has [`Kind::Cancelled`] and says that it
    /// came from a token. Nothing that happens to the context cancels the token. It
    /// uses the standard clock; to get the clock and values of a tree as well, use
    /// [`CtxTokenExt::with_token`].
    ///
    /// # Examples
    /// ```
    /// use ripcord_tokio::TokenExt as _;
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// let ctx = token.to_ctx();
    /// assert!(!ctx.is_done());
    /// token.cancel();
    /// assert!(ctx.is_done());
    /// ```
    fn to_ctx(&self) -> Ctx;
}

impl TokenExt for CancellationToken {
    #[track_caller]
    fn to_ctx(&self) -> Ctx {
        Ctx::from_source(source(self))
    }
}

/// Adds [`to_token`](CtxTokenExt::to_token) and [`with_token`](CtxTokenExt::with_token)
/// to [`Ctx`].
pub trait CtxTokenExt {
    /// Makes a context below this one that is also done when `token` is cancelled.
    ///
    /// The cause tells which of the two it was.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    /// use ripcord_tokio::CtxTokenExt as _;
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let (request, guard) = Ctx::background().named("request").child();
    /// let token = CancellationToken::new();
    /// let both = request.with_token(&token);
    /// assert_eq!(both.name(), Some("request"));
    /// guard.cancel(Kind::PeerGone);
    /// assert_eq!(both.cause().map(|cause| cause.kind()), Some(Kind::PeerGone));
    /// assert!(!token.is_cancelled());
    /// ```
    #[must_use = "a context does nothing by itself"]
    fn with_token(&self, token: &CancellationToken) -> Ctx;

    /// Makes a token that is cancelled once this context is done, for libraries that
    /// take one.
    ///
    /// Cancelling the token does not end the context. The token is cancelled by a hook,
    /// so where the subtree is large, or a deadline ended the context, it follows by the
    /// time that the sweep takes.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_tokio::CtxTokenExt as _;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let token = ctx.to_token();
    /// let for_the_library = token.child_token();
    /// guard.cancel("stop");
    /// assert!(for_the_library.is_cancelled());
    /// ```
    fn to_token(&self) -> LinkedToken;
}

impl CtxTokenExt for Ctx {
    #[track_caller]
    fn with_token(&self, token: &CancellationToken) -> Ctx {
        Ctx::merge([self, &self.with_source(source(token))])
    }

    fn to_token(&self) -> LinkedToken {
        let token = CancellationToken::new();
        let cancelled = token.clone();
        let hook = self.on_done(move |_| cancelled.cancel());
        LinkedToken {
            token,
            hook: Some(hook),
        }
    }
}

/// A token that is cancelled once its context is done; made by
/// [`CtxTokenExt::to_token`].
///
/// Dropping it takes back the hook **and cancels the token**: a clone of it that is
/// still in use must not go deaf. So it has to live as long as the work. Where that is
/// not practical use [`into_token`](Self::into_token).
#[must_use = "dropping it cancels the token"]
pub struct LinkedToken {
    token: CancellationToken,
    hook: Option<Hook>,
}

impl LinkedToken {
    /// Gives up the tie between the token and this object: the token stays linked to
    /// the context.
    ///
    /// The hook, and through it the context, then stays until the context is done. On a
    /// context that lives as long as the process that is a leak for each call: make a
    /// child for the work, and the token from that.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_tokio::CtxTokenExt as _;
    ///
    /// let (ctx, guard) = Ctx::background().child();
    /// let held = ctx.to_token();
    /// let clone = held.clone();
    /// drop(held); // The tie is gone, so the clone must not go on as if it still held.
    /// assert!(clone.is_cancelled());
    ///
    /// let token = ctx.to_token().into_token();
    /// assert!(!token.is_cancelled());
    /// guard.cancel("stop");
    /// assert!(token.is_cancelled());
    /// ```
    #[must_use]
    pub fn into_token(mut self) -> CancellationToken {
        if let Some(hook) = self.hook.take() {
            hook.detach();
        }
        self.token.clone()
    }
}

impl Deref for LinkedToken {
    type Target = CancellationToken;

    fn deref(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for LinkedToken {
    fn drop(&mut self) {
        // `None`: it was detached.
        if let Some(hook) = self.hook.take() {
            drop(hook);
            self.token.cancel();
        }
    }
}

impl fmt::Debug for LinkedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkedToken")
            .field("is_cancelled", &self.token.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// A token as the end of contexts.
struct TokenSource(CancellationToken);

fn source(token: &CancellationToken) -> Arc<dyn Source> {
    Arc::new(TokenSource(token.clone()))
}

impl Source for TokenSource {
    fn cause(&self) -> Option<Cause> {
        let is_cancelled = self.0.is_cancelled();
        is_cancelled.then(|| Cause::new(Kind::Cancelled).with_message("by a CancellationToken"))
    }

    fn subscribe(&self, alarm: Waker) -> Armed {
        let mut cancelled = Box::pin(self.0.clone().cancelled_owned());
        let mut cx = Context::from_waker(&alarm);
        if cancelled.as_mut().poll(&mut cx).is_ready() {
            alarm.wake();
        }
        Armed::pinned(cancelled)
    }
}
