//! Other implementations as oracles: OpenTelemetry for Python and for JavaScript.
//!
//! What ripcord writes they read as the same values and write again, and ripcord reads that as what
//! it wrote; and the other way round. `cargo xtask test interop` installs them and runs this; by
//! hand it needs `RIPCORD_INTEROP_PYTHON`, a Python with `opentelemetry-sdk` and
//! `opentelemetry-propagator-b3`, and `RIPCORD_INTEROP_NODE_MODULES`, a folder with
//! `@opentelemetry/core`.
//!
//! The generators leave out what the oracles do not do as the standards have it: [`Dialect`] says
//! what, and why.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::string::{RegexGeneratorStrategy, string_regex};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use ripcord_core::Ctx;
use ripcord_propagation::{Carried, PeerPolicy, Propagation, TraceFormat};
use ripcord_wire::baggage::Baggage;
use ripcord_wire::trace::SpanId;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use support::{Fields, built};

/// Of W3C's formats; of B3, which says little, a third.
const CASES: usize = 1_500;

/// The seed of all cases, printed with each failure; `RIPCORD_INTEROP_SEED` sets another one.
const SEED: &str = "the first of many";

/// What an oracle does not do as the standard has it, and is therefore not asked.
///
/// The versions are those of `xtask/interop`; a newer one may do better.
#[derive(Clone, Copy)]
struct Dialect {
    /// Percent-encodes and decodes keys of baggage, which are tokens and mean themselves (W3C Baggage
    /// §3.2.1.1): a key of ours would come back as another one. These characters it leaves alone;
    /// of those that a token may have, `#$%&'*+^`|!` (Python) or `#$%&+^`|` (JavaScript) are missing.
    key_rest: &'static str,
    /// Reads `+` as a space, and writes a space as `+` (that is how forms are encoded, not
    /// baggage), and strips white space off the ends of decoded values: Python.
    is_form_encoded: bool,
    /// Drops entries with an empty value: JavaScript.
    drops_empty_values: bool,
    /// Takes properties for a part of the value, and escapes their `;` and `=`: Python.
    has_properties: bool,
    /// Drops members of `tracestate` beyond 512 bytes: JavaScript. It is what each has to pass on
    /// at least (W3C Trace Context §3.3.1.5), but not what it may at most.
    state_bytes_max: usize,
}

// Left out for both:
// * several entries of baggage with one key: maps, where the last one wins;
// * keys of baggage that begin with a digit: in JavaScript they are properties of an object, where
//   those that are numbers come first, so the order is lost;
// * in keys of `tracestate` a digit as the first character, a second `@`, or more than 14 characters
//   behind one: the grammar of level 1;
// * baggage that is longer than 8192 bytes once they have escaped more of it than needs to be;
// * for B3 the parent of the span, the debug flag and the state "defer", which a span of
//   OpenTelemetry does not have, and the random flag and `tracestate`, which B3 does not have.

const PYTHON: Dialect = Dialect {
    key_rest: "[a-zA-Z0-9_.~-]{0,12}",
    is_form_encoded: true,
    drops_empty_values: false,
    has_properties: false,
    state_bytes_max: 4096,
};

const JAVASCRIPT: Dialect = Dialect {
    key_rest: "[a-zA-Z0-9_.~!*'-]{0,12}",
    is_form_encoded: false,
    drops_empty_values: true,
    has_properties: true,
    state_bytes_max: 512,
};

/// Parsed once: a text as a strategy is parsed for each value.
fn regex(text: &str) -> RegexGeneratorStrategy<String> {
    string_regex(text).expect("a regular expression")
}

/// One trace and baggage, before any encoding.
#[derive(Clone, Debug)]
struct Case {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: Vec<(String, String)>,
    /// With properties.
    baggage: Vec<Entry>,
}

type Entry = (String, String, Vec<(String, Option<String>)>);

impl Dialect {
    fn text(self) -> impl Strategy<Value = String> {
        let is_agreed = move |c: &char| {
            let is_space = c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(c);
            !(self.is_form_encoded && (is_space || *c == '+'))
        };
        // Half of it is what has to be escaped: `any` seldom makes such.
        let special = prop::sample::select(
            " \"%,;\\=+&#/?%\u{0}\r\n\t\u{7f}äß€😀"
                .chars()
                .collect::<Vec<_>>(),
        );
        let c = prop_oneof![special, any::<char>(), prop::char::range(' ', '~')];
        let len = usize::from(self.drops_empty_values)..10;
        vec(
            c.prop_filter("the oracle reads it otherwise", is_agreed),
            len,
        )
        .prop_map(|chars| chars.into_iter().collect())
    }

    fn key(self) -> impl Strategy<Value = String> {
        (regex("[a-zA-Z_]"), regex(self.key_rest)).prop_map(|(first, rest)| first + &rest)
    }

