//! Accounts of calls: on every path the record is ended once, and the context with the right cause.

mod support;

use ripcord_core::{CancelGuard, Cause, Ctx, Kind, Reach, Value, foreign_panics};
use ripcord_propagation::{
    Call, CallObserver, CallRecord, CallSpan, Carried, CtxCarried as _, DeadlineSource, End,
    Ending, Exchange, GrpcCode, PeerPolicy, Propagation, Protocol, Side,
};
use ripcord_test::TestClock;
use ripcord_wire::trace::SpanId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use support::{Event, Fields, Moment, Recorder, extract, ms};

/// A server on a clock that stands still, with one call under way.
struct Served {
    clock: TestClock,
    server: CancelGuard,
    told: Recorder,
    exchange: Option<Exchange>,
    ctx: Ctx,
}

impl Served {
    /// A call that has 100 ms.
    fn new(told: Recorder) -> Self {
        let clock = TestClock::new();
        let (root, server) = clock.ctx();
        let incoming = extract(&[("x-request-timeout-ms", "100"), ("x-request-id", "7f3a")]);
        let call = Call::new(Side::Server, Protocol::Http, "GET", "/orders");
        let observer = told.observer();
        let exchange = Exchange::begin(&root, incoming, call, clock.now(), Some(&observer));
        let ctx = exchange.ctx().clone();
        let exchange = Some(exchange);
        Self {
            clock,
            server,
            told,
            exchange,
            ctx,
        }
    }

    fn exchange(&mut self) -> &mut Exchange {
        self.exchange.as_mut().expect("the call is under way")
    }

    fn take(&mut self) -> Exchange {
        self.exchange.take().expect("the call is under way")
    }

    /// The only end, what it was of, and what became of the context.
    #[track_caller]
    fn check(&self, ending: Ending, cause: Option<Kind>, context: Option<Kind>) {
        assert_eq!(
            self.told.ends(),
            [(ending, cause)],
            "{:#?}",
            self.told.told()
        );
        assert_eq!(self.told.in_flight(), 0);
        let kind = self.ctx.cause().map(|cause| cause.kind());
        assert_eq!(kind, context);
    }
}

//= P26
#[test]
fn a_call_that_completes_is_told_step_by_step() {
    let mut served = Served::new(Recorder::default());
    served.exchange().routed("/orders/{id}");
    served.clock.advance(ms(30));
    served.exchange().answered(200);
    assert!(!served.ctx.is_done());
    served.take().complete();
    let end = Event::End {
        ending: Ending::Complete,
        cause: None,
        status: Some(200),
        error: None,
        took: ms(30),
        latency: None,
    };
    let expect = [
        Event::Start(Side::Server, "GET /orders".to_owned(), Some(ms(100))),
        Event::Attach,
        Event::Routed("/orders/{id}".to_owned()),
        Event::Answered(200),
        end,
    ];
    assert_eq!(served.told.told(), expect);
    served.check(Ending::Complete, None, Some(Kind::Dropped));
}

#[test]
fn a_call_that_fails_says_why_in_a_few_words() {
    for (error, expect) in [
        ("no route", "no route"),
        (&"é".repeat(500), &"é".repeat(64)),
    ] {
        let mut served = Served::new(Recorder::default());
        served.exchange().failed(&error);
        served.take().complete();
        served.check(Ending::Failed, None, Some(Kind::Dropped));
        let found = served
            .told
            .told()
            .into_iter()
            .find_map(|event| match event {
                Event::End { error, .. } => error,
                _ => None,
            });
        assert_eq!(found.as_deref(), Some(expect));
    }
}

#[test]
fn a_deadline_that_passes_cancels_with_its_latency() {
    let mut served = Served::new(Recorder::default());
    served.clock.advance(ms(107));
    let cause = served.ctx.cause().expect("the deadline has passed");
    served.exchange().cancelled(&cause);
    served.exchange().cancelled(&cause);
    served.exchange().answered(504);
    served.clock.advance(ms(5));
    served.take().complete();
    served.check(
        Ending::Cancelled,
        Some(Kind::DeadlineExceeded),
        Some(Kind::DeadlineExceeded),
    );
    let told = served.told.told();
    let cancels = told
        .iter()
        .filter(|event| matches!(event, Event::Cancelled(_)));
    assert_eq!(cancels.count(), 1, "told once");
    let Some(Event::End { took, latency, .. }) = told.last() else {
        panic!("{told:?}")
    };
    assert_eq!(
        (*took, *latency),
        (ms(112), Some(ms(12))),
        "from the deadline, not its notice"
    );
}

