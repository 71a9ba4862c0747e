//! The ambient context: which one the code on this thread runs under.
//!
//! # Costs
//! Entering and leaving a poll swaps one pointer in thread-local storage; no
//! reference count is touched. `Ctx::current` clones: one reference count.
//!
//! # Invariants
//! 1. A poll or call leaves the current context as it found it, also by a panic: the exchange
//!    is undone in a destructor (spec/context.md C108).
//! 2. While `with_current` lends the context out, an exchange is skipped rather than a panic.

#![allow(unsafe_code, reason = "one pin projection")]

use crate::ctx::Ctx;
use crate::tasks;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    static CURRENT: RefCell<Ctx> = const { RefCell::new(Ctx::background()) };
}

/// Exchanges the current context. A thread that is being torn down has none.
fn swap(ctx: &mut Ctx) {
    let _ = CURRENT.try_with(|current| {
        if let Ok(mut current) = current.try_borrow_mut() {
            mem::swap(&mut *current, ctx);
        }
    });
}

/// Puts the current context back when dropped, also by a panic.
///
/// The context around it is lent until then. Where a task is told of, so is the switch.
struct Within<'a> {
    ctx: &'a mut Ctx,
    is_told: bool,
}

impl<'a> Within<'a> {
    fn new(ctx: &'a mut Ctx) -> Self {
        let inner = tasks::is_told_here().then(|| ctx.recorded());
        let news = inner.filter(|inner| tasks::is_elsewhere(*inner));
        swap(ctx);
        let is_told = news.is_some_and(|inner| tasks::switch(ctx, inner));
        Self { ctx, is_told }
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        if self.is_told {
            tasks::switch(self.ctx, self.ctx.recorded());
        }
        swap(self.ctx);
    }
}

impl Ctx {
    /// The context that this code runs under; [`Ctx::background`] outside of any.
    ///
    /// An explicit parameter is the clearer style; this is for code that has none.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// fn log(line: &str) -> String {
    ///     format!("[{}] {line}", Ctx::current().name().unwrap_or("-"))
    /// }
    /// assert_eq!(log("start"), "[-] start");
    /// let ctx = Ctx::background().named("job 7");
    /// assert_eq!(ctx.enter_sync(|| log("start")), "[job 7] start");
    /// ```
    ///
    /// # Limitations
    /// It belongs to the thread and the poll: a thread or a task that is spawned by hand starts
    /// with the background. The spawn functions of the runtime crates pass it on.
    pub fn current() -> Self {
        Self::with_current(Clone::clone)
    }

    /// Calls `f` with the context that this code runs under, without cloning it.
    ///
    /// Within `f` the current context cannot be changed.
    ///
    /// An [`enter_sync`](Self::enter_sync) inside `f` runs its closure and leaves the current
    /// context as it is.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let is_over = || Ctx::with_current(Ctx::is_done);
    /// let (ctx, guard) = Ctx::background().child();
    /// guard.cancel("over");
    /// assert!(ctx.enter_sync(is_over) && !is_over());
    /// ```
    pub fn with_current<R>(f: impl FnOnce(&Self) -> R) -> R {
        let mut f = Some(f);
        let result = CURRENT.try_with(|current| {
            let current = current.try_borrow().ok()?;
            f.take().map(|f| f(&current))
        });
        match (result, f) {
            (Ok(Some(result)), _) => result,
            (_, Some(f)) => f(&Self::background()),
            (_, None) => unreachable!("f is taken only where its result is returned"),
        }
    }

    /// Makes this context the current one in every poll of `future`.
    ///
    /// It does not end the future: [`run`](Self::run) does. To have both, enter the run:
    /// `ctx.enter(ctx.run(future))`.
    ///
    /// # Cancel safety
    /// As cancel safe as `future` itself. Dropped half-way, it leaves no context behind.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// # fn block_on<F: Future>(f: F) -> F::Output {
    /// #     let mut f = std::pin::pin!(f);
    /// #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut cx) { return out } }
    /// # }
    /// let ctx = Ctx::background().named("import");
    /// let name = block_on(ctx.enter(async { Ctx::current().name().map(str::to_owned) }));
    /// assert_eq!(name.as_deref(), Some("import"));
    /// assert_eq!(Ctx::current().name(), None);
    /// ```
    pub fn enter<F: Future>(&self, future: F) -> Entered<F> {
        Entered {
            ctx: self.clone(),
            future,
        }
    }

    /// Makes this context the current one while `f` runs.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    ///
    /// let outer = Ctx::background().named("outer");
    /// let inner = outer.named("inner");
    /// outer.enter_sync(|| {
    ///     assert_eq!(inner.enter_sync(Ctx::current), inner);
    ///     assert_eq!(Ctx::current(), outer, "back again");
    /// });
    /// ```
    pub fn enter_sync<R>(&self, f: impl FnOnce() -> R) -> R {
        let mut ctx = self.clone();
        let _within = Within::new(&mut ctx);
        f()
    }
}

/// A future that runs under a context; made by [`Ctx::enter`].
///
/// It may be polled from any thread; between two polls the context is current nowhere.
///
/// # Cancel safety
/// That of the future inside. It is dropped without the context being current, so a
/// destructor that asks for [`Ctx::current`] sees what is current around it.
#[must_use = "futures do nothing unless polled"]
pub struct Entered<F> {
    ctx: Ctx,
    future: F,
}

impl<F> Entered<F> {
    /// The context that the future runs under.
    ///
    /// The future may have entered others within itself; those end with each of its polls.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }
}

impl<F: Future> Future for Entered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is not moved out of the pinned struct; `ctx` is `Unpin` and is
        // not structurally pinned. `Entered` has no `Drop` and no other projection.
        let this = unsafe { self.get_unchecked_mut() };
        let _within = Within::new(&mut this.ctx);
        // SAFETY: `this` came from a pinned reference on the lines above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        future.poll(cx)
    }
}

impl<F> fmt::Debug for Entered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered")
            .field("ctx", &self.ctx)
            .finish_non_exhaustive()
    }
}
