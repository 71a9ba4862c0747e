//! What a connection costs that does nothing: heap and CPU of a server with ten thousand of them.
//!
//! Each has made one request, so that it is an idle keep-alive connection and not one that has yet
//! to say which protocol it speaks.

use std::time::Duration;

use super::crowd::Crowd;
use super::order::Order;
use super::servers::{Hyper, Ripcord, RipcordServer, Running, Serves, hello};
use super::{RIPCORD_SERVER, system};
use crate::alloc;
use crate::case::{Case, Goal, HYPER, Kind, RIPCORD, Readings, Unit};
use crate::plan::Plan;
use crate::process;

pub(super) fn cases() -> Vec<Case> {
    let case = Case::new(
        Kind::Scene,
        "idle/10000",
        "10,000 idle connections, each after one request",
    )
    .size(10_000)
    .metric("heap", "heap per connection", Unit::Bytes, None)
    .metric(
        "beyond",
        "heap per connection beyond hyper's",
        Unit::Bytes,
        Goal::at_most(200.0),
    )
    .metric(
        "cpu",
        "CPU in 5 s of idleness",
        Unit::Nanoseconds,
        Goal::at_most(10e6),
    )
    .aside("blocks", "blocks", Unit::Count)
    .aside("rss", "resident", Unit::Bytes)
    .aside("connections", "connections", Unit::Count)
    .rust(RIPCORD, beside_hyper::<Ripcord>)
    .rust(RIPCORD_SERVER, beside_hyper::<RipcordServer>)
    .rust(HYPER, |plan| hold::<Hyper>(plan, true).readings());
    vec![case]
}

/// What a server holds for its idle connections.
struct Held {
    /// Those that count.
    connections: usize,
    heap: f64,
    blocks: f64,
    resident: Option<f64>,
    cpu: Option<f64>,
}

/// The contender first, on a fresh heap; then hyper for the difference, which no memory that was
/// freed before can touch, since bytes are counted as they are asked for.
fn beside_hyper<S: Serves>(plan: &Plan) -> Readings {
    let own = hold::<S>(plan, true);
    let hyper = hold::<Hyper>(plan, false);
    assert_eq!(own.connections, hyper.connections);
    let beyond = own.heap - hyper.heap;
    own.readings().with("beyond", beyond)
}

fn hold<S: Serves>(plan: &Plan, watches_cpu: bool) -> Held {
    let connections = system::connections_of(plan.size) - WARM_UP;
    let runtime = plan.runtime.handle();
    let server = Running::start::<S>(runtime, hello());
    let mut crowd = Crowd::of(server.address, None);
    // What is made once is not a connection's.
    crowd.obey(Order::Connect(WARM_UP));
    let resident = process::resident_bytes();
    let ((), counts) = alloc::count(|| {
        crowd.obey(Order::Connect(connections));
        // The last answer is read before the server's task is back from writing it.
        std::thread::sleep(SETTLING);
    });
    let resident = process::resident_bytes().zip(resident);
    let per_connection = |total: f64| total / connections as f64;
    let held = Held {
        connections,
        heap: per_connection(counts.bytes_held()),
        blocks: per_connection(counts.blocks_held()),
        resident: resident.map(|(after, before)| per_connection(after as f64 - before as f64)),
        cpu: watches_cpu.then(|| idle_cpu(plan.quick)),
    };
    crowd.obey(Order::LeaveAll);
    server.end();
    held
}

/// Nanoseconds of CPU in five seconds in which nothing happens; from one second in a quick run.
fn idle_cpu(is_quick: bool) -> f64 {
    let parts = if is_quick { 5 } else { 1 };
    let before = system::cpu_ns();
    std::thread::sleep(IDLENESS / parts);
    (system::cpu_ns() - before) as f64 * f64::from(parts)
}

impl Held {
    fn readings(&self) -> Readings {
        let readings = Readings::new()
            .with("heap", self.heap.round())
            .with("blocks", self.blocks)
            .with("connections", (self.connections + WARM_UP) as f64);
        let rest = [("rss", self.resident), ("cpu", self.cpu)];
        rest.into_iter()
            .fold(readings, |readings, (metric, value)| match value {
                Some(value) => readings.with(metric, value),
                None => readings,
            })
    }
}

const WARM_UP: usize = 100;
const SETTLING: Duration = Duration::from_millis(200);
const IDLENESS: Duration = Duration::from_secs(5);
