//! The state word of a node: its bits, and the only transitions between them.
//!
//! This is the one file where the ordering of a transition is chosen. Every
//! transition is a read-modify-write, so all of them on one word have a total
//! order, and each returns what it needs to know of the word before it.
//!
//! # The three hand-shakes
//! * **Register against finish.** [`State::open`] sets `LINKED` and reports `DONE`;
//!   [`State::finish`] sets `DONE` and reports `LINKED`. Whichever comes second
//!   sees the other: either the one who registers learns that the node is done,
//!   or the one who finishes learns that there is something to sweep.
//! * **Finish against finish.** `SWEEP` is set by the first `finish`; only that
//!   one sweeps.
//! * **End against end.** Two threads that each end one word, and then ask whether the
//!   other's is ended too, come through [`State::meet`] of a third word in between: who
//!   comes second knows what the first one knew. Acquire and Release alone would let
//!   both miss the other.
//!
//! # Who writes which bit
//! | Bits | Written | By |
//! |---|---|---|
//! | what the node is: a view, special, timed, watched and so on | at construction | `Make` |
//! | `DONE` | once | `finish`, or `latch` after a look |
//! | `SWEEP`, `DROPPED` | together with `DONE`, or after a latch | `finish` |
//! | `LINKED` | at most once | `open`, before a registration |
//! | `SHELTERS` | at most once | `note`, before a shield below enters a list |
//! | `UPLINKED`, `WIRED` | at most once | `note`, after the work they tell of |
//! | `DRAINING`, `FORCED`, `SEEN`, `TOLD` | at most once | `note`; the first caller sees it missing |
//!
//! No bit is ever cleared, but `COUNTED` by who takes the node apart and so has it alone. That is why
//! a word that was read before can only tell too little, and never something that has stopped to be true.

use crate::sync::{AtomicU32, Ordering, fence};

/// Asked to finish: no new work, work under way goes on.
pub(crate) const DRAINING: u32 = 1;
/// Done: the cause is in the slot, or `DROPPED` tells how to make it.
pub(crate) const DONE: u32 = 1 << 1;
/// Done, and shields below do not hold any more.
pub(crate) const FORCED: u32 = 1 << 2;
/// Done by a dropped guard that nobody was watching: the cause is made on demand.
pub(crate) const DROPPED: u32 = 1 << 3;
/// A view for values only: it has no state of its own, its parent's counts.
pub(crate) const FORWARD: u32 = 1 << 4;
/// Several parents, a shield or a foreign source: the block says which.
pub(crate) const SPECIAL: u32 = 1 << 5;
/// The node owns a deadline.
pub(crate) const TIMED: u32 = 1 << 6;
/// Something was registered here, or is about to be: a finish must sweep.
pub(crate) const LINKED: u32 = 1 << 7;
/// Somebody took the duty to sweep.
pub(crate) const SWEEP: u32 = 1 << 8;
/// The node stands in the list of each of its parents (or needs not to).
pub(crate) const UPLINKED: u32 = 1 << 9;
/// All timers and sources that can end the node are armed.
pub(crate) const WIRED: u32 = 1 << 10;
/// A watcher above wants to know when a cancel is first seen.
pub(crate) const WATCHED: u32 = 1 << 11;
/// The root has an observer or keeps a register: the node has a record.
pub(crate) const RECORDED: u32 = 1 << 12;
/// The first observation of the end has been noted.
pub(crate) const SEEN: u32 = 1 << 13;
/// Made by `Ctx::todo`.
pub(crate) const TODO: u32 = 1 << 14;

/// A shield stands somewhere below.
pub(crate) const SHELTERS: u32 = 1 << 15;

/// The observer of the tree counts the node, and is told nothing else of it.
pub(crate) const COUNTED: u32 = 1 << 16;
/// It was told of the end of a node that it counts.
pub(crate) const TOLD: u32 = 1 << 17;
/// Made as an entry: work comes in here from outside.
pub(crate) const ENTRY: u32 = 1 << 18;

/// What a child takes over from its parent.
pub(crate) const INHERITED: u32 = WATCHED | RECORDED;
/// Where a plain walk towards the root has to look closer.
pub(crate) const STOP: u32 = DONE | SPECIAL | TIMED;

const _: () = assert!(
    INHERITED & STOP == 0,
    "what is inherited does not end a node"
);

/// A snapshot of the word.
///
/// It says what was, not what is: only missing bits can be outdated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bits(pub(crate) u32);

impl Bits {
    /// Whether any of the bits in `mask` is set, not all of them.
    pub(crate) const fn has(self, mask: u32) -> bool {
        self.0 & mask != 0
    }

    /// Whether an observer is told of the node as such, or a register has it, and it is not only counted.
    pub(crate) const fn is_told_each(self) -> bool {
        self.0 & (RECORDED | COUNTED) == RECORDED
    }
}

/// What [`State::finish`] found.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Finish {
    /// The caller has to sweep what is registered here.
    pub(crate) must_sweep: bool,
}

