//! [`TestClock`]: time that stands still until the test moves it, and the timer to it.
//!
//! # Invariants
//! 1. Alarms are woken, and dropped, without the clock's lock held.
//! 2. An alarm is woken with the clock standing at its instant or later, never earlier
//!    (unless the test sets the clock back meanwhile).

use crate::lock::Lock;
use crate::sweeper::InlineSweeper;
use ripcord_core::{Armed, CancelGuard, Clock, Ctx, Root, SystemClock, Timer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

/// A clock and timer that only the test moves.
///
/// Time stands still until [`advance`](Self::advance) or one of its siblings is
/// called; alarms are fired from within that call, on the calling thread, each with
/// the clock standing at its instant. Clones are handles of the same clock.
///
/// All clocks of a process start at the same instant, a year ahead of the system's
/// clock: an instant of the system's that gets mixed in by mistake is long past on
/// the test clock, each time the test is run.
///
/// # Examples
/// ```
/// use ripcord_core::Kind;
/// use ripcord_test::TestClock;
/// use std::time::Duration;
///
/// let clock = TestClock::new();
/// let (ctx, _guard) = clock.ctx();
/// let query = ctx.with_timeout(Duration::from_secs(3));
///
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(query.remaining(), Some(Duration::from_secs(1)));
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(query.cause().map(|cause| cause.kind()), Some(Kind::DeadlineExceeded));
/// assert!(!ctx.is_done());
/// ```
///
/// # Costs
/// Reading takes a lock; arming and disarming are O(log n).
#[derive(Clone)]
pub struct TestClock {
    shared: Arc<Shared>,
}

struct Shared {
    state: Lock<State>,
}

struct State {
    now: Instant,
    alarms: BTreeMap<Due, Waker>,
    next: u64,
}

/// When, and which of those that are due at the same instant: the one armed first.
type Due = (Instant, u64);

/// How far the clocks start ahead of the system's.
const AHEAD: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where every test clock of this process starts.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(|| {
        let now = SystemClock.now();
        now.checked_add(AHEAD).unwrap_or(now)
    })
}

