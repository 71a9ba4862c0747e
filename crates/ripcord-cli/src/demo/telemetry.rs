//! Telemetry over OTLP, where `--otlp` asks for it: spans, metrics and an access log.
//!
//! Each service has an export of its own, as it would have in a process of its own, so that it has
//! its own name in what shows traces. No request waits for any of them: what a collector does not
//! take in time is dropped, counted, and told in the report.

use super::topology::Service;
use crate::exit::ExpectedError;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use ripcord_otel::otlp::{FlushError, Guard, Otlp};
use ripcord_propagation::{AccessLine, AccessLog, CallObserver, Observers};
use std::sync::Arc;
use std::time::Duration;

/// Who exports: the services that ripcord serves, and their clients.
const EXPORTERS: [&str; 6] = ["gateway", "order", "inventory", "risk", "notify", CLIENTS];

/// The name of those who send the load.
pub(super) const CLIENTS: &str = "clients";

/// The exports of a run; none unless they were asked for.
#[derive(Debug, Default)]
pub(super) struct Exports {
    url: Option<String>,
    all: Vec<(&'static str, Guard)>,
}

/// What was not delivered, of all services together.
#[derive(Clone, Debug, Default)]
pub(super) struct Undelivered {
    /// Where it was to go; `None` if nobody asked for it.
    pub(super) url: Option<String>,
    pub(super) spans: Lost,
    pub(super) logs: Lost,
    /// Exports of metrics that failed.
    pub(super) metrics: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    pub(super) queue_full: u64,
    pub(super) export_failed: u64,
    /// Still in the queue when the time for the last export was over.
    pub(super) unsent: u64,
}

impl Exports {
    /// Starts to export to `url`. Nothing is connected yet: a collector that is down ends no run.
    ///
    /// # Errors
    /// The URL is none, or the environment contradicts itself.
    pub(super) fn start(url: Option<&str>) -> Result<Self, ExpectedError> {
        let Some(url) = url else {
            return Ok(Self::default());
        };
        let mut all = Vec::new();
        for name in EXPORTERS {
            let export = Otlp::builder()
                .service_name(name)
                .version(env!("CARGO_PKG_VERSION"))
                .endpoint(url)
                .timeout(EXPORT_MAX)
                .schedule(SCHEDULE)
                .without_globals();
            let guard = export.build().map_err(|error| ExpectedError::Usage {
                message: format!("failed to {error}"),
                help: "ripcord demo --help",
            })?;
            all.push((name, guard));
        }
        Ok(Self {
            url: Some(url.to_owned()),
            all,
        })
    }

    /// Who observes the calls that `name` makes, if anybody does.
    pub(super) fn of_client(&self, name: &str) -> Option<Arc<dyn CallObserver>> {
        let guard = self.guard(name)?;
        Some(Arc::new(guard.telemetry().build()))
    }

    /// Who observes the calls that a service gets: `witness`, and what is exported of them.
    pub(super) fn of_server(
        &self,
        service: Service,
        witness: Arc<dyn CallObserver>,
    ) -> Arc<dyn CallObserver> {
        let Some(guard) = self.guard(service.name()) else {
            return witness;
        };
        let logger = guard.logger_provider().logger("access");
        let log = AccessLog::new(move |line| write(&logger, line));
        // The first one moves the call into a span of its own, which the log then names.
        let all = Observers::new()
            .with(Arc::new(guard.telemetry().build()))
            .with(witness)
            .with(Arc::new(log));
        Arc::new(all)
    }

    fn guard(&self, name: &str) -> Option<&Guard> {
        let (_, guard) = self.all.iter().find(|(known, _)| *known == name)?;
        Some(guard)
    }

    /// Sends what waits, for a bounded time, and ends; what was lost.
    pub(super) async fn stop(&self, is_in_haste: bool) -> Undelivered {
        let limit = if is_in_haste { HASTE } else { STOP_MAX };
        // All of them begin at once.
        let ends: Vec<_> = self
            .all
            .iter()
            .map(|(_, guard)| guard.shutdown_async(limit))
            .collect();
        let mut lost = Undelivered {
            url: self.url.clone(),
            ..Undelivered::default()
        };
        for ended in ends {
            if let Err(FlushError::Timeout { spans, logs, .. }) = ended.await {
                lost.spans.unsent += u64::try_from(spans).unwrap_or(u64::MAX);
                lost.logs.unsent += u64::try_from(logs).unwrap_or(u64::MAX);
            }
        }
        for (_, guard) in &self.all {
            let dropped = guard.dropped();
            lost.spans.queue_full += dropped.spans_queue_full;
            lost.spans.export_failed += dropped.spans_export_failed;
            lost.logs.queue_full += dropped.logs_queue_full + dropped.logs_after_shutdown;
            lost.logs.export_failed += dropped.logs_export_failed;
            lost.metrics += dropped.metrics_export_failed;
        }
        lost
    }
}

/// A line of the access log as a record with the ids of its request.
fn write(logger: &impl Logger, line: &AccessLine) {
    let mut record = logger.create_log_record();
    let (severity, text) = match line.status {
        Some(500..) => (Severity::Warn, "WARN"),
        _ => (Severity::Info, "INFO"),
    };
    record.set_severity_number(severity);
    record.set_severity_text(text);
    record.set_body(AnyValue::from(line.to_string()));
    record.add_attribute("ripcord.request.id", line.request_id.clone());
    if let (Ok(trace), Ok(span)) = (
        TraceId::from_hex(&line.trace_id),
        SpanId::from_hex(&line.span_id),
    ) {
        record.set_trace_context(trace, span, Some(TraceFlags::SAMPLED));
    }
    logger.emit(record);
}

/// One export may take so long, with all its attempts.
const EXPORT_MAX: Duration = Duration::from_secs(1);

/// So long a span waits for others to be sent along with.
const SCHEDULE: Duration = Duration::from_secs(1);

/// So long the end of the run waits for the last exports.
const STOP_MAX: Duration = Duration::from_secs(2);

/// The same after a second signal.
const HASTE: Duration = Duration::from_millis(200);
