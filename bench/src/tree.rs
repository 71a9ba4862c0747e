//! What the workloads need of a contender, so that each workload is written once.

use std::time::{Duration, Instant};

/// A tree of cancellation.
pub(crate) trait Tree: 'static {
    /// A handle that keeps its node alive and may cancel it.
    type Node: Send + Sync + 'static;

    fn root() -> Self::Node;
    fn child(parent: &Self::Node) -> Self::Node;
    fn is_done(node: &Self::Node) -> bool;
    fn cancel(node: &Self::Node);
    /// Resolves when the node is done.
    fn wait(node: &Self::Node) -> impl Future + Send;
}

/// A tree that can run a future until it is cancelled.
pub(crate) trait Runs: Tree {
    fn run<F: Future>(node: &Self::Node, future: F) -> impl Future;
}

/// Something that gives one piece of work a deadline of its own.
pub(crate) trait Deadlines: 'static {
    type Parent: Send + Sync + 'static;
    /// A handle of a child that has a deadline.
    type Child: Send + Sync + 'static;

    fn parent() -> Self::Parent;
    /// Makes what a caller makes before it knows whether anybody will wait.
    fn make(parent: &Self::Parent, timeout: Duration) -> impl Sized;
    /// Runs `future` under a new timeout.
    fn run<F: Future>(parent: &Self::Parent, timeout: Duration, future: F) -> impl Future;
    /// Makes a child that ends at `at`.
    fn bounded(parent: &Self::Parent, at: Instant) -> Self::Child;
    /// Resolves when the child is done.
    fn expire(child: &Self::Child) -> impl Future + Send;
}

/// A new root and a chain of `depth` children below it, root first. All of them are kept, because a
/// tree may cancel what loses its owner.
pub(crate) fn chain<T: Tree>(depth: usize) -> Vec<T::Node> {
    let mut nodes = vec![T::root()];
    extend_chain::<T>(&mut nodes, depth);
    nodes
}

/// Adds `depth` further children to the end of a chain that is not empty.
pub(crate) fn extend_chain<T: Tree>(nodes: &mut Vec<T::Node>, depth: usize) {
    for _ in 0..depth {
        let child = T::child(nodes.last().expect("the chain is not empty"));
        nodes.push(child);
    }
}