#[test]
fn a_call_that_is_answered_late_is_complete_and_says_so() {
    let mut served = Served::new(Recorder::default());
    served.clock.advance(ms(150));
    served.exchange().answered(200);
    served.take().complete();
    served.check(
        Ending::Complete,
        Some(Kind::DeadlineExceeded),
        Some(Kind::DeadlineExceeded),
    );
}

//= P25, P30
#[test]
fn a_call_that_is_dropped_ends_its_context() {
    let mut served = Served::new(Recorder::default());
    served.clock.advance(ms(20));
    drop(served.take());
    served.check(Ending::Dropped, Some(Kind::PeerGone), Some(Kind::PeerGone));
    let told = served.told.told();
    let Some(Event::End { took, latency, .. }) = told.last() else {
        panic!("{told:?}")
    };
    assert_eq!((*took, *latency), (ms(20), Some(ms(0))));
}

#[test]
fn a_call_that_is_dropped_after_its_end_was_cancelled() {
    let mut late = Served::new(Recorder::default());
    late.clock.advance(ms(100));
    drop(late.take());
    late.check(
        Ending::Cancelled,
        Some(Kind::DeadlineExceeded),
        Some(Kind::DeadlineExceeded),
    );

    let mut down = Served::new(Recorder::default());
    down.server.cancel(Kind::Shutdown);
    drop(down.take());
    down.check(
        Ending::Cancelled,
        Some(Kind::Shutdown),
        Some(Kind::Shutdown),
    );

    let mut killed = Served::new(Recorder::default());
    let canceller = killed.exchange().canceller().expect("it is live");
    assert!(canceller.cancel("by an operator"));
    drop(killed.take());
    killed.check(
        Ending::Cancelled,
        Some(Kind::Cancelled),
        Some(Kind::Cancelled),
    );

    // The answer that says so was under way.
    let mut told = Served::new(Recorder::default());
    told.clock.advance(ms(100));
    let cause = told.ctx.cause().expect("the deadline has passed");
    told.exchange().cancelled(&cause);
    drop(told.take());
    told.check(
        Ending::Cancelled,
        Some(Kind::DeadlineExceeded),
        Some(Kind::DeadlineExceeded),
    );
}

#[test]
fn a_call_that_fails_and_is_dropped_has_failed() {
    let mut served = Served::new(Recorder::default());
    served.exchange().failed(&"broken pipe");
    drop(served.take());
    served.check(Ending::Failed, Some(Kind::PeerGone), Some(Kind::PeerGone));
}

#[test]
fn a_handler_that_panics_fails_its_call() {
    let mut served = Served::new(Recorder::default());
    let exchange = served.take();
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _exchange = exchange;
        panic!("a handler panics, as the test told it to");
    }));
    assert!(unwound.is_err());
    served.check(Ending::Failed, Some(Kind::Panicked), Some(Kind::Panicked));
}

#[test]
fn a_context_that_is_released_ends_with_its_holders_and_its_deadline() {
    let mut served = Served::new(Recorder::default());
    served.take().release();
    served.check(Ending::Complete, None, None);
    served.clock.advance(ms(100));
    assert_eq!(
        served.ctx.check().unwrap_err().kind(),
        Kind::DeadlineExceeded
    );

    let mut served = Served::new(Recorder::default());
    served.take().let_go();
    served.check(Ending::Dropped, None, None);
    served.server.cancel(Kind::Shutdown);
    assert_eq!(served.ctx.check().unwrap_err().kind(), Kind::Shutdown);
}

