//! Back from a form to the event that it stands for.
//!
//! One function for each function of `put.rs`, with the numbers in the same order.
//!
//! # Hostile bytes
//! What a form refers to is looked up in places of fixed size, and a reference to nothing is a
//! [`Fault`]. Distances wrap, so the worst that wrong bytes lead to is a wrong id.
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
    CTX_SEEN, CTX_SEEN_BY, LAST_OUTCOME, POLL_START, TASK_CTX, TASK_END, TASK_END_AT, TASK_SPAWN,
    WAKE, WAKE_AT, beside, expected_waker, polled, whose,
};
use crate::arg::{Arg, CauseKind, CtxKind, Outcome, SeenHow, Seq, Source, WakeBy};
use crate::coding::Take;
use crate::error::Fault;
use crate::event::Event;
use crate::memory::{
    CancelShape, CtxShape, EndShape, Last, NOWHERE, Shapes, TaskShape, Whose, unplace, unword,
};
use crate::varint::unzigzag;

/// Reads the rest of an event whose type is a packed one.
///
/// # Errors
/// [`Fault::NothingBefore`] for a reference to what does not stand in the block, [`Fault::UnknownType`] for
/// a form of a later version, and those of numbers and texts.
#[inline]
pub(crate) fn take<'a>(number: u8, from: &mut Take<'_, 'a>) -> Result<Event<'a>, Fault> {
    let memory = from.memory;
    match number {
        POLL_START => {
            let slot = beside(from.number()?, memory.slot);
            let seen = memory.slot(slot).ok_or(Fault::NothingBefore)?;
            Ok(Event::PollStart {
                slot,
                seq: seen.next,
            })
        }
        WAKE | WAKE_AT => {
            let slot = beside(from.number()?, memory.slot);
            let seq = match number {
                WAKE => memory.slot(slot).ok_or(Fault::NothingBefore)?.next,
                _ => Seq::take(from)?,
            };
            let bits = from.number()?;
            let by = WakeBy::from_number(bits >> 1);
            let waker = if bits & 1 == 0 {
                expected_waker(memory, by)
            } else {
                Some(from.number()?)
            };
            Ok(Event::Wake {
                slot,
                seq,
                by,
                waker,
            })
        }
        TASK_CTX => Ok(Event::TaskCtx {
            slot: polled(memory),
            ctx: beside(from.number()?, memory.ctx),
        }),
        _ => take_rare(number, from),
    }
}

/// The events of a task's or a context's life.
fn take_rare<'a>(number: u8, from: &mut Take<'_, 'a>) -> Result<Event<'a>, Fault> {
    let memory = from.memory;
    match number {
        CTX_CREATE => take_ctx_create(from),
        TASK_SPAWN => take_task_spawn(from),
        TASK_END => take_task_end(from),
        TASK_END_AT => take_task_end_at(from),
        CTX_END_AT => take_ctx_end_at(from),
        CTX_CANCEL_AT => take_ctx_cancel_at(from),
        CTX_SEEN_BY => Ok(Event::CtxSeen {
            id: beside(from.number()?, memory.ctx),
            task: Some(beside(from.number()?, memory.task)),
            how: SeenHow::Unlisted,
            loc: None,
        }),
        CTX_END => {
            let id = beside(from.number()?, memory.ctx);
            let seen = memory.ctx(id).ok_or(Fault::NothingBefore)?;
            Ok(Event::CtxEnd {
                id,
                parent: unword(seen.parent),
                loc: unplace(seen.loc),
                name: from.known_name(seen.name)?,
            })
        }
        CTX_SEEN => Ok(Event::CtxSeen {
            id: beside(from.number()?, memory.ctx),
            task: Some(memory.current().ok_or(Fault::NothingBefore)?),
            how: SeenHow::Unlisted,
            loc: None,
        }),
        CTX_DROPPED | CTX_DROPPED_BY | CTX_OVERDUE => {
            let id = beside(from.number()?, memory.ctx);
            let seen = memory.ctx(id).ok_or(Fault::NothingBefore)?;
            let is_overdue = number == CTX_OVERDUE;
            Ok(Event::CtxCancel {
                id,
                kind: if is_overdue {
                    CauseKind::DeadlineExceeded
                } else {
                    CauseKind::Dropped
                },
                by: match number {
                    CTX_DROPPED_BY => Some(memory.current().ok_or(Fault::NothingBefore)?),
                    _ => None,
                },
                loc: unplace(seen.loc),
                due: is_overdue
                    .then(|| from.number().map(unzigzag))
                    .transpose()?,
                message: "",
            })
        }
        _ => Err(Fault::UnknownType(number)),
    }
}

