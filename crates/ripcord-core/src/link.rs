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
//! 2. Nobody sweeps a node that entered its parent's list too late. So nothing may be
//!    registered there before it is latched: each thread comes either through `attach`,
//!    which latches it on the way out if `over` is set, by whomever, or finds `UPLINKED`,
//!    which was set after that.
//! 3. A registration at an `UPLINKED` node announces itself in the same way to that
//!    node, so it is refused or swept.
//! 4. Timers are armed after the registration, so one that fires at once finds it.

use crate::alarm;
use crate::block::{Links, Special, disarm};
use crate::clock::{Armed, Runtime};
use crate::deadline::Tick;
use crate::node::Node;
use crate::source;
use crate::state::{DONE, LINKED, SHELTERS, SPECIAL, TIMED, UPLINKED, WIRED};
use crate::sweep::Sweep;
use crate::sync::{Arc, MutexGuard};
use std::collections::BTreeSet;
use std::mem;
use std::time::Instant;

/// Opens `node` for a registration: links it and takes its lock.
///
/// `None` if the node is done: then it has a cause, and nothing may be registered.
/// After the registration the caller calls [`wire`].
pub(crate) fn open(node: &Arc<Node>) -> Option<MutexGuard<'_, Links>> {
    enter(node);
    let block = node.block();
    if node.state.open() {
        return None;
    }
    let links = block.links.lock();
    if links.swept { None } else { Some(links) }
}

/// Enters `node` into its parents' lists, so that their end reaches it even if nothing
/// is registered there.
pub(crate) fn enter(node: &Arc<Node>) {
    if !node.state.read().has(UPLINKED) {
        link(node);
    }
}

/// Links `node` and all its unlinked ancestors, ancestors first.
///
/// The common case, a chain whose parent is linked already, takes no allocation. Otherwise an
/// explicit stack walks up: depth is limited by memory only (spec/context.md C9).
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
///
/// Several threads may come here for one node at a time: the node's own lock lets one of them
/// do the work, and the others wait for it and read `over`. `UPLINKED` is set by each, after
/// the latch, which is what argument 2 needs.
fn attach(node: &Arc<Node>) {
    let over = {
        let mut mine = node.block().links.lock();
        if !mine.uplinked {
            let mut at = 0;
            while let Some(parent) = node.parent(at) {
                let block = parent.block();
                mine.over |= parent.state.open();
                // Lock order: the child's lock is held, the parent's is taken.
                let mut theirs = block.links.lock();
                let child = Arc::downgrade(node);
                let key = if theirs.swept {
                    mine.over = true;
                    theirs.keep(child);
                    0
                } else {
                    theirs.children.insert(child)
                };
                drop(theirs);
                mine.push_key(at, key);
                at += 1;
            }
            mine.uplinked = true;
        }
        mine.over
    };
    if over {
        // The end of another parent may be on its way to the list that this thread has left.
        node.state.meet();
        // Latches the node if that is what a done parent means for it: by whoever comes
        // here, since the one who entered it may not have come so far yet (argument 2).
        let _ = node.resolve();
    }
    node.state.note(UPLINKED);
}