#[test]
fn a_deadline_that_has_passed_is_known_at_once() {
    let clock = TestClock::new();
    let (root, _server) = clock.ctx();
    let told = Recorder::default();
    let arrived = clock.now();
    clock.advance(ms(10));
    let call = Call::new(Side::Server, Protocol::Grpc, "POST", "/shop.Orders/List");
    let incoming = extract(&[("grpc-timeout", "10m")]);
    let mut exchange = Exchange::begin(&root, incoming, call, arrived, Some(&told.observer()));
    let ctx = exchange.ctx().clone();
    assert_eq!(ctx.name(), Some("/shop.Orders/List"));
    let cause = ctx.cause().expect("it was in a queue for all its time");
    exchange.cancelled(&cause);
    exchange.grpc_status(GrpcCode::DeadlineExceeded);
    exchange.complete();
    assert_eq!(
        told.ends(),
        [(Ending::Cancelled, Some(Kind::DeadlineExceeded))]
    );
}

/// One way in which a served call may go.
type Path = (&'static str, fn(Served) -> Served, Option<Kind>);

const PATHS: [Path; 6] = [
    (
        "complete",
        |mut served| {
            served.exchange().routed("/a");
            served.exchange().answered(200);
            served.take().complete();
            served
        },
        Some(Kind::Dropped),
    ),
    (
        "cancelled",
        |mut served| {
            served.clock.advance(ms(100));
            let cause = served.ctx.cause().expect("the deadline has passed");
            served.exchange().cancelled(&cause);
            served.exchange().answered(504);
            served.take().complete();
            served
        },
        Some(Kind::DeadlineExceeded),
    ),
    (
        "dropped",
        |mut served| {
            served.exchange().routed("/a");
            served.exchange().answered(200);
            drop(served.take());
            served
        },
        Some(Kind::PeerGone),
    ),
    (
        "panicked",
        |mut served| {
            let exchange = served.take();
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _exchange = exchange;
                panic!("a handler panics, as the test told it to");
            }));
            assert!(unwound.is_err());
            served
        },
        Some(Kind::Panicked),
    ),
    (
        "released",
        |mut served| {
            served.exchange().answered(101);
            served.take().release();
            served
        },
        None,
    ),
    (
        "let go",
        |mut served| {
            served.take().let_go();
            served
        },
        None,
    ),
];

//= P30
#[test]
fn an_observer_that_panics_harms_nobody_and_misses_no_end() {
    for (name, path, context) in PATHS {
        let healthy = path(Served::new(Recorder::default())).told.ends();
        assert_eq!(healthy.len(), 1, "{name}");
        for moment in Moment::ALL {
            let before = foreign_panics();
            let served = path(Served::new(Recorder::panicking(moment)));
            let told = served.told.told();
            // There is no record to end where none was made.
            let expect = if moment == Moment::Start {
                &[][..]
            } else {
                &healthy
            };
            assert_eq!(served.told.ends(), expect, "{name}, {moment:?}: {told:#?}");
            assert_eq!(served.told.in_flight(), 0, "{name}, {moment:?}");
            let kind = served.ctx.cause().map(|cause| cause.kind());
            assert_eq!(kind, context, "{name}, {moment:?}");
            assert_eq!(served.ctx.request_id(), Some("7f3a"), "{name}, {moment:?}");
            // Other tests count at the same time: no fewer than those of this one.
            let is_reached = !matches!(
                moment,
                Moment::Routed | Moment::Answered | Moment::Cancelled
            );
            assert!(
                foreign_panics() >= before + u64::from(is_reached),
                "{name}, {moment:?}"
            );
        }
    }
}

#[test]
fn an_account_needs_no_observer() {
    let clock = TestClock::new();
    let (root, _server) = clock.ctx();
    let begin = || {
        let call = Call::new(Side::Server, Protocol::Http, "GET", "/a");
        Exchange::begin(&root, extract(&[]), call, clock.now(), None)
    };
    let mut exchange = begin();
    exchange.routed("/a");
    exchange.answered(200);
    exchange.failed(&"x");
    let ctx = exchange.ctx().clone();
    exchange.complete();
    assert_eq!(ctx.check().unwrap_err().kind(), Kind::Dropped);
    let exchange = begin();
    let ctx = exchange.ctx().clone();
    assert!(format!("{exchange:?}").contains("is_live: true"));
    drop(exchange);
    assert_eq!(ctx.check().unwrap_err().kind(), Kind::PeerGone);
    assert!(!root.is_done());
}

