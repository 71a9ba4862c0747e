//! Between ripcord's values and those of OpenTelemetry, and what is lost on the way.
//!
//! * **Ids and flags** are the same bytes. The SDK drops the flag *random* of a span that it does
//!   not sample; here it is kept from the parent (W3C Trace Context, level 2: it must be
//!   preserved).
//! * **`tracestate`**: the API refuses keys that level 2 allows (several `@`, 256 characters).
//!   The SDK is shown the entries that it can hold; the rest travel on beside it, and what a
//!   sampler changed is written into the full list: [`reconciled`].
//! * **Baggage**: the API keeps one value a key, in no order. The full list travels beside it in
//!   the same way: [`CarriedBaggage`].

use opentelemetry::baggage::{Baggage as OtelBaggage, BaggageExt as _, KeyValueMetadata};
use opentelemetry::trace::{SpanContext, TraceState as OtelState};
use opentelemetry::{
    Context, SpanId as OtelSpanId, TraceFlags as OtelFlags, TraceId as OtelTraceId,
};
use ripcord_propagation::Trace;
use ripcord_wire::baggage::{Baggage, Entry};
use ripcord_wire::trace::{SpanId, TraceFlags, TraceId};
use ripcord_wire::tracestate::TraceState;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The same sixteen bytes.
pub(crate) fn otel_trace_id(id: TraceId) -> OtelTraceId {
    OtelTraceId::from_bytes(id.to_bytes())
}

/// The same eight bytes.
pub(crate) fn otel_span_id(id: SpanId) -> OtelSpanId {
    OtelSpanId::from_bytes(id.to_bytes())
}

/// Both flags: the type of OpenTelemetry knows one by name, and keeps the others.
pub(crate) fn otel_flags(flags: TraceFlags) -> OtelFlags {
    OtelFlags::new(flags.to_byte())
}

/// `None` for the all-zero id of a span that does not exist.
pub(crate) fn trace_id(id: OtelTraceId) -> Option<TraceId> {
    TraceId::from_bytes(id.to_bytes())
}

/// `None` for the all-zero id of a span that does not exist.
pub(crate) fn span_id(id: OtelSpanId) -> Option<SpanId> {
    SpanId::from_bytes(id.to_bytes())
}

/// Entries that the API of OpenTelemetry can hold; the others are left out.
///
/// Most lists go through whole; only if one is refused are the entries tried one by one.
pub(crate) fn otel_state(state: &TraceState) -> OtelState {
    if state.is_empty() {
        return OtelState::NONE;
    }
    OtelState::from_key_value(state.iter()).unwrap_or_else(|_| {
        let holds = |entry: &(&str, &str)| OtelState::from_key_value([*entry]).is_ok();
        OtelState::from_key_value(state.iter().filter(holds)).unwrap_or_default()
    })
}

/// The full list with the changes that somebody made to what the SDK was shown of it.
pub(crate) fn reconciled(full: &TraceState, shown: &OtelState, now: &OtelState) -> TraceState {
    if shown == now {
        return full.clone();
    }
    let gone = shown.into_iter().filter(|(key, _)| now.get(key).is_none());
    let kept = gone.fold(full.clone(), |state, (key, _)| state.without(key));
    let changed: Vec<_> = now
        .into_iter()
        .filter(|(key, value)| shown.get(key) != Some(*value))
        .collect();
    // Each one goes to the left end, so the leftmost comes last.
    changed.into_iter().rev().fold(kept, |state, (key, value)| {
        state.with(key, value).unwrap_or(state)
    })
}

/// The span above a trace's current one, as a parent for the SDK.
///
/// Below it the SDK opens the span of a call: a server's below its caller's, a client's below the
/// request that makes it.
pub(crate) fn parent_of(trace: &Trace) -> Option<SpanContext> {
    let parent = trace.parent_span_id?;
    Some(span_context(trace, parent, trace.is_remote_parent))
}

/// A trace's current span, as a parent for the SDK.
///
/// Below it lie spans of one's own, where nobody observed the call.
pub(crate) fn current_of(trace: &Trace) -> SpanContext {
    span_context(trace, trace.span_id, false)
}

/// A parent in this process is not remote, though its span is known by its ids only.
fn span_context(trace: &Trace, span: SpanId, is_remote: bool) -> SpanContext {
    SpanContext::new(
        otel_trace_id(trace.trace_id),
        otel_span_id(span),
        otel_flags(trace.flags),
        is_remote,
        otel_state(&trace.state),
    )
}

