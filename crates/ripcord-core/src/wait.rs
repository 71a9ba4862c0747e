//! Waiting for the end of a context: futures for tasks, parking for threads.
//!
//! A waiter is a slot in its node, so a future is two words and a second waiter on
//! one node is the first thing to allocate.
//!
//! # Why a look and a registration miss nothing
//! A poll looks, registers, and trusts the registration: by the hand-shake in `state.rs` it is
//! either swept or refused. A refusal means that the node is done, so the second look finds a
//! cause (spec/context.md C44). The waker is cloned before and dropped after the lock, as
//! both are foreign code.

use crate::block::Links;
use crate::cause::Cause;
use crate::ctx::Ctx;
use crate::eval;
use crate::link;
use crate::node::Node;
use crate::panics::{Foreign, contain};
use crate::slots::{Key, Slots};
use crate::state::DRAINING;
use crate::sync::Arc;
use crate::tasks::{labelled_at, note_listening};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Which of a node's lists a waiter stands in.
///
/// A type parameter rather than a field: the two futures stay two words each.
trait List {
    fn of(links: &mut Links) -> &mut Slots<Waker>;
}

/// Those who wait for the end.
struct Waiters;

impl List for Waiters {
    fn of(links: &mut Links) -> &mut Slots<Waker> {
        &mut links.waiters
    }
}

/// Those who wait for a drain or the end.
struct Drainers;

impl List for Drainers {
    fn of(links: &mut Links) -> &mut Slots<Waker> {
        &mut links.rare().drainers
    }
}

/// A place in one of a node's lists of wakers; leaves the list when dropped.
struct Waiter<L: List> {
    node: Option<Arc<Node>>,
    key: Option<Key>,
    list: PhantomData<L>,
}

impl<L: List> Waiter<L> {
    fn new(node: Option<Arc<Node>>) -> Self {
        Self {
            node,
            key: None,
            list: PhantomData,
        }
    }

    /// Makes sure that `waker` is woken; `false` if the node is over already.
    ///
    /// A second call replaces the waker where the new one wakes another task, so that only the
    /// last one is woken (spec/context.md C38).
    fn register(&mut self, waker: &Waker) -> bool {
        let Some(node) = &self.node else { return true };
        if let Some(key) = self.key {
            return self.refresh(key, waker);
        }
        // The clone is foreign code: it comes before the lock.
        let waker = waker.clone();
        let Some(mut links) = link::open(node) else {
            return false;
        };
        let key = L::of(&mut links).insert(waker);
        drop(links);
        self.key = Some(key);
        link::wire(node);
        note_listening();
        true
    }

    /// Replaces the stored waker, if the new one would wake another task.
    ///
    /// The place may be swept while the waker is being cloned, outside the lock: then the new
    /// waker is dropped again and the caller looks once more.
    fn refresh(&mut self, key: Key, waker: &Waker) -> bool {
        let Some(block) = self.node.as_ref().and_then(|node| node.block_if_any()) else {
            return false;
        };
        let mut links = block.links.lock();
        match L::of(&mut links).get_mut(key) {
            None => {
                // Swept: the old waker was taken.
                self.key = None;
                return false;
            }
            Some(old) if old.will_wake(waker) => {
                drop(links);
                note_listening();
                return true;
            }
            Some(_) => drop(links),
        }
        let waker = waker.clone();
        let mut links = block.links.lock();
        let unused = match L::of(&mut links).get_mut(key) {
            Some(old) => Ok(std::mem::replace(old, waker)),
            None => Err(waker),
        };
        drop(links);
        let is_kept = unused.is_ok();
        let (Ok(unused) | Err(unused)) = unused;
        contain(Foreign::Waker, move || drop(unused));
        if is_kept {
            note_listening();
        } else {
            self.key = None;
        }
        is_kept
    }

    /// Gives the place back, unless a sweep took the whole list: that waker is woken already or
    /// about to be.
    fn leave(&mut self) {
        let Some(key) = self.key.take() else { return };
        let Some(block) = self.node.as_ref().and_then(|node| node.block_if_any()) else {
            return;
        };
        if block.is_emptied() {
            return;
        }
        let mut links = block.links.lock();
        let waker = L::of(&mut links).remove(key);
        drop(links);
        if let Some(waker) = waker {
            contain(Foreign::Waker, move || drop(waker));
        }
    }
}

