//! Moves everything that a trace has numbered out of the way of another trace's numbers.

use ripcord_trace_format::{Event, WakeBy};

/// What is added to the numbers of a trace.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Bases {
    pub(super) thread: u32,
    pub(super) slot: u64,
    /// Of tasks and jobs.
    pub(super) task: u64,
    pub(super) ctx: u64,
    pub(super) user_task: u64,
    pub(super) location: u64,
    pub(super) label: u64,
}

/// The event with other numbers; `None` if a number cannot be moved, or the type is not known.
///
/// A number beyond 64 bits is of no recorder, and one that wrapped would be another one's.
pub(super) fn renumbered<'a>(event: &Event<'a>, bases: &Bases) -> Option<Event<'a>> {
    let mut event = *event;
    let is_known =
        life(&mut event, bases)? || course(&mut event, bases)? || is_without_numbers(&event);
    is_known.then_some(event)
}

/// Beginnings and ends; whether the event is one.
fn life(event: &mut Event<'_>, bases: &Bases) -> Option<bool> {
    // One line for each, so that they can be compared with the event table.
    #[rustfmt::skip]
    let (base, id, parent, ctx, loc) = match event {
        Event::TaskSpawn { slot, id, parent, ctx, loc, .. }
        | Event::TaskEnd { slot, id, parent, ctx, loc, .. } => {
            add(slot, bases.slot)?;
            (bases.task, id, parent, Some(ctx), loc)
        }
        Event::JobQueued { job, parent, ctx, loc, .. }
        | Event::JobEnd { job, parent, ctx, loc, .. } => {
            (bases.task, job, parent, Some(ctx), loc)
        }
        Event::CtxCreate { id, parent, loc, .. }
        | Event::CtxEnd { id, parent, loc, .. } => {
            (bases.ctx, id, parent, None, loc)
        }
        _ => return Some(false),
    };
    add(id, base)?;
    add_some(parent, base)?;
    ctx.map_or(Some(()), |ctx| add_some(ctx, bases.ctx))?;
    add_some(loc, bases.location)?;
    Some(true)
}

/// What happens in between, and tables; whether the event is of these.
fn course(event: &mut Event<'_>, bases: &Bases) -> Option<bool> {
    match event {
        Event::CtxCancel {
            id, by: task, loc, ..
        }
        | Event::CtxSeen { id, task, loc, .. } => {
            add(id, bases.ctx)?;
            add_some(task, bases.task)?;
            add_some(loc, bases.location)?;
        }
        Event::CtxTag { id, key, .. } => {
            add(id, bases.ctx)?;
            add(key, bases.label)?;
        }
        Event::TaskCtx { slot, ctx } => {
            add(slot, bases.slot)?;
            add(ctx, bases.ctx)?;
        }
        Event::Wake {
            slot, by, waker, ..
        } => {
            add(slot, bases.slot)?;
            add_some(waker, waker_base(*by, bases))?;
        }
        Event::PollStart { slot, .. } => add(slot, bases.slot)?,
        Event::Stall { slot, .. } => add_some(slot, bases.slot)?,
        Event::PollPending { label } | Event::PollListening { label } => {
            add_some(label, bases.label)?;
        }
        Event::RegionBegin { label: number }
        | Event::Metric { label: number, .. }
        | Event::Label { index: number, .. } => add(number, bases.label)?,
        Event::Location { index, .. } => add(index, bases.location)?,
        Event::JobStart { job: number } | Event::Stack { task: number, .. } => {
            add(number, bases.task)?;
        }
        Event::UserTaskBegin { id, .. } | Event::UserTaskEnd { id } => add(id, bases.user_task)?,
        Event::ThreadTotals { thread, .. } => add(thread, u64::from(bases.thread))?,
        _ => return Some(false),
    }
    Some(true)
}

/// Whether the type is known to number nothing.
const fn is_without_numbers(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::PollYield {}
            | Event::PollPreempt {}
            | Event::PollReady {}
            | Event::PollLost {}
            | Event::RegionEnd {}
            | Event::Log { .. }
            | Event::Park {}
            | Event::Unpark {}
            | Event::ThreadStart { .. }
            | Event::ThreadStop {}
            | Event::Dropped { .. }
            | Event::Clock { .. }
    )
}

/// What the `waker` of a wake is a number of.
fn waker_base(by: WakeBy, bases: &Bases) -> u64 {
    match by {
        WakeBy::Task | WakeBy::Completion => bases.slot,
        WakeBy::Cancel => bases.ctx,
        WakeBy::Driver | WakeBy::Runtime | WakeBy::Blocking | WakeBy::Foreign => {
            u64::from(bases.thread)
        }
        _ => 0,
    }
}

fn add(number: &mut u64, base: u64) -> Option<()> {
    *number = number.checked_add(base)?;
    Some(())
}

fn add_some(number: &mut Option<u64>, base: u64) -> Option<()> {
    number.as_mut().map_or(Some(()), |number| add(number, base))
}
