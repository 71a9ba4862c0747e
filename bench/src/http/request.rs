//! What a request's headers cost: read them, make a context, write those of a call it makes.
//!
//! Each step stands alone and with the others; once with everything a request can say of its
//! context, once with nothing but ten unrelated headers.

use std::hint::black_box;

use http::HeaderMap;

use super::headers;
use super::ours::Ripcord;
use super::peers::Otel;
use crate::case::{Case, Goal, MAP, OTEL, RIPCORD, Readings};
use crate::plan::Plan;

/// A way to carry a request's context from header to header.
pub(super) trait Carries {
    /// What was read.
    type Read: Clone;
    /// What the code of the request holds.
    type Context;

    fn new() -> Self;
    fn extract(&self, headers: &HeaderMap) -> Self::Read;
    fn context(&self, read: Self::Read) -> Self::Context;
    /// Writes the headers of a call in a span of its own.
    fn inject(&self, context: &Self::Context, headers: &mut HeaderMap);
}

pub(super) fn cases() -> Vec<Case> {
    let whole = [Goal::at_most(1_500.0), Goal::of(OTEL, 0.5)];
    let whole = whole.into_iter().flatten();
    vec![
        Case::micro(
            "request/all",
            "a request's headers read, its context made, a call's headers written",
            whole,
        )
        .rust(RIPCORD, all::<Ripcord, true>)
        .rust(OTEL, all::<Otel, true>),
        Case::micro("request/all-bare", "the same without context headers", None)
            .rust(RIPCORD, all::<Ripcord, false>)
            .rust(OTEL, all::<Otel, false>),
        Case::micro("request/extract", "a request's headers read", None)
            .rust(RIPCORD, extract::<Ripcord, true>)
            .rust(OTEL, extract::<Otel, true>),
        Case::micro(
            "request/extract-bare",
            "the same without context headers",
            None,
        )
        .rust(RIPCORD, extract::<Ripcord, false>)
        .rust(OTEL, extract::<Otel, false>),
        Case::micro("request/context", "a context made of what was read", None)
            .rust(RIPCORD, context::<Ripcord, true>)
            .rust(OTEL, context::<Otel, true>),
        Case::micro(
            "request/context-bare",
            "the same without context headers",
            None,
        )
        .rust(RIPCORD, context::<Ripcord, false>)
        .rust(OTEL, context::<Otel, false>),
        Case::micro("request/inject", "a call's headers written", None)
            .rust(RIPCORD, inject::<Ripcord, true>)
            .rust(OTEL, inject::<Otel, true>)
            .rust(MAP, map),
        Case::micro(
            "request/inject-bare",
            "the same without context headers",
            None,
        )
        .rust(RIPCORD, inject::<Ripcord, false>)
        .rust(OTEL, inject::<Otel, false>)
        .rust(MAP, map),
        Case::micro(
            "request/exchange",
            "a request as a server plays it, from its headers to its end, with a call",
            None,
        )
        .rust(RIPCORD, exchange::<true>),
        Case::micro(
            "request/exchange-bare",
            "the same without context headers",
            None,
        )
        .rust(RIPCORD, exchange::<false>),
    ]
}

fn all<C: Carries, const CONTEXT: bool>(plan: &Plan) -> Readings {
    let carries = C::new();
    let incoming = headers::incoming(CONTEXT);
    plan.each(|| {
        let read = carries.extract(black_box(&incoming));
        let context = carries.context(read);
        let mut outgoing = headers::outgoing();
        carries.inject(black_box(&context), &mut outgoing);
        drop(black_box(outgoing));
    })
}

fn extract<C: Carries, const CONTEXT: bool>(plan: &Plan) -> Readings {
    let carries = C::new();
    let incoming = headers::incoming(CONTEXT);
    plan.each(|| drop(black_box(carries.extract(black_box(&incoming)))))
}

/// With a copy of what was read, which is a few reference counts, because the context takes it.
fn context<C: Carries, const CONTEXT: bool>(plan: &Plan) -> Readings {
    let carries = C::new();
    let read = carries.extract(&headers::incoming(CONTEXT));
    plan.each(|| drop(black_box(carries.context(black_box(&read).clone()))))
}

fn inject<C: Carries, const CONTEXT: bool>(plan: &Plan) -> Readings {
    let carries = C::new();
    let context = carries.context(carries.extract(&headers::incoming(CONTEXT)));
    plan.each(|| {
        let mut outgoing = headers::outgoing();
        carries.inject(black_box(&context), &mut outgoing);
        drop(black_box(outgoing));
    })
}

/// The part of [`inject`] that is nobody's.
fn map(plan: &Plan) -> Readings {
    plan.each(|| drop(black_box(headers::outgoing())))
}

fn exchange<const CONTEXT: bool>(plan: &Plan) -> Readings {
    let ripcord = Ripcord::new();
    let incoming = headers::incoming(CONTEXT);
    plan.each(|| {
        let mut outgoing = headers::outgoing();
        ripcord.exchange(black_box(&incoming), &mut outgoing);
        drop(black_box(outgoing));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<C: Carries>(has_context: bool) -> HeaderMap {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let carries = C::new();
        let read = carries.extract(&headers::incoming(has_context));
        let mut outgoing = headers::outgoing();
        carries.inject(&carries.context(read), &mut outgoing);
        outgoing
    }

    fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
        headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}"))
            .to_str()
            .unwrap()
    }

    #[test]
    fn everybody_writes_the_trace_in_a_new_span_and_all_of_the_baggage() {
        for written in [written::<Ripcord>(true), written::<Otel>(true)] {
            let [version, trace, span, flags] = text(&written, "traceparent")
                .split('-')
                .collect::<Vec<_>>()
                .try_into()
                .unwrap();
            assert_eq!(
                (version, trace, flags),
                ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01")
            );
            assert_ne!(span, "00f067aa0ba902b7");
            assert_eq!(
                text(&written, "tracestate"),
                "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
            );
            let members = text(&written, "baggage").split(',').count();
            assert_eq!(members, headers::BAGGAGE_MEMBERS);
        }
    }

    #[test]
    fn only_ripcord_sends_request_id_and_deadline() {
        let ours = written::<Ripcord>(true);
        assert_eq!(
            text(&ours, "x-request-id"),
            "018f6b2e-7d3c-7a41-9c55-2b9e0f4d1a6c"
        );
        let left: u32 = text(&ours, "x-request-timeout-ms").parse().unwrap();
        assert!(left <= 60_000, "{left}");
        let theirs = written::<Otel>(true);
        assert!(!theirs.contains_key("x-request-id"));
        assert!(!theirs.contains_key("x-request-timeout-ms"));
    }

    #[test]
    fn everybody_begins_a_trace_where_there_is_none() {
        for written in [written::<Ripcord>(false), written::<Otel>(false)] {
            assert!(text(&written, "traceparent").starts_with("00-"));
            assert!(!written.contains_key("baggage"));
        }
    }
}