impl<L: List> Drop for Waiter<L> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Resolves to the [`Cause`] when the context is done.
///
/// Made by [`Ctx::done`](crate::Ctx::done). It owns what it needs, may be moved, and
/// stays ready once it was.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
/// # fn block_on<F: Future>(f: F) -> F::Output {
/// #     let mut f = std::pin::pin!(f);
/// #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// #     loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut cx) { return out } }
/// # }
/// let (ctx, guard) = Ctx::background().child();
/// let done = ctx.done();
/// drop((ctx, guard)); // It owns what it needs.
/// assert_eq!(block_on(async { done.await.kind() }), Kind::Dropped);
/// ```
///
/// # Cancel safety
/// Dropping it at any point leaves nothing behind: no waiter, no waker.
///
/// # Costs
/// Two words. The first poll registers: one lock, and the node's block if there was
/// none; a context that is done already registers nothing.
#[must_use = "futures do nothing unless polled"]
pub struct Done {
    waiter: Waiter<Waiters>,
}

// What a panic can leave behind is consistent: see `Ctx`.
impl UnwindSafe for Done {}
impl RefUnwindSafe for Done {}

impl Done {
    pub(crate) fn new(node: Option<Arc<Node>>) -> Self {
        Self {
            waiter: Waiter::new(node),
        }
    }

    /// The cause, if the context is done; nothing is registered.
    pub(crate) fn peek(&self) -> Option<Cause> {
        self.waiter.node.as_ref()?.observe()
    }

    /// As `poll`, without a label: for a future that waits for something else as well.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        let this = self;
        if let Some(cause) = this.peek() {
            this.waiter.leave();
            return Poll::Ready(cause);
        }
        if this.waiter.register(cx.waker()) {
            return Poll::Pending;
        }
        // Refused: the node became done in between (node invariants 3 and 6).
        if let Some(cause) = this.peek() {
            Poll::Ready(cause)
        } else {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
}

impl Future for Done {
    type Output = Cause;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause> {
        labelled_at("done", Location::caller(), || self.poll_end(cx))
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done")
            .field("is_registered", &self.waiter.key.is_some())
            .finish()
    }
}

/// Resolves when the context drains or is done.
///
/// Made by [`Ctx::draining`](crate::Ctx::draining).
///
/// Ready in every later phase too, so a loop that accepts work needs only this one
/// (spec/context.md C85).
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use std::{future::Future, pin::pin, task::{Context, Waker}};
///
/// let (server, guard) = Ctx::background().child();
/// let mut draining = pin!(server.draining());
/// let mut cx = Context::from_waker(Waker::noop());
/// assert!(draining.as_mut().poll(&mut cx).is_pending());
/// guard.cancel("without a drain");
/// assert!(draining.as_mut().poll(&mut cx).is_ready());
/// ```
///
/// # Cancel safety
/// Dropping it at any point leaves nothing behind.
#[must_use = "futures do nothing unless polled"]
pub struct Draining {
    drain: Waiter<Drainers>,
}

impl Draining {
    pub(crate) fn new(node: Option<Arc<Node>>) -> Self {
        Self {
            drain: Waiter::new(node),
        }
    }

    fn is_over(&self) -> bool {
        self.drain
            .node
            .as_ref()
            .is_some_and(|node| eval::has_above(node, DRAINING) || node.is_done())
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.is_over() || !this.drain.register(cx.waker()) {
            this.drain.leave();
            return Poll::Ready(());
        }
        // The drain may have come before the registration, which it does not refuse: look
        // again. The sweep of a cancel takes the drain waiters too.
        if this.is_over() {
            this.drain.leave();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining")
            .field("is_registered", &self.drain.key.is_some())
            .finish_non_exhaustive()
    }
}

/// Wakes a thread that is parked in [`block_until_done`].
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A clock that stands still is not asked more often than this.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Blocks the current thread until `ctx` is done.
///
/// A wake that is not for this future ends the parking early; the loop polls once more. A thread
/// that waits does not count on the timer of its tree to end the parking at a deadline: that may be
/// the timer of a runtime which nobody drives, perhaps because this is its only thread.
pub(crate) fn block_until_done(ctx: &Ctx) -> Cause {
    let mut done = ctx.done();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut done).poll(&mut cx) {
            Poll::Ready(cause) => return cause,
            // A wake before this line makes `park` return at once.
            Poll::Pending => match ctx.remaining() {
                Some(left) => std::thread::park_timeout(left.max(LOOK_AGAIN)),
                None => std::thread::park(),
            },
        }
    }
}
