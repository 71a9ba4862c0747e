//! OpenTelemetry as a contender in HTTP: its propagators, without spans.

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

use super::request::Carries;

/// Trace context and baggage; the child is a new span id, and no span is recorded.
///
/// It does less than the others: no request id, no deadline.
#[derive(Debug)]
pub(super) struct Otel {
    propagator: TextMapCompositePropagator,
    ids: RandomIdGenerator,
}

impl Carries for Otel {
    type Read = Context;
    type Context = Context;

    fn new() -> Otel {
        Otel {
            propagator: TextMapCompositePropagator::new(vec![
                Box::new(TraceContextPropagator::new()),
                Box::new(BaggagePropagator::new()),
            ]),
            ids: RandomIdGenerator::default(),
        }
    }

    fn extract(&self, headers: &HeaderMap) -> Context {
        self.propagator
            .extract_with_context(&Context::new(), &HeaderExtractor(headers))
    }

    fn context(&self, read: Context) -> Context {
        let span = read.span();
        let parent = span.span_context();
        // As a tracer does it: a trace of one's own where the caller has none.
        let (trace_id, flags) = if parent.is_valid() {
            (parent.trace_id(), parent.trace_flags())
        } else {
            (self.ids.new_trace_id(), TraceFlags::SAMPLED)
        };
        let state = parent.trace_state().clone();
        let child = SpanContext::new(trace_id, self.ids.new_span_id(), flags, false, state);
        read.with_remote_span_context(child)
    }

    fn inject(&self, context: &Context, headers: &mut HeaderMap) {
        self.propagator
            .inject_context(context, &mut HeaderInjector(headers));
    }
}
