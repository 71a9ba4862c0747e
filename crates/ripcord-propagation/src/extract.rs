//! Reading: from header lines to [`Incoming`].
//!
//! *Precedence*, where a request says something twice:
//!
//! | what | counts | the others |
//! |---|---|---|
//! | relative time-outs, in one header or several | the smallest valid one | malformed ones are counted |
//! | an absolute deadline beside them | the smaller of the two | |
//! | `traceparent` twice | none: nobody can tell which of them the caller wrote | counted |
//! | formats of trace context | the first in the order of the configuration that is there | not looked at |
//! | `b3` beside `x-b3-…` | `b3`, unless it is malformed | |
//! | request ids | the first header name in the order of the configuration | |
//! | `baggage` lines | all of them, as if they were one | over the limit: counted |
//! | `x-context-ext` twice | none: one of them may be somebody else's | counted |
//!
//! The order of work is given by what depends on what: a signature is bound to the trace and the
//! request id, so they come first.
//!
//! One pass over the headers sorts the lines that matter; a header that nobody asked for costs a
//! comparison of its name. Everything else is the codecs'.

use crate::carried::{Carried, DeadlineSource, Shared, Trace};
use crate::carrier::Carrier;
use crate::incoming::{Incoming, Rejects};
use crate::propagation::{Config, Signatures, TraceFormat};
use crate::skew::{Left, left};
use ripcord_wire::b3::{B3, Multi, Sampling};
use ripcord_wire::baggage::Baggage;
use ripcord_wire::ext::{Binding, Ext};
use ripcord_wire::request_id::RequestId;
use ripcord_wire::timeout::FinagleDeadline;
use ripcord_wire::trace::{TraceFlags, TraceParent};
use ripcord_wire::tracestate::TraceState;
use std::sync::Arc;
use std::time::Duration;

/// The lines of one header; one line, as nearly always, needs no memory.
#[derive(Default)]
struct Lines<'a> {
    first: Option<&'a [u8]>,
    more: Vec<&'a [u8]>,
}

impl<'a> Lines<'a> {
    fn push(&mut self, line: &'a [u8]) {
        if self.first.is_none() {
            self.first = Some(line);
        } else {
            self.more.push(line);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    /// The only line; two contradict each other.
    fn one(&self) -> Result<Option<&'a [u8]>, ()> {
        if self.more.is_empty() {
            Ok(self.first)
        } else {
            Err(())
        }
    }
}

/// Which names may matter, told by length and two characters: most headers of a request do not, and
/// cost a few instructions here instead of a row of comparisons.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interest {
    /// A bit for each class of names.
    bits: [u64; 4],
}

