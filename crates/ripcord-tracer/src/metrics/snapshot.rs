//! [`Snapshot`]: the numbers of one moment.
//!
//! # How it is taken
//! The cells of all threads are added up; then each live task is looked at for what it does, and each one
//! that is late is told of by whoever knows ([`Overdue`]), or found by the contexts that are recorded. Nothing
//! stops meanwhile, and no lock is held but that of the list of threads, for the additions.
//!
//! # When the mode changes
//! What a task does is written down by its polls, so one that was spawned while polls were not counted is
//! `(unknown)` until its next one, and one that polls without being counted is taken to do what it did before.
//! Totals go on. A context is counted when it is gone as it was when it was made, whatever the mode is by
//! then, so that the number of those that live stays right.
//!
//! # Which numbers are exact
//! What has a total is counted once for each event, and never goes back. What is *now* (tasks by state, jobs,
//! ghosts, workers) is found by looking at each of them in turn, while they go on: a task that changes
//! its state during the look is in the one or in the other.

use super::cells::{Cells, Count};
use super::histogram::Histogram;
use super::state::{Phase, Waker};
use super::{GHOST, STALL};
use crate::live::LiveTask;
use crate::losses::Losses;
use crate::recorder::Mode;
use crate::shared::Shared;
use ripcord_core::tasks::untold;
use ripcord_core::{Cause, Foreign, Kind, contain};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// Labels of waits that are told apart, the first that were seen; the rest share [`OTHER`].
const LABELS_MAX: u32 = 64;

/// The reason of all waits whose label has come too late.
const OTHER: &str = "(other)";

