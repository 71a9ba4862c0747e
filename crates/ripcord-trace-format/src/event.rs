//! The event table: the one place that says which events there are and what they carry.
//!
//! The enum, both codecs, the schema in every file, the text twin and the table in
//! `spec/trace-format.md` are made of it. To add an event, add an entry with the next number; to
//! add an argument, append it. Both raise [`MINOR`](crate::MINOR). Nothing is ever removed,
//! reordered or renumbered within a major version. Numbers from 0x80 carry their length.

use crate::arg::{CauseKind, CtxKind, Outcome, SeenHow, Seq, Source, StackWhy, ThreadKind, WakeBy};
use crate::coding::{Coding, Put};
use crate::error::Fault;
use crate::id_text::IdText;
use crate::table::{ArgRow, EventRow, coding, events};
use crate::value::{AsValue, Value};
use crate::varint::Out;

/// An event as bytes: type and arguments, not looked into.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{Decoder, Event, RawEvent, Schema};
///
/// let schema = Schema::current();
/// let mut events = Decoder::new(&[0x90, 4, 1, 17], 100, &schema);
/// let event = RawEvent { number: 0x90, args: &[17] };
/// assert_eq!(events.next(), Some(Ok((104, Event::Unknown(event)))));
/// ```
///
/// # Limitations
/// The arguments of a type below 0x80 may refer to what stands before it in its block, so an encoder
/// takes only those of types from 0x80. Who makes one says that the arguments are those of its type;
/// a decoder that knows the type better takes the rest of the block for wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawEvent<'a> {
    /// The byte that stands for the type.
    pub number: u8,
    /// The arguments, one behind the other, without the length that a type from 0x80 has.
    pub args: &'a [u8],
}

impl RawEvent<'_> {
    pub(crate) fn put(&self, delta: u64, out: &mut Out<'_>) -> Option<()> {
        out.byte(self.number)?;
        out.number(delta)?;
        if self.number >= WITH_LENGTH {
            out.number(self.args.len() as u64)?;
        }
        out.bytes(self.args)
    }
}

/// The first type that says how long its arguments are.
pub(crate) const WITH_LENGTH: u8 = 0x80;

/// Bytes that the largest event takes: a buffer with so much room takes any event of the table.
///
/// # Examples
/// ```
/// use ripcord_trace_format::{EVENT_BYTES_MAX, TEXT_BYTES_MAX};
///
/// assert!(EVENT_BYTES_MAX < 2 * TEXT_BYTES_MAX);
/// ```
pub const EVENT_BYTES_MAX: usize = crate::table::bytes_max(EVENTS);