    fn properties(self) -> impl Strategy<Value = Vec<(String, Option<String>)>> {
        let most = if self.has_properties { 3 } else { 1 };
        vec((self.key(), prop::option::of(self.text())), 0..most)
    }

    fn case(self) -> impl Strategy<Value = Case> {
        let state_key = regex("[a-z][a-z0-9_*/-]{0,20}(@[a-z][a-z0-9_*/-]{0,12})?");
        let state_value = regex("[ -+--<>-~]{0,60}[!-+--<>-~]");
        let state = vec((state_key, state_value), 0..16);
        let baggage = vec((self.key(), self.text(), self.properties()), 0..8);
        let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), 0_u8..4);
        let is_id =
            |(trace, span, _): &([u8; 16], [u8; 8], u8)| *trace != [0; 16] && *span != [0; 8];
        let ids = ids.prop_filter("no id is zero", is_id);
        (ids, state, baggage).prop_map(
            move |((trace_id, span_id, flags), mut state, mut baggage)| {
                let mut keys = std::collections::HashSet::new();
                let mut bytes = 0;
                state.retain(|(key, value)| {
                    bytes += key.len() + value.len() + 2;
                    bytes <= self.state_bytes_max && keys.insert(key.clone())
                });
                keys.clear();
                baggage.retain(|(key, ..)| keys.insert(key.clone()));
                Case {
                    trace_id,
                    span_id,
                    flags,
                    state,
                    baggage,
                }
            },
        )
    }
}

impl Case {
    /// As the oracles say it.
    fn values(&self) -> Value {
        let [trace, span] = self.ids();
        let baggage: Vec<_> = self
            .baggage
            .iter()
            .map(|(key, value, _)| [key, value])
            .collect();
        json!({ "trace": [trace, span, self.flags, self.state], "baggage": baggage })
    }

    fn ids(&self) -> [String; 2] {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
        };
        [hex(&self.trace_id), hex(&self.span_id)]
    }

    /// What a format can say of it.
    fn within(mut self, format: &str) -> Self {
        if format != "w3c" {
            self.flags &= 1;
            self.state.clear();
            self.baggage.clear();
        }
        self
    }

    /// The request that a service has which this is the current span of.
    fn carried(&self, propagation: &Propagation) -> Carried {
        let [trace, _] = self.ids();
        let members: Vec<_> = self
            .state
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let lines = [
            (
                "traceparent",
                format!("00-{trace}-00f067aa0ba902b7-{:02x}", self.flags),
            ),
            ("tracestate", members.join(",")),
            ("b3", format!("{trace}-00f067aa0ba902b7-{}", self.flags & 1)),
        ];
        let incoming = propagation.extract(&Fields::of(&lines));
        assert!(incoming.rejects.is_empty(), "{lines:?}");
        let span = SpanId::from_bytes(self.span_id).expect("no id is zero");
        let baggage =
            self.baggage
                .iter()
                .fold(Baggage::default(), |all, (key, value, properties)| {
                    let properties: Vec<_> = properties
                        .iter()
                        .map(|(k, v)| (&**k, v.as_deref()))
                        .collect();
                    all.with_properties(key, value, &properties)
                        .expect("it is small")
                });
        incoming.carried.in_span(span).with_baggage(baggage)
    }
}

/// What ripcord writes for a request; in the form of a line for an oracle.
fn written(propagation: &Propagation, carried: &Carried, format: &str) -> Value {
    let mut fields = Fields::default();
    let peer = PeerPolicy::internal();
    propagation
        .inject_as(&Ctx::background(), carried, &peer, &mut fields)
        .expect("no deadline");
    let headers: serde_json::Map<_, _> = fields
        .0
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8(value).expect("ASCII").into()))
        .collect();
    json!({ "format": format, "headers": headers })
}

/// What ripcord reads of an answer.
fn read(propagation: &Propagation, answer: &Value) -> Carried {
    let headers = answer["headers"].as_object().expect("an object");
    let lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| (&**name, value.as_str().expect("text")))
        .collect();
    let incoming = propagation.extract(&Fields::of(&lines));
    assert!(
        incoming.rejects.is_empty(),
        "{:?} of {answer}",
        incoming.rejects
    );
    incoming.carried
}

/// What travels, as the oracles say it.
fn values(carried: &Carried, span: Option<SpanId>) -> Value {
    let trace = &carried.trace;
    let state: Vec<_> = trace.state.iter().collect();
    let baggage = carried.baggage().iter();
    let baggage: Vec<_> = baggage.map(|entry| (entry.key(), entry.value())).collect();
    let span = span.map(|span| span.to_string());
    json!({
        "trace": [trace.trace_id.to_string(), span, trace.flags.to_byte(), state],
        "baggage": baggage,
    })
}

fn seed() -> String {
    std::env::var("RIPCORD_INTEROP_SEED").unwrap_or_else(|_| SEED.to_owned())
}

