//! Short forms of what comes again and again: what a [`Memory`] knows is not said.
//!
//! A packed form is a type of its own from 0x60 on, behind which the ticks stand as always, and
//! then the numbers that are said beside each form below. It stands for an event of the table, and comes
//! out as that: an analysis, a filter or a merge knows nothing of forms. A form is used where it says
//! all of the event, so nothing is lost; where it does not, the event is written with all of its
//! arguments.
//!
//! # How the numbers are meant
//! | Number | Means |
//! |---|---|
//! | id | zigzag of its distance from the id of its kind that was named last in the block |
//! | id of what is made | its distance from the last one that was made, less one: ids only grow |
//! | slot | zigzag of its distance from the slot that was named last |
//! | shape | 0: it follows; else one more than its place among the last 64 |
//! | `due`, a deadline | zigzag of ticks |
//!
//! Of what comes at one place in the source most is the same each time: kind, place, name, size,
//! whether there is a deadline. That is a *shape*. A new one is written out, behind the 0, and has a place
//! from then on.
//!
//! # A request, byte by byte
//! The second time that this program serves such a request on this thread; `..` are ticks.
//!
//! | Event | Bytes | What they say |
//! |---|---|---|
//! | `ctx_create` | `60 .. 01 01 01 00` | shape 0, the id after the next, the parent of the one before, the same deadline |
//! | `task_spawn` | `66 .. 00 01 01` | the slot that was named last, shape 0, the id after the next |
//! | `poll_start` | `68 .. 00` | of that slot, the first poll |
//! | `poll_listening` | `0b .. 03` | label 2; plain, as it has one argument |
//! | `wake` | `69 .. 00 06` | of that slot, by the runtime, the worker of before |
//! | `poll_start` | `68 .. 00` | of that slot, the second poll |
//! | `poll_ready` | `07 ..` | |
//! | `ctx_cancel` | `63 .. 00` | of the context that was named last, a guard, by the task |
//! | `task_end` | `67 .. 00 8f 01` | of the slot that was polled last, ready, after two polls; 143 ticks |
//! | `ctx_end` | `61 .. 00` | the context that was named last |
//!
//! Thirty-seven bytes with ticks of one byte each, for ten events with 41 arguments.
//!
//! # What is not packed
//! Ends of polls, park and unpark: they have no argument, or one. Jobs: their ends are on other threads
//! than their beginnings, and there are few. Regions, logs, stacks: they are what a program says itself.
//!
//! # What was tried
//! A bit for each argument that is as expected, in front of the others, takes a byte in each event, which is what
//! most of the arguments take together that it saves. Ends without what was said at the beginning
//! wherever that is, and not in the same block, would be lost with a ring that evicts.
//!
//! # What it is worth
//! Of the demo's load, 545,000 events in blocks of 3,600 (2026-11): 12.8 bytes an event became 5.0. A
//! request that begins and ends on one thread takes 3 to 6 bytes for each of its events.
//!
//! # What follows for programs
//! Nothing: a block is written and read by the same rules, with the same memory, and each block
//! begins with an empty one. So a block that is lost takes no meaning from any other.
//!
//! # Invariants
//! 1. What [`put`] has written for an event, [`take`] reads as the same event, with the same memory.
//! 2. Neither changes the memory.
//! 3. Whatever the bytes are, [`take`] ends with an event or a [`Fault`](crate::Fault): a reference to
//!    what is not there is one, and numbers wrap instead of overflowing.
//!
//! # Limitations
//! A form stands for the arguments that its event has in version 1.0. An argument that is added later
//! is none, zero or empty in it; who has to say it uses the plain form.
//!
//! # Read next
//! `put.rs` chooses the form, `take.rs` is its mirror; `memory.rs` for what both of them know.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

mod put;
mod take;

pub(crate) use put::{Short, put};
pub(crate) use take::take;

use crate::arg::WakeBy;
use crate::memory::{Memory, Whose, unword, waker_at};
use crate::varint::{unzigzag, zigzag};