/// The only place where a node's phase and marks are stored; everything else is derived from
/// words like this one, up the tree.
pub(crate) struct State(AtomicU32);

impl State {
    pub(crate) fn new(bits: u32) -> Self {
        Self(AtomicU32::new(bits))
    }

    /// Takes the mark of a node that is counted, for who takes the node apart: once.
    pub(crate) fn uncount(&mut self) -> bool {
        let bits = self.peek();
        let is_counted = bits.has(COUNTED);
        if is_counted {
            // Relaxed: nobody else has the node any more.
            self.0.store(bits.0 & !COUNTED, Ordering::Relaxed);
        }
        is_counted
    }

    /// Reads the word for a walk. A caller that finds `DONE` and goes on to read
    /// what the cancel published calls [`acquire_done`] first.
    ///
    /// This is the load of every walk, so it is the cheapest one there is: a context that is live
    /// costs no ordering at all.
    pub(crate) fn peek(&self) -> Bits {
        // Relaxed: a live answer carries nothing; a done one is followed by the fence in
        // `acquire_done`, which pairs with the Release of `finish` or `latch`.
        Bits(self.0.load(Ordering::Relaxed))
    }

    /// Reads the word and what was published before its bits were set.
    pub(crate) fn read(&self) -> Bits {
        // Acquire: pairs with the Release of the transition that set the bit asked for.
        Bits(self.0.load(Ordering::Acquire))
    }

    /// Marks the node done and takes the duty to sweep, if there is one.
    ///
    /// `extra` is set in the same step. So a walk that finds a dropped guard also finds that
    /// its cause has to be made; where a latch came before, the cause is stored already.
    pub(crate) fn finish(&self, extra: u32) -> Finish {
        // AcqRel: Release publishes the cause slot, written before, to the walk that sees
        // `DONE` (`acquire_done`); Acquire pairs with `open`, so that the block is visible.
        let before = Bits(self.0.fetch_or(DONE | SWEEP | extra, Ordering::AcqRel));
        Finish {
            must_sweep: before.has(LINKED) && !before.has(SWEEP),
        }
    }

    /// Marks the node done after an observation; the sweep stays whoever's it is.
    ///
    /// A latch may come before the `finish` of the canceller whose cause it shows; that one still
    /// finds `SWEEP` missing and sweeps.
    pub(crate) fn latch(&self) {
        // Release: publishes the cause slot, written before; pairs with `acquire_done`.
        self.0.fetch_or(DONE, Ordering::Release);
    }

    /// Announces a registration. Returns whether the node is done already: then the
    /// caller must not count on being swept.
    ///
    /// The announcement stays also if nothing is registered after all: a later `finish` then
    /// sweeps an empty list, which is harmless.
    #[must_use]
    pub(crate) fn open(&self) -> bool {
        let now = self.read();
        if now.has(LINKED) {
            return now.has(DONE);
        }
        // AcqRel: Release publishes the block to the sweeper (`finish`); Acquire pairs with
        // `finish`, so that a registrant who sees `DONE` can read the cause.
        Bits(self.0.fetch_or(LINKED, Ordering::AcqRel)).has(DONE)
    }

    /// Lets the caller know all that those knew who came here before.
    pub(crate) fn meet(&self) -> Bits {
        // AcqRel: a read-modify-write that changes nothing, for its place in the order of all
        // of them: the later of two acquires what the earlier one released.
        Bits(self.0.fetch_or(0, Ordering::AcqRel))
    }

    /// Sets bits that only ever tell that some work was completed.
    ///
    /// Returns the word before, so that of several callers exactly one sees the bit missing.
    pub(crate) fn note(&self, bits: u32) -> Bits {
        // AcqRel: Release publishes the completed work (list entries, armed timers) to `read`;
        // Acquire makes the first of two callers visible to the second.
        Bits(self.0.fetch_or(bits, Ordering::AcqRel))
    }
}

/// Makes everything visible that was written before the `DONE` just seen by `peek`.
pub(crate) fn acquire_done() {
    // Acquire: pairs with the Release of `finish` and `latch` on the word that `peek` read.
    fence(Ordering::Acquire);
}

#[cfg(all(test, not(ripcord_loom)))]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_finish_sweeps() {
        let state = State::new(0);
        assert!(!state.open());
        assert!(state.finish(0).must_sweep);
        assert!(!state.finish(FORCED).must_sweep);
        assert!(state.open());
        assert!(state.read().has(FORCED));
    }

    #[test]
    fn a_node_where_nothing_is_registered_needs_no_sweep() {
        let state = State::new(0);
        assert!(!state.finish(0).must_sweep);
        assert!(state.open());
    }

    #[test]
    fn a_latch_leaves_the_sweep_to_the_canceller() {
        let state = State::new(0);
        assert!(!state.open());
        state.latch();
        assert!(state.peek().has(DONE));
        assert!(state.finish(0).must_sweep);
    }
}
