//! Static probes: marks in the program where `bpftrace`, `perf`, `stap` and `gdb` can listen, while it runs.
//!
//! With the feature `usdt`, on Linux on x86-64 and aarch64; elsewhere, and without it, each of these is nothing. A
//! probe is one `nop`, and a note in the file that says where it is and in which registers its arguments
//! are. Who listens has the kernel put a trap there, which takes about a microsecond each time; who does not
//! listen pays for the `nop`.
//!
//! # Which there are
//! Provider `ripcord`; all arguments are integers, 0 where there is none.
//!
//! | Probe | Arguments |
//! |---|---|
//! | `task_spawn` | task, task that spawned it, context, whether it is a job for the blocking threads |
//! | `task_end` | task, outcome: 0 ready, 1 panicked, 2 aborted, 3 dropped |
//! | `poll_start` | task, worker plus one |
//! | `poll_end` | task, how: 0 pending, 1 yielded, 2 preempted, 3 lost, 4 ready, 5 panicked |
//! | `wake` | task, who: 0 itself, 1 task, 2 completion, 3 cancel, 4 driver, 5 runtime, 6 blocking, 7 foreign |
//! | `job_start` | job |
//! | `ctx_new` | context, context above it |
//! | `cancel` | context, kind of the cause: 0 cancelled, 1 deadline, 2 dropped, 3 panicked, 4 sibling, 5 shutdown, 6 peer gone, 7 signal, 8 custom |
//! | `ctx_seen` | context, task that looked |
//! | `ctx_end` | context |
//!
//! They fire for what is recorded: in [`Mode::Metrics`](crate::Mode::Metrics) that is all tasks, and contexts
//! have no number; `cancel` comes with 0 then, and `ctx_new` and `ctx_end` with nothing else. Of a task the
//! number is that of [`TaskRef::id`](ripcord_core::tasks::TaskRef), as traces and reports show it.
//!
//! # An example
//! Polls by how long they take, in microseconds, of a program that runs:
//!
//! ```text
//! bpftrace -p $(pidof shop) -e '
//!   usdt:*:ripcord:poll_start { @from[tid] = nsecs; }
//!   usdt:*:ripcord:poll_end /@from[tid]/ { @us = hist((nsecs - @from[tid]) / 1000); delete(@from[tid]); }'
//! ```
//!
//! Who cancels what, with the stack of who does, and which tasks are polled most:
//!
//! ```text
//! bpftrace -p $(pidof shop) -e 'usdt:*:ripcord:cancel /arg1 != 2/ { @[arg1, ustack(8)] = count(); }'
//! bpftrace -p $(pidof shop) -e 'usdt:*:ripcord:poll_start { @[arg0] = count(); }'
//! ```
//!
//! In gdb a probe is a place to stop at: `break -probe ripcord:cancel`, `condition 1 $_probe_arg1 == 1`.
//!
//! # Limitations
//! A probe says when and who, and not where in the source: the number of a task is to be looked up in what
//! [`SchedTrace`](crate::SchedTrace) or a trace say. What is told while its thread is torn down passes no
//! probe.
//!
//! Which probes a file has: `readelf --notes shop`, or `bpftrace -l 'usdt:./shop:ripcord:*'`.

#![allow(unsafe_code, reason = "a probe is an instruction that does nothing")]

use ripcord_core::Kind;
use ripcord_core::tasks::{PollEnd, Spawned, TaskEnd, TaskRef, WokenBy};

/// One probe. Without probes its arguments are looked at by the compiler and by nobody else.
macro_rules! fire {
    ($name:ident, $($argument:expr),+) => {{
        #[cfg(all(
            feature = "usdt",
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64")
        ))]
        probe::probe!(ripcord, $name, $($argument),+);
        #[cfg(not(all(
            feature = "usdt",
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64")
        )))]
        let _ = ($(|| $argument),+);
    }};
}

/// A task was made, or a job was queued.
#[inline]
pub(crate) fn task_spawn(task: &Spawned<'_>) {
    let parent = task.parent.map_or(0, |parent| parent.id);
    let context = task.context.map_or(0, |context| context.id);
    fire!(task_spawn, task.task, parent, context, task.is_blocking);
}

/// It has been dropped.
#[inline]
pub(crate) fn task_end(task: u64, end: TaskEnd) {
    let end: u8 = match end {
        TaskEnd::Ready => 0,
        TaskEnd::Panicked => 1,
        TaskEnd::Aborted => 2,
        _ => 3,
    };
    fire!(task_end, task, end);
}

/// A poll begins.
#[inline]
pub(crate) fn poll_start(task: TaskRef, worker: Option<u32>) {
    let worker = worker.map_or(0, |worker| u64::from(worker) + 1);
    fire!(poll_start, task.id, worker);
}

/// A poll is over.
#[inline]
pub(crate) fn poll_end(task: TaskRef, end: PollEnd) {
    let end: u8 = match end {
        PollEnd::Yielded => 1,
        PollEnd::Preempted => 2,
        PollEnd::Lost => 3,
        PollEnd::Ready => 4,
        PollEnd::Panicked => 5,
        _ => 0,
    };
    fire!(poll_end, task.id, end);
}

/// Of many wakes between two polls the first.
#[inline]
pub(crate) fn wake(task: TaskRef, by: WokenBy) {
    let by: u8 = match by {
        WokenBy::Itself => 0,
        WokenBy::Task(_) => 1,
        WokenBy::Completion(_) => 2,
        WokenBy::Cancel(_) => 3,
        WokenBy::Driver(_) => 4,
        WokenBy::Runtime(_) => 5,
        WokenBy::Blocking => 6,
        _ => 7,
    };
    fire!(wake, task.id, by);
}

/// A job has got its thread.
#[inline]
pub(crate) fn job_start(job: TaskRef) {
    fire!(job_start, job.id);
}

/// A context was made; 0 for one that is only counted.
#[inline]
pub(crate) fn ctx_new(context: u64, parent: u64) {
    fire!(ctx_new, context, parent);
}

/// An end began there.
#[inline]
pub(crate) fn cancel(context: u64, kind: Kind) {
    let kind: u8 = match kind {
        Kind::Cancelled => 0,
        Kind::DeadlineExceeded => 1,
        Kind::Dropped => 2,
        Kind::Panicked => 3,
        Kind::SiblingFailed => 4,
        Kind::Shutdown => 5,
        Kind::PeerGone => 6,
        Kind::Signal => 7,
        _ => 8,
    };
    fire!(cancel, context, kind);
}

/// Somebody has looked at its end for the first time.
#[inline]
pub(crate) fn ctx_seen(context: u64, task: Option<TaskRef>) {
    let task = task.map_or(0, |task| task.id);
    fire!(ctx_seen, context, task);
}

/// The last handle is gone.
#[inline]
pub(crate) fn ctx_end(context: u64) {
    fire!(ctx_end, context);
}
