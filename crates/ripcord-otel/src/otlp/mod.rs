//! Set-up of the OpenTelemetry SDK with export over OTLP, without its traps.
//!
//! ```no_run
//! use ripcord_otel::otlp::{Otlp, Protocol};
//! use std::time::Duration;
//!
//! let guard = Otlp::builder()
//!     .service_name("orders")
//!     .endpoint("http://collector:4317")
//!     .protocol(Protocol::Grpc)
//!     .build()?;
//! let telemetry = guard.telemetry().build();
//! // … `telemetry` goes into the layers of the servers and clients …
//! # drop(telemetry);
//! guard.shutdown(Duration::from_secs(5))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Traps that are avoided here
//! * **A flush that waits for itself**: on a `current_thread` runtime, or on a busy one, shutting
//!   the SDK down blocks the thread that should send. Export has a thread and a runtime to itself,
//!   and [`Guard::shutdown`] waits for a bounded time.
//! * **"No reactor running"**: the SDK calls its exporters from bare threads, where an asynchronous
//!   HTTP client panics and export silently stops. Here each poll of an exporter enters the runtime
//!   of export, so it does not matter which HTTP client other crates switch on.
//! * **Export that never ends**: the SDK's processor ignores `OTEL_BSP_EXPORT_TIMEOUT`, and the
//!   reader of metrics waits for a flush without limit. [`timeout`](OtlpBuilder::timeout) bounds
//!   one export with all its retries.
//! * **Silent loss**: the SDK logs that it dropped something, once. Here every drop is
//!   counted, by reason: [`Guard::dropped`], and the metric `ripcord.telemetry.dropped`.
//! * **Telemetry of telemetry**: the thread of export is marked, so that nothing that happens there
//!   is recorded, and the layers of `Guard::layer` leave out what hyper, h2, tonic and the SDK
//!   say.
//! * **Addresses without a scheme** are taken by the SDK and fail at every export; here they are
//!   an [`InitError`].
//! * **`OTEL_SERVICE_NAME`** beats `service.name` of `OTEL_RESOURCE_ATTRIBUTES`, as the
//!   specification has it; in the SDK it is the other way round.
//! * **A schedule of nothing**, `OTEL_BSP_SCHEDULE_DELAY=0`, keeps a thread of the SDK busy for
//!   ever; here it is a millisecond.
//! * **A span that is recorded and not sampled** is exported by the SDK's batch processor; here it
//!   is not.
//!
//! # When the collector is away
//! | it | a request | what waits | is counted as |
//! |---|---|---|---|
//! | is not there | does not wait | is tried again within the limit of an export, then lost | `export_failed` |
//! | hangs | does not wait | fills the queue; what comes on top is turned away | `queue_full`, then `export_failed` |
//! | answers nonsense, or no | does not wait | is lost | `export_failed` |
//! | is slow | does not wait | fills the queue, if it is too short for the load | `queue_full` |
//! | comes back | | the next batch arrives | |
//!
//! Metrics are cumulative: once one export gets through, nothing of them is missing. Spans and log
//! records of a failed export are not kept, since the memory of a process is no place to wait out
//! an outage; a collector beside each process is.
//!
//! # Environment
//! What the program does not set is read from the environment. A variable of one signal beats the
//! general one, and an empty variable is none.
//!
//! | variable | for | by signal |
//! |---|---|---|
//! | `OTEL_SERVICE_NAME` | [`service_name`](OtlpBuilder::service_name) | |
//! | `OTEL_RESOURCE_ATTRIBUTES` | [`attributes`](OtlpBuilder::attributes), which add to it | |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | [`endpoint`](OtlpBuilder::endpoint) | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `_METRICS_`, `_LOGS_` |
//! | `OTEL_EXPORTER_OTLP_PROTOCOL` | [`protocol`](OtlpBuilder::protocol): `grpc`, `http/protobuf` | |
//! | `OTEL_EXPORTER_OTLP_TIMEOUT` | [`timeout`](OtlpBuilder::timeout), milliseconds | as above |
//! | `OTEL_EXPORTER_OTLP_HEADERS` | [`headers`](OtlpBuilder::headers), which add to it | as above |
//! | `OTEL_TRACES_SAMPLER`, `_ARG` | [`sampler_ratio`](OtlpBuilder::sampler_ratio) | |
//! | `OTEL_BSP_SCHEDULE_DELAY`, `OTEL_BLRP_SCHEDULE_DELAY` | [`schedule`](OtlpBuilder::schedule), milliseconds | |
//! | `OTEL_METRIC_EXPORT_INTERVAL` | [`metric_interval`](OtlpBuilder::metric_interval), milliseconds | |
//!
//! A variable that cannot be used is an [`InitError`] that names it, except for the sampler's and
//! the interval's: those the SDK reads by itself, and it ignores what it does not understand.
//!
//! # How to
//! **Choose the protocol.** HTTP where a proxy is between; gRPC where the collector is beside the
//! process. Neither is faster by a measure that matters here.
//!
//! **Reach a collector by https.** With the feature `tls`: the certificates of the system are
//! trusted, or those of the file that `SSL_CERT_FILE` names.
//!
//! **Add spans of `tracing`.** `Guard::layer` makes spans and log records of them; they lie below
//! the span of the request where the code runs [`with_otel`](crate::OtelFutureExt::with_otel).
//!
//! **Test without a collector.** Not with this module: give [`Telemetry`](crate::Telemetry) the
//! in-memory exporter of the SDK, and look at the spans.
//!
//! # Costs
//! Four threads: one for I/O, and one of the SDK for each signal. A span that ends costs its
//! request one atomic addition and a `try_send`; it never waits, whatever the collector does.
//!
//! *Read next*: `settings.rs`, `place.rs`, `count.rs`, `guard.rs`.

