//! Timers, sweepers and sources that do what the test says.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::disallowed_types, reason = "real threads, outside every model")]

use ripcord_core::{Armed, Cause, Source, Sweep, Sweeper, Timer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

/// A timer that keeps its alarms until the test fires them. Clones are the same timer.
#[derive(Clone, Default)]
pub(crate) struct HandTimer(Arc<Alarms>);

#[derive(Default)]
struct Alarms {
    armed: Mutex<BTreeMap<usize, (Instant, Waker)>>,
    arms: AtomicUsize,
}

impl Alarms {
    fn armed(&self) -> MutexGuard<'_, BTreeMap<usize, (Instant, Waker)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandTimer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// How many alarms are armed.
    pub(crate) fn armed(&self) -> usize {
        self.0.armed().len()
    }

    /// How many alarms were ever armed.
    pub(crate) fn arms(&self) -> usize {
        self.0.arms.load(Ordering::Relaxed)
    }

    /// The instants of the alarms, in the order of arming.
    pub(crate) fn instants(&self) -> Vec<Instant> {
        self.0.armed().values().map(|alarm| alarm.0).collect()
    }

    /// Wakes every alarm, each once, whether it is due or not.
    pub(crate) fn fire(&self) {
        let alarms = std::mem::take(&mut *self.0.armed());
        for (_, alarm) in alarms.into_values() {
            alarm.wake();
        }
    }

    fn keep(&self, at: Instant, alarm: Waker) -> Armed {
        let key = self.0.arms.fetch_add(1, Ordering::Relaxed);
        self.0.armed().insert(key, (at, alarm));
        Armed::new(Disarm(Arc::clone(&self.0), key))
    }
}

struct Disarm(Arc<Alarms>, usize);

impl Drop for Disarm {
    fn drop(&mut self) {
        let alarm = self.0.armed().remove(&self.1);
        drop(alarm);
    }
}

impl Timer for HandTimer {
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
        Some(self.keep(at, alarm))
    }
}

/// A timer whose runtime is gone: it refuses.
pub(crate) struct RefusingTimer;

impl Timer for RefusingTimer {
    fn arm(&self, _: Instant, _: Waker) -> Option<Armed> {
        None
    }
}

/// A timer whose runtime is going: it wakes at once, from within `arm`.
pub(crate) struct EarlyTimer;

impl Timer for EarlyTimer {
    fn arm(&self, _: Instant, alarm: Waker) -> Option<Armed> {
        alarm.wake();
        Some(Armed::new(()))
    }
}

pub(crate) struct PanickingTimer;

impl Timer for PanickingTimer {
    fn arm(&self, _: Instant, _: Waker) -> Option<Armed> {
        panic!("a test timer panics, as it was told to")
    }
}

/// Keeps what is handed over until the test runs it. Clones are the same sweeper.
#[derive(Clone, Default)]
pub(crate) struct HeldSweeper(Arc<Mutex<Vec<Sweep>>>);

impl HeldSweeper {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn take(&self) -> Vec<Sweep> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn run(&self) {
        for sweep in self.take() {
            sweep.run();
        }
    }
}

impl Sweeper for HeldSweeper {
    fn hand_over(&self, sweep: Sweep) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sweep);
    }
}

/// A source that ends when the test says so. Clones are the same source.
#[derive(Clone, Default)]
pub(crate) struct Relay {
    cause: Arc<Mutex<Option<Cause>>>,
    looks: Arc<AtomicUsize>,
    subscribers: HandTimer,
}

impl Relay {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn shared(&self) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }

    /// Sets or takes back the cause; wakes nobody.
    pub(crate) fn set(&self, cause: Option<Cause>) {
        let old = std::mem::replace(&mut *self.cause.lock().unwrap(), cause);
        drop(old);
    }

    /// Wakes the subscribers, each once.
    pub(crate) fn alarm(&self) {
        self.subscribers.fire();
    }

    /// How often the cause was asked for.
    pub(crate) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    /// How many subscriptions there are.
    pub(crate) fn subscribed(&self) -> usize {
        self.subscribers.armed()
    }

    /// How many subscriptions there ever were.
    pub(crate) fn subscriptions(&self) -> usize {
        self.subscribers.arms()
    }
}

impl Source for Relay {
    fn cause(&self) -> Option<Cause> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.cause.lock().unwrap().clone()
    }

    fn subscribe(&self, alarm: Waker) -> Armed {
        let now = ripcord_core::Ctx::background().clock_now();
        self.subscribers.keep(now, alarm)
    }
}
