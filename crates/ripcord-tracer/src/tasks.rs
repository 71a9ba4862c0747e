//! The recorder as an observer of tasks: what each event becomes.
//!
//! What is written when, is said in docs/internals/recording.md. Each event here is a look at the
//! task's slot, one reading of the clock and one write into the thread's block.
//!
//! # What is written when
//! | Of a task | becomes |
//! |---|---|
//! | it was spawned | `task_spawn`, or `job_queued` for blocking work |
//! | a poll begins | `poll_start`, with the number of the poll |
//! | a poll ends | one of the six ends; none after a panic, whose end is that of the task |
//! | somebody wakes it | `wake`, of many between two polls the first |
//! | it works under another context | `task_ctx` |
//! | it is gone | `task_end` or `job_end` |
//!
//! Of a thread: `thread_start`, `park`, `unpark`, `thread_stop`. Of the program's own:
//! regions, lines of log, user tasks.
//!
//! # Keys
//! What is returned for a new task is the number of its slot plus one. It comes back with
//! each event, and the id with it: where the two do not belong together the task is another
//! recorder's, or has ended, and the event is not written. A task that is not recorded is
//! told of never again.
//!
//! # Costs
//! Memory is taken for a new slot and for a name that is longer than any that this slot has
//! had; nothing else here allocates. A wake that is not the first since the last poll ends
//! at one load.
//!
//! In instructions (callgrind, release build, 2026-11): a wake 235, the start of a poll 164, its end 198,
//! of which a third each is the look at the task, the thread's part with the clock, and the event.
//! So these three are kept free of calls: what is rare in them is out of line.
//!
//! # Limitations
//! What an event says of its thread is what the thread knows: a worker that was never
//! parked and never polled is not known to be one.

use crate::clock::TraceClock;
use crate::live::{LiveTask, Said};
use crate::local::{Local, with_local};
use crate::recorder::Recording;
use crate::slots::Slot;
use crate::stacks::Taken;
use crate::trigger::{OFF, Reason};
use crate::usdt;
use ripcord_core::tasks::{
    ContextRef, Ended, Mark, PollEnd, Spawned, StackText, TaskEnd, TaskObserver, TaskRef,
    ThreadKind, Wait, WokenBy, current_task,
};
use ripcord_trace_format::{Bare, Brief, Event, Outcome, StackWhy, WakeBy};
use std::sync::Arc;

impl Recording {
    /// The slot of a task, and the number of the slot, if it is one of this recorder's.
    ///
    /// Two loads and a comparison: the first thing that each event of a task does.
    #[inline]
    fn task(&self, task: TaskRef) -> Option<(u32, &Slot<LiveTask>)> {
        let number = number_of(task.key)?;
        Some((number, self.0.tasks.find(number, task.id)?))
    }

    /// The time, in the clock's own unit.
    #[inline]
    fn raw(&self) -> u64 {
        self.0.clock.raw()
    }

    /// Writes an event of the thread, of now.
    ///
    /// Lost and counted where the thread is busy with another event, as within an
    /// allocator.
    #[inline]
    fn record(&self, event: &Event<'_>) {
        with_local(&self.0, |local| local.record(self.raw(), event));
    }

    /// Whether a task is to be recorded: as the context is that it works under.
    ///
    /// A task without a recorded context is recorded only where everything is.
    fn is_wanted(&self, task: &Spawned<'_>) -> bool {
        self.0.sampling.one_in() == 1
            || self.0.is_counting()
            || task
                .context
                .is_some_and(|context| self.0.find_context(context).is_some())
    }

    /// The slot that an event names as the one who woke.
    ///
    /// `None` for a job, which has no slot in a trace, and for what is another recorder's.
    fn slot_of(&self, task: TaskRef) -> Option<u64> {
        self.task(task)
            .filter(|(_, slot)| !slot.live.is_job())
            .map(|(number, _)| number.into())
    }