mod count;
mod error;
mod guard;
mod place;
mod settings;
#[cfg(feature = "tls")]
mod tls;

pub use error::{FlushError, InitError};
pub use guard::{Dropped, Guard, Shutdown};
pub use settings::{Protocol, Signal};

use crate::Composite;
use crate::logs::CtxLogProcessor;
use count::{Counted, Counts, Placed};
use guard::Accounts;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{KeyValue, Value, global};
use opentelemetry_http::HttpClient;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder as LogBatch, BatchLogProcessor, SdkLoggerProvider,
};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder as SpanBatch, BatchSpanProcessor, Sampler, SdkTracerProvider,
};
use place::Place;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::MetadataMap;

/// The set-up of telemetry over OTLP; see the [module](self).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Otlp {}

impl Otlp {
    /// Starts to configure.
    pub fn builder() -> OtlpBuilder {
        OtlpBuilder::default()
    }
}

/// As many as fit into a few megabytes, and enough for a second of a busy service.
const QUEUE_SIZE: usize = 8192;
/// Items of one export, as the specification has it.
const BATCH_MAX: usize = 512;

/// Configures telemetry; made by [`Otlp::builder`].
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct OtlpBuilder {
    service_name: Option<String>,
    attributes: Vec<KeyValue>,
    endpoint: Option<String>,
    protocol: Option<Protocol>,
    timeout: Option<Duration>,
    headers: Vec<(String, String)>,
    sampler_ratio: Option<f64>,
    queue_size: Option<usize>,
    schedule: Option<Duration>,
    metric_interval: Option<Duration>,
    #[cfg(feature = "prometheus")]
    prometheus: Option<crate::Prometheus>,
    keeps_globals: bool,
}

impl OtlpBuilder {
    /// What the service is called; otherwise `OTEL_SERVICE_NAME`.
    ///
    /// Where neither is set the SDK says `unknown_service:` and the name of the program's file, by
    /// which nobody finds it: set it.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    ///
    /// let builder = Otlp::builder().service_name("orders");
    /// # drop(builder);
    /// ```
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// The version of the service: `service.version` of the resource.
    ///
    /// What tells a new release from the old one in a graph.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    ///
    /// let builder = Otlp::builder().version(env!("CARGO_PKG_VERSION"));
    /// # drop(builder);
    /// ```
    pub fn version(self, version: impl Into<String>) -> Self {
        self.attributes([KeyValue::new("service.version", version.into())])
    }

