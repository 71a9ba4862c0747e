//! What both sides remember of a block while they write or read it: [`Memory`].
//!
//! It is made of the events alone, whichever form they have, so an encoder and a decoder that have
//! come to the same event remember the same. Nothing is ever said about the memory itself.
//!
//! # What an event leaves there
//! | Event | leaves |
//! |---|---|
//! | each that names a context | that one, from which the next id counts |
//! | each that names a task | the same; within a poll it is the task that is polled |
//! | `ctx_create` | parent, place and name by id, for the end; its shape |
//! | `task_spawn` | the same by slot; the first poll is next; its shape |
//! | `wake` | which poll is next; who woke, by kind |
//! | `poll_start` | the slot as the one that is polled; the poll behind it is next |
//! | `ctx_cancel`, `ctx_seen` with a task | that this is the task that is polled, if that was not known |
//! | `ctx_end`, `task_end` | that nothing is known any more; a shape where the making was not known |
//!
//! # Why a slot and not an id
//! Polls and wakes name slots, and they are most of the events. A slot is a small number, and its low
//! bits are a place; two slots that share a place cost bytes, and nothing else.
//!
//! # Hostile bytes
//! Whatever a block says, it has these places and no more. Nothing is looked up but by a number that is
//! compared with what stands there.
//!
//! # Invariants
//! 1. [`Memory::note`] is called once for each event, after it was written or read as a whole.
//! 2. It depends on the event, the number of its name and the shape that its form has used, and on
//!    nothing else.
//!
//! # Costs
//! Some 16 KiB, in fixed places: who comes later overwrites. For a poll or a wake one of them is looked
//! at, and written.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]

use crate::arg::{Seq, WakeBy};
use crate::event::Event;
use crate::words::UNNUMBERED;

/// What a block has said so far, as far as later events may refer to it.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// What ids of contexts count from: the last one that was named.
    pub(crate) ctx: u64,
    /// What ids of tasks and jobs count from: that of the task that is polled, or the last one named.
    pub(crate) task: u64,
    /// The context and the task that were made last: new ids are larger.
    pub(crate) made_ctx: u64,
    /// The task or job that was made last.
    pub(crate) made_task: u64,
    /// What slots count from: the last one that was named.
    pub(crate) slot: u64,
    /// That of the last poll that has begun.
    pub(crate) polled: u64,
    /// Who woke last, by the number of the [`WakeBy`].
    pub(crate) wakers: [u64; WAKERS],
    /// By the low bits of the slot.
    slots: [SlotSeen; SLOTS],
    /// By the low bits of the id.
    ctxs: [CtxSeen; CTXS],
    /// Of contexts that were made.
    pub(crate) ctx_shapes: Shapes<CtxShape>,
    /// Of tasks that were spawned.
    pub(crate) task_shapes: Shapes<TaskShape>,
    /// Of ends that began.
    pub(crate) cancel_shapes: Shapes<CancelShape>,
    /// Of ends of contexts, and of tasks, whose beginnings do not stand in the block.
    pub(crate) ctx_ends: Shapes<EndShape>,
    /// The same of tasks.
    pub(crate) task_ends: Shapes<EndShape>,
}

/// Kinds of [`WakeBy`] of which the last waker is remembered.
pub(crate) const WAKERS: usize = 8;

/// Slots that are known at a time, at most.
const SLOTS: usize = 128;
/// Contexts that are known at a time, at most: those of some dozen requests.
const CTXS: usize = 256;

/// Of a number or nothing: nothing. Who has it as a number is not remembered.
pub(crate) const NONE: u64 = u64::MAX;
/// The same for places.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// A number or nothing as one word, which takes half of what an `Option` does. The outer `None` is for the one that has no word.
#[inline]
pub(crate) fn word(number: Option<u64>) -> Option<u64> {
    match number {
        Some(NONE) => None,
        Some(number) => Some(number),
        None => Some(NONE),
    }
}

