//! The deadlines of a tokio tree: timing wheels, each driven by one tokio timer.
//!
//! A tokio timer for each deadline would cost some 120 bytes and a visit to the
//! driver's lock for each. Here a deadline is 40 bytes in a wheel, and the driver
//! sees one timer a wheel, which is set to the wheel's next turn. No task runs: the
//! timer's waker turns the wheel on the thread that drives the runtime's time.
//!
//! # Lock order
//! `driver` before `wheel`. No waker is cloned, woken or dropped under either, but for
//! the wheel's own, which is a reference count.
//!
//! # Costs
//! Arm and disarm: one lock, O(1). A wheel is turned 256 entries at a time, with the
//! lock free in between. Deadlines are rounded up to the tick, 262 µs, and then by
//! tokio to its millisecond.
//!
//! # Invariants
//! 1. While the wheel has an entry, the timer is set for the wheel's next turn or an earlier
//!    one, or somebody who will call `drive` is on the way: the one who armed, or the fuse.
//! 2. `set_for` outside the lock is a hint. It may make `arm` take the lock for nothing; the
//!    argument why it never makes it stay away wrongly is in `arm`.
//! 3. An alarm never goes off early, but for `give_up`: there all do at once, and the core,
//!    which looks at its clock, arms again elsewhere.
//!
//! # Why four wheels
//! One lock would be met by all workers that make requests at the same moment. The wheels share
//! nothing, not even the timer.
//!
//! # Why the timer of an emptied wheel stays set
//! Where requests come one at a time, each would set it and take it back, which costs more than
//! all the rest of a deadline. Left alone it goes off once, finds nothing, and is gone; the next
//! deadline, if it is a later one, does not touch it.

use crate::clock::now;
use crate::wheel::{Key, Wheel};
use ripcord_core::{Armed, Disarm};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::Sleep;

/// A tick is 2^18 ns.
const TICK_SHIFT: u32 = 18;

/// How many entries are handled under one lock.
const BATCH: usize = 256;

/// So that threads that arm at the same time rarely meet.
const SHARDS: usize = 4;

/// No turn is set.
const NEVER: u64 = u64::MAX;

/// All deadlines of the trees of one runtime handle.
pub(crate) struct Timers {
    shards: [Arc<Shard>; SHARDS],
    next: AtomicUsize,
}

impl Timers {
    pub(crate) fn new(handle: &Handle, now: Instant) -> Self {
        Self {
            shards: std::array::from_fn(|_| Arc::new(Shard::new(handle, now))),
            next: AtomicUsize::new(0),
        }
    }

    /// Arms `alarm` for `at`; `None` if the runtime has no time driver (any more).
    pub(crate) fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
        // Relaxed: any shard will do (counter).
        let shard = &self.shards[self.next.fetch_add(1, Ordering::Relaxed) % SHARDS];
        shard.arm(at, alarm)
    }
}

/// One wheel and the timer that turns it.
struct Shard {
    handle: Handle,
    /// Tick 0.
    base: Instant,
    wheel: Mutex<Wheel>,
    driver: Mutex<Driver>,
    /// For which tick the driver's timer is set; a hint that saves its lock.
    set_for: AtomicU64,
    /// The runtime has no time driver (any more).
    is_gone: AtomicBool,
}

/// The timer of a wheel. `set_for` is `NEVER` while no timer is set that still has to fire; on
/// a runtime that is gone it says nothing, as nothing is armed there. Its waker refers to the shard
/// weakly: with the tree goes the shard, and with that the timer.
struct Driver {
    timer: Option<Pin<Box<Unconstrained<Sleep>>>>,
    set_for: u64,
}

/// An entry that has fired is gone already, and its key void.
impl Disarm for Shard {
    fn disarm(&self, key: u64) {
        let waker = self.wheel().remove(Key::from_bits(key));
        drop(waker);
    }
}

impl Shard {
    fn new(handle: &Handle, base: Instant) -> Self {
        Self {
            handle: handle.clone(),
            base,
            wheel: Mutex::new(Wheel::new()),
            driver: Mutex::new(Driver {
                timer: None,
                set_for: NEVER,
            }),
            set_for: AtomicU64::new(NEVER),
            is_gone: AtomicBool::new(false),
        }
    }

    fn wheel(&self) -> MutexGuard<'_, Wheel> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tick by the end of which `at` has come.
    ///
    /// Rounded up, as [`tick_before`](Self::tick_before) is rounded down: between the two no entry
    /// fires before its instant.
    fn tick_after(&self, at: Instant) -> u64 {
        let nanos = at.saturating_duration_since(self.base).as_nanos();
        let ticks = nanos.saturating_add((1 << TICK_SHIFT) - 1) >> TICK_SHIFT;
        u64::try_from(ticks).unwrap_or(NEVER).min(NEVER - 1)
    }

    /// The tick that has come by `now`.
    fn tick_before(&self, now: Instant) -> u64 {
        let ticks = now.saturating_duration_since(self.base).as_nanos() >> TICK_SHIFT;
        u64::try_from(ticks).unwrap_or(NEVER)
    }

    fn arm(self: &Arc<Self>, at: Instant, alarm: Waker) -> Option<Armed> {
        // Acquire: pairs with the Release in `give_up`, which empties the wheel afterwards.
        if self.is_gone.load(Ordering::Acquire) {
            return None;
        }
        let mut wheel = self.wheel();
        let key = wheel.insert(self.tick_after(at), alarm);
        let next = wheel.next().unwrap_or(NEVER);
        drop(wheel);
        let entry = Armed::keyed(Arc::clone(self) as Arc<dyn Disarm>, key.to_bits());
        // Acquire: pairs with the Release in `drive`. An outdated value is larger or smaller;
        // larger only costs a lock. Smaller means that the timer was moved away in between,
        // by somebody who saw this entry, which was there before.
        if next < self.set_for.load(Ordering::Acquire) {
            self.drive();
        }
        // Acquire: as above. If the runtime went away meanwhile, the entry may have come too
        // late to be woken by `give_up`.
        if self.is_gone.load(Ordering::Acquire) {
            None
        } else {
            Some(entry)
        }
    }

