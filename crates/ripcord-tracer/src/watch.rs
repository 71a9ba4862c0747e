//! A thread that looks at what lives: [`Watch`]. It asks tasks that are late where they wait, and sees
//! workers that are stuck.
//!
//! What a task waits for is told by a label only where ripcord has wrapped the leaf. So when a context ends
//! early, and some of its tasks are still there a little later, they are asked for their await stacks:
//! that costs one extra poll for each straggler, and nothing for anybody else.
//!
//! # What it locks
//! The list of ends, for a push by whoever ends a context.
//!
//! # How it is certain that somebody is late
//! A context has ended, and after a while there is a task in the register whose context is
//! that one or is below it, and no shield is in between. That is a fact, and no guess from
//! missing events.
//!
//! # Costs
//! Ten milliseconds of rest between two looks. A look at the threads and at a list that is
//! mostly empty; only where contexts have ended early, a look at all tasks. Nobody waits
//! for any of it.
//!
//! # Limitations
//! It looks: what comes and goes between two looks is not seen, and a stall is told up to
//! one step late.

use crate::background::Background;
use crate::local::with_local;
use crate::output::name_stacks;
use crate::shared::{DEPTH_MAX, Shared};
use crate::sync::Mutex;
use crate::tasks::number_of;
use ripcord_core::tasks::ContextRef;
use ripcord_trace_format::Event;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Contexts that have ended and were not looked at yet; what comes beyond is counted.
const ENDED_MAX: usize = 4_096;

/// Contexts that have ended early, until somebody looks whether all has stopped.
///
/// Nothing is noted while nobody looks.
#[derive(Default)]
pub(crate) struct Ends {
    /// In the order of their ends.
    list: Mutex<Vec<End>>,
    /// How many look at the list.
    watches: AtomicU64,
    /// Ends that found the list full.
    overlooked: AtomicU64,
}

/// That a context has ended, and when.
#[derive(Clone, Copy)]
struct End {
    /// Its id.
    context: u64,
    /// In raw units of the clock.
    raw: u64,
}

impl Ends {
    /// A context has ended, by a cancel or its deadline.
    ///
    /// A push into a list that is emptied every few milliseconds. Where nobody looks, a
    /// load.
    pub(crate) fn note(&self, context: u64, raw: u64) {
        // Relaxed: who begins to look sees what ends from then on, soon.
        if self.watches.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut list = self.list.lock();
        if list.len() < ENDED_MAX {
            list.push(End { context, raw });
        } else {
            // Relaxed: a statistic (counter).
            self.overlooked.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Everything since the last time; the list keeps no memory.
    fn take(&self) -> Vec<End> {
        std::mem::take(&mut *self.list.lock())
    }

    /// How many there was no room for.
    pub(crate) fn overlooked(&self) -> u64 {
        // Relaxed: a statistic (counter).
        self.overlooked.load(Ordering::Relaxed)
    }
}

/// While it is there, ends are noted: also until a thread that could not be started is given up.
struct Looking(Arc<Shared>);

impl Looking {
    /// From here on ends are noted.
    fn begin(shared: &Arc<Shared>) -> Self {
        // Relaxed: see `Ends::note`.
        shared.ends.watches.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Looking {
    /// The last one that goes leaves what is in the list: the next one that looks finds ends that are old,
    /// and of tasks that have ended since.
    fn drop(&mut self) {
        // Relaxed: see `Ends::note`.
        self.0.ends.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How tasks are asked for their stacks.
type Ask = Box<dyn Fn(&[u64]) + Send>;

/// Begins to watch; made by [`Recorder::watch`](crate::Recorder::watch).
///
/// # Examples
/// ```
/// use ripcord_tracer::Recorder;
/// use std::time::Duration;
///
/// let recorder = Recorder::builder().build();
/// // With ripcord-tokio it is `.ask(ripcord_tokio::ask_stacks)`.
/// let watch = recorder.watch().stall(Duration::from_millis(50)).ask(|_tasks| ()).start()?;
/// drop(watch);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Made by [`Recorder::watch`](crate::Recorder::watch); nothing happens until
/// [`start`](Self::start).
#[must_use = "it watches once it is started"]
pub struct WatchBuilder {
    /// The recorder.
    shared: Arc<Shared>,
    /// When something is late.
    limits: Limits,
    /// Without it tasks are not asked.
    ask: Option<Ask>,
}

/// How patient it is.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// See [`WatchBuilder::step`].
    step: Duration,
    /// See [`WatchBuilder::patience`].
    patience: Duration,
    /// See [`WatchBuilder::stall`].
    stall: Duration,
}

impl WatchBuilder {
    /// With the limits that are documented.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            limits: Limits {
                step: Duration::from_millis(10),
                patience: Duration::from_millis(10),
                stall: Duration::from_millis(100),
            },
            ask: None,
        }
    }

    /// How often it looks: every 10 ms unless told otherwise.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let watch = recorder.watch().step(Duration::from_millis(50)).start()?;
    /// # drop(watch);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn step(mut self, step: Duration) -> Self {
        self.limits.step = step;
        self
    }

    /// How long after the end of its context a task is asked where it waits: 10 ms, and again after twice,
    /// four times, … 128 times as long.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let watch = recorder.watch().patience(Duration::from_millis(100)).start()?;
    /// # drop(watch);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn patience(mut self, patience: Duration) -> Self {
        self.limits.patience = patience;
        self
    }

