//! [`Telemetry`]: the observer that makes spans and metrics of calls.

use crate::call::{self, CallInFlight};
use crate::context::{Anchor, Spans};
use crate::convert::{move_into, parent_of, span_id, with_baggage};
use crate::methods::Methods;
use crate::metrics::{Metrics, watch_leaks};
use crate::names::{SCHEMA_URL, SCOPE};
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer, TracerProvider};
use opentelemetry::{Context, InstrumentationScope};
use ripcord_propagation::{Call, CallObserver, CallRecord, Carried, Side, Trace};
use std::fmt;
use std::sync::Arc;

/// Makes a span and the metrics of each call that it is told of.
///
/// It is given to the layers of `ripcord-http` and `ripcord-grpc` as their
/// [`CallObserver`]. One is enough for a process; a clone is one reference count.
///
/// * **Spans**: one for each served and each made call, below the span that the caller sent, with
///   the names of semantic conventions 1.42. What goes out names the new span as the parent.
/// * **Metrics**: durations, active requests, cancellations, deadlines, refused headers: see
///   [`names::metric`](crate::names::metric).
/// * **Ended from `Drop`**: a handler that is dropped because its client left ends its span and is
///   taken out of the active requests like any other.
///
/// # Examples
/// ```
/// use opentelemetry::global;
/// use opentelemetry_sdk::{metrics::SdkMeterProvider, trace::SdkTracerProvider};
/// use ripcord_otel::Telemetry;
/// use ripcord_propagation::CallObserver;
/// use std::sync::Arc;
///
/// let tracers = SdkTracerProvider::builder().build();
/// let meters = SdkMeterProvider::builder().build();
/// let telemetry = Telemetry::builder()
///     .tracer_provider(&tracers)
///     .meter_provider(&meters)
///     .build();
/// let observer: Arc<dyn CallObserver> = Arc::new(telemetry);
/// # drop(observer);
/// ```
///
/// # Where a call's span lies
/// A served call lies below the span that its caller named, or begins a trace. A made call lies
/// below the span of the context that it is made with: that of the request, or a
/// [`span`](crate::CtxOtel::span) of the program's own, also where it is made by a task that was
/// spawned since. What goes out names the span of the made call, with the sampling decision of the
/// SDK.
///
/// # Costs
/// A served HTTP call: 28 allocations where the span is sampled, 22 where it is not, before export
/// (`tests/costs.rs`, 2026-11); most are the texts of attributes, which a sampler may decide by. No
/// lock of its own for HTTP, a read lock for gRPC.
///
/// # Limitations
/// Attributes come from the request: path, host and method name are cut at 1024 bytes, and none of
/// them is ever a label of a metric, except the host on the metrics of a client, who chose it. The
/// SDK keeps 2000 sets of labels a metric and puts the rest into one.
#[derive(Clone)]
pub struct Telemetry {
    shared: Arc<Shared>,
}

/// What all records of one observer share.
pub(crate) struct Shared {
    pub(crate) spans: Spans,
    pub(crate) metrics: Metrics,
    pub(crate) methods: Methods,
    pub(crate) options: Options,
}

/// What a builder can switch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// The address of a client's callee is a label of its metrics.
    pub(crate) labels_server: bool,
    /// A gRPC client's call that its own context cancelled is no error.
    pub(crate) spares_cancelled: bool,
}

