//! One call in flight: its span, its labels, and what its end makes of them.
//!
//! # Invariants
//! 1. What the start added to the active requests is taken away once, by `end` or by `Drop`.
//! 2. An attribute is set once: the SDK keeps every entry that it is given, also of one key.

use crate::cancel::{self, bounded};
use crate::context::hold;
use crate::methods::bare;
use crate::names::{GRPC, Judgement, OTHER, attribute, judge, source};
use crate::telemetry::Shared;
use opentelemetry::trace::{SpanBuilder, SpanKind, SpanRef, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue, StringValue, Value};
use ripcord_core::{Cause, Ctx};
use ripcord_propagation::{
    Call, CallRecord, Carried, DeadlineSource, End, GrpcCode, Protocol, Side, verdict,
};
use std::sync::Arc;
use std::time::SystemTime;

/// A call that is not recorded.
///
/// The exporters of a program may themselves go through ripcord's clients.
#[derive(Debug)]
pub(crate) struct Unrecorded;

impl CallRecord for Unrecorded {
    fn end(&mut self, _end: &End<'_>) {}
}

/// The label of a gRPC method, if the method is known.
pub(crate) fn rpc_label(shared: &Shared, call: &Call<'_>) -> Option<Arc<str>> {
    let is_grpc = call.protocol == Protocol::Grpc;
    is_grpc.then(|| shared.methods.rpc(call.side, bare(call.path)))?
}

/// Host and port of an authority, without user and password.
///
/// The port is the scheme's own where none is named. What is no authority at all gives a host that
/// looks odd and no port: it came from a header, and nothing is decided by it.
pub(crate) fn server_of(authority: &str, scheme: Option<&str>) -> (String, Option<u16>) {
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    // The colons of an IPv6 address stand in brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    let port = port.or(match scheme {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    });
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (bounded(host).to_owned(), port)
}

/// A span with everything that is known at the start, which is what a sampler sees.
///
/// The order of the attributes is that of the conventions: what identifies the call, then where it
/// goes, then what it belongs to.
pub(crate) fn span_builder(
    shared: &Shared,
    call: &Call<'_>,
    rpc: Option<&Arc<str>>,
    started: SystemTime,
) -> SpanBuilder {
    let mut attributes = Vec::with_capacity(8);
    let name = match call.protocol {
        Protocol::Grpc => rpc_start(rpc, &mut attributes),
        _ => http_start(shared, call, &mut attributes),
    };
    if let Some((host, port)) = call.authority.map(|text| server_of(text, call.scheme)) {
        attributes.push(KeyValue::new(attribute::SERVER_ADDRESS, host));
        if let Some(port) = port {
            attributes.push(KeyValue::new(attribute::SERVER_PORT, i64::from(port)));
        }
    }
    attributes.extend(version_label(call.version));
    let kind = match call.side {
        Side::Server => SpanKind::Server,
        Side::Client => SpanKind::Client,
    };
    SpanBuilder::from_name(name)
        .with_kind(kind)
        .with_start_time(started)
        .with_attributes(attributes)
}

/// What no sampler decides by; made only for a span that is recorded.
pub(crate) fn details(call: &Call<'_>, carried: &Carried) -> Vec<KeyValue> {
    let id = carried.request_id().as_str().to_owned();
    let mut details = vec![KeyValue::new(attribute::REQUEST_ID, id)];
    let peer = carried.peer().filter(|_| call.side == Side::Server);
    if let Some(address) = peer.and_then(|peer| peer.address) {
        let (ip, port) = (address.ip().to_string(), i64::from(address.port()));
        details.push(KeyValue::new(attribute::NETWORK_PEER_ADDRESS, ip));
        details.push(KeyValue::new(attribute::NETWORK_PEER_PORT, port));
    }
    details
}

/// A method that is not known yet is named at the end.
fn rpc_start(rpc: Option<&Arc<str>>, attributes: &mut Vec<KeyValue>) -> String {
    attributes.push(KeyValue::new(attribute::RPC_SYSTEM_NAME, GRPC));
    match rpc {
        Some(method) => {
            attributes.push(KeyValue::new(attribute::RPC_METHOD, Arc::clone(method)));
            method.to_string()
        }
        None => GRPC.to_owned(),
    }
}

/// Name of the span, and the attributes of an HTTP call. The path of a served call stands alone; a
/// made one's is part of the URL.
fn http_start(shared: &Shared, call: &Call<'_>, attributes: &mut Vec<KeyValue>) -> String {
    let known = shared.methods.http(call.method);
    // "HTTP" takes the place of a method that is not known, in the name of a span.
    let method = known.as_ref().map_or("HTTP", StringValue::as_str);
    let name = match call.route {
        Some(route) => format!("{method} {}", bounded(route)),
        None => method.to_owned(),
    };
    if known.is_none() {
        let original = bounded(call.method).to_owned();
        attributes.push(KeyValue::new(
            attribute::HTTP_REQUEST_METHOD_ORIGINAL,
            original,
        ));
    }
    attributes.push(method_label(known));
    let path = bounded(call.path);
    match (call.side, call.scheme, call.authority) {
        (Side::Client, Some(scheme), Some(authority)) => {
            let host = authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host);
            let url = format!("{scheme}://{}{path}", bounded(host));
            attributes.push(KeyValue::new(attribute::URL_FULL, url));
        }
        _ => attributes.push(KeyValue::new(attribute::URL_PATH, path.to_owned())),
    }
    attributes.extend(scheme_label(call.scheme));
    if let Some(route) = call.route {
        attributes.push(KeyValue::new(
            attribute::HTTP_ROUTE,
            bounded(route).to_owned(),
        ));
    }
    name
}