/// What a word says.
#[inline]
pub(crate) fn unword(word: u64) -> Option<u64> {
    (word != NONE).then_some(word)
}

/// A place as half a word; `None` for a number that no table has.
#[inline]
pub(crate) fn place_word(loc: Option<u64>) -> Option<u32> {
    let Some(loc) = loc else {
        return Some(NOWHERE);
    };
    u32::try_from(loc).ok().filter(|loc| *loc != NOWHERE)
}

/// What such a half says.
#[inline]
pub(crate) fn unplace(word: u32) -> Option<u64> {
    (word != NOWHERE).then_some(word.into())
}

/// What is known of a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotSeen {
    /// [`NONE`]: nothing is known.
    slot: u64,
    /// The number of the poll that comes next.
    pub(crate) next: Seq,
    /// Whether the fields that are its spawn's are good.
    pub(crate) is_spawned: bool,
    /// Of its task; [`NONE`]: not known.
    pub(crate) id: u64,
    /// Who has spawned it.
    pub(crate) parent: u64,
    /// The context that is its own.
    pub(crate) ctx: u64,
    /// The place of the spawn.
    pub(crate) loc: u32,
    /// The number of its name.
    pub(crate) name: u32,
}

impl SlotSeen {
    /// A place in which nothing stands.
    const EMPTY: Self = Self {
        slot: NONE,
        next: Seq::new(0),
        is_spawned: false,
        id: NONE,
        parent: NONE,
        ctx: NONE,
        loc: NOWHERE,
        name: UNNUMBERED,
    };
}

/// What is known of a context from its making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CtxSeen {
    /// [`NONE`]: nothing is known.
    id: u64,
    /// The context above.
    pub(crate) parent: u64,
    /// Where it was made.
    pub(crate) loc: u32,
    /// The number of its name.
    pub(crate) name: u32,
}

impl CtxSeen {
    /// A place in which nothing stands.
    const EMPTY: Self = Self {
        id: NONE,
        parent: NONE,
        loc: NOWHERE,
        name: UNNUMBERED,
    };
}

/// What contexts that are made at one place have in common.
///
/// The deadline itself goes with the shape as [`Last`]: a time-out is mostly the same each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CtxShape {
    /// The number of the kind.
    pub(crate) kind: u64,
    /// The place.
    pub(crate) loc: u32,
    /// The number of the name.
    pub(crate) name: u32,
    /// Whether there is a deadline of its own.
    pub(crate) has_deadline: bool,
}

/// What tasks that are spawned at one place have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskShape {
    /// The place of the spawn.
    pub(crate) loc: u32,
    /// The number of the name.
    pub(crate) name: u32,
    /// How large the future is.
    pub(crate) bytes: u64,
    /// Who has spawned it.
    pub(crate) parent: Whose,
    /// Whether the context is the one that was made last.
    pub(crate) is_made: bool,
}

/// What ends of contexts that come from one place have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CancelShape {
    /// The number of the kind of the cause.
    pub(crate) kind: u64,
    /// Who has ended it.
    pub(crate) by: Whose,
    /// The place of the call.
    pub(crate) loc: u32,
    /// The number of the message.
    pub(crate) message: u32,
    /// Whether it was due at an instant.
    pub(crate) has_due: bool,
}

/// What is said again at the end of what was made at one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EndShape {
    /// Where it was made.
    pub(crate) loc: u32,
    /// The number of its name.
    pub(crate) name: u32,
}

/// Who has spawned a task, or ended a context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// Nobody has, or it is not known who.
    Nobody,
    /// Whose id ids count from: mostly the task that is polled.
    Current,
    /// Another one, which is said each time.
    Another,
}

/// What goes with a shape, and changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Last {
    /// The parent of the last one of the shape.
    pub(crate) parent: u64,
    /// Its deadline, in ticks; 0 without one.
    pub(crate) deadline: i64,
}

impl Last {
    /// For shapes with which nothing goes.
    const NOTHING: Self = Self {
        parent: 0,
        deadline: 0,
    };
}

