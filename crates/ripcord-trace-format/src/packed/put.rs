//! Which form an event has, and the numbers of it.
//!
//! One function for each event that has forms. It compares the event with what the memory would make of
//! the form: only where the two are the same is the form used, so `take.rs` has nothing to check.
//!
//! # Numbers that have no form
//! A distance of 2^63 where nothing is possible too, a place beyond 32 bits, a kind that this version has no
//! name for: no program has them, and who makes them by hand gets the plain form, or none.
//!
//! # Read next
//! `mod.rs` for what each form means.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use super::{
    CTX_CANCEL_AT, CTX_CREATE, CTX_DROPPED, CTX_DROPPED_BY, CTX_END, CTX_END_AT, CTX_OVERDUE,
    CTX_SEEN, CTX_SEEN_BY, LAST_KIND, LAST_OUTCOME, LAST_WAKER, POLL_START, TASK_CTX, TASK_END,
    TASK_END_AT, TASK_SPAWN, WAKE, WAKE_AT, apart, expected_waker, polled, whose_number,
};
use crate::arg::{CauseKind, SeenHow};
use crate::coding::Put;
use crate::event::Event;
use crate::memory::{CtxShape, EndShape, SlotSeen, Whose, place_word, unword, word};
use crate::varint::zigzag;

/// Whether an event could be written short.
///
/// As what [`put`] returns; that there was no room is a third answer.
#[derive(Debug)]
pub(crate) enum Short {
    /// No form says all of it.
    No,
    /// It is written.
    Yes,
}

/// Writes an event short if there is a form for it; `None` if there is no room.
///
/// It decides before it writes the first byte, so an event for which there is no form is still to be
/// written from the beginning.
///
/// # Costs
/// For a wake or a poll a look at the slot; for ends of polls nothing.
#[inline]
pub(crate) fn put<'e>(event: &Event<'e>, delta: u64, to: &mut Put<'_, '_, 'e>) -> Option<Short> {
    let memory = to.memory;
    match *event {
        Event::PollStart { slot, seq } => {
            if memory.slot(slot).is_none_or(|seen| seen.next != seq) {
                return Some(Short::No);
            }
            to.head(POLL_START, delta)?;
            to.number(apart(slot, memory.slot))?;
        }
        Event::Wake {
            slot,
            seq,
            by,
            waker,
        } => {
            let is_known = waker == expected_waker(memory, by);
            if by.number() > LAST_WAKER || (!is_known && waker.is_none()) {
                return Some(Short::No);
            }
            let is_next = memory.slot(slot).is_some_and(|seen| seen.next == seq);
            to.head(if is_next { WAKE } else { WAKE_AT }, delta)?;
            to.number(apart(slot, memory.slot))?;
            if !is_next {
                to.out.byte(seq.number())?;
            }
            to.number(by.number() << 1 | u64::from(!is_known))?;
            if let Some(waker) = waker.filter(|_| !is_known) {
                to.number(waker)?;
            }
        }
        Event::TaskCtx { slot, ctx } if slot == memory.polled => {
            to.head(TASK_CTX, delta)?;
            to.number(apart(ctx, memory.ctx))?;
        }
        Event::PollPending { .. }
        | Event::PollListening { .. }
        | Event::PollReady {}
        | Event::Park {}
        | Event::Unpark {} => return Some(Short::No),
        _ => return put_rare(event, delta, to),
    }
    Some(Short::Yes)
}

/// The events of a task's or a context's life, kept out of the way of polls and wakes.
///
/// Each of them is looked up by its id or its slot; what is found has to say the same.
fn put_rare<'e>(event: &Event<'e>, delta: u64, to: &mut Put<'_, '_, 'e>) -> Option<Short> {
    let memory = to.memory;
    match *event {
        Event::CtxCreate { .. } => return put_ctx_create(event, delta, to),
        Event::TaskSpawn { .. } => return put_task_spawn(event, delta, to),
        Event::TaskEnd { .. } => return put_task_end(event, delta, to),
        Event::CtxCancel { .. } => return put_ctx_cancel(event, delta, to),
        Event::CtxEnd {
            id,
            parent,
            loc,
            name,
        } => {
            let is_same = memory.ctx(id).is_some_and(|seen| {
                word(parent) == Some(seen.parent)
                    && place_word(loc) == Some(seen.loc)
                    && to.find_name(name) == Some(seen.name)
            });
            if !is_same {
                return put_ctx_end_at(event, delta, to);
            }
            to.head(CTX_END, delta)?;
            to.number(apart(id, memory.ctx))?;
        }
        Event::CtxSeen {
            id,
            task,
            how: SeenHow::Unlisted,
            loc: None,
        } => {
            let Some(task) = task else {
                return Some(Short::No);
            };
            let is_current = memory.current() == Some(task);
            to.head(if is_current { CTX_SEEN } else { CTX_SEEN_BY }, delta)?;
            to.number(apart(id, memory.ctx))?;
            if !is_current {
                to.number(apart(task, memory.task))?;
            }
        }
        _ => return Some(Short::No),
    }
    Some(Short::Yes)
}

