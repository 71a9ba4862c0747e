//! The instruments, made once, and what is recorded at the start and the end of a call.
//!
//! # Costs
//! A served HTTP call: two additions and two or three histogram records, each one look-up of an
//! attribute set in the SDK. Without an SDK: nothing but the attributes.

use crate::names::{
    DURATION_BOUNDS, LATENCY_BOUNDS, REMAINING_BOUNDS, attribute, metric, side as side_label,
    source,
};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};
use ripcord_propagation::{DeadlineSource, Protocol, Rejects, Side};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// All instruments of calls.
///
/// Names, units and bounds are in `names.rs`; descriptions are here, since only Prometheus shows
/// them.
pub(crate) struct Metrics {
    http_server: Histogram<f64>,
    http_client: Histogram<f64>,
    rpc_server: Histogram<f64>,
    rpc_client: Histogram<f64>,
    active: UpDownCounter<i64>,
    cancelled: Counter<u64>,
    remaining: Histogram<f64>,
    exceeded: Counter<u64>,
    latency: Histogram<f64>,
    rejected: Counter<u64>,
}

impl Metrics {
    /// Instruments of one name on one provider share their series, so that an observer can be made
    /// twice.
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, text: &'static str, bounds: &[f64]| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(text)
                .with_boundaries(bounds.to_vec())
                .build()
        };
        let count = |name: &'static str, unit: &'static str, text: &'static str| {
            let counter = meter.u64_counter(name);
            counter.with_unit(unit).with_description(text).build()
        };
        Self {
            http_server: seconds(
                metric::HTTP_SERVER_DURATION,
                "Duration of HTTP server requests.",
                DURATION_BOUNDS,
            ),
            http_client: seconds(
                metric::HTTP_CLIENT_DURATION,
                "Duration of HTTP client requests.",
                DURATION_BOUNDS,
            ),
            rpc_server: seconds(
                metric::RPC_SERVER_DURATION,
                "Duration of incoming remote procedure calls.",
                DURATION_BOUNDS,
            ),
            rpc_client: seconds(
                metric::RPC_CLIENT_DURATION,
                "Duration of outgoing remote procedure calls.",
                DURATION_BOUNDS,
            ),
            active: meter
                .i64_up_down_counter(metric::HTTP_SERVER_ACTIVE)
                .with_unit("{request}")
                .with_description("Requests that are being served.")
                .build(),
            cancelled: count(
                metric::CANCELLED,
                "{request}",
                "Calls whose context was done before their own end.",
            ),
            remaining: seconds(
                metric::REMAINING,
                "Time left of the deadline of served calls.",
                REMAINING_BOUNDS,
            ),
            exceeded: count(
                metric::EXCEEDED,
                "{request}",
                "Calls that were ended by a deadline.",
            ),
            latency: seconds(
                metric::CANCEL_LATENCY,
                "Time from the asking for the end of a call to its end.",
                LATENCY_BOUNDS,
            ),
            rejected: count(
                metric::REJECTED,
                "{header}",
                "Headers or members of headers that were refused.",
            ),
        }
    }

    /// A call comes in; `labels` are those of [`finish_server`](Self::finish_server).
    ///
    /// A call whose deadline has passed on arrival is counted like any other: it took a place.
    pub(crate) fn arrive(
        &self,
        labels: &[KeyValue],
        rejects: &Rejects,
        remaining: Option<Duration>,
    ) {
        self.active.add(1, labels);
        self.record_remaining(remaining, "arrival");
        for (header, count) in rejects.iter() {
            if count > 0 {
                let label = KeyValue::new(attribute::LABEL_HEADER, header);
                self.rejected.add(u64::from(count), &[label]);
            }
        }
    }

    /// It is not being served any more.
    pub(crate) fn leave(&self, labels: &[KeyValue]) {
        self.active.add(-1, labels);
    }

    /// What was left at the end of a served call.
    pub(crate) fn finish(&self, remaining: Option<Duration>) {
        self.record_remaining(remaining, "finish");
    }

    /// A call without a deadline is in no bucket: there is nothing that could be left of it.
    fn record_remaining(&self, remaining: Option<Duration>, at: &'static str) {
        if let Some(remaining) = remaining {
            let label = KeyValue::new(attribute::LABEL_AT, at);
            self.remaining.record(remaining.as_secs_f64(), &[label]);
        }
    }

    /// gRPC has histograms of its own, and is not counted among the HTTP calls that carry it.
    pub(crate) fn duration(
        &self,
        protocol: Protocol,
        side: Side,
        took: Duration,
        labels: &[KeyValue],
    ) {
        let histogram = match (protocol, side) {
            (Protocol::Grpc, Side::Server) => &self.rpc_server,
            (Protocol::Grpc, Side::Client) => &self.rpc_client,
            (_, Side::Server) => &self.http_server,
            (_, Side::Client) => &self.http_client,
        };
        histogram.record(took.as_secs_f64(), labels);
    }

    /// The context of a call was done before the call's own end.
    ///
    /// The latency is not known for a guard that was dropped while nobody was registered: reading
    /// the clock then would cost more than everything else about it.
    pub(crate) fn cancelled(&self, side: Side, cause: &'static str, latency: Option<Duration>) {
        let labels = [
            KeyValue::new(attribute::LABEL_CAUSE, cause),
            KeyValue::new(attribute::LABEL_SIDE, side_label(side)),
        ];
        self.cancelled.add(1, &labels);
        if let Some(latency) = latency {
            self.latency.record(latency.as_secs_f64(), &labels);
        }
    }

    /// A deadline ended a call.
    ///
    /// Also a made call, that ended because of its own context's deadline.
    pub(crate) fn exceeded(&self, side: Side, by: Option<DeadlineSource>) {
        let labels = [
            KeyValue::new(attribute::LABEL_SOURCE, source(by)),
            KeyValue::new(attribute::LABEL_SIDE, side_label(side)),
        ];
        self.exceeded.add(1, &labels);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Registers the gauge of leaked tasks, read at each collection.
///
/// A panic of `count` is contained: in the SDK it would end the thread that exports.
pub(crate) fn watch_leaks(meter: &Meter, count: impl Fn() -> u64 + Send + Sync + 'static) {
    meter
        .u64_observable_gauge(metric::TASKS_LEAKED)
        .with_unit("{task}")
        .with_description("Tasks that are alive although their context is done.")
        .with_callback(move |observer| {
            if let Ok(count) = catch_unwind(AssertUnwindSafe(&count)) {
                observer.observe(count, &[]);
            }
        })
        .build();
}