    /// More attributes of the resource, which is what all telemetry of the process has in common.
    ///
    /// They are added to those of `OTEL_RESOURCE_ATTRIBUTES` and take their place where both have a
    /// key.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    /// use opentelemetry::KeyValue;
    ///
    /// let zone = KeyValue::new("cloud.availability_zone", "eu-central-1a");
    /// let builder = Otlp::builder().attributes([zone]);
    /// # drop(builder);
    /// ```
    pub fn attributes(mut self, attributes: impl IntoIterator<Item = KeyValue>) -> Self {
        self.attributes.extend(attributes);
        self
    }

    /// The address of the collector, with its scheme: `http://collector:4317`.
    ///
    /// For HTTP it is the base to which `/v1/traces` and its like are added.
    ///
    /// A variable for one signal (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) is taken as it is; this
    /// one, and the general variable, stand for all signals.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    ///
    /// let builder = Otlp::builder().endpoint("http://collector:4318");
    /// # drop(builder);
    /// ```
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// How telemetry is sent; otherwise `OTEL_EXPORTER_OTLP_PROTOCOL`, otherwise HTTP.
    ///
    /// The collector listens for the two on different ports: 4317 for gRPC, 4318 for HTTP. One that
    /// is asked in the wrong language answers nothing that helps.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    /// use ripcord_otel::otlp::Protocol;
    ///
    /// let builder = Otlp::builder().protocol(Protocol::Grpc);
    /// # drop(builder);
    /// ```
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// The limit of one export with its retries; 10 s unless the environment says otherwise.
    ///
    /// It bounds how long a collector that hangs holds a batch. Nothing but the next batch waits
    /// for that.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    /// use std::time::Duration;
    ///
    /// let builder = Otlp::builder().timeout(Duration::from_secs(3));
    /// # drop(builder);
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Headers of every export, such as a key of the receiver.
    ///
    /// Those of `OTEL_EXPORTER_OTLP_HEADERS` are sent as well. Values do not appear in errors, nor
    /// in anything's `Debug`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    ///
    /// let builder = Otlp::builder().headers([("x-api-key", "from-a-secret-store")]);
    /// # drop(builder);
    /// ```
    pub fn headers(
        mut self,
        headers: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        let headers = headers.into_iter();
        self.headers
            .extend(headers.map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// The share of traces that are sampled where a trace begins here, from 0 to 1.
    ///
    /// A trace that began elsewhere is sampled if its beginning was. Otherwise
    /// `OTEL_TRACES_SAMPLER`, otherwise all.
    ///
    /// The decision depends on the trace id alone, so all services with the same share keep the
    /// same traces.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    ///
    /// let builder = Otlp::builder().sampler_ratio(0.1);
    /// # drop(builder);
    /// ```
    pub fn sampler_ratio(mut self, ratio: f64) -> Self {
        self.sampler_ratio = Some(ratio);
        self
    }

    /// How many spans, and how many log records, may wait for export; 8192 each.
    ///
    /// What comes on top is dropped and counted. A span takes one to two kilobytes.
    ///
    /// The queue is where a burst, or a collector that is slow for a while, is waited out: size it
    /// by spans a second times the seconds that may take.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    ///
    /// let builder = Otlp::builder().queue_size(32_768);
    /// # drop(builder);
    /// ```
    pub fn queue_size(mut self, size: usize) -> Self {
        self.queue_size = Some(size);
        self
    }

    /// How long a span or a log record waits for others to be sent along with; 5 s and 1 s.
    ///
    /// A millisecond at the least: with nothing at all the SDK's threads would never rest.
    ///
    /// A batch of 512 is sent at once; this is for what is fewer. Otherwise
    /// `OTEL_BSP_SCHEDULE_DELAY` and `OTEL_BLRP_SCHEDULE_DELAY`.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    /// use std::time::Duration;
    ///
    /// let builder = Otlp::builder().schedule(Duration::from_secs(1));
    /// # drop(builder);
    /// ```
    pub fn schedule(mut self, delay: Duration) -> Self {
        self.schedule = Some(delay);
        self
    }

    /// How often metrics are sent; otherwise `OTEL_METRIC_EXPORT_INTERVAL`, otherwise 60 s.
    ///
    /// Shorter than the range over which alerts look by a factor of four or more.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    /// use std::time::Duration;
    ///
    /// let builder = Otlp::builder().metric_interval(Duration::from_secs(15));
    /// # drop(builder);
    /// ```
    pub fn metric_interval(mut self, interval: Duration) -> Self {
        self.metric_interval = Some(interval);
        self
    }

    /// Also serves the metrics as Prometheus text.
    ///
    /// ```
    /// use ripcord_otel::{Prometheus, otlp::Otlp};
    ///
    /// let prometheus = Prometheus::new();
    /// let builder = Otlp::builder().prometheus(&prometheus);
    /// // … and `prometheus.render()` in the handler of `/metrics` …
    /// # drop(builder);
    /// ```
    #[cfg(feature = "prometheus")]
    pub fn prometheus(mut self, reader: &crate::Prometheus) -> Self {
        self.prometheus = Some(reader.clone());
        self
    }

    /// Leaves the global providers and the global propagator of OpenTelemetry as they are.
    ///
    /// Otherwise other libraries of the process find these ones. For tests, and for more than one
    /// set-up in one process.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::Otlp;
    ///
    /// let builder = Otlp::builder().without_globals();
    /// # drop(builder);
    /// ```
    pub fn without_globals(mut self) -> Self {
        self.keeps_globals = true;
        self
    }

    /// Starts the threads and makes the providers.
    ///
    /// Nothing is connected yet: a collector that is down fails no start. May be called inside
    /// any runtime and outside of all.
    ///
    /// # Errors
    /// [`InitError`] for the first setting that cannot be, of the program or of the environment,
    /// and if the thread cannot be started.
    ///
    /// # Examples
    /// ```
    /// use ripcord_otel::otlp::{InitError, Otlp};
    ///
    /// let error = Otlp::builder().endpoint("collector:4317").build().expect_err("no scheme");
    /// assert!(matches!(error, InitError::Endpoint { .. }));
    /// assert_eq!(
    ///     format!("failed to {error}"),
    ///     "failed to use `collector:4317` (endpoint) as the collector's address: \
    ///      it has no scheme, as in http://collector:4317",
    /// );
    /// ```
    pub fn build(self) -> Result<Guard, InitError> {
        let queue = self.queue_size.unwrap_or(QUEUE_SIZE);
        if queue == 0 {
            return Err(InitError::QueueSize(queue));
        }
        if let Some(ratio) = self
            .sampler_ratio
            .filter(|ratio| !(0.0..=1.0).contains(ratio))
        {
            return Err(InitError::Ratio(ratio));
        }
        let exporters = Exporters::new(&self)?;
        let accounts = Accounts {
            spans: Counts::new(queue),
            logs: Counts::new(queue),
            metrics: Counts::new(1),
        };
        // All that can fail comes before the first thread of the SDK is started.
        let (spans, logs) = (exporters.spans(&accounts)?, exporters.logs(&accounts)?);
        let metrics = exporters.metrics(&accounts)?;
        let [for_spans, for_logs] = [
            ("OTEL_BSP_SCHEDULE_DELAY", Duration::from_secs(5)),
            ("OTEL_BLRP_SCHEDULE_DELAY", Duration::from_secs(1)),
        ]
        .map(|(name, default)| settings::schedule(self.schedule, name, default));
        let (for_spans, for_logs) = (for_spans?, for_logs?);
        let resource = self.resource();
        let tracers = self.tracers(spans, &accounts.spans, for_spans, &resource);
        let loggers = Self::loggers(logs, &accounts.logs, for_logs, &resource);
        let meters = self.meters(metrics, resource);
        if !self.keeps_globals {
            global::set_tracer_provider(tracers.clone());
            global::set_meter_provider(meters.clone());
            global::set_text_map_propagator(Composite::w3c());
        }
        Ok(Guard::new(tracers, meters, loggers, accounts))
    }

    /// What describes the process, from the program, else the environment, else the SDK.
    fn resource(&self) -> Resource {
        let name = self.service_name.clone();
        let name = name.or_else(|| settings::variable("OTEL_SERVICE_NAME"));
        let resource = Resource::builder().with_attributes(self.attributes.iter().cloned());
        match name {
            Some(name) => resource.with_service_name(Value::from(name)).build(),
            None => resource.build(),
        }
    }

    /// Spans, through a queue that counts.
    fn tracers(
        &self,
        exporter: Placed<SpanExporter>,
        counts: &Arc<Counts>,
        delay: Duration,
        resource: &Resource,
    ) -> SdkTracerProvider {
        let config = SpanBatch::default()
            .with_max_queue_size(counts.capacity())
            .with_max_export_batch_size(counts.capacity().min(BATCH_MAX))
            .with_scheduled_delay(delay);
        let batches = BatchSpanProcessor::new(exporter, config.build());
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Counted::new(batches, Arc::clone(counts)))
            .with_resource(resource.clone());
        match self.sampler_ratio {
            None => provider.build(),
            Some(ratio) => {
                let root = Sampler::TraceIdRatioBased(ratio);
                provider
                    .with_sampler(Sampler::ParentBased(Box::new(root)))
                    .build()
            }
        }
    }

    /// Log records, which first get the ids of the context, through a queue that counts.
    fn loggers(
        exporter: Placed<LogExporter>,
        counts: &Arc<Counts>,
        delay: Duration,
        resource: &Resource,
    ) -> SdkLoggerProvider {
        let config = LogBatch::default()
            .with_max_queue_size(counts.capacity())
            .with_max_export_batch_size(counts.capacity().min(BATCH_MAX))
            .with_scheduled_delay(delay);
        let batches = BatchLogProcessor::builder(exporter)
            .with_batch_config(config.build())
            .build();
        SdkLoggerProvider::builder()
            .with_log_processor(CtxLogProcessor::new())
            .with_log_processor(Counted::new(batches, Arc::clone(counts)))
            .with_resource(resource.clone())
            .build()
    }

    /// Metrics, read at intervals, and on demand where Prometheus asks.
    fn meters(&self, exporter: Placed<MetricExporter>, resource: Resource) -> SdkMeterProvider {
        let mut reader = PeriodicReader::builder(exporter);
        if let Some(interval) = self.metric_interval {
            reader = reader.with_interval(interval);
        }
        let meters = SdkMeterProvider::builder()
            .with_reader(reader.build())
            .with_resource(resource);
        #[cfg(feature = "prometheus")]
        let meters = match &self.prometheus {
            Some(prometheus) => meters.with_reader(prometheus.clone()),
            None => meters,
        };
        meters.build()
    }
}

impl fmt::Debug for OtlpBuilder {
    /// What is set, without the values of headers: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("OtlpBuilder")
            .field("service_name", &self.service_name)
            .field("endpoint", &self.endpoint.as_deref().map(error::shown))
            .field("protocol", &self.protocol)
            .field("timeout", &self.timeout)
            .field("headers", &headers)
            .field("sampler_ratio", &self.sampler_ratio)
            .field("queue_size", &self.queue_size)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "tls")]