/// The ends of contexts that come most often, if it is one: by a guard that went away, or by a deadline.
///
/// The place has to be that of the making, which the memory knows. Everything else has a shape.
fn put_ctx_cancel<'e>(event: &Event<'e>, delta: u64, to: &mut Put<'_, '_, 'e>) -> Option<Short> {
    let memory = to.memory;
    #[rustfmt::skip]
    let Event::CtxCancel { id, kind, by, loc, due, message } = *event else {
        return Some(Short::No);
    };
    let is_there = memory
        .ctx(id)
        .is_some_and(|seen| place_word(loc) == Some(seen.loc));
    let form = match (kind, by, due) {
        _ if !is_there || !message.is_empty() => return put_ctx_cancel_at(event, delta, to),
        (CauseKind::Dropped, None, None) => CTX_DROPPED,
        (CauseKind::Dropped, by, None) if by == memory.current() => CTX_DROPPED_BY,
        (CauseKind::DeadlineExceeded, None, Some(_)) => CTX_OVERDUE,
        _ => return put_ctx_cancel_at(event, delta, to),
    };
    to.head(form, delta)?;
    to.number(apart(id, memory.ctx))?;
    if let Some(due) = due {
        to.number(zigzag(due))?;
    }
    Some(Short::Yes)
}

/// Id, shape; by whom and how late where the shape does not say it: see [`CTX_CANCEL_AT`].
///
/// A shape that is written out: eight times the kind, plus twice whose it is, plus one with `due`; the
/// place plus one, or 0; the message.
fn put_ctx_cancel_at<'e>(event: &Event<'e>, delta: u64, to: &mut Put<'_, '_, 'e>) -> Option<Short> {
    let memory = to.memory;
    #[rustfmt::skip]
    let Event::CtxCancel { id, kind, by, loc, due, message } = *event else {
        return Some(Short::No);
    };
    if kind.number() > LAST_KIND {
        return Some(Short::No);
    }
    let number = to.find_name(message);
    let Some(shape) = memory.cancel_shape(event, number.unwrap_or(0)) else {
        return Some(Short::No);
    };
    let known = number.and_then(|_| to.find_cancel_shape(&shape));
    to.head(CTX_CANCEL_AT, delta)?;
    to.number(apart(id, memory.ctx))?;
    if !to.known(known, message)? {
        to.number(kind.number() << 3 | whose_number(shape.by) << 1 | u64::from(shape.has_due))?;
        to.number(loc.map_or(0, |loc| loc.wrapping_add(1)))?;
        to.name(message)?;
    }
    if let Some(by) = by.filter(|_| shape.by == Whose::Another) {
        to.number(apart(by, memory.task))?;
    }
    if let Some(due) = due {
        to.number(zigzag(due))?;
    }
    Some(Short::Yes)
}