#[test]
fn a_context_is_named_after_its_call() {
    let name = |call: Call<'_>| {
        let exchange = Exchange::begin(
            &Ctx::background(),
            extract(&[]),
            call,
            TestClock::new().now(),
            None,
        );
        exchange.ctx().name().unwrap_or_default().to_owned()
    };
    let call = |path| Call::new(Side::Server, Protocol::Http, "GET", path);
    assert_eq!(name(call("/orders/7")), "GET /orders/7");
    assert_eq!(
        name(call("/orders/7").with_route(Some("/orders/{id}"))),
        "GET /orders/{id}"
    );
    let long = format!("/{}", "é".repeat(1_000));
    let named = name(call(&long));
    assert_eq!(named.chars().count(), 128);
    assert!(named.ends_with('é'));
    let exact = format!("/{}", "a".repeat(123));
    assert_eq!(name(call(&exact)), format!("GET {exact}"));
}

/// An observer as telemetry has it: a span of its own, and a value in the context.
struct Tracer;

#[derive(PartialEq, Debug)]
struct SpanOf(SpanId);
impl Value for SpanOf {
    const REACH: Reach = Reach::Local;
}

struct TracerRecord(SpanId);

const SPAN: SpanId = match SpanId::from_bytes([7; 8]) {
    Some(id) => id,
    None => panic!("not zero"),
};

impl CallObserver for Tracer {
    fn start(&self, call: &Call<'_>, carried: &mut Carried) -> Box<dyn CallRecord> {
        match call.side {
            Side::Server => carried.trace.span_id = SPAN,
            Side::Client => *carried = carried.in_span(SPAN),
        }
        carried.trace.flags = carried.trace.flags.with_sampled(false);
        assert_eq!(call.rejects.deadline, u32::from(call.side == Side::Server));
        Box::new(TracerRecord(SPAN))
    }
}

impl CallRecord for TracerRecord {
    fn attach(&self, ctx: Ctx) -> Ctx {
        ctx.with(SpanOf(self.0))
    }
    fn end(&mut self, end: &End<'_>) {
        assert_eq!(end.grpc, Some(GrpcCode::Ok));
        assert!(matches!(
            end.deadline_source,
            None | Some(DeadlineSource::Caller)
        ));
    }
}

#[test]
fn an_observer_moves_a_call_into_its_span() {
    let observer: Arc<dyn CallObserver> = Arc::new(Tracer);
    let (root, _server) = TestClock::new().ctx();
    let lines = [("traceparent", support::PARENT), ("grpc-timeout", "soon")];
    let call = Call::new(Side::Server, Protocol::Grpc, "POST", "/a");
    let now = root.clock_now();
    let mut exchange = Exchange::begin(&root, extract(&lines), call, now, Some(&observer));
    let ctx = exchange.ctx().clone();
    assert_eq!(ctx.get(), Some(&SpanOf(SPAN)));
    let trace = ctx.trace().expect("it belongs to a request");
    assert_eq!((trace.span_id, trace.flags.is_sampled()), (SPAN, false));

    let propagation = Propagation::default();
    let mut carried = propagation.for_call(&ctx);
    let below = Call::new(Side::Client, Protocol::Grpc, "POST", "/b");
    let mut span = CallSpan::begin(&ctx, &mut carried, below, Some(&observer));
    let mut sent = Fields::default();
    let peer = PeerPolicy::internal();
    propagation
        .inject_as(span.ctx(), &carried, &peer, &mut sent)
        .unwrap();
    let expect = format!("00-{}-0707070707070707-00", support::TRACE_ID);
    assert_eq!(sent.get("traceparent"), Some(&*expect));
    span.grpc_status(GrpcCode::Ok);
    span.complete();
    exchange.grpc_status(GrpcCode::Ok);
    let panics = foreign_panics();
    exchange.complete();
    assert!(foreign_panics() >= panics);
}

/// A call that this process makes, under a context of 100 ms.
struct Made {
    clock: TestClock,
    caller: CancelGuard,
    told: Recorder,
    span: Option<CallSpan>,
}

impl Made {
    fn new(told: Recorder) -> Self {
        let clock = TestClock::new();
        let (root, caller) = clock.ctx();
        let ctx = root.with_timeout(ms(100));
        let mut carried = Propagation::default().for_call(&ctx);
        let call = Call::new(Side::Client, Protocol::Http, "GET", "/stock");
        let span = CallSpan::begin(&ctx, &mut carried, call, Some(&told.observer()));
        let span = Some(span);
        Self {
            clock,
            caller,
            told,
            span,
        }
    }

