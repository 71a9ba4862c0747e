//! Extractors for axum: [`RequestCtx`].
//!
//! A context is taken out of the request's extensions, where the layer put it: nothing here knows
//! more of axum than that.

use crate::server::answer::instead;
use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use ripcord_core::{Cancelled, Ctx};
use std::convert::Infallible;
use std::fmt;

/// The context of the request, as an argument of an axum handler.
///
/// It is the same as [`Ctx::current`] inside the handler; as an argument it is visible in the
/// signature, and can be handed on. Order among the arguments does not matter: it reads nothing of
/// the body.
///
/// # Examples
/// ```
/// use axum::{Router, routing::get};
/// use ripcord_http::RequestCtx;
///
/// async fn work(RequestCtx(ctx): RequestCtx) -> &'static str {
///     match ctx.run(async { "done" }).await {
///         Ok(text) => text,
///         Err(_) => "too late",
///     }
/// }
/// /// A handler that also works without the layer.
/// async fn maybe(ctx: Option<RequestCtx>) -> &'static str {
///     if ctx.is_some() { "with" } else { "without" }
/// }
/// let app: Router = Router::new().route("/", get(work)).route("/maybe", get(maybe));
/// # drop(app);
/// ```
///
/// A handler that waits for its context, as `ctx.run(..)` does, is ready in the same poll in which the
/// layer would drop it, and a value that is ready counts: what it returns then is the answer. So an
/// error of `ctx` should become an [`Ended`], which answers as the layer does.
///
/// # Errors
/// [`NoCtx`], a 500, where no [`HttpLayer`](crate::HttpLayer) is above the handler. An
/// `Option<RequestCtx>` is `None` there.
///
/// # Costs
/// One reference count.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "it is there to be taken apart")]
pub struct RequestCtx(pub Ctx);

impl<S: Sync> FromRequestParts<S> for RequestCtx {
    type Rejection = NoCtx;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoCtx> {
        parts.extensions.get().cloned().map(Self).ok_or(NoCtx)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for RequestCtx {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned().map(Self))
    }
}

/// The end of a context, as the answer of an axum handler: `?` makes it of a [`Cancelled`].
///
/// It answers as the layer would: 504 for a deadline, 503 for a shutdown, with a problem document
/// (RFC 9457) that has the cause in one word and the request id. The whole table is that of
/// [`verdict`](ripcord_propagation::verdict). A deadline that the handler set for a part of its work
/// is answered in the same way, and is not called the caller's.
///
/// # Examples
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use http::Request;
/// use ripcord_http::{Ended, HttpLayer, RequestCtx};
/// use ripcord_propagation::Propagation;
/// use std::time::Duration;
/// use tower::ServiceExt as _;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// async fn stock(RequestCtx(ctx): RequestCtx) -> Result<String, Ended> {
///     let query = ctx.named("query").with_timeout(Duration::from_millis(5));
///     let rows = query.run(std::future::pending::<String>()).await?;
///     Ok(rows)
/// }
/// let (server, _guard) = ripcord_tokio::root().build();
/// let app = Router::new()
///     .route("/stock", get(stock))
///     .layer(HttpLayer::new(&server, Propagation::default()));
/// let answer = app.oneshot(Request::get("/stock").body(Body::empty())?).await?;
/// assert_eq!(answer.status(), 504);
/// # Ok(()) }
/// ```
///
/// # Limitations
/// The request id is that of [`Ctx::current`] when the answer is made: made in a bare `tokio::spawn`,
/// it has none. Services that have another form for errors take the status from
/// [`verdict`](ripcord_propagation::verdict), and write their own.
#[derive(Clone, Debug)]
#[allow(
    clippy::exhaustive_structs,
    reason = "it is there to be made and taken apart"
)]
pub struct Ended(pub Cancelled);

impl From<Cancelled> for Ended {
    fn from(cancelled: Cancelled) -> Self {
        Self(cancelled)
    }
}

impl IntoResponse for Ended {
    fn into_response(self) -> Response {
        instead(&Ctx::current(), self.0.cause()).map(Body::from)
    }
}

/// A handler asked for a context, and no layer made one.
///
/// That is a mistake in the program, so its answer is a 500 that says what to add. It is seen at the
/// first request in a test: layers of axum hold for the routes that were added *before* them.
///
/// # Examples
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use http::Request;
/// use ripcord_http::RequestCtx;
/// use tower::ServiceExt as _;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let forgotten = Router::new().route("/", get(async |_: RequestCtx| "never"));
/// let answer = forgotten.oneshot(Request::get("/").body(Body::empty())?).await?;
/// assert_eq!(answer.status(), 500);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NoCtx;

impl fmt::Display for NoCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("find a context in the request: add ripcord_http::HttpLayer to the router")
    }
}

impl std::error::Error for NoCtx {}

impl IntoResponse for NoCtx {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