/// Id, shape, parent: see [`CTX_END_AT`].
///
/// A shape that is written out: the place plus one, or 0; the name. Ends of contexts have shapes of their
/// own: on the thread that ends them their makings are not known.
fn put_ctx_end_at<'e>(event: &Event<'e>, delta: u64, to: &mut Put<'_, '_, 'e>) -> Option<Short> {
    let memory = to.memory;
    #[rustfmt::skip]
    let Event::CtxEnd { id, parent, loc, name } = *event else {
        return Some(Short::No);
    };
    let far = parent.map_or(0, |parent| apart(parent, id));
    let (Some(place), Some(_), Some(far)) = (place_word(loc), word(parent), far.checked_add(2))
    else {
        return Some(Short::No);
    };
    let number = to.find_name(name);
    let find = |name| to.find_ctx_end(EndShape { loc: place, name });
    let known = number.and_then(find);
    let last = known
        .and_then(|at| memory.ctx_ends.get(at))
        .map(|(_, last)| *last);
    to.head(CTX_END_AT, delta)?;
    to.number(apart(id, memory.ctx))?;
    if !to.known(known, name)? {
        to.number(loc.map_or(0, |loc| loc.wrapping_add(1)))?;
        to.name(name)?;
    }
    to.number(match parent {
        None => 0,
        _ if last.is_some_and(|last| unword(last.parent) == parent) => 1,
        Some(_) => far,
    })?;
    Some(Short::Yes)
}

/// Shape, id, parent, deadline: see [`CTX_CREATE`].
///
/// A shape that is written out: twice the kind, plus one with a deadline; the place plus one, or 0; the
/// name.
///
/// No form where the id does not grow, or the parent is not below it: both are so for what a program
/// makes, and not for what a merge of two traces has renumbered.
fn put_ctx_create<'e>(event: &Event<'e>, delta: u64, to: &mut Put<'_, '_, 'e>) -> Option<Short> {
    let memory = to.memory;
    #[rustfmt::skip]
    let Event::CtxCreate { id, parent, kind, loc, deadline, name } = *event else {
        return Some(Short::No);
    };
    let above = id
        .checked_sub(memory.made_ctx)
        .and_then(|above| above.checked_sub(1));
    let below = parent.map(|parent| id.checked_sub(parent).filter(|below| *below > 0));
    let (Some(above), Some(_), Some(place)) = (above, word(parent), place_word(loc)) else {
        return Some(Short::No);
    };
    if below == Some(None) || kind.number() > LAST_KIND {
        return Some(Short::No);
    }
    let find = |number| {
        to.find_ctx_shape(&CtxShape {
            kind: kind.number(),
            loc: place,
            name: number,
            has_deadline: deadline.is_some(),
        })
    };
    let known = to.find_name(name).and_then(find);
    let last = known
        .and_then(|at| memory.ctx_shapes.get(at))
        .map(|(_, last)| *last);
    to.head(CTX_CREATE, delta)?;
    if !to.known(known, name)? {
        to.number(kind.number() << 1 | u64::from(deadline.is_some()))?;
        to.number(loc.map_or(0, |loc| loc.wrapping_add(1)))?;
        to.name(name)?;
    }
    to.number(above)?;
    to.number(match below.flatten() {
        None => 0,
        _ if last.is_some_and(|last| unword(last.parent) == parent) => 1,
        Some(below) => below.saturating_add(1),
    })?;
    if let Some(deadline) = deadline {
        let before = last.map_or(0, |last| last.deadline);
        to.number(zigzag(deadline.wrapping_sub(before)))?;
    }
    Some(Short::Yes)
}

/// Slot, shape, id; parent and context where the shape does not say them: see [`TASK_SPAWN`].
///
/// A shape that is written out: twice whose it is, plus one if the context is the one made last; the place
/// plus one, or 0; the size; the name.
fn put_task_spawn<'e>(event: &Event<'e>, delta: u64, to: &mut Put<'_, '_, 'e>) -> Option<Short> {
    let memory = to.memory;
    #[rustfmt::skip]
    let Event::TaskSpawn { slot, id, parent, ctx, loc, bytes, name } = *event else {
        return Some(Short::No);
    };
    let above = id
        .checked_sub(memory.made_task)
        .and_then(|above| above.checked_sub(1));
    let number = to.find_name(name);
    let shape = memory.task_shape(event, number.unwrap_or(0));
    let (Some(above), Some(shape), Some(_), Some(_)) = (above, shape, word(parent), word(ctx))
    else {
        return Some(Short::No);
    };
    // The one difference that has no successor.
    if ctx.is_some_and(|ctx| apart(ctx, memory.ctx) == u64::MAX) {
        return Some(Short::No);
    }
    let known = number.and_then(|_| to.find_task_shape(&shape));
    to.head(TASK_SPAWN, delta)?;
    to.number(apart(slot, memory.slot))?;
    if !to.known(known, name)? {
        to.number(whose_number(shape.parent) << 1 | u64::from(shape.is_made))?;
        to.number(loc.map_or(0, |loc| loc.wrapping_add(1)))?;
        to.number(bytes)?;
        to.name(name)?;
    }
    to.number(above)?;
    if let Some(parent) = parent.filter(|_| shape.parent == Whose::Another) {
        to.number(apart(parent, memory.task))?;
    }
    if !shape.is_made {
        to.number(ctx.map_or(0, |ctx| apart(ctx, memory.ctx).wrapping_add(1)))?;
    }
    Some(Short::Yes)
}