impl Interest {
    pub(crate) fn add(&mut self, name: &str) {
        let (word, bit) = Self::place(name);
        if let Some(word) = self.bits.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// False for a name that was not added; true for those that were, and a few others.
    pub(crate) fn has(self, name: &str) -> bool {
        let (word, bit) = Self::place(name);
        self.bits.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn place(name: &str) -> (usize, u32) {
        let bytes = name.as_bytes();
        let first = bytes.first().copied().unwrap_or(0);
        let last = bytes.last().copied().unwrap_or(0);
        let mixed = bytes.len() ^ usize::from(first) << 2 ^ usize::from(last) << 1;
        let [class, ..] = mixed.to_le_bytes();
        (usize::from(class >> 6), u32::from(class & 63))
    }
}

/// The lines that matter, sorted by what they are for. Time-outs and request ids are decoded at once,
/// since only the best of them is kept; the rest waits until it is known whether it is wanted.
#[derive(Default)]
struct Found<'a> {
    traceparent: Lines<'a>,
    tracestate: Lines<'a>,
    baggage: Lines<'a>,
    b3: Lines<'a>,
    ext: Lines<'a>,
    /// The id in the header that comes first in the configuration, and which one that is.
    request_id: Option<(usize, RequestId)>,
    /// Smallest relative time-out.
    timeout: Option<Duration>,
    rare: Option<Box<Rare<'a>>>,
    rejects: Rejects,
}

/// What most requests do not have: room for it is made with the first line.
#[derive(Default)]
struct Rare<'a> {
    /// `x-b3-…`: trace id, span id, parent, sampled, flags.
    b3_multi: [Lines<'a>; 5],
    /// Absolute deadlines: Unix milliseconds, and Finagle's.
    unix_ms: Lines<'a>,
    finagle: Lines<'a>,
}

pub(crate) const B3_MULTI: [&str; 5] = [
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// An absolute deadline: Unix time in milliseconds.
pub(crate) const UNIX_DEADLINE: &str = "x-request-deadline";
/// Names that are read by every configuration.
pub(crate) const ALWAYS: [&str; 4] = ["traceparent", "tracestate", "baggage", "x-context-ext"];
pub(crate) const FINAGLE: [&str; 2] = ["l5d-ctx-deadline", "com.twitter.finagle.deadline"];

fn count(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}

impl<'a> Found<'a> {
    fn in_headers(config: &Config, headers: &'a dyn Carrier) -> Self {
        let mut found = Self::default();
        headers.each(&mut |name, line| {
            if config.interest.has(name) {
                found.sort(config, name, line);
            }
        });
        found
    }

    fn sort(&mut self, config: &Config, name: &str, line: &'a [u8]) {
        match name {
            "traceparent" => self.traceparent.push(line),
            "tracestate" => self.tracestate.push(line),
            "baggage" => self.baggage.push(line),
            "x-context-ext" => self.ext.push(line),
            "b3" => self.b3.push(line),
            _ => {
                if let Some(header) = config.timeouts.iter().find(|known| known.name() == name) {
                    match header.parse(line) {
                        Ok(timeout) => {
                            let least = self.timeout.map_or(timeout, |least| least.min(timeout));
                            self.timeout = Some(least);
                        }
                        Err(_) => count(&mut self.rejects.deadline),
                    }
                } else if let Some(rank) = config.request_ids.iter().position(|id| *id == name) {
                    self.sort_request_id(rank, line);
                } else if let Some(at) = B3_MULTI.iter().position(|known| *known == name) {
                    if let Some(lines) = self.rare().b3_multi.get_mut(at) {
                        lines.push(line);
                    }
                } else if name == UNIX_DEADLINE {
                    self.rare().unix_ms.push(line);
                } else if FINAGLE.contains(&name) {
                    self.rare().finagle.push(line);
                }
            }
        }
    }

    fn rare(&mut self) -> &mut Rare<'a> {
        self.rare.get_or_insert_default()
    }

    fn sort_request_id(&mut self, rank: usize, line: &[u8]) {
        match RequestId::parse(line) {
            Ok(_) if matches!(&self.request_id, Some((best, _)) if *best <= rank) => {}
            Ok(id) => self.request_id = Some((rank, id)),
            Err(_) => count(&mut self.rejects.request_id),
        }
    }

    /// The parent span and the vendors' entries, by the first format that has one.
    fn parent(&mut self, config: &Config) -> Option<Parent> {
        let mut is_b3_read = false;
        config.formats.iter().find_map(|format| match format {
            TraceFormat::W3c => self.w3c(),
            // Both forms are looked at for either, and the second time says nothing new.
            TraceFormat::B3Single | TraceFormat::B3Multi => {
                let is_first = !std::mem::replace(&mut is_b3_read, true);
                is_first.then(|| self.b3()).flatten()
            }
        })
    }

    /// W3C Trace Context §3: a `traceparent` that does not parse takes the `tracestate` with it.
    fn w3c(&mut self) -> Option<Parent> {
        let Ok(parent) = TraceParent::parse_headers(self.traceparent.iter()) else {
            count(&mut self.rejects.trace);
            return None;
        };
        let parent = parent?;
        let state = TraceState::parse_headers(self.tracestate.iter()).unwrap_or_else(|_| {
            count(&mut self.rejects.tracestate);
            TraceState::default()
        });
        Some(Parent {
            ids: Some(parent),
            is_sampled: Some(parent.flags.is_sampled()),
            state,
        })
    }

    /// The single header wins over the multiple ones, unless it is malformed.
    fn b3(&mut self) -> Option<Parent> {
        let single = self.b3_in_one();
        let b3 = self.or_counted(single).or_else(|| {
            let several = self.b3_in_several();
            self.or_counted(several)
        })?;
        let is_sampled = match b3.sampling {
            Sampling::Defer => None,
            Sampling::Deny => Some(false),
            Sampling::Accept | Sampling::Debug => Some(true),
        };
        Some(Parent {
            ids: b3.ids.map(|(trace_id, span_id)| TraceParent {
                trace_id,
                span_id,
                flags: TraceFlags::default(),
            }),
            is_sampled,
            state: TraceState::default(),
        })
    }

    fn or_counted(&mut self, b3: Result<Option<B3>, ()>) -> Option<B3> {
        if b3.is_err() {
            count(&mut self.rejects.trace);
        }
        b3.ok().flatten()
    }

    fn b3_in_one(&self) -> Result<Option<B3>, ()> {
        let b3 = self.b3.one()?.map(B3::parse_single);
        b3.transpose().map_err(|_| ())
    }

    fn b3_in_several(&self) -> Result<Option<B3>, ()> {
        let Some(rare) = &self.rare else {
            return Ok(None);
        };
        let [trace_id, span_id, parent_span_id, sampled, flags] = &rare.b3_multi;
        let multi = Multi {
            trace_id: trace_id.one()?,
            span_id: span_id.one()?,
            parent_span_id: parent_span_id.one()?,
            sampled: sampled.one()?,
            flags: flags.one()?,
        };
        B3::parse_multi(&multi).map_err(|_| ())
    }

    /// The caller's id. A client's own, at an edge, is kept beside one of ours.
    fn request_id(&mut self, config: &Config) -> (RequestId, Option<RequestId>) {
        let sent = self.request_id.take().map(|(_, id)| id);
        if config.replaces_request_id {
            return (config.origin.request_id(), sent);
        }
        (sent.unwrap_or_else(|| config.origin.request_id()), None)
    }

    /// What absolute deadlines leave, where their clocks are trusted.
    ///
    /// Every request with such a deadline is counted, in time or not: the share that may be refused is
    /// one of all of them (`skew.rs`).
    fn absolute(&mut self, config: &Config) -> Option<Duration> {
        let skew_max = config.skew_max?;
        let rare = self.rare.as_ref()?;
        let now = (config.origin.unix)();
        let mut least: Option<Duration> = None;
        let mut take = |deadline: Duration| {
            least = Some(least.map_or(deadline, |least| least.min(deadline)));
        };
        for line in rare.unix_ms.iter() {
            match unix_ms(line) {
                Some(deadline) => take(deadline),
                None => count(&mut self.rejects.deadline),
            }
        }
        for line in rare.finagle.iter() {
            let parsed = FinagleDeadline::parse(line).ok();
            match parsed.and_then(|parsed| u64::try_from(parsed.deadline_ns).ok()) {
                Some(ns) => take(Duration::from_nanos(ns)),
                None => count(&mut self.rejects.deadline),
            }
        }
        let left = left(least?, now, skew_max);
        let is_expired = left == Left::Expired;
        let is_refused = config.refusals.refuse(now.as_secs(), is_expired);
        match left {
            Left::Budget(left) => Some(left),
            // Less than any policy gives: it is raised to the minimum.
            Left::WithinSkew => Some(Duration::from_nanos(1)),
            Left::Expired if is_refused => Some(Duration::ZERO),
            Left::Expired => {
                count(&mut self.rejects.deadline);
                None
            }
        }
    }

    fn ext(&mut self, config: &Config, trace: &Trace, request_id: &RequestId) -> Ext {
        let Ok(line) = self.ext.one() else {
            count(&mut self.rejects.ext);
            return Ext::default();
        };
        let Some(line) = line else {
            return Ext::default();
        };
        let limits = &config.ext_limits;
        let read = match &config.signatures {
            Signatures::Stripped => return Ext::default(),
            Signatures::Unsigned => Ext::parse(line, limits),
            Signatures::Signed { keys, audience } => {
                let id = trace.trace_id.to_bytes();
                let binding = Binding {
                    trace_id: &id,
                    request_id: request_id.as_str().as_bytes(),
                    audience: audience.as_bytes(),
                };
                let now = config.origin.unix_s();
                let age = config.signature_age_max.as_secs();
                Ext::parse_signed(line, limits, &**keys, &binding, now, age)
            }
        };
        read.unwrap_or_else(|_| {
            count(&mut self.rejects.ext);
            Ext::default()
        })
    }
}

/// Unix milliseconds: digits only, no more than fit into a year that has four digits.
fn unix_ms(line: &[u8]) -> Option<Duration> {
    if line.is_empty() || line.len() > 15 || !line.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let ms: u64 = std::str::from_utf8(line).ok()?.parse().ok()?;
    Some(Duration::from_millis(ms))
}

/// What a caller says of the trace; B3 can say that it is sampled and nothing else.
struct Parent {
    ids: Option<TraceParent>,
    is_sampled: Option<bool>,
    state: TraceState,
}

/// The position of this request in its trace: below the caller's span, or at the beginning.
///
/// The span id is made here also where nobody records spans, so that calls of one request name the
/// same parent, and a log line can be found by it.
fn trace(config: &Config, parent: Option<Parent>) -> Trace {
    let (ids, is_sampled, state) = match parent {
        Some(parent) => (parent.ids, parent.is_sampled, parent.state),
        None => (None, None, TraceState::default()),
    };
    let is_sampled = is_sampled.unwrap_or(config.samples_new);
    if let Some(parent) = ids {
        return Trace {
            trace_id: parent.trace_id,
            span_id: config.origin.span(),
            parent_span_id: Some(parent.span_id),
            is_remote_parent: true,
            flags: parent.flags.with_sampled(is_sampled),
            state,
        };
    }
    let (trace_id, span_id) = config.origin.trace();
    Trace {
        trace_id,
        span_id,
        parent_span_id: None,
        is_remote_parent: false,
        // Level 2: the id is random, since it is ours.
        flags: TraceFlags::default()
            .with_sampled(is_sampled)
            .with_random(true),
        state,
    }
}

/// Reads everything; see the table above.
///
/// It cannot fail, by design: a request is worth answering whatever its headers are, and a caller that
/// is told off for a malformed baggage has no way to mend it.
pub(crate) fn extract(config: &Arc<Config>, headers: &dyn Carrier) -> Incoming {
    let mut found = Found::in_headers(config, headers);
    let parent = found.parent(config);
    let trace = trace(config, parent);
    let (request_id, external_request_id) = found.request_id(config);
    let baggage = if config.takes_baggage {
        let (baggage, dropped) =
            Baggage::parse_headers(found.baggage.iter(), &config.baggage_limits);
        found.rejects.baggage = u32::try_from(dropped.total()).unwrap_or(u32::MAX);
        baggage
    } else {
        Baggage::default()
    };
    let ext = found.ext(config, &trace, &request_id);
    let absolute = found.absolute(config);
    let asked = match (found.timeout, absolute) {
        (Some(relative), Some(absolute)) => Some(relative.min(absolute)),
        (relative, absolute) => relative.or(absolute),
    };
    let budget: Option<(Duration, DeadlineSource)> = config.policy.apply(asked);
    Incoming {
        budget: budget.map(|(budget, _)| budget),
        deadline_source: budget.map(|(_, source)| source),
        rejects: found.rejects,
        carried: Carried {
            trace,
            shared: Arc::new(Shared {
                baggage,
                request_id,
                external_request_id,
                ext,
                peer: None,
                deadline_source: budget.map(|(_, source)| source),
                budget: budget.map(|(budget, _)| budget),
            }),
        },
        config: Arc::clone(config),
    }
}

/// What needs a time of day that stands still; the rest is in `tests/`.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Origin;
    use crate::{Builder, DeadlinePolicy, Keys, PeerPolicy, Propagation, WireValue};
    use http::{HeaderMap, HeaderName, HeaderValue};
    use ripcord_core::{Ctx, Reach, Value};
    use ripcord_wire::ext::Json;

