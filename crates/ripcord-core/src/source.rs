//! Foreign sources: another library's token, or a user's own node, as a parent.

use crate::block::Special;
use crate::cause::{Cause, Place};
use crate::clock::Armed;
use crate::node::Node;
use crate::panics::{Foreign, contain};
use std::task::Waker;

/// Something outside the tree that can end a context.
///
/// One source serves any number of contexts below it, with one subscription, made
/// when the first of them has somebody waiting. No task runs for it.
///
/// Both methods are called without a lock held, from any thread. A panic in one is
/// contained and taken for "not done" or "cannot subscribe".
pub trait Source: Send + Sync {
    /// The cause, if the source is done. Called on every check, so it should be cheap.
    fn cause(&self) -> Option<Cause>;

    /// Arranges for `alarm` to be woken when the source is done, at once if it is.
    ///
    /// After a wake that comes too early the context subscribes again. Dropping what
    /// is returned ends the subscription.
    fn subscribe(&self, alarm: Waker) -> Armed;
}

/// Asks the source of `node`; if it is done, so is the node from now on.
pub(crate) fn poll(node: &Node) -> bool {
    let Special::Source(source) = node.special() else {
        return false;
    };
    let Some(Some(cause)) = contain(Foreign::Runtime, || source.cause()) else {
        return false;
    };
    let cause = node.stamp(cause, Place::Made(node.site()));
    node.end(cause);
    true
}

pub(crate) fn subscribe(node: &Node, alarm: Waker) -> Option<Armed> {
    let Special::Source(source) = node.special() else {
        return None;
    };
    contain(Foreign::Runtime, || source.subscribe(alarm))
}
