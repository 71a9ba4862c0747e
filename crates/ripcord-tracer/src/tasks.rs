//! The recorder as an observer of tasks: what each event becomes.
//!
//! What is written when, is said in docs/internals/recording.md. Each event here is a look at the
//! task's slot, one reading of the clock and one write into the thread's block.

use crate::clock::TraceClock;
use crate::live::{LiveTask, Said};
use crate::local::{Local, with_local};
use crate::recorder::Recording;
use crate::slots::Slot;
use crate::stacks::Taken;
use ripcord_core::tasks::{
    ContextRef, Ended, Mark, PollEnd, Spawned, StackText, TaskEnd, TaskObserver, TaskRef,
    ThreadKind, Wait, WokenBy, current_task,
};
use ripcord_trace_format::{Event, Outcome, StackWhy, WakeBy};
use std::sync::Arc;

impl Recording {
    /// The slot of a task, and the number of the slot, if it is one of this recorder's.
    #[inline]
    fn task(&self, task: TaskRef) -> Option<(u32, &Slot<LiveTask>)> {
        let number = number_of(task.key)?;
        Some((number, self.0.tasks.find(number, task.id)?))
    }

    #[inline]
    fn raw(&self) -> u64 {
        self.0.clock.raw()
    }

    /// Writes an event of the thread, of now.
    #[inline]
    fn record(&self, event: &Event<'_>) {
        with_local(&self.0, |local| local.record(self.raw(), event));
    }

    /// Whether a task is to be recorded: as the context is that it works under.
    fn is_wanted(&self, task: &Spawned<'_>) -> bool {
        self.0.one_in() == 1
            || task
                .context
                .is_some_and(|context| self.0.find_context(context).is_some())
    }

    /// The slot that an event names as the one who woke.
    fn slot_of(&self, task: TaskRef) -> Option<u64> {
        self.task(task)
            .filter(|(_, slot)| !slot.live.is_job())
            .map(|(number, _)| number.into())
    }

    fn spawn(&self, local: &mut Local, task: &Spawned<'_>) -> Option<u64> {
        let Some((number, slot)) = self.0.tasks.take(&mut local.tasks) else {
            self.0.note_unplaced();
            return None;
        };
        let raw = self.raw();
        let said = Said {
            tick: TraceClock::tick_of(raw),
            parent: task.parent.map(|parent| parent.id),
            ctx: task.context.map(|context| context.id),
            loc: Some(local.place(task.site)),
            bytes: u64::try_from(task.size).unwrap_or(u64::MAX),
            name: String::new(),
        };
        slot.live
            .begin(task.is_blocking, task.context, &said, task.name);
        slot.set_id(task.task);
        let event = spawn_event(number, task.task, task.is_blocking, &said, task.name);
        local.record(raw, &event);
        Some(key_of(number))
    }

    fn end(&self, local: &mut Local, number: u32, slot: &Slot<LiveTask>, ended: &Ended<'_>) {
        let (task, raw) = (&ended.spawned, self.raw());
        let outcome = outcome(ended.end);
        let parent = task.parent.map(|parent| parent.id);
        let ctx = task.context.map(|context| context.id);
        let loc = Some(local.place(task.site));
        let event = if task.is_blocking {
            Event::JobEnd {
                job: task.task,
                outcome,
                parent,
                ctx,
                loc,
                name: task.name,
            }
        } else {
            Event::TaskEnd {
                slot: number.into(),
                id: task.task,
                outcome,
                parent,
                ctx,
                loc,
                polls: ended.polls,
                busy: TraceClock::tick_of(slot.live.busy()),
                name: task.name,
            }
        };
        local.record(raw, &event);
        // Free only now: the event that gives it to another task comes after this one.
        slot.set_id(0);
        self.0.tasks.give_back(number, &mut local.tasks);
    }
}

/// What is said of a task or job when it begins, and again in a dump.
pub(crate) fn spawn_event<'a>(
    slot: u32,
    id: u64,
    is_job: bool,
    said: &Said,
    name: &'a str,
) -> Event<'a> {
    let Said {
        parent, ctx, loc, ..
    } = *said;
    if is_job {
        return Event::JobQueued {
            job: id,
            parent,
            ctx,
            loc,
            name,
        };
    }
    Event::TaskSpawn {
        slot: slot.into(),
        id,
        parent,
        ctx,
        loc,
        bytes: said.bytes,
        name,
    }
}

fn outcome(end: TaskEnd) -> Outcome {
    match end {
        TaskEnd::Ready => Outcome::Ready,
        TaskEnd::Panicked => Outcome::Panicked,
        TaskEnd::Aborted => Outcome::Aborted,
        _ => Outcome::Dropped,
    }
}

/// Keys are numbers of slots plus one; 0 is nobody's.
pub(crate) fn key_of(number: u32) -> u64 {
    u64::from(number) + 1
}

/// The slot of a key.
#[inline]
pub(crate) fn number_of(key: u64) -> Option<u32> {
    u32::try_from(key.checked_sub(1)?).ok()
}

impl TaskObserver for Recording {
    fn spawned(&self, task: &Spawned<'_>) -> u64 {
        if !self.0.is_recording() || !self.is_wanted(task) {
            return TaskRef::UNTOLD;
        }
        let key = with_local(&self.0, |local| self.spawn(local, task));
        key.flatten().unwrap_or(TaskRef::UNTOLD)
    }

    fn poll_started(&self, task: TaskRef, worker: Option<u32>) {
        let Some((number, slot)) = self.task(task) else {
            return;
        };
        let raw = self.raw();
        let seq = slot.live.start_poll(raw);
        let slot = number.into();
        with_local(&self.0, |local| {
            if worker.is_some() {
                local.note_kind(ThreadKind::Worker);
            }
            local.info.note_poll(task.key, raw);
            local.record(raw, &Event::PollStart { slot, seq });
        });
    }

