//! The runtime that export has to itself.
//!
//! # Why
//! The exporters of OpenTelemetry do their I/O on tokio, while the SDK calls them from threads of
//! its own. On the program's runtime that fails in two ways: on a `current_thread` runtime a flush
//! blocks the only thread that could carry it out, and without a runtime in the SDK's thread the
//! HTTP client panics. So export gets one thread, on which everything that it does runs, and every
//! poll of an exporter enters that runtime.
//!
//! # Invariants
//! 1. Every exporter holds the place, so the runtime outlives the last export.
//! 2. No task of the runtime holds the place: the last exporter that goes ends it.
//! 3. The runtime is never waited for when it ends, so it may be dropped anywhere.

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use pin_project_lite::pin_project;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime with one thread; a clone is one reference count.
///
/// All signals share it: a collector that hangs is waited for in timers, which cost no thread.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: Handle,
    /// Taken by `Drop`.
    runtime: Option<Runtime>,
}

impl Place {
    /// Starts the runtime.
    ///
    /// The two blocking threads are for the resolution of names, and are started when that is
    /// needed.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(2)
            .thread_name("ripcord-otel")
            .on_thread_start(|| {
                // For the life of the thread: what export itself does is not telemetry.
                mem::forget(Context::enter_telemetry_suppressed_scope());
            })
            .enable_all()
            .build()?;
        Ok(Self(Arc::new(Inner {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })))
    }

    /// Runs `f` where clients can be made.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let _entered = self.0.handle.enter();
        f()
    }

    /// An export that runs here, whoever polls it, and ends after `limit` with its retries.
    ///
    /// The future may be polled by any thread and any executor: what it wakes is their waker, from
    /// here.
    pub(crate) fn export<F>(
        &self,
        limit: Duration,
        export: F,
    ) -> impl Future<Output = OTelSdkResult> + Send
    where
        F: Future<Output = OTelSdkResult> + Send,
    {
        Here {
            place: self.clone(),
            // The timer is made in the first poll, where the runtime is entered.
            future: async move {
                match tokio::time::timeout(limit, export).await {
                    Ok(result) => result,
                    Err(_) => Err(OTelSdkError::Timeout(limit)),
                }
            },
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pin_project! {
    /// A future that is polled within the runtime, from whatever thread.
    struct Here<F> {
        place: Place,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Here<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.place.0.handle.enter();
        this.future.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    /// What the SDK's threads do.
    fn block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(thread::Thread);
        impl task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut cx = task::Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut cx) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn an_export_finds_timers_and_sockets_on_a_bare_thread() {
        let place = Place::start().unwrap();
        let result = block_on(place.export(Duration::from_secs(60), async {
            tokio::task::yield_now().await;
            let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            socket
                .map(drop)
                .map_err(|e| OTelSdkError::InternalFailure(e.to_string()))
        }));
        assert!(result.is_ok(), "{result:?}");
    }

    #[test]
    fn an_export_that_hangs_ends_at_its_limit() {
        let place = Place::start().unwrap();
        let result = block_on(place.export(Duration::from_millis(1), std::future::pending()));
        assert!(
            matches!(result, Err(OTelSdkError::Timeout(_))),
            "{result:?}"
        );
    }

    #[test]
    fn what_runs_there_is_not_telemetry() {
        let place = Place::start().unwrap();
        let (tell, told) = mpsc::channel();
        place.enter(|| {
            tokio::spawn(async move { tell.send(Context::is_current_telemetry_suppressed()) })
        });
        assert!(told.recv().unwrap());
    }

    #[test]
    fn it_may_be_dropped_inside_another_runtime() {
        let place = Place::start().unwrap();
        let outer = Builder::new_current_thread().build().unwrap();
        outer.block_on(async move { drop(place) });
    }
}