/// Mirrors `put_ctx_create`.
///
/// A parent that is further below than zero is refused; a deadline wraps.
fn take_ctx_create<'a>(from: &mut Take<'_, 'a>) -> Result<Event<'a>, Fault> {
    let memory = from.memory;
    let (shape, last, name) = match from.known()? {
        None => {
            let bits = from.number()?;
            let loc = place(from.number()?)?;
            let shape = CtxShape {
                kind: bits >> 1,
                loc,
                name: 0,
                has_deadline: bits & 1 == 1,
            };
            (shape, None, from.name()?)
        }
        Some(at) => {
            let (shape, last) = memory.ctx_shapes.get(at).ok_or(Fault::NothingBefore)?;
            (*shape, Some(*last), from.known_name(shape.name)?)
        }
    };
    let id = from.above(memory.made_ctx)?;
    let parent = match from.number()? {
        0 => None,
        1 => unword(last.ok_or(Fault::NothingBefore)?.parent),
        below => {
            let below = below.wrapping_sub(1);
            Some(id.checked_sub(below).ok_or(Fault::NumberTooLarge)?)
        }
    };
    let before = last.map_or(0, |last| last.deadline);
    let deadline = if shape.has_deadline {
        Some(before.wrapping_add(unzigzag(from.number()?)))
    } else {
        None
    };
    Ok(Event::CtxCreate {
        id,
        parent,
        kind: CtxKind::from_number(shape.kind),
        loc: unplace(shape.loc),
        deadline,
        name,
    })
}

/// Mirrors `put_task_spawn`.
fn take_task_spawn<'a>(from: &mut Take<'_, 'a>) -> Result<Event<'a>, Fault> {
    let memory = from.memory;
    let slot = beside(from.number()?, memory.slot);
    let (shape, name) = match from.known()? {
        None => {
            let bits = from.number()?;
            let loc = place(from.number()?)?;
            let bytes = from.number()?;
            let shape = TaskShape {
                loc,
                name: 0,
                bytes,
                parent: whose(bits >> 1),
                is_made: bits & 1 == 1,
            };
            (shape, from.name()?)
        }
        Some(at) => {
            let (shape, _) = memory.task_shapes.get(at).ok_or(Fault::NothingBefore)?;
            (*shape, from.known_name(shape.name)?)
        }
    };
    let id = from.above(memory.made_task)?;
    let parent = match shape.parent {
        Whose::Nobody => None,
        Whose::Current => Some(memory.task),
        Whose::Another => Some(beside(from.number()?, memory.task)),
    };
    let ctx = if shape.is_made {
        Some(memory.made_ctx)
    } else {
        let apart = from.number()?.checked_sub(1);
        apart.map(|apart| beside(apart, memory.ctx))
    };
    Ok(Event::TaskSpawn {
        slot,
        id,
        parent,
        ctx,
        loc: unplace(shape.loc),
        bytes: shape.bytes,
        name,
    })
}

/// Mirrors `put_ctx_cancel_at`.
fn take_ctx_cancel_at<'a>(from: &mut Take<'_, 'a>) -> Result<Event<'a>, Fault> {
    let memory = from.memory;
    let id = beside(from.number()?, memory.ctx);
    let (shape, message) = if let Some(at) = from.known()? {
        let (shape, _) = memory.cancel_shapes.get(at).ok_or(Fault::NothingBefore)?;
        (*shape, from.known_name(shape.message)?)
    } else {
        let bits = from.number()?;
        let shape = CancelShape {
            kind: bits >> 3,
            by: whose(bits >> 1 & 3),
            loc: place(from.number()?)?,
            message: 0,
            has_due: bits & 1 == 1,
        };
        (shape, from.name()?)
    };
    let by = match shape.by {
        Whose::Nobody => None,
        Whose::Current => Some(memory.task),
        Whose::Another => Some(beside(from.number()?, memory.task)),
    };
    let due = if shape.has_due {
        Some(unzigzag(from.number()?))
    } else {
        None
    };
    Ok(Event::CtxCancel {
        id,
        kind: CauseKind::from_number(shape.kind),
        by,
        loc: unplace(shape.loc),
        due,
        message,
    })
}