    /// A worker that is in one poll for so long is stuck: 100 ms unless told otherwise.
    ///
    /// It is told again each time the poll has become twice as long.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let watch = recorder.watch().stall(Duration::from_secs(1)).start()?;
    /// # drop(watch);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stall(mut self, stall: Duration) -> Self {
        self.limits.stall = stall;
        self
    }

    /// How tasks of these ids are asked for their await stacks.
    ///
    /// With none of them when it begins, for what has to be done once. Called on the thread that
    /// watches; the answers come through the observer of tasks. A panic in it
    /// ends this look, and not the watch.
    ///
    /// # Examples
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (asked, tasks) = mpsc::channel();
    /// let recorder = ripcord_tracer::Recorder::builder().build();
    /// let watch = recorder.watch().ask(move |late| {
    ///     let _ = asked.send(late.len());
    /// });
    /// drop(watch.start()?);
    /// assert_eq!(tasks.iter().sum::<usize>(), 0, "nobody was late");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ask(mut self, ask: impl Fn(&[u64]) + Send + 'static) -> Self {
        self.ask = Some(Box::new(ask));
        self
    }

    /// Begins.
    ///
    /// # Errors
    /// What the operating system says to another thread.
    ///
    /// # Examples
    /// ```
    /// let watch = ripcord_tracer::Recorder::builder().build().watch().start()?;
    /// # drop(watch);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(self) -> io::Result<Watch> {
        let Self {
            shared,
            limits,
            ask,
        } = self;
        let mut run = Run {
            shared,
            limits,
            ask,
            ended: Vec::new(),
            stalls: HashMap::new(),
        };
        let looking = Looking::begin(&run.shared);
        let thread = Background::start("ripcord-watch", move |stopped| {
            let _looking = looking;
            run.until(stopped);
        })?;
        Ok(Watch { _thread: thread })
    }
}

impl fmt::Debug for WatchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchBuilder")
            .field("limits", &self.limits)
            .field("asks", &self.ask.is_some())
            .finish_non_exhaustive()
    }
}

/// A recorder that is watched until this is dropped.
///
/// # Examples
/// ```
/// let recorder = ripcord_tracer::Recorder::builder().build();
/// let watch = recorder.watch().start()?;
/// assert!(format!("{watch:?}").starts_with("Watch"));
/// drop(watch); // Waits for the thread.
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "it watches until this is dropped"]
pub struct Watch {
    /// It is all there is: it is stopped and waited for when this is dropped.
    _thread: Background,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// A context that ended, and how often its tasks were asked.
struct Late {
    /// Which, and when.
    end: End,
    /// At [`ASKED_MAX`] it is left alone: who goes on after that is a matter for a dump.
    asked: u32,
}

/// The thread's part.
struct Run {
    /// The recorder.
    shared: Arc<Shared>,
    /// When something is late.
    limits: Limits,
    /// How to ask a task where it waits.
    ask: Option<Ask>,
    /// Contexts that were taken from the list and are not done with.
    ended: Vec<Late>,
    /// Per thread: since when it is in this poll, and how long that was when it was told.
    stalls: HashMap<u32, (u64, u64)>,
}

/// How often the tasks of one context are asked: the last time after 128 times the patience.
const ASKED_MAX: u32 = 8;

impl Run {
    /// A step at a time, until it is to stop.
    fn until(&mut self, stopped: &Receiver<()>) {
        // Nobody is asked: who answers gets ready, lest the first stack is late.
        self.ask(&[]);
        while stopped.recv_timeout(self.limits.step) == Err(RecvTimeoutError::Timeout) {
            self.look(self.shared.clock.raw());
        }
        name_stacks(&self.shared);
    }

