//! [`WakeCounter`]: wakers that count what is done to them, and that may strike back.
//!
//! # Invariants
//! 1. The data pointer of every `RawWaker` made here came from `Arc::into_raw` of an
//!    `Arc<Counts>` and owns one strong count, which `wake` or `drop` gives back.
//! 2. A count is raised before the reaction runs, so code that the reaction calls
//!    back into sees it.

#![allow(
    unsafe_code,
    reason = "wakers that react to `clone` and `drop` need a vtable"
)]

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};

/// What was done to a waker; see [`WakeCounter::reacting`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a waker can do no more")]
pub enum WakerEvent {
    /// It was cloned.
    Clone,
    /// It was woken, by value or by reference.
    Wake,
    /// It was dropped without being woken.
    Drop,
}

/// A source of wakers that counts wakes, clones and drops, and may react to them.
///
/// Clones of a counter, and all wakers that it makes, share the counts.
///
/// # Examples
/// ```
/// use ripcord_test::{TestClock, WakeCounter};
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::Context;
///
/// let clock = TestClock::new();
/// let (ctx, guard) = clock.ctx();
/// let counter = WakeCounter::new();
/// let mut done = pin!(ctx.done());
/// assert!(done.as_mut().poll(&mut Context::from_waker(&counter.waker())).is_pending());
///
/// guard.cancel("enough");
/// assert_eq!(counter.wakes(), 1);
/// assert_eq!(counter.live(), 0, "the context keeps no waker");
/// ```
///
/// # Costs
/// A waker is one reference count; an event is one or two atomic additions.
#[derive(Clone)]
pub struct WakeCounter {
    counts: Arc<Counts>,
}

type Reaction = Box<dyn Fn(WakerEvent) + Send + Sync>;

struct Counts {
    wakes: AtomicUsize,
    clones: AtomicUsize,
    drops: AtomicUsize,
    live: AtomicUsize,
    reaction: Option<Reaction>,
}

impl WakeCounter {
    /// Makes a counter whose wakers only count.
    ///
    /// ```
    /// # use ripcord_test::WakeCounter;
    /// let counter = WakeCounter::new();
    /// assert_eq!((counter.wakes(), counter.live()), (0, 0));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::make(None)
    }

    /// Makes a counter whose wakers call `react` after each event was counted.
    ///
    /// This is how a test re-enters the code under test from `wake`, `clone` or `drop`.
    /// What `react` owns lives as long as the counter and its wakers: a context in it
    /// that holds one of the wakers in turn is a leak until that waker is given up.
    ///
    /// # Examples
    /// ```
    /// use ripcord_test::{ManualTask, TestClock, WakeCounter, WakerEvent};
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// let (ctx, guard) = TestClock::new().ctx();
    /// let was_done = Arc::new(AtomicBool::new(false));
    /// let counter = WakeCounter::reacting({
    ///     let (ctx, was_done) = (ctx.clone(), Arc::clone(&was_done));
    ///     move |event| {
    ///         if event == WakerEvent::Wake {
    ///             was_done.store(ctx.is_done(), Ordering::Relaxed);
    ///         }
    ///     }
    /// });
    /// let mut task = ManualTask::with_counter(ctx.done(), counter);
    /// assert!(task.poll().is_pending());
    /// guard.cancel("enough");
    /// assert!(was_done.load(Ordering::Relaxed), "flags come before wakes");
    /// ```
    #[must_use]
    pub fn reacting(react: impl Fn(WakerEvent) + Send + Sync + 'static) -> Self {
        Self::make(Some(Box::new(react)))
    }

    /// Makes a counter whose wakers panic at each `event`, after it was counted.
    ///
    /// Not while the thread unwinds already: that would abort the process.
    ///
    /// # Panics
    /// Not here: in the wakers.
    ///
    /// # Examples
    /// ```
    /// use ripcord_test::{WakeCounter, WakerEvent};
    /// use std::panic::catch_unwind;
    ///
    /// let counter = WakeCounter::panicking(WakerEvent::Wake);
    /// let waker = counter.waker();
    /// assert!(catch_unwind(|| waker.wake()).is_err());
    /// assert_eq!(counter.wakes(), 1);
    /// ```
    #[must_use]
    pub fn panicking(event: WakerEvent) -> Self {
        Self::reacting(move |at| {
            let panics = at == event && !std::thread::panicking();
            assert!(
                !panics,
                "a test waker panics in {event:?}, as it was told to"
            );
        })
    }

    fn make(reaction: Option<Reaction>) -> Self {
        let zero = || AtomicUsize::new(0);
        let counts = Counts {
            wakes: zero(),
            clones: zero(),
            drops: zero(),
            live: zero(),
            reaction,
        };
        Self {
            counts: Arc::new(counts),
        }
    }

    /// Makes a waker. All wakers of one counter say of each other that they `will_wake`.
    ///
    /// ```
    /// # use ripcord_test::WakeCounter;
    /// let counter = WakeCounter::new();
    /// let (one, other) = (counter.waker(), counter.waker());
    /// assert!(one.will_wake(&other));
    /// one.wake();
    /// assert_eq!(counter.wakes(), 1);
    /// ```
    #[must_use]
    pub fn waker(&self) -> Waker {
        // Relaxed: only the number counts (counter).
        self.counts.live.fetch_add(1, Ordering::Relaxed);
        let raw = raw(Arc::clone(&self.counts));
        // SAFETY: the pointer and the table belong together (invariant 1), and the
        // functions of the table only touch atomics and a `Send + Sync` closure.
        unsafe { Waker::from_raw(raw) }
    }

    /// How often one of the wakers was woken.
    #[must_use]
    pub fn wakes(&self) -> usize {
        // Acquire: pairs with the Release of `note` and `retire`.
        self.counts.wakes.load(Ordering::Acquire)
    }

    /// How often one of the wakers was cloned.
    ///
    /// ```
    /// # use ripcord_test::WakeCounter;
    /// let counter = WakeCounter::new();
    /// let clone = counter.waker().clone();
    /// assert_eq!((counter.clones(), counter.live()), (1, 1));
    /// # drop(clone);
    /// ```
    #[must_use]
    pub fn clones(&self) -> usize {
        // Acquire: pairs with the Release of `note` and `retire`.
        self.counts.clones.load(Ordering::Acquire)
    }

    /// How often one of the wakers was dropped without being woken by value.
    ///
    /// ```
    /// # use ripcord_test::WakeCounter;
    /// let counter = WakeCounter::new();
    /// drop(counter.waker());
    /// counter.waker().wake();
    /// assert_eq!((counter.drops(), counter.wakes()), (1, 1));
    /// ```
    #[must_use]
    pub fn drops(&self) -> usize {
        // Acquire: pairs with the Release of `note` and `retire`.
        self.counts.drops.load(Ordering::Acquire)
    }

    /// How many wakers there are at the moment.
    ///
    /// ```
    /// # use ripcord_test::{ManualTask, TestClock, WakeCounter};
    /// let (ctx, _guard) = TestClock::new().ctx();
    /// let counter = WakeCounter::new();
    /// let mut task = ManualTask::with_counter(ctx.done(), counter.clone());
    /// let _ = task.poll();
    /// assert_eq!(counter.live(), 1, "the context holds it");
    /// ```
    #[must_use]
    pub fn live(&self) -> usize {
        // Acquire: pairs with the Release of `note` and `retire`.
        self.counts.live.load(Ordering::Acquire)
    }
}

