//! Lazy linking: a node enters its parents' lists when something is first registered.
//!
//! Most contexts are made, never waited on, and dropped; they take no lock and stand
//! on no list. The first registration at a node links it, parents first
//! (node invariant 5), and arms the timers that can end it.
//!
//! # Why no wake is lost
//! 1. `attach` announces itself to the parent (`State::open`) before it enters the
//!    list. By the hand-shake in `state.rs` either `attach` learns that the parent is
//!    done and latches the child before marking it `UPLINKED`, or the canceller sweeps
//!    the parent's list under its lock, before or after the entry: after, the entry is
//!    found; before, `swept` is set and `attach` sees that.
//! 2. A registration at an `UPLINKED` node announces itself in the same way to that
//!    node, so it is refused or swept.
//! 3. Timers are armed after the registration, so one that fires at once finds it.

use crate::clock::{Armed, Runtime, arm_thread};
use crate::deadline::Tick;
use crate::node::{Alarm, Links, Node, Special};
use crate::source;
use crate::state::{DONE, LINKED, SPECIAL, TIMED, UPLINKED, WIRED};
use crate::sweep::Sweep;
use crate::sync::{Arc, MutexGuard};
use std::collections::HashSet;
use std::mem;
use std::time::Instant;

/// Opens `node` for a registration: links it and takes its lock.
///
/// `None` if the node is done: then it has a cause, and nothing may be registered.
/// After the registration the caller calls [`wire`].
pub(crate) fn open(node: &Arc<Node>) -> Option<MutexGuard<'_, Links>> {
    if !node.state.read().has(UPLINKED) {
        link(node);
    }
    let block = node.block();
    if node.state.open() {
        return None;
    }
    let links = block.links.lock();
    if links.swept { None } else { Some(links) }
}

/// Links `node` and all its unlinked ancestors, ancestors first.
fn link(node: &Arc<Node>) {
    let above = node.parent(0);
    if node.parent(1).is_none() && above.is_none_or(|up| up.state.read().has(UPLINKED)) {
        attach(node);
        return;
    }
    let mut path = vec![(node, 0)];
    while let Some((top, next)) = path.last_mut() {
        let node = *top;
        if let Some(parent) = node.parent(*next) {
            *next += 1;
            if !parent.state.read().has(UPLINKED) {
                path.push((parent, 0));
            }
        } else {
            attach(node);
            path.pop();
        }
    }
}

/// Enters `node` into the lists of its parents, which are linked already.
fn attach(node: &Arc<Node>) {
    let mut over = false;
    {
        let mut mine = node.block().links.lock();
        if mine.uplinked {
            return;
        }
        let mut at = 0;
        while let Some(parent) = node.parent(at) {
            let block = parent.block();
            over |= parent.state.open();
            // Lock order: the child's lock is held, the parent's is taken.
            let mut theirs = block.links.lock();
            over |= theirs.swept;
            let key = theirs.children.insert(Arc::downgrade(node));
            drop(theirs);
            mine.push_key(at, key);
            at += 1;
        }
        mine.uplinked = true;
    }
    if over {
        // Latches the node if that is what a done parent means for it.
        let _ = node.resolve();
    }
    node.state.note(UPLINKED);
}

/// Arms every timer and source that can end `node`, once in its life.
///
/// They stay armed until their owner is done or dropped, so all nodes below one
/// owner share one timer, whoever came first or leaves first.
pub(crate) fn wire(node: &Arc<Node>) {
    if node.state.read().has(WIRED) {
        return;
    }
    let mut todo = vec![node];
    let mut merged = HashSet::new();
    while let Some(mut node) = todo.pop() {
        loop {
            let bits = node.state.read();
            if bits.has(DONE) {
                finish(node);
                break;
            }
            if bits.has(TIMED) {
                // Deadlines further up are later.
                arm_once(node);
                break;
            }
            if bits.has(SPECIAL) {
                match node.special() {
                    Special::Source(_) => arm_once(node),
                    Special::Any(parents) | Special::All(parents) => {
                        if merged.insert(Arc::as_ptr(node)) {
                            todo.extend(parents.as_slice());
                        }
                    }
                    // A shield whose parent is live is armed when that ends.
                    Special::Shield(shield) if !shield.cut().is_never() => arm_once(node),
                    Special::Shield(_) | Special::No => {}
                }
            }
            match node.up() {
                Some(up) => node = up,
                None => break,
            }
        }
    }
    node.state.note(WIRED);
}

/// Arms what ends `node` from outside the tree, unless that was done before.
pub(crate) fn arm_once(node: &Arc<Node>) {
    let mut links = node.block().links.lock();
    if links.swept || !matches!(links.alarm, Alarm::None) {
        return;
    }
    links.alarm = Alarm::Arming;
    drop(links);
    let armed = node.alarm_waker().and_then(|alarm| match due(node) {
        Some(at) => Runtime::arm(node.runtime(), at, alarm),
        None => source::subscribe(node, alarm),
    });
    keep(node, armed);
}

/// Stores an armed timer; one for a node that is over is dropped, outside the lock.
fn keep(node: &Arc<Node>, armed: Option<Armed>) {
    let mut links = node.block().links.lock();
    let unused = if links.swept {
        armed
    } else {
        let alarm = armed.map_or(Alarm::None, Alarm::Set);
        match mem::replace(&mut links.alarm, alarm) {
            Alarm::Set(old) => Some(old),
            Alarm::None | Alarm::Arming => None,
        }
    };
    drop(links);
    drop(unused);
}

/// The instant at which time alone ends the node; `None` for a foreign source.
fn due(node: &Node) -> Option<Instant> {
    let tick = match node.special() {
        Special::Shield(shield) => shield.cut(),
        _ => node.deadline(),
    };
    (!tick.is_never()).then(|| tick.instant())
}

/// A timer fired or a source has news: ends the node, or arms again.
pub(crate) fn alarmed(node: &Arc<Node>) {
    if node.resolve().is_some() {
        finish(node);
        return;
    }
    // Too early, or the timer's runtime is gone: the timer thread takes over.
    let armed = node.alarm_waker().and_then(|alarm| match due(node) {
        Some(at) => arm_thread(at, alarm),
        None => source::subscribe(node, alarm),
    });
    keep(node, armed);
}

/// Sweeps a node that time or a source has ended, if nobody else has that duty.
///
/// This may run on a runtime's timer driver, so hooks are left to the sweeper.
pub(crate) fn finish(node: &Arc<Node>) {
    if node.state.finish(0).must_sweep
        && let Some(cause) = node.own_cause()
    {
        Sweep::cancel(node, cause).launch_wakes();
    }
}

/// Arms the end of a shield whose parent has just ended.
pub(crate) fn arm_cut(node: &Arc<Node>, cut: Tick) {
    if !cut.is_never() && node.state.read().has(LINKED) {
        arm_once(node);
    }
}