/// A context was made.
///
/// *Numbers*: shape; id less that of the context made last, less one; parent; deadline.
///
/// The parent is 0 for none, 1 for the one that the shape had last, else one more than how far the
/// parent is below the id. The deadline stands only where the shape has one: its distance from the last
/// deadline of that shape, which is mostly none, as a time-out is a constant of the program.
pub(crate) const CTX_CREATE: u8 = 0x60;

/// The context whose making stands in the block is gone.
///
/// *Numbers*: id.
///
/// Everything else is as it was said when it was made. An eviction takes both events or neither,
/// because they stand in one block.
pub(crate) const CTX_END: u8 = 0x61;

/// A guard went away outside of every task, at the place where the context was made.
///
/// *Numbers*: id.
///
/// There is no message and no instant that it was due. It is the ordinary end of what a server does
/// between tasks, as a connection.
pub(crate) const CTX_DROPPED: u8 = 0x62;

/// A guard went away in the task that is polled, or that was polled last.
///
/// *Numbers*: id.
///
/// Otherwise as [`CTX_DROPPED`]. Most contexts of a program end like this: three bytes.
pub(crate) const CTX_DROPPED_BY: u8 = 0x63;

/// A deadline has passed, which was set where the context was made.
///
/// *Numbers*: id; `due`.
///
/// Nobody has done it, and there is no message.
pub(crate) const CTX_OVERDUE: u8 = 0x64;

/// The task that is polled has seen for the first time that a context is done.
///
/// *Numbers*: id of the context.
///
/// How and where is not listed, which is all that the recorder knows of it.
pub(crate) const CTX_SEEN: u8 = 0x65;

/// A task was spawned.
///
/// *Numbers*: slot; shape; id less that of the task made last, less one; parent; context.
///
/// The parent stands only where the shape says that it is another one than the task that is polled, and
/// the context only where it is not the one that was made last.
pub(crate) const TASK_SPAWN: u8 = 0x66;

/// The task whose spawn stands in the block has ended.
///
/// *Numbers*: slot, outcome and a mark; polls; `busy`.
///
/// The first number is eight times the distance of the slot from that of the last poll, plus twice the
/// outcome, plus one if the polls follow. They do not where the number of the next poll says how many
/// there were. Id, parent, context, place and name are those of the spawn.
pub(crate) const TASK_END: u8 = 0x67;

/// The poll begins that is next.
///
/// *Numbers*: slot.
///
/// Next is the poll that a wake has asked for, the one behind the last one that was seen on this
/// thread, or the first one behind a spawn.
pub(crate) const POLL_START: u8 = 0x68;

/// The poll that is next is asked for.
///
/// *Numbers*: slot; who, and a mark; waker.
///
/// The second number is twice the number of the [`WakeBy`], plus one if the waker follows. It does not
/// where it is the one that was to be expected: see [`expected_waker`].
pub(crate) const WAKE: u8 = 0x69;

/// The task that is polled works under another context.
///
/// *Numbers*: id of the context.
///
/// Its slot is that of the last poll.
pub(crate) const TASK_CTX: u8 = 0x6a;

/// A context is gone whose making does not stand in the block.
///
/// *Numbers*: id; shape; parent.
///
/// The parent is 0 for none, 1 for the one that the shape had last, else two more than its distance
/// from the id. The making may stand in another thread's block, which is the rule in a program with
/// several workers.
pub(crate) const CTX_END_AT: u8 = 0x6b;

/// An end of any kind began at a context.
///
/// *Numbers*: id; shape; by whom; `due`.
///
/// Who did it stands only where the shape says that it is another one than the task that is polled,
/// and `due` only where the shape has one.
pub(crate) const CTX_CANCEL_AT: u8 = 0x6c;

/// A task has seen that a context is done, of which it is not known that it is polled.
///
/// *Numbers*: id of the context; id of the task.
///
/// Otherwise as [`CTX_SEEN`].
pub(crate) const CTX_SEEN_BY: u8 = 0x6d;

