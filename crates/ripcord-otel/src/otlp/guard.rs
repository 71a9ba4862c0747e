//! [`Guard`]: holds what was set up, flushes it, and shuts it down in bounded time.
//!
//! # Why threads
//! The SDK's own calls block, some without a limit. Each runs on a thread of its own, and the
//! caller waits for their answers with a timeout; one that comes late is not waited for.

use super::count::Counts;
use super::error::FlushError;
use super::settings::Signal;
use crate::names::{attribute, metric};
use crate::{Telemetry, TelemetryBuilder};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use ripcord_core::Ctx;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{self, Poll};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the drop of a guard waits at the most.
const DROP_GRACE: Duration = Duration::from_secs(1);

/// The accounts of all signals.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    pub(super) spans: Arc<Counts>,
    pub(super) logs: Arc<Counts>,
    pub(super) metrics: Arc<Counts>,
}

/// How much telemetry was not delivered, since the start.
///
/// Zero everywhere is what a healthy process shows. A queue that was full says that the collector
/// is slower than the process, an export that failed that it was not there.
///
/// # Examples
/// ```
/// use ripcord_otel::otlp::{Dropped, Otlp};
///
/// let guard = Otlp::builder().service_name("orders").without_globals().build()?;
/// assert_eq!(guard.dropped(), Dropped::default());
/// # Ok::<(), ripcord_otel::otlp::InitError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Dropped {
    /// Spans for which the queue had no room.
    pub spans_queue_full: u64,
    /// Spans of exports that failed.
    pub spans_export_failed: u64,
    /// Log records for which the queue had no room.
    pub logs_queue_full: u64,
    /// Log records that came after the shutdown. Spans do not: the SDK makes none any more.
    pub logs_after_shutdown: u64,
    /// Log records of exports that failed.
    pub logs_export_failed: u64,
    /// Exports of metrics that failed. Their sums are cumulative, so the next one makes them good.
    pub metrics_export_failed: u64,
}

