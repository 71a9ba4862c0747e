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

use crate::block::Special;
use crate::deadline::Tick;
use crate::node::Node;
use crate::source;
use crate::state::{DONE, SPECIAL, STOP, TIMED, acquire_done};
use crate::sync::Arc;
use std::collections::{HashMap, HashSet};
use std::ptr;

/// Where a walk along plain parents ended.
enum Walk<'a> {
    Live,
    Done(&'a Node),
    Special(&'a Node),
}

/// The nearest node that is done, if that makes `start` done.
///
/// A special node that turns out to be done takes over the cause on the way.
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

fn find_slow(node: &Node) -> Option<&Node> {
    match walk(node) {
        Walk::Live => None,
        Walk::Done(found) => Some(found),
        Walk::Special(special) => evaluate(special).then_some(special),
    }
}

fn walk(start: &Node) -> Walk<'_> {
    let mut node = start;
    let mut stop = STOP;
    loop {
        let bits = node.state.peek();
        if bits.has(stop) {
            if bits.has(DONE) {
                acquire_done();
                return Walk::Done(node);
            }
            if bits.has(SPECIAL) {
                return Walk::Special(node);
            }
            if node.expire() {
                return Walk::Done(node);
            }
            stop = DONE | SPECIAL;
        }
        match node.up() {
            Some(up) => node = up,
            None => return Walk::Live,
        }
    }
}

/// A special node whose parents are being asked, and which of them.
struct Frame<'a> {
    node: &'a Node,
    at: usize,
}

/// What a parent's answer means for the node that asked.
enum Step<'a> {
    Ask(&'a Node),
    Answer(bool),
}

/// Whether a special node is done; then it has its cause.
fn evaluate(special: &Node) -> bool {
    let mut stack = vec![Frame {
        node: special,
        at: 0,
    }];
    let mut live: HashSet<*const Node> = HashSet::new();
    let Some(mut ask) = enter(special) else {
        return source::poll(special);
    };
    loop {
        let mut answer = match walk(ask) {
            Walk::Live => None,
            Walk::Done(found) => Some(found),
            Walk::Special(node) if live.contains(&ptr::from_ref(node)) => None,
            Walk::Special(node) => match enter(node) {
                Some(parent) => {
                    stack.push(Frame { node, at: 0 });
                    ask = parent;
                    continue;
                }
                None => source::poll(node).then_some(node),
            },
        };
        ask = loop {
            let Some(frame) = stack.last_mut() else {
                return answer.is_some();
            };
            match combine(frame, answer) {
                Step::Ask(parent) => break parent,
                Step::Answer(done) => {
                    let node = frame.node;
                    stack.pop();
                    if !done && !stack.is_empty() {
                        live.insert(ptr::from_ref(node));
                    }
                    answer = done.then_some(node);
                }
            }
        };
    }
}

/// The first parent to ask; `None` for a foreign source, which has none.
fn enter(node: &Node) -> Option<&Node> {
    node.parent(0).map(|parent| &**parent)
}

fn combine<'a>(frame: &mut Frame<'a>, answer: Option<&'a Node>) -> Step<'a> {
    let node = frame.node;
    let settled = match (node.special(), answer) {
        (Special::All(_), None) => return Step::Answer(false),
        (Special::Any(_), None) | (Special::All(_), Some(_)) => {
            frame.at += 1;
            match node.parent(frame.at) {
                Some(parent) => return Step::Ask(parent),
                None => answer,
            }
        }
        (Special::Any(_), Some(_)) => answer,
        (Special::Shield(shield), Some(found)) => {
            let cause = found.own_cause();
            answer.filter(|_| cause.is_some_and(|cause| shield.is_over(node, &cause)))
        }
        _ => None,
    };
    let Some(found) = settled else {
        return Step::Answer(false);
    };
    node.adopt(found);
    Step::Answer(true)
}

/// Whether the node or an ancestor that counts for it has one of `bits`.
///
/// A drain or a force reaches through merges (any parent) and shields, but not
/// through `all_of`, whose members do not speak for each other.
pub(crate) fn has_above(start: &Node, bits: u32) -> bool {
    let mut todo = vec![start];
    let mut merged: HashSet<*const Node> = HashSet::new();
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

struct DueFrame<'a> {
    node: &'a Arc<Node>,
    at: usize,
    best: Due<'a>,
}

/// The deadline that `start` is under, and its owner.
pub(crate) fn deadline(start: &Arc<Node>) -> Due<'_> {
    let mut stack: Vec<DueFrame<'_>> = Vec::new();
    let mut known: HashMap<*const Node, Due<'_>> = HashMap::new();
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