/// Slot and outcome, polls, `busy`: see [`TASK_END`]. Where the spawn is not known, or was another one,
/// the end says itself what it was.
fn put_task_end<'e>(event: &Event<'e>, delta: u64, to: &mut Put<'_, '_, 'e>) -> Option<Short> {
    let memory = to.memory;
    #[rustfmt::skip]
    let Event::TaskEnd { slot, id, outcome, parent, ctx, loc, polls, busy, name } = *event else {
        return Some(Short::No);
    };
    let is_same = |seen: &&SlotSeen| {
        seen.is_spawned
            && (seen.id, Some(seen.parent)) == (id, word(parent))
            && (Some(seen.ctx), Some(seen.loc)) == (word(ctx), place_word(loc))
            && to.find_name(name) == Some(seen.name)
    };
    let from = apart(slot, polled(memory));
    if outcome.number() > LAST_OUTCOME || from > u64::MAX >> 3 {
        return Some(Short::No);
    }
    let Some(seen) = memory.slot(slot).filter(is_same) else {
        return put_task_end_at(event, from, delta, to);
    };
    let is_counted = polls == u64::from(seen.next.number());
    to.head(TASK_END, delta)?;
    to.number(from << 3 | outcome.number() << 1 | u64::from(!is_counted))?;
    if !is_counted {
        to.number(polls)?;
    }
    to.number(busy)?;
    Some(Short::Yes)
}

/// As [`put_task_end`], and what the spawn has said: see [`TASK_END_AT`].
///
/// `from` is the slot's distance from that of the last poll, which has room for three bits more.
fn put_task_end_at<'e>(
    event: &Event<'e>,
    from: u64,
    delta: u64,
    to: &mut Put<'_, '_, 'e>,
) -> Option<Short> {
    let memory = to.memory;
    #[rustfmt::skip]
    let Event::TaskEnd { slot, id, outcome, parent, ctx, loc, polls, busy, name } = *event else {
        return Some(Short::No);
    };
    let far = ctx.map_or(0, |ctx| apart(ctx, memory.ctx));
    let (Some(place), Some(_)) = (place_word(loc), word(parent)) else {
        return Some(Short::No);
    };
    if far == u64::MAX {
        return Some(Short::No);
    }
    let next = memory.slot(slot).map(|seen| seen.next.number().into());
    let is_counted = next == Some(polls);
    let number = to.find_name(name);
    let find = |name| to.find_task_end(EndShape { loc: place, name });
    let known = number.and_then(find);
    let last = known
        .and_then(|at| memory.task_ends.get(at))
        .map(|(_, last)| *last);
    let whose = match parent {
        None => 0,
        _ if last.is_some_and(|last| unword(last.parent) == parent) => 1,
        Some(_) => 2,
    };
    let (is_other, is_elsewhere) = (id != memory.task, ctx != Some(memory.ctx));
    to.head(TASK_END_AT, delta)?;
    to.number(from << 3 | outcome.number() << 1 | u64::from(!is_counted))?;
    if !to.known(known, name)? {
        to.number(loc.map_or(0, |loc| loc.wrapping_add(1)))?;
        to.name(name)?;
    }
    to.number(whose << 2 | u64::from(is_elsewhere) << 1 | u64::from(is_other))?;
    if is_other {
        to.number(apart(id, memory.task))?;
    }
    if is_elsewhere {
        to.number(ctx.map_or(0, |_| far.wrapping_add(1)))?;
    }
    if let Some(parent) = parent.filter(|_| whose == 2) {
        to.number(apart(parent, id))?;
    }
    if !is_counted {
        to.number(polls)?;
    }
    to.number(busy)?;
    Some(Short::Yes)
}
