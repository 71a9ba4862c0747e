//! The only door to time: [`Clock`], [`Timer`], and the standard ones.
//!
//! A context's clock and timer are chosen at its root. Without a choice they are
//! the operating system's monotonic clock and one timer thread, which is started
//! when the first deadline has somebody waiting for it.
//!
//! # Why a deadline is never early
//! Three parties take part, and none has to be trusted. The clock decides: a deadline has
//! passed when the clock of the tree says so, at the moment of a look. The timer only
//! reminds: it makes the node look, and where it woke too early the node is armed anew, on
//! the core's own thread, so that a runtime that lets go of its timers causes no busy loop
//! (spec/context.md C35). The timer thread is the fallback of every tree.

use crate::observe::{Observer, Registry};
use crate::panics::{Foreign, Held, contain};
use crate::sweep::Sweeper;
use crate::sync::{Arc, Mutex, OnceLock};
use crate::tasks::Tasks;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::task::Waker;
use std::time::{Duration, Instant};

/// A source of monotonic time.
///
/// It is read by `is_done` wherever a deadline exists, so it should be cheap; it
/// must not call into the context that it serves. A clock that jumps back makes a
/// deadline later, but never undoes one that was seen to pass.
///
/// A clock is chosen with [`Root::clock`](crate::Root::clock), together with a [`Timer`] that
/// agrees with it. Where it panics the operating system's clock answers in its place.
///
/// # Examples
/// ```
/// use ripcord_core::{Clock, Ctx};
/// use std::{sync::Arc, time::{Duration, Instant}};
///
/// /// Runs an hour ahead.
/// struct Ahead;
/// impl Clock for Ahead {
///     fn now(&self) -> Instant { Instant::now() + Duration::from_secs(3600) }
/// }
///
/// let (ctx, _guard) = Ctx::root().clock(Arc::new(Ahead)).build();
/// assert!(ctx.with_deadline(Instant::now() + Duration::from_secs(60)).is_done());
/// ```
pub trait Clock: Send + Sync {
    /// The current instant.
    ///
    /// Called from any thread, without a lock held, and often: on every check below a deadline.
    fn now(&self) -> Instant;
}

/// Wakes at an instant.
///
/// One deadline needs one alarm, however many wait below it (spec/context.md C32), and only
/// once somebody waits at all (C31).
///
/// # Examples
/// ```
/// use ripcord_core::{Armed, Ctx, Timer};
/// use std::{sync::{Arc, Mutex}, task::Waker, time::{Duration, Instant}};
///
/// /// Keeps the alarms for a loop that looks at them from time to time.
/// #[derive(Default)]
/// struct Table(Mutex<Vec<(Instant, Waker)>>);
/// impl Timer for Table {
///     fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
///         self.0.lock().unwrap().push((at, alarm));
///         Some(Armed::new(())) // Never disarms: a late wake of a context that is over is ignored.
///     }
/// }
/// let table = Arc::new(Table::default());
/// let (root, _guard) = Ctx::root().timer(table.clone()).build();
/// let _hook = root.with_timeout(Duration::from_secs(1)).on_done(|_| ());
/// assert_eq!(table.0.lock().unwrap().len(), 1);
/// ```
pub trait Timer: Send + Sync {
    /// Arranges for `alarm` to be woken at or soon after `at`.
    ///
    /// `None` says that the timer cannot serve (its runtime is gone); the core then
    /// uses its own timer thread. A wake before `at` is taken for the same. The call
    /// is made without a lock held and may come from any thread.
    ///
    /// The alarm may be woken from within this call, more than once, and also after the
    /// [`Armed`] was dropped: a wake only makes the context look. It must be woken *or* dropped
    /// in the end, as it keeps a small allocation alive.
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed>;
}

/// An armed timer or subscription; dropping it disarms.
///
/// # Examples
/// ```
/// use ripcord_core::Armed;
/// use std::sync::mpsc::{Receiver, channel};
///
/// let (registration, registry): (_, Receiver<()>) = channel();
/// let armed = Armed::new(registration);
/// drop(armed);
/// assert!(registry.recv().is_err(), "the registration was dropped with it");
/// ```
pub struct Armed {
    table: Arc<dyn Disarm>,
    key: u64,
}

impl Drop for Armed {
    /// Contained by itself: the table may be dropped next, which is foreign code too.
    fn drop(&mut self) {
        contain(Foreign::Runtime, || self.table.disarm(self.key));
    }
}

