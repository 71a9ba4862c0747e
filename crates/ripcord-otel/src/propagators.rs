//! OpenTelemetry's `TextMapPropagator` over ripcord's codecs.
//!
//! The propagators of the OpenTelemetry crates fail 13 of the 41 tests of the W3C's harness at
//! level 2, lose baggage with `%` or `=` in a value, and know no B3. These read every line of a
//! header where the [`Extractor`] offers them, keep the flag *random*, accept what level 2 accepts,
//! and send what was received.
//!
//! # What OpenTelemetry's context cannot hold
//! * **Baggage**: one value a key, without an order. The full list travels in the context beside
//!   the map and is what goes out again; keys that were set or removed in the map are set or
//!   removed in the list, new ones at its end in the order of their names. Duplicates and the order
//!   of what was received are kept, as long as nobody touches the key.
//! * **`tracestate`** keys that only level 2 allows: kept in the same way.
//! * **B3 without ids** (`b3: 0`): there is no span to hang the decision on. It goes out again
//!   as it came; the SDK's sampler does not see it.

use crate::context::{Anchor, WireTrace};
use crate::convert::{
    baggage_of, otel_flags, otel_span_id, otel_state, otel_trace_id, reconciled, span_id, trace_id,
    with_baggage,
};
use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceState as OtelState};
use ripcord_wire::b3::{B3, Multi, Sampling};
use ripcord_wire::baggage::{Baggage, Limits};
use ripcord_wire::trace::{SpanId, TraceFlags, TraceId, TraceParent};
use ripcord_wire::tracestate::TraceState;
use std::sync::LazyLock;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const BAGGAGE: &str = "baggage";
const B3_SINGLE: &str = "b3";
const B3_TRACE_ID: &str = "x-b3-traceid";
const B3_SPAN_ID: &str = "x-b3-spanid";
const B3_PARENT_SPAN_ID: &str = "x-b3-parentspanid";
const B3_SAMPLED: &str = "x-b3-sampled";
const B3_FLAGS: &str = "x-b3-flags";

/// More than the 512 bytes that everybody has to forward, and far from the limits of servers.
const TRACESTATE_BYTES_MAX: usize = 4096;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Every line of a header, in order.
///
/// Where the carrier has no such notion, the one line that it gives.
fn lines<'a>(extractor: &'a dyn Extractor, name: &str) -> Vec<&'a [u8]> {
    let lines = extractor.get_all(name).unwrap_or_default();
    lines.into_iter().map(str::as_bytes).collect()
}

/// A context whose parent is in another process.
///
/// The span of the caller becomes the current one, and what OpenTelemetry cannot hold of the trace
/// is kept beside it.
fn remote(
    context: &Context,
    (trace_id, span): (TraceId, SpanId),
    flags: TraceFlags,
    state: TraceState,
) -> Context {
    let parent = SpanContext::new(
        otel_trace_id(trace_id),
        otel_span_id(span),
        otel_flags(flags),
        true,
        otel_state(&state),
    );
    let wire = Some(WireTrace {
        trace_id,
        flags,
        state,
    });
    context
        .with_remote_span_context(parent)
        .with_value(Anchor { span, wire })
}

/// W3C Trace Context, level 2: `traceparent` and `tracestate`.
///
/// # Examples
/// ```
/// use opentelemetry::{propagation::TextMapPropagator as _, trace::TraceContextExt as _};
/// use ripcord_otel::W3cTrace;
/// use std::collections::HashMap;
///
/// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";
/// let headers = HashMap::from([("traceparent".to_owned(), parent.to_owned())]);
/// let context = W3cTrace::new().extract(&headers);
/// assert!(context.span().span_context().is_remote());
///
/// let mut sent = HashMap::new();
/// W3cTrace::new().inject_context(&context, &mut sent);
/// assert_eq!(sent["traceparent"], parent, "the flag `random` included");
/// ```
#[derive(Clone, Copy, Default, Debug)]
#[non_exhaustive]
pub struct W3cTrace {}

impl W3cTrace {
    /// Makes it; there is nothing to configure.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }
}

impl TextMapPropagator for W3cTrace {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        let span = span.span_context();
        let (Some(trace_id), Some(span_id)) = (trace_id(span.trace_id()), span_id(span.span_id()))
        else {
            return;
        };
        let wire = cx.get::<Anchor>().and_then(|anchor| anchor.wire.as_ref());
        let wire = wire.filter(|wire| wire.trace_id == trace_id);
        let flags = TraceFlags::from_byte(span.trace_flags().to_u8());
        // The SDK forgets the flag of a span that it does not sample.
        let is_random = flags.is_random() || wire.is_some_and(|wire| wire.flags.is_random());
        let parent = TraceParent {
            trace_id,
            span_id,
            flags: flags.with_random(is_random),
        };
        let text = String::from_utf8_lossy(&parent.encode()).into_owned();
        injector.set(TRACEPARENT, text);
        let state = match wire {
            Some(wire) => reconciled(&wire.state, &otel_state(&wire.state), span.trace_state()),
            None => reconciled(&TraceState::default(), &OtelState::NONE, span.trace_state()),
        };
        let text = state.truncated(TRACESTATE_BYTES_MAX);
        if !text.is_empty() {
            injector.set(TRACESTATE, text.into_owned());
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let parent = TraceParent::parse_headers(lines(extractor, TRACEPARENT));
        let Ok(Some(parent)) = parent else {
            return cx.clone();
        };
        // A state that cannot be read is dropped, and the parent stands (W3C Trace Context, 3.3.1).
        let state = TraceState::parse_headers(lines(extractor, TRACESTATE)).unwrap_or_default();
        remote(cx, (parent.trace_id, parent.span_id), parent.flags, state)
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: LazyLock<Vec<String>> = LazyLock::new(|| owned(&[TRACEPARENT, TRACESTATE]));
        FieldIter::new(&FIELDS)
    }
}

