//! Waiting for the end of a context: futures for tasks, parking for threads.
//!
//! A waiter is a slot in its node, so a future is two words and a second waiter on
//! one node is the first thing to allocate.

use crate::cause::Cause;
use crate::eval;
use crate::link;
use crate::node::{Links, Node};
use crate::panics::{Foreign, contain};
use crate::slots::{Key, Slots};
use crate::state::{DONE, DRAINING};
use crate::sync::Arc;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

/// Which of a node's lists a waiter stands in.
type List = fn(&mut Links) -> &mut Slots<Waker>;

fn waiters(links: &mut Links) -> &mut Slots<Waker> {
    &mut links.waiters
}

fn drainers(links: &mut Links) -> &mut Slots<Waker> {
    &mut links.drainers
}

/// A place in one of a node's lists of wakers; leaves the list when dropped.
struct Waiter {
    node: Option<Arc<Node>>,
    key: Option<Key>,
    list: List,
}

impl Waiter {
    /// Makes sure that `waker` is woken; `false` if the node is over already.
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
        let key = (self.list)(&mut links).insert(waker);
        drop(links);
        self.key = Some(key);
        link::wire(node);
        true
    }

    /// Replaces the stored waker, if the new one would wake another task.
    fn refresh(&mut self, key: Key, waker: &Waker) -> bool {
        let Some(block) = self.node.as_ref().and_then(|node| node.block_if_any()) else {
            return false;
        };
        let mut links = block.links.lock();
        match (self.list)(&mut links).get_mut(key) {
            None => {
                // Swept: the old waker was taken.
                self.key = None;
                return false;
            }
            Some(old) if old.will_wake(waker) => return true,
            Some(_) => {}
        }
        drop(links);
        let waker = waker.clone();
        let mut links = block.links.lock();
        let unused = match (self.list)(&mut links).get_mut(key) {
            Some(old) => Ok(std::mem::replace(old, waker)),
            None => Err(waker),
        };
        drop(links);
        let is_kept = unused.is_ok();
        let (Ok(unused) | Err(unused)) = unused;
        contain(Foreign::Waker, move || drop(unused));
        if !is_kept {
            self.key = None;
        }
        is_kept
    }

    fn leave(&mut self) {
        let Some(key) = self.key.take() else { return };
        let Some(block) = self.node.as_ref().and_then(|node| node.block_if_any()) else {
            return;
        };
        let mut links = block.links.lock();
        let waker = (self.list)(&mut links).remove(key);
        drop(links);
        if let Some(waker) = waker {
            contain(Foreign::Waker, move || drop(waker));
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Resolves to the [`Cause`] when the context is done.
///
/// Made by [`Ctx::done`](crate::Ctx::done). It owns what it needs, may be moved, and
/// stays ready once it was.
///
/// # Cancel safety
/// Dropping it at any point leaves nothing behind: no waiter, no waker.
///
/// # Costs
/// Two words. The first poll registers: one lock, and the node's block if there was
/// none; a context that is done already registers nothing.
#[must_use = "futures do nothing unless polled"]
pub struct Done {
    waiter: Waiter,
}

impl Done {
    pub(crate) fn new(node: Option<Arc<Node>>) -> Self {
        Self {
            waiter: Waiter {
                node,
                key: None,
                list: waiters,
            },
        }
    }

    /// The cause, if the context is done; nothing is registered.
    pub(crate) fn peek(&self) -> Option<Cause> {
        self.waiter.node.as_ref()?.observe()
    }
}

impl Future for Done {
    type Output = Cause;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause> {
        let this = &mut *self;
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
/// # Cancel safety
/// Dropping it at any point leaves nothing behind.
#[must_use = "futures do nothing unless polled"]
pub struct Draining {
    drain: Waiter,
    done: Done,
}

impl Draining {
    pub(crate) fn new(node: Option<Arc<Node>>) -> Self {
        Self {
            drain: Waiter {
                node: node.clone(),
                key: None,
                list: drainers,
            },
            done: Done::new(node),
        }
    }

    fn is_over(&self) -> bool {
        self.drain
            .node
            .as_ref()
            .is_some_and(|node| eval::has_above(node, DRAINING | DONE) || node.is_done())
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
        // The drain may have come before the registration: look again (`link.rs`, 1).
        if this.is_over() || Pin::new(&mut this.done).poll(cx).is_ready() {
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

/// Wakes a thread that is parked in [`block_on`].
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future of this crate on the current thread.
pub(crate) fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut future).poll(&mut cx) {
            Poll::Ready(output) => return output,
            // A wake before this line makes `park` return at once.
            Poll::Pending => std::thread::park(),
        }
    }
}