/// The last so many shapes of one sort.
///
/// A new one takes the place of the oldest. A shape whose name is not remembered any more is never found
/// again, and goes in its turn.
#[derive(Clone, Debug)]
pub(crate) struct Shapes<S> {
    /// In their places.
    shapes: [Option<(S, Last)>; SHAPES],
    /// Where the next new one goes.
    next: u8,
}

/// So many have a number of one byte, and a program has no more places that matter at a time.
const SHAPES: usize = 64;

/// How an event has used a shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ShapeUse {
    /// Not at all.
    Nothing,
    /// It is the one in this place.
    Known(u8),
    /// It has brought a new one.
    New,
}

impl<S: Copy + PartialEq> Shapes<S> {
    /// None.
    const fn new() -> Self {
        Self {
            shapes: [None; SHAPES],
            next: 0,
        }
    }

    /// The shape in a place.
    #[inline]
    pub(crate) fn get(&self, at: u8) -> Option<&(S, Last)> {
        self.shapes.get(usize::from(at))?.as_ref()
    }

    /// Keeps what has changed, of a shape that is known or new; the place of a new one.
    fn note(&mut self, shape: S, usage: ShapeUse, last: Last) -> Option<u8> {
        let at = match usage {
            ShapeUse::Nothing => return None,
            ShapeUse::Known(at) => at,
            ShapeUse::New => self.next,
        };
        if let Some(place) = self.shapes.get_mut(usize::from(at)) {
            *place = Some((shape, last));
        }
        if usage != ShapeUse::New {
            return None;
        }
        let next = at.wrapping_add(1);
        self.next = if usize::from(next) < SHAPES { next } else { 0 };
        Some(at)
    }
}

impl Memory {
    /// Of a block in which nothing stands.
    pub(crate) const fn new() -> Self {
        Self {
            ctx: 0,
            task: 0,
            made_ctx: 0,
            made_task: 0,
            slot: 0,
            polled: NONE,
            wakers: [0; WAKERS],
            slots: [SlotSeen::EMPTY; SLOTS],
            ctxs: [CtxSeen::EMPTY; CTXS],
            ctx_shapes: Shapes::new(),
            task_shapes: Shapes::new(),
            cancel_shapes: Shapes::new(),
            ctx_ends: Shapes::new(),
            task_ends: Shapes::new(),
        }
    }

    /// What is known of a slot.
    ///
    /// `None` too where another slot has its place.
    #[inline]
    pub(crate) fn slot(&self, slot: u64) -> Option<&SlotSeen> {
        let seen = self.slots.get(low(slot) % SLOTS)?;
        (seen.slot == slot && slot != NONE).then_some(seen)
    }

    /// What is known of a context from its making.
    ///
    /// `None` too where another one has its place.
    #[inline]
    pub(crate) fn ctx(&self, id: u64) -> Option<&CtxSeen> {
        let seen = self.ctxs.get(low(id) % CTXS)?;
        (seen.id == id && id != NONE).then_some(seen)
    }

    /// The id of the task that is polled, or was polled last.
    ///
    /// It is known from the spawn, or from the first event that has named a task within the poll.
    #[inline]
    pub(crate) fn current(&self) -> Option<u64> {
        let seen = self.slot(self.polled)?;
        unword(seen.id)
    }

    /// Takes the place of a slot, which begins anew if it was another's.
    #[inline]
    fn slot_mut(&mut self, slot: u64) -> Option<&mut SlotSeen> {
        self.slot = slot;
        let seen = self.slots.get_mut(low(slot) % SLOTS)?;
        if seen.slot != slot {
            *seen = SlotSeen {
                slot,
                ..SlotSeen::EMPTY
            };
        }
        Some(seen)
    }

