//! W3C Trace Context level 2, end to end: bytes of a request in, headers of the calls out.
//!
//! The service is that of the example `w3c-echo`, with a client that keeps what it is told to send.
//! The rules are those that the harness of the W3C checks too; here they need no Python.

#[path = "../w3c_echo.rs"]
#[expect(dead_code, reason = "`run` and `main` are for the example")]
mod w3c_echo;

use axum::http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::collections::HashSet;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
/// Without its flags.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

/// Sends a request with these header lines that asks for so many calls; their headers.
async fn calls(lines: &[String], count: usize) -> Vec<HeaderMap> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let client = tower::service_fn(move |request: Request<Full<Bytes>>| {
        let _ = tell.send(request.headers().clone());
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let (server, _guard) = ripcord::root().build();
    let service = TowerToHyperService::new(w3c_echo::app(&server, client));
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(far), service);
    let connection = tokio::spawn(connection);

    let call = r#"{"url": "http://next.example/", "arguments": []}"#;
    let body = format!("[{}]", vec![call; count].join(","));
    let mut text = "POST /test HTTP/1.1\r\nhost: here\r\nconnection: close\r\n".to_owned();
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    let length = body.len();
    for line in [
        "content-type: application/json",
        &format!("content-length: {length}"),
        "",
    ] {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str(&body);
    near.write_all(text.as_bytes())
        .await
        .expect("the pipe holds 64 KiB");
    let mut answer = String::new();
    near.read_to_string(&mut answer)
        .await
        .expect("an answer is text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{lines:?}: {answer}");
    connection
        .await
        .expect("it does not panic")
        .expect("it is closed in order");

    let mut found = Vec::new();
    while let Ok(headers) = told.try_recv() {
        found.push(headers);
    }
    assert_eq!(found.len(), count, "{lines:?}");
    found
}

/// Trace, span and flags of the only `traceparent`, which has to be one of version 00.
#[track_caller]
fn parent(headers: &HeaderMap) -> [String; 3] {
    let lines: Vec<_> = headers.get_all("traceparent").iter().collect();
    let [line] = lines[..] else {
        panic!("{lines:?}")
    };
    let text = line.to_str().expect("ASCII");
    let fields: Vec<_> = text.split('-').collect();
    let [version, trace, span, flags] = fields[..] else {
        panic!("{text}")
    };
    let is_hex = |field: &str| {
        field
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    };
    let lengths = [version, trace, span, flags].map(|field| {
        assert!(is_hex(field), "{text}");
        field.len()
    });
    assert_eq!((version, lengths), ("00", [2, 32, 16, 2]), "{text}");
    assert!(!trace.bytes().all(|byte| byte == b'0') && !span.bytes().all(|byte| byte == b'0'));
    [trace, span, flags].map(str::to_owned)
}

/// The only `tracestate`, if there is one.
#[track_caller]
fn state(headers: &HeaderMap) -> Option<&str> {
    let lines: Vec<_> = headers.get_all("tracestate").iter().collect();
    assert!(lines.len() <= 1, "{lines:?}");
    lines.first().map(|line| line.to_str().expect("ASCII"))
}

/// The trace goes on with these flags and this state.
async fn kept(lines: &[String], flags: &str, expect: Option<&str>) {
    let found = calls(lines, 1).await;
    let [trace, span, found_flags] = parent(&found[0]);
    assert_eq!((&*trace, &*found_flags), (TRACE, flags), "{lines:?}");
    assert_ne!(span, SPAN, "{lines:?}: the caller's span is not this one's");
    assert_eq!(state(&found[0]), expect, "{lines:?}");
}

/// A new trace begins, and nothing is taken over.
async fn new(lines: &[String]) {
    let found = calls(lines, 1).await;
    let [trace, _, flags] = parent(&found[0]);
    assert!(!lines.iter().any(|line| line.contains(&trace)), "{lines:?}");
    assert_eq!(
        flags, "03",
        "sampled by default, and random as level 2 asks for"
    );
    assert_eq!(state(&found[0]), None, "{lines:?}");
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn traceparent(value: &str) -> Vec<String> {
    vec![
        format!("traceparent: {value}"),
        "tracestate: a=1".to_owned(),
    ]
}

/// A good `traceparent`, unsampled, and these lines of `tracestate`.
fn with_state(values: &[&str]) -> Vec<String> {
    let mut lines = vec![format!("traceparent: {PARENT}-00")];
    lines.extend(values.iter().map(|value| format!("tracestate: {value}")));
    lines
}

//= P11, P12
#[tokio::test]
async fn a_good_traceparent_is_continued() {
    for flags in ["00", "01", "02", "03"] {
        kept(
            &traceparent(&format!("{PARENT}-{flags}")),
            flags,
            Some("a=1"),
        )
        .await;
    }
    // §3.2.2.5.3: flags that are not known are not passed on.
    kept(&traceparent(&format!("{PARENT}-fd")), "01", Some("a=1")).await;
    // RFC 9110 §5.1, §5.5: names have no case, and white space around a value is not part of it.
    for line in [
        format!("TraceParent: {PARENT}-01"),
        format!("TRACEPARENT:{PARENT}-01"),
        format!("tRaCePaReNt: \t {PARENT}-01 \t "),
    ] {
        kept(&[line], "01", None).await;
    }
}

//= P11
#[tokio::test]
async fn a_later_version_is_read_as_far_as_it_is_known() {
    let fields = &PARENT[3..];
    for value in [
        format!("cc-{fields}-01"),
        format!("01-{fields}-01-and-more"),
        format!("fe-{fields}-01-"),
    ] {
        kept(&traceparent(&value), "01", Some("a=1")).await;
    }
    for value in [
        format!("cc-{fields}-01.and-more"),
        format!("cc-{fields}-010"),
        format!("ff-{fields}-01"),
    ] {
        new(&traceparent(&value)).await;
    }
}

//= P11, P12
#[tokio::test]
async fn a_bad_traceparent_begins_a_new_trace() {
    let zero_trace = format!("00-{}-{SPAN}-01", "0".repeat(32));
    let zero_span = format!("00-{TRACE}-{}-01", "0".repeat(16));
    for value in [
        "",
        "00",
        &zero_trace,
        &zero_span,
        PARENT,
        &format!("{PARENT}-01-"),
        &format!("{PARENT}-01."),
        &format!("{PARENT}-01-what-may-come"),
        &format!("{PARENT}-1"),
        &format!("{PARENT}-001"),
        &format!("{PARENT}-.1"),
        &format!("{PARENT}-0."),
        &format!("{PARENT}-0A"),
        &format!("0-{TRACE}-{SPAN}-01"),
        &format!("000-{TRACE}-{SPAN}-01"),
        &format!(".0-{TRACE}-{SPAN}-01"),
        &format!("0.-{TRACE}-{SPAN}-01"),
        &format!("00-{}-{SPAN}-01", &TRACE[1..]),
        &format!("00-{TRACE}0-{SPAN}-01"),
        &format!("00-.{}-{SPAN}-01", &TRACE[1..]),
        &format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        &format!("00-{TRACE}-{}-01", &SPAN[1..]),
        &format!("00-{TRACE}-{SPAN}0-01"),
        &format!("00-{TRACE}-.{}-01", &SPAN[1..]),
        &format!("{PARENT}-01, {PARENT}-01"),
        &format!("00_{TRACE}_{SPAN}_01"),
    ] {
        new(&traceparent(value)).await;
    }
    let other = PARENT.replace('4', "5");
    new(&lines(&[
        &format!("traceparent: {PARENT}-01"),
        &format!("traceparent: {other}-01"),
    ]))
    .await;
    new(&lines(&[
        &format!("traceparent: {PARENT}-01"),
        &format!("traceparent: {PARENT}-01"),
    ]))
    .await;
    for name in ["trace-parent", "trace.parent", "traceparent2"] {
        new(&lines(&[&format!("{name}: {PARENT}-01")])).await;
    }
    new(&[]).await;
    new(&lines(&["tracestate: a=1"])).await;
    new(&lines(&["tracestate: a=1,b=2"])).await;
}

//= P13
#[tokio::test]
async fn a_good_tracestate_goes_on_in_its_order() {
    for (values, expect) in [
        (&["foo=1,bar=2"][..], Some("foo=1,bar=2")),
        (
            &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
            Some("foo=1,bar=2,rojo=1,congo=2,baz=3"),
        ),
        (&[""], None),
        (&["foo=1", ""], Some("foo=1")),
        (&["", "foo=1"], Some("foo=1")),
        (&[",,foo=1,,bar=2,"], Some("foo=1,bar=2")),
        (
            &["foo=1 \t , \t bar=2, \t baz=3"],
            Some("foo=1,bar=2,baz=3"),
        ),
        (&["\t foo=1 \t"], Some("foo=1")),
        // §3.3.1.3.1 of level 2: `@` is a character like others, but not the first.
        (
            &["foo@=1,foo@@bar=2,a@b@c=3"],
            Some("foo@=1,foo@@bar=2,a@b@c=3"),
        ),
        (&["0a_-*/@=1"], Some("0a_-*/@=1")),
        (&["foo= a b"], Some("foo= a b")),
        // Of keys that are there twice the first is kept, which is the newer.
        (&["foo=1,foo=1"], Some("foo=1")),
        (&["foo=1,bar=2", "foo=3"], Some("foo=1,bar=2")),
    ] {
        kept(&with_state(values), "00", expect).await;
    }
    let printable: String = (' '..='~').filter(|c| !matches!(c, ',' | '=')).collect();
    let all = format!("foo={printable}");
    kept(&with_state(&[&all]), "00", Some(&all)).await;
    for name in ["TraceState", "TRACESTATE"] {
        let line = format!("{name}: foo=1");
        kept(
            &lines(&[&format!("traceparent: {PARENT}-00"), &line]),
            "00",
            Some("foo=1"),
        )
        .await;
    }
}

//= P13
#[tokio::test]
async fn a_tracestate_goes_up_to_its_limits() {
    let members: Vec<_> = (1..=32).map(|n| format!("bar{n:02}={n:02}")).collect();
    let [first, second] = [&members[..20], &members[20..]].map(|members| members.join(","));
    kept(
        &with_state(&[&first, &second]),
        "00",
        Some(&members.join(",")),
    )
    .await;
    let key = format!("{}=1", "z".repeat(256));
    kept(
        &with_state(&["foo=1", &key]),
        "00",
        Some(&format!("foo=1,{key}")),
    )
    .await;
    let value = format!("foo={}", "v".repeat(256));
    kept(&with_state(&[&value]), "00", Some(&value)).await;
    let tenant = format!("{}@{}=1", "t".repeat(242), "v".repeat(13));
    kept(&with_state(&[&tenant]), "00", Some(&tenant)).await;
}

//= P13
#[tokio::test]
async fn a_bad_tracestate_is_dropped_and_the_trace_goes_on() {
    let many: Vec<_> = (1..=33).map(|n| format!("bar{n:02}={n:02}")).collect();
    let key = format!("{}=1", "z".repeat(257));
    let value = format!("foo={}", "v".repeat(257));
    for value in [
        "foo",
        "foo =1",
        "FOO=1",
        "foo.bar=1",
        "@foo=1",
        "_foo=1",
        "=1",
        "foo=",
        "foo=bar=baz",
        "foo=a\tb",
        &many.join(","),
        &key,
        &value,
    ] {
        kept(&with_state(&["ok=1", value]), "00", None).await;
    }
    for name in ["trace-state", "trace.state"] {
        let line = format!("{name}: foo=1");
        kept(
            &lines(&[&format!("traceparent: {PARENT}-00"), &line]),
            "00",
            None,
        )
        .await;
    }
}

#[tokio::test]
async fn each_call_is_a_span_of_its_own() {
    let zero = format!("00-{}-{SPAN}-01", "0".repeat(32));
    for (lines, is_kept) in [
        (traceparent(&format!("{PARENT}-01")), true),
        (traceparent(&zero), false),
        (vec![], false),
    ] {
        let found = calls(&lines, 3).await;
        let parents: Vec<_> = found.iter().map(parent).collect();
        let traces: HashSet<_> = parents.iter().map(|[trace, ..]| trace.clone()).collect();
        let spans: HashSet<_> = parents.iter().map(|[_, span, _]| span.clone()).collect();
        assert_eq!(
            (traces.len(), spans.len()),
            (1, 3),
            "one request, three calls"
        );
        assert_eq!(traces.contains(TRACE), is_kept);
    }
}
