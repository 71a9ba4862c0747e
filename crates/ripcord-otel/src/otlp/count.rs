//! Queues that count what they drop: around the SDK's batch processors, which only log it.
//!
//! # Invariants
//! 1. At most `capacity` items are between the entrance of a processor and the exporter. The SDK's
//!    queue inside has the same length, so it is never full, and nothing is dropped there
//!    uncounted.
//! 2. Entering never waits.

use super::place::Place;
use opentelemetry::InstrumentationScope;
use opentelemetry::logs::Severity;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The account of one signal.
///
/// Whatever comes ends in one of four places: it waits, it was exported, it was turned away at the
/// entrance, or its export failed. A test adds them up.
#[derive(Debug)]
pub(crate) struct Counts {
    capacity: usize,
    queued: AtomicUsize,
    queue_full: AtomicU64,
    after_shutdown: AtomicU64,
    export_failed: AtomicU64,
    is_shut_down: AtomicBool,
}

impl Counts {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            queued: AtomicUsize::new(0),
            queue_full: AtomicU64::new(0),
            after_shutdown: AtomicU64::new(0),
            export_failed: AtomicU64::new(0),
            is_shut_down: AtomicBool::new(false),
        })
    }

    /// The length of the queue.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether there is room for one more; if not, it is counted.
    ///
    /// The number is raised first and taken back if it was too high, so that two that come at once
    /// cannot both take the last place.
    fn enter(&self) -> bool {
        // Relaxed: only the numbers count, nothing is published by them (counters).
        if self.is_shut_down.load(Ordering::Relaxed) {
            self.after_shutdown.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        // Relaxed: as above (counter).
        if self.queued.fetch_add(1, Ordering::Relaxed) < self.capacity {
            return true;
        }
        // Relaxed: as above (counters).
        self.queued.fetch_sub(1, Ordering::Relaxed);
        self.queue_full.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// A batch has left the queue for the exporter.
    fn leave(&self, items: usize) {
        // Relaxed: only the number counts (counter). It never falls below what has entered.
        self.queued.fetch_sub(items, Ordering::Relaxed);
    }

    /// The SDK does not try again: what failed is lost, and with it everything in its batch.
    fn ended(&self, result: &OTelSdkResult, items: usize) {
        if result.is_err() {
            let items = u64::try_from(items).unwrap_or(u64::MAX);
            // Relaxed: only the number counts (counter).
            self.export_failed.fetch_add(items, Ordering::Relaxed);
        }
    }

    fn shut_down(&self) {
        // Relaxed: whoever enters meanwhile is counted one way or the other (counter).
        self.is_shut_down.store(true, Ordering::Relaxed);
    }

    /// Queue full, after the shutdown, export failed.
    pub(crate) fn dropped(&self) -> [u64; 3] {
        // Relaxed: a snapshot of counters.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            read(&self.queue_full),
            read(&self.after_shutdown),
            read(&self.export_failed),
        ]
    }

    /// How many wait to be exported.
    pub(crate) fn queued(&self) -> usize {
        // Relaxed: a snapshot of a counter.
        self.queued.load(Ordering::Relaxed)
    }
}

/// A processor behind a queue that counts.
///
/// The SDK's processors know when they drop something, but say so only in a log line.
#[derive(Debug)]
pub(crate) struct Counted<P> {
    inner: P,
    counts: Arc<Counts>,
}

impl<P> Counted<P> {
    pub(crate) fn new(inner: P, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, cx: &opentelemetry::Context) {
        self.inner.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        // The SDK's batch processor would also export what is recorded and not sampled.
        if span.span_context.is_sampled() && self.counts.enter() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.counts.shut_down();
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Counted<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.counts.enter() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.counts.shut_down();
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter that runs in its place, within its limit, and counts.
#[derive(Debug)]
pub(crate) struct Placed<E> {
    inner: E,
    place: Place,
    limit: Duration,
    counts: Arc<Counts>,
}

impl<E> Placed<E> {
    pub(crate) fn new(inner: E, place: Place, limit: Duration, counts: Arc<Counts>) -> Self {
        Self {
            inner,
            place,
            limit,
            counts,
        }
    }

    /// Runs an export of so many items, and counts them if it fails.
    ///
    /// Counted where the export ends, also if that is after a shutdown that did not wait for it.
    async fn run(
        &self,
        items: usize,
        export: impl Future<Output = OTelSdkResult> + Send,
    ) -> OTelSdkResult {
        let result = self.place.export(self.limit, export).await;
        self.counts.ended(&result, items);
        result
    }
}

impl<E: SpanExporter> SpanExporter for Placed<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let items = batch.len();
        self.counts.leave(items);
        self.run(items, self.inner.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.place
            .enter(|| self.inner.shutdown_with_timeout(timeout))
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.place.enter(|| self.inner.force_flush())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Placed<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let items = batch.iter().count();
        self.counts.leave(items);
        self.run(items, self.inner.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.place
            .enter(|| self.inner.shutdown_with_timeout(timeout))
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sums are cumulative: an export that fails is made good by the next one. It is counted once.
impl<E: PushMetricExporter> PushMetricExporter for Placed<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.run(1, self.inner.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.place.enter(|| self.inner.force_flush())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.counts.shut_down();
        self.place
            .enter(|| self.inner.shutdown_with_timeout(timeout))
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::{
        SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample,
    };

    /// Records everything, and samples every other span.
    #[derive(Clone, Debug)]
    struct EveryOther(Arc<AtomicUsize>);

    impl ShouldSample for EveryOther {
        fn should_sample(
            &self,
            _: Option<&opentelemetry::Context>,
            _: opentelemetry::TraceId,
            _: &str,
            _: &opentelemetry::trace::SpanKind,
            _: &[opentelemetry::KeyValue],
            _: &[opentelemetry::trace::Link],
        ) -> SamplingResult {
            let is_sampled = self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            SamplingResult {
                decision: if is_sampled {
                    SamplingDecision::RecordAndSample
                } else {
                    SamplingDecision::RecordOnly
                },
                attributes: Vec::new(),
                trace_state: opentelemetry::trace::TraceState::NONE,
            }
        }
    }

    /// Lets everything through, which is more than the SDK's simple processor does.
    #[derive(Clone, Default, Debug)]
    struct Seen(Arc<AtomicUsize>);

    impl SpanProcessor for Seen {
        fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}
        fn on_end(&self, _: SpanData) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }
        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn what_is_not_sampled_does_not_come_in() {
        let seen = Seen::default();
        let tracers = SdkTracerProvider::builder()
            .with_sampler(Box::new(EveryOther(Arc::default())) as Box<dyn ShouldSample>)
            .with_span_processor(Counted::new(seen.clone(), Counts::new(8)))
            .build();
        for _ in 0..4 {
            tracers.tracer("test").start("work").end();
        }
        assert_eq!(seen.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let counts = Counts::new(2);
        let entered: Vec<bool> = (0..5).map(|_| counts.enter()).collect();
        assert_eq!(entered, [true, true, false, false, false]);
        assert_eq!((counts.queued(), counts.dropped()), (2, [3, 0, 0]));
        counts.leave(2);
        assert!(counts.enter(), "there is room again");
    }

    #[test]
    fn what_comes_after_the_shutdown_and_what_fails_is_counted() {
        let counts = Counts::new(8);
        counts.ended(&Ok(()), 7);
        counts.ended(&Err(OTelSdkError::AlreadyShutdown), 5);
        counts.shut_down();
        assert!(!counts.enter());
        assert_eq!(counts.dropped(), [0, 1, 5]);
    }
}