/// The same label on the span and on all metrics.
fn method_label(known: Option<StringValue>) -> KeyValue {
    let value = known.unwrap_or_else(|| OTHER.into());
    KeyValue::new(attribute::HTTP_REQUEST_METHOD, Value::String(value))
}

/// A peer can write any scheme; there are two.
fn scheme_label(scheme: Option<&str>) -> Option<KeyValue> {
    let scheme = match scheme? {
        "http" => "http",
        "https" => "https",
        _ => OTHER,
    };
    Some(KeyValue::new(attribute::URL_SCHEME, scheme))
}

/// Versions of HTTP as labels.
fn version_label(version: Option<&str>) -> Option<KeyValue> {
    let version = match version? {
        "1.0" => "1.0",
        "1.1" => "1.1",
        "2" => "2",
        "3" => "3",
        _ => OTHER,
    };
    Some(KeyValue::new(attribute::NETWORK_PROTOCOL_VERSION, version))
}

/// The record of one call; made by [`Telemetry`](crate::Telemetry).
///
/// It keeps what the metrics need of the start, since the call itself is only lent to the observer:
/// the labels, owned, and nothing else of a peer's.
pub(crate) struct CallInFlight {
    shared: Arc<Shared>,
    side: Side,
    protocol: Protocol,
    /// With the span in it.
    context: Context,
    started: SystemTime,
    source: Option<DeadlineSource>,
    /// gRPC: the path without its slash, and the label if it is known.
    rpc: Option<(String, Option<Arc<str>>)>,
    method: Option<StringValue>,
    route: Option<String>,
    /// Everything but the method, the route and the outcome.
    labels: Vec<KeyValue>,
    /// Labels of the active requests, while it is one; see invariant 1.
    active: Option<Vec<KeyValue>>,
    is_marked: bool,
}