/// A task has ended whose spawn does not stand in the block.
///
/// *Numbers*: as `TASK_END`; shape; marks; id; context; parent; polls; `busy`.
///
/// The marks are 1 if the id is not that which ids count from, 2 if the context is not, and 4 or 8 if
/// there is a parent: that of the shape, or another one. What a mark does not ask for is left out.
pub(crate) const TASK_END_AT: u8 = 0x6e;

/// A poll is asked for that was not known to be next.
///
/// *Numbers*: slot; number of the poll; who, and a mark; waker.
///
/// As [`WAKE`]. It is the first wake of a task by this thread in the block, or another thread has polled it
/// since.
pub(crate) const WAKE_AT: u8 = 0x6f;

/// Numbers that are no types of the table, and of no later one.
///
/// A schema that has one of them is refused, so a number from here is a form or an error.
pub(crate) const NUMBERS: std::ops::RangeInclusive<u8> = 0x60..=0x7f;

/// The type of the table that a packed one stands for; `None` for other types.
#[inline]
pub(crate) const fn base(number: u8) -> Option<u8> {
    Some(match number {
        CTX_CREATE => 0x10,
        CTX_END | CTX_END_AT => 0x13,
        CTX_DROPPED | CTX_DROPPED_BY | CTX_OVERDUE | CTX_CANCEL_AT => 0x11,
        CTX_SEEN | CTX_SEEN_BY => 0x12,
        TASK_SPAWN => 0x01,
        TASK_END | TASK_END_AT => 0x02,
        POLL_START => 0x03,
        WAKE | WAKE_AT => 0x0a,
        TASK_CTX => 0x09,
        _ => return None,
    })
}

/// How far one number is from another, as a small number where they are near each other.
///
/// It wraps, so there is a distance between any two.
#[inline]
pub(crate) fn apart(number: u64, from: u64) -> u64 {
    zigzag(number.wrapping_sub(from).cast_signed())
}

/// The number that is so far from another: undoes [`apart`].
#[inline]
fn beside(apart: u64, from: u64) -> u64 {
    from.wrapping_add(unzigzag(apart).cast_unsigned())
}

/// The slot of the last poll, as a number: 0 before the first one.
///
/// Ends of tasks count from it, because a future is mostly dropped by who has polled it last.
fn polled(memory: &Memory) -> u64 {
    unword(memory.polled).unwrap_or(0)
}

/// Who wakes is mostly who did so before.
///
/// A task is the one that is polled, a cancel comes from the context that was named last, and a worker or a
/// thread is the last one of its kind: on one thread it is the same number all the time.
#[inline]
pub(crate) fn expected_waker(memory: &Memory, by: WakeBy) -> Option<u64> {
    match by {
        WakeBy::Itself => None,
        WakeBy::Task => unword(memory.polled),
        WakeBy::Cancel => Some(memory.ctx),
        _ => memory.wakers.get(waker_at(by)).copied(),
    }
}

/// Whose it is, in the two bits of a shape that is written out.
const fn whose_number(whose: Whose) -> u64 {
    match whose {
        Whose::Nobody => 0,
        Whose::Current => 1,
        Whose::Another => 2,
    }
}

/// What such bits say; the one that is left over is another's.
const fn whose(number: u64) -> Whose {
    match number {
        0 => Whose::Nobody,
        1 => Whose::Current,
        _ => Whose::Another,
    }
}

/// The largest kind of a context or of a cause that a shape has room for, in one byte.
///
/// A larger number than this version has is written with all arguments.
const LAST_KIND: u64 = 15;
/// The last [`WakeBy`] that has a name; for others nobody is expected.
pub(crate) const LAST_WAKER: u64 = 7;
/// The last [`Outcome`](crate::Outcome) that has a name: two bits.
const LAST_OUTCOME: u64 = 3;
