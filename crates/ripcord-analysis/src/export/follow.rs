//! Who runs where: which task a slot belongs to, and which polls are running on which thread.
//!
//! # Invariants
//! 1. What began ends: a poll whose end was lost is ended by what shows that it is over, at the latest
//!    by the end of the trace.
//!
//! # Costs
//! Memory: the tasks that are live, and the polls that are running, at most [`DEPTH_MAX`] per thread.

use crate::read::{Origin, Orphan, OrphanKind, Step};
use foldhash::fast::RandomState;
use ripcord_trace_format::{Event, Outcome, WakeBy};
use std::collections::HashMap;

/// What is told of a task when it begins, and again when it ends.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct About {
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) ctx: Option<u64>,
    pub(super) loc: Option<u64>,
    pub(super) name: String,
}

/// A poll that is running, or has just ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Poll {
    pub(super) task: u64,
    pub(super) slot: u64,
    pub(super) thread: u32,
    pub(super) begun: u64,
    /// The wake that asked for it.
    pub(super) woken: Option<Woken>,
}

/// A wake that no poll has answered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Woken {
    pub(super) tick: u64,
    pub(super) by: WakeBy,
    pub(super) waker: Option<u64>,
}

/// How a poll ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PollEnd {
    Pending(Option<u64>),
    Listening(Option<u64>),
    Yield,
    Preempt,
    Ready,
    Lost,
    Panicked,
    /// The event that told it is missing.
    Untold,
}

impl PollEnd {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending(_) => "pending",
            Self::Listening(_) => "listening",
            Self::Yield => "yield",
            Self::Preempt => "preempt",
            Self::Ready => "ready",
            Self::Lost => "lost",
            Self::Panicked => "panicked",
            Self::Untold => "untold",
        }
    }

    /// What the task waits for.
    pub(super) const fn label(self) -> Option<u64> {
        match self {
            Self::Pending(label) | Self::Listening(label) => label,
            _ => None,
        }
    }
}

/// What an event has changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Began(Poll),
    Ended(Poll, PollEnd),
    /// A task was woken for the first time since its last poll began; it may be running.
    Woken(u64, Woken),
}

/// The slots and threads of a trace, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Follow {
    slots: HashMap<u64, Slot, RandomState>,
    threads: HashMap<u32, Vec<Poll>, RandomState>,
    /// Tasks whose beginning is not in the trace, by their slot.
    earlier: HashMap<u64, u64, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    task: u64,
    woken: Option<Woken>,
}

impl Follow {
    /// `orphans` are those whose slots are told by their end alone.
    pub(super) fn new(orphans: &[Orphan]) -> Self {
        let mut follow = Self::default();
        for orphan in orphans {
            if let OrphanKind::Task(slot) = orphan.kind {
                // They come by their ends, and the first is who had the slot first.
                follow.earlier.entry(slot).or_insert(orphan.id);
            }
        }
        follow
    }

    /// The task that a slot belongs to now; one that nobody tells of has a number above all ids.
    pub(super) fn task(&self, slot: u64) -> u64 {
        let known = self.slots.get(&slot).map(|slot| slot.task);
        let known = known.or_else(|| self.earlier.get(&slot).copied());
        known.unwrap_or(UNKNOWN | slot)
    }

    /// The task that runs on a thread.
    pub(super) fn running(&self, thread: u32) -> Option<u64> {
        Some(self.threads.get(&thread)?.last()?.task)
    }

    /// Takes an event in, and tells what it has changed.
    pub(super) fn step<E>(
        &mut self,
        step: &Step<'_>,
        mut tell: impl FnMut(Change) -> Result<(), E>,
    ) -> Result<(), E> {
        if step.origin == Origin::Window {
            return Ok(());
        }
        let (tick, thread) = (step.tick, step.thread);
        match step.event {
            Event::TaskSpawn { slot, id, .. } => {
                // The registry may have told of it before.
                if self.slots.get(&slot).is_none_or(|slot| slot.task != id) {
                    let woken = None;
                    self.slots.insert(slot, Slot { task: id, woken });
                    self.earlier.remove(&slot);
                }
            }
            Event::PollStart { slot, .. } => tell(Change::Began(self.begin(slot, tick, thread)))?,
            Event::Wake {
                slot, by, waker, ..
            } => {
                let task = self.task(slot);
                let woken = Woken { tick, by, waker };
                self.slots
                    .entry(slot)
                    .or_insert(Slot { task, woken: None })
                    .woken = Some(woken);
                tell(Change::Woken(task, woken))?;
            }
            Event::TaskEnd {
                slot, id, outcome, ..
            } => {
                // A poll that panicked has no end of its own.
                let runs_here = self
                    .threads
                    .get(&thread)
                    .is_some_and(|polls| polls.iter().any(|poll| poll.task == id));
                if runs_here {
                    let end = match outcome {
                        Outcome::Panicked => PollEnd::Panicked,
                        _ => PollEnd::Untold,
                    };
                    self.end_down_to(thread, id, end, &mut tell)?;
                }
                self.slots.remove(&slot);
                self.earlier.remove(&slot);
            }
            // Neither a parked worker nor one that has lost events is known to be in a poll.
            Event::Park {} | Event::Dropped { .. } | Event::ThreadStop {} => {
                self.end_all(thread, &mut tell)?;
            }
            ref event => {
                if let Some(end) = end_of(event) {
                    let ended = self.threads.get_mut(&thread).and_then(Vec::pop);
                    ended.map_or(Ok(()), |poll| tell(Change::Ended(poll, end)))?;
                }
            }
        }
        Ok(())
    }

