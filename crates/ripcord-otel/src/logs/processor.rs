//! [`CtxLogProcessor`]: gives log records the ids of the current context.

use super::LogIds;
use crate::convert::{otel_flags, otel_span_id, otel_trace_id};
use crate::names::attribute;
use opentelemetry::InstrumentationScope;
use opentelemetry::logs::LogRecord as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};
use std::time::Duration;

/// Gives a log record the trace, the span and the request of the current
/// [`Ctx`](ripcord_core::Ctx).
///
/// The SDK takes them from OpenTelemetry's own current context, which most code of a service that
/// uses ripcord does not run under. A record that has a span already keeps it. Put it in front of
/// the processor that exports; [`otlp`](crate::otlp) does so by itself.
///
/// # Examples
/// ```
/// use opentelemetry_sdk::logs::SdkLoggerProvider;
/// use ripcord_otel::logs::CtxLogProcessor;
///
/// let loggers = SdkLoggerProvider::builder()
///     .with_log_processor(CtxLogProcessor::new())
///     // .with_batch_exporter(…)
///     .build();
/// # drop(loggers);
/// ```
#[derive(Clone, Copy, Default, Debug)]
#[non_exhaustive]
pub struct CtxLogProcessor {}

impl CtxLogProcessor {
    /// Makes it; there is nothing to configure.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }
}

impl LogProcessor for CtxLogProcessor {
    fn emit(&self, record: &mut SdkLogRecord, _scope: &InstrumentationScope) {
        let Some(ids) = LogIds::current() else { return };
        if record.trace_context().is_none() {
            record.set_trace_context(
                otel_trace_id(ids.trace_id),
                otel_span_id(ids.span_id),
                Some(otel_flags(ids.flags)),
            );
        }
        let id = ids.request_id.as_str().to_owned();
        record.add_attribute(attribute::REQUEST_ID, id);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