impl CallInFlight {
    pub(crate) fn start(
        shared: Arc<Shared>,
        call: &Call<'_>,
        carried: &Carried,
        context: Context,
        rpc: Option<Arc<str>>,
        started: SystemTime,
    ) -> Self {
        let method = shared.methods.http(call.method);
        let mut labels = Vec::with_capacity(8);
        let names_server = call.side == Side::Client && shared.options.labels_server;
        if let Some(authority) = call.authority.filter(|_| names_server) {
            let (host, port) = server_of(authority, call.scheme);
            labels.push(KeyValue::new(attribute::SERVER_ADDRESS, host));
            labels.extend(port.map(|port| KeyValue::new(attribute::SERVER_PORT, i64::from(port))));
        }
        if call.protocol == Protocol::Grpc {
            labels.push(KeyValue::new(attribute::RPC_SYSTEM_NAME, GRPC));
        } else {
            labels.push(method_label(method.clone()));
            labels.extend(version_label(call.version));
            let scheme = call.scheme.filter(|_| call.side == Side::Server);
            labels.extend(scheme_label(scheme));
        }
        let active = (call.side == Side::Server).then(|| {
            let mut labels = vec![method_label(method.clone())];
            labels.extend(scheme_label(call.scheme));
            shared
                .metrics
                .arrive(&labels, &call.rejects, call.remaining);
            labels
        });
        let is_grpc = call.protocol == Protocol::Grpc;
        Self {
            side: call.side,
            protocol: call.protocol,
            rpc: is_grpc.then(|| (bare(call.path).to_owned(), rpc)),
            route: call.route.map(|route| bounded(route).to_owned()),
            source: carried.deadline_source(),
            shared,
            context,
            started,
            method,
            labels,
            active,
            is_marked: false,
        }
    }

    /// Takes the call out of the active requests, if it is still among them.
    fn leave(&mut self) {
        if let Some(labels) = self.active.take() {
            self.shared.metrics.leave(&labels);
        }
    }

    /// Once: the event of the cause on the span.
    fn mark(&mut self, cause: &Cause, depth: Option<usize>) {
        if !self.is_marked {
            self.is_marked = true;
            let label = verdict(cause, self.source, self.side).label;
            cancel::add_event(&self.context.span(), cause, label, depth);
        }
    }

    /// What the end brings to the span and the metrics alike.
    fn outcome(&self, end: &End<'_>, judgement: &Judgement) -> Vec<KeyValue> {
        let mut outcome = Vec::with_capacity(4);
        if let Some(error) = judgement.error_type.clone() {
            outcome.push(KeyValue::new(attribute::ERROR_TYPE, error));
        }
        if self.protocol == Protocol::Grpc {
            outcome.extend(
                judgement
                    .grpc
                    .map(|code| KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, code.name())),
            );
        } else {
            outcome.extend(end.status.map(|status| {
                KeyValue::new(attribute::HTTP_RESPONSE_STATUS_CODE, i64::from(status))
            }));
        }
        outcome
    }

    /// A gRPC method that was not known at the start, now that there is an answer.
    fn name_method(&self, span: &SpanRef<'_>, code: GrpcCode) -> Option<KeyValue> {
        let (method, known) = self.rpc.as_ref()?;
        if let Some(known) = known {
            return Some(KeyValue::new(attribute::RPC_METHOD, Arc::clone(known)));
        }
        let learned = self.shared.methods.learn_rpc(self.side, method, code);
        let label = match &learned {
            Some(known) => Value::from(Arc::clone(known)),
            None => Value::from(OTHER),
        };
        if let Some(known) = learned {
            span.update_name(known.to_string());
        } else {
            let original = bounded(method).to_owned();
            span.set_attribute(KeyValue::new(attribute::RPC_METHOD_ORIGINAL, original));
        }
        let label = KeyValue::new(attribute::RPC_METHOD, label);
        span.set_attribute(label.clone());
        Some(label)
    }

    /// The text of the status is the failure's own, else the cause's; the SDK shows it beside the
    /// kind of the error.
    fn end_span(&self, end: &End<'_>, judgement: &Judgement, outcome: &[KeyValue]) {
        let span = self.context.span();
        if span.is_recording() {
            span.set_attributes(outcome.iter().cloned());
            if let Some(cause) = judgement.cause {
                span.set_attribute(KeyValue::new(attribute::CANCEL_CAUSE, cause));
            }
            if judgement.is_deadline {
                let by = source(end.deadline_source);
                span.set_attribute(KeyValue::new(attribute::DEADLINE_SOURCE, by));
            }
            if judgement.is_error {
                let description = match (end.error, end.cause) {
                    (Some(error), _) => bounded(error).to_owned(),
                    (None, Some(cause)) if judgement.cause.is_some() => cancel::description(cause),
                    _ => String::new(),
                };
                span.set_status(Status::error(description));
            }
        }
        // As long as the metric says, whatever the system's clock did meanwhile.
        match self.started.checked_add(end.took) {
            Some(at) => span.end_with_timestamp(at),
            None => span.end(),
        }
    }
}

