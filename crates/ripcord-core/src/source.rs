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
///
/// # Examples
/// ```
/// use ripcord_core::{Armed, Cause, Ctx, Kind, Source};
/// use std::{sync::{Arc, OnceLock, Mutex}, task::Waker};
///
/// #[derive(Default)]
/// struct Token { over: OnceLock<Cause>, alarms: Mutex<Vec<Waker>> }
/// impl Source for Token {
///     fn cause(&self) -> Option<Cause> { self.over.get().cloned() }
///     fn subscribe(&self, alarm: Waker) -> Armed {
///         // Registered first, looked at second: an end in between is not missed.
///         self.alarms.lock().unwrap().push(alarm.clone());
///         if self.over.get().is_some() { alarm.wake(); }
///         Armed::new(())
///     }
/// }
/// let token = Arc::new(Token::default());
/// let ctx = Ctx::from_source(token.clone());
/// assert!(!ctx.is_done());
/// token.over.set(Kind::PeerGone.into()).unwrap();
/// assert_eq!(ctx.check().unwrap_err().kind(), Kind::PeerGone);
/// ```
///
/// # Limitations
/// A source ends a context with a cause and nothing else: it cannot drain or force it.
pub trait Source: Send + Sync {
    /// The cause, if the source is done. Called on every check, so it should be cheap.
    ///
    /// Once it has told a cause, the context keeps that one: a source that goes back to `None`
    /// revives nothing, and one that changes its mind changes nothing (spec/context.md C127).
    fn cause(&self) -> Option<Cause>;

    /// Arranges for `alarm` to be woken when the source is done, at once if it is.
    ///
    /// After a wake that comes too early the context subscribes again. Dropping what
    /// is returned ends the subscription.
    ///
    /// Not called before the first waiter or hook, and then once, early wakes
    /// apart (spec/context.md C126). A wake
    /// from within this call is allowed. What is returned is dropped when the context is done, or
    /// with its last handle, on the thread where that happens.
    fn subscribe(&self, alarm: Waker) -> Armed;
}

/// Asks the source of `node`; if it is done, so is the node from now on.
///
/// The cause becomes the node's own, so the source is not asked again after it has told one.
pub(crate) fn poll(node: &Node) -> bool {
    let Special::Source(source) = node.special() else {
        return false;
    };
    let said = contain(Foreign::Runtime, || source.get()?.cause());
    let Some(Some(cause)) = said else {
        return false;
    };
    node.end_from_outside(node.stamp(cause, Place::Made(node.site())));
    true
}

/// `None` leaves the node without an alarm: it still ends, when somebody looks.
pub(crate) fn subscribe(node: &Node, alarm: Waker) -> Option<Armed> {
    let Special::Source(source) = node.special() else {
        return None;
    };
    contain(Foreign::Runtime, || Some(source.get()?.subscribe(alarm)))?
}
