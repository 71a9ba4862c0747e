//! The propagators through OpenTelemetry's own interfaces, and through its SDK.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use http::HeaderMap;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use proptest::prelude::*;
use ripcord_otel::{B3Trace, Composite, W3cBaggage, W3cTrace};
use std::collections::HashMap;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn extract(propagator: &dyn TextMapPropagator, lines: &[(&'static str, &str)]) -> Context {
    propagator.extract_with_context(&Context::new(), &HeaderExtractor(&headers(lines)))
}

fn inject(propagator: &dyn TextMapPropagator, context: &Context) -> HeaderMap {
    let mut sent = HeaderMap::new();
    propagator.inject_context(context, &mut HeaderInjector(&mut sent));
    sent
}

fn sent(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap().to_owned())
}

/// What comes out of a service that only forwards.
fn forwarded(
    propagator: &dyn TextMapPropagator,
    lines: &[(&'static str, &str)],
    name: &str,
) -> Option<String> {
    sent(&inject(propagator, &extract(propagator, lines)), name)
}

#[test]
fn traceparent_of_level_2() {
    // Cases that the propagator of the OpenTelemetry SDK gets wrong (W3C harness, level 2).
    let long = format!("{PARENT}.");
    for (lines, expect) in [
        (vec![PARENT], Some(PARENT)),
        (
            vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03"],
            Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03"),
        ),
        (vec![PARENT, PARENT], None),
        (
            vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-0f067aa0ba902b7-01"],
            None,
        ),
        (
            vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"],
            None,
        ),
        (
            vec!["0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            None,
        ),
        (
            vec!["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            None,
        ),
        (
            vec!["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            None,
        ),
        (vec![&long], None),
        (vec![], None),
    ] {
        let named: Vec<_> = lines.iter().map(|line| ("traceparent", *line)).collect();
        let found = forwarded(&W3cTrace::new(), &named, "traceparent");
        assert_eq!(found.as_deref(), expect, "{lines:?}");
    }
}

#[test]
fn tracestate_of_several_lines_is_one_list() {
    let many: Vec<String> = (0..33).map(|i| format!("k{i}=1")).collect();
    let many = many.join(",");
    let long = format!("{}=1", "k".repeat(256));
    for (lines, expect) in [
        (vec!["a=1", "", "b=2"], Some("a=1,b=2")),
        (vec!["a@b@c=1"], Some("a@b@c=1")),
        (vec![long.as_str()], Some(long.as_str())),
        (vec![many.as_str()], None),
        (vec!["bad key=1"], None),
        (vec![], None),
    ] {
        let mut named = vec![("traceparent", PARENT)];
        named.extend(lines.iter().map(|line| ("tracestate", *line)));
        let context = extract(&W3cTrace::new(), &named);
        assert!(
            context.span().span_context().is_valid(),
            "the parent stands"
        );
        let headers = inject(&W3cTrace::new(), &context);
        assert_eq!(sent(&headers, "tracestate").as_deref(), expect, "{lines:?}");
        assert_eq!(headers.contains_key("tracestate"), expect.is_some());
    }
}

#[test]
fn a_span_of_the_sdk_in_between_loses_nothing() {
    let state = "a@b@c=x,plain=y";
    let lines = [
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03",
        ),
        ("tracestate", state),
        ("baggage", "b=2;p=1,a=1"),
    ];
    for (sampler, flags) in [(Sampler::AlwaysOn, "03"), (Sampler::AlwaysOff, "02")] {
        let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
        let propagator = Composite::w3c();
        let context = extract(&propagator, &lines);
        let span = tracers.tracer("test").start_with_context("work", &context);
        let context = context.with_span(span);
        let headers = inject(&propagator, &context);
        let id = context.span().span_context().span_id();
        let expect = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id}-{flags}");
        assert_eq!(sent(&headers, "traceparent").unwrap(), expect);
        assert_eq!(sent(&headers, "tracestate").unwrap(), state);
        assert_eq!(sent(&headers, "baggage").unwrap(), "b=2;p=1,a=1");
    }
}

#[test]
fn nothing_is_sent_of_a_context_without_a_span() {
    for propagator in [
        Box::new(Composite::w3c()) as Box<dyn TextMapPropagator>,
        Box::new(B3Trace::single()),
        Box::new(B3Trace::multi()),
    ] {
        assert!(inject(&*propagator, &Context::new()).is_empty());
    }
}

#[test]
fn baggage_is_forwarded_as_it_came() {
    // Cases that the propagator of the OpenTelemetry SDK changes or drops.
    for (lines, expect) in [
        (vec!["k=100%25"], Some("k=100%25")),
        (vec!["k=x=y=z"], Some("k=x=y=z")),
        (vec!["z=1,a=2,m=3"], Some("z=1,a=2,m=3")),
        (vec!["a=1,a=2"], Some("a=1,a=2")),
        (vec!["a=1", "b=2"], Some("a=1,b=2")),
        (vec!["a=1;p;q=2"], Some("a=1;p;q=2")),
        (vec![""], None),
    ] {
        let named: Vec<_> = lines.iter().map(|line| ("baggage", *line)).collect();
        let found = forwarded(&W3cBaggage::new(), &named, "baggage");
        assert_eq!(found.as_deref(), expect, "{lines:?}");
    }
}

#[test]
fn baggage_is_there_for_readers_of_opentelemetry() {
    let context = extract(
        &W3cBaggage::new(),
        &[("baggage", "a=1%202;p=x,a=3,b=%C3%A9")],
    );
    let baggage = context.baggage();
    let get = |key: &str| baggage.get(key).map(|value| value.as_str().to_owned());
    assert_eq!(get("a").as_deref(), Some("1 2"), "the first of two");
    assert_eq!(get("b").as_deref(), Some("\u{e9}"));
    assert_eq!(baggage.get_with_metadata("a").unwrap().1.as_str(), "p=x");
}

#[test]
fn what_is_changed_in_the_map_is_changed_in_the_list() {
    let received = "z=1,a=2;p,z=3,m=4";
    let change = |edit: &dyn Fn(&mut Vec<KeyValue>)| {
        let context = extract(&W3cBaggage::new(), &[("baggage", received)]);
        // The map of the API has no way to change an entry but to be made anew.
        let mut entries: Vec<KeyValue> = context
            .baggage()
            .iter()
            .map(|(key, (value, _))| KeyValue::new(key.clone(), value.as_str().to_owned()))
            .collect();
        edit(&mut entries);
        let context = context.with_baggage(entries);
        sent(&inject(&W3cBaggage::new(), &context), "baggage")
    };
    let set = |entries: &mut Vec<KeyValue>, key: &'static str, value: &'static str| {
        entries.retain(|entry| entry.key.as_str() != key);
        entries.push(KeyValue::new(key, value));
    };
    // The metadata of `a` goes, as the map was made anew without it.
    assert_eq!(change(&|_| ()).unwrap(), "z=1,a=2,z=3,m=4");
    assert_eq!(
        change(&|e| set(e, "m", "5,6")).unwrap(),
        "z=1,a=2,z=3,m=5%2C6"
    );
    assert_eq!(change(&|e| set(e, "z", "9")).unwrap(), "z=9,a=2,m=4");
    assert_eq!(
        change(&|e| e.retain(|entry| entry.key.as_str() != "z")).unwrap(),
        "a=2,m=4"
    );
    assert_eq!(
        change(&|e| {
            set(e, "y", "1");
            set(e, "b", "2");
        })
        .unwrap(),
        "z=1,a=2,z=3,m=4,b=2,y=1"
    );
    assert_eq!(change(&Vec::clear), None);
}

#[test]
fn b3_is_read_and_written_in_both_forms() {
    let trace = "80f198ee56343ba864fe8b2a57d3eff7";
    let span = "e457b5a2e4d86bd1";
    for (state, sampled, flags, is_sampled) in [
        ("-1", Some("1"), None, true),
        ("-0", Some("0"), None, false),
        ("-d", None, Some("1"), true),
        ("", None, None, false),
    ] {
        let single = format!("{trace}-{span}{state}");
        let mut multi = vec![("x-b3-traceid", trace), ("x-b3-spanid", span)];
        multi.extend(sampled.map(|value| ("x-b3-sampled", value)));
        multi.extend(flags.map(|value| ("x-b3-flags", value)));
        for lines in [vec![("b3", single.as_str())], multi.clone()] {
            let context = extract(&B3Trace::single(), &lines);
            let parent = context.span().span_context().clone();
            assert_eq!(parent.is_sampled(), is_sampled, "{lines:?}");
            assert!(parent.is_remote());
            let headers = inject(&B3Trace::single(), &context);
            assert_eq!(sent(&headers, "b3").as_deref(), Some(single.as_str()));
            let headers = inject(&B3Trace::multi(), &context);
            for (name, value) in &multi {
                assert_eq!(sent(&headers, name).as_deref(), Some(*value), "{lines:?}");
            }
            assert_eq!(headers.len(), multi.len(), "{headers:?}");
        }
    }
}

#[test]
fn b3_without_ids_is_forwarded() {
    for value in ["0", "1", "d"] {
        assert_eq!(
            forwarded(&B3Trace::single(), &[("b3", value)], "b3").as_deref(),
            Some(value)
        );
    }
    for bad in ["", "x", "0-0"] {
        assert_eq!(
            forwarded(&B3Trace::single(), &[("b3", bad)], "b3"),
            None,
            "{bad:?}"
        );
    }
}

#[test]
fn b3_comes_first_in_its_single_form_and_duplicates_are_nothing() {
    let one = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1";
    let multi = [
        ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
        ("x-b3-spanid", "0020000000000001"),
        ("x-b3-sampled", "0"),
    ];
    let mut lines = vec![("b3", one)];
    lines.extend(multi);
    assert_eq!(
        forwarded(&B3Trace::single(), &lines, "b3").as_deref(),
        Some(one)
    );
    lines.push(("b3", one));
    let found = forwarded(&B3Trace::single(), &lines, "b3").unwrap();
    assert!(found.starts_with("463ac35c"), "{found}");
}

#[test]
fn of_several_formats_the_first_one_counts() {
    let b3 = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1";
    let lines = [("traceparent", PARENT), ("b3", b3)];
    let w3c = || Box::new(W3cTrace::new()) as Box<dyn TextMapPropagator + Send + Sync>;
    let zipkin = || Box::new(B3Trace::single()) as Box<dyn TextMapPropagator + Send + Sync>;
    for (parts, expect) in [
        ([w3c(), zipkin()], "4bf92f3577b34da6a3ce929d0e0e4736"),
        ([zipkin(), w3c()], "80f198ee56343ba864fe8b2a57d3eff7"),
    ] {
        let propagator = Composite::new(parts);
        let context = extract(&propagator, &lines);
        assert_eq!(context.span().span_context().trace_id().to_string(), expect);
        let headers = inject(&propagator, &context);
        assert!(sent(&headers, "traceparent").unwrap().contains(expect));
        assert!(sent(&headers, "b3").unwrap().contains(expect));
    }
    // Either alone is enough.
    let propagator = Composite::new([w3c(), zipkin()]);
    for line in lines {
        assert!(
            extract(&propagator, &[line])
                .span()
                .span_context()
                .is_valid()
        );
    }
    let fields: Vec<_> = propagator.fields().collect();
    assert_eq!(fields, ["traceparent", "tracestate", "b3"]);
}

/// A carrier that offers one line of a header only, as most of them do.
struct FirstLine(HashMap<String, String>);

impl Extractor for FirstLine {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

#[test]
fn a_carrier_without_several_lines_is_read_as_well() {
    let carrier = FirstLine(HashMap::from([(
        "traceparent".to_owned(),
        PARENT.to_owned(),
    )]));
    let context = Composite::w3c().extract_with_context(&Context::new(), &carrier);
    assert!(context.span().span_context().is_valid());
}

proptest! {
    #[test]
    fn any_header_is_read_without_a_panic_and_what_is_sent_is_read_back(
        values in prop::collection::vec("[ -~]{0,80}", 0..4),
        name in prop::sample::select(vec!["traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-sampled"]),
    ) {
        let mut lines = vec![("traceparent", PARENT)];
        lines.extend(values.iter().map(|value| (name, value.as_str())));
        for propagator in [
            Box::new(Composite::w3c()) as Box<dyn TextMapPropagator>,
            Box::new(B3Trace::single()),
            Box::new(B3Trace::multi()),
        ] {
            let first = inject(&*propagator, &extract(&*propagator, &lines));
            let again = propagator.extract_with_context(&Context::new(), &HeaderExtractor(&first));
            prop_assert_eq!(&inject(&*propagator, &again), &first);
        }
    }
}