    /// Sets the driver's timer for the wheel's next turn.
    ///
    /// It loops because a turn may be due by the time that its timer is set, and because turning
    /// changes what comes next. Alarms are woken in `turn` and `give_up`, with no lock held.
    fn drive(self: &Arc<Self>) {
        loop {
            let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
            let next = self.wheel().next().unwrap_or(NEVER);
            if driver.set_for == next {
                return;
            }
            driver.set_for = next;
            // Release: pairs with the Acquire in `arm`.
            self.set_for.store(next, Ordering::Release);
            if next == NEVER {
                let timer = driver.timer.take();
                drop(driver);
                drop(timer);
                return;
            }
            match self.set(&mut driver, next) {
                Some(Poll::Pending) => return,
                Some(Poll::Ready(())) => {
                    self.unset(driver);
                    self.turn();
                }
                None => {
                    driver.timer = None;
                    drop(driver);
                    self.give_up();
                    return;
                }
            }
        }
    }

    /// The timer has fired. From here on every `arm` has to drive: if the wheel is empty now,
    /// nobody else sets the timer for what comes next.
    fn unset(&self, mut driver: MutexGuard<'_, Driver>) {
        driver.set_for = NEVER;
        // Release: pairs with the Acquire in `arm`.
        self.set_for.store(NEVER, Ordering::Release);
    }

    /// Sets and polls the timer; `None` if the runtime has no time driver (any more).
    fn set(self: &Arc<Self>, driver: &mut Driver, tick: u64) -> Option<Poll<()>> {
        let nanos = u64::try_from(u128::from(tick) << TICK_SHIFT).unwrap_or(u64::MAX);
        let at = tokio::time::Instant::from_std(self.base + Duration::from_nanos(nanos));
        let waker = Waker::from(Arc::new(Fuse {
            shard: Arc::downgrade(self),
            tick,
        }));
        let _entered = self.handle.enter();
        // tokio panics where it has no time driver; there is no other way to ask.
        let set = catch_unwind(AssertUnwindSafe(|| {
            // Unconstrained: a task whose budget is used up must not see a timer that
            // wakes at once.
            let timer = driver
                .timer
                .insert(Box::pin(unconstrained(tokio::time::sleep_until(at))));
            timer.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        set.ok()
    }

    /// Wakes what is due.
    ///
    /// The clock is read again for each batch: what becomes due during a long turn is part of it.
    fn turn(&self) {
        let mut due = Vec::new();
        loop {
            let now = self.tick_before(now(&self.handle));
            let is_more = self.wheel().turn(now, BATCH, &mut due);
            for alarm in due.drain(..) {
                alarm.wake();
            }
            if !is_more {
                return;
            }
        }
    }

    /// The runtime is gone: every alarm goes off early, and the core takes care of it.
    fn give_up(&self) {
        // Release: pairs with the Acquire in `arm`.
        self.is_gone.store(true, Ordering::Release);
        let alarms = self.wheel().drain();
        for alarm in alarms {
            alarm.wake();
        }
    }
}

/// Wakes the shard when the timer that was set for `tick` goes off.
struct Fuse {
    shard: Weak<Shard>,
    tick: u64,
}

impl Wake for Fuse {
    fn wake(self: Arc<Self>) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        if shard.tick_before(now(&shard.handle)) < self.tick {
            // tokio's timers go off early in one case only: the time driver shuts down.
            // To poll one then would panic.
            shard.give_up();
            return;
        }
        shard.turn();
        shard.unset(shard.driver.lock().unwrap_or_else(PoisonError::into_inner));
        shard.drive();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_emptied_wheel_keeps_its_timer_and_a_later_deadline_leaves_it_alone() {
        let handle = Handle::current();
        let start = now(&handle);
        let timers = Timers::new(&handle, start);
        let arm = |after| {
            let entries = (0..SHARDS).map(|_| timers.arm(start + after, Waker::noop().clone()));
            entries.collect::<Option<Vec<_>>>().unwrap()
        };
        let set_for = || {
            let shards = timers.shards.iter();
            // Relaxed: one thread.
            let ticks = shards.map(|shard| shard.set_for.load(Ordering::Relaxed));
            ticks.collect::<Vec<_>>()
        };
        assert_eq!(set_for(), [NEVER; SHARDS]);
        drop(arm(30 * SECOND));
        let first = set_for();
        assert!(!first.contains(&NEVER));
        drop(arm(31 * SECOND));
        assert_eq!(set_for(), first);
        drop(arm(SECOND));
        assert!(set_for().iter().zip(&first).all(|(now, first)| now < first));
        // It goes off for nobody, and that is the end of it.
        tokio::time::sleep(40 * SECOND).await;
        assert_eq!(set_for(), [NEVER; SHARDS]);
    }

    #[tokio::test]
    async fn a_timer_that_is_set_goes_with_its_tree() {
        let handle = Handle::current();
        let timers = Timers::new(&handle, now(&handle));
        let shards = timers.shards.each_ref().map(Arc::downgrade);
        let at = now(&handle) + 30 * SECOND;
        let entry = timers.arm(at, Waker::noop().clone());
        drop(timers);
        assert_eq!(shards.iter().filter_map(Weak::upgrade).count(), 1);
        drop(entry);
        assert_eq!(shards.iter().filter_map(Weak::upgrade).count(), 0);
    }
}
