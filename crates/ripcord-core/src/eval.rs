//! Questions that a node answers by looking at its ancestors: done? since when due? drained?
//!
//! A plain chain is walked with two loads a level. Nodes with several parents,
//! shields and foreign sources are evaluated with an explicit stack: depth is
//! limited by memory only.
//!
//! # Costs
//! Linear in the number of cancel-ancestors; values and names add none. The clock is
//! read once, at the nearest deadline: those above it are later (a deadline makes a
//! node only where it is tighter). Under a merge each branch is asked once.
//!
//! # What ended first
//! An expiry is noticed when somebody looks, and so is the end of a merge or a shield.
//! The order of looks must not decide: of several ends that one look finds, the instants
//! tell which one counts ([`settle`], [`combine`]). What was once adopted stays.

use crate::block::Special;
use crate::deadline::Tick;
use crate::node::Node;
use crate::source;
use crate::state::{DONE, SPECIAL, STOP, TIMED, acquire_done};
use crate::sync::Arc;
// Not the hashed ones: those ask the system for a seed on each new thread.
use std::collections::{BTreeMap, BTreeSet};
use std::ptr;
use std::time::Instant;

/// Where a walk along plain parents ended.
///
/// A walk ends where the plain rule "done with the parent" ends; what lies beyond a special
/// node is asked with [`evaluate`], and `Passed` carries along what was found before it.
enum Walk<'a> {
    Live,
    Done(&'a Node),
    Special(&'a Node, Option<Passed<'a>>),
}

/// A deadline on the way that has passed, until it is known what ended above.
#[derive(Clone, Copy)]
struct Passed<'a> {
    owner: &'a Node,
    now: Instant,
}

/// The nearest node that is done, if that makes `start` done.
///
/// A special node that turns out to be done takes over the cause on the way.
///
/// The hot path: a live chain without a deadline is one relaxed load and one pointer a level.
/// Everything else is left to [`find_slow`].
#[inline]
pub(crate) fn find(start: &Node) -> Option<&Node> {
    let mut node = start;
    loop {
        if node.state.peek().has(STOP) {
            return find_slow(node);
        }
        match node.up() {
            Some(up) => node = up,
            None => return None,
        }
    }
}

/// Whether anything but a deadline may have ended `start`; then [`find`] tells.
pub(crate) fn may_have_ended(start: &Node) -> bool {
    let mut node = start;
    loop {
        if node.state.peek().has(DONE | SPECIAL) {
            return true;
        }
        match node.up() {
            Some(up) => node = up,
            None => return false,
        }
    }
}

fn find_slow(node: &Node) -> Option<&Node> {
    match walk(node) {
        Walk::Live => None,
        Walk::Done(found) => Some(found),
        Walk::Special(special, passed) => {
            settle(passed, evaluate(special, usize::MAX).then_some(special))
        }
    }
}

/// After a deadline was met, only what is done or special stops the walk: the clock is read
/// once, and a deadline that has passed is not the answer yet, since a cancel further up may
/// have come before it (spec/context.md C21).
fn walk(start: &Node) -> Walk<'_> {
    let mut node = start;
    let mut stop = STOP;
    let mut passed = None;
    let above = loop {
        let bits = node.state.peek();
        if bits.has(stop) {
            if bits.has(DONE) {
                acquire_done();
                break Some(node);
            }
            if bits.has(SPECIAL) {
                return Walk::Special(node, passed);
            }
            // Deadlines further up are later: only a cancel there can have come before.
            let now = node.now();
            if Tick::of(now) >= node.deadline() {
                passed = Some(Passed { owner: node, now });
            }
            stop = DONE | SPECIAL;
        }
        match node.up() {
            Some(up) => node = up,
            None => break None,
        }
    };
    match settle(passed, above) {
        Some(found) => Walk::Done(found),
        None => Walk::Live,
    }
}

/// What ended first: the deadline that has passed on the way, or what is done `above` it.
///
/// An end without an instant was not watched; a tie goes to the deadline.
///
/// The loser of this comparison never shows: an expiry that came second is not stored.
fn settle<'a>(passed: Option<Passed<'a>>, above: Option<&'a Node>) -> Option<&'a Node> {
    let Some(Passed { owner, now }) = passed else {
        return above;
    };
    let came_first = |above: &&Node| ended(above).is_none_or(|at| Tick::of(at) < owner.deadline());
    above.filter(came_first).or_else(|| {
        owner.expire(now);
        Some(owner)
    })
}

/// When a done node ended, where that is known.
fn ended(node: &Node) -> Option<Instant> {
    node.own_cause()?.ended()
}