fn is_tls(endpoint: &str) -> bool {
    let scheme = endpoint.split(':').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("https")
}

/// The client that speaks HTTP to this endpoint.
///
/// Given to the exporter by hand: left to itself, it takes the one that some crate of the program
/// has switched on by a feature.
#[cfg_attr(
    not(feature = "tls"),
    expect(clippy::unnecessary_wraps, reason = "with TLS it can fail")
)]
fn http_client(target: &(String, Duration)) -> Result<Arc<dyn HttpClient>, ExporterBuildError> {
    #[cfg(feature = "tls")]
    if is_tls(&target.0) {
        return tls::http_client(target.1)
            .map_err(|error| ExporterBuildError::InternalFailure(error.to_string()));
    }
    let client = HyperClient::with_default_connector(target.1, None);
    Ok(Arc::new(client))
}

/// Makes the exporter of each signal.
struct Exporters<'a> {
    settings: &'a OtlpBuilder,
    protocol: Protocol,
    headers: HeaderMap,
    place: Place,
}

impl<'a> Exporters<'a> {
    fn new(settings: &'a OtlpBuilder) -> Result<Self, InitError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let fail = || InitError::header(name);
            let key = HeaderName::try_from(name.as_str()).map_err(|_| fail())?;
            let value = HeaderValue::from_str(value).map_err(|_| fail())?;
            headers.insert(key, value);
        }
        Ok(Self {
            settings,
            protocol: settings::protocol(settings.protocol)?,
            headers,
            place: Place::start().map_err(InitError::Runtime)?,
        })
    }

    /// Endpoint and limit of a signal.
    fn target(&self, signal: Signal) -> Result<(String, Duration), InitError> {
        let given = self.settings.endpoint.as_deref();
        Ok((
            settings::endpoint(given, self.protocol, signal)?,
            settings::timeout(self.settings.timeout, signal)?,
        ))
    }

    /// Settings of a gRPC exporter.
    fn grpc<B: WithTonicConfig + WithExportConfig>(
        &self,
        builder: B,
        target: (String, Duration),
    ) -> B {
        #[cfg(feature = "tls")]
        let builder = if is_tls(&target.0) {
            builder.with_tls_config(tls::grpc())
        } else {
            builder
        };
        builder
            .with_metadata(MetadataMap::from_headers(self.headers.clone()))
            .with_endpoint(target.0)
            .with_timeout(target.1)
    }

    /// Settings of an HTTP exporter.
    fn http<B: WithHttpConfig + WithExportConfig>(
        &self,
        builder: B,
        target: (String, Duration),
    ) -> Result<B, ExporterBuildError> {
        let names = self
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        Ok(builder
            .with_shared_http_client(http_client(&target)?)
            .with_headers(names.collect::<HashMap<_, _>>())
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(target.0)
            .with_timeout(target.1))
    }

    /// Makes an exporter where it will live, and puts it there.
    ///
    /// The exporter is made within the runtime, since a gRPC channel starts its task when it is
    /// made.
    fn place<E>(
        &self,
        signal: Signal,
        counts: &Arc<Counts>,
        make: impl FnOnce((String, Duration)) -> Result<E, ExporterBuildError>,
    ) -> Result<Placed<E>, InitError> {
        let target = self.target(signal)?;
        let limit = target.1;
        let exporter = self.place.enter(|| make(target));
        let exporter = exporter.map_err(|error| InitError::exporter(signal, &error))?;
        let place = self.place.clone();
        Ok(Placed::new(exporter, place, limit, Arc::clone(counts)))
    }

    fn spans(&self, accounts: &Accounts) -> Result<Placed<SpanExporter>, InitError> {
        self.place(Signal::Spans, &accounts.spans, |target| {
            match self.protocol {
                Protocol::Grpc => self
                    .grpc(SpanExporter::builder().with_tonic(), target)
                    .build(),
                Protocol::HttpBinary => self
                    .http(SpanExporter::builder().with_http(), target)?
                    .build(),
            }
        })
    }

    fn logs(&self, accounts: &Accounts) -> Result<Placed<LogExporter>, InitError> {
        self.place(Signal::Logs, &accounts.logs, |target| match self.protocol {
            Protocol::Grpc => self
                .grpc(LogExporter::builder().with_tonic(), target)
                .build(),
            Protocol::HttpBinary => self
                .http(LogExporter::builder().with_http(), target)?
                .build(),
        })
    }

    fn metrics(&self, accounts: &Accounts) -> Result<Placed<MetricExporter>, InitError> {
        self.place(Signal::Metrics, &accounts.metrics, |target| {
            match self.protocol {
                Protocol::Grpc => self
                    .grpc(MetricExporter::builder().with_tonic(), target)
                    .build(),
                Protocol::HttpBinary => self
                    .http(MetricExporter::builder().with_http(), target)?
                    .build(),
            }
        })
    }
}