    /// Ends everything that still runs, thread by thread.
    pub(super) fn finish<E>(
        &mut self,
        mut tell: impl FnMut(Change) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut threads: Vec<u32> = self.threads.keys().copied().collect();
        threads.sort_unstable();
        threads
            .into_iter()
            .try_for_each(|thread| self.end_all(thread, &mut tell))
    }

    fn begin(&mut self, slot: u64, tick: u64, thread: u32) -> Poll {
        let task = self.task(slot);
        let known = self.slots.entry(slot).or_insert(Slot { task, woken: None });
        let poll = Poll {
            task,
            slot,
            thread,
            begun: tick,
            woken: known.woken.take(),
        };
        let polls = self.threads.entry(thread).or_default();
        // Nobody nests that deep; ends that are missing might.
        if polls.len() < DEPTH_MAX {
            polls.push(poll);
        }
        poll
    }

    fn end_down_to<E>(
        &mut self,
        thread: u32,
        task: u64,
        end: PollEnd,
        tell: &mut impl FnMut(Change) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(poll) = self.threads.get_mut(&thread).and_then(Vec::pop) {
            let is_it = poll.task == task;
            let end = if is_it { end } else { PollEnd::Untold };
            tell(Change::Ended(poll, end))?;
            if is_it {
                break;
            }
        }
        Ok(())
    }

    fn end_all<E>(
        &mut self,
        thread: u32,
        tell: &mut impl FnMut(Change) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(poll) = self.threads.get_mut(&thread).and_then(Vec::pop) {
            tell(Change::Ended(poll, PollEnd::Untold))?;
        }
        Ok(())
    }
}

impl From<&Orphan> for About {
    fn from(orphan: &Orphan) -> Self {
        Self {
            id: orphan.id,
            parent: orphan.parent,
            ctx: orphan.ctx,
            loc: orphan.loc,
            name: orphan.name.clone(),
        }
    }
}

/// What an event says of a task or a job; `None` if it neither begins nor ends one.
pub(super) fn about(event: &Event<'_>) -> Option<About> {
    match *event {
        Event::TaskSpawn {
            id,
            parent,
            ctx,
            loc,
            name,
            ..
        }
        | Event::TaskEnd {
            id,
            parent,
            ctx,
            loc,
            name,
            ..
        }
        | Event::JobQueued {
            job: id,
            parent,
            ctx,
            loc,
            name,
        }
        | Event::JobEnd {
            job: id,
            parent,
            ctx,
            loc,
            name,
            ..
        } => Some(About {
            id,
            parent,
            ctx,
            loc,
            name: name.to_owned(),
        }),
        _ => None,
    }
}

/// How an event ends the poll that runs on its thread.
const fn end_of(event: &Event<'_>) -> Option<PollEnd> {
    Some(match *event {
        Event::PollPending { label } => PollEnd::Pending(label),
        Event::PollListening { label } => PollEnd::Listening(label),
        Event::PollYield {} => PollEnd::Yield,
        Event::PollPreempt {} => PollEnd::Preempt,
        Event::PollReady {} => PollEnd::Ready,
        Event::PollLost {} => PollEnd::Lost,
        _ => return None,
    })
}

/// Whether a task is a slot that nobody tells of.
pub(super) const fn is_unknown(task: u64) -> bool {
    task & UNKNOWN != 0
}

/// Marks a slot that stands for its task. No recorder comes to such ids.
const UNKNOWN: u64 = 1 << 63;

const DEPTH_MAX: usize = 256;
