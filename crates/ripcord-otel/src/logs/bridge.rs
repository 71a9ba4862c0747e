//! The layers that turn `tracing` into OpenTelemetry, without the libraries that export it.

use crate::names::SCOPE;
use opentelemetry::logs::{Logger, LoggerProvider};
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// The libraries that carry telemetry out: what they say about that would be telemetry of
/// telemetry.
const QUIET: &[&str] = &[
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_http",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "reqwest",
    "rustls",
    "tonic",
    "tower",
    "want",
];

/// A filter that leaves out the libraries of export, and lets everything else through.
///
/// Needed on every layer that exports over the network; add levels of your own to it.
///
/// # Examples
/// ```
/// use ripcord_otel::logs::quiet;
/// use tracing::Level;
///
/// let filter = quiet().with_target("chatty_library", Level::WARN);
/// assert!(filter.would_enable("orders", &Level::TRACE));
/// assert!(!filter.would_enable("hyper::proto", &Level::ERROR));
/// ```
///
/// # Limitations
/// It leaves out what these libraries say for the program as well, if that serves with them.
#[must_use]
pub fn quiet() -> Targets {
    let quiet = QUIET.iter().map(|target| (*target, LevelFilter::OFF));
    Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(quiet)
}

/// A layer that makes spans of OpenTelemetry of the spans of `tracing`, [filtered](quiet).
///
/// Under [`with_otel`](crate::OtelFutureExt::with_otel) they lie below the span of the request.
///
/// # Examples
/// ```
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use ripcord_otel::logs::span_layer;
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let tracers = SdkTracerProvider::builder().build();
/// let subscriber = tracing_subscriber::registry().with(span_layer(&tracers));
/// tracing::subscriber::with_default(subscriber, || {
///     let _entered = tracing::info_span!("parse").entered();
/// });
/// ```
pub fn span_layer<S, P>(tracers: &P) -> impl Layer<S> + Send + Sync + use<S, P>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    P: TracerProvider,
    P::Tracer: Tracer + Send + Sync + 'static,
    <P::Tracer as Tracer>::Span: Send + Sync + 'static,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracers.tracer(SCOPE))
        .with_filter(quiet())
}

/// A layer that makes log records of OpenTelemetry of the events of `tracing`, [filtered](quiet).
///
/// The ids are those of the current context of OpenTelemetry, or, with `CtxLogProcessor` (feature
/// `otlp`), of the current [`Ctx`](ripcord_core::Ctx).
///
/// # Examples
/// ```
/// use opentelemetry_sdk::logs::SdkLoggerProvider;
/// use ripcord_otel::logs::log_layer;
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let loggers = SdkLoggerProvider::builder().build();
/// let subscriber = tracing_subscriber::registry().with(log_layer(&loggers));
/// tracing::subscriber::with_default(subscriber, || tracing::info!("started"));
/// ```
pub fn log_layer<S, P>(loggers: &P) -> impl Layer<S> + Send + Sync + use<S, P>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    P: LoggerProvider<Logger: Send + Sync + 'static> + Send + Sync + 'static,
    <P as LoggerProvider>::Logger: Logger,
{
    OpenTelemetryTracingBridge::new(loggers).with_filter(quiet())
}
