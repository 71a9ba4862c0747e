//! Which call of an observer counts what: one method for each, called by the handlers.
//!
//! # Which call counts what
//! | Call | counts | measures |
//! |---|---|---|
//! | a task is spawned, or a job queued | it | |
//! | it is woken, for the first time since its last poll began | the wake, by who | |
//! | a poll begins | | the delay since that wake, or since the spawn |
//! | a poll ends | it, by how; it again if it was long | its duration; as a stall if it was that |
//! | a job begins | | the wait since it was queued |
//! | a task or job ends | it, by how | the time since the end of its context, if that came before |
//! | a worker parks or goes on | | the time since it did the other |
//! | a context is made, ends, is gone | it, an end by its cause | |
//!
//! # Who writes events
//! Polls, wakes and parks are where a few nanoseconds count. Their methods look at what the recorder is to do
//! once, and say whether an event is to be written: most of the time one of both is not.
//!
//! # Limitations
//! A poll within another one, as a `block_on` in a task, is counted as one, and its time is in both. What
//! happens on a thread that is counting already, as within an allocator, is not counted here but as
//! unwritten.
//!
//! # Costs
//! Those of the head of the module. Nothing here allocates, locks, or calls foreign code; times are turned
//! into nanoseconds by a multiplication.

use super::cells::{Cells, Count};
use super::state::{TaskState, Waker};
use super::{LONG_POLL, STALL};
use crate::clock::TraceClock;
use crate::shared::Shared;
use ripcord_core::tasks::{Ended, PollEnd, TaskEnd, WokenBy};
use ripcord_core::{Counted, Kind};
use ripcord_trace_format::Seq;
use std::time::Duration;

/// For comparisons with what is measured; the limits are short.
const fn nanoseconds(limit: Duration) -> u64 {
    limit.as_secs() * 1_000_000_000 + limit.subsec_nanos() as u64
}

/// The limits in the unit in which polls are measured.
const LONG_POLL_NS: u64 = nanoseconds(LONG_POLL);
const STALL_NS: u64 = nanoseconds(STALL);

impl Cells {
    /// A task, or a job for the blocking threads.
    pub(crate) fn spawned(&self, is_job: bool) {
        self.count(if is_job {
            Count::JobsQueued
        } else {
            Count::TasksSpawned
        });
    }

    /// A poll begins: whether an event is to be written. The time since it was asked for is how long the task was runnable.
    #[inline]
    pub(crate) fn poll_started(
        &self,
        shared: &Shared,
        task: &TaskState,
        seq: Seq,
        raw: u64,
    ) -> bool {
        if !shared.meters.counts_polls() {
            return true;
        }
        if let Some(delay) = task.start(raw, seq) {
            self.delays.note(shared.clock.nanoseconds_of(delay));
        }
        shared.is_writing()
    }

    /// A poll is over that has taken so many raw units.
    #[inline]
    pub(crate) fn poll_ended(
        &self,
        clock: &TraceClock,
        task: &TaskState,
        (end, label): (PollEnd, Option<u64>),
        (took, raw): (u64, u64),
    ) {
        task.end(raw, end, label);
        let ns = clock.nanoseconds_of(took);
        self.polls.note(ns);
        self.count(match end {
            PollEnd::Yielded => Count::PollsYielded,
            PollEnd::Preempted => Count::PollsPreempted,
            PollEnd::Lost => Count::PollsLost,
            PollEnd::Ready => Count::PollsReady,
            PollEnd::Panicked => Count::PollsPanicked,
            _ => Count::PollsPending,
        });
        if ns > LONG_POLL_NS {
            self.count(Count::PollsLong);
        }
        if ns > STALL_NS {
            self.add(Count::StallNs, ns);
        }
    }

    /// The last waker of a task that waits has gone after its poll: nobody can wake it now.
    pub(crate) fn waker_lost(&self, task: &TaskState) {
        task.lose();
        self.count(Count::WakersLostLater);
    }

