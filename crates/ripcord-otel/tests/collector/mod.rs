//! A collector in this process: OTLP over gRPC and over HTTP, on loopback sockets of its own.
//!
//! It runs on a thread and a runtime of its own, as a real one runs in another process: a
//! test that blocks its own runtime does not block the collector.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::disallowed_types,
    reason = "a double of the tests, outside every model"
)]

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use ripcord_otel::otlp::Protocol;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

/// What has arrived.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) traces: Vec<ExportTraceServiceRequest>,
    pub(crate) metrics: Vec<ExportMetricsServiceRequest>,
    pub(crate) logs: Vec<ExportLogsServiceRequest>,
    /// Header `x-key` of each request.
    pub(crate) keys: Vec<Option<String>>,
}

impl Arrived {
    pub(crate) fn spans(&self) -> Vec<&Span> {
        let resources = self
            .traces
            .iter()
            .flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).collect()
    }

    pub(crate) fn records(&self) -> Vec<&LogRecord> {
        let resources = self.logs.iter().flat_map(|request| &request.resource_logs);
        let scopes = resources.flat_map(|resource| &resource.scope_logs);
        scopes.flat_map(|scope| &scope.log_records).collect()
    }

    /// The last state of a metric that has arrived.
    pub(crate) fn metric(&self, name: &str) -> Option<&Metric> {
        let resources = self
            .metrics
            .iter()
            .flat_map(|request| &request.resource_metrics);
        let scopes = resources.flat_map(|resource| &resource.scope_metrics);
        let mut metrics = scopes.flat_map(|scope| &scope.metrics);
        metrics.rfind(|metric| metric.name == name)
    }

    /// Attributes of the resource of the first spans.
    pub(crate) fn resource(&self) -> &[KeyValue] {
        let resource = &self.traces[0].resource_spans[0].resource;
        &resource.as_ref().unwrap().attributes
    }
}

/// The sum of the points of a counter, or the count of a histogram.
pub(crate) fn total(metric: &Metric) -> i64 {
    let number = |value: &Option<number_data_point::Value>| match value {
        Some(number_data_point::Value::AsInt(value)) => *value,
        other => panic!("{other:?}"),
    };
    match metric.data.as_ref().unwrap() {
        metric::Data::Sum(sum) => sum
            .data_points
            .iter()
            .map(|point| number(&point.value))
            .sum(),
        metric::Data::Gauge(gauge) => gauge
            .data_points
            .iter()
            .map(|point| number(&point.value))
            .sum(),
        metric::Data::Histogram(histogram) => {
            let points = histogram.data_points.iter();
            points
                .map(|point| i64::try_from(point.count).unwrap())
                .sum()
        }
        other => panic!("{other:?}"),
    }
}

/// An attribute as text.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let pair = attributes.iter().find(|pair| pair.key == key)?;
    Some(text(pair.value.as_ref()?))
}

pub(crate) fn text(value: &AnyValue) -> String {
    match value.value.as_ref() {
        Some(any_value::Value::StringValue(value)) => value.clone(),
        Some(any_value::Value::IntValue(value)) => value.to_string(),
        Some(any_value::Value::BoolValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The collector; dropped, it stops.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    pub(crate) fn start(protocol: Protocol) -> Self {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let sink = Sink(Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                match protocol {
                    Protocol::Grpc => sink.serve_grpc(listener, stopped).await,
                    _ => sink.serve_http(listener, stopped).await,
                }
            });
        });
        Self {
            endpoint: format!("http://{}", told.recv().unwrap()),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.shared.arrived.lock().unwrap()
    }

    /// Waits until so much has arrived; for what is sent in the background.
    pub(crate) fn wait_for(&self, is_there: impl Fn(&Arrived) -> bool) {
        let waiting = self
            .shared
            .came
            .wait_while(self.arrived(), |arrived| !is_there(arrived));
        drop(waiting.unwrap());
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct Shared {
    arrived: Mutex<Arrived>,
    came: Condvar,
}

#[derive(Clone)]
struct Sink(Arc<Shared>);

impl Sink {
    fn take(&self, key: Option<&str>, put: impl FnOnce(&mut Arrived)) {
        let mut arrived = self.0.arrived.lock().unwrap();
        arrived.keys.push(key.map(str::to_owned));
        put(&mut arrived);
        self.0.came.notify_all();
    }

    async fn serve_grpc(self, listener: TcpListener, stopped: oneshot::Receiver<()>) {
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()))
            .add_service(LogsServiceServer::new(self))
            .serve_with_incoming_shutdown(incoming, async {
                let _ = stopped.await;
            })
            .await
            .unwrap();
    }

    async fn serve_http(self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                _ = &mut stopped => return,
            };
            let sink = self.clone();
            let service = service_fn(move |request| sink.clone().receive(request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    }

    /// `POST /v1/traces` and its like, with protobuf in the body.
    async fn receive(
        self,
        request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        assert_eq!(head.method, "POST");
        assert_eq!(head.headers["content-type"], "application/x-protobuf");
        let body = body.collect().await.unwrap().to_bytes();
        let key = head.headers.get("x-key").map(|key| key.to_str().unwrap());
        self.take(key, |arrived| match head.uri.path() {
            "/v1/traces" => arrived
                .traces
                .push(ExportTraceServiceRequest::decode(body).unwrap()),
            "/v1/metrics" => arrived
                .metrics
                .push(ExportMetricsServiceRequest::decode(body).unwrap()),
            "/v1/logs" => arrived
                .logs
                .push(ExportLogsServiceRequest::decode(body).unwrap()),
            other => panic!("nobody exports to {other}"),
        });
        Ok(hyper::Response::new(Full::default()))
    }
}

fn key<T>(request: &Request<T>) -> Option<String> {
    let key = request.metadata().get("x-key")?;
    Some(key.to_str().unwrap().to_owned())
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let key = key(&request);
        self.take(key.as_deref(), |arrived| {
            arrived.traces.push(request.into_inner());
        });
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let key = key(&request);
        self.take(key.as_deref(), |arrived| {
            arrived.metrics.push(request.into_inner());
        });
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Sink {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let key = key(&request);
        self.take(key.as_deref(), |arrived| {
            arrived.logs.push(request.into_inner());
        });
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