/// Puts the ends of done nodes in order: at one instant deadlines come before acts.
///
/// `None` sorts first: an end without an instant was not watched, and nothing is known to
/// have come before it (C13, C21).
fn rank(node: &Node) -> (Option<Instant>, bool) {
    let cause = node.own_cause();
    let is_act = cause.as_ref().is_some_and(|cause| cause.due().is_none());
    (cause.and_then(|cause| cause.ended()), is_act)
}

/// Whether the end of a node nobody waits at would come too late to count.
///
/// The clock is not asked, and plain ancestors are looked at for a bounded number of
/// levels, so that dropping a deep tree from below stays linear.
pub(crate) fn is_late(start: &Node) -> bool {
    let mut node = start;
    for _ in 0..LATE_SEARCH {
        let bits = node.state.peek();
        if bits.has(DONE) {
            return true;
        }
        if bits.has(SPECIAL) {
            return find(node).is_some();
        }
        match node.up() {
            Some(up) => node = up,
            None => return false,
        }
    }
    false
}

/// How many levels up a dropped guard looks for an end that came before.
const LATE_SEARCH: usize = 64;

/// A special node whose parents are being asked, and which of them.
///
/// The stack of these grows by one for each special node on the way, not for each level.
struct Frame<'a> {
    node: &'a Node,
    at: usize,
    /// The parent whose end counts, of those asked so far.
    best: Option<&'a Node>,
    /// On the way from the node that asked.
    passed: Option<Passed<'a>>,
}

impl<'a> Frame<'a> {
    fn new(node: &'a Node, passed: Option<Passed<'a>>) -> Self {
        Self {
            node,
            at: 0,
            best: None,
            passed,
        }
    }
}

/// What a parent's answer means for the node that asked.
enum Step<'a> {
    Ask(&'a Node),
    Answer(bool),
}

/// Whether a node is done, as far as that can be told from nearby; then it has its cause.
///
/// For what is made below it: each of a long row of merges would else look at all of
/// those above it.
pub(crate) fn is_done_nearby(start: &Node) -> bool {
    let found = match walk(start) {
        Walk::Live => None,
        Walk::Done(found) => Some(found),
        Walk::Special(special, passed) => {
            settle(passed, evaluate(special, NEARBY).then_some(special))
        }
    };
    if let Some(found) = found.filter(|found| !ptr::eq(*found, start)) {
        start.adopt(found);
    }
    found.is_some()
}

/// How many merges and shields above each other are looked at from nearby.
const NEARBY: usize = 64;

/// Whether a special node is done; then it has its cause. Those more than `depth` above
/// each other are taken for live, and so is what depends on them.
///
/// A special node that was found live is remembered for the rest of this look, so that a
/// lattice of merges is linear in its nodes and not in its paths (spec/context.md C132). One
/// that was found done has adopted its cause, and the next walk stops at its word.
fn evaluate(special: &Node, depth: usize) -> bool {
    let mut stack = vec![Frame::new(special, None)];
    let mut live: BTreeSet<*const Node> = BTreeSet::new();
    let Some(mut ask) = enter(special) else {
        return source::poll(special);
    };
    loop {
        let mut answer = match walk(ask) {
            Walk::Live => None,
            Walk::Done(found) => Some(found),
            Walk::Special(node, passed) if live.contains(&ptr::from_ref(node)) => {
                settle(passed, None)
            }
            Walk::Special(..) if stack.len() >= depth => return false,
            Walk::Special(node, passed) => match enter(node) {
                Some(parent) => {
                    stack.push(Frame::new(node, passed));
                    ask = parent;
                    continue;
                }
                None => settle(passed, source::poll(node).then_some(node)),
            },
        };
        ask = loop {
            let Some(frame) = stack.last_mut() else {
                return answer.is_some();
            };
            match combine(frame, answer) {
                Step::Ask(parent) => break parent,
                Step::Answer(done) => {
                    let (node, passed) = (frame.node, frame.passed);
                    stack.pop();
                    if !done && !stack.is_empty() {
                        live.insert(ptr::from_ref(node));
                    }
                    answer = settle(passed, done.then_some(node));
                }
            }
        };
    }
}

/// The first parent to ask; `None` for a foreign source, which has none.
fn enter(node: &Node) -> Option<&Node> {
    node.parent(0).map(|parent| &**parent)
}