    const NOW_S: u64 = 1_800_000_000;
    const NOW_MS: u64 = NOW_S * 1_000;
    const MINUTE_MS: u64 = 60_000;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Ids of sevens, at a fixed time.
    fn origin(unix: fn() -> Duration) -> Origin {
        Origin {
            random: |bytes| bytes.fill(7),
            unix,
        }
    }

    fn built(change: impl FnOnce(Builder) -> Builder) -> Propagation {
        let builder = Propagation::builder().origin(origin(|| Duration::from_secs(NOW_S)));
        change(builder)
            .build()
            .expect("a configuration that is good")
    }

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value).expect("a header value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    /// Finagle's header, for a deadline in nanoseconds.
    fn finagle(deadline_ns: i64) -> String {
        let bits = u128::from(deadline_ns.cast_unsigned());
        let digit = |at: u32| {
            let sextet = (bits << 4 >> (6 * (21 - at))) & 0x3f;
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            char::from(alphabet[usize::try_from(sextet).unwrap()])
        };
        (0..22).map(digit).chain("==".chars()).collect()
    }

    /// What an absolute deadline leaves, and how often one was refused.
    fn absolute(lines: &[(&'static str, &[u8])]) -> (Option<Duration>, u32) {
        let propagation = built(|builder| builder.trust_clocks(ms(500)));
        let incoming = propagation.extract(&headers(lines));
        (incoming.budget, incoming.rejects.deadline)
    }

    fn at(ms: u64) -> String {
        ms.to_string()
    }

    //= P8
    #[test]
    fn a_trusted_clock_counts_the_time_on_the_way() {
        for (deadline, budget) in [
            (NOW_MS + 1_500, ms(1_500)),
            (NOW_MS + 1, ms(1)),
            // Within the skew: what the policy gives at least.
            (NOW_MS, ms(1)),
            (NOW_MS - 500, ms(1)),
            // Beyond it: the first of a window is refused.
            (NOW_MS - 501, ms(0)),
            (0, ms(0)),
            // A peer that is ahead buys no more than the policy's maximum.
            (NOW_MS + 10 * 3_600_000, ms(3_600_000)),
            (999_999_999_999_999, ms(3_600_000)),
        ] {
            let unix = absolute(&[("x-request-deadline", at(deadline).as_bytes())]);
            assert_eq!(unix, (Some(budget), 0), "{deadline}");
            let Ok(ns) = i64::try_from(u128::from(deadline) * 1_000_000) else {
                continue;
            };
            for name in FINAGLE {
                let finagle = absolute(&[(name, finagle(ns).as_bytes())]);
                assert_eq!(finagle, (Some(budget), 0), "{deadline}");
            }
        }
    }

    #[test]
    fn the_smallest_of_absolute_and_relative_deadlines_counts() {
        let (soon, late) = (at(NOW_MS + 300), at(NOW_MS + 700));
        let finagle = finagle(i64::try_from(NOW_S).unwrap() * 1_000_000_000 + 200_000_000);
        let (soon, late) = (soon.as_bytes(), late.as_bytes());
        for (lines, expect) in [
            (
                &[("x-request-deadline", late), ("x-request-deadline", soon)][..],
                300,
            ),
            (
                &[("x-request-deadline", late), ("grpc-timeout", b"500m")],
                500,
            ),
            (
                &[("x-request-deadline", soon), ("grpc-timeout", b"500m")],
                300,
            ),
            (
                &[
                    ("x-request-deadline", soon),
                    ("l5d-ctx-deadline", finagle.as_bytes()),
                ],
                200,
            ),
            (
                &[
                    ("x-request-deadline", b"nonsense"),
                    ("grpc-timeout", b"500m"),
                ],
                500,
            ),
        ] {
            assert_eq!(absolute(lines).0, Some(ms(expect)), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_absolute_deadline_is_counted_and_ignored() {
        let negative = finagle(-1);
        for (name, value) in [
            ("x-request-deadline", &b""[..]),
            ("x-request-deadline", b"-1"),
            ("x-request-deadline", b"1.5"),
            ("x-request-deadline", b"1800000000000000"),
            ("x-request-deadline", b"\xff"),
            ("l5d-ctx-deadline", b""),
            ("l5d-ctx-deadline", b"AAAA"),
            ("l5d-ctx-deadline", &[b'A'; 4096]),
            ("com.twitter.finagle.deadline", negative.as_bytes()),
        ] {
            assert_eq!(
                absolute(&[(name, value)]),
                (None, 1),
                "{name}: {}",
                value.escape_ascii()
            );
        }
    }

    /// The shape of the outage that this guards against: all requests of a peer look expired.
    //= P9
    #[test]
    fn a_peer_whose_clock_is_a_minute_behind_stops_a_fifth_of_the_requests() {
        let propagation = built(|builder| builder.trust_clocks(ms(500)));
        let deadline = at(NOW_MS - MINUTE_MS + 2_000);
        let lines = headers(&[
            ("x-request-deadline", deadline.as_bytes()),
            ("grpc-timeout", b"2S"),
        ]);
        let mut counts = (0, 0);
        for _ in 0..100 {
            let incoming = propagation.extract(&lines);
            match incoming.budget {
                Some(Duration::ZERO) => counts.0 += 1,
                Some(budget) => {
                    assert_eq!((budget, incoming.rejects.deadline), (ms(2_000), 1));
                    counts.1 += 1;
                }
                None => panic!("the relative deadline is there"),
            }
        }
        assert_eq!(counts, (20, 80));
        // Clones are the same service, and count together.
        assert_ne!(propagation.clone().extract(&lines).budget, None);
    }

    #[test]
    fn a_peer_whose_clock_is_a_minute_ahead_lengthens_up_to_the_policy() {
        let policy = DeadlinePolicy::new(ms(1), ms(10_000)).unwrap();
        let propagation = built(|builder| builder.trust_clocks(ms(500)).deadline(policy));
        let deadline = at(NOW_MS + MINUTE_MS + 2_000);
        let line = ("x-request-deadline", deadline.as_bytes());
        let incoming = propagation.extract(&headers(&[line]));
        assert_eq!(incoming.budget, Some(ms(10_000)));
        assert_eq!(incoming.deadline_source, Some(DeadlineSource::Policy));
        // The relative one needs no clock, and puts it right.
        let incoming = propagation.extract(&headers(&[line, ("grpc-timeout", b"2S")]));
        assert_eq!(incoming.budget, Some(ms(2_000)));
    }

    //= P8
    #[test]
    fn clocks_are_not_trusted_by_default_and_never_at_the_edge() {
        let past = at(NOW_MS - MINUTE_MS);
        let lines = headers(&[("x-request-deadline", past.as_bytes())]);
        for propagation in [
            built(|builder| builder),
            built(|b| b.trust_clocks(ms(1)).edge()),
        ] {
            let incoming = propagation.extract(&lines);
            assert_eq!((incoming.budget, incoming.rejects.deadline), (None, 0));
        }
    }

    #[derive(PartialEq, Debug)]
    struct Tenant(String);
    impl Value for Tenant {
        const REACH: Reach = Reach::Wire;
    }
    impl WireValue for Tenant {
        const KEY: &'static str = "tenant";
        fn to_wire(&self) -> Json {
            Json::Text(self.0.clone())
        }
        fn from_wire(json: &Json) -> Option<Self> {
            Some(Self(json.as_str()?.to_owned()))
        }
    }

    /// Whether what is signed now is believed by somebody whose clock shows `unix`.
    fn is_believed_at(unix: fn() -> Duration, age_max: Duration) -> bool {
        let mesh = |builder: Builder| {
            let keys = Keys::new("k", b"sixteen bytes ok").unwrap();
            builder
                .value::<Tenant>()
                .signed_values(keys, "shop")
                .signature_age_max(age_max)
        };
        let (here, there) = (
            built(mesh),
            built(|builder| mesh(builder).origin(origin(unix))),
        );
        let ctx = here
            .originate()
            .context(&Ctx::background())
            .with(Tenant("acme".into()));
        let mut sent = HeaderMap::new();
        here.inject(&ctx, &PeerPolicy::internal(), &mut sent)
            .unwrap();
        assert!(sent.contains_key("x-context-ext"));
        let incoming = there.extract(&sent);
        let rejects = incoming.rejects.ext;
        let ctx = incoming.context(&Ctx::background());
        let is_there = ctx.get() == Some(&Tenant("acme".into()));
        assert_eq!(rejects, u32::from(!is_there));
        is_there
    }

    //= P19
    #[test]
    fn a_signature_is_good_for_its_age_and_a_little_skew() {
        let minutes = Duration::from_secs(300);
        let secs = Duration::from_secs;
        assert!(is_believed_at(|| Duration::from_secs(NOW_S + 300), minutes));
        assert!(!is_believed_at(
            || Duration::from_secs(NOW_S + 301),
            minutes
        ));
        assert!(is_believed_at(|| Duration::from_secs(NOW_S - 30), minutes));
        assert!(!is_believed_at(|| Duration::from_secs(NOW_S - 31), minutes));
        assert!(is_believed_at(|| Duration::from_secs(NOW_S + 1), secs(1)));
        assert!(!is_believed_at(|| Duration::from_secs(NOW_S + 2), secs(1)));
        assert!(!is_believed_at(|| Duration::MAX, minutes));
        assert!(!is_believed_at(|| Duration::ZERO, minutes));
    }

    #[test]
    fn ids_are_made_of_the_origin() {
        let propagation = built(|builder| builder);
        let ctx = propagation.originate().context(&Ctx::background());
        let mut sent = HeaderMap::new();
        propagation
            .inject(&ctx, &PeerPolicy::external(), &mut sent)
            .unwrap();
        let sevens = "07".repeat(16);
        assert_eq!(
            sent["traceparent"],
            format!("00-{sevens}-{}-03", &sevens[..16])
        );
        assert_eq!(sent["x-request-id"], "01a3185c-5000-7707-8707-070707070707");
    }
}