    /// What one step does: names for stacks, then tasks, then workers.
    fn look(&mut self, now: u64) {
        // The longer it has run, the better it is known how fast the counter is.
        self.shared.clock.measure();
        name_stacks(&self.shared);
        let ends = self.shared.ends.take().into_iter();
        self.ended.extend(ends.map(|end| Late { end, asked: 0 }));
        let due = self.due(now);
        if !due.is_empty() {
            let tasks = self.late_tasks(&due);
            if !tasks.is_empty() {
                self.ask(&tasks);
            }
        }
        self.stalls(now);
    }

    /// Asks these tasks where they wait; with none of them, lets who asks get ready.
    ///
    /// It is foreign code: its panic was printed, and the next look is as good as this one.
    fn ask(&self, tasks: &[u64]) {
        if let Some(ask) = &self.ask {
            let _ = catch_unwind(AssertUnwindSafe(|| ask(tasks)));
        }
    }

    /// Contexts whose time to be looked at has come.
    fn due(&mut self, now: u64) -> HashSet<u64> {
        let clock = &self.shared.clock;
        let first = clock.raw_in(self.limits.patience);
        let mut due = HashSet::new();
        self.ended.retain_mut(|late| {
            let age = now.saturating_sub(late.end.raw);
            // After one, two, four … times the patience: what goes on for long is asked as often as it takes
            // to tell a loop from one long wait, and no more.
            if age < first << late.asked {
                return true;
            }
            due.insert(late.end.context);
            late.asked += 1;
            late.asked < ASKED_MAX
        });
        due
    }

    /// Tasks that still work under one of these contexts.
    fn late_tasks(&self, ended: &HashSet<u64>) -> Vec<u64> {
        let live = self.shared.tasks.live();
        let tasks = live.filter(|(_, _, slot)| !slot.live.is_job());
        let late = tasks.filter(|(_, _, slot)| {
            let contexts = slot.live.contexts();
            contexts.into_iter().any(|ctx| self.is_below(ctx, ended))
        });
        late.map(|(_, id, _)| id).collect()
    }

    /// Whether the end of one of these contexts is the end of this one.
    fn is_below(&self, context: ContextRef, ended: &HashSet<u64>) -> bool {
        let mut at = context;
        for _ in 0..DEPTH_MAX {
            if ended.contains(&at.id) {
                return true;
            }
            let Some(slot) = self.shared.find_context(at) else {
                return false;
            };
            let step = slot.live.step();
            // What is in a shield goes on.
            match step.parent {
                Some(parent) if !step.is_shield => at = parent,
                _ => return false,
            }
        }
        false
    }

    /// Workers that are in one poll for long.
    ///
    /// A stall is told on the trace as the thread of the watch sees it, with the slot of
    /// the task.
    fn stalls(&mut self, now: u64) {
        let limit = self.shared.clock.raw_in(self.limits.stall);
        for thread in self.shared.threads() {
            let Some((slot, since)) = thread.poll() else {
                self.stalls.remove(&thread.number);
                continue;
            };
            let length = now.saturating_sub(since);
            let told = match self.stalls.get(&thread.number) {
                Some((of, told)) if *of == since => *told,
                _ => limit / 2,
            };
            if length < limit || length < told.saturating_mul(2) {
                continue;
            }
            self.stalls.insert(thread.number, (since, length));
            let event = Event::Stall {
                slot: number_of(slot).map(u64::from),
                ticks: crate::clock::TraceClock::tick_of(length),
            };
            with_local(&self.shared, |local| local.record(now, &event));
        }
    }
}