/// Arms every timer and source that can end `node`, once in its life.
///
/// They stay armed until their owner is done or dropped, so all nodes below one
/// owner share one timer, whoever came first or leaves first.
///
/// A deadline further up than the first one is not armed: it is later, so it cannot end the
/// node first. Below an `all_of` that no longer holds, and each member is wired for itself.
pub(crate) fn wire(node: &Arc<Node>) {
    if node.state.read().has(WIRED) {
        return;
    }
    let mut todo = vec![(node, false)];
    let mut merged = BTreeSet::new();
    while let Some((mut node, mut is_timed)) = todo.pop() {
        loop {
            let bits = node.state.read();
            if bits.has(DONE) {
                finish_elsewhere(node);
                break;
            }
            if bits.has(TIMED) && !is_timed {
                // Deadlines further up are later, but a source or a shield may end first.
                arm_once(node);
                is_timed = true;
            }
            if bits.has(SPECIAL) {
                match node.special() {
                    Special::Source(_) => arm_once(node),
                    Special::Any(parents) | Special::All(parents) => {
                        // What ends one member of an `all_of` does not end the others.
                        is_timed &= matches!(node.special(), Special::Any(_));
                        if merged.insert((Arc::as_ptr(node), is_timed)) {
                            todo.extend(parents.as_slice().iter().map(|up| (up, is_timed)));
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
///
/// Of several callers one arms; the others find `is_arming` or the alarm and leave.
pub(crate) fn arm_once(node: &Arc<Node>) {
    let mut links = node.block().links.lock();
    if links.swept || links.is_arming() || links.alarm.is_some() {
        return;
    }
    let due = due(node);
    let ticket = links.begin_arming(due.is_none());
    drop(links);
    let alarm = alarm::waker(node);
    let armed = match due {
        Some(at) => Runtime::arm(node.runtime(), at, alarm),
        None => source::subscribe(node, alarm),
    };
    keep(node, ticket, armed);
}

/// Stores an armed timer or subscription, if it is still the ticket's turn.
///
/// Otherwise the node is over, or the alarm came meanwhile and another takes its place:
/// then it is dropped, outside the lock.
fn keep(node: &Arc<Node>, ticket: u8, armed: Option<Armed>) {
    let mut links = node.block().links.lock();
    let unused = if links.swept || links.arming != ticket {
        armed
    } else {
        links.arming &= !1;
        mem::replace(&mut links.alarm, armed)
    };
    drop(links);
    disarm(unused);
}

/// The instant at which time alone ends the node; `None` for a foreign source.
///
/// For a shield it is the end of its grace, which is known once its parent has ended.
fn due(node: &Node) -> Option<Instant> {
    let tick = match node.special() {
        Special::Shield(shield) => shield.cut(),
        _ => node.deadline(),
    };
    (!tick.is_never()).then(|| tick.instant())
}

/// A timer fired or a source has news: ends the node, or arms again.
///
/// Nothing is taken for granted here: a wake may be early, late, repeated, or for a node that
/// ended otherwise. The node looks for itself, and the clock decides.
pub(crate) fn alarmed(node: &Arc<Node>) {
    if node.resolve() {
        finish(node);
        return;
    }
    let due = due(node);
    let mut links = node.block().links.lock();
    if links.swept || links.is_subscriber() {
        // A source that wakes from within `subscribe` without a cause: to subscribe again
        // might go on for ever. A wake from elsewhere at that time may have spent what is
        // being subscribed, so it counts.
        return;
    }
    let ticket = links.begin_arming(due.is_none());
    let old = links.alarm.take();
    drop(links);
    disarm(old);
    let alarm = alarm::waker(node);
    let armed = match due {
        // Too early, or the timer's runtime is gone: the timer thread takes over.
        Some(at) => Runtime::arm_thread(node.runtime(), at, alarm),
        None => source::subscribe(node, alarm),
    };
    keep(node, ticket, armed);
}

/// Sweeps a node that time or a source has ended, if nobody else has that duty.
///
/// This may run on a runtime's timer driver, so hooks are left to the sweeper.
pub(crate) fn finish(node: &Arc<Node>) {
    if node.state.finish(0).must_sweep {
        Sweep::cancel(node).launch_wakes(node);
    }
}

/// Like [`finish`], for a thread that only registers: it must not have to wait for the
/// wakers of others.
fn finish_elsewhere(node: &Arc<Node>) {
    if node.state.finish(0).must_sweep {
        Sweep::cancel(node).hand_over(node);
    }
}

/// Arms the end of a shield whose parent has just ended.
///
/// Without anybody registered below no alarm is needed: the next look finds the grace over.
/// Who opens the shield after that was asked sees the cut, and arms it in [`wire`].
pub(crate) fn arm_cut(node: &Arc<Node>, cut: Tick) {
    if !cut.is_never() && node.state.meet().has(LINKED) {
        arm_once(node);
    }
}

/// Links a shield, so that a cancel or a force of any ancestor finds it.
///
/// The ancestors are marked before the shield enters a list: a sweep that takes it from
/// there knows, when it leaves each of them, that it has to keep them for a later
/// force. A sweep that had left one before the shield came has not kept it: then an
/// ancestor is done by now, and the shield enters the path itself.
pub(crate) fn link_shield(node: &Arc<Node>) {
    let mut todo = vec![node];
    let mut above = Vec::new();
    while let Some(node) = todo.pop() {
        let mut at = 0;
        while let Some(parent) = node.parent(at) {
            above.push((parent, node));
            if !parent.state.note(SHELTERS).has(SHELTERS) {
                todo.push(parent);
            }
            at += 1;
        }
    }
    enter(node);
    for (parent, child) in above {
        let Some(block) = parent.block_if_any().filter(|block| block.is_emptied()) else {
            continue;
        };
        block.links.lock().keep(Arc::downgrade(child));
    }
}