impl CallRecord for CallInFlight {
    fn attach(&self, ctx: Ctx) -> Ctx {
        hold(&ctx, self.context.clone(), Some(self.shared.spans.clone()))
    }

    fn routed(&mut self, route: &str) {
        if self.route.is_none() && self.protocol == Protocol::Http {
            let route = bounded(route);
            let span = self.context.span();
            if span.is_recording() {
                let method = self.method.as_ref().map_or("HTTP", StringValue::as_str);
                span.update_name(format!("{method} {route}"));
                span.set_attribute(KeyValue::new(attribute::HTTP_ROUTE, route.to_owned()));
            }
            self.route = Some(route.to_owned());
        }
    }

    fn cancelled(&mut self, cause: &Cause, depth: Option<usize>) {
        self.mark(cause, depth);
    }

    fn end(&mut self, end: &End<'_>) {
        self.leave();
        if let Some(cause) = end.cause {
            self.mark(cause, None);
        }
        let spares = self.shared.options.spares_cancelled && self.side == Side::Client;
        let judgement = judge(self.side, self.protocol, end, spares);
        let outcome = self.outcome(end, &judgement);
        let mut labels = std::mem::take(&mut self.labels);
        labels.extend(outcome.iter().cloned());
        let code = judgement.grpc.unwrap_or(GrpcCode::Unknown);
        labels.extend(self.name_method(&self.context.span(), code));
        if let Some(route) = self.route.take() {
            labels.push(KeyValue::new(attribute::HTTP_ROUTE, route));
        }
        let metrics = &self.shared.metrics;
        metrics.duration(self.protocol, self.side, end.took, &labels);
        if self.side == Side::Server {
            metrics.finish(end.remaining);
        }
        if let Some(cause) = judgement.cause {
            metrics.cancelled(self.side, cause, end.cancel_latency);
        }
        if judgement.is_deadline {
            metrics.exceeded(self.side, end.deadline_source);
        }
        self.end_span(end, &judgement, &outcome);
    }
}

impl Drop for CallInFlight {
    /// Only if `end` was not called, as invariant 1 must not hang on another crate.
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_taken_apart() {
        for (authority, scheme, host, port) in [
            ("shop.example", None, "shop.example", None),
            ("shop.example", Some("https"), "shop.example", Some(443)),
            (
                "shop.example:8080",
                Some("http"),
                "shop.example",
                Some(8080),
            ),
            ("user:secret@shop.example:1", None, "shop.example", Some(1)),
            ("[::1]:50051", None, "::1", Some(50051)),
            ("[::1]", Some("http"), "::1", Some(80)),
            ("shop.example:99999", None, "shop.example", None),
            ("shop.example:x", Some("http"), "shop.example", Some(80)),
            ("", None, "", None),
            (":", None, "", None),
            ("@", None, "", None),
        ] {
            let found = server_of(authority, scheme);
            assert_eq!(found, (host.to_owned(), port), "{authority}");
        }
    }

    #[test]
    fn labels_of_a_peer_are_from_a_list() {
        for (scheme, expect) in [("http", "http"), ("https", "https"), ("gopher", OTHER)] {
            let label = scheme_label(Some(scheme)).unwrap();
            assert_eq!(label.value.as_str(), expect);
        }
        for (version, expect) in [("1.1", "1.1"), ("2", "2"), ("9.9", OTHER)] {
            let label = version_label(Some(version)).unwrap();
            assert_eq!(label.value.as_str(), expect);
        }
    }
}