/// Takes a parent's answer into account.
///
/// Of several parents that ended since the last look the first one counts for a merge,
/// and the last one for an `all_of`, by their instants and then by their order. An end
/// that nobody watched has no instant: it is taken for the earliest.
fn combine<'a>(frame: &mut Frame<'a>, answer: Option<&'a Node>) -> Step<'a> {
    let node = frame.node;
    let is_better = |found, best| match node.special() {
        Special::All(_) => rank(found) >= rank(best),
        _ => rank(found) < rank(best),
    };
    frame.best = match (frame.best, answer) {
        (Some(best), Some(found)) if is_better(found, best) => Some(found),
        (best, answer) => best.or(answer),
    };
    match node.special() {
        Special::All(_) if answer.is_none() => return Step::Answer(false),
        Special::All(_) | Special::Any(_) => {
            frame.at += 1;
            if let Some(parent) = node.parent(frame.at) {
                return Step::Ask(parent);
            }
        }
        Special::Shield(_) | Special::Source(_) | Special::No => {}
    }
    let Some(found) = frame.best else {
        return Step::Answer(false);
    };
    let Special::Shield(shield) = node.special() else {
        node.adopt(found);
        return Step::Answer(true);
    };
    let Some(cause) = found.own_cause() else {
        return Step::Answer(false);
    };
    let since = shield.over_since(node, &cause);
    if let Some(at) = since {
        node.end(cause.relayed(at));
    }
    Step::Answer(since.is_some())
}

/// Whether the node or an ancestor that counts for it has one of `bits`.
///
/// A drain or a force reaches through merges (any parent) and shields, but not
/// through `all_of`, whose members do not speak for each other.
///
/// Order does not matter here: the bits asked for are never cleared and carry no cause.
pub(crate) fn has_above(start: &Node, bits: u32) -> bool {
    let mut todo = vec![start];
    let mut merged: BTreeSet<*const Node> = BTreeSet::new();
    while let Some(mut node) = todo.pop() {
        loop {
            let now = node.state.peek();
            if now.has(bits) {
                return true;
            }
            if now.has(SPECIAL) {
                match node.special() {
                    Special::All(_) | Special::Source(_) => break,
                    Special::Any(parents) => {
                        if merged.insert(ptr::from_ref(node)) {
                            todo.extend(parents.as_slice().iter().map(|parent| &**parent));
                        }
                        break;
                    }
                    Special::Shield(_) | Special::No => {}
                }
            }
            match node.up() {
                Some(up) => node = up,
                None => break,
            }
        }
    }
    false
}

type Due<'a> = Option<(Tick, &'a Arc<Node>)>;

/// Like [`Frame`], for the search of the deadline; it reads no clock.
struct DueFrame<'a> {
    node: &'a Arc<Node>,
    at: usize,
    best: Due<'a>,
}

/// The deadline that `start` is under, and its owner.
///
/// On a plain chain it is the first one met, since a deadline makes a node only where it is
/// tighter. A merge takes the earliest of its parents', an `all_of` the latest, if all have
/// one, and a shield adds its grace (C68, C82).
pub(crate) fn deadline(start: &Arc<Node>) -> Due<'_> {
    let mut stack: Vec<DueFrame<'_>> = Vec::new();
    let mut known: BTreeMap<*const Node, Due<'_>> = BTreeMap::new();
    let mut node = start;
    loop {
        let bits = node.state.peek();
        let mut due = if bits.has(TIMED) {
            Some((node.deadline(), node))
        } else if bits.has(SPECIAL) {
            match (known.get(&Arc::as_ptr(node)), node.parent(0)) {
                (Some(due), _) => *due,
                (None, None) => None,
                (None, Some(parent)) => {
                    stack.push(DueFrame {
                        node,
                        at: 0,
                        best: None,
                    });
                    node = parent;
                    continue;
                }
            }
        } else if let Some(up) = node.up() {
            node = up;
            continue;
        } else {
            None
        };
        node = loop {
            let Some(frame) = stack.last_mut() else {
                return due;
            };
            if let Some(parent) = fold(frame, due) {
                break parent;
            }
            due = frame.best;
            known.insert(Arc::as_ptr(frame.node), due);
            stack.pop();
        };
    }
}

/// Takes a parent's deadline into account; the next parent to ask, if there is one.
fn fold<'a>(frame: &mut DueFrame<'a>, due: Due<'a>) -> Option<&'a Arc<Node>> {
    let is_first = frame.at == 0;
    match frame.node.special() {
        Special::Any(_) => {
            frame.best = match (frame.best, due) {
                (Some(best), Some(due)) => Some(if due.0 < best.0 { due } else { best }),
                (best, due) => best.or(due),
            };
        }
        Special::All(_) => {
            frame.best = match (frame.best, due) {
                (_, Some(due)) if is_first => Some(due),
                (Some(best), Some(due)) => Some(if due.0 > best.0 { due } else { best }),
                _ => {
                    frame.best = None;
                    return None;
                }
            };
        }
        Special::Shield(shield) => {
            frame.best = due.and_then(|(tick, owner)| Some((shield.extend(tick)?, owner)));
            return None;
        }
        Special::No | Special::Source(_) => return None,
    }
    frame.at += 1;
    frame.node.parent(frame.at)
}