impl Default for WakeCounter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WakeCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeCounter")
            .field("wakes", &self.wakes())
            .field("clones", &self.clones())
            .field("drops", &self.drops())
            .field("live", &self.live())
            .finish()
    }
}

impl Counts {
    fn note(&self, event: WakerEvent) {
        let count = match event {
            WakerEvent::Clone => &self.clones,
            WakerEvent::Wake => &self.wakes,
            WakerEvent::Drop => &self.drops,
        };
        // Release: what the waking thread did before is visible to a test that reads the
        // count; pairs with the Acquire of the accessors.
        count.fetch_add(1, Ordering::Release);
        if let Some(react) = &self.reaction {
            react(event);
        }
    }

    /// One waker less.
    fn retire(&self) {
        // Release: as in `note`.
        self.live.fetch_sub(1, Ordering::Release);
    }
}

/// One table, so that `will_wake` recognises every waker of a counter.
static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

fn raw(counts: Arc<Counts>) -> RawWaker {
    RawWaker::new(Arc::into_raw(counts).cast(), &TABLE)
}

/// Looks at the counts of a waker that lives on.
///
/// # Safety
/// `data` is the pointer of a waker made by [`raw`] that is not given up meanwhile.
unsafe fn borrow(data: *const ()) -> ManuallyDrop<Arc<Counts>> {
    // SAFETY: invariant 1; `ManuallyDrop` leaves the waker its count.
    ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Counts>()) })
}

/// # Safety
/// Only called through [`TABLE`], with the pointer of a living waker.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the caller's promise is ours.
    let counts = unsafe { borrow(data) };
    counts.note(WakerEvent::Clone);
    // A clone that panics above has made no waker.
    // Relaxed: only the number counts (counter).
    counts.live.fetch_add(1, Ordering::Relaxed);
    raw(Arc::clone(&counts))
}

/// # Safety
/// Only called through [`TABLE`], with the pointer of a waker that ends with the call.
unsafe fn wake(data: *const ()) {
    // SAFETY: invariant 1: the waker gives up its count.
    let counts = unsafe { Arc::from_raw(data.cast::<Counts>()) };
    counts.retire();
    counts.note(WakerEvent::Wake);
}

/// # Safety
/// Only called through [`TABLE`], with the pointer of a living waker.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the caller's promise is ours.
    let counts = unsafe { borrow(data) };
    counts.note(WakerEvent::Wake);
}

/// # Safety
/// Only called through [`TABLE`], with the pointer of a waker that ends with the call.
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: invariant 1: the waker gives up its count.
    let counts = unsafe { Arc::from_raw(data.cast::<Counts>()) };
    counts.retire();
    counts.note(WakerEvent::Drop);
}