impl Dropped {
    /// Spans and log records that are lost, whatever the reason.
    ///
    /// Metrics do not count: they are late, not lost.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Dropped;
    ///
    /// assert_eq!(Dropped::default().total(), 0);
    /// ```
    #[must_use]
    pub fn total(&self) -> u64 {
        [
            self.spans_queue_full,
            self.spans_export_failed,
            self.logs_queue_full,
            self.logs_after_shutdown,
            self.logs_export_failed,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

impl Accounts {
    fn dropped(&self) -> Dropped {
        let [spans_queue_full, _, spans_export_failed] = self.spans.dropped();
        let [logs_queue_full, logs_after_shutdown, logs_export_failed] = self.logs.dropped();
        let [_, _, metrics_export_failed] = self.metrics.dropped();
        Dropped {
            spans_queue_full,
            spans_export_failed,
            logs_queue_full,
            logs_after_shutdown,
            logs_export_failed,
            metrics_export_failed,
        }
    }

    /// Shows the drops as a metric of their own.
    ///
    /// The counts are read when metrics are collected; nothing is added up twice.
    fn show(&self, meters: &SdkMeterProvider) {
        let accounts = self.clone();
        let meter = meters.meter(crate::names::SCOPE);
        meter
            .u64_observable_counter(metric::DROPPED)
            .with_unit("{item}")
            .with_description("Spans, log records and exports of metrics that were not delivered.")
            .with_callback(move |observer| {
                for (signal, counts) in [
                    (Signal::Spans, &accounts.spans),
                    (Signal::Logs, &accounts.logs),
                    (Signal::Metrics, &accounts.metrics),
                ] {
                    let reasons = ["queue_full", "after_shutdown", "export_failed"];
                    for (reason, count) in reasons.into_iter().zip(counts.dropped()) {
                        let labels = [
                            KeyValue::new(attribute::LABEL_SIGNAL, signal.as_str()),
                            KeyValue::new(attribute::LABEL_REASON, reason),
                        ];
                        observer.observe(count, &labels);
                    }
                }
            })
            .build();
    }
}

/// What has to be done to the providers, on other threads.
#[derive(Clone)]
struct Providers {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    loggers: SdkLoggerProvider,
    accounts: Accounts,
}

/// What is asked of the providers.
#[derive(Clone, Copy)]
enum Act {
    Flush,
    ShutDown(Duration),
}

impl Providers {
    /// One call of the SDK; it may block, and without a limit.
    fn act(&self, signal: Signal, act: Act) -> OTelSdkResult {
        match (signal, act) {
            (Signal::Spans, Act::Flush) => self.tracers.force_flush(),
            (Signal::Metrics, Act::Flush) => self.meters.force_flush(),
            (Signal::Logs, Act::Flush) => self.loggers.force_flush(),
            (Signal::Spans, Act::ShutDown(limit)) => self.tracers.shutdown_with_timeout(limit),
            (Signal::Metrics, Act::ShutDown(limit)) => self.meters.shutdown_with_timeout(limit),
            (Signal::Logs, Act::ShutDown(limit)) => self.loggers.shutdown_with_timeout(limit),
        }
    }

    /// All signals at once, until all have answered or the time is over.
    fn act_on_all(&self, act: Act, limit: Duration) -> Result<(), FlushError> {
        let clock = Ctx::background().with_timeout(limit);
        let before = self.accounts.dropped();
        let (tell, answers) = mpsc::channel();
        let signals = [Signal::Spans, Signal::Metrics, Signal::Logs];
        for signal in signals {
            let (providers, tell) = (self.clone(), tell.clone());
            spawn(move || {
                // Nobody listens any more once the time is over.
                let _ = tell.send((signal, providers.act(signal, act)));
            })
            .map_err(FlushError::Thread)?;
        }
        let mut first = Ok(());
        for _ in signals {
            let left = clock.remaining().unwrap_or(limit);
            match answers.recv_timeout(left) {
                Ok((_, Ok(()) | Err(OTelSdkError::AlreadyShutdown))) => {}
                Ok((_, Err(OTelSdkError::Timeout(_)))) | Err(_) => return Err(self.late(limit)),
                Ok((signal, Err(error))) => {
                    first = first.and(Err(FlushError::failed(signal, &error)));
                }
            }
        }
        // The SDK's processors answer that all is well when their last export has failed.
        let after = self.accounts.dropped();
        let spans = after
            .spans_export_failed
            .saturating_sub(before.spans_export_failed);
        let logs = after
            .logs_export_failed
            .saturating_sub(before.logs_export_failed);
        if spans > 0 || logs > 0 {
            return Err(FlushError::Lost { spans, logs });
        }
        first
    }

    /// What is still in the queues when the time is over.
    fn late(&self, after: Duration) -> FlushError {
        FlushError::Timeout {
            after,
            spans: self.accounts.spans.queued(),
            logs: self.accounts.logs.queued(),
        }
    }
}

/// A thread that nobody joins: it ends when the SDK answers.
fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("ripcord-otel-flush".to_owned());
    thread.spawn(work).map(drop)
}

/// Holds telemetry for as long as the program runs; made by
/// [`OtlpBuilder::build`](super::OtlpBuilder::build).
///
/// Shut it down last, when no request is in flight any more: what ends later is not exported.
/// Dropped without that, it shuts down by itself and waits for a second at the most.
///
/// # Examples
/// ```
/// use ripcord_otel::otlp::Otlp;
/// use std::time::Duration;
///
/// let guard = Otlp::builder()
///     .service_name("orders")
///     .endpoint("http://127.0.0.1:9") // Nobody is there.
///     .timeout(Duration::from_millis(50))
///     .without_globals()
///     .build()?;
/// assert_eq!(guard.dropped().total(), 0);
/// if let Err(error) = guard.shutdown(Duration::from_secs(5)) {
///     eprintln!("failed to {error}");
/// }
/// # Ok::<(), ripcord_otel::otlp::InitError>(())
/// ```
#[must_use = "dropped at once, it shuts telemetry down"]
pub struct Guard {
    providers: Providers,
    is_over: AtomicBool,
}

impl Guard {
    pub(super) fn new(
        tracers: SdkTracerProvider,
        meters: SdkMeterProvider,
        loggers: SdkLoggerProvider,
        accounts: Accounts,
    ) -> Self {
        accounts.show(&meters);
        Self {
            providers: Providers {
                tracers,
                meters,
                loggers,
                accounts,
            },
            is_over: AtomicBool::new(false),
        }
    }

    /// Starts an observer on these providers.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    /// use ripcord_propagation::CallObserver;
    /// use std::sync::Arc;
    ///
    /// let guard = Otlp::builder().service_name("orders").without_globals().build()?;
    /// let observer: Arc<dyn CallObserver> = Arc::new(guard.telemetry().build());
    /// # drop(observer);
    /// # Ok::<(), ripcord_otel::otlp::InitError>(())
    /// ```
    pub fn telemetry(&self) -> TelemetryBuilder {
        Telemetry::builder()
            .tracer_provider(&self.providers.tracers)
            .meter_provider(&self.providers.meters)
    }

    /// The provider of tracers, for code that uses OpenTelemetry itself.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    /// use ripcord_otel::otlp::Otlp;
    ///
    /// let guard = Otlp::builder().service_name("orders").without_globals().build()?;
    /// guard.tracer_provider().tracer("import").start("nightly").end();
    /// # Ok::<(), ripcord_otel::otlp::InitError>(())
    /// ```
    #[must_use]
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.providers.tracers
    }

    /// The provider of meters.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry::metrics::MeterProvider as _;
    /// use ripcord_otel::otlp::Otlp;
    ///
    /// let guard = Otlp::builder().service_name("orders").without_globals().build()?;
    /// let orders = guard.meter_provider().meter("shop").u64_counter("orders").build();
    /// orders.add(1, &[]);
    /// # Ok::<(), ripcord_otel::otlp::InitError>(())
    /// ```
    #[must_use]
    pub fn meter_provider(&self) -> &SdkMeterProvider {
        &self.providers.meters
    }

    /// The provider of loggers.
    ///
    /// For a bridge from another logging library than `tracing`.
    #[must_use]
    pub fn logger_provider(&self) -> &SdkLoggerProvider {
        &self.providers.loggers
    }

    /// How much was not delivered so far.
    ///
    /// The metric `ripcord.telemetry.dropped` says the same.
    ///
    /// # Costs
    /// Nine loads.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.providers.accounts.dropped()
    }