    /// The key for it; `None`, and counted, where all slots are taken.
    ///
    /// # Order
    /// What is kept of it, then its id, then the event: whoever finds the id finds all of
    /// it.
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
        slot.live.set_began(raw);
        let is_told = task.is_blocking || self.0.meters.counts_polls();
        slot.live.doing.begin(raw, is_told);
        local.cells.spawned(task.is_blocking);
        usdt::task_spawn(task);
        slot.set_id(task.task);
        let event = spawn_event(number, task.task, task.is_blocking, &said, task.name);
        if let Some(memory) = self.0.memory() {
            memory.begin_task(number, said.tick, &event);
        }
        local.record(raw, &event);
        Some(key_of(number))
    }

    /// The last event says again what the first has said: the ring may have forgotten that
    /// one.
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
        let lived = raw.saturating_sub(slot.live.began());
        local.cells.ended(&self.0.clock, ended, lived);
        usdt::task_end(task.task, ended.end);
        self.note_end(slot, ended, raw);
        if let Some(memory) = self.0.memory() {
            memory.end_task(number);
        }
        // Free only now: the event that gives it to another task comes after this one.
        slot.set_id(0);
        self.0.tasks.give_back(number, &mut local.tasks);
    }
}

impl Recording {
    /// Tells a flight recorder of a task that has panicked or was late.
    ///
    /// # Costs
    /// Two loads where neither is a reason. Where lateness is one, the way up from its context.
    fn note_end(&self, slot: &Slot<LiveTask>, ended: &Ended<'_>, raw: u64) {
        let (triggers, task) = (&self.0.triggers, ended.spawned.task);
        if ended.end == TaskEnd::Panicked {
            triggers.note(Reason::Panic, raw, task);
        }
        if triggers.limit(Reason::CancelLatency) == OFF {
            return;
        }
        let [own, _] = slot.live.contexts();
        if let Some(since) = self.0.ended_since(own) {
            // Who is spawned into what has ended is not late from the beginning.
            let late = raw.saturating_sub(since.max(slot.live.began()));
            triggers.note_value(Reason::CancelLatency, late, raw, task);
        }
    }
}

impl Local {
    /// An event that is its type and its time.
    ///
    /// Ends of polls that need no more, and what a worker does between polls.
    #[inline]
    fn record_bare(&mut self, raw: u64, bare: Bare) {
        self.record_brief(raw, |ticks, _| Brief::bare(ticks, bare), || bare.event());
    }