/// W3C Baggage, with the order and the duplicates that OpenTelemetry's map loses.
///
/// See the limits in the [module's header](crate::propagators). Everything in the context goes out,
/// to whomever: what may be told to which peer is decided by `ripcord-propagation`, not here.
///
/// # Examples
/// ```
/// use opentelemetry::{baggage::BaggageExt as _, propagation::TextMapPropagator as _};
/// use ripcord_otel::W3cBaggage;
/// use std::collections::HashMap;
///
/// let sent = "tenant=blue,note=100%25 sure".replace(' ', "%20");
/// let headers = HashMap::from([("baggage".to_owned(), sent.clone())]);
/// let context = W3cBaggage::new().extract(&headers);
/// assert_eq!(context.baggage().get("note").map(|value| value.as_str()), Some("100% sure"));
///
/// let mut onward = HashMap::new();
/// W3cBaggage::new().inject_context(&context, &mut onward);
/// assert_eq!(onward["baggage"], sent);
/// ```
#[derive(Clone, Copy, Default, Debug)]
#[non_exhaustive]
pub struct W3cBaggage {}

impl W3cBaggage {
    /// Makes it; there is nothing to configure.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }
}

impl TextMapPropagator for W3cBaggage {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let baggage = baggage_of(cx);
        let (text, _) = baggage.encode(&Limits::default(), |_| true);
        if !text.is_empty() {
            injector.set(BAGGAGE, text.into_owned());
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let limits = Limits::default();
        let (baggage, _) = Baggage::parse_headers(lines(extractor, BAGGAGE), &limits);
        with_baggage(cx, &baggage)
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: LazyLock<Vec<String>> = LazyLock::new(|| owned(&[BAGGAGE]));
        FieldIter::new(&FIELDS)
    }
}

/// What B3 says beyond ids; a value in a `Context`.
///
/// It counts for its own trace only: in a context in which a later format has put another one, it
/// says nothing.
#[derive(Clone, Copy, Debug)]
struct B3Said {
    trace_id: Option<TraceId>,
    sampling: Sampling,
}

/// B3, as Zipkin and Envoy send it.
///
/// Both forms are read, the single header first, whichever form is written.
///
/// # Examples
/// ```
/// use opentelemetry::{propagation::TextMapPropagator as _, trace::TraceContextExt as _};
/// use ripcord_otel::B3Trace;
/// use std::collections::HashMap;
///
/// let b3 = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1";
/// let headers = HashMap::from([("b3".to_owned(), b3.to_owned())]);
/// let context = B3Trace::single().extract(&headers);
/// assert!(context.span().span_context().is_sampled());
///
/// let mut sent = HashMap::new();
/// B3Trace::multi().inject_context(&context, &mut sent);
/// assert_eq!(sent["x-b3-spanid"], "e457b5a2e4d86bd1");
/// ```
///
/// # Limitations
/// A decision that is left to the receiver (ids without a sampling state) reads as not sampled,
/// since OpenTelemetry's flags know no third state. The id of the parent's parent is not sent.
#[derive(Clone, Copy, Debug)]
pub struct B3Trace {
    is_single: bool,
}

impl B3Trace {
    /// Writes the header `b3`.
    ///
    /// The form that newer senders prefer, and that fits where headers are few, as in messages.
    #[must_use]
    pub const fn single() -> Self {
        Self { is_single: true }
    }

    /// Writes the headers `x-b3-*`.
    ///
    /// The form that every receiver of B3 knows.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry::propagation::TextMapPropagator as _;
    /// use ripcord_otel::B3Trace;
    ///
    /// let fields: Vec<_> = B3Trace::multi().fields().map(str::to_owned).collect();
    /// assert!(fields.contains(&"x-b3-traceid".to_owned()));
    /// ```
    #[must_use]
    pub const fn multi() -> Self {
        Self { is_single: false }
    }