impl Telemetry {
    /// Starts to configure one.
    ///
    /// What is not set comes from the global providers of OpenTelemetry.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::Telemetry;
    ///
    /// let telemetry = Telemetry::builder()
    ///     .rpc_methods(["shop.v1.Stock/Get", "shop.v1.Stock/Reserve"])
    ///     .spare_cancelled_grpc()
    ///     .build();
    /// # drop(telemetry);
    /// ```
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder {
            tracer: None,
            meter: None,
            http_methods: None,
            rpc_methods: None,
            leaks: Vec::new(),
            options: Options {
                labels_server: true,
                spares_cancelled: false,
            },
        }
    }

    /// One on the global providers, as they are now.
    ///
    /// For programs that set OpenTelemetry up by themselves, and set it as the global one.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry::global;
    /// use opentelemetry_sdk::trace::SdkTracerProvider;
    /// use ripcord_otel::Telemetry;
    ///
    /// global::set_tracer_provider(SdkTracerProvider::builder().build());
    /// let telemetry = Telemetry::global();
    /// # drop(telemetry);
    /// ```
    ///
    /// # Limitations
    /// OpenTelemetry hands out what is set at the moment of the call: providers that are set
    /// later are not seen. Set them first.
    pub fn global() -> Self {
        Self::builder().build()
    }

    /// The span above a call, for the SDK.
    ///
    /// A server's is what the headers said. A client's is the context that it was given, or a span
    /// that somebody opened within that and that is current on the thread: see [`Anchor`]. A client
    /// outside of any request belongs to whatever is current.
    fn parent(side: Side, trace: &Trace) -> Context {
        let told = || match parent_of(trace) {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        match (side, trace.parent_span_id) {
            // A thread's current context belongs to whoever drives the connection.
            (Side::Server, _) => told(),
            (Side::Client, Some(parent)) => Anchor::nearest(parent, told),
            (Side::Client, None) => Context::current(),
        }
    }
}

impl CallObserver for Telemetry {
    fn start(&self, call: &Call<'_>, carried: &mut Carried) -> Box<dyn CallRecord> {
        if call.side == Side::Client && Context::is_current_telemetry_suppressed() {
            // A call of an exporter: a span of it would be exported by another such call.
            return Box::new(call::Unrecorded);
        }
        let shared = &self.shared;
        let parent = Self::parent(call.side, &carried.trace);
        let rpc = call::rpc_label(shared, call);
        let started = opentelemetry::time::now();
        let builder = call::span_builder(shared, call, rpc.as_ref(), started);
        let mut span = shared.spans.tracer().build_with_context(builder, &parent);
        if span.is_recording() {
            span.set_attributes(call::details(call, carried));
        }
        let above = parent.span().span_context().clone();
        if move_into(&mut carried.trace, &above, span.span_context()) && call.side == Side::Client {
            carried.trace.parent_span_id = span_id(above.span_id());
        }
        let context = with_baggage(&Context::new(), carried.baggage()).with_span(span);
        let call = CallInFlight::start(Arc::clone(shared), call, carried, context, rpc, started);
        Box::new(call)
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

/// Configures a [`Telemetry`]; made by [`Telemetry::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct TelemetryBuilder {
    tracer: Option<BoxedTracer>,
    meter: Option<Meter>,
    http_methods: Option<Vec<String>>,
    rpc_methods: Option<Vec<String>>,
    leaks: Vec<Box<dyn Fn() -> u64 + Send + Sync>>,
    options: Options,
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(SCOPE)
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build()
}

impl TelemetryBuilder {
    /// Where spans go; otherwise the global provider.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    /// use ripcord_otel::Telemetry;
    ///
    /// // In a test: spans that can be looked at.
    /// let spans = InMemorySpanExporter::default();
    /// let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    /// let telemetry = Telemetry::builder().tracer_provider(&tracers).build();
    /// # drop(telemetry);
    /// ```
    pub fn tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        let tracer = provider.tracer_with_scope(scope());
        self.tracer = Some(BoxedTracer::new(Box::new(tracer)));
        self
    }

    /// Where metrics go; otherwise the global provider.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry_sdk::metrics::SdkMeterProvider;
    /// use ripcord_otel::Telemetry;
    ///
    /// let meters = SdkMeterProvider::builder().build();
    /// let telemetry = Telemetry::builder().meter_provider(&meters).build();
    /// # drop(telemetry);
    /// ```
    pub fn meter_provider(mut self, provider: &dyn MeterProvider) -> Self {
        self.meter = Some(provider.meter_with_scope(scope()));
        self
    }