/// What a recorder has counted so far, and what it finds now; made by
/// [`Recorder::metrics`](crate::Recorder::metrics).
///
/// Totals are since the recorder was made, and only go up. Tasks and contexts are those that it records,
/// and in [`Mode::Metrics`] all of the trees that it observes.
///
/// # How to read it
/// * **Does work stop when nobody wants it any more?** [`tasks_ghosts`](Self::tasks_ghosts) should be zero, and
///   [`cancel_latencies`](Self::cancel_latencies) as short as a poll. Where they are not, a trace in
///   [`Mode::Full`] names the task and the wait.
/// * **Are there workers enough?** [`schedule_delays`](Self::schedule_delays) grow before anything else does;
///   then either all are busy ([`workers_busy`](Self::workers_busy) grows by as many seconds a second as
///   there are), or some are stuck ([`workers_stalled`](Self::workers_stalled)).
/// * **Does anything block a worker?** [`polls_long`](Self::polls_long), and how long, in
///   [`poll_durations`](Self::poll_durations).
/// * **Is the blocking pool too small?** [`jobs_queued`](Self::jobs_queued) and [`job_waits`](Self::job_waits).
/// * **Where do tasks wait?** [`tasks_blocked`](Self::tasks_blocked), as far as waits have labels.
/// * **Does anything leak?** [`contexts_live`](Self::contexts_live) and [`tasks_alive`](Self::tasks_alive)
///   follow the load; [`contexts_undrained`](Self::contexts_undrained) falls back to zero.
/// * **What to believe?** [`losses`](Self::losses) and [`untold`](Self::untold) are zero, but for what was
///   evicted.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
/// use ripcord_tracer::{Mode, Recorder};
///
/// let recorder = Recorder::builder().mode(Mode::Metrics).build();
/// let (root, guard) = Ctx::root().observer(recorder.observer()).build();
/// guard.cancel(Kind::Shutdown);
/// let metrics = recorder.metrics();
/// assert_eq!((metrics.contexts_live, metrics.contexts_ended.shutdown), (1, 1));
/// assert!(metrics.prometheus().contains("ripcord_contexts_live 1\n"));
/// # drop(root);
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// For how long the recorder has been there.
    pub uptime: Duration,
    /// What is recorded now.
    pub mode: Mode,
    /// Tasks that live now, without jobs.
    pub tasks_alive: u64,
    /// Tasks that were spawned.
    pub tasks_spawned: u64,
    /// Tasks that have ended.
    pub tasks_ended: Outcomes,
    /// Tasks in a poll now.
    pub tasks_running: u64,
    /// Tasks that were spawned or woken, or have yielded, and wait for a worker now.
    pub tasks_runnable: u64,
    /// Tasks that wait for something else now, by what that is; most tasks first.
    ///
    /// This, `tasks_running` and `tasks_runnable` are known where polls are counted: see
    /// [`Builder::count_polls`](crate::Builder::count_polls).
    pub tasks_blocked: Vec<Blocked>,
    /// Tasks and jobs that live now although their context has ended by a cause that is no dropped guard.
    pub tasks_overdue: u64,
    /// Those of them whose context has ended more than five seconds ago.
    pub tasks_ghosts: u64,
    /// For how long the oldest of those that are overdue should have been gone; zero if there are none.
    ///
    /// For the end of a context by its deadline that is since the deadline, noticed or not.
    pub overdue_longest: Duration,
    /// How long tasks that ended after their context went on after that end; after the deadline, where
    /// that was it.
    pub cancel_latencies: Histogram,
    /// Polls that are over.
    pub polls: PollEnds,
    /// Polls that have taken longer than 10 ms.
    pub polls_long: u64,
    /// Tasks that were left without a waker, by the end of a poll or later: they hang.
    pub wakers_lost: u64,
    /// How long polls have taken.
    pub poll_durations: Histogram,
    /// From the first wake, or the spawn, to the beginning of the poll: how long tasks queue for a worker.
    ///
    /// A poll that nobody has asked for, as one by a combinator, is not among them.
    pub schedule_delays: Histogram,
    /// Wakes, of many between two polls the first.
    pub wakes: Wakes,
    /// Workers that live now, as far as their runtime is hooked or they have polled.
    pub workers: u64,
    /// Workers that are parked now.
    pub workers_parked: u64,
    /// Workers that are in one poll for longer than 100 ms now.
    pub workers_stalled: u64,
    /// Time of all workers between parks.
    pub workers_busy: Duration,
    /// Time of all workers in parks.
    pub workers_idle: Duration,
    /// Time in polls that took longer than 100 ms, and in those that do so now.
    pub workers_stall: Duration,
    /// Jobs that were given to the blocking threads.
    pub jobs_spawned: u64,
    /// Jobs that have ended, also those that never ran.
    pub jobs_ended: u64,
    /// Jobs that wait for a thread now.
    pub jobs_queued: u64,
    /// Jobs that run now.
    pub jobs_running: u64,
    /// From the spawn of a job until it had its thread.
    pub job_waits: Histogram,
    /// Contexts that live now.
    pub contexts_live: u64,
    /// Contexts that live now and in which an end has begun: somebody still has a handle.
    pub contexts_undrained: u64,
    /// Contexts that were made; views are none.
    pub contexts_created: u64,
    /// Ends of contexts by their cause: where they began, and not what is below.
    pub contexts_ended: EndedBy,
    /// What the recorder does not know or remember.
    pub losses: Losses,
    /// Events that were not told because they happened within the observer: [`untold`].
    pub untold: u64,
}

/// Tasks that wait for one thing.
///
/// # Examples
/// ```
/// let metrics = ripcord_tracer::Recorder::builder().build().metrics();
/// for row in &metrics.tasks_blocked {
///     println!("{} wait for {}", row.tasks, row.reason);
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Blocked {
    /// The label of the wait. Without one, in brackets, who woke them the last time: `(driver)`, `(task)`,
    /// `(context)`, `(runtime)`, `(blocking)`, `(thread)`, or `(unknown)` for who was never woken. And
    /// `(lost waker)`, which nobody can wake. `(other)` are labels beyond the first 64.
    pub reason: Cow<'static, str>,
    /// How many.
    pub tasks: u64,
}

/// How tasks have ended.
///
/// # Examples
/// ```
/// let ended = ripcord_tracer::Recorder::builder().build().metrics().tasks_ended;
/// assert_eq!((ended.ready, ended.panicked), (0, 0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Outcomes {
    /// By themselves, with whatever result.
    pub ready: u64,
    /// By a panic.
    pub panicked: u64,
    /// By their handle or scope.
    pub aborted: u64,
    /// By their runtime.
    pub dropped: u64,
}