    fn poll_ended(&self, task: TaskRef, end: PollEnd, wait: Wait) {
        let Some((number, slot)) = self.task(task) else {
            return;
        };
        let raw = self.raw();
        let back = slot.live.end_poll(raw);
        with_local(&self.0, |local| {
            local.info.note_poll(0, raw);
            if let Some(ctx) = back {
                let slot = number.into();
                local.record(raw, &Event::TaskCtx { slot, ctx });
            }
            let label = wait.label.and_then(|label| local.label(label));
            let event = match end {
                PollEnd::Ready => Event::PollReady {},
                PollEnd::Yielded => Event::PollYield {},
                PollEnd::Preempted => Event::PollPreempt {},
                PollEnd::Lost => Event::PollLost {},
                // Its end is told with that of the task.
                PollEnd::Panicked => return,
                _ if wait.listens => Event::PollListening { label },
                _ => Event::PollPending { label },
            };
            local.record(raw, &event);
        });
    }

    fn woken(&self, task: TaskRef, by: WokenBy) {
        let Some((number, slot)) = self.task(task) else {
            return;
        };
        let Some(seq) = slot.live.wake() else {
            return;
        };
        with_local(&self.0, |local| {
            let thread = Some(u64::from(local.info.number));
            let (by, waker) = match by {
                WokenBy::Itself => (WakeBy::Itself, None),
                WokenBy::Task(task) => match self.slot_of(task) {
                    None if self.task(task).is_some() => (WakeBy::Blocking, thread),
                    slot => (WakeBy::Task, slot),
                },
                // It has given its slot back, and nobody on this thread has taken it since.
                WokenBy::Completion(task) => {
                    (WakeBy::Completion, number_of(task.key).map(u64::from))
                }
                WokenBy::Cancel(origin) => (WakeBy::Cancel, origin),
                WokenBy::Driver(worker) => (WakeBy::Driver, Some(worker.into())),
                WokenBy::Runtime(worker) => (WakeBy::Runtime, Some(worker.into())),
                WokenBy::Blocking => (WakeBy::Blocking, thread),
                _ => (WakeBy::Foreign, thread),
            };
            let slot = number.into();
            let event = Event::Wake {
                slot,
                seq,
                by,
                waker,
            };
            local.record(self.raw(), &event);
        });
    }

    fn ended(&self, task: TaskRef, ended: &Ended<'_>) {
        if let Some((number, slot)) = self.task(task) {
            with_local(&self.0, |local| self.end(local, number, slot, ended));
        }
    }

    fn context_changed(&self, task: TaskRef, context: Option<ContextRef>) {
        let Some((number, slot)) = self.task(task) else {
            return;
        };
        let Some(ContextRef { id: ctx, .. }) = context.filter(|ctx| slot.live.enter(*ctx)) else {
            return;
        };
        let slot = number.into();
        self.record(&Event::TaskCtx { slot, ctx });
    }

    fn blocking_started(&self, task: TaskRef) {
        if self.task(task).is_none() {
            return;
        }
        with_local(&self.0, |local| {
            local.note_kind(ThreadKind::Blocking);
            local.record(self.raw(), &Event::JobStart { job: task.id });
        });
    }

    fn stack_taken(&self, task: TaskRef, stack: &Arc<dyn StackText>) {
        if self.task(task).is_some() {
            self.0.stacks.keep(Taken {
                raw: self.raw(),
                task: task.id,
                why: StackWhy::Asked,
                stack: Arc::clone(stack),
            });
        }
    }

    fn thread_started(&self) {
        if self.0.is_recording() {
            // To be known is to have begun: the part of the thread says so.
            with_local(&self.0, |_| ());
        }
    }

    fn thread_stopped(&self, kind: ThreadKind) {
        if !self.0.is_recording() {
            return;
        }
        with_local(&self.0, |local| {
            local.note_kind(kind);
            local.record(self.raw(), &Event::ThreadStop {});
        });
    }

    fn parked(&self, _worker: Option<u32>) {
        if self.0.is_recording() {
            with_local(&self.0, |local| {
                local.note_kind(ThreadKind::Worker);
                local.record(self.raw(), &Event::Park {});
            });
        }
    }

    fn unparked(&self, _worker: Option<u32>) {
        if self.0.is_recording() {
            self.record(&Event::Unpark {});
        }
    }

    fn region_begun(&self, region: &Mark<'static>) {
        if !self.is_of_recorded(region.task) {
            return;
        }
        with_local(&self.0, |local| {
            // Without a number it still begins: its end has none either.
            let label = local.label(region.text).unwrap_or(u64::MAX);
            local.record(self.raw(), &Event::RegionBegin { label });
        });
    }

    fn region_ended(&self, _region: u64) {
        if self.is_of_recorded(current_task()) {
            self.record(&Event::RegionEnd {});
        }
    }

    fn logged(&self, line: &Mark<'_>) {
        if self.is_of_recorded(line.task) {
            self.record(&Event::Log { text: line.text });
        }
    }

    fn user_task_begun(&self, user_task: &Mark<'_>) {
        if self.0.is_recording() {
            self.record(&Event::UserTaskBegin {
                id: user_task.id,
                name: user_task.text,
            });
        }
    }

    fn user_task_ended(&self, user_task: u64) {
        if self.0.is_recording() {
            self.record(&Event::UserTaskEnd { id: user_task });
        }
    }
}

impl Recording {
    /// Marks of a task that is not recorded would belong to nobody.
    fn is_of_recorded(&self, task: Option<TaskRef>) -> bool {
        match task {
            Some(task) => self.task(task).is_some(),
            None => self.0.is_recording(),
        }
    }
}