    /// The methods of HTTP that are told apart; otherwise those of RFC 9110, PATCH and QUERY.
    ///
    /// All others become `_OTHER` in labels. It replaces the list, as the conventions ask for.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::Telemetry;
    ///
    /// // A WebDAV server that serves nothing else.
    /// let telemetry = Telemetry::builder()
    ///     .http_methods(["GET", "PUT", "PROPFIND", "MKCOL"])
    ///     .build();
    /// # drop(telemetry);
    /// ```
    pub fn http_methods(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.http_methods = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The methods of gRPC that a server knows, as `package.Service/Method`.
    ///
    /// Without the list a server takes a method as known once a handler answered a call to it,
    /// and knows 512 at the most. With it, all others are `_OTHER` from the first call on.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::Telemetry;
    ///
    /// let telemetry = Telemetry::builder().rpc_methods(["shop.v1.Stock/Get"]).build();
    /// # drop(telemetry);
    /// ```
    ///
    /// # Limitations
    /// A client's methods are those that the program calls; the list does not bound them, the
    /// number 512 does.
    pub fn rpc_methods(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.rpc_methods = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Leaves the callee's address out of the labels of a client's metrics.
    ///
    /// The conventions want it there, and for a service that calls a dozen others it is what one
    /// asks for. A crawler, or a proxy that calls what its callers name, should leave it out.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::Telemetry;
    ///
    /// // Fetches whatever its users ask for: a host each.
    /// let crawler = Telemetry::builder().without_server_labels().build();
    /// # drop(crawler);
    /// ```
    pub fn without_server_labels(mut self) -> Self {
        self.options.labels_server = false;
        self
    }

    /// A gRPC client's call that its own context cancelled is no error of its span.
    ///
    /// The conventions take every code but `OK` for an error, cancellations that the client wanted
    /// included; for HTTP they do not. This treats both alike.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::Telemetry;
    ///
    /// // Hedged calls: the slower one is cancelled each time, and that is as it should be.
    /// let telemetry = Telemetry::builder().spare_cancelled_grpc().build();
    /// # drop(telemetry);
    /// ```
    pub fn spare_cancelled_grpc(mut self) -> Self {
        self.options.spares_cancelled = true;
        self
    }

    /// Reports the number of tasks that are alive although their context is done.
    ///
    /// `count` is called at each collection of metrics, on the thread of the reader.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::Telemetry;
    ///
    /// let telemetry = Telemetry::builder().leaked_tasks(|| 0).build();
    /// # drop(telemetry);
    /// ```
    pub fn leaked_tasks(mut self, count: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.leaks.push(Box::new(count));
        self
    }

    /// Reports the tasks of `ripcord-tokio` that outlive their context.
    ///
    /// # Costs
    /// Those of [`ripcord_tokio::overdue_tasks`] at each collection of metrics.
    ///
    /// Tasks that are just cleaning up are among them, so a short peak after a shutdown is no leak.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::Telemetry;
    ///
    /// let telemetry = Telemetry::builder().leaked_tokio_tasks().build();
    /// # drop(telemetry);
    /// ```
    #[cfg(feature = "tokio")]
    pub fn leaked_tokio_tasks(self) -> Self {
        self.leaked_tasks(|| {
            let tasks = ripcord_tokio::overdue_tasks();
            u64::try_from(tasks.len()).unwrap_or(u64::MAX)
        })
    }

    /// Makes it.
    ///
    /// The instruments are made here, once. Two observers on one provider of meters share their
    /// series, except the gauge of leaked tasks, which each adds.
    pub fn build(self) -> Telemetry {
        let tracer = self
            .tracer
            .unwrap_or_else(|| global::tracer_with_scope(scope()));
        let meter = self
            .meter
            .unwrap_or_else(|| global::meter_with_scope(scope()));
        if !self.leaks.is_empty() {
            let leaks = self.leaks;
            watch_leaks(&meter, move || leaks.iter().map(|count| count()).sum());
        }
        Telemetry {
            shared: Arc::new(Shared {
                spans: Spans::new(tracer),
                metrics: Metrics::new(&meter),
                methods: Methods::new(self.http_methods, self.rpc_methods),
                options: self.options,
            }),
        }
    }
}

impl fmt::Debug for TelemetryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryBuilder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