/// A table with one entry, which goes with it. The lock is never taken: it makes what is only ever
/// dropped shareable.
struct Own<T>(#[allow(dead_code, reason = "held to be dropped")] Mutex<T>);

impl<T: Send> Disarm for Own<T> {
    fn disarm(&self, _: u64) {}
}

/// A table of alarms that are known by number; for [`Armed::keyed`].
///
/// For a timer that serves many deadlines: an armed one then costs no allocation of its own.
///
/// # Examples
/// ```
/// use ripcord_core::{Armed, Disarm};
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Default)]
/// struct Table(Mutex<Vec<u64>>);
/// impl Disarm for Table {
///     fn disarm(&self, key: u64) { self.0.lock().unwrap().retain(|armed| *armed != key) }
/// }
/// let table = Arc::new(Table::default());
/// table.0.lock().unwrap().push(7);
/// drop(Armed::keyed(table.clone(), 7));
/// assert!(table.0.lock().unwrap().is_empty());
/// ```
pub trait Disarm: Send + Sync {
    /// Removes the alarm with this number, if it has not gone off.
    ///
    /// Called once for each [`Armed`], from any thread and without a lock held. A number may be
    /// used again only when that has happened.
    fn disarm(&self, key: u64);
}

impl Armed {
    /// Wraps what has to be dropped in order to disarm.
    ///
    /// Anything whose destructor disarms, such as a join handle wrapped to abort; `()` where
    /// there is nothing to take back.
    #[must_use]
    pub fn new(disarm: impl Any + Send) -> Self {
        Self::keyed(Arc::new(Own(Mutex::new(disarm))), 0)
    }

    /// Calls `table` with `key` when it is dropped.
    #[must_use]
    pub fn keyed(table: Arc<dyn Disarm>, key: u64) -> Self {
        Self { table, key }
    }

    /// Takes over what is pinned already, such as a timer future that was polled.
    ///
    /// It is only ever dropped again, in place, so what is pinned stays where it is.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Armed;
    ///
    /// // Stands for a runtime's sleep that was polled once with the alarm.
    /// let sleep = Box::pin(std::future::pending::<()>());
    /// let armed = Armed::pinned(sleep);
    /// drop(armed);
    /// ```
    #[must_use]
    pub fn pinned<T: Any + Send>(disarm: Pin<Box<T>>) -> Self {
        Self::new(disarm)
    }
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Armed(..)")
    }
}

/// What a root chooses for its whole tree.
///
/// Every field may be missing: then the default of the core takes its place. The contents
/// are foreign code; [`Held`] contains a panic of their destructors.
#[derive(Clone, Default)]
pub(crate) struct Runtime {
    pub(crate) clock: Option<Held<dyn Clock>>,
    pub(crate) timer: Option<Held<dyn Timer>>,
    pub(crate) sweeper: Option<Held<dyn Sweeper>>,
    pub(crate) observer: Option<Held<dyn Observer>>,
    pub(crate) tasks: Option<Tasks>,
    pub(crate) registry: Option<Arc<Registry>>,
}

impl Runtime {
    /// The tree's clock, or the operating system's where the root chose none.
    pub(crate) fn now(runtime: Option<&Self>) -> Instant {
        match runtime.and_then(|runtime| runtime.clock.as_ref()?.get()) {
            None => system_now(),
            Some(clock) => contain(Foreign::Runtime, || clock.now()).unwrap_or_else(system_now),
        }
    }

    /// Arms the tree's timer, or the timer thread where that cannot serve.
    ///
    /// A timer that panics is treated like one that refuses. The alarm is cloned for it, so
    /// that it is still there for the thread.
    pub(crate) fn arm(runtime: Option<&Self>, at: Instant, alarm: Waker) -> Option<Armed> {
        if let Some(timer) = runtime.and_then(|runtime| runtime.timer.as_ref()?.get())
            && let Some(Some(armed)) = contain(Foreign::Runtime, || timer.arm(at, alarm.clone()))
        {
            return Some(armed);
        }
        Self::arm_thread(runtime, at, alarm)
    }

    /// Arms the timer thread in place of the tree's timer.
    ///
    /// `at` is an instant of the tree's clock. Where that is not the thread's own, the
    /// thread looks again after what is left, and at most once in a while.
    pub(crate) fn arm_thread(runtime: Option<&Self>, at: Instant, alarm: Waker) -> Option<Armed> {
        if runtime.is_none_or(|runtime| runtime.clock.is_none()) {
            return arm_thread(at, alarm);
        }
        let left = at.saturating_duration_since(Self::now(runtime));
        let look = system_now().checked_add(left.max(LOOK_AGAIN));
        arm_thread(look.unwrap_or(at), alarm)
    }
}