    /// The end of a poll that leaves its task waiting.
    ///
    /// Most waits have one of a few labels, whose numbers the thread knows by their address.
    #[inline]
    fn record_wait(&mut self, raw: u64, wait: Wait) {
        let label = self.wait(&wait).map(|numbers| numbers.label.into());
        let listens = wait.listens;
        self.record_brief(
            raw,
            |ticks, _| Brief::poll_wait(ticks, listens, label),
            || {
                if listens {
                    Event::PollListening { label }
                } else {
                    Event::PollPending { label }
                }
            },
        );
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

/// What a trace calls it. What a later version of the core may tell counts as dropped.
fn outcome(end: TaskEnd) -> Outcome {
    match end {
        TaskEnd::Ready => Outcome::Ready,
        TaskEnd::Panicked => Outcome::Panicked,
        TaskEnd::Aborted => Outcome::Aborted,
        _ => Outcome::Dropped,
    }
}

/// Keys are numbers of slots plus one; 0 is nobody's.
///
/// The key that an adapter keeps for the task.
pub(crate) fn key_of(number: u32) -> u64 {
    u64::from(number) + 1
}

/// The slot of a key.
#[inline]
pub(crate) fn number_of(key: u64) -> Option<u32> {
    u32::try_from(key.checked_sub(1)?).ok()
}

/// Each method is called where it happens, so each of them is short, waits for nobody, and
/// calls no foreign code but a clock that a test has given.
impl TaskObserver for Recording {
    /// Chosen and placed, or of no interest: [`TaskRef::UNTOLD`] stops all that would
    /// follow.
    fn spawned(&self, task: &Spawned<'_>) -> u64 {
        if !self.0.is_recording() || !self.is_wanted(task) {
            return TaskRef::UNTOLD;
        }
        let key = with_local(&self.0, |local| self.spawn(local, task));
        key.flatten().unwrap_or(TaskRef::UNTOLD)
    }

    /// It also notes on the thread what it is doing, for who looks for workers that are
    /// stuck.
    fn poll_started(&self, task: TaskRef, worker: Option<u32>) {
        let Some((number, slot)) = self.task(task) else {
            return;
        };
        let raw = self.raw();
        let seq = slot.live.start_poll(raw);
        usdt::poll_start(task, worker);
        let doing = &slot.live.doing;
        let slot = number.into();
        with_local(&self.0, |local| {
            if worker.is_some() {
                local.note_kind(ThreadKind::Worker);
            }
            local.info.note_poll(task.key, raw);
            if !local.cells.poll_started(&self.0, doing, seq, raw) {
                return;
            }
            local.record_brief(
                raw,
                |ticks, known| Brief::poll_start(ticks, slot, seq, known),
                || Event::PollStart { slot, seq },
            );
        });
    }

    /// A task that has been elsewhere and is back in its own context says so before the end
    /// of the poll.
    fn poll_ended(&self, task: TaskRef, end: PollEnd, wait: Wait) {
        let Some((number, slot)) = self.task(task) else {
            return;
        };
        let raw = self.raw();
        let back = slot.live.end_poll(raw);
        usdt::poll_end(task, end);
        let (triggers, took) = (&self.0.triggers, slot.live.poll_took(raw));
        triggers.note_value(Reason::LongPoll, took, raw, task.id);
        if end == PollEnd::Lost {
            triggers.note(Reason::LostWaker, raw, task.id);
        }
        with_local(&self.0, |local| {
            local.info.note_poll(0, raw);
            if !local.count_poll(&slot.live.doing, (end, &wait), (took, raw)) {
                return;
            }
            if let Some(ctx) = back {
                let slot = number.into();
                local.record(raw, &Event::TaskCtx { slot, ctx });
            }
            let bare = match end {
                PollEnd::Ready => Bare::PollReady,
                PollEnd::Yielded => Bare::PollYield,
                PollEnd::Preempted => Bare::PollPreempt,
                PollEnd::Lost => Bare::PollLost,
                // Its end is told with that of the task.
                PollEnd::Panicked => return,
                _ => return local.record_wait(raw, wait),
            };
            local.record_bare(raw, bare);
        });
    }

    /// By whom, as exactly as is known: a task names its slot, a context its id, a driver
    /// its worker, and anybody else the thread.
    fn woken(&self, task: TaskRef, by: WokenBy) {
        let Some((number, slot)) = self.task(task) else {
            return;
        };
        let Some(seq) = slot.live.wake() else {
            return;
        };
        with_local(&self.0, |local| {
            let raw = self.raw();
            usdt::wake(task, by);
            if !local.cells.woken(&self.0, &slot.live.doing, seq, by, raw) {
                return;
            }
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
            local.record_brief(
                raw,
                |ticks, known| Brief::wake(ticks, slot, seq, by, waker, known),
                || Event::Wake {
                    slot,
                    seq,
                    by,
                    waker,
                },
            );
        });
    }

    /// A trigger of the flight recorder as well, as where a poll ends so.
    fn lost(&self, task: TaskRef) {
        let Some((number, slot)) = self.task(task) else {
            return;
        };
        let raw = self.raw();
        self.0.triggers.note(Reason::LostWaker, raw, task.id);
        with_local(&self.0, |local| {
            local.cells.waker_lost(&slot.live.doing);
            let slot = number.into();
            local.record(raw, &Event::TaskLost { slot });
        });
    }

    /// After this the slot is somebody else's.
    fn ended(&self, task: TaskRef, ended: &Ended<'_>) {
        if let Some((number, slot)) = self.task(task) {
            let done = with_local(&self.0, |local| self.end(local, number, slot, ended));
            if done.is_none() {
                // The event is lost, and counted; the task must not live on in every dump.
                if let Some(memory) = self.0.memory() {
                    memory.end_task(number);
                }
                self.0.tasks.abandon(number, slot);
            }
        }
    }

    /// Told where it is news: a task that enters the same context in each poll is told
    /// once.
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

    /// The time since it was queued is how long it has waited for a thread.
    fn blocking_started(&self, task: TaskRef) {
        let Some((_, slot)) = self.task(task) else {
            return;
        };
        with_local(&self.0, |local| {
            let (raw, doing) = (self.raw(), &slot.live.doing);
            local.cells.job_started(&self.0.clock, doing, raw);
            usdt::job_start(task);
            local.note_kind(ThreadKind::Blocking);
            local.record(raw, &Event::JobStart { job: task.id });
        });
    }

    /// It is kept as it is; whoever writes the recording gives it its names.
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

    /// Not written where nothing is recorded: a thread that records later says it then.
    fn thread_started(&self) {
        if self.0.is_recording() {
            // To be known is to have begun: the part of the thread says so.
            with_local(&self.0, |_| ());
        }
    }

    /// Only its end tells for certain what a thread was for.
    fn thread_stopped(&self, kind: ThreadKind) {
        if !self.0.is_recording() {
            return;
        }
        with_local(&self.0, |local| {
            local.note_kind(kind);
            local.record(self.raw(), &Event::ThreadStop {});
        });
    }

    /// From here on the thread is in the driver, or asleep.
    fn parked(&self, _worker: Option<u32>) {
        if self.0.is_recording() {
            with_local(&self.0, |local| {
                let raw = self.raw();
                local.note_kind(ThreadKind::Worker);
                if local.cells.turned(&self.0, true, raw) {
                    local.record_bare(raw, Bare::Park);
                }
            });
        }
    }

    /// It goes on with tasks.
    fn unparked(&self, _worker: Option<u32>) {
        if self.0.is_recording() {
            with_local(&self.0, |local| {
                let raw = self.raw();
                if local.cells.turned(&self.0, false, raw) {
                    local.record_bare(raw, Bare::Unpark);
                }
            });
        }
    }

    /// Regions nest in a task; the innermost one says what it was doing.
    fn region_begun(&self, region: &Mark<'static>) {
        if !self.is_of_recorded(region.task) {
            return;
        }
        with_local(&self.0, |local| {
            // Without a number it still begins: its end has none either.
            let label = local
                .label(region.text, Some(region.site))
                .unwrap_or(u64::MAX);
            local.record(self.raw(), &Event::RegionBegin { label });
        });
    }

    /// It is the region that was begun last which ends.
    fn region_ended(&self, _region: u64) {
        if self.is_of_recorded(current_task()) {
            self.record(&Event::RegionEnd {});
        }
    }

    /// A line that is longer than an event can hold is cut by the encoder.
    fn logged(&self, line: &Mark<'_>) {
        if self.is_of_recorded(line.task) {
            self.record(&Event::Log { text: line.text });
        }
    }

    /// It belongs to no task of the runtime: many may work for it.
    fn user_task_begun(&self, user_task: &Mark<'_>) {
        if self.0.is_recording() {
            self.record(&Event::UserTaskBegin {
                id: user_task.id,
                name: user_task.text,
            });
        }
    }

    /// By its number alone.
    fn user_task_ended(&self, user_task: u64) {
        if self.0.is_recording() {
            self.record(&Event::UserTaskEnd { id: user_task });
        }
    }
}

impl Recording {
    /// Marks of a task that is not recorded would belong to nobody.
    ///
    /// Outside of tasks they are of the thread, and are written whenever anything is.
    fn is_of_recorded(&self, task: Option<TaskRef>) -> bool {
        match task {
            Some(task) => self.task(task).is_some(),
            None => self.0.is_recording(),
        }
    }
}
