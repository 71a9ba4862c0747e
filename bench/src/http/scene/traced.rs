//! What it costs a server that answers "hello" to be recorded: time, latency and CPU.
//!
//! A recorder is the process's, as with `RIPCORD_TRACE`, and a process is one contender's. So the
//! pairs of a round are compared, and what a round's moment does to both is no difference.

use std::marker::PhantomData;
use std::sync::OnceLock;

use axum::Router;
use ripcord_core::{CancelGuard, set_default_observer};
use ripcord_tokio::{BuilderExt as _, ThreadHooks};
use ripcord_tracer::{Mode, Recorder};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::servers::{Hyper, Ripcord, Serves, serve_by_hyper};
use super::serving::{requests_of, serve_on};
use crate::case::{Case, Goal, HYPER, Kind, RIPCORD, Readings, TOKIO_METRICS, Unit};
use crate::folder::Folder;
use crate::plan::Plan;
use crate::spawner::{Plain, Spawner, Stage, TokioSpawner};
use crate::trace::Monitored;

/// ripcord's server without a recorder.
const UNTRACED: &str = "untraced";
/// Recorded as with `ripcord`, and written to a file meanwhile.
const RIPCORD_STREAM: &str = "ripcord-stream";

pub(crate) fn cases() -> Vec<Case> {
    let two_percent = Goal::of(UNTRACED, 1.02);
    let half_a_percent = Goal::of(UNTRACED, 1.005);
    vec![
        case("serve/full", "hello, every request recorded", two_percent)
            .rust(RIPCORD, full)
            .rust(RIPCORD_STREAM, streamed)
            .rust(UNTRACED, untraced),
        case(
            "serve/sampled",
            "hello, one request in a hundred recorded",
            half_a_percent,
        )
        .rust(RIPCORD, sampled)
        .rust(UNTRACED, untraced),
        case(
            "serve/metrics",
            "hello, everything counted and no event",
            half_a_percent,
        )
        .rust(RIPCORD, metered)
        .rust(UNTRACED, untraced),
        case("serve/peers", "hello by hyper, its connections told", None)
            .rust(TOKIO_METRICS, hyper_by::<Monitored, Plain>)
            .rust(HYPER, |plan| serve_on::<Hyper, Plain>(plan, true)),
    ]
}

fn case(id: &'static str, title: &'static str, goal: Option<Goal>) -> Case {
    let nanoseconds = Unit::Nanoseconds;
    Case::new(Kind::Served, id, title)
        .metric("time", "time per request", nanoseconds, goal)
        .metric("cpu", "server's CPU per request", nanoseconds, None)
        .metric("p50", "median request", nanoseconds, None)
        .metric("p99", "99th percentile", nanoseconds, None)
        .aside("clients", "clients' CPU per request", nanoseconds)
        .aside("request_events", "events per request", Unit::Count)
}

fn untraced(plan: &Plan) -> Readings {
    serve_on::<Ripcord, Plain>(plan, true)
}

fn full(plan: &Plan) -> Readings {
    let readings = serve_on::<Ripcord, Full>(plan, true);
    with_events(plan, recorder(Mode::Full), readings)
}

fn sampled(plan: &Plan) -> Readings {
    let readings = serve_on::<Ripcord, Sampled>(plan, true);
    with_events(plan, recorder(SAMPLED), readings)
}

/// There are no events: what is counted says that the mode was in force.
fn metered(plan: &Plan) -> Readings {
    let readings = serve_on::<Ripcord, Metered>(plan, true);
    if plan.iterations.is_some() {
        // Only the requests are counted, and there may be none.
        return readings;
    }
    let metrics = recorder(Mode::Metrics).metrics();
    // The tasks of connections are tokio's own, so nobody is told of their polls.
    assert!(
        metrics.contexts_created > requests_of(plan) as u64,
        "a context for each request, and one for each connection"
    );
    readings
}

/// Adds how many events there were for each request, those that the ring has forgotten included.
fn with_events(plan: &Plan, recorder: &Recorder, readings: Readings) -> Readings {
    if plan.iterations.is_some() {
        // Only the requests are counted.
        return readings;
    }
    let dumped = recorder.dump(&mut std::io::sink());
    let dumped = dumped.expect("a sink takes all");
    let losses = recorder.losses();
    assert_eq!(losses.lost, 0, "events were lost");
    let events = dumped.events + losses.evicted;
    readings.with("request_events", events as f64 / requests_of(plan) as f64)
}

/// The recording goes to a file, which a thread writes ten times a second.
fn streamed(plan: &Plan) -> Readings {
    let folder = Folder::new("stream");
    let recorder = recorder(Mode::Full);
    let stream = recorder.stream(folder.path().join("serve.ript"));
    let stream = stream.expect("the file can be made");
    let readings = serve_on::<Ripcord, Full>(plan, true);
    let streamed = stream.finish().expect("the file can be written");
    assert_eq!(streamed.missed, 0, "the file is not whole");
    with_events(plan, recorder, readings)
}

/// The recorder of this process, made by the first call: a process is one contender's, so all calls
/// in it name one mode.
fn recorder(mode: Mode) -> &'static Recorder {
    static RECORDER: OnceLock<Recorder> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let recorder = Recorder::builder().program("bench").mode(mode).build();
        let first = set_default_observer(recorder.observer());
        assert!(first.is_ok(), "a process is recorded once");
        recorder
    })
}

/// A runtime in a process in which everything is recorded.
#[derive(Debug)]
struct Full(Plain);

/// The same for one request in a hundred.
#[derive(Debug)]
struct Sampled(Plain);

/// The same where everything is counted.
#[derive(Debug)]
struct Metered(Plain);

fn hooked(mode: Mode, mut builder: Builder) -> Plain {
    builder.thread_hooks(&ThreadHooks::new(recorder(mode).tasks()));
    Plain::build(builder)
}

impl Stage for Full {
    type Spawner = TokioSpawner;

    fn build(builder: Builder) -> Full {
        Full(hooked(Mode::Full, builder))
    }

    fn runtime(&self) -> &Runtime {
        self.0.runtime()
    }

    fn spawner(&self) -> TokioSpawner {
        TokioSpawner
    }
}

impl Stage for Metered {
    type Spawner = TokioSpawner;

    fn build(builder: Builder) -> Metered {
        Metered(hooked(Mode::Metrics, builder))
    }

    fn runtime(&self) -> &Runtime {
        self.0.runtime()
    }

    fn spawner(&self) -> TokioSpawner {
        TokioSpawner
    }
}

impl Stage for Sampled {
    type Spawner = TokioSpawner;

    fn build(builder: Builder) -> Sampled {
        Sampled(hooked(SAMPLED, builder))
    }

    fn runtime(&self) -> &Runtime {
        self.0.runtime()
    }

    fn spawner(&self) -> TokioSpawner {
        TokioSpawner
    }
}

/// hyper's server on a runtime `R`, with connections that are spawned by an `S`.
pub(crate) fn hyper_by<S: Spawner + Default, R: Stage>(plan: &Plan) -> Readings {
    serve_on::<HyperBy<S>, R>(plan, true)
}

/// [`Hyper`] with connections that somebody is told of.
#[derive(Debug)]
struct HyperBy<S>(PhantomData<S>);

impl<S: Spawner + Default> Serves for HyperBy<S> {
    fn serve(
        listener: TcpListener,
        app: Router,
    ) -> (
        Option<CancelGuard>,
        impl Future<Output = ()> + Send + 'static,
    ) {
        (None, serve_by_hyper(listener, app, S::default()))
    }
}

const SAMPLED: Mode = Mode::Sampled { one_in: 100 };
