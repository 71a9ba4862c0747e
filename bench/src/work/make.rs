//! Making children and waiters and dropping them (W2): what a context costs that nothing happens to.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll};

use crate::case::{Case, GO, Goal, RIPCORD, Readings, TOKIO_UTIL, WAKERS};
use crate::ours::{self, Ripcord};
use crate::peers::{TokioUtil, Wakers};
use crate::plan::Plan;
use crate::tree::{Tree, chain};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::micro(
            "make/child-drop",
            "child made and dropped",
            Goal::of_tokio_util(0.7),
        )
        .rust(RIPCORD, child_drop::<Ripcord>)
        .rust(TOKIO_UTIL, child_drop::<TokioUtil>)
        .go(GO),
        Case::micro(
            "make/child-disarm",
            "child made, its right to cancel given up, dropped",
            None,
        )
        .rust(RIPCORD, ours::child_disarm)
        .rust(TOKIO_UTIL, child_drop::<TokioUtil>),
        Case::micro(
            "make/child-cancel",
            "child made, cancelled and dropped",
            None,
        )
        .rust(RIPCORD, child_cancel::<Ripcord>)
        .rust(TOKIO_UTIL, child_cancel::<TokioUtil>)
        .go(GO),
        Case::two_threads(
            "make/child-drop-two-threads",
            "child made and dropped by 2 threads, one parent",
            Goal::of_tokio_util(0.2),
        )
        .rust(RIPCORD, child_drop_one_parent::<Ripcord>)
        .rust(TOKIO_UTIL, child_drop_one_parent::<TokioUtil>)
        .go(GO),
        Case::two_threads(
            "make/child-drop-own-parents",
            "child made and dropped by 2 threads, own parents",
            None,
        )
        .rust(RIPCORD, child_drop_own_parents::<Ripcord>)
        .rust(TOKIO_UTIL, child_drop_own_parents::<TokioUtil>)
        .go(GO),
        Case::micro("make/waiter", "waiter registered and dropped", None)
            .rust(RIPCORD, waiter::<Ripcord>)
            .rust(TOKIO_UTIL, waiter::<TokioUtil>),
        Case::two_threads(
            "make/waiter-two-threads",
            "waiter registered and dropped by 2 threads, one node",
            None,
        )
        .rust(RIPCORD, waiter_on_two_threads::<Ripcord>)
        .rust(TOKIO_UTIL, waiter_on_two_threads::<TokioUtil>),
        Case::micro("make/clone", "handle cloned and dropped", None)
            .rust(RIPCORD, ours::clone)
            .rust(TOKIO_UTIL, clone::<TokioUtil>)
            .rust(WAKERS, clone::<Wakers>),
    ]
}

fn child_drop<T: Tree>(plan: &Plan) -> Readings {
    let parent = T::root();
    plan.each(|| drop(black_box(T::child(black_box(&parent)))))
}

fn child_cancel<T: Tree>(plan: &Plan) -> Readings {
    let parent = T::root();
    plan.each(|| T::cancel(black_box(&T::child(black_box(&parent)))))
}

fn child_drop_one_parent<T: Tree>(plan: &Plan) -> Readings {
    let parent = T::root();
    plan.on_two_threads(|_| drop(black_box(T::child(black_box(&parent)))))
}

fn child_drop_own_parents<T: Tree>(plan: &Plan) -> Readings {
    let parents = [T::root(), T::root()];
    plan.on_two_threads(|thread| {
        let parent = parents.get(thread).expect("there are two threads");
        drop(black_box(T::child(black_box(parent))));
    })
}

fn waiter<T: Tree>(plan: &Plan) -> Readings {
    let nodes = chain::<T>(1);
    let node = nodes.last().expect("a chain has a leaf");
    plan.runtime.block_on(async {
        // A real waker of the runtime, whose clone and drop are part of the cost.
        let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        plan.each(|| register_and_drop::<T>(node, &mut Context::from_waker(&waker)))
    })
}

fn waiter_on_two_threads<T: Tree>(plan: &Plan) -> Readings {
    let nodes = chain::<T>(1);
    let node = nodes.last().expect("a chain has a leaf");
    let waker = plan
        .runtime
        .block_on(std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    plan.on_two_threads(|_| register_and_drop::<T>(node, &mut Context::from_waker(&waker)))
}

fn register_and_drop<T: Tree>(node: &T::Node, cx: &mut Context<'_>) {
    let waiting = pin!(T::wait(black_box(node)));
    assert!(
        waiting.poll(cx).is_pending(),
        "a live node lets its waiter go"
    );
}

fn clone<T: Tree<Node: Clone>>(plan: &Plan) -> Readings {
    let nodes = chain::<T>(1);
    let node = nodes.last().expect("a chain has a leaf");
    plan.each(|| drop(black_box(black_box(node).clone())))
}
