//! The peers in Rust: tokio-util's `CancellationToken`, plain tokio, and a plain `Vec` of wakers.

use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::tree::{Deadlines, Runs, Tree};

/// tokio-util 0.7.20.
pub(crate) struct TokioUtil;

impl Tree for TokioUtil {
    type Node = CancellationToken;

    fn root() -> CancellationToken {
        CancellationToken::new()
    }

    fn child(parent: &CancellationToken) -> CancellationToken {
        parent.child_token()
    }

    fn is_done(node: &CancellationToken) -> bool {
        node.is_cancelled()
    }

    fn cancel(node: &CancellationToken) {
        node.cancel();
    }

    fn wait(node: &CancellationToken) -> impl Future + Send {
        node.cancelled()
    }
}

impl Runs for TokioUtil {
    fn run<F: Future>(node: &CancellationToken, future: F) -> impl Future {
        node.run_until_cancelled(future)
    }
}

impl Deadlines for TokioUtil {
    type Parent = CancellationToken;
    type Child = (CancellationToken, Instant);

    fn parent() -> CancellationToken {
        CancellationToken::new()
    }

    fn make(parent: &CancellationToken, timeout: Duration) -> impl Sized {
        (parent.child_token(), sleep(timeout))
    }

    fn run<F: Future>(parent: &CancellationToken, limit: Duration, future: F) -> impl Future {
        let child = parent.child_token();
        async move { timeout(limit, child.run_until_cancelled(future)).await }
    }

    fn bounded(parent: &CancellationToken, at: Instant) -> Self::Child {
        (parent.child_token(), at)
    }

    fn expire((child, at): &Self::Child) -> impl Future + Send {
        timeout_at((*at).into(), child.cancelled())
    }
}

/// tokio's own timers, which cannot be cancelled from above.
pub(crate) struct Tokio;

impl Deadlines for Tokio {
    type Parent = ();
    type Child = Instant;

    fn parent() {}

    fn make((): &(), timeout: Duration) -> impl Sized {
        sleep(timeout)
    }

    fn run<F: Future>((): &(), limit: Duration, future: F) -> impl Future {
        timeout(limit, future)
    }

    fn bounded((): &(), at: Instant) -> Instant {
        at
    }

    fn expire(at: &Instant) -> impl Future + Send {
        sleep_until((*at).into())
    }
}

/// The least that wakes N tasks: one flag and one `Vec` of wakers that all share. It has no tree, so
/// a child is its parent, and it shows the limit of what the others can reach.
pub(crate) struct Wakers;

#[derive(Debug, Default)]
pub(crate) struct Shared {
    done: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Tree for Wakers {
    type Node = Arc<Shared>;

    fn root() -> Arc<Shared> {
        Arc::default()
    }

    fn child(parent: &Arc<Shared>) -> Arc<Shared> {
        Arc::clone(parent)
    }

    fn is_done(node: &Arc<Shared>) -> bool {
        // Acquire: pairs with the Release in `cancel`, as a user of the flag would need it.
        node.done.load(Acquire)
    }

    fn cancel(node: &Arc<Shared>) {
        let mut list = node.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        // Release: publishes what happened before the cancel; pairs with the Acquire in `is_done`.
        node.done.store(true, Release);
        let wakers = std::mem::take(&mut *list);
        drop(list);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wait(node: &Arc<Shared>) -> impl Future + Send {
        Waiting {
            shared: node,
            registered: false,
        }
    }
}

struct Waiting<'a> {
    shared: &'a Shared,
    registered: bool,
}

impl Future for Waiting<'_> {
    type Output = ();

    /// Registers once: the tasks of the workloads never change their waker.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut list = self
            .shared
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Acquire: pairs with the Release in `cancel`; the lock alone would order it too.
        if self.shared.done.load(Acquire) {
            return Poll::Ready(());
        }
        if !self.registered {
            list.push(cx.waker().clone());
        }
        drop(list);
        self.registered = true;
        Poll::Pending
    }
}
