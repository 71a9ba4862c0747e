//! [`Wakers`]: how many wakers a task has, and whether one was called; in one word.
//!
//! # The word
//! In its upper part the holders: the task, until it is over, and each waker. Below them three
//! bits: woken since the last poll began, by the task itself, and idle, which is between two polls.
//! Every change is one read-modify-write, so there is one order of all of them.
//!
//! # A task's life in it
//! | What happens | Holders | Bits |
//! |---|---|---|
//! | it is spawned | 1 | woken |
//! | its first poll begins | 1 | |
//! | a leaf keeps a waker | 2 | |
//! | the poll ends, the task waits | 2 | idle |
//! | the waker is called | 2 | idle, woken |
//! | the waker is dropped after that | 1 | idle, woken |
//! | the next poll begins | 1 | |
//! | it ends, and nobody has a waker: lost | 1 | idle |
//!
//! # Invariants
//! 1. The runtime is told of a wake by whoever has set the bit, and by nobody else. So at most one
//!    notification is on its way, and while one is, the bit stands: a poll takes it back first.
//! 2. A task is lost when it is idle, not woken, and alone. It comes into that state once for each
//!    poll, by one change: the last waker goes, or the task becomes idle. Who makes it tells it.
//! 3. Whoever takes the last holder away frees what all of them hold.
//!
//! # Costs
//! A poll changes the word twice, at its beginning and its end; a wake, a clone and a drop of a waker
//! once each. Nothing is allocated, and nobody waits.
//!
//! # Why a wake that finds the bit may go
//! The poll that the bit asks for has not taken it back yet. Both are changes of one word, and the
//! poll's is the later one: it acquires what the wake released, and sees what the wake is about.
//! For that the wake changes the word also where the bit is set already.

use crate::sync::{AtomicUsize, Ordering};

/// The word of one task.
#[derive(Debug)]
pub(crate) struct Wakers(AtomicUsize);

/// Woken since the last poll began; also before the first poll, and after the end.
const WOKEN: usize = 1;
/// By its own code, in that poll.
const BY_ITSELF: usize = 2;
/// Between two polls.
const IDLE: usize = 4;
/// One holder.
const HOLDER: usize = 8;
/// Who leaks so many wakers is stopped, as with an `Arc`.
const MAX: usize = usize::MAX / 2;

/// The word as it was read, for [`Wakers::give_up`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(usize);

impl Seen {
    /// Whether the task is lost if one holder goes.
    pub(crate) const fn is_loss(self) -> bool {
        self.0 == (2 * HOLDER) | IDLE
    }
}

impl Wakers {
    /// Of a task that is queued for its first poll, which needs no wake.
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(HOLDER | WOKEN))
    }

    /// A waker is cloned, by a holder or within a poll.
    pub(crate) fn add(&self) {
        // Relaxed: who clones has what it clones; as for an `Arc`.
        let before = self.0.fetch_add(HOLDER, Ordering::Relaxed);
        if before > MAX {
            std::process::abort();
        }
    }

    /// A waker is called; whether the runtime has to be told (invariant 1).
    pub(crate) fn wake(&self, is_itself: bool) -> bool {
        let bits = if is_itself { WOKEN | BY_ITSELF } else { WOKEN };
        // AcqRel: releases what the wake is about to the poll; see the head of the file.
        self.0.fetch_or(bits, Ordering::AcqRel) & WOKEN == 0
    }

    /// A poll begins: a wake from here on asks for another one.
    pub(crate) fn start(&self) {
        // AcqRel: acquires what those have released whose wakes lead to this poll.
        self.0
            .fetch_and(!(WOKEN | BY_ITSELF | IDLE), Ordering::AcqRel);
    }

    /// Whether the task has woken itself in the poll that ends.
    pub(crate) fn is_woken_by_itself(&self) -> bool {
        // Relaxed: its own thread did it.
        self.0.load(Ordering::Relaxed) & BY_ITSELF != 0
    }

    /// Whether the poll that ends leaves the task to be woken by nobody.
    pub(crate) fn is_alone(&self) -> bool {
        // Acquire: pairs with whoever gave up the last waker; nobody can make another one.
        let word = self.0.load(Ordering::Acquire);
        word & WOKEN == 0 && word / HOLDER == 1
    }

    /// A poll has ended and the task waits; whether that has left it lost (invariant 2).
    pub(crate) fn rest(&self) -> bool {
        // AcqRel: either this sees that the last waker has gone, or its holder sees `IDLE`.
        let before = self.0.fetch_or(IDLE, Ordering::AcqRel);
        before & WOKEN == 0 && before / HOLDER == 1
    }

    /// The task is over: it is not lost any more, and the runtime need not be told of wakes.
    pub(crate) fn close(&self) {
        // Relaxed: the bit carries nothing; the changes of one word have one order.
        self.0.fetch_or(WOKEN, Ordering::Relaxed);
    }

    /// A look at the word before one holder goes.
    pub(crate) fn look(&self) -> Seen {
        // Relaxed: `give_up` succeeds only if it is so still.
        Seen(self.0.load(Ordering::Relaxed))
    }

    /// One holder goes; whether it was the last one (invariant 3).
    ///
    /// After a success the word may be gone with its memory. Only what was made sure of before may
    /// be used: hence the look, which says whether a loss will be to tell.
    ///
    /// # Errors
    /// The word has changed since; with what it is now.
    pub(crate) fn give_up(&self, seen: Seen) -> Result<bool, Seen> {
        // AcqRel: releases all that was done with the holder, and the last one acquires it. Relaxed
        // for a failure, as in `look`.
        self.0
            .compare_exchange_weak(seen.0, seen.0 - HOLDER, Ordering::AcqRel, Ordering::Relaxed)
            .map(|before| before / HOLDER == 1)
            .map_err(Seen)
    }
}
