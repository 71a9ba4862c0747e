//! What a client's leaving does to its handler: [`OnDisconnect`].
//!
//! A server drops the future of a request whose client is gone; that is how every mode begins. A
//! mode that lets the handler go on has therefore to run it elsewhere, in a task of its own, and
//! lets go of the task when the future is dropped.
//!
//! *Invariant*: whatever the mode, the answer comes from the future above (`future.rs`) when the
//! context of the request is done: a task that goes on has nobody to answer to any more.

use http::Request;
use ripcord_core::{Ctx, Grace};
use ripcord_tokio::{CtxExt as _, JoinHandle};
use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// What becomes of a handler whose client leaves before the answer is complete.
///
/// In every case the context of the request ends with [`Kind::PeerGone`](ripcord_core::Kind::PeerGone)
/// at once. What differs is what the handler notices of it.
///
/// | mode | the handler | its context |
/// |---|---|---|
/// | `Drop` | is dropped at its next `.await` | done |
/// | `Cooperative` | runs on, in a task of its own | done |
/// | `CancelAfter(d)` | runs on, in a task of its own | done after `d` |
/// | `Ignore` | runs on, in a task of its own | not ended by it |
///
/// In the last two a shutdown is felt as late as a client's leaving; a forced one at once. Deadlines
/// hold in every mode: the handler of the last two finds the deadline of its request in its context,
/// and is not dropped at it.
///
/// Drop what only reads; let go on what leaves something half-done. When in doubt, ask what a crash
/// at that point would leave behind: `Drop` is a small crash of one handler.
///
/// # Examples
/// A handler that is told, and keeps what it has so far:
///
/// ```
/// use axum::{Router, body::Body, routing::post};
/// use http::Request;
/// use ripcord_core::Kind;
/// use ripcord_http::{HttpLayer, OnDisconnect, OnDisconnectLayer, RequestCtx};
/// use ripcord_propagation::Propagation;
/// use std::time::Duration;
/// use tower::ServiceExt as _;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (kept, mut rows) = tokio::sync::mpsc::channel(1);
/// let import = async move |RequestCtx(ctx): RequestCtx| {
///     let cause = ctx.done().await; // In place of: the next row, or the end.
///     let _ = kept.send((17, cause.kind())).await;
/// };
/// let is_told = OnDisconnectLayer::new(OnDisconnect::Cooperative);
/// let (server, _guard) = ripcord_tokio::root().build();
/// let app = Router::new()
///     .route("/import", post(import).layer(is_told))
///     .layer(HttpLayer::new(&server, Propagation::default()));
///
/// let call = app.oneshot(Request::post("/import").body(Body::empty())?);
/// // A client that leaves: the server drops what it has of the request.
/// assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
/// assert_eq!(rows.recv().await, Some((17, Kind::PeerGone)));
/// # Ok(()) }
/// ```
///
/// # Costs
/// `Drop` costs nothing. The others spawn a task for each request, also for those whose client stays.
///
/// # Limitations
/// The account of the request, with its line in the access log, ends when the client leaves, and not
/// when the handler does. A [`Server`](crate::Server) waits at its end for handlers that go on; under
/// another server the process has to be kept alive for them. An upload ends with its connection in
/// every mode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum OnDisconnect {
    /// Drop it: for what only reads, and for what is safe to stop at any `.await`.
    ///
    /// Destructors run; what comes after the `.await` does not. A part that must not be torn can be
    /// spawned by the handler itself, under `ctx.shield(..)`.
    #[default]
    Drop,
    /// Let it run and tell it by its context: for what cleans up by itself.
    ///
    /// Nothing ends a handler that does not look: everything that it waits for should be under
    /// `ctx.run(..)`, which ends with the context and lets the clean-up begin.
    Cooperative,
    /// Let it run as if nothing had happened: for what has to be done once it has begun.
    ///
    /// A deadline or a forced shutdown is then all that its context ends by; give the policy a
    /// default deadline, or a stuck handler is there for ever.
    Ignore,
    /// Let it run for this long, then tell it: for what is nearly done most of the time.
    ///
    /// The time counts from the end of the request, by whatever it ended. Zero is `Cooperative`.
    CancelAfter(Duration),
}

impl OnDisconnect {
    /// The context that a handler gets.
    fn ctx(self, ctx: &Ctx) -> Ctx {
        let grace = match self {
            Self::Drop | Self::Cooperative => return ctx.clone(),
            Self::Ignore => Grace::UNBOUNDED,
            Self::CancelAfter(grace) => Grace::from(grace),
        };
        let shield = ctx.shield(grace);
        // A shield moves the deadline back by its grace, or drops it; but a deadline is the caller's
        // word on how long the answer is of use, and not an end that came as a surprise.
        match ctx.deadline() {
            Some(deadline) => shield.with_deadline(deadline.at()),
            None => shield,
        }
    }
}

