//! A provider whose spans and metrics can be looked at, and calls that are told of to it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use http::HeaderMap;
use opentelemetry::Value;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, ShouldSample, SpanData};
use ripcord_core::{CancelGuard, Ctx};
use ripcord_otel::{Prometheus, Telemetry, TelemetryBuilder};
use ripcord_propagation::{
    Call, CallObserver, CallSpan, Carried, Exchange, Incoming, PeerPolicy, Propagation, Protocol,
    Side,
};
use ripcord_test::TestClock;
use std::sync::Arc;

pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const PARENT: &str = "00f067aa0ba902b7";

/// Telemetry into memory, on a clock that stands still.
pub(crate) struct World {
    pub(crate) clock: TestClock,
    pub(crate) root: Ctx,
    _guard: CancelGuard,
    pub(crate) tracers: SdkTracerProvider,
    pub(crate) spans: InMemorySpanExporter,
    pub(crate) meters: SdkMeterProvider,
    pub(crate) prometheus: Prometheus,
    pub(crate) observer: Arc<dyn CallObserver>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(configure: impl FnOnce(TelemetryBuilder) -> TelemetryBuilder) -> Self {
        Self::sampled_by(opentelemetry_sdk::trace::Sampler::AlwaysOn, configure)
    }

    pub(crate) fn sampled_by(
        sampler: impl ShouldSample + 'static,
        configure: impl FnOnce(TelemetryBuilder) -> TelemetryBuilder,
    ) -> Self {
        let spans = InMemorySpanExporter::default();
        let tracers = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .with_sampler(Box::new(sampler) as Box<dyn ShouldSample>)
            .build();
        let prometheus = Prometheus::new();
        let meters = SdkMeterProvider::builder()
            .with_reader(prometheus.clone())
            .build();
        let telemetry = Telemetry::builder()
            .tracer_provider(&tracers)
            .meter_provider(&meters);
        let clock = TestClock::new();
        let (root, guard) = clock.ctx();
        Self {
            observer: Arc::new(configure(telemetry).build()),
            clock,
            root,
            _guard: guard,
            tracers,
            spans,
            meters,
            prometheus,
        }
    }

    /// Serves a call that comes with these headers.
    pub(crate) fn serve(&self, call: Call<'_>, headers: &HeaderMap) -> Exchange {
        self.serve_incoming(call, Propagation::default().extract(headers))
    }

    pub(crate) fn serve_incoming(&self, call: Call<'_>, incoming: Incoming) -> Exchange {
        let now = self.root.clock_now();
        Exchange::begin(&self.root, incoming, call, now, Some(&self.observer))
    }

    /// Makes a call under a context; also what travels with it, and the headers that are sent.
    pub(crate) fn call(&self, ctx: &Ctx, call: Call<'_>) -> (CallSpan, Carried, HeaderMap) {
        let propagation = Propagation::default();
        let mut carried = propagation.for_call(ctx);
        let span = CallSpan::begin(ctx, &mut carried, call, Some(&self.observer));
        let mut headers = HeaderMap::new();
        // A context that is done sends nothing.
        let _ = propagation.inject_as(ctx, &carried, &PeerPolicy::internal(), &mut headers);
        (span, carried, headers)
    }

    /// The spans that have ended, in the order of their ends.
    pub(crate) fn ended(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// The only span that has ended.
    pub(crate) fn only(&self) -> SpanData {
        let mut ended = self.ended();
        assert_eq!(ended.len(), 1, "{ended:#?}");
        ended.remove(0)
    }

    /// The value of a series whose line starts like this, labels of the scope left out.
    pub(crate) fn sample(&self, series: &str) -> Option<String> {
        let page = self.page();
        let found = page.lines().find_map(|line| line.strip_prefix(series));
        found.map(|value| value.trim().to_owned())
    }

    /// The page of Prometheus without the labels of the scope.
    pub(crate) fn page(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let scope = format!("otel_scope_name=\"ripcord-otel\",otel_scope_version=\"{version}\"");
        self.prometheus
            .render()
            .replace(&format!(",{scope}"), "")
            .replace(&format!("{scope},"), "")
            .replace(&format!("{{{scope}}}"), "")
    }
}

/// A served HTTP call with everything that a server knows.
pub(crate) fn get(path: &str) -> Call<'_> {
    let mut call = Call::new(Side::Server, Protocol::Http, "GET", path);
    call.scheme = Some("http");
    call.authority = Some("shop.example:8080");
    call.version = Some("1.1");
    call
}

/// A call of gRPC.
pub(crate) fn rpc(side: Side, path: &str) -> Call<'_> {
    let mut call = Call::new(side, Protocol::Grpc, "POST", path);
    call.scheme = Some("http");
    call.authority = Some("stock.example:50051");
    call.version = Some("2");
    call
}

/// A made HTTP call.
pub(crate) fn fetch(path: &str) -> Call<'_> {
    let mut call = get(path);
    call.side = Side::Client;
    call
}

/// Headers of a caller whose span has [`PARENT`] as its id.
pub(crate) fn traced(flags: &str) -> HeaderMap {
    headers(&[("traceparent", &format!("00-{TRACE}-{PARENT}-{flags}"))])
}

pub(crate) fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

/// An attribute of a span as text; a key that comes twice fails the test.
pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let mut values = span
        .attributes
        .iter()
        .filter(|pair| pair.key.as_str() == key);
    let value = values.next().map(|pair| text(&pair.value));
    assert!(values.next().is_none(), "{key} comes twice: {span:#?}");
    value
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().into_owned()
}