/// Place and name of an end, and what the end before it of the same shape had beside them.
///
/// `None` as the latter for a shape that is written out here.
fn take_end<'a>(
    from: &mut Take<'_, 'a>,
    ends: &Shapes<EndShape>,
) -> Result<(u32, Option<Last>, &'a str), Fault> {
    let Some(at) = from.known()? else {
        let loc = place(from.number()?)?;
        return Ok((loc, None, from.name()?));
    };
    let (shape, last) = ends.get(at).ok_or(Fault::NothingBefore)?;
    Ok((shape.loc, Some(*last), from.known_name(shape.name)?))
}

/// Mirrors `put_ctx_end_at`.
fn take_ctx_end_at<'a>(from: &mut Take<'_, 'a>) -> Result<Event<'a>, Fault> {
    let memory = from.memory;
    let id = beside(from.number()?, memory.ctx);
    let (loc, last, name) = take_end(from, &memory.ctx_ends)?;
    let parent = match from.number()? {
        0 => None,
        1 => unword(last.ok_or(Fault::NothingBefore)?.parent),
        far => Some(beside(far.wrapping_sub(2), id)),
    };
    Ok(Event::CtxEnd {
        id,
        parent,
        loc: unplace(loc),
        name,
    })
}

/// Mirrors `put_task_end_at`.
///
/// Marks that no encoder sets are passed over.
fn take_task_end_at<'a>(from: &mut Take<'_, 'a>) -> Result<Event<'a>, Fault> {
    let memory = from.memory;
    let bits = from.number()?;
    let slot = beside(bits >> 3, polled(memory));
    let (loc, last, name) = take_end(from, &memory.task_ends)?;
    let flags = from.number()?;
    let id = match flags & 1 {
        0 => memory.task,
        _ => beside(from.number()?, memory.task),
    };
    let ctx = if flags & 2 == 0 {
        Some(memory.ctx)
    } else {
        let far = from.number()?.checked_sub(1);
        far.map(|far| beside(far, memory.ctx))
    };
    let parent = match flags >> 2 {
        0 => None,
        1 => unword(last.ok_or(Fault::NothingBefore)?.parent),
        _ => Some(beside(from.number()?, id)),
    };
    let polls = if bits & 1 == 0 {
        let seen = memory.slot(slot).ok_or(Fault::NothingBefore)?;
        u64::from(seen.next.number())
    } else {
        from.number()?
    };
    Ok(Event::TaskEnd {
        slot,
        id,
        outcome: Outcome::from_number(bits >> 1 & LAST_OUTCOME),
        parent,
        ctx,
        loc: unplace(loc),
        polls,
        busy: from.number()?,
        name,
    })
}

/// Mirrors `put_task_end`.
fn take_task_end<'a>(from: &mut Take<'_, 'a>) -> Result<Event<'a>, Fault> {
    let memory = from.memory;
    let bits = from.number()?;
    let slot = beside(bits >> 3, polled(memory));
    let seen = memory.slot(slot).filter(|seen| seen.is_spawned);
    let seen = seen.ok_or(Fault::NothingBefore)?;
    let polls = if bits & 1 == 0 {
        u64::from(seen.next.number())
    } else {
        from.number()?
    };
    Ok(Event::TaskEnd {
        slot,
        id: seen.id,
        outcome: Outcome::from_number(bits >> 1 & LAST_OUTCOME),
        parent: unword(seen.parent),
        ctx: unword(seen.ctx),
        loc: unplace(seen.loc),
        polls,
        busy: from.number()?,
        name: from.known_name(seen.name)?,
    })
}

/// A place, as a shape has it: zero for none, else the number plus one.
fn place(number: u64) -> Result<u32, Fault> {
    let Some(loc) = number.checked_sub(1) else {
        return Ok(NOWHERE);
    };
    let loc = u32::try_from(loc).ok().filter(|loc| *loc != NOWHERE);
    loc.ok_or(Fault::NumberTooLarge)
}