    fn span(&mut self) -> &mut CallSpan {
        self.span.as_mut().expect("the call is under way")
    }

    fn take(&mut self) -> CallSpan {
        self.span.take().expect("the call is under way")
    }

    #[track_caller]
    fn check(&self, ending: Ending, cause: Option<Kind>) {
        assert_eq!(
            self.told.ends(),
            [(ending, cause)],
            "{:#?}",
            self.told.told()
        );
        assert_eq!(self.told.in_flight(), 0);
    }
}

/// One way in which a call that is made may go, with its end.
type MadePath = (fn(&mut Made), Ending, Option<Kind>);

const MADE_PATHS: [MadePath; 8] = [
    (
        |made| {
            made.span().answered(200);
            made.take().complete();
        },
        Ending::Complete,
        None,
    ),
    (
        |made| {
            made.span().failed(&"refused");
            made.take().complete();
        },
        Ending::Failed,
        None,
    ),
    (
        |made| {
            made.clock.advance(ms(100));
            let cause = made.span().ctx().cause().expect("it has passed");
            made.span().cancelled(&cause);
            made.take().complete();
        },
        Ending::Cancelled,
        Some(Kind::DeadlineExceeded),
    ),
    // The future of the call is dropped: because nobody asked for it any more …
    (|made| drop(made.take()), Ending::Dropped, None),
    // … because the context has ended …
    (
        |made| {
            made.clock.advance(ms(100));
            drop(made.take());
        },
        Ending::Cancelled,
        Some(Kind::DeadlineExceeded),
    ),
    (
        |made| {
            made.caller.cancel(Kind::PeerGone);
            drop(made.take());
        },
        Ending::Cancelled,
        Some(Kind::PeerGone),
    ),
    // … or since it had failed before …
    (
        |made| {
            made.span().failed(&"reset");
            drop(made.take());
        },
        Ending::Failed,
        None,
    ),
    // … or its caller panicked.
    (
        |made| {
            let span = made.take();
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _span = span;
                panic!("a caller panics, as the test told it to");
            }));
            assert!(unwound.is_err());
        },
        Ending::Dropped,
        None,
    ),
];

//= P30
#[test]
fn a_call_that_is_made_is_ended_on_every_path() {
    for (number, (path, ending, cause)) in MADE_PATHS.into_iter().enumerate() {
        let mut made = Made::new(Recorder::default());
        path(&mut made);
        made.check(ending, cause);
        for moment in Moment::ALL {
            let mut made = Made::new(Recorder::panicking(moment));
            path(&mut made);
            if moment == Moment::Start {
                assert_eq!(made.told.ends(), [], "{number}");
            } else {
                made.check(ending, cause);
            }
            assert_eq!(made.told.in_flight(), 0, "{number}, {moment:?}");
        }
    }
}

#[test]
fn a_call_is_not_attached_and_knows_what_is_left() {
    let mut made = Made::new(Recorder::default());
    made.clock.advance(ms(40));
    made.span().answered(200);
    made.take().complete();
    let told = made.told.told();
    let start = Event::Start(Side::Client, "GET /stock".to_owned(), Some(ms(100)));
    assert_eq!(told.first(), Some(&start));
    assert!(
        !told.contains(&Event::Attach),
        "its context is its caller's"
    );
    let Some(Event::End {
        took,
        latency: None,
        ..
    }) = told.last()
    else {
        panic!("{told:?}")
    };
    assert_eq!(*took, ms(40));
}

#[test]
fn a_cause_that_was_told_is_not_told_twice() {
    let mut made = Made::new(Recorder::default());
    made.caller.cancel(Cause::new(Kind::Shutdown));
    let cause = made.span().ctx().cause().expect("cancelled above");
    made.span().cancelled(&cause);
    made.span().cancelled(&cause);
    drop(made.take());
    let told = made.told.told();
    let cancels = told
        .iter()
        .filter(|event| **event == Event::Cancelled(Kind::Shutdown));
    assert_eq!(cancels.count(), 1, "{told:?}");
    made.check(Ending::Cancelled, Some(Kind::Shutdown));
}