    /// Of many wakes between two polls the first: whether an event is to be written.
    ///
    /// Called by whoever wakes, on any thread, which is why the word that it writes is the task's and the
    /// count is the thread's.
    #[inline]
    pub(crate) fn woken(
        &self,
        shared: &Shared,
        task: &TaskState,
        seq: Seq,
        by: WokenBy,
        raw: u64,
    ) -> bool {
        if !shared.meters.counts_polls() {
            return true;
        }
        task.wake(raw, seq, Waker::of(by));
        self.count(match by {
            WokenBy::Itself => Count::WokenByItself,
            WokenBy::Task(_) => Count::WokenByTask,
            WokenBy::Completion(_) => Count::WokenByCompletion,
            WokenBy::Cancel(_) => Count::WokenByCancel,
            WokenBy::Driver(_) => Count::WokenByDriver,
            WokenBy::Runtime(_) => Count::WokenByRuntime,
            WokenBy::Blocking => Count::WokenByBlocking,
            _ => Count::WokenByForeign,
        });
        shared.is_writing()
    }

    /// The last of a task or job that has lived for so many raw units.
    ///
    /// Where its context had ended, the time since then is how long nobody wanted it any more; who was
    /// spawned into what had ended is not late from before its beginning. A dropped guard is no such end.
    pub(crate) fn ended(&self, clock: &TraceClock, ended: &Ended<'_>, lived: u64) {
        self.count(match ended.end {
            _ if ended.spawned.is_blocking => Count::JobsEnded,
            TaskEnd::Ready => Count::TasksReady,
            TaskEnd::Panicked => Count::TasksPanicked,
            TaskEnd::Aborted => Count::TasksAborted,
            _ => Count::TasksDropped,
        });
        let cause = ended.cause.filter(|cause| cause.kind() != Kind::Dropped);
        if let Some(asked) = cause.and_then(|cause| cause.due().or(cause.at())) {
            let late = clock.nanoseconds_since(asked);
            self.latencies.note(late.min(clock.nanoseconds_of(lived)));
        }
    }

    /// A job has got its thread.
    pub(crate) fn job_started(&self, clock: &TraceClock, job: &TaskState, raw: u64) {
        self.job_waits
            .note(clock.nanoseconds_of(job.start_job(raw)));
    }

    /// The thread hands over to the driver, or goes on.
    #[inline]
    pub(crate) fn turned(&self, shared: &Shared, is_parked: bool, raw: u64) -> bool {
        if !shared.meters.counts_polls() {
            return true;
        }
        let since = self.turned.load();
        if since != 0 {
            let what = if is_parked {
                Count::BusyNs
            } else {
                Count::IdleNs
            };
            let raw = raw.saturating_sub(since);
            self.add(what, shared.clock.nanoseconds_of(raw));
        }
        self.turned.set(raw);
        self.is_parked.set(u64::from(is_parked));
        shared.is_writing()
    }

    /// A context that is told of, or is only counted.
    pub(crate) fn context_created(&self) {
        self.count(Count::ContextsCreated);
    }

    /// An end began at a context.
    pub(crate) fn context_ended(&self, kind: Kind) {
        self.count(match kind {
            // The ordinary end: it is none that anybody has asked for.
            Kind::Dropped => return,
            Kind::Cancelled => Count::EndedCancelled,
            Kind::DeadlineExceeded => Count::EndedDeadline,
            Kind::Panicked => Count::EndedPanicked,
            Kind::SiblingFailed => Count::EndedSibling,
            Kind::Shutdown => Count::EndedShutdown,
            Kind::PeerGone => Count::EndedPeerGone,
            Kind::Signal => Count::EndedSignal,
            _ => Count::EndedCustom,
        });
    }

    /// The last handle of a context is gone, in which an end had begun or not.
    pub(crate) fn context_gone(&self, was_ended: bool) {
        self.count(Count::ContextsGone);
        if was_ended {
            self.count(Count::ContextsGoneEnded);
        }
    }

    /// What has become of a context that is only counted.
    pub(crate) fn context_counted(&self, what: Counted) {
        match what {
            Counted::Ended(kind) => self.context_ended(kind),
            Counted::Gone { was_ended } => self.context_gone(was_ended),
            _ => {}
        }
    }
}
