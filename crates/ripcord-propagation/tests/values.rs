//! Business values: whose are believed, what is forwarded, what never leaves.
//!
//! How long a signature is good needs a time of day that stands still: that is in `src/extract.rs`.

mod support;

use ripcord_core::{Ctx, Reach, Value};
use ripcord_propagation::{
    Builder, Call, CallObserver, CallRecord, Carried, End, Exchange, Incoming, Keys, PeerPolicy,
    PolicyError, Propagation, Protocol, Side, TraceFormat, WireValue,
};
use ripcord_wire::ext::{Ext, Json, Limits};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Fields, PARENT, built, injected};

#[derive(PartialEq, Eq, Debug)]
struct Tenant(String);
#[derive(PartialEq, Eq, Debug)]
struct Seats(i64);
/// Has the key of another, which a configuration must notice.
struct Impostor;
struct BadKey;

impl Value for Tenant {
    const REACH: Reach = Reach::Wire;
}
impl Value for Seats {
    const REACH: Reach = Reach::Wire;
}
impl Value for Impostor {
    const REACH: Reach = Reach::Wire;
}
impl Value for BadKey {
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

impl WireValue for Seats {
    const KEY: &'static str = "seats";
    fn to_wire(&self) -> Json {
        Json::Int(self.0)
    }
    fn from_wire(json: &Json) -> Option<Self> {
        json.as_int().filter(|seats| *seats >= 0).map(Self)
    }
}

impl WireValue for Impostor {
    const KEY: &'static str = "tenant";
    fn to_wire(&self) -> Json {
        Json::Null
    }
    fn from_wire(_json: &Json) -> Option<Self> {
        Some(Self)
    }
}

impl WireValue for BadKey {
    const KEY: &'static str = "Not A Key";
    fn to_wire(&self) -> Json {
        Json::Null
    }
    fn from_wire(_json: &Json) -> Option<Self> {
        Some(Self)
    }
}

fn keys(id: &str) -> Keys {
    let secret = format!("the secret of the key {id}");
    Keys::new(id, secret.as_bytes()).expect("a good key")
}

fn registered(builder: Builder) -> Builder {
    builder.value::<Tenant>().value::<Seats>()
}

/// A mesh in which nobody signs.
fn open(change: impl FnOnce(Builder) -> Builder) -> Propagation {
    built(|builder| change(registered(builder).trust_unsigned_values()))
}

fn signed(keys: Keys, audience: &str) -> Propagation {
    built(|builder| registered(builder).signed_values(keys, audience))
}

/// A request with an id, a trace and a value, as one side of a mesh sends it.
fn sent_by(propagation: &Propagation) -> Fields {
    let lines = [("x-request-id", "7f3a"), ("traceparent", PARENT)];
    let ctx = propagation
        .extract(&Fields::of(&lines))
        .context(&Ctx::background());
    let ctx = ctx.with(Tenant("acme".into())).with(Seats(12));
    injected(propagation, &ctx, &PeerPolicy::internal())
}

#[track_caller]
fn check_believed(incoming: Incoming) {
    assert!(incoming.rejects.is_empty(), "{:?}", incoming.rejects);
    let ctx = incoming.context(&Ctx::background());
    assert_eq!(ctx.get::<Tenant>(), Some(&Tenant("acme".into())));
    assert_eq!(ctx.get::<Seats>(), Some(&Seats(12)));
}

#[track_caller]
fn check_refused(incoming: Incoming) {
    assert_eq!(incoming.rejects.ext, 1);
    assert!(incoming.carried.ext().is_empty());
    let ctx = incoming.context(&Ctx::background());
    assert!(ctx.get::<Tenant>().is_none() && ctx.get::<Seats>().is_none());
}

fn replaced(fields: &Fields, name: &str, value: &str) -> Fields {
    let mut fields = fields.clone();
    fields.0.retain(|(known, _)| known != name);
    fields.0.push((name.to_owned(), value.into()));
    fields
}

fn unsigned(json: &str) -> String {
    let limits = Limits::HARD;
    let ext = Ext::from_json(json.as_bytes(), &limits).expect("an object");
    ext.encode(&limits).expect("within the limits")
}

//= P19
#[test]
fn signed_values_arrive() {
    let mesh = signed(keys("a"), "shop");
    let fields = sent_by(&mesh);
    let header = fields.get("x-context-ext").expect("it is sent");
    assert_eq!(
        header.split('.').count(),
        5,
        "version, values, key, time, tag: {header}"
    );
    check_believed(mesh.extract(&fields));
}

//= P19
#[test]
fn a_signature_is_good_for_its_request_audience_and_key_only() {
    let mesh = signed(keys("a"), "shop");
    let fields = sent_by(&mesh);
    let other_trace = PARENT.replace('4', "5");
    check_refused(mesh.extract(&replaced(&fields, "x-request-id", "7f3b")));
    check_refused(mesh.extract(&replaced(&fields, "traceparent", &other_trace)));
    let mut untraced = fields.clone();
    untraced.0.retain(|(name, _)| name != "traceparent");
    check_refused(mesh.extract(&untraced));
    check_refused(signed(keys("a"), "bank").extract(&fields));
    check_refused(signed(keys("b"), "shop").extract(&fields));
    let namesake = Keys::new("a", b"another secret of the same name").expect("a good key");
    check_refused(signed(namesake, "shop").extract(&fields));
    // The caller's span is not part of it: each call of a request has another one.
    let other_span = fields.get("traceparent").map(|sent| {
        let (start, flags) = sent.split_at(36);
        format!("{start}0123456789abcdef{}", &flags[16..])
    });
    let moved = replaced(&fields, "traceparent", &other_span.expect("it is sent"));
    check_believed(mesh.extract(&moved));
}

//= P19
#[test]
fn every_byte_of_a_signed_header_counts() {
    let mesh = signed(keys("a"), "shop");
    let fields = sent_by(&mesh);
    let header = fields.get("x-context-ext").expect("it is sent").to_owned();
    for at in 0..header.len() {
        let mut bytes = header.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).expect("ASCII");
        check_refused(mesh.extract(&replaced(&fields, "x-context-ext", &forged)));
        check_refused(mesh.extract(&replaced(&fields, "x-context-ext", &header[..at])));
    }
}

