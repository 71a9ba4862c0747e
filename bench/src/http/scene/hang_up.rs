//! How soon a request knows that its client has left, among ten thousand watched connections.
//!
//! Two hundred of them wait for an answer, and their clients close them one by one. A latency is
//! from just before the client's `close` to what is measured, by the clock that both processes read.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use ripcord_core::{Cause, Kind as CauseKind};
use ripcord_http::RequestCtx;

use super::crowd::Crowd;
use super::order::{Order, Span};
use super::servers::{Axum, Ripcord, Running, Serves, hello};
use super::system;
use crate::case::{AXUM, Case, Goal, Kind, RIPCORD, Readings, Unit};
use crate::plan::Plan;
use crate::stats;

pub(super) fn cases() -> Vec<Case> {
    let nanoseconds = Unit::Nanoseconds;
    let case = Case::new(
        Kind::Scene,
        "hang-up/10000",
        "200 waiting requests among 10,000 connections, their clients leave",
    )
    .size(10_000)
    .metric("p50", "context ends, median", nanoseconds, None)
    .metric(
        "p99",
        "context ends, 99th percentile",
        nanoseconds,
        Goal::at_most(1e6),
    )
    .metric("max", "context ends, worst", nanoseconds, None)
    .metric("dropped_p50", "handler dropped, median", nanoseconds, None)
    .metric(
        "dropped_p99",
        "handler dropped, 99th percentile",
        nanoseconds,
        None,
    )
    .aside("connections", "connections", Unit::Count)
    .rust(RIPCORD, |plan| hang_up::<Ripcord>(plan, with_context, true))
    .rust(AXUM, |plan| hang_up::<Axum>(plan, without_context, false));
    vec![case]
}

/// A handler that waits for ever, and a board on which its end is written.
type App = fn(&Arc<Board>) -> Router;

fn hang_up<S: Serves>(plan: &Plan, app: App, has_context: bool) -> Readings {
    let connections = system::connections_of(plan.size);
    let board = Arc::new(Board::of(connections));
    let app = hello().merge(app(&board));
    let server = Running::start::<S>(plan.runtime.handle(), app);
    let mut crowd = Crowd::of(server.address, None);
    crowd.obey(Order::Connect(connections));
    let mut ended: Vec<f64> = Vec::new();
    let mut dropped: Vec<f64> = Vec::new();
    for group in 0..plan.repetitions(GROUPS) {
        let span = Span {
            first: group * WAITING,
            count: WAITING,
        };
        let total = span.indexes().end;
        crowd.obey(Order::Ask(span));
        wait_for(&board.waiting, total);
        std::thread::sleep(SETTLING);
        let left = crowd.obey(Order::Leave(span));
        dropped.extend(board.dropped.latencies(span, &left, total));
        if has_context {
            ended.extend(board.ended.latencies(span, &left, total));
        }
    }
    crowd.obey(Order::LeaveAll);
    server.end();
    let readings = Readings::new()
        .with("dropped_p50", stats::quantile(&mut dropped, 0.5))
        .with("dropped_p99", stats::quantile(&mut dropped, 0.99))
        .with("connections", connections as f64);
    if !has_context {
        return readings;
    }
    readings
        .with("p50", stats::quantile(&mut ended, 0.5))
        .with("p99", stats::quantile(&mut ended, 0.99))
        .with("max", stats::quantile(&mut ended, 1.0))
}

/// The handler has a context, whose cause a task of its own writes down.
fn with_context(board: &Arc<Board>) -> Router {
    let board = Arc::clone(board);
    let handler = move |Path(index): Path<usize>, RequestCtx(ctx): RequestCtx| {
        let (board, witness) = (Arc::clone(&board), Arc::clone(&board));
        async move {
            tokio::spawn(async move { witness.ended(index, &ctx.done().await) });
            board.wait_until_dropped(index).await
        }
    };
    Router::new().route("/wait/{index}", get(handler))
}

/// The handler learns of its client's leaving by its own drop only.
fn without_context(board: &Arc<Board>) -> Router {
    let board = Arc::clone(board);
    let handler = move |Path(index): Path<usize>| Arc::clone(&board).wait_until_dropped(index);
    Router::new().route("/wait/{index}", get(handler))
}

/// Where the ends of requests are written, by the index of their connection.
#[derive(Debug)]
struct Board {
    /// The same moment by both clocks.
    epoch: (Instant, u64),
    waiting: AtomicUsize,
    /// The context ended, by the moment that its cause tells.
    ended: Moments,
    dropped: Moments,
}

impl Board {
    fn of(connections: usize) -> Board {
        Board {
            epoch: (Instant::now(), system::monotonic_ns()),
            waiting: AtomicUsize::new(0),
            ended: Moments::of(connections),
            dropped: Moments::of(connections),
        }
    }

    fn ended(&self, index: usize, cause: &Cause) {
        assert_eq!(cause.kind(), CauseKind::PeerGone, "{cause}");
        let at = cause.at().expect("a cause of a hang-up has its moment");
        let (epoch, epoch_ns) = self.epoch;
        let after = at.duration_since(epoch).as_nanos() as u64;
        self.ended.write(index, epoch_ns + after);
    }

    async fn wait_until_dropped(self: Arc<Self>, index: usize) -> &'static str {
        // Release: the handler has begun; pairs with the Acquire in `wait_for`.
        self.waiting.fetch_add(1, Release);
        let _leaving = Leaving { board: self, index };
        std::future::pending().await
    }
}

/// Writes down when the handler that holds it is dropped.
struct Leaving {
    board: Arc<Board>,
    index: usize,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.board.dropped.write(self.index, system::monotonic_ns());
    }
}

/// A moment for each connection, in nanoseconds.
#[derive(Debug)]
struct Moments {
    at: Box<[AtomicU64]>,
    written: AtomicUsize,
}

impl Moments {
    fn of(connections: usize) -> Moments {
        Moments {
            at: (0..connections).map(|_| AtomicU64::new(0)).collect(),
            written: AtomicUsize::new(0),
        }
    }

    fn write(&self, index: usize, at: u64) {
        let slot = self.at.get(index).expect("each connection has a slot");
        // Relaxed: published by the Release below.
        slot.store(at, Relaxed);
        // Release: publishes the slot; pairs with the Acquire in `wait_for` through the other
        // writers' read-modify-writes, which continue the release sequence.
        self.written.fetch_add(1, Release);
    }

    /// Waits until `total` were written, and gives how long after its client's leaving each was.
    fn latencies(&self, span: Span, left: &[u64], total: usize) -> Vec<f64> {
        wait_for(&self.written, total);
        let slots = self.at.get(span.indexes()).expect("a span of connections");
        // Relaxed: ordered by the Acquire in `wait_for`.
        let moments = slots.iter().map(|slot| slot.load(Relaxed));
        moments
            .zip(left)
            .map(|(at, left)| at.saturating_sub(*left) as f64)
            .collect()
    }
}

/// Waits until `counter` is `total`.
///
/// # Panics
/// When that takes far too long: somebody was not noticed at all.
fn wait_for(counter: &AtomicUsize, total: usize) {
    let begin = Instant::now();
    // Acquire: pairs with the Release of whoever counts.
    while counter.load(Acquire) < total {
        let seen = counter.load(Relaxed); // counter
        assert!(begin.elapsed() < PATIENCE, "only {seen} of {total}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How many requests wait at a time.
const WAITING: usize = 200;
/// How often that is done in a sample, each time with other connections.
const GROUPS: usize = 5;
/// Until the server surely sleeps.
const SETTLING: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(20);