    /// Takes an event in; the place of a shape that it has brought.
    ///
    /// `name` is the number of its name, and `usage` what its form has done with a shape.
    #[inline]
    pub(crate) fn note(&mut self, event: &Event<'_>, name: u32, usage: ShapeUse) -> Option<u8> {
        match *event {
            Event::PollStart { slot, seq } => {
                self.polled = slot;
                let seen = self.slot_mut(slot)?;
                seen.next = seq.next();
                let id = seen.id;
                if id != NONE {
                    self.task = id;
                }
            }
            Event::Wake {
                slot,
                seq,
                by,
                waker,
            } => {
                if let Some(seen) = self.slot_mut(slot) {
                    seen.next = seq;
                }
                if let (Some(last), Some(waker)) = (self.wakers.get_mut(waker_at(by)), waker) {
                    *last = waker;
                }
            }
            Event::TaskCtx { ctx, .. } => self.ctx = ctx,
            Event::PollPending { .. }
            | Event::PollListening { .. }
            | Event::PollReady {}
            | Event::PollYield {}
            | Event::PollPreempt {}
            | Event::PollLost {}
            | Event::Park {}
            | Event::Unpark {} => {}
            _ => return self.note_rare(event, name, usage),
        }
        None
    }

    /// The events of a task's or a context's life.
    fn note_rare(&mut self, event: &Event<'_>, name: u32, usage: ShapeUse) -> Option<u8> {
        match *event {
            Event::CtxCreate { .. } => return self.ctx_create(event, name, usage),
            Event::TaskSpawn { .. } => return self.task_spawn(event, name, usage),
            Event::CtxEnd {
                id, parent, loc, ..
            } => {
                self.ctx = id;
                if let Some(seen) = self
                    .ctxs
                    .get_mut(low(id) % CTXS)
                    .filter(|seen| seen.id == id)
                {
                    *seen = CtxSeen::EMPTY;
                }
                return Self::end(&mut self.ctx_ends, parent, loc, name, usage);
            }
            Event::CtxCancel { id, by, .. } => {
                let shape = self.cancel_shape(event, name);
                self.ctx = id;
                self.learn(by);
                return self.cancel_shapes.note(shape?, usage, Last::NOTHING);
            }
            Event::CtxSeen { id, task, .. } => {
                self.ctx = id;
                self.learn(task);
            }
            Event::CtxTag { id, .. } | Event::CtxVain { id, .. } => self.ctx = id,
            Event::TaskEnd {
                slot,
                id,
                parent,
                ctx,
                loc,
                ..
            } => {
                if let Some(seen) = self.slot_mut(slot) {
                    *seen = SlotSeen::EMPTY;
                }
                self.task = id;
                self.ctx = ctx.unwrap_or(self.ctx);
                return Self::end(&mut self.task_ends, parent, loc, name, usage);
            }
            Event::JobQueued {
                job, parent, ctx, ..
            } => {
                self.made_task = self.made_task.max(job);
                self.ctx = ctx.unwrap_or(self.ctx);
                self.learn(parent);
            }
            Event::JobStart { job } => self.task = job,
            Event::JobEnd { job, ctx, .. } => {
                self.task = job;
                self.ctx = ctx.unwrap_or(self.ctx);
            }
            Event::Stack { task, .. } => self.task = task,
            _ => {}
        }
        None
    }

    /// Keeps what the end of a context will say again. A place or a parent that has no word is not
    /// kept, so such a context is told in full.
    fn ctx_create(&mut self, event: &Event<'_>, name: u32, usage: ShapeUse) -> Option<u8> {
        let Event::CtxCreate {
            id,
            parent,
            kind,
            loc,
            deadline,
            ..
        } = *event
        else {
            return None;
        };
        (self.ctx, self.made_ctx) = (id, id);
        let (Some(parent), Some(loc)) = (word(parent), place_word(loc)) else {
            return None;
        };
        if let Some(seen) = self.ctxs.get_mut(low(id) % CTXS) {
            *seen = CtxSeen {
                id,
                parent,
                loc,
                name,
            };
        }
        let shape = CtxShape {
            kind: kind.number(),
            loc,
            name,
            has_deadline: deadline.is_some(),
        };
        let last = Last {
            parent,
            deadline: deadline.unwrap_or(0),
        };
        self.ctx_shapes.note(shape, usage, last)
    }

