//! HTTP under a request context: a client that hangs up stops the work, deadlines go along.
//!
//! * [`HttpLayer`] makes the context of each request of a tower or axum service; handlers take it as
//!   a [`RequestCtx`].
//! * [`Server`] serves it, sees clients leave where hyper does not look, and ends in stages.
//! * [`ClientLayer`] puts the calls of a client under the context of whoever makes them, for every
//!   client that is a tower service; `ReqwestClient` does it for reqwest.
//!
//! ```
//! use axum::{Router, routing::get};
//! use ripcord_http::{Ended, HttpLayer, OnDisconnect, OnDisconnectLayer, RequestCtx, Server};
//! use ripcord_propagation::{DeadlinePolicy, Propagation};
//! use std::time::Duration;
//!
//! async fn report(RequestCtx(ctx): RequestCtx) -> Result<String, Ended> {
//!     // Ends at the caller's deadline, when the client hangs up, or at a shutdown.
//!     Ok(ctx.run(async { "rows".to_owned() }).await?)
//! }
//! async fn pay() -> &'static str {
//!     "paid"
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (ctx, guard) = ripcord_tokio::root().name("shop").build();
//! let policy = DeadlinePolicy::new(Duration::from_millis(5), Duration::from_secs(30))?
//!     .with_default(Duration::from_secs(10))?;
//! let propagation = Propagation::builder().deadline(policy).build()?;
//! let app = Router::new()
//!     .route("/report", get(report))
//!     // Once begun, a payment is finished, whether the client waits for it or not.
//!     .route("/pay", get(pay).layer(OnDisconnectLayer::new(OnDisconnect::Ignore)))
//!     .layer(HttpLayer::new(&ctx, propagation));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = tokio::spawn(Server::new(&ctx).serve(listener, app));
//! guard.cancel("the example is over");
//! println!("{}", server.await??);
//! # Ok(()) }
//! ```
//!
//! # What a client's leaving looks like
//! With [`Server`] on Linux, on loopback (`cargo test -p ripcord-http --test hang_up -- --nocapture`
//! prints the time for each case; the test fails above 50 ms):
//!
//! | | FIN | RST | stream reset |
//! |---|---|---|---|
//! | HTTP/1, handler waits | seen | seen | |
//! | HTTP/1, body unread, partly read, or dropped | seen | seen | |
//! | HTTP/1, another request in the buffer | seen | seen | |
//! | HTTP/1, streaming an answer, with or without another request in the buffer | seen | seen | |
//! | HTTP/1, upgraded | seen | seen | |
//! | HTTP/2, each of these that exists there | seen | seen | seen |
//!
//! Elsewhere, or with `hang_up(None)`, an HTTP/1 client that leaves behind bytes that nobody reads is
//! not noticed before the handler is done.
//!
//! # How to
//! | to | see |
//! |---|---|
//! | give each request its context, and place the layer among others | [`HttpLayer`] |
//! | let a handler finish though its client is gone | [`OnDisconnect`] |
//! | answer a deadline of a handler's own | `Ended` |
//! | stop as an operator expects, run several servers, stand behind a proxy | [`Server`] |
//! | find out who left, and which peers are dead | [`HangUp`], [`KeepAlive`] |
//! | know who is connected, or keep something for a connection | [`Connection`] |
//! | call others with what is left of the deadline | [`ClientLayer`], `ReqwestClient` |
//! | decide who may be told what | [`Peers`] |
//! | tell a deadline from a failure, and try again only where it helps | [`CallError`] |
//! | write an access log, spans, metrics | [`HttpLayer::observer`], [`ClientLayer::observer`] |
//! | go through all of it step by step | the guide, `docs/guide/http.md` |
//!
//! **Spawn a part of the work**, and end it with the request. What is spawned under the context is
//! told; what is left of it is named by its name.
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use ripcord_http::{Ended, HttpLayer, RequestCtx};
//! use ripcord_propagation::Propagation;
//! use ripcord_tokio::CtxExt as _;
//! use tower::ServiceExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async fn page(RequestCtx(ctx): RequestCtx) -> Result<String, Ended> {
//!     let prices = ctx.spawn("prices", |ctx| async move { ctx.run(async { 7 }).await });
//!     let stock = ctx.run(async { 3 }).await?;
//!     let prices = prices.await.expect("it does not panic")?;
//!     Ok(format!("{stock} at {prices}"))
//! }
//! let (server, _guard) = ripcord_tokio::root().build();
//! let app = Router::new()
//!     .route("/", get(page))
//!     .layer(HttpLayer::new(&server, Propagation::default()));
//! let answer = app.oneshot(Request::get("/").body(Body::empty())?).await?;
//! assert_eq!(axum::body::to_bytes(answer.into_body(), 64).await?, "3 at 7");
//! # Ok(()) }
//! ```
//!
//! # Features
//! * `server` (default): [`Server`]. Without it the layers work under any server; a leaving client is
//!   noticed when that drops the handler.
//! * `axum` (default): [`RequestCtx`] as an extractor.
//! * `reqwest`: `ReqwestClient`.
//!
//! # Cancel safety
//! The futures of this crate end what they stand for when they are dropped: a handler, a call, an
//! accept loop. Each says what goes on all the same, and none loses an account.
//!
//! # Limitations
//! No TLS, see [`Server`]. A peer that vanishes without a word is noticed after
//! [`KeepAlive::silence_max`]. HTTP/3 is served by other servers; the layer works under them, and
//! a leaving client is noticed when they drop the handler.
//!
//! # Where to read next
//! `server/` (the layer), `serve/` (the server), `client/`, `connection.rs`.

#![forbid(unsafe_code)]

mod client;
#[cfg(feature = "server")]
mod connection;
#[cfg(feature = "server")]
mod serve;
mod server;
mod sync;

/// An error of a body or a service, whatever it is.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(feature = "reqwest")]
pub use client::ReqwestClient;
pub use client::{CallError, ClientBody, ClientFuture, ClientLayer, ClientService, Peers};
#[cfg(feature = "server")]
pub use connection::Connection;
#[cfg(feature = "server")]
pub use serve::{HangUp, KeepAlive, Report, Server};
#[cfg(feature = "axum")]
pub use server::{Ended, NoCtx, RequestCtx};
pub use server::{
    HttpFuture, HttpLayer, HttpService, OnDisconnect, OnDisconnectFuture, OnDisconnectLayer,
    OnDisconnectService, RequestBody, ServerBody,
};