/// How polls have ended.
///
/// # Examples
/// ```
/// let polls = ripcord_tracer::Recorder::builder().build().metrics().polls;
/// assert_eq!(polls.lost, 0, "no waker was lost");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PollEnds {
    /// The task waits.
    pub pending: u64,
    /// It has asked to be polled again.
    pub yielded: u64,
    /// It had used up its turn.
    pub preempted: u64,
    /// It waits and nobody can wake it.
    pub lost: u64,
    /// It had its result.
    pub ready: u64,
    /// By a panic.
    pub panicked: u64,
}

/// Who has woken tasks.
///
/// # Examples
/// ```
/// let wakes = ripcord_tracer::Recorder::builder().build().metrics().wakes;
/// assert_eq!((wakes.driver, wakes.cancel), (0, 0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Wakes {
    /// The task itself.
    pub itself: u64,
    /// Another task or job.
    pub task: u64,
    /// The end of a task or job that was joined.
    pub completion: u64,
    /// The end or drain of a context.
    pub cancel: u64,
    /// The I/O or timer driver.
    pub driver: u64,
    /// A worker, outside of every task.
    pub runtime: u64,
    /// A blocking thread.
    pub blocking: u64,
    /// Any other thread.
    pub foreign: u64,
}

/// Ends of contexts by the kind of their cause. A guard that is dropped, which is how work ends, is none.
///
/// # Examples
/// ```
/// use ripcord_core::{Ctx, Kind};
/// use ripcord_tracer::Recorder;
///
/// let recorder = Recorder::builder().build();
/// let (root, guard) = Ctx::root().observer(recorder.observer()).build();
/// let (call, _call_guard) = root.child();
/// guard.cancel(Kind::PeerGone);
/// assert!(call.is_done());
/// assert_eq!(recorder.metrics().contexts_ended.peer_gone, 1, "where it began");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct EndedBy {
    /// Somebody cancelled it.
    pub cancelled: u64,
    /// Its deadline has passed, and somebody has noticed.
    pub deadline_exceeded: u64,
    /// Its work has panicked.
    pub panicked: u64,
    /// Another task of its scope has failed.
    pub sibling_failed: u64,
    /// The program ends.
    pub shutdown: u64,
    /// The client has gone.
    pub peer_gone: u64,
    /// The process was sent a signal.
    pub signal: u64,
    /// For a reason of the program's own.
    pub custom: u64,
}

/// What one task does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Doing {
    /// A job that has no thread yet.
    Queued,
    /// In a poll, or on a blocking thread.
    Running,
    /// Woken, or never polled.
    Runnable,
    /// For what has the label of this number.
    WaitingFor(u32),
    /// For something that has none.
    Waiting(Waker),
    /// Nobody can wake it.
    Lost,
}

/// What the task or job in a slot does, and since when, in raw units.
pub(super) fn doing(task: &LiveTask) -> (Doing, u64) {
    let (phase, since, by) = task.doing.load();
    let doing = match phase {
        Phase::New if task.is_job() => Doing::Queued,
        Phase::Running => Doing::Running,
        Phase::New | Phase::Ready => Doing::Runnable,
        _ if task.is_woken() => Doing::Runnable,
        Phase::Lost => Doing::Lost,
        Phase::WaitingFor(label) => Doing::WaitingFor(label),
        Phase::Waiting => Doing::Waiting(by),
    };
    (doing, since)
}