    /// The same of a task, by its slot.
    fn task_spawn(&mut self, event: &Event<'_>, name: u32, usage: ShapeUse) -> Option<u8> {
        let Event::TaskSpawn {
            slot,
            id,
            parent,
            ctx,
            loc,
            ..
        } = *event
        else {
            return None;
        };
        let shape = self.task_shape(event, name);
        self.made_task = id;
        self.ctx = ctx.unwrap_or(self.ctx);
        self.learn(parent);
        let (parent, ctx, loc) = (word(parent), word(ctx), place_word(loc));
        let seen = self.slot_mut(slot)?;
        *seen = SlotSeen {
            slot,
            id,
            ..SlotSeen::EMPTY
        };
        let (Some(parent), Some(ctx), Some(loc)) = (parent, ctx, loc) else {
            return None;
        };
        seen.is_spawned = id != NONE;
        (seen.parent, seen.ctx, seen.loc, seen.name) = (parent, ctx, loc, name);
        self.task_shapes.note(shape?, usage, Last::NOTHING)
    }

    /// Notes the shape of an end.
    fn end(
        ends: &mut Shapes<EndShape>,
        parent: Option<u64>,
        loc: Option<u64>,
        name: u32,
        usage: ShapeUse,
    ) -> Option<u8> {
        let shape = EndShape {
            loc: place_word(loc)?,
            name,
        };
        let last = Last {
            parent: word(parent)?,
            ..Last::NOTHING
        };
        ends.note(shape, usage, last)
    }

    /// The shape of an end that began, as it is before the event is noted.
    pub(crate) fn cancel_shape(&self, event: &Event<'_>, message: u32) -> Option<CancelShape> {
        let Event::CtxCancel {
            kind, by, loc, due, ..
        } = *event
        else {
            return None;
        };
        Some(CancelShape {
            kind: kind.number(),
            by: self.whose(by),
            loc: place_word(loc)?,
            message,
            has_due: due.is_some(),
        })
    }

    /// Whether it is the task that ids count from.
    fn whose(&self, task: Option<u64>) -> Whose {
        match task {
            None => Whose::Nobody,
            Some(task) if task == self.task => Whose::Current,
            Some(_) => Whose::Another,
        }
    }

    /// The shape of a spawn, as it is before the event is noted; `None` for a place that has no word.
    pub(crate) fn task_shape(&self, event: &Event<'_>, name: u32) -> Option<TaskShape> {
        let Event::TaskSpawn {
            parent,
            ctx,
            loc,
            bytes,
            ..
        } = *event
        else {
            return None;
        };
        Some(TaskShape {
            loc: place_word(loc)?,
            name,
            bytes,
            parent: self.whose(parent),
            is_made: ctx == Some(self.made_ctx),
        })
    }

    /// Who does something within a poll is most likely the task that is polled.
    ///
    /// A guess that is wrong costs bytes: whoever asks compares it with what is to be said.
    fn learn(&mut self, task: Option<u64>) {
        let Some(task) = task else {
            return;
        };
        self.task = task;
        let polled = self.polled;
        if let Some(seen) = self.slots.get_mut(low(polled) % SLOTS)
            && seen.slot == polled
            && seen.id == NONE
        {
            seen.id = task;
        }
    }
}

/// The place of a kind of waker; those without a name share the last one.
#[inline]
pub(crate) fn waker_at(by: WakeBy) -> usize {
    usize::try_from(by.number())
        .map_or(WAKERS, |at| at)
        .min(WAKERS.saturating_sub(1))
}

/// The low bits of a number: where it stands, in a table of a few hundred.
#[inline]
fn low(number: u64) -> usize {
    let [low, ..] = number.to_le_bytes();
    usize::from(low)
}