/// Moves a trace into a span that the SDK made below `parent`; `false` if there is no such span.
///
/// Without an SDK the API hands the parent back as the new span: then the trace keeps the ids
/// that ripcord gave it.
pub(crate) fn move_into(trace: &mut Trace, parent: &SpanContext, span: &SpanContext) -> bool {
    let (Some(trace_id), Some(span_id)) = (trace_id(span.trace_id()), span_id(span.span_id()))
    else {
        return false;
    };
    if span.span_id() == parent.span_id() {
        return false;
    }
    // The ids of a trace that the SDK begins are random, as those that ripcord makes.
    let is_random =
        trace.flags.is_random() || TraceFlags::from_byte(span.trace_flags().to_u8()).is_random();
    trace.state = reconciled(&trace.state, parent.trace_state(), span.trace_state());
    trace.flags = TraceFlags::default()
        .with_sampled(span.is_sampled())
        .with_random(is_random);
    trace.trace_id = trace_id;
    trace.span_id = span_id;
    true
}

/// The full baggage beside the map that the API holds of it; a value in a `Context`.
///
/// Two lists and not one: what was received must be told from what somebody set since.
#[derive(Debug)]
pub(crate) struct CarriedBaggage {
    full: Baggage,
    /// What the map was, to see what was changed since.
    shown: BTreeMap<String, (String, String)>,
}

/// The properties of an entry as the text that the API calls metadata.
fn metadata(entry: &Entry<'_>) -> String {
    let mut text = String::new();
    for (key, value) in entry.properties() {
        if !text.is_empty() {
            text.push(';');
        }
        text.push_str(key);
        if let Some(value) = value {
            // The text of a string never fails to be written.
            let _ = write!(text, "={value}");
        }
    }
    text
}

/// Sorted, so that two maps can be compared, and new entries have one order.
fn sorted(baggage: &OtelBaggage) -> BTreeMap<String, (String, String)> {
    let owned = |(key, (value, metadata)): (
        &opentelemetry::Key,
        &(
            opentelemetry::StringValue,
            opentelemetry::baggage::BaggageMetadata,
        ),
    )| {
        let value = (value.as_str().to_owned(), metadata.as_str().to_owned());
        (key.as_str().to_owned(), value)
    };
    baggage.iter().map(owned).collect()
}

/// A context that has the baggage in both forms.
pub(crate) fn with_baggage(context: &Context, full: &Baggage) -> Context {
    if full.is_empty() {
        return context.clone();
    }
    // The first value of a key stands, as with `Baggage::get`; the map would keep the last.
    let mut seen = std::collections::HashSet::new();
    let entries: Vec<KeyValueMetadata> = full
        .iter()
        .filter(|entry| seen.insert(entry.key()))
        .map(|entry| {
            let (key, value) = (entry.key().to_owned(), entry.value().into_owned());
            KeyValueMetadata::new(key, value, metadata(&entry))
        })
        .collect();
    let context = context.with_baggage(entries);
    let carried = CarriedBaggage {
        full: full.clone(),
        shown: sorted(context.baggage()),
    };
    context.with_value(carried)
}

/// The baggage of a context: the full list with what was changed in the API's map since.
///
/// What is new in the map is appended in the order of its keys, so that two runs send the same.
pub(crate) fn baggage_of(context: &Context) -> Baggage {
    let now = sorted(context.baggage());
    let empty = BTreeMap::new();
    let carried = context.get::<CarriedBaggage>();
    let (mut full, shown) = carried.map_or((Baggage::default(), &empty), |carried| {
        (carried.full.clone(), &carried.shown)
    });
    if *shown == now {
        return full;
    }
    for key in shown.keys().filter(|key| !now.contains_key(*key)) {
        full = full.without(key);
    }
    for (key, entry) in &now {
        if shown.get(key) != Some(entry) {
            let (value, metadata) = entry;
            let properties = properties(metadata);
            full = full
                .with_properties(key, value, &properties)
                .unwrap_or(full);
        }
    }
    full
}

/// The way back from [`metadata`].
fn properties(metadata: &str) -> Vec<(&str, Option<&str>)> {
    let parts = metadata.split(';').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(|part| match part.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim())),
            None => (part, None),
        })
        .collect()
}
