//! Deadlines that are never reached (W5): by far the most.

use std::hint::black_box;
use std::time::Duration;

use super::run::{Yields, poll_to_the_end, with_context};
use crate::case::{Case, GO, GO_PARENT, Goal, RIPCORD, Readings, TOKIO, TOKIO_UTIL, Unit};
use crate::ours::{self, Ripcord};
use crate::peers::{Tokio, TokioUtil};
use crate::plan::Plan;
use crate::tree::Deadlines;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::micro(
            "deadline/made-dropped",
            "with_timeout made and dropped, never waited on",
            Goal::of_go(0.25),
        )
        .metric(
            "timer_arms",
            "timers touched per operation",
            Unit::Count,
            Goal::at_most(0.0),
        )
        .rust(RIPCORD, made_dropped_by_ripcord)
        .rust(TOKIO_UTIL, made_dropped::<TokioUtil>)
        .rust(TOKIO, made_dropped::<Tokio>)
        .go(GO)
        .go(GO_PARENT),
        Case::two_threads(
            "deadline/made-dropped-two-threads",
            "the same by 2 threads, one parent",
            None,
        )
        .rust(RIPCORD, made_dropped_on_two_threads::<Ripcord>)
        .rust(TOKIO_UTIL, made_dropped_on_two_threads::<TokioUtil>)
        .rust(TOKIO, made_dropped_on_two_threads::<Tokio>)
        .go(GO)
        .go(GO_PARENT),
        Case::micro(
            "deadline/run-ready",
            "a future that is ready at once, under a new timeout",
            None,
        )
        .rust(RIPCORD, run::<Ripcord, 0>)
        .rust(TOKIO_UTIL, run::<TokioUtil, 0>)
        .rust(TOKIO, run::<Tokio, 0>),
        Case::micro(
            "deadline/run-pending-once",
            "a future that is pending once, under a new timeout",
            None,
        )
        .rust(RIPCORD, run::<Ripcord, 1>)
        .rust(TOKIO_UTIL, run::<TokioUtil, 1>)
        .rust(TOKIO, run::<Tokio, 1>),
    ]
}

fn made_dropped<T: Deadlines>(plan: &Plan) -> Readings {
    let parent = T::parent();
    plan.each(|| drop(black_box(T::make(black_box(&parent), TIMEOUT))))
}

fn made_dropped_by_ripcord(plan: &Plan) -> Readings {
    let readings = made_dropped::<Ripcord>(plan);
    if plan.iterations.is_some() {
        return readings;
    }
    readings.with("timer_arms", ours::timer_arms_per_timeout(10_000, TIMEOUT))
}

fn made_dropped_on_two_threads<T: Deadlines>(plan: &Plan) -> Readings {
    let parent = T::parent();
    plan.on_two_threads(|_| drop(black_box(T::make(black_box(&parent), TIMEOUT))))
}

fn run<T: Deadlines, const YIELDS: u32>(plan: &Plan) -> Readings {
    let parent = T::parent();
    with_context(plan, |cx| {
        plan.each(|| {
            poll_to_the_end(
                T::run(black_box(&parent), TIMEOUT, Yields(YIELDS)),
                YIELDS,
                cx,
            );
        })
    })
}

const TIMEOUT: Duration = Duration::from_secs(30);
