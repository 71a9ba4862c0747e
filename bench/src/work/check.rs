//! Asking a context whether it is done (W1): the operation that code does most often.

use std::hint::black_box;
use std::time::Duration;

use crate::case::{Case, GO, Goal, RIPCORD, Readings, TOKIO_UTIL, WAKERS};
use crate::ours::{self, Ripcord};
use crate::peers::{TokioUtil, Wakers};
use crate::plan::Plan;
use crate::tree::{Tree, chain};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::micro(
            "check/depth-1",
            "check a live leaf, depth 1",
            Goal::of_tokio_util(0.35),
        )
        .rust(RIPCORD, live::<Ripcord, 1>)
        .rust(TOKIO_UTIL, live::<TokioUtil, 1>)
        .rust(WAKERS, live::<Wakers, 1>)
        .go(GO),
        Case::micro(
            "check/depth-8",
            "check a live leaf, depth 8",
            Goal::of_tokio_util(1.0),
        )
        .rust(RIPCORD, live::<Ripcord, 8>)
        .rust(TOKIO_UTIL, live::<TokioUtil, 8>)
        .go(GO),
        Case::two_threads(
            "check/two-threads",
            "check one live leaf from 2 threads",
            Goal::of_tokio_util(0.1),
        )
        .rust(RIPCORD, live_on_two_threads::<Ripcord>)
        .rust(TOKIO_UTIL, live_on_two_threads::<TokioUtil>)
        .rust(WAKERS, live_on_two_threads::<Wakers>)
        .go(GO),
        Case::micro("check/cancelled", "check a cancelled leaf, depth 1", None)
            .rust(RIPCORD, cancelled::<Ripcord>)
            .rust(TOKIO_UTIL, cancelled::<TokioUtil>)
            .rust(WAKERS, cancelled::<Wakers>)
            .go(GO),
        Case::micro(
            "check/with-deadline",
            "check a live leaf that has a deadline",
            None,
        )
        .rust(RIPCORD, |plan| {
            ours::check_with_deadline(plan, Duration::from_secs(3_600))
        })
        .go(GO),
    ]
}

fn live<T: Tree, const DEPTH: usize>(plan: &Plan) -> Readings {
    let nodes = chain::<T>(DEPTH);
    let leaf = nodes.last().expect("a chain has a leaf");
    assert!(!T::is_done(leaf), "a live leaf says that it is done");
    plan.each(|| {
        black_box(T::is_done(black_box(leaf)));
    })
}

fn live_on_two_threads<T: Tree>(plan: &Plan) -> Readings {
    let nodes = chain::<T>(1);
    let leaf = nodes.last().expect("a chain has a leaf");
    plan.on_two_threads(|_| {
        black_box(T::is_done(black_box(leaf)));
    })
}

fn cancelled<T: Tree>(plan: &Plan) -> Readings {
    let nodes = chain::<T>(1);
    let (root, leaf) = (
        nodes.first().expect("a chain has a root"),
        nodes.last().expect("and a leaf"),
    );
    T::cancel(root);
    assert!(
        T::is_done(leaf),
        "a leaf below a cancelled root says that it is live"
    );
    plan.each(|| {
        black_box(T::is_done(black_box(leaf)));
    })
}