/// Gives routes an [`OnDisconnect`] of their own, below an [`HttpLayer`](crate::HttpLayer).
///
/// # Examples
/// ```
/// use axum::{Router, routing::post};
/// use ripcord_http::{HttpLayer, OnDisconnect, OnDisconnectLayer};
/// use ripcord_propagation::Propagation;
///
/// async fn pay() {}
/// async fn search() {}
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (server, _guard) = ripcord_tokio::root().build();
/// let once_begun = OnDisconnectLayer::new(OnDisconnect::Ignore);
/// let app: Router = Router::new()
///     .route("/pay", post(pay).layer(once_begun))
///     .route("/search", post(search))
///     .layer(HttpLayer::new(&server, Propagation::default()));
/// # drop(app);
/// # }
/// ```
///
/// A whole group of routes gets it in the same way: `Router::new().nest("/jobs", jobs.layer(..))`.
///
/// # Limitations
/// Without a context in the request's extensions it does nothing. Of two modes on one way the one
/// with more life wins: below an `Ignore` nothing is dropped or told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnDisconnectLayer {
    mode: OnDisconnect,
}

impl OnDisconnectLayer {
    /// Handlers below it are treated so.
    ///
    /// What stands between this layer and the handler runs with the handler, in its task if it has
    /// one: layers that should end with the client belong above.
    #[must_use]
    pub fn new(mode: OnDisconnect) -> Self {
        Self { mode }
    }
}

impl<S> Layer<S> for OnDisconnectLayer {
    type Service = OnDisconnectService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OnDisconnectService {
            inner,
            mode: self.mode,
        }
    }
}

/// A service whose handlers are treated by an [`OnDisconnect`]; made by [`OnDisconnectLayer`].
///
/// # Panics
/// A call outside of a tokio runtime, if the mode needs a task. A panic of a handler in a task of its
/// own is resumed where the answer is awaited, as if it had run there.
#[derive(Clone, Debug)]
pub struct OnDisconnectService<S> {
    inner: S,
    mode: OnDisconnect,
}

impl<S, B> Service<Request<B>> for OnDisconnectService<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = OnDisconnectFuture<S::Future, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if self.mode == OnDisconnect::Drop {
            return OnDisconnectFuture::Inline {
                future: self.inner.call(request),
            };
        }
        let Some(outer) = request.extensions().get::<Ctx>().cloned() else {
            return OnDisconnectFuture::Inline {
                future: self.inner.call(request),
            };
        };
        let ctx = self.mode.ctx(&outer);
        request.extensions_mut().insert(ctx.clone());
        let beside = beside(&request);
        let future = self.inner.call(request);
        let name = ctx.name().unwrap_or("request handler").to_owned();
        OnDisconnectFuture::Spawned {
            task: ctx.spawn(name, |_| async move {
                let answer = future.await;
                drop(beside);
                answer
            }),
        }
    }
}

/// Has our own server wait for the handler; another one does not know of it.
#[cfg(feature = "server")]
fn beside<B>(request: &Request<B>) -> Option<crate::connection::Beside> {
    let connection = request
        .extensions()
        .get::<std::sync::Arc<crate::Connection>>()?;
    Some(connection.beside())
}

#[cfg(not(feature = "server"))]
fn beside<B>(_: &Request<B>) {}

pin_project_lite::pin_project! {
    /// The future of an [`OnDisconnectService`]: the handler's own, or a handle to its task.
    ///
    /// # Cancel safety
    /// Dropped, it drops the handler, or lets go of its task, which runs on.
    #[project = Project]
    #[allow(missing_docs, reason = "the variants are not for use")]
    #[non_exhaustive]
    pub enum OnDisconnectFuture<F, T> {
        #[doc(hidden)]
        Inline { #[pin] future: F },
        #[doc(hidden)]
        Spawned { task: JoinHandle<T> },
    }
}

impl<F: Future<Output = T>, T> Future for OnDisconnectFuture<F, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Project::Inline { future } => future.poll(cx),
            Project::Spawned { task } => match Pin::new(task).poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(answer)) => Poll::Ready(answer),
                Poll::Ready(Err(error)) => match error.try_into_panic() {
                    // As if it had run here.
                    Ok(payload) => resume_unwind(payload),
                    // It never ran, since its context was done, or its runtime shuts down. Whoever
                    // ended the context answers; a wake comes from there.
                    Err(_) => Poll::Pending,
                },
            },
        }
    }
}

impl<F, T> fmt::Debug for OnDisconnectFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline { .. } => "OnDisconnectFuture::Inline",
            Self::Spawned { .. } => "OnDisconnectFuture::Spawned",
        })
    }
}
