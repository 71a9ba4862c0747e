//! The waker of an alarm: it makes a node look again whether it is done.
//!
//! A timer or a foreign source holds it for as long as it likes. So it refers to its node weakly,
//! and keeps no context alive (spec/context.md C31). `Waker::from(Arc<impl Wake>)` would want an
//! allocation of its own for that; here the node's own weak count serves.

#![allow(
    unsafe_code,
    reason = "a waker whose data is a `Weak`, with no allocation of its own"
)]

use crate::link;
use crate::node::Node;
use crate::sync::{Arc, Weak};
use std::mem::ManuallyDrop;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// The data of all of these is a `Weak<Node>`, by `Weak::into_raw`.
static WEAK: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, forget);

/// A waker that makes `node` look again; without effect once the node is gone.
pub(crate) fn waker(node: &Arc<Node>) -> Waker {
    let data = Weak::into_raw(Arc::downgrade(node));
    // SAFETY: `data` is what the table is for, and the functions there keep to the contract of a
    // `RawWaker`: each clone has a weak count of its own, `wake` and `drop` give it up. A node is
    // shared between threads.
    unsafe { Waker::new(data.cast(), &WEAK) }
}

/// # Safety
/// `data` is that of a waker which is not used up.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the caller's promise; the count stays with the waker that is cloned.
    let weak = ManuallyDrop::new(unsafe { Weak::from_raw(data.cast::<Node>()) });
    RawWaker::new(Weak::into_raw(Weak::clone(&weak)).cast(), &WEAK)
}

/// # Safety
/// As of `clone`; uses the waker up.
unsafe fn wake(data: *const ()) {
    // SAFETY: the caller's promise; the count comes here.
    let weak = unsafe { Weak::from_raw(data.cast::<Node>()) };
    if let Some(node) = weak.upgrade() {
        link::alarmed(&node);
    }
}

/// # Safety
/// As of `clone`.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the caller's promise; the count stays with the waker.
    let weak = ManuallyDrop::new(unsafe { Weak::from_raw(data.cast::<Node>()) });
    if let Some(node) = weak.upgrade() {
        link::alarmed(&node);
    }
}

/// # Safety
/// As of `clone`; uses the waker up.
unsafe fn forget(data: *const ()) {
    // SAFETY: the caller's promise; the count comes here.
    drop(unsafe { Weak::from_raw(data.cast::<Node>()) });
}
