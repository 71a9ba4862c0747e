//! The door to tasks and locks: tokio's and std's in every build, shuttle's under
//! `--cfg ripcord_shuttle`.
//!
//! Only `task.rs` and `scope/` go through it: what they keep book of is modelled in
//! `tests/shuttle_scopes.rs`. tokio's semaphore and one-shot channel need no runtime and
//! are used as they are in both builds; they are trusted.

#[cfg(not(ripcord_shuttle))]
pub(crate) use {
    ripcord_core::Entered,
    std::sync::{Mutex, MutexGuard},
    tokio::task::{AbortHandle, JoinError, JoinHandle},
};

/// For `wakers.rs`; its model, `tests/shuttle_wakers.rs`, takes that file in with shuttle's.
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(not(any(ripcord_shuttle, tokio_unstable)))]
pub(crate) use tokio::task::{spawn, spawn_blocking};

#[cfg(all(tokio_unstable, not(ripcord_shuttle)))]
pub(crate) use hooked::{spawn, spawn_blocking};

/// tokio's own, marked as ours for the hooks that it calls.
#[cfg(all(tokio_unstable, not(ripcord_shuttle)))]
mod hooked {
    use crate::unstable::ours;
    use tokio::task::JoinHandle;

    #[track_caller]
    pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        ours(|| tokio::task::spawn(future))
    }

    #[track_caller]
    pub(crate) fn spawn_blocking<R: Send + 'static>(
        run: impl FnOnce() -> R + Send + 'static,
    ) -> JoinHandle<R> {
        ours(|| tokio::task::spawn_blocking(run))
    }
}

#[cfg(ripcord_shuttle)]
pub(crate) use {
    model::{Entered, JoinError, JoinHandle, spawn, spawn_blocking},
    shuttle::future::AbortHandle,
    shuttle::sync::{Mutex, MutexGuard},
};

/// Makes `ctx` the current context in every poll of `future`.
#[cfg(not(ripcord_shuttle))]
pub(crate) fn enter<F: Future>(ctx: &ripcord_core::Ctx, future: F) -> Entered<F> {
    ctx.enter(future)
}

/// Makes `ctx` the current context while `run` runs.
#[cfg(not(ripcord_shuttle))]
pub(crate) fn enter_sync<R>(ctx: &ripcord_core::Ctx, run: impl FnOnce() -> R) -> R {
    ctx.enter_sync(run)
}

#[cfg(ripcord_shuttle)]
pub(crate) use model::{enter, enter_sync};

/// What shuttle has no equal of.
#[cfg(ripcord_shuttle)]
mod model {
    use ripcord_core::Ctx;
    use std::any::Any;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// All tasks of a model share one thread, and with it the thread-local that holds the
    /// current context: in a model there is none.
    pub(crate) type Entered<F> = F;

    pub(crate) fn enter<F: Future>(_: &Ctx, future: F) -> Entered<F> {
        future
    }

    pub(crate) fn enter_sync<R>(_: &Ctx, run: impl FnOnce() -> R) -> R {
        run()
    }

    #[derive(Debug)]
    pub(crate) struct JoinHandle<T>(shuttle::future::JoinHandle<T>);

    /// A task was aborted. One that panics fails the model instead.
    #[derive(Debug)]
    pub(crate) struct JoinError;

    impl JoinError {
        pub(crate) fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
            Err(self)
        }
    }

    impl<T> JoinHandle<T> {
        pub(crate) fn abort(&self) {
            self.0.abort();
        }

        pub(crate) fn is_finished(&self) -> bool {
            self.0.is_finished()
        }

        pub(crate) fn abort_handle(&self) -> shuttle::future::AbortHandle {
            self.0.abort_handle()
        }
    }

    impl<T> Future for JoinHandle<T> {
        type Output = Result<T, JoinError>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            Pin::new(&mut self.0).poll(cx).map_err(|_| JoinError)
        }
    }

    pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        JoinHandle(shuttle::future::spawn(future))
    }

    /// In a model every task has a stack of its own, so a closure may block in one.
    pub(crate) fn spawn_blocking<R>(run: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R>
    where
        R: Send + 'static,
    {
        spawn(async move { run() })
    }
}