events! { <'a>
    /// A task was spawned.
    ///
    /// It is written on the thread that spawns, before the task can be polled. In a registry block
    /// it tells of a task that was live at the dump, whenever it was spawned.
    ///
    /// Slots are given again, the last one first, and ids grow: so the next spawn of the same place takes
    /// five bytes or six, with its ticks.
    0x01 TaskSpawn "task_spawn" {
        /// Its slot, until its end.
        slot: u64,
        /// Its id, for the life of the process.
        id: u64 as TaskId,
        /// Id of the task that spawned it.
        parent: Option<u64> as TaskId,
        /// Id of the context that is its own.
        ctx: Option<u64> as CtxId,
        /// Location of the spawn.
        loc: Option<u64>,
        /// Size of its future, in bytes.
        bytes: u64,
        /// Its name, or nothing.
        name: &'a str as Name,
    }
    /// A task ended; what its spawn said is said again, for traces that begin later.
    ///
    /// It is written when the future is dropped, so the slot may be given to another task at once.
    /// Time that is counted in `busy` has the full resolution of the clock, and is told in ticks.
    ///
    /// Where the spawn stands in the same block, nothing of it is repeated there: an eviction takes both.
    /// Elsewhere, as in a program with several workers, the whole event is there.
    0x02 TaskEnd "task_end" {
        /// Its slot, which is free now.
        slot: u64,
        /// Its id.
        id: u64 as TaskId,
        /// How it ended.
        outcome: Outcome,
        /// Id of the task that spawned it.
        parent: Option<u64> as TaskId,
        /// Id of the context that is its own.
        ctx: Option<u64> as CtxId,
        /// Location of the spawn.
        loc: Option<u64>,
        /// How often it was polled.
        polls: u64,
        /// Time within its polls, in ticks.
        busy: u64,
        /// Its name, or nothing.
        name: &'a str as Name,
    }
    /// A poll of a task begins on this thread.
    ///
    /// What follows in the block, up to the end of the poll, happened within it. Polls nest where a
    /// task polls another one by hand; then the inner one is the current one.
    ///
    /// It is the most frequent event, with the end of the poll. The number of the poll is left out where it is
    /// the one that was asked for.
    0x03 PollStart "poll_start" {
        /// The task.
        slot: u64,
        /// Number of the poll.
        seq: Seq,
    }
    /// The poll that runs on this thread ends: the task waits.
    ///
    /// The label is that of the innermost region, or of the leaf that ripcord has wrapped; without
    /// one, the wake tells what kind of wait it was.
    0x04 PollPending "poll_pending" {
        /// Label of what it waits for.
        label: Option<u64>,
    }
    /// The poll ends: the task has asked to be polled again at once.
    ///
    /// No wake by somebody else was needed. The wake that led to it is not written.
    0x05 PollYield "poll_yield" {}
    /// The poll ends: the runtime's budget was used up.
    ///
    /// The task could have gone on: time until its next poll is time in the queue, not waiting.
    0x06 PollPreempt "poll_preempt" {}
    /// The poll ends: the task is ready.
    ///
    /// Its `TaskEnd` follows when the future is dropped, which need not be at once.
    0x07 PollReady "poll_ready" {}
    /// The poll ends: the task waits, and nobody can wake it.
    ///
    /// It was told from the count of its wakers, and is exact: no waker is left, and none was woken.
    /// The task stays until somebody aborts it.
    0x08 PollLost "poll_lost" {}
    /// A task works under another context from now on.
    ///
    /// As with a task that serves one request after the other. It is told once, and not again for
    /// each poll that enters the same context; so it may come back to its own context at the end
    /// of the first poll that does not enter the other. Until told, a task works under its own.
    ///
    /// Of the task that is polled it takes three bytes.
    0x09 TaskCtx "task_ctx" {
        /// The task.
        slot: u64,
        /// Id of the context.
        ctx: u64 as CtxId,
    }
    /// A task was woken.
    ///
    /// Only the first wake since a poll is written; those that change nothing are not. What happened
    /// on another thread is put in order by `seq`, not by the tick.
    ///
    /// A waker that is the same as for the last wake of this kind on this thread is not repeated, as the
    /// number of a worker.
    0x0a Wake "wake" {
        /// The task.
        slot: u64,
        /// Number of the poll that is asked for.
        seq: Seq,
        /// Who did it.
        by: WakeBy,
        /// Slot, context, worker or thread of who did it.
        waker: Option<u64>,
    }
    /// The poll ends: the task waits, and a context is among what it waits for.
    ///
    /// Otherwise as `PollPending`, where it listens to none, as far as is known. A task whose
    /// parts are polled one at a time may listen through one that was not polled this time.
    0x0b PollListening "poll_listening" {
        /// Label of what it waits for besides.
        label: Option<u64>,
    }
    /// The last waker of a task that waits is gone, and it was not woken: nobody can wake it.
    ///
    /// It is written by whoever gave the waker up, after the end of the poll. Where that end itself is
    /// `PollLost`, it is not written again.
    0x0c TaskLost "task_lost" {
        /// The task.
        slot: u64,
    }
    /// A context was made.
    ///
    /// The parent of a merge is its first; the others are not told. A deadline that is inherited is
    /// not repeated.
    ///
    /// What contexts of one place have in common is said once in a block. A deadline is told by how much it
    /// differs from the last one of the place, which is mostly nothing.
    0x10 CtxCreate "ctx_create" {
        /// Its id.
        id: u64 as CtxId,
        /// Id of its parent.
        parent: Option<u64> as CtxId,
        /// How it came to be.
        kind: CtxKind,
        /// Location of the call that made it.
        loc: Option<u64>,
        /// Ticks from now until its own deadline.
        deadline: Option<i64>,
        /// Its name, or nothing.
        name: &'a str as Name,
    }
    /// A context was ended.
    ///
    /// It tells of the node at which the end began; descendants are done by looking upwards, and have
    /// no event of their own. `due` is negative where the end came late.
    ///
    /// A guard that goes away where the context was made, which is the ordinary end, takes three bytes.
    0x11 CtxCancel "ctx_cancel" {
        /// Its id.
        id: u64 as CtxId,
        /// The kind of the cause.
        kind: CauseKind,
        /// Id of the task that did it.
        by: Option<u64> as TaskId,
        /// Location of the call that did it.
        loc: Option<u64>,
        /// Ticks from now to when it was due.
        due: Option<i64>,
        /// Message of the cause, or nothing.
        message: &'a str as Name,
    }
    /// A task has seen for the first time that a context is done.
    ///
    /// The distance from `CtxCancel` to here is how late the cancel was for this task. It is written
    /// once for a context, by whoever looks first; most tasks have one of their own.
    ///
    /// The recorder does not know how and where; then the task that is polled and an id are all of it.
    0x12 CtxSeen "ctx_seen" {
        /// Id of the context.
        id: u64 as CtxId,
        /// Id of the task.
        task: Option<u64> as TaskId,
        /// How it was seen.
        how: SeenHow,
        /// Location of the look.
        loc: Option<u64>,
    }
    /// The last handle of a context is gone; what its making said is said again.
    ///
    /// Before it, the context may be done for long: this is the end of memory, not of work.
    ///
    /// It mostly follows the end of the same context, or of the one below it: then its id takes a byte.
    0x13 CtxEnd "ctx_end" {
        /// Its id.
        id: u64 as CtxId,
        /// Id of its parent.
        parent: Option<u64> as CtxId,
        /// Location of the call that made it.
        loc: Option<u64>,
        /// Its name, or nothing.
        name: &'a str as Name,
    }
    /// A context is about something that is known elsewhere by this text, as a request by its id.
    ///
    /// Values of a context are not in a trace, unless the program says so for one.
    ///
    /// The text is mostly the id of a request or of a trace, which takes 16 bytes once, and a byte when it
    /// comes again for a context below.
    0x14 CtxTag "ctx_tag" {
        /// Id of the context.
        id: u64 as CtxId,
        /// Label of what the text is.
        key: u64,
        /// The text.
        text: IdText<'a> as Id,
    }
    /// A deadline was asked for that can never fire: one that is in force comes no later.
    ///
    /// No context was made for it. A time-out that is longer than what is left is mostly a mistake.
    0x15 CtxVain "ctx_vain" {
        /// Id of the context that it was asked of.
        id: u64 as CtxId,
        /// Location of the call that asked.
        loc: Option<u64>,
        /// Ticks from now until it.
        deadline: i64,
    }
    /// A region of the task that runs on this thread begins.
    ///
    /// Regions nest, belong to the task, and may span several polls.
    0x18 RegionBegin "region_begin" {
        /// Its label.
        label: u64,
    }
    /// The innermost region of the task ends.
    ///
    /// It is written also when a panic or a drop leaves the region.
    0x19 RegionEnd "region_end" {}
    /// A message of the program.
    ///
    /// It belongs to the task and context that run on this thread.
    ///
    /// A text is not looked for among earlier ones: what a program says is mostly new.
    0x1a Log "log" {
        /// The message.
        text: &'a str,
    }
    /// A piece of work that the program tells of begins; it may span several tasks.
    ///
    /// Such as a request, or a batch. The id is the program's own, and pairs begin and end.
    ///
    /// The name is one of few, and is written out once in a block.
    0x1b UserTaskBegin "user_task_begin" {
        /// Its id.
        id: u64,
        /// Its name.
        name: &'a str as Name,
    }
    /// A piece of work that the program tells of ends.
    ///
    /// Its begin may be in an earlier window, or lost.
    0x1c UserTaskEnd "user_task_end" {
        /// Its id.
        id: u64,
    }
    /// This worker goes to sleep.
    ///
    /// Up to the next `Unpark` of this thread its driver may wake tasks.
    ///
    /// Park and unpark are as frequent as polls where a program has little to do: two bytes or three each.
    0x20 Park "park" {}
    /// This worker is awake.
    ///
    /// Wakes between the two are those of the driver.
    0x21 Unpark "unpark" {}
    /// This thread begins.
    ///
    /// It is the first event of a thread that was recorded from its beginning. In a registry block it
    /// says what the thread of that block is, whenever it began.
    0x22 ThreadStart "thread_start" {
        /// What it is for.
        kind: ThreadKind,
        /// Its name, or nothing.
        name: &'a str,
    }
    /// This thread ends.
    ///
    /// It is the last event of a thread that ended in peace.
    0x23 ThreadStop "thread_stop" {}
    /// A worker is stuck in one poll.
    ///
    /// It is written by the watcher, into its own block, while the poll goes on; so it comes again
    /// for as long as the worker is stuck.
    0x24 Stall "stall" {
        /// The task that it polls.
        slot: Option<u64>,
        /// For how long so far.
        ticks: u64,
    }
    /// Blocking work was handed over.
    ///
    /// The distance to `JobStart` is how long it waited for a thread of the pool.
    ///
    /// Ids of jobs are those of tasks: the two count together.
    0x28 JobQueued "job_queued" {
        /// Its id.
        job: u64 as TaskId,
        /// Id of the task that did it.
        parent: Option<u64> as TaskId,
        /// Id of the context that it works under.
        ctx: Option<u64> as CtxId,
        /// Location of the call.
        loc: Option<u64>,
        /// Its name, or nothing.
        name: &'a str as Name,
    }
    /// Blocking work begins on this thread.
    ///
    /// Blocking work cannot be ended from outside: from here on it runs to its own end.
    ///
    /// The thread is one of the blocking pool, so what is known of the job stands in another thread's block.
    0x29 JobStart "job_start" {
        /// Its id.
        job: u64 as TaskId,
    }
    /// Blocking work ends.
    ///
    /// A job that was never started, because the runtime shut down, ends as dropped. As with tasks,
    /// what was said when it was handed over is said again.
    0x2a JobEnd "job_end" {
        /// Its id.
        job: u64 as TaskId,
        /// How it ended.
        outcome: Outcome,
        /// Id of the task that handed it over.
        parent: Option<u64> as TaskId,
        /// Id of the context that it worked under.
        ctx: Option<u64> as CtxId,
        /// Location of the call.
        loc: Option<u64>,
        /// Its name, or nothing.
        name: &'a str as Name,
    }
    /// Where a task waits: one leaf of its await stack.
    ///
    /// A task that waits in a `select!` has several leaves, each with an event. A long stack is cut
    /// at the limit of texts, so it loses its outermost frames.
    ///
    /// The text is the longest that a trace has, and is told once for each place where a task is late.
    0x30 Stack "stack" {
        /// Id of the task, which may have ended since.
        task: u64 as TaskId,
        /// Why it was looked for.
        why: StackWhy,
        /// Number of the leaf, for a task that waits in several places.
        leaf: u64,
        /// A line for each frame, the innermost first.
        text: &'a str,
    }
    /// Events of this thread were lost here.
    ///
    /// It stands before the first event that could be written again.
    0x38 Dropped "dropped" {
        /// How many.
        events: u64,
    }
    /// What two other clocks showed at this tick.
    ///
    /// Two of them let ticks be turned into time; one does not, because the nominal frequency is not
    /// the real one.
    0x39 Clock "clock" {
        /// The monotonic clock, in nanoseconds.
        monotonic: u64,
        /// The wall clock, in nanoseconds since 1970.
        wall: u64,
    }
    /// What was counted or measured.
    ///
    /// Gauges and counters are told alike, as their value at this tick.
    0x3a Metric "metric" {
        /// Label of what.
        label: u64,
        /// How much.
        value: i64,
    }
    /// A thread's totals in this window.
    ///
    /// One for each thread that wrote in the window, so that a reader notices blocks that are
    /// missing.
    0x3b ThreadTotals "thread_totals" {
        /// The thread's number in the trace.
        thread: u64,
        /// Events that were written.
        events: u64,
        /// Events that were lost.
        dropped: u64,
    }
    /// A place in the source has a number from now on.
    ///
    /// Numbers are the process's, and mean the same in all windows of a trace.
    ///
    /// The number is that of the recorder and means nothing beyond the trace.
    0x40 Location "location" {
        /// The number.
        index: u64,
        /// The file, as the compiler calls it.
        file: &'a str,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
    }
    /// A label has a number from now on.
    ///
    /// As with locations. Regions, metrics and waits use the same numbers. The same text may have
    /// several, one for each place where it stands.
    ///
    /// Labels are told before they are used, in blocks of their own.
    0x41 Label "label" {
        /// The number.
        index: u64,
        /// The label.
        text: &'a str,
        /// Number of the place in the source: of the leaf, or of the region.
        loc: Option<u64>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_order_and_their_names_are_unique() {
        assert!(EVENTS.is_sorted_by(|a, b| a.number < b.number));
        for (at, row) in EVENTS.iter().enumerate() {
            assert!(EVENTS[at + 1..].iter().all(|other| other.name != row.name));
            assert!(row.number > 0, "zero is what unwritten memory holds");
        }
    }
}