fn cases(dialect: Dialect, format: &str) -> Vec<Case> {
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().zip(seed().bytes()) {
        *place = byte;
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = dialect.case();
    let mut next = || {
        strategy
            .new_tree(&mut runner)
            .expect("few are filtered out")
            .current()
    };
    let count = if format == "w3c" { CASES } else { CASES / 3 };
    (0..count).map(|_| next().within(format)).collect()
}

/// Asks an oracle everything at once: it is started once, and answers line by line.
fn ask(command: &mut Command, lines: &[Value]) -> Vec<Value> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            for line in lines {
                // It has gone: its status tells.
                if writeln!(stdin, "{line}").is_err() {
                    return;
                }
            }
        });
        child.wait_with_output().expect("a child that ends")
    });
    assert!(output.status.success(), "{command:?}: {}", output.status);
    let answers = String::from_utf8(output.stdout).expect("JSON is text");
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), lines.len(), "an answer for each line");
    answers
}

/// The two directions, over all cases.
#[expect(clippy::print_stdout, reason = "shown where the test fails")]
fn agree(dialect: Dialect, format: &str, command: fn() -> Command) {
    // Before anything else: a variable that is missing should not take its time.
    let mut command = command();
    println!("cases of {format}, RIPCORD_INTEROP_SEED={:?}", seed());
    let formats = match format {
        "b3" => [TraceFormat::B3Single],
        "b3multi" => [TraceFormat::B3Multi],
        _ => [TraceFormat::W3c],
    };
    let propagation = built(|builder| builder.trace_formats(formats));
    // Read with both: `Case::carried` gives both.
    let cases = cases(dialect, format);
    let reader = built(|builder| match formats {
        [TraceFormat::W3c] => builder,
        _ => builder.trace_formats([TraceFormat::B3Single]),
    });

    // Ours, theirs, ours.
    let sent: Vec<_> = cases.iter().map(|case| case.carried(&reader)).collect();
    let lines: Vec<_> = sent
        .iter()
        .map(|carried| written(&propagation, carried, format))
        .collect();
    for (number, answer) in ask(&mut command, &lines).iter().enumerate() {
        let (case, carried, line) = (&cases[number], &sent[number], &lines[number]);
        assert_eq!(
            answer["values"],
            case.values(),
            "case {number}: they read {line}"
        );
        let back = read(&propagation, answer);
        let ours = values(carried, Some(carried.trace.span_id));
        let shown = format!("case {number}: {line} came back as {answer}");
        assert_eq!(values(&back, back.trace.parent_span_id), ours, "{shown}");
        assert_eq!(
            back.baggage(),
            carried.baggage(),
            "with its properties, {shown}"
        );
    }

    // Theirs, ours, theirs: they have no properties to begin with.
    let lines: Vec<_> = cases
        .iter()
        .map(|case| json!({ "format": format, "values": case.values() }))
        .collect();
    let answers = ask(&mut command, &lines);
    let passed_on: Vec<_> = answers
        .iter()
        .map(|answer| {
            let carried = read(&propagation, answer);
            let span = carried.trace.parent_span_id.expect("they sent one");
            written(&propagation, &carried.in_span(span), format)
        })
        .collect();
    for (number, answer) in ask(&mut command, &passed_on).iter().enumerate() {
        let sent = &answers[number];
        assert_eq!(
            answer["values"],
            cases[number].values(),
            "case {number}: {sent}"
        );
    }
}

fn script(name: &str) -> String {
    format!("{}/tests/interop/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn python() -> Command {
    let python = std::env::var("RIPCORD_INTEROP_PYTHON").expect(
        "RIPCORD_INTEROP_PYTHON names a Python with opentelemetry-sdk: `cargo xtask test interop` \
         installs one",
    );
    let mut command = Command::new(python);
    command.arg(script("oracle.py"));
    command
}

fn javascript() -> Command {
    assert!(
        std::env::var_os("RIPCORD_INTEROP_NODE_MODULES").is_some(),
        "RIPCORD_INTEROP_NODE_MODULES names a folder with @opentelemetry/core: `cargo xtask test \
         interop` installs one"
    );
    let mut command = Command::new("node");
    command.arg(script("oracle.mjs"));
    command
}

//= P14, P16
#[test]
fn opentelemetry_for_python_agrees_on_w3c() {
    agree(PYTHON, "w3c", python);
}

#[test]
fn opentelemetry_for_python_agrees_on_b3() {
    agree(PYTHON, "b3", python);
}

#[test]
fn opentelemetry_for_python_agrees_on_b3_in_several_headers() {
    agree(PYTHON, "b3multi", python);
}

//= P14, P16
#[test]
fn opentelemetry_for_javascript_agrees_on_w3c() {
    agree(JAVASCRIPT, "w3c", javascript);
}
