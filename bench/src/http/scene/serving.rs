//! What a context per request costs a server that answers "hello": time, latency and CPU.
//!
//! The server has one worker on a core of its own, and the clients have another core. They keep 32
//! requests on their way, so the server is never idle, and the time per request is what it needs.

use super::crowd::Crowd;
use super::order::Order;
use super::servers::{Axum, Hyper, Ripcord, RipcordLayer, Running, Serves, hello};
use super::{RIPCORD_LAYER, system};
use crate::case::{AXUM, Case, Goal, HYPER, Kind, RIPCORD, Readings, Unit};
use crate::plan::Plan;
use crate::spawner::{Plain, Stage, workers};
use crate::stats;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "serve/context",
            "hello over 32 connections, requests with context headers",
        )
        .rust(RIPCORD, serve::<Ripcord, true>)
        .rust(RIPCORD_LAYER, serve::<RipcordLayer, true>)
        .rust(AXUM, serve::<Axum, true>)
        .rust(HYPER, serve::<Hyper, true>),
        case("serve/bare", "the same without context headers")
            .rust(RIPCORD, serve::<Ripcord, false>)
            .rust(RIPCORD_LAYER, serve::<RipcordLayer, false>)
            .rust(AXUM, serve::<Axum, false>)
            .rust(HYPER, serve::<Hyper, false>),
    ]
}

fn case(id: &'static str, title: &'static str) -> Case {
    let nanoseconds = Unit::Nanoseconds;
    Case::new(Kind::Served, id, title)
        .metric(
            "time",
            "time per request",
            nanoseconds,
            Goal::of(AXUM, 1.03),
        )
        .metric("p50", "median request", nanoseconds, None)
        .metric("p99", "99th percentile", nanoseconds, Goal::of(AXUM, 1.05))
        .metric("cpu", "server's CPU per request", nanoseconds, None)
        .aside("clients", "clients' CPU per request", nanoseconds)
}

fn serve<S: Serves, const CONTEXT: bool>(plan: &Plan) -> Readings {
    serve_on::<S, Plain>(plan, CONTEXT)
}

/// Serves on a runtime of one worker that is built on its own core, and measures that.
pub(super) fn serve_on<S: Serves, R: Stage>(plan: &Plan, has_context: bool) -> Readings {
    let cores = system::two_cores();
    if let Some((own, _)) = cores {
        // Before the threads of the runtime are started, which inherit it.
        system::stay_on(own).expect("a core that this process may use");
    }
    let stage = R::build(workers(1));
    let server = Running::start::<S>(stage.runtime().handle(), hello());
    let mut crowd = Crowd::of(server.address, cores.map(|(_, others)| others));
    crowd.obey(Order::Connect(CONNECTIONS));
    let readings = measure(plan, |requests| batch(&mut crowd, requests, has_context));
    drop(crowd);
    server.end();
    readings
}

/// How many requests a sample makes, warm-up and connecting included.
pub(super) fn requests_of(plan: &Plan) -> usize {
    let measured = plan.iterations.map_or_else(
        || requests_in_batch(plan) * (plan.repetitions(BATCHES) + 1),
        |requests| requests as usize,
    );
    measured + CONNECTIONS
}

fn requests_in_batch(plan: &Plan) -> usize {
    if plan.quick { QUICK_REQUESTS } else { REQUESTS }
}

/// The medians of several batches of so many requests.
fn measure(plan: &Plan, mut batch: impl FnMut(usize) -> Batch) -> Readings {
    if let Some(requests) = plan.iterations {
        batch(requests as usize);
        return Readings::new();
    }
    let requests = requests_in_batch(plan);
    // Warms up caches, branch predictors and the allocator on both sides.
    batch(requests);
    let batches: Vec<Batch> = (0..plan.repetitions(BATCHES))
        .map(|_| batch(requests))
        .collect();
    let metrics: [(&str, Figure); 5] = [
        ("time", |batch| batch.time),
        ("p50", |batch| batch.p50),
        ("p99", |batch| batch.p99),
        ("cpu", |batch| batch.cpu),
        ("clients", |batch| batch.clients),
    ];
    metrics
        .into_iter()
        .fold(Readings::new(), |readings, (metric, value)| {
            let mut values: Vec<f64> = batches.iter().map(value).collect();
            readings.with(metric, stats::median(&mut values))
        })
}

type Figure = fn(&Batch) -> f64;

/// What a batch of requests took, in nanoseconds: per request, except the quantiles.
struct Batch {
    time: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
    clients: f64,
}

fn batch(crowd: &mut Crowd, requests: usize, has_context: bool) -> Batch {
    let cpu = system::cpu_ns();
    let answer = crowd.obey(Order::Load {
        requests,
        has_context,
    });
    let cpu = system::cpu_ns() - cpu;
    let [elapsed, p50, p99, clients] = *answer else {
        panic!("the clients answer with four numbers, got {answer:?}");
    };
    let per_request = |total: u64| total as f64 / requests as f64;
    Batch {
        time: per_request(elapsed),
        p50: p50 as f64,
        p99: p99 as f64,
        cpu: per_request(cpu),
        clients: per_request(clients),
    }
}

const CONNECTIONS: usize = 32;
const BATCHES: usize = 15;
const REQUESTS: usize = 20_000;
const QUICK_REQUESTS: usize = 5_000;