/// What a task waits for, in words.
pub(super) fn reason(doing: Doing, labels: &[&'static str]) -> &'static str {
    match doing {
        Doing::Queued => "queued",
        Doing::Running => "running",
        Doing::Runnable => "runnable",
        Doing::Lost => "(lost waker)",
        Doing::WaitingFor(label) if label >= LABELS_MAX => OTHER,
        Doing::WaitingFor(label) => {
            let at = usize::try_from(label).unwrap_or(usize::MAX);
            labels.get(at).copied().unwrap_or(OTHER)
        }
        Doing::Waiting(by) => match by {
            Waker::Task => "(task)",
            Waker::Cancel => "(context)",
            Waker::Driver => "(driver)",
            Waker::Itself | Waker::Runtime => "(runtime)",
            Waker::Blocking => "(blocking)",
            Waker::Thread => "(thread)",
            Waker::Nobody | Waker::Spawn => "(unknown)",
        },
    }
}

/// Tells of each task that is there though its context is done: why that is, and for how long.
pub(crate) type Overdue = dyn Fn(&mut dyn FnMut(&Cause, Option<Duration>)) + Send + Sync;

impl Snapshot {
    /// The numbers of now.
    pub(crate) fn take(shared: &Shared) -> Self {
        // The longer it has run, the better it is known how fast the counter is.
        shared.clock.measure();
        let now = shared.clock.raw();
        let (sums, threads) = shared.meters.read();
        let of = |what| sums.of(what);
        let time = |what| Duration::from_nanos(sums.of(what));
        let contexts_ended = ended_by(of);
        let contexts_gone = of(Count::ContextsGone);
        let mut this = Self {
            uptime: Duration::from_nanos(shared.clock.nanoseconds_up(now)),
            mode: shared.mode(),
            tasks_spawned: of(Count::TasksSpawned),
            tasks_ended: outcomes(of),
            cancel_latencies: sums.latencies,
            polls: poll_ends(of),
            polls_long: of(Count::PollsLong),
            wakers_lost: of(Count::PollsLost).saturating_add(of(Count::WakersLostLater)),
            poll_durations: sums.polls,
            schedule_delays: sums.delays,
            wakes: wakes(of),
            workers_busy: time(Count::BusyNs),
            workers_idle: time(Count::IdleNs),
            workers_stall: time(Count::StallNs),
            jobs_spawned: of(Count::JobsQueued),
            jobs_ended: of(Count::JobsEnded),
            job_waits: sums.job_waits,
            contexts_live: of(Count::ContextsCreated).saturating_sub(contexts_gone),
            contexts_undrained: contexts_ended
                .total()
                .saturating_sub(of(Count::ContextsGoneEnded)),
            contexts_created: of(Count::ContextsCreated),
            contexts_ended,
            losses: shared.losses(),
            untold: untold(),
            ..Self::default()
        };
        for cells in threads {
            this.add_thread(shared, &cells, now);
        }
        this.add_tasks(shared);
        this.add_overdue(shared, now);
        this
    }

    /// What a thread does now.
    fn add_thread(&mut self, shared: &Shared, cells: &Cells, now: u64) {
        if !cells.info.is_worker() {
            return;
        }
        let time = |since: u64| {
            let raw = now.saturating_sub(since);
            Duration::from_nanos(shared.clock.nanoseconds_of(raw))
        };
        self.workers += 1;
        let is_parked = cells.is_parked.load() != 0;
        self.workers_parked += u64::from(is_parked);
        let turned = cells.turned.load();
        if turned != 0 && is_parked {
            self.workers_idle += time(turned);
        } else if turned != 0 {
            self.workers_busy += time(turned);
        }
        if let Some((_, since)) = cells.info.poll()
            && time(since) > STALL
        {
            self.workers_stalled += 1;
            self.workers_stall += time(since);
        }
    }

    /// What each task and job does now.
    fn add_tasks(&mut self, shared: &Shared) {
        let knows_polls = shared.meters.counts_polls();
        let mut waits: BTreeMap<Doing, u64> = BTreeMap::new();
        for (_, _, slot) in shared.tasks.live() {
            let (doing, _) = doing(&slot.live);
            let is_job = slot.live.is_job();
            self.tasks_alive += u64::from(!is_job);
            if !knows_polls && !is_job {
                continue;
            }
            match doing {
                Doing::Queued => self.jobs_queued += 1,
                Doing::Running if is_job => self.jobs_running += 1,
                Doing::Running => self.tasks_running += 1,
                Doing::Runnable => self.tasks_runnable += 1,
                wait => *waits.entry(wait).or_default() += 1,
            }
        }
        let labels = shared.tables.texts();
        let mut blocked: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (wait, tasks) in waits {
            *blocked.entry(reason(wait, &labels)).or_default() += tasks;
        }
        let row = |(reason, tasks)| Blocked {
            reason: Cow::Borrowed(reason),
            tasks,
        };
        self.tasks_blocked = blocked.into_iter().map(row).collect();
        // By name where there are as many: the sort keeps that order.
        self.tasks_blocked
            .sort_by_key(|row| std::cmp::Reverse(row.tasks));
    }

    /// Who should be gone: by who knows all tasks, or else by the contexts that are recorded.
    fn add_overdue(&mut self, shared: &Shared, now: u64) {
        let source = shared.overdue.lock().clone();
        let Some(source) = source else {
            for (_, _, slot) in shared.tasks.live() {
                let [own, _] = slot.live.contexts();
                if let Some(since) = shared.ended_since(own) {
                    let since = since.max(slot.live.began());
                    let raw = now.saturating_sub(since);
                    self.add_late(Duration::from_nanos(shared.clock.nanoseconds_of(raw)));
                }
            }
            return;
        };
        contain(Foreign::Observer, || {
            source(&mut |cause, since| {
                if cause.kind() != Kind::Dropped {
                    self.add_late(since.unwrap_or_default());
                }
            });
        });
    }

    /// One that is there though its context has ended so long ago.
    fn add_late(&mut self, since: Duration) {
        self.tasks_overdue += 1;
        self.tasks_ghosts += u64::from(since > GHOST);
        self.overdue_longest = self.overdue_longest.max(since);
    }
}

// From cells to fields: each name once, so that none is forgotten without a warning.

fn outcomes(of: impl Fn(Count) -> u64) -> Outcomes {
    Outcomes {
        ready: of(Count::TasksReady),
        panicked: of(Count::TasksPanicked),
        aborted: of(Count::TasksAborted),
        dropped: of(Count::TasksDropped),
    }
}

fn poll_ends(of: impl Fn(Count) -> u64) -> PollEnds {
    PollEnds {
        pending: of(Count::PollsPending),
        yielded: of(Count::PollsYielded),
        preempted: of(Count::PollsPreempted),
        lost: of(Count::PollsLost),
        ready: of(Count::PollsReady),
        panicked: of(Count::PollsPanicked),
    }
}

fn wakes(of: impl Fn(Count) -> u64) -> Wakes {
    Wakes {
        itself: of(Count::WokenByItself),
        task: of(Count::WokenByTask),
        completion: of(Count::WokenByCompletion),
        cancel: of(Count::WokenByCancel),
        driver: of(Count::WokenByDriver),
        runtime: of(Count::WokenByRuntime),
        blocking: of(Count::WokenByBlocking),
        foreign: of(Count::WokenByForeign),
    }
}

fn ended_by(of: impl Fn(Count) -> u64) -> EndedBy {
    EndedBy {
        cancelled: of(Count::EndedCancelled),
        deadline_exceeded: of(Count::EndedDeadline),
        panicked: of(Count::EndedPanicked),
        sibling_failed: of(Count::EndedSibling),
        shutdown: of(Count::EndedShutdown),
        peer_gone: of(Count::EndedPeerGone),
        signal: of(Count::EndedSignal),
        custom: of(Count::EndedCustom),
    }
}

/// Rows are each field with its name, as labels of metrics have it.
impl Outcomes {
    /// How tasks have ended.
    pub(super) fn rows(self) -> [(&'static str, u64); 4] {
        [
            ("ready", self.ready),
            ("panicked", self.panicked),
            ("aborted", self.aborted),
            ("dropped", self.dropped),
        ]
    }
}

impl PollEnds {
    /// How polls have ended.
    pub(super) fn rows(self) -> [(&'static str, u64); 6] {
        [
            ("pending", self.pending),
            ("yielded", self.yielded),
            ("preempted", self.preempted),
            ("lost", self.lost),
            ("ready", self.ready),
            ("panicked", self.panicked),
        ]
    }
}

impl Wakes {
    /// Who has woken tasks.
    pub(super) fn rows(self) -> [(&'static str, u64); 8] {
        [
            ("itself", self.itself),
            ("task", self.task),
            ("completion", self.completion),
            ("cancel", self.cancel),
            ("driver", self.driver),
            ("runtime", self.runtime),
            ("blocking", self.blocking),
            ("foreign", self.foreign),
        ]
    }
}

impl EndedBy {
    /// Why contexts have ended.
    pub(super) fn rows(self) -> [(&'static str, u64); 8] {
        [
            ("cancelled", self.cancelled),
            ("deadline_exceeded", self.deadline_exceeded),
            ("panicked", self.panicked),
            ("sibling_failed", self.sibling_failed),
            ("shutdown", self.shutdown),
            ("peer_gone", self.peer_gone),
            ("signal", self.signal),
            ("custom", self.custom),
        ]
    }

    /// All of them.
    fn total(self) -> u64 {
        self.rows().iter().map(|(_, count)| count).sum()
    }
}
