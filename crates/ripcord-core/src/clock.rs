//! The only door to time: [`Clock`], [`Timer`], and the standard ones.
//!
//! A context's clock and timer are chosen at its root. Without a choice they are
//! the operating system's monotonic clock and one timer thread, which is started
//! when the first deadline has somebody waiting for it.

use crate::observe::{Observer, Registry};
use crate::panics::{Foreign, contain};
use crate::sweep::Sweeper;
use crate::sync::{Arc, OnceLock};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::task::Waker;
use std::time::Instant;

/// A source of monotonic time.
///
/// It is read by `is_done` wherever a deadline exists, so it should be cheap; it
/// must not call into the context that it serves. A clock that jumps back makes a
/// deadline later, but never undoes one that was seen to pass.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Instant;
}

/// Wakes at an instant.
pub trait Timer: Send + Sync {
    /// Arranges for `alarm` to be woken at or soon after `at`.
    ///
    /// `None` says that the timer cannot serve (its runtime is gone); the core then
    /// uses its own timer thread. A wake before `at` is taken for the same. The call
    /// is made without a lock held and may come from any thread.
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed>;
}

/// An armed timer or subscription; dropping it disarms.
pub struct Armed(#[allow(dead_code, reason = "held to be dropped")] Pin<Box<dyn Any + Send>>);

impl Armed {
    /// Wraps what has to be dropped in order to disarm.
    #[must_use]
    pub fn new(disarm: impl Any + Send) -> Self {
        Self(Box::pin(disarm))
    }

    /// Takes over what is pinned already, such as a timer future that was polled.
    #[must_use]
    pub fn pinned<T: Any + Send>(disarm: Pin<Box<T>>) -> Self {
        Self(disarm)
    }
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Armed(..)")
    }
}

/// What a root chooses for its whole tree.
#[derive(Clone, Default)]
pub(crate) struct Runtime {
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) timer: Option<Arc<dyn Timer>>,
    pub(crate) sweeper: Option<Arc<dyn Sweeper>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) registry: Option<Arc<Registry>>,
}

impl Runtime {
    /// The tree's clock, or the operating system's where the root chose none.
    pub(crate) fn now(runtime: Option<&Self>) -> Instant {
        match runtime.and_then(|runtime| runtime.clock.as_deref()) {
            None => system_now(),
            Some(clock) => contain(Foreign::Runtime, || clock.now()).unwrap_or_else(system_now),
        }
    }

    /// Arms the tree's timer, or the timer thread where that cannot serve.
    pub(crate) fn arm(runtime: Option<&Self>, at: Instant, alarm: Waker) -> Option<Armed> {
        if let Some(timer) = runtime.and_then(|runtime| runtime.timer.as_deref())
            && let Some(Some(armed)) = contain(Foreign::Runtime, || timer.arm(at, alarm.clone()))
        {
            return Some(armed);
        }
        arm_thread(at, alarm)
    }
}

/// The operating system's monotonic clock.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the door that the ban points to"
)]
pub(crate) fn system_now() -> Instant {
    Instant::now()
}

/// The operating system's monotonic clock (the default).
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        system_now()
    }
}

/// The core's own timer thread (the default), shared by the whole process.
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
pub(crate) fn arm_thread(at: Instant, alarm: Waker) -> Option<Armed> {
    let shared = ThreadShared::get()?;
    let key = shared.add(at, alarm);
    Some(Armed::new(Disarm { shared, key }))
}

type Due = (Instant, u64);

struct Disarm {
    shared: &'static ThreadShared,
    key: Due,
}

impl Drop for Disarm {
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
