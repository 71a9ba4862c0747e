//! Heap bytes per live thing beyond its handle (W7).

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::run::with_context;
use crate::alloc::{self, Counts};
use crate::case::{Case, GO, Goal, Kind, RIPCORD, Readings, TOKIO, TOKIO_UTIL, Unit};
use crate::ours::{self, Ripcord};
use crate::peers::{Tokio, TokioUtil};
use crate::plan::Plan;
use crate::tree::{Deadlines, Tree};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "memory/idle-child",
            "memory per live child, idle",
            Goal::at_most(64.0),
        )
        .rust(RIPCORD, idle::<Ripcord>)
        .rust(TOKIO_UTIL, idle::<TokioUtil>)
        .go(GO),
        case(
            "memory/waiting-child",
            "memory per child with a waiting task, task included",
            None,
        )
        .rust(RIPCORD, waiting::<Ripcord>)
        .rust(TOKIO_UTIL, waiting::<TokioUtil>)
        .rust(TOKIO, waiting_for_nothing)
        .go(GO),
        case(
            "memory/timeout-child",
            "memory per child with a timeout that somebody waits for, no task",
            None,
        )
        .rust(RIPCORD, timeout::<Ripcord>)
        .rust(TOKIO_UTIL, timeout::<TokioUtil>)
        .rust(TOKIO, timeout::<Tokio>)
        .go(GO),
        case("memory/value", "memory per value added", None)
            .rust(RIPCORD, value)
            .go(GO),
    ]
}

fn case(id: &'static str, title: &'static str, goal: Option<Goal>) -> Case {
    Case::new(Kind::Scene, id, title)
        .size(100_000)
        .metric("bytes", "heap per item", Unit::Bytes, goal)
        .aside("blocks", "blocks", Unit::Count)
}

/// What the heap holds per thing that `make` makes, without the handles themselves.
fn held<H>(plan: &Plan, mut make: impl FnMut() -> H) -> Readings {
    let _entered = plan.runtime.enter();
    let mut handles = Vec::with_capacity(plan.size);
    let ((), counts) = alloc::count(|| (0..plan.size).for_each(|_| handles.push(make())));
    black_box(&handles);
    per_item(counts, plan.size)
}

/// To hundredths of a byte: what the runtime's own threads hold or free meanwhile is less.
fn per_item(counts: Counts, items: usize) -> Readings {
    let bytes = counts.bytes_held() / items as f64;
    Readings::new()
        .with("bytes", (bytes * 100.0).round() / 100.0)
        .with("blocks", counts.blocks_held() / items as f64)
}

fn idle<T: Tree>(plan: &Plan) -> Readings {
    let root = T::root();
    held(plan, || T::child(&root))
}

fn value(plan: &Plan) -> Readings {
    let parent = Ripcord::root();
    held(plan, || ours::with_value(&parent))
}

fn waiting<T: Tree>(plan: &Plan) -> Readings {
    let _entered = plan.runtime.enter();
    let root = T::root();
    tasks(plan, || {
        let child = T::child(&root);
        async move {
            POLLED.fetch_add(1, Relaxed); // counter
            T::wait(&child).await;
        }
    })
}

/// The part of [`waiting`] that is the task's own.
fn waiting_for_nothing(plan: &Plan) -> Readings {
    tasks(plan, || async {
        POLLED.fetch_add(1, Relaxed); // counter
        std::future::pending::<()>().await;
    })
}

/// Spawns the futures that `make` gives, and counts when all of them wait.
fn tasks<F: Future<Output = ()> + Send + 'static>(
    plan: &Plan,
    mut make: impl FnMut() -> F,
) -> Readings {
    let ((), counts) = alloc::count(|| {
        (0..plan.size).for_each(|_| drop(plan.runtime.spawn(make())));
        // Relaxed: a counter, which carries nothing.
        while POLLED.load(Relaxed) < plan.size {
            std::thread::sleep(Duration::from_millis(1));
        }
        // A task counts itself at the start of its first poll, so the last ones may still be in it.
        std::thread::sleep(Duration::from_millis(20));
    });
    per_item(counts, plan.size)
}

/// Futures that have been polled once, each in a box, which is counted.
fn timeout<T: Deadlines>(plan: &Plan) -> Readings {
    let parent = T::parent();
    let far = Instant::now() + Duration::from_secs(3_600);
    with_context(plan, |cx| {
        held(plan, || {
            let child = T::bounded(&parent, far);
            let mut waiting = Box::pin(async move { drop(T::expire(&child).await) });
            assert!(
                waiting.as_mut().poll(cx).is_pending(),
                "a deadline in an hour has passed"
            );
            waiting
        })
    })
}

/// How many tasks have been polled; the process runs one sample only.
static POLLED: AtomicUsize = AtomicUsize::new(0);