//= P19
#[test]
fn values_that_are_not_signed_are_refused_where_signatures_are_asked_for() {
    let mesh = signed(keys("a"), "shop");
    let text = unsigned(r#"{"tenant":"acme"}"#);
    check_refused(mesh.extract(&Fields::of(&[("x-context-ext", &*text)])));
    let two = Fields::of(&[("x-context-ext", &*text), ("x-context-ext", &*text)]);
    check_refused(open(|builder| builder).extract(&two));
    check_refused(mesh.extract(&two));
}

//= P19
#[test]
fn keys_are_rotated_without_a_gap() {
    let old = keys("old");
    let accepts_both = |signs: &str, other: &str| {
        let secret = format!("the secret of the key {other}");
        keys(signs)
            .accepting(other, secret.as_bytes())
            .expect("a good key")
    };
    // Accept the new one everywhere, sign with it everywhere, stop to accept the old one.
    let stages = [
        old,
        accepts_both("old", "new"),
        accepts_both("new", "old"),
        keys("new"),
    ];
    let stages = stages.map(|keys| signed(keys, "shop"));
    for (one, other) in stages.iter().zip(&stages[1..]) {
        check_believed(other.extract(&sent_by(one)));
        check_believed(one.extract(&sent_by(other)));
    }
    check_refused(stages[3].extract(&sent_by(&stages[0])));
}

//= P18
#[test]
fn without_configuration_values_are_stripped_in_both_directions() {
    let text = unsigned(r#"{"tenant":"acme"}"#);
    let propagation = built(registered);
    let incoming = propagation.extract(&Fields::of(&[("x-context-ext", &*text)]));
    assert!(incoming.rejects.is_empty());
    let ctx = incoming.context(&Ctx::background());
    assert!(ctx.get::<Tenant>().is_none());
    let ctx = ctx.with(Tenant("acme".into()));
    let mut fields = Fields::of(&[("x-context-ext", &*text)]);
    propagation
        .inject(&ctx, &PeerPolicy::internal(), &mut fields)
        .unwrap();
    assert_eq!(fields.get("x-context-ext"), None);
}

//= P21
#[test]
fn values_go_to_peers_of_ones_own_only() {
    let mesh = signed(keys("a"), "shop");
    let ctx = mesh
        .originate()
        .context(&Ctx::background())
        .with(Tenant("acme".into()));
    for peer in [
        PeerPolicy::external(),
        PeerPolicy::silent(),
        PeerPolicy::external().with_baggage(["tenant"]),
    ] {
        let mut fields = Fields::default();
        let sent = mesh.inject(&ctx, &peer, &mut fields).unwrap();
        assert_eq!(fields.get("x-context-ext"), None, "{peer:?}");
        assert_eq!(sent.values_dropped, 0, "a policy, not a loss");
    }
}

#[test]
fn values_that_nobody_could_verify_stay_here_and_are_counted() {
    // Without a format of trace context the callee cannot know the trace that is signed.
    let mesh = built(|builder| {
        registered(builder)
            .signed_values(keys("a"), "shop")
            .trace_formats(Vec::<TraceFormat>::new())
    });
    let ctx = mesh
        .originate()
        .context(&Ctx::background())
        .with(Tenant("acme".into()));
    let mut fields = Fields::default();
    let sent = mesh
        .inject(&ctx, &PeerPolicy::internal(), &mut fields)
        .unwrap();
    assert_eq!(
        (fields.get("x-context-ext"), sent.values_dropped),
        (None, 1)
    );
}

#[test]
fn what_a_type_refuses_is_counted_and_not_forwarded() {
    let mesh = open(Builder::forward_unknown_values);
    let text = unsigned(r#"{"tenant":7,"seats":-1,"other":[1,"x"]}"#);
    let incoming = mesh.extract(&Fields::of(&[("x-context-ext", &*text)]));
    assert_eq!(incoming.carried.ext().len(), 3);
    let ctx = incoming.context(&Ctx::background());
    assert!(ctx.get::<Tenant>().is_none() && ctx.get::<Seats>().is_none());
    let fields = injected(&mesh, &ctx, &PeerPolicy::internal());
    assert_eq!(
        fields.get("x-context-ext"),
        Some(&*unsigned(r#"{"other":[1,"x"]}"#))
    );
}

#[test]
fn an_observer_learns_of_values_that_were_refused() {
    struct Refusals(AtomicU32);
    struct Nothing;
    impl CallObserver for Refusals {
        fn start(&self, call: &Call<'_>, _carried: &mut Carried) -> Box<dyn CallRecord> {
            self.0.store(call.rejects.ext, Ordering::Relaxed);
            Box::new(Nothing)
        }
    }
    impl CallRecord for Nothing {
        fn end(&mut self, _end: &End<'_>) {}
    }
    let mesh = open(|builder| builder);
    let text = unsigned(r#"{"tenant":7,"seats":12,"other":1}"#);
    let incoming = mesh.extract(&Fields::of(&[("x-context-ext", &*text)]));
    let refusals = Arc::new(Refusals(AtomicU32::new(0)));
    let observer: Arc<dyn CallObserver> = refusals.clone();
    let call = Call::new(Side::Server, Protocol::Http, "GET", "/");
    let server = Ctx::background();
    let exchange = Exchange::begin(&server, incoming, call, server.clock_now(), Some(&observer));
    assert_eq!(exchange.ctx().get(), Some(&Seats(12)));
    assert_eq!(refusals.0.load(Ordering::Relaxed), 1);
}

#[test]
fn unknown_values_are_forwarded_only_where_that_is_configured() {
    let text = unsigned(r#"{"other":{"a":null},"tenant":"acme"}"#);
    for (mesh, expect) in [
        (open(|builder| builder), r#"{"tenant":"acme"}"#),
        (
            open(Builder::forward_unknown_values),
            r#"{"tenant":"acme","other":{"a":null}}"#,
        ),
    ] {
        let incoming = mesh.extract(&Fields::of(&[("x-context-ext", &*text)]));
        let ctx = incoming.context(&Ctx::background());
        let fields = injected(&mesh, &ctx, &PeerPolicy::internal());
        assert_eq!(fields.get("x-context-ext"), Some(&*unsigned(expect)));
    }
    // Nothing is registered here: it only passes on.
    let relay = built(|builder| builder.trust_unsigned_values().forward_unknown_values());
    let incoming = relay.extract(&Fields::of(&[("x-context-ext", &*text)]));
    let ctx = incoming.context(&Ctx::background());
    let fields = injected(&relay, &ctx, &PeerPolicy::internal());
    assert_eq!(fields.get("x-context-ext"), Some(&*text));
}

#[test]
fn what_does_not_fit_is_left_out_whole_and_counted() {
    let long = "x".repeat(3_000);
    let narrow = Limits {
        keys_max: 1,
        ..Limits::default()
    };
    for (mesh, tenant, expect, dropped) in [
        (open(|builder| builder), &*long, Some(r#"{"seats":12}"#), 1),
        (
            open(|builder| builder.ext_limits(narrow)),
            "acme",
            Some(r#"{"tenant":"acme"}"#),
            1,
        ),
        (
            open(|builder| {
                builder.ext_limits(Limits {
                    bytes_max: 3,
                    ..narrow
                })
            }),
            "acme",
            None,
            2,
        ),
    ] {
        let ctx = mesh.originate().context(&Ctx::background());
        let ctx = ctx.with(Tenant(tenant.into())).with(Seats(12));
        let mut fields = Fields::default();
        let sent = mesh
            .inject(&ctx, &PeerPolicy::internal(), &mut fields)
            .unwrap();
        let expect = expect.map(unsigned);
        assert_eq!(fields.get("x-context-ext"), expect.as_deref());
        assert_eq!(sent.values_dropped, dropped);
    }
}

#[test]
fn values_of_ones_own_go_before_those_of_others() {
    let narrow = Limits {
        keys_max: 2,
        ..Limits::default()
    };
    let mesh = open(|builder| builder.forward_unknown_values().ext_limits(narrow));
    let text = unsigned(r#"{"a":1,"b":2}"#);
    let incoming = mesh.extract(&Fields::of(&[("x-context-ext", &*text)]));
    let ctx = incoming.context(&Ctx::background()).with(Seats(12));
    let mut fields = Fields::default();
    let sent = mesh
        .inject(&ctx, &PeerPolicy::internal(), &mut fields)
        .unwrap();
    assert_eq!(
        fields.get("x-context-ext"),
        Some(&*unsigned(r#"{"seats":12,"a":1}"#))
    );
    assert_eq!(sent.values_dropped, 1);
}

#[test]
fn a_value_set_here_replaces_the_one_that_arrived() {
    let mesh = open(Builder::forward_unknown_values);
    let text = unsigned(r#"{"tenant":"acme"}"#);
    let incoming = mesh.extract(&Fields::of(&[("x-context-ext", &*text)]));
    let ctx = incoming
        .context(&Ctx::background())
        .with(Tenant("other".into()));
    let fields = injected(&mesh, &ctx, &PeerPolicy::internal());
    assert_eq!(
        fields.get("x-context-ext"),
        Some(&*unsigned(r#"{"tenant":"other"}"#))
    );
}

//= P20
#[test]
fn values_of_less_reach_never_leave() {
    struct Here(String);
    struct Task(String);
    struct Unregistered(String);
    impl Value for Here {
        const REACH: Reach = Reach::Local;
    }
    impl Value for Task {
        const REACH: Reach = Reach::Task;
    }
    impl Value for Unregistered {
        const REACH: Reach = Reach::Wire;
    }
    let secret = "hunter2";
    for mesh in [
        signed(keys("a"), "shop"),
        open(Builder::forward_unknown_values),
    ] {
        let ctx = mesh.originate().context(&Ctx::background());
        let ctx = ctx.with(Here(secret.into())).with(Task(secret.into()));
        let ctx = ctx.with(Unregistered(secret.into()));
        assert_eq!(ctx.get::<Here>().map(|here| &*here.0), Some(secret));
        assert_eq!(ctx.get::<Task>().map(|task| &*task.0), Some(secret));
        assert_eq!(
            ctx.get::<Unregistered>().map(|value| &*value.0),
            Some(secret)
        );
        let fields = injected(&mesh, &ctx, &PeerPolicy::internal());
        assert_eq!(
            fields.names(),
            ["traceparent", "x-request-id"],
            "nothing else: {fields:?}"
        );
    }
}

#[test]
fn a_table_of_values_that_contradicts_itself_is_refused() {
    let twice = Propagation::builder()
        .value::<Tenant>()
        .value::<Impostor>()
        .build();
    assert_eq!(twice.unwrap_err(), PolicyError::DuplicateValue("tenant"));
    let bad = Propagation::builder()
        .value::<BadKey>()
        .value::<Tenant>()
        .build();
    assert_eq!(bad.unwrap_err(), PolicyError::ValueKey("Not A Key"));
}
