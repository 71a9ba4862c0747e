//! Request context for Rust services: cancellation you can trust, deadlines that travel,
//! and an x-ray of what did not stop.
//!
//! A [`Ctx`] goes with a request through every function and task that works for it. It
//! says whether the work is still wanted and until when, carries typed values, and when
//! it ends says why.
//!
//! ```
//! use ripcord::{Cancelled, Ctx, CtxExt};
//! use std::time::Duration;
//!
//! async fn price(ctx: &Ctx, item: u32) -> Result<u32, Cancelled> {
//!     // Ends early if the request does, and drops the look-up first.
//!     ctx.run(async { item * 100 }).await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (server, guard) = ripcord::root().name("server").build();
//! let request = server.named("GET /price").with_timeout(Duration::from_secs(3));
//! let task = request.spawn("price", |ctx| async move { price(&ctx, 7).await });
//! assert_eq!(task.await.expect("the task ran"), Ok(700));
//!
//! guard.cancel("deploy");
//! let error = price(&request, 7).await.unwrap_err();
//! assert_eq!(error.cause().message(), Some("deploy"));
//! # }
//! ```
//!
//! This crate holds no code of its own: the context is `ripcord-core`, which knows no
//! runtime; tasks, scopes and I/O are `ripcord-tokio`. What a request carries from process to
//! process, and how it ends over a protocol, are modules: `propagation`, `wire`, `http`, `grpc` and
//! `otel` are the crates of these names.
//!
//! # Features
//! * `tokio` (default): everything that needs the runtime.
//! * `macros` (default): [`main`](macro@main).
//! * `token` (default): to and from tokio-util's `CancellationToken`.
//! * `test-util`: roots follow a paused tokio clock.
//! * `propagation`: deadlines, trace context, baggage and values in headers.
//! * `http`: layers for HTTP servers and clients, extractors for axum, and a server; turns
//!   `propagation` and `tokio` on.
//! * `reqwest`: the same for calls by reqwest; turns `http` on.
//! * `grpc`: layers for tonic's servers and clients.
//! * `otel`: spans, metrics and logs for OpenTelemetry. For OTLP, Prometheus or `tracing` depend on
//!   `ripcord-otel` with those features.
//!
//! * `trace`: records what contexts and tasks do, for `ripcord explain`.
//! * `trace-signal`: a flight recorder writes its memory at SIGUSR1, too.
//! * `trace-usdt`: static probes for `bpftrace`, `perf` and `gdb`, on Linux.
//!
//! # Where to read next
//! [`guide`]: from Go's context, from `CancellationToken`, from `tokio::time::timeout`; what travels
//! between services; deadlines and disconnects over HTTP.

pub use ripcord_core::*;

#[cfg(feature = "tokio")]
pub use ripcord_tokio::*;

// As modules: names as `Server`, `Peers` and `Call` say little without theirs, and some are in two.
#[cfg(feature = "grpc")]
pub use ripcord_grpc as grpc;
#[cfg(feature = "http")]
pub use ripcord_http as http;
#[cfg(feature = "otel")]
pub use ripcord_otel as otel;
#[cfg(feature = "propagation")]
pub use ripcord_propagation as propagation;
#[cfg(feature = "propagation")]
pub use ripcord_wire as wire;

#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod macro_support;
#[cfg(feature = "trace")]
mod program;

#[cfg(feature = "macros")]
pub use ripcord_macros::main;

/// Recording what contexts and tasks do: `ripcord-tracer`, and how a program uses it.
#[cfg(feature = "trace")]
pub mod trace {
    pub use crate::program::{Recording, RecordingError};
    pub use ripcord_tracer::*;
}

/// The guide; its examples are compiled and run as tests.
///
/// A page about a feature is there with that feature.
pub mod guide {
    #[doc = include_str!("../../../docs/guide/from-go-context.md")]
    pub mod from_go_context {}
    #[doc = include_str!("../../../docs/guide/from-cancellation-token.md")]
    pub mod from_cancellation_token {}
    #[doc = include_str!("../../../docs/guide/from-tokio-timeout.md")]
    pub mod from_tokio_timeout {}
    #[cfg(feature = "propagation")]
    #[doc = include_str!("../../../docs/guide/propagation.md")]
    pub mod propagation {}
    #[cfg(feature = "http")]
    #[doc = include_str!("../../../docs/guide/http.md")]
    pub mod http {}
    #[cfg(all(feature = "macros", feature = "trace"))]
    #[doc = include_str!("../../../docs/guide/tracing.md")]
    pub mod tracing {}
}

/// The examples of the README are tests too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