impl TestClock {
    /// Makes a clock that stands at the common start.
    ///
    /// ```
    /// # use ripcord_test::TestClock;
    /// let (one, other) = (TestClock::new(), TestClock::new());
    /// assert_eq!(one.now(), other.now());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            now: epoch(),
            alarms: BTreeMap::new(),
            next: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Lock::new(state),
            }),
        }
    }

    /// The current instant.
    ///
    /// ```
    /// # use ripcord_test::TestClock;
    /// let clock = TestClock::new();
    /// let (ctx, _guard) = clock.ctx();
    /// assert_eq!(ctx.clock_now(), clock.now());
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.state.lock().now
    }

    /// How far the clock is beyond its start; zero if it was set back before that.
    ///
    /// ```
    /// # use ripcord_test::TestClock;
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// clock.advance(Duration::from_secs(2));
    /// clock.set_back(Duration::from_secs(1));
    /// assert_eq!(clock.elapsed(), Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now().saturating_duration_since(epoch())
    }

    /// Moves the clock on and fires what falls due, in the order of the instants.
    ///
    /// Of alarms at the same instant the one armed first is fired first. An alarm that
    /// is armed by an alarm, for an instant within the move, is fired as well.
    ///
    /// # Panics
    /// If the instant is beyond the range of the platform's clock. A panic of an alarm
    /// passes through; the clock then stands at that alarm's instant.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::TestClock;
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// clock.advance(Duration::from_millis(1500));
    /// assert_eq!(clock.elapsed(), Duration::from_millis(1500));
    /// ```
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        let now = self.now();
        let Some(to) = now.checked_add(by) else {
            panic!("cannot advance the test clock by {by:?}: beyond the range of Instant");
        };
        self.advance_to(to);
    }

    /// Moves the clock on to an instant; an earlier one than now changes nothing.
    ///
    /// Fires like [`advance`](Self::advance).
    ///
    /// # Panics
    /// A panic of an alarm passes through.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::TestClock;
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// let (ctx, _guard) = clock.ctx();
    /// let query = ctx.with_timeout(Duration::from_secs(3));
    /// if let Some(deadline) = query.deadline() {
    ///     clock.advance_to(deadline.at());
    /// }
    /// assert!(query.is_done());
    /// ```
    pub fn advance_to(&self, to: Instant) {
        while let Some(alarm) = self.shared.next_until(to) {
            alarm.wake();
        }
    }

    /// Moves the clock to the next alarm and fires all that are due then.
    ///
    /// Returns by how much the clock moved, or `None` if no alarm is armed. This is the
    /// *autojump*: called whenever nothing else can run, it makes a test that waits
    /// for hours run through at once.
    ///
    /// # Panics
    /// A panic of an alarm passes through.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::TestClock;
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// let (ctx, _guard) = clock.ctx();
    /// let night = ctx.with_timeout(Duration::from_secs(8 * 3600));
    /// assert_eq!(clock.advance_to_next(), None, "nobody waits");
    ///
    /// let _hook = night.on_done(|_| {});
    /// assert_eq!(clock.advance_to_next(), Some(Duration::from_secs(8 * 3600)));
    /// assert!(night.is_done());
    /// ```
    pub fn advance_to_next(&self) -> Option<Duration> {
        let before = self.now();
        let to = self.next_alarm()?;
        self.advance_to(to);
        Some(to.saturating_duration_since(before))
    }

    /// Sets the clock back: what a broken platform or a suspended machine may do.
    ///
    /// Alarms stay armed for their instants.
    ///
    /// # Panics
    /// If the instant is before the range of the platform's clock.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::TestClock;
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// let (ctx, _guard) = clock.ctx();
    /// let query = ctx.with_timeout(Duration::from_secs(3));
    /// clock.set_back(Duration::from_secs(1));
    /// assert_eq!(query.remaining(), Some(Duration::from_secs(4)));
    /// ```
    #[track_caller]
    pub fn set_back(&self, by: Duration) {
        let mut state = self.shared.state.lock();
        match state.now.checked_sub(by) {
            Some(to) => state.now = to,
            None => panic!("cannot set the test clock back by {by:?}: beyond the range of Instant"),
        }
    }

    /// How many alarms are armed.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::TestClock;
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// let (ctx, _guard) = clock.ctx();
    /// let query = ctx.with_timeout(Duration::from_secs(3));
    /// assert_eq!(clock.armed(), 0, "deadlines are lazy");
    /// let hook = query.on_done(|_| {});
    /// assert_eq!(clock.armed(), 1);
    /// drop((query, hook));
    /// assert_eq!(clock.armed(), 0);
    /// ```
    #[must_use]
    pub fn armed(&self) -> usize {
        self.shared.state.lock().alarms.len()
    }

    /// The instant of the next alarm.
    ///
    /// ```
    /// # use ripcord_test::TestClock;
    /// # use std::time::Duration;
    /// let clock = TestClock::new();
    /// let (ctx, _guard) = clock.ctx();
    /// let query = ctx.with_timeout(Duration::from_secs(3));
    /// let _hook = query.on_done(|_| {});
    /// assert_eq!(clock.next_alarm(), query.deadline().map(|deadline| deadline.at()));
    /// ```
    #[must_use]
    pub fn next_alarm(&self) -> Option<Instant> {
        let state = self.shared.state.lock();
        state.alarms.keys().next().map(|due| due.0)
    }

    /// Starts to build a root on this clock, for a name, an observer or a register.
    ///
    /// Its sweeper is the [`InlineSweeper`], so when a call that ends a context (a
    /// cancel, or an advance over a deadline) returns, every wake and hook is done.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::TestClock;
    /// let clock = TestClock::new();
    /// let (server, _guard) = clock.root().name("server").tracked().build();
    /// assert_eq!(server.clock_now(), clock.now());
    /// ```
    pub fn root(&self) -> Root {
        Ctx::root()
            .clock(Arc::new(self.clone()))
            .timer(Arc::new(self.clone()))
            .sweeper(Arc::new(InlineSweeper))
    }

    /// Makes a root context on this clock, and the right to cancel it.
    ///
    /// ```
    /// # use ripcord_test::TestClock;
    /// let (ctx, guard) = TestClock::new().ctx();
    /// guard.cancel("enough");
    /// assert!(ctx.is_done());
    /// ```
    #[track_caller]
    #[must_use = "dropping the guard at once cancels the context"]
    pub fn ctx(&self) -> (Ctx, CancelGuard) {
        self.root().build()
    }
}

impl Shared {
    /// Takes the next alarm up to `to` and moves to it; to `to` itself after the last.
    fn next_until(&self, to: Instant) -> Option<Waker> {
        let mut state = self.state.lock();
        let due = state.alarms.first_entry().filter(|next| next.key().0 <= to);
        let (until, alarm) = match due {
            Some(next) => (next.key().0, Some(next.remove())),
            None => (to, None),
        };
        state.now = state.now.max(until);
        alarm
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        TestClock::now(self)
    }
}

impl Timer for TestClock {
    /// An alarm for an instant that is not in the future is woken before this returns.
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
        let mut state = self.shared.state.lock();
        if at <= state.now {
            drop(state);
            alarm.wake();
            return Some(Armed::new(()));
        }
        let due = (at, state.next);
        state.next += 1;
        state.alarms.insert(due, alarm);
        drop(state);
        Some(Armed::new(Disarm {
            shared: Arc::clone(&self.shared),
            due,
        }))
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClock")
            .field("elapsed", &self.elapsed())
            .field("armed", &self.armed())
            .finish()
    }
}

/// Takes the alarm back when dropped, if it was not fired.
struct Disarm {
    shared: Arc<Shared>,
    due: Due,
}

impl Drop for Disarm {
    fn drop(&mut self) {
        let alarm = self.shared.state.lock().alarms.remove(&self.due);
        drop(alarm);
    }
}