    /// The layers for a `tracing` subscriber: spans of `tracing` become spans of OpenTelemetry, and
    /// its events become log records.
    ///
    /// What the libraries of export say is left out: see [`quiet`](crate::logs::quiet).
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    /// use tracing_subscriber::layer::SubscriberExt as _;
    ///
    /// let guard = Otlp::builder().service_name("orders").without_globals().build()?;
    /// let subscriber = tracing_subscriber::registry().with(guard.layer());
    /// tracing::subscriber::with_default(subscriber, || tracing::info!("started"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "tracing")]
    pub fn layer<S>(&self) -> impl tracing_subscriber::Layer<S> + Send + Sync + use<S>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
    {
        use tracing_subscriber::Layer as _;
        let spans = crate::logs::span_layer(&self.providers.tracers);
        spans.and_then(crate::logs::log_layer(&self.providers.loggers))
    }

    /// Sends what waits, for `limit` at the most. Blocks the thread; see
    /// [`shutdown`](Self::shutdown).
    ///
    /// # Errors
    /// [`FlushError`] if not everything is known to have arrived in time.
    ///
    /// For a process that is about to be frozen, such as a function in the cloud between two calls.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    /// use std::time::Duration;
    ///
    /// let guard = Otlp::builder().service_name("orders").without_globals().build()?;
    /// if let Err(error) = guard.flush(Duration::from_millis(100)) {
    ///     eprintln!("failed to {error}");
    /// }
    /// # Ok::<(), ripcord_otel::otlp::InitError>(())
    /// ```
    pub fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        self.providers.act_on_all(Act::Flush, limit)
    }

    /// Sends what waits and ends the export, for `limit` at the most.
    ///
    /// Blocks the thread, but deadlocks on no runtime: export does not need the caller's. In async
    /// code [`shutdown_async`](Self::shutdown_async) leaves the thread free. A second call does
    /// nothing.
    ///
    /// # Errors
    /// [`FlushError`] if not everything is known to have arrived in time. Export then goes on in
    /// the background, up to the limit of one export.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::{FlushError, Otlp};
    /// use std::time::Duration;
    ///
    /// let guard = Otlp::builder().service_name("orders").without_globals().build()?;
    /// match guard.shutdown(Duration::from_millis(100)) {
    ///     Ok(()) => {}
    ///     Err(FlushError::Lost { spans, .. }) => eprintln!("{spans} spans are lost"),
    ///     Err(error) => eprintln!("failed to {error}"),
    /// }
    /// # Ok::<(), ripcord_otel::otlp::InitError>(())
    /// ```
    pub fn shutdown(&self, limit: Duration) -> Result<(), FlushError> {
        if self.begin_end() {
            return Ok(());
        }
        self.providers.act_on_all(Act::ShutDown(limit), limit)
    }

    /// The same without blocking the thread. It begins at the call, whether or not it is awaited.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_otel::otlp::InitError;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), InitError> {
    /// use ripcord_otel::otlp::Otlp;
    /// use std::time::Duration;
    ///
    /// let guard = Otlp::builder().service_name("orders").without_globals().build()?;
    /// // … serve until it is time to go …
    /// if let Err(error) = guard.shutdown_async(Duration::from_millis(100)).await {
    ///     eprintln!("failed to {error}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future only ends the waiting: the shutdown goes on in the background.
    ///
    /// # Errors
    /// The future gives what [`shutdown`](Self::shutdown) would.
    pub fn shutdown_async(&self, limit: Duration) -> Shutdown {
        let (tell, answer) = oneshot::channel();
        if self.begin_end() {
            // The receiver is below.
            let _ = tell.send(Ok(()));
            return Shutdown { answer };
        }
        let providers = self.providers.clone();
        let work = move || {
            // Nobody may be waiting any more.
            let _ = tell.send(providers.act_on_all(Act::ShutDown(limit), limit));
        };
        if let Err(error) = spawn(work) {
            // The sender went with the closure: the future reports a thread that is missing.
            drop(error);
        }
        Shutdown { answer }
    }

    /// Whether the end has begun before.
    ///
    /// Only the first caller shuts down: the SDK answers a second one with an error that means
    /// nothing.
    fn begin_end(&self) -> bool {
        // Relaxed: the flag decides only who does it; the providers have locks of their own.
        self.is_over.swap(true, Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // There is nobody to tell; the drops are counted, and the SDK logs the rest.
        let _ = self.shutdown(DROP_GRACE);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// Resolves when telemetry is shut down; made by [`Guard::shutdown_async`].
///
/// # Cancel safety
/// Dropping it only ends the waiting.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled; the shutdown itself goes on"]
pub struct Shutdown {
    answer: oneshot::Receiver<Result<(), FlushError>>,
}

impl Future for Shutdown {
    type Output = Result<(), FlushError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| {
            answer.unwrap_or_else(|_| {
                let error = io::Error::other("the thread that flushes ended early");
                Err(FlushError::Thread(error))
            })
        })
    }
}