/// So long the timer thread leaves a clock that stands still alone.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The operating system's monotonic clock.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the door that the ban points to"
)]
pub(crate) fn system_now() -> Instant {
    Instant::now()
}

/// The operating system's monotonic clock (the default).
///
/// For a root that sets everything by hand; leaving the clock out has the same effect and
/// saves a virtual call.
///
/// # Examples
/// ```
/// use ripcord_core::{Clock, SystemClock};
///
/// let before = SystemClock.now();
/// assert!(SystemClock.now() >= before);
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        system_now()
    }
}

/// The core's own timer thread (the default), shared by the whole process.
///
/// Its own use is as a fallback inside another [`Timer`]:
///
/// # Examples
/// ```
/// use ripcord_core::{Armed, ThreadTimer, Timer};
/// use std::{task::Waker, time::Instant};
///
/// struct Preferred;
/// impl Timer for Preferred {
///     fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
///         // Here would be a look for a runtime on this thread.
///         ThreadTimer.arm(at, alarm)
///     }
/// }
/// # assert!(Preferred.arm(Instant::now(), Waker::noop().clone()).is_some());
/// ```
///
/// # Costs
/// Arm and disarm: one lock and O(log n). The thread exists from the first use on.
#[derive(Clone, Copy, Default, Debug)]
pub struct ThreadTimer;

impl Timer for ThreadTimer {
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
        arm_thread(at, alarm)
    }
}

/// Arms the timer thread; `None` if it cannot be started.
fn arm_thread(at: Instant, alarm: Waker) -> Option<Armed> {
    let shared = ThreadShared::get()?;
    let key = shared.add(at, alarm);
    Some(Armed::new(ThreadEntry { shared, key }))
}

/// The instant of an alarm, and a number that keeps apart those at one instant.
type Due = (Instant, u64);

/// Takes an alarm out of the thread's table; after it went off, there is nothing to take.
struct ThreadEntry {
    shared: &'static ThreadShared,
    key: Due,
}

impl Drop for ThreadEntry {
    /// The waker is foreign code: it leaves the table under the lock and is dropped after it.
    fn drop(&mut self) {
        let waker = self.shared.locked().alarms.remove(&self.key);
        drop(waker);
    }
}

#[derive(Default)]
struct Alarms {
    alarms: BTreeMap<Due, Waker>,
    next: u64,
}

/// Real threads and real time: outside every loom model.
#[allow(
    clippy::disallowed_types,
    reason = "the timer thread is outside every model"
)]
struct ThreadShared {
    alarms: std::sync::Mutex<Alarms>,
    changed: std::sync::Condvar,
}

impl ThreadShared {
    /// Leaked on purpose: the thread lives as long as the process, and with a `'static`
    /// reference arming and disarming touch no count. A thread that could not be
    /// started once is not tried again.
    fn get() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<&'static ThreadShared>> = OnceLock::new();
        *SHARED.get_or_init(|| {
            #[allow(
                clippy::disallowed_types,
                reason = "the timer thread is outside every model"
            )]
            let shared: &'static Self = Box::leak(Box::new(Self {
                alarms: std::sync::Mutex::new(Alarms::default()),
                changed: std::sync::Condvar::new(),
            }));
            let spawned = std::thread::Builder::new()
                .name("ripcord-timer".to_owned())
                .spawn(move || shared.serve());
            spawned.ok().map(|_| shared)
        })
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Alarms> {
        self.alarms
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The thread is notified only where the new alarm comes before all others: else it sleeps
    /// until an earlier one anyway.
    fn add(&self, at: Instant, alarm: Waker) -> Due {
        let mut alarms = self.locked();
        let key = (at, alarms.next);
        alarms.next += 1;
        let is_first = alarms.alarms.keys().next().is_none_or(|first| key < *first);
        alarms.alarms.insert(key, alarm);
        drop(alarms);
        if is_first {
            self.changed.notify_one();
        }
        key
    }

    /// One alarm at a time, outside the lock: a waker that blocks delays other alarms, but no
    /// arming and no disarming.
    fn serve(&self) {
        let mut alarms = self.locked();
        loop {
            let now = system_now();
            alarms = match alarms.alarms.first_key_value().map(|(key, _)| key.0) {
                None => self
                    .changed
                    .wait(alarms)
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
                Some(at) if at > now => {
                    let waited = self.changed.wait_timeout(alarms, at.duration_since(now));
                    waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
                }
                Some(_) => {
                    let alarm = alarms.alarms.pop_first();
                    drop(alarms);
                    if let Some((_, alarm)) = alarm {
                        contain(Foreign::Waker, move || alarm.wake());
                    }
                    self.locked()
                }
            };
        }
    }
}