    /// The first form that can be read. A `b3` header that is broken does not hide the other form:
    /// some proxies add one without taking the other away.
    fn read(extractor: &dyn Extractor) -> Option<B3> {
        // A header that comes twice is ambiguous, and no value of B3 may be joined.
        let only = |name| match lines(extractor, name).as_slice() {
            [line] => Some(*line),
            _ => None,
        };
        if let Some(b3) = only(B3_SINGLE).and_then(|line| B3::parse_single(line).ok()) {
            return Some(b3);
        }
        let multi = Multi {
            trace_id: only(B3_TRACE_ID),
            span_id: only(B3_SPAN_ID),
            parent_span_id: only(B3_PARENT_SPAN_ID),
            sampled: only(B3_SAMPLED),
            flags: only(B3_FLAGS),
        };
        B3::parse_multi(&multi).ok().flatten()
    }

    fn write(self, b3: &B3, injector: &mut dyn Injector) {
        if self.is_single {
            injector.set(B3_SINGLE, b3.encode_single());
        } else {
            b3.encode_multi(|name, value| injector.set(name, value.to_owned()));
        }
    }
}

impl TextMapPropagator for B3Trace {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        let span = span.span_context();
        let ids = trace_id(span.trace_id()).zip(span_id(span.span_id()));
        let said = cx.get::<B3Said>();
        let said = said.filter(|said| said.trace_id == ids.map(|(trace_id, _)| trace_id));
        let sampling = match (ids, said.map(|said| said.sampling)) {
            (None, None) => return,
            (_, Some(Sampling::Debug)) => Sampling::Debug,
            (None, Some(sampling)) => sampling,
            // Nobody has decided yet: the parent is still the one that came.
            (Some(_), Some(Sampling::Defer)) if span.is_remote() => Sampling::Defer,
            (Some(_), _) if span.is_sampled() => Sampling::Accept,
            (Some(_), _) => Sampling::Deny,
        };
        let b3 = B3 {
            ids,
            parent: None,
            sampling,
        };
        self.write(&b3, injector);
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let Some(b3) = Self::read(extractor) else {
            return cx.clone();
        };
        let is_sampled = matches!(b3.sampling, Sampling::Accept | Sampling::Debug);
        let flags = TraceFlags::default().with_sampled(is_sampled);
        let context = match b3.ids {
            Some(ids) => remote(cx, ids, flags, TraceState::default()),
            None if b3.sampling == Sampling::Defer => return cx.clone(),
            None => cx.clone(),
        };
        context.with_value(B3Said {
            trace_id: b3.ids.map(|(trace_id, _)| trace_id),
            sampling: b3.sampling,
        })
    }

    fn fields(&self) -> FieldIter<'_> {
        static SINGLE: LazyLock<Vec<String>> = LazyLock::new(|| owned(&[B3_SINGLE]));
        static MULTI: LazyLock<Vec<String>> = LazyLock::new(|| {
            owned(&[
                B3_TRACE_ID,
                B3_SPAN_ID,
                B3_PARENT_SPAN_ID,
                B3_SAMPLED,
                B3_FLAGS,
            ])
        });
        FieldIter::new(if self.is_single { &SINGLE } else { &MULTI })
    }
}

/// Several propagators as one: all write, and of those that read the first one's trace stands.
///
/// Unlike the composite of the OpenTelemetry API, in which the last one wins: a list of formats
/// reads as an order of preference.
///
/// # Examples
/// ```
/// use ripcord_otel::{B3Trace, Composite, W3cBaggage, W3cTrace};
///
/// // W3C where it is there, else B3; both are sent.
/// let propagator = Composite::new([
///     Box::new(W3cTrace::new()) as _,
///     Box::new(B3Trace::single()) as _,
///     Box::new(W3cBaggage::new()) as _,
/// ]);
/// opentelemetry::global::set_text_map_propagator(propagator);
/// ```
#[derive(Debug)]
pub struct Composite {
    parts: Vec<Box<dyn TextMapPropagator + Send + Sync>>,
    fields: Vec<String>,
}

impl Composite {
    /// Makes one of parts, the preferred first.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = Box<dyn TextMapPropagator + Send + Sync>>) -> Self {
        let parts: Vec<_> = parts.into_iter().collect();
        let mut fields: Vec<String> = Vec::new();
        for field in parts.iter().flat_map(|part| part.fields()) {
            if !fields.iter().any(|known| known == field) {
                fields.push(field.to_owned());
            }
        }
        Self { parts, fields }
    }

    /// W3C trace context and baggage.
    ///
    /// What ripcord's own layers send by default, and what `otlp` sets as the global one.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry::propagation::TextMapPropagator as _;
    /// use ripcord_otel::Composite;
    ///
    /// let propagator = Composite::w3c();
    /// let fields: Vec<_> = propagator.fields().collect();
    /// assert_eq!(fields, ["traceparent", "tracestate", "baggage"]);
    /// ```
    #[must_use]
    pub fn w3c() -> Self {
        Self::new([
            Box::new(W3cTrace::new()) as Box<dyn TextMapPropagator + Send + Sync>,
            Box::new(W3cBaggage::new()),
        ])
    }
}

impl TextMapPropagator for Composite {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        for part in &self.parts {
            part.inject_context(cx, injector);
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        // What comes later overrides, so the preferred one comes last.
        self.parts.iter().rev().fold(cx.clone(), |context, part| {
            part.extract_with_context(&context, extractor)
        })
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}
