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
        Event::CtxVain { id, loc, .. } => {
            add(id, bases.ctx)?;
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
        Event::PollStart { slot, .. } | Event::TaskLost { slot } => add(slot, bases.slot)?,
        Event::Stall { slot, .. } => add_some(slot, bases.slot)?,
        Event::PollPending { label } | Event::PollListening { label } => {
            add_some(label, bases.label)?;
        }
        Event::RegionBegin { label: number } | Event::Metric { label: number, .. } => {
            add(number, bases.label)?;
        }
        Event::Label { index, loc, .. } => {
            add(index, bases.label)?;
            add_some(loc, bases.location)?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use ripcord_trace_format::{EVENTS, Item, Reader, text};

    /// Every type of the table, and what becomes of it; those that number nothing stand alone. The bases
    /// are 100 for slots, 200 for tasks, 300 for contexts, 400 for work, 500 for places, 600 for labels
    /// and 700 for threads.
    const CASES: &[(&str, &str)] = &[
        (
            "task_spawn slot=1 id=2 parent=3 ctx=4 loc=5 bytes=6 name=\"n\"",
            "task_spawn slot=101 id=202 parent=203 ctx=304 loc=505 bytes=6 name=\"n\"",
        ),
        (
            "task_end slot=1 id=2 outcome=ready parent=3 ctx=4 loc=5 polls=6 busy=7 name=\"n\"",
            "task_end slot=101 id=202 outcome=ready parent=203 ctx=304 loc=505 polls=6 busy=7 name=\"n\"",
        ),
        ("poll_start slot=1 seq=2", "poll_start slot=101 seq=2"),
        ("poll_pending label=1", "poll_pending label=601"),
        ("poll_listening label=1", "poll_listening label=601"),
        ("task_ctx slot=1 ctx=2", "task_ctx slot=101 ctx=302"),
        ("task_lost slot=1", "task_lost slot=101"),
        (
            "wake slot=1 seq=2 by=task waker=3",
            "wake slot=101 seq=2 by=task waker=103",
        ),
        (
            "wake slot=1 seq=2 by=completion waker=3",
            "wake slot=101 seq=2 by=completion waker=103",
        ),
        (
            "wake slot=1 seq=2 by=driver waker=3",
            "wake slot=101 seq=2 by=driver waker=703",
        ),
        (
            "wake slot=1 seq=2 by=blocking waker=3",
            "wake slot=101 seq=2 by=blocking waker=703",
        ),
        (
            "wake slot=1 seq=2 by=cancel waker=3",
            "wake slot=101 seq=2 by=cancel waker=303",
        ),
        (
            "wake slot=1 seq=2 by=itself waker=-",
            "wake slot=101 seq=2 by=itself waker=-",
        ),
        (
            "ctx_create id=1 parent=2 kind=child loc=3 deadline=4 name=\"n\"",
            "ctx_create id=301 parent=302 kind=child loc=503 deadline=4 name=\"n\"",
        ),
        (
            "ctx_cancel id=1 kind=custom by=2 loc=3 due=4 message=\"m\"",
            "ctx_cancel id=301 kind=custom by=202 loc=503 due=4 message=\"m\"",
        ),
        (
            "ctx_seen id=1 task=2 how=check loc=3",
            "ctx_seen id=301 task=202 how=check loc=503",
        ),
        (
            "ctx_vain id=1 loc=2 deadline=3",
            "ctx_vain id=301 loc=502 deadline=3",
        ),
        (
            "ctx_end id=1 parent=2 loc=3 name=\"n\"",
            "ctx_end id=301 parent=302 loc=503 name=\"n\"",
        ),
        (
            "ctx_tag id=1 key=2 text=\"t\"",
            "ctx_tag id=301 key=602 text=\"t\"",
        ),
        ("region_begin label=1", "region_begin label=601"),
        (
            "user_task_begin id=1 name=\"n\"",
            "user_task_begin id=401 name=\"n\"",
        ),
        ("user_task_end id=1", "user_task_end id=401"),
        ("stall slot=1 ticks=2", "stall slot=101 ticks=2"),
        (
            "job_queued job=1 parent=2 ctx=3 loc=4 name=\"n\"",
            "job_queued job=201 parent=202 ctx=303 loc=504 name=\"n\"",
        ),
        ("job_start job=1", "job_start job=201"),
        (
            "job_end job=1 outcome=ready parent=2 ctx=3 loc=4 name=\"n\"",
            "job_end job=201 outcome=ready parent=202 ctx=303 loc=504 name=\"n\"",
        ),
        (
            "stack task=1 why=asked leaf=2 text=\"t\"",
            "stack task=201 why=asked leaf=2 text=\"t\"",
        ),
        ("metric label=1 value=2", "metric label=601 value=2"),
        (
            "thread_totals thread=1 events=2 dropped=3",
            "thread_totals thread=701 events=2 dropped=3",
        ),
        (
            "location index=1 file=\"f\" line=2 column=3",
            "location index=501 file=\"f\" line=2 column=3",
        ),
        (
            "label index=1 text=\"t\" loc=3",
            "label index=601 text=\"t\" loc=503",
        ),
    ];

    const NOT_NUMBERED: &[&str] = &[
        "poll_yield",
        "poll_preempt",
        "poll_ready",
        "poll_lost",
        "region_end",
        "log text=\"t\"",
        "park",
        "unpark",
        "thread_start kind=worker name=\"n\"",
        "thread_stop",
        "dropped events=1",
        "clock monotonic=1 wall=2",
    ];

    fn with_event<T>(line: &str, look: impl FnOnce(Event<'_>) -> T) -> T {
        let block = "block events window=0 thread=0 first=0 last=0 events=1";
        let bytes = text::parse(&format!("{block}\n  +0 {line}\n")).unwrap();
        let mut reader = Reader::headless(&bytes[..]);
        match reader.next_item().unwrap() {
            Some(Item::Block(block)) => look(block.events().next().unwrap().unwrap().1),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_number_of_every_type_is_moved() {
        let bases = Bases {
            thread: 700,
            slot: 100,
            task: 200,
            ctx: 300,
            user_task: 400,
            location: 500,
            label: 600,
        };
        let alone = NOT_NUMBERED.iter().map(|line| (*line, *line));
        let all: Vec<_> = CASES.iter().copied().chain(alone).collect();
        for (before, after) in &all {
            with_event(before, |before| {
                with_event(after, |after| {
                    assert_eq!(renumbered(&before, &bases), Some(after));
                });
            });
        }
        for row in EVENTS {
            let is_there = |(line, _): &(&str, &str)| line.split(' ').next() == Some(row.name);
            assert!(all.iter().any(is_there), "{} has no case", row.name);
        }
    }

    #[test]
    fn a_number_that_cannot_be_moved_is_refused() {
        let bases = Bases {
            ctx: 1,
            ..Bases::default()
        };
        let event = Event::TaskCtx {
            slot: 0,
            ctx: u64::MAX,
        };
        assert_eq!(renumbered(&event, &bases), None);
    }
}
