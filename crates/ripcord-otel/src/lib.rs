//! OpenTelemetry for ripcord: spans and metrics of calls, propagators, export, logs, Prometheus.
//!
//! The layers of `ripcord-http` and `ripcord-grpc` tell an observer of each call that they serve or
//! make. [`Telemetry`] is that observer for OpenTelemetry: each call becomes a span below the one
//! its caller sent, and is counted; both come to their end also where a handler is dropped
//! half-way, because they are ended from `Drop`.
//!
//! ```
//! use http::HeaderMap;
//! use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
//! use ripcord_core::Ctx;
//! use ripcord_otel::{CtxOtel as _, Telemetry};
//! use ripcord_propagation::{Call, CallObserver, Exchange, Propagation, Protocol, Side};
//! use std::sync::Arc;
//!
//! let spans = InMemorySpanExporter::default();
//! let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
//! let observer: Arc<dyn CallObserver> =
//!     Arc::new(Telemetry::builder().tracer_provider(&tracers).build());
//!
//! // What a layer does for each request:
//! let server = Ctx::background();
//! let incoming = Propagation::default().extract(&HeaderMap::new());
//! let call = Call::new(Side::Server, Protocol::Http, "GET", "/orders/7");
//! let exchange = Exchange::begin(&server, incoming, call, server.clock_now(), Some(&observer));
//!
//! // What a handler does, if it wants a span of its own:
//! exchange.ctx().span("load").end();
//!
//! drop(exchange); // The client left.
//! let ended = spans.get_finished_spans().expect("kept in memory");
//! assert_eq!((ended[0].name.as_ref(), ended[1].name.as_ref()), ("load", "GET"));
//! assert_eq!(ended[0].parent_span_id, ended[1].span_context.span_id());
//! assert_eq!(ended[1].events.iter().next().expect("the cause").name, "ripcord.cancel");
//! ```
//!
//! # What is in it
//! | what | where | feature |
//! |---|---|---|
//! | spans and metrics of calls | [`Telemetry`] | |
//! | spans of one's own, OpenTelemetry's context at each poll | [`CtxOtel`], [`OtelFutureExt`] | |
//! | propagators over ripcord's codecs | [`propagators`] | |
//! | every name, and the rules for a span's status | [`names`] | |
//! | set-up of the SDK and export, without its traps | `otlp` | `otlp`; `tls` for https |
//! | text for Prometheus | `Prometheus` | `prometheus` |
//! | JSON logs, and the bridge from `tracing` | [`logs`] | `tracing` |
//! | the gauge of leaked tasks, by itself | `TelemetryBuilder::leaked_tokio_tasks` | `tokio` |
//!
//! Without a feature the crate needs the API of OpenTelemetry and no SDK: a library can use it, and
//! spans go to whatever the program sets up.
//!
//! # How to
//! **Set everything up.** One call makes the providers and the export, and gives the observer:
//!
//! ```no_run
//! # #[cfg(all(feature = "otlp", feature = "tracing"))] {
//! use ripcord_otel::otlp::Otlp;
//! use std::time::Duration;
//! use tracing_subscriber::layer::SubscriberExt as _;
//! use tracing_subscriber::util::SubscriberInitExt as _;
//!
//! let guard = Otlp::builder().service_name("orders").build().expect("settings that can be");
//! tracing_subscriber::registry().with(guard.layer()).init();
//! let telemetry = guard.telemetry().build();
//! // … serve, with `telemetry` in the layers, and drain …
//! # drop(telemetry);
//! if let Err(error) = guard.shutdown(Duration::from_secs(5)) {
//!     eprintln!("failed to {error}");
//! }
//! # }
//! ```
//!
//! **See one's own steps.** [`CtxOtel::span`] opens a span below a context and gives a context that
//! lies in it: calls that are made with that have the span as their parent. Dropped, it says why
//! its context is done, if it is.
//!
//! **Let other libraries see the request.** They ask OpenTelemetry for the current context, which
//! belongs to a thread. [`with_otel`](OtelFutureExt::with_otel) puts it there in each poll:
//!
//! ```
//! use opentelemetry::{Context, trace::TraceContextExt as _};
//! use ripcord_core::Ctx;
//! use ripcord_otel::OtelFutureExt as _;
//!
//! async fn handler(ctx: Ctx) {
//!     let query = async { Context::current().has_active_span() };
//!     let _is_traced = query.with_otel(&ctx).await;
//! }
//! # drop(handler(Ctx::background()));
//! ```
//!
//! **Find the request of a log line.** Every line that is written under a request's context has its
//! ids, with `logs::JsonLayer` as well as over OTLP; in a format of one's own
//! they are [`LogIds`](logs::LogIds).
//!
//! **Find the line that ended a request.** The event `ripcord.cancel` on its span has the site, the
//! name of the context, and a hash that is equal for equal causes: search for that to see them all.
//!
//! **Watch it.** `dashboards/ripcord-grafana.json` and `alerts/ripcord.rules.yml` in the folder of
//! this crate are for the metrics as Prometheus names them; a test keeps the names in step.
//!
//! # Spans
//! A served call's span has kind *server*, a made one's *client*. It is called `GET /orders/{id}`,
//! or `GET` where the route is not known, or `package.Service/Method`. Its attributes are those of
//! [semantic conventions 1.42](names), and `ripcord.request.id`. Its status follows the
//! [table](names): a client that left is no error of a server, a deadline that passed is one,
//! whoever set it.
//!
//! # Metrics
//! | name | kind | labels of ripcord's own |
//! |---|---|---|
//! | `http.server.request.duration`, `http.client.request.duration` | histogram, s | |
//! | `rpc.server.call.duration`, `rpc.client.call.duration` | histogram, s | |
//! | `http.server.active_requests` | up-down counter | |
//! | `ripcord.requests.cancelled` | counter | `cause`, `side` |
//! | `ripcord.cancel.latency` | histogram, s | `cause`, `side` |
//! | `ripcord.deadline.remaining` | histogram, s | `at`: `arrival`, `finish` |
//! | `ripcord.deadline.exceeded` | counter | `source`: `caller`, `policy`, `local`; `side` |
//! | `ripcord.headers.rejected` | counter | `header` |
//! | `ripcord.tasks.leaked` | gauge | |
//! | `ripcord.telemetry.dropped` | counter | `signal`, `reason` |
//!
//! Nothing that a peer makes up becomes a label: methods are from a list, routes are templates, and
//! a path is on the span only.
//!
//! # Costs
//! A served HTTP call makes 28 allocations where its span is sampled and 22 where it is not, before
//! export (`tests/costs.rs`, 2026-11), and takes no lock of this crate's. What waits for export is
//! bounded by a queue, and a request never waits for it.
//!
//! # Limitations
//! * A trace that begins here gets its ids from the SDK, whose generator makes random ones; with a
//!   generator that does not, the flag *random* that goes out is not true.
//! * The distance between a call and the context whose end ended it is not known here. The event
//!   tells name and site of that context instead.
//!
//! # Where to read next
//! `names.rs`, `telemetry.rs`, `call.rs` (one call from start to end), `context.rs`, `span.rs`,
//! `propagators.rs`, `convert.rs` (what is lost between the two worlds), `otlp/`, `logs/`,
//! `prometheus.rs`.

#![forbid(unsafe_code)]

mod call;
mod cancel;
mod context;
mod convert;
pub mod logs;
mod methods;
mod metrics;
pub mod names;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(feature = "prometheus")]
mod prometheus;
pub mod propagators;
mod span;
mod telemetry;

pub use cancel::cancel_hash;
pub use context::{CtxOtel, OtelFutureExt, WithOtel};
#[cfg(feature = "prometheus")]
pub use prometheus::Prometheus;
pub use propagators::{B3Trace, Composite, W3cBaggage, W3cTrace};
pub use span::SpanGuard;
pub use telemetry::{Telemetry, TelemetryBuilder};
