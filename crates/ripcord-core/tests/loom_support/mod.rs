//! What the models share: the model runner, counted wakers, and a clock, a timer, a
//! source and a sweeper that a model drives itself.
//!
//! No thread of the system takes part in a model: each tree has its own sweeper, and
//! its timer always serves. Wakes are counted in std's atomics, which are no steps of
//! the model, so counting does not make it larger.

#![allow(dead_code, reason = "each file of models uses a part")]

use loom::sync::Mutex;
use ripcord_core::{
    Armed, CancelGuard, Cause, Clock, Ctx, Done, Draining, Hook, Source, Sweep, Sweeper, Timer,
    foreign_panics,
};
use std::cell::RefCell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::{Duration, Instant};

/// Explores every interleaving with at most two preemptions (`LOOM_MAX_PREEMPTIONS`).
pub(crate) fn model(run: impl Fn() + Send + Sync + 'static) {
    model_with(usize::MAX, run);
}

/// Like [`model`], with at most `bound` preemptions: for models of three threads.
///
/// A load may still return any value that the memory model allows, so a thread can
/// act on the past without having been preempted for it.
pub(crate) fn model_with(bound: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let asked = builder.preemption_bound.unwrap_or(2);
    builder.preemption_bound = Some(asked.min(bound));
    builder.max_branches = builder.max_branches.max(20_000);
    let began = Instant::now();
    let rounds = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&rounds);
    builder.check(move || {
        let before = foreign_panics();
        SWEEPS.set(Some(ManuallyDrop::new(Arc::default())));
        run();
        settle();
        // One of an execution that has failed is leaked: it cannot be dropped outside of it.
        SWEEPS.take().map(ManuallyDrop::into_inner);
        // An assertion in a waker or a hook is contained: it shows here.
        assert_eq!(foreign_panics(), before, "a panic in foreign code");
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let rounds = rounds.load(Ordering::Relaxed);
    println!("{name}: {rounds} executions in {:.1?}", began.elapsed());
}

thread_local! {
    /// The sweeper of the execution under way: loom's threads share one of the system's.
    static SWEEPS: RefCell<Option<ManuallyDrop<Arc<Sweeps>>>> = const { RefCell::new(None) };
}

fn sweeps() -> Arc<Sweeps> {
    SWEEPS.with_borrow(|sweeps| Arc::clone(sweeps.as_deref().expect("within a model")))
}

/// Runs what was handed over to the sweeper.
///
/// A registration that finds out that it came too late leaves the sweep to the sweeper,
/// so who judges what was woken lets that run first.
pub(crate) fn settle() {
    sweeps().run();
}

/// A context without anything above it, whose clock stands still, and its guard.
pub(crate) fn top() -> (Ctx, CancelGuard) {
    thread_local!(static NOW: Instant = Instant::now());
    struct Fixed(Instant);
    impl Clock for Fixed {
        fn now(&self) -> Instant {
            self.0
        }
    }
    Ctx::root()
        .clock(Arc::new(Fixed(NOW.with(|now| *now))))
        .sweeper(Arc::new(Collect(sweeps())))
        .build()
}

/// Counts its wakes.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F, wakes: &Arc<Wakes>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(wakes));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// A waker that does something in its first clone: between the look that finds a
/// context live and the registration, where every other thread would have to be lucky.
pub(crate) struct Acting {
    wakes: AtomicUsize,
    action: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

const ACTING: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let acting = data.cast::<Acting>();
        // SAFETY: `data` came from `Arc::into_raw`, and the waker that is cloned holds a count.
        unsafe { Arc::increment_strong_count(acting) };
        // SAFETY: as above.
        let action = unsafe { &*acting }.action.lock().unwrap().take();
        if let Some(action) = action {
            action();
        }
        RawWaker::new(data, &ACTING)
    },
    |data| {
        // SAFETY: `data` came from `Arc::into_raw`; its count ends here.
        let acting = unsafe { Arc::from_raw(data.cast::<Acting>()) };
        acting.wakes.fetch_add(1, Ordering::SeqCst);
    },
    |data| {
        // SAFETY: `data` came from `Arc::into_raw`, and the waker holds a count.
        let acting = unsafe { &*data.cast::<Acting>() };
        acting.wakes.fetch_add(1, Ordering::SeqCst);
    },
    |data| {
        // SAFETY: `data` came from `Arc::into_raw`; its count ends here.
        drop(unsafe { Arc::from_raw(data.cast::<Acting>()) });
    },
);

impl Acting {
    /// Polls the end of `ctx`, and does `action` between the look and the registration.
    ///
    /// Returns what has to be called when the context is over.
    pub(crate) fn on(ctx: &Ctx, action: impl FnOnce() + Send + 'static) -> ActingWaiting {
        let acting = Arc::new(Self {
            wakes: AtomicUsize::new(0),
            action: std::sync::Mutex::new(Some(Box::new(action))),
        });
        let data = Arc::into_raw(Arc::clone(&acting));
        // SAFETY: the table keeps the contract of a waker; `data` is the count that it needs.
        let waker = unsafe { Waker::new(data.cast(), &ACTING) };
        let mut done = ctx.done();
        let poll = Pin::new(&mut done).poll(&mut Context::from_waker(&waker));
        let is_registered = poll.is_pending();
        ActingWaiting {
            done,
            acting,
            is_registered,
        }
    }
}

/// A task that waits with an [`Acting`] waker.
pub(crate) struct ActingWaiting {
    done: Done,
    acting: Arc<Acting>,
    is_registered: bool,
}

impl ActingWaiting {
    #[track_caller]
    pub(crate) fn assert_over(mut self) {
        settle();
        let wakes = self.acting.wakes.load(Ordering::SeqCst);
        assert_eq!(wakes, usize::from(self.is_registered), "wakes of a waiter");
        assert!(poll(&mut self.done, &Wakes::new()).is_ready());
    }
}

/// A task that waits for the end of a context.
pub(crate) struct Waiting {
    pub(crate) done: Done,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) is_registered: bool,
}

impl Waiting {
    /// Polls once.
    pub(crate) fn on(ctx: &Ctx) -> Self {
        let mut done = ctx.done();
        let wakes = Wakes::new();
        let is_registered = poll(&mut done, &wakes).is_pending();
        Self {
            done,
            wakes,
            is_registered,
        }
    }

    /// The context has ended: the task was woken exactly once, or was ready at once.
    #[track_caller]
    pub(crate) fn assert_over(mut self) -> Cause {
        settle();
        let expected = usize::from(self.is_registered);
        assert_eq!(self.wakes.count(), expected, "wakes of a waiter");
        match poll(&mut self.done, &self.wakes) {
            Poll::Ready(cause) => cause,
            Poll::Pending => panic!("pending on a context that is done"),
        }
    }

    /// The context is live.
    #[track_caller]
    pub(crate) fn assert_waits(&self) {
        assert!(self.is_registered);
        assert_eq!(self.wakes.count(), 0);
    }
}

/// A task that waits for a context to drain.
pub(crate) struct DrainWaiting {
    draining: Draining,
    wakes: Arc<Wakes>,
    is_registered: bool,
}

impl DrainWaiting {
    pub(crate) fn on(ctx: &Ctx) -> Self {
        let mut draining = ctx.draining();
        let wakes = Wakes::new();
        let is_registered = poll(&mut draining, &wakes).is_pending();
        Self {
            draining,
            wakes,
            is_registered,
        }
    }

    /// It was woken exactly once. A poll that found out after it had registered may
    /// leave with a wake on its way.
    #[track_caller]
    pub(crate) fn assert_over(mut self) {
        settle();
        match self.is_registered {
            true => assert_eq!(self.wakes.count(), 1, "wakes of a drain waiter"),
            false => assert!(self.wakes.count() <= 1),
        }
        assert!(poll(&mut self.draining, &self.wakes).is_ready());
    }
}

/// A hook that counts its runs.
pub(crate) struct Counted {
    pub(crate) hook: Hook,
    pub(crate) runs: Arc<AtomicUsize>,
}

impl Counted {
    pub(crate) fn on(ctx: &Ctx) -> Self {
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&runs);
        let hook = ctx.on_done(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        Self { hook, runs }
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    #[track_caller]
    pub(crate) fn assert_ran_once(&self) {
        settle();
        assert_eq!(self.runs(), 1, "runs of a hook");
        assert!(self.hook.has_run());
    }
}

/// A clock that stands still until it is set.
pub(crate) struct ModelClock {
    base: Instant,
    seconds: AtomicU64,
    /// Where one thread sets the clock while others read it, both are steps.
    step: Option<loom::sync::atomic::AtomicU64>,
}

impl ModelClock {
    fn new(is_shared: bool) -> Arc<Self> {
        // A day ahead of the system, whose time must not play a part.
        let base = Instant::now() + Duration::from_secs(86_400);
        Arc::new(Self {
            base,
            seconds: AtomicU64::new(0),
            step: is_shared.then(|| loom::sync::atomic::AtomicU64::new(0)),
        })
    }

    /// Sets the time, in seconds since the beginning of the model.
    pub(crate) fn set(&self, seconds: u64) {
        match &self.step {
            Some(step) => step.store(seconds, Ordering::Release),
            None => self.seconds.store(seconds, Ordering::Release),
        }
    }
}

impl Clock for ModelClock {
    fn now(&self) -> Instant {
        let seconds = match &self.step {
            Some(step) => step.load(Ordering::Acquire),
            None => self.seconds.load(Ordering::Acquire),
        };
        self.base + Duration::from_secs(seconds)
    }
}

struct Entry {
    id: u64,
    at: Instant,
    alarm: Waker,
}

/// A timer that fires when a thread of the model says so.
#[derive(Default)]
pub(crate) struct ModelTimer {
    entries: Mutex<Vec<Entry>>,
    armed: AtomicU64,
}

struct Disarm {
    timer: Arc<ModelTimer>,
    id: u64,
}

impl Drop for Disarm {
    fn drop(&mut self) {
        let mut entries = self.timer.entries.lock().unwrap();
        let at = entries.iter().position(|entry| entry.id == self.id);
        let entry = at.map(|at| entries.swap_remove(at));
        drop(entries);
        drop(entry);
    }
}

impl ModelTimer {
    /// Wakes what is due.
    pub(crate) fn fire(&self, now: Instant) {
        let mut entries = self.entries.lock().unwrap();
        let all = std::mem::take(&mut *entries);
        let (due, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|entry| entry.at <= now);
        *entries = rest;
        drop(entries);
        for entry in due {
            entry.alarm.wake();
        }
    }

    /// How often it was armed.
    pub(crate) fn armed(&self) -> u64 {
        self.armed.load(Ordering::SeqCst)
    }

    /// How many alarms are waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.entries.lock().unwrap().len()
    }
}

struct Port(Arc<ModelTimer>);

impl Timer for Port {
    fn arm(&self, at: Instant, alarm: Waker) -> Option<Armed> {
        let timer = Arc::clone(&self.0);
        let id = timer.armed.fetch_add(1, Ordering::SeqCst);
        let mut entries = timer.entries.lock().unwrap();
        entries.push(Entry { id, at, alarm });
        drop(entries);
        Some(Armed::new(Disarm { timer, id }))
    }
}

/// Collects the sweeps that are handed over; a thread of the model runs them.
#[derive(Default)]
pub(crate) struct Sweeps(Mutex<Vec<Sweep>>);

impl Sweeps {
    pub(crate) fn take(&self) -> Vec<Sweep> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Runs what was handed over; returns how many sweeps that were.
    pub(crate) fn run(&self) -> usize {
        let sweeps = self.take();
        let count = sweeps.len();
        for sweep in sweeps {
            sweep.run();
        }
        count
    }
}

struct Collect(Arc<Sweeps>);

impl Sweeper for Collect {
    fn hand_over(&self, sweep: Sweep) {
        self.0.0.lock().unwrap().push(sweep);
    }
}

impl Drop for Sweeps {
    fn drop(&mut self) {
        // One that is left here would go to a thread of the system.
        if !std::thread::panicking() {
            self.run();
        }
    }
}

/// A root whose time and sweeps are the model's.
pub(crate) struct Tree {
    pub(crate) ctx: Ctx,
    pub(crate) guard: CancelGuard,
    pub(crate) clock: Arc<ModelClock>,
    pub(crate) timer: Arc<ModelTimer>,
    pub(crate) sweeps: Arc<Sweeps>,
}

impl Tree {
    /// One whose clock a thread of the model sets.
    pub(crate) fn new() -> Self {
        Self::with_clock(ModelClock::new(true))
    }

    /// One whose clock is set only while a single thread is left.
    pub(crate) fn still() -> Self {
        Self::with_clock(ModelClock::new(false))
    }

    fn with_clock(clock: Arc<ModelClock>) -> Self {
        let timer = Arc::new(ModelTimer::default());
        let sweeps = sweeps();
        let (ctx, guard) = Ctx::root()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .timer(Arc::new(Port(Arc::clone(&timer))))
            .sweeper(Arc::new(Collect(Arc::clone(&sweeps))))
            .build();
        Self {
            ctx,
            guard,
            clock,
            timer,
            sweeps,
        }
    }

    /// What a thread needs to let time pass.
    pub(crate) fn time(&self) -> Time {
        Time {
            clock: Arc::clone(&self.clock),
            timer: Arc::clone(&self.timer),
        }
    }
}

/// The time of a tree.
pub(crate) struct Time {
    clock: Arc<ModelClock>,
    timer: Arc<ModelTimer>,
}

impl Time {
    /// Like [`pass_to`](Self::pass_to), if there is somebody to wake.
    pub(crate) fn pass_to_if_armed(&self, seconds: u64) {
        if self.timer.waiting() > 0 {
            self.pass_to(seconds);
        }
    }

    /// Sets the clock and fires what is due.
    pub(crate) fn pass_to(&self, seconds: u64) {
        self.clock.set(seconds);
        self.timer.fire(self.clock.now());
    }
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[derive(Default)]
struct SourceState {
    cause: Option<Cause>,
    alarms: Vec<(u64, Waker)>,
    next: u64,
}

/// A source whose subscriptions hear of one piece of news each.
#[derive(Default)]
pub(crate) struct ModelSource {
    state: Mutex<SourceState>,
}

impl ModelSource {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Wakes the subscribers, with news or a false alarm.
    pub(crate) fn news(&self, cause: Option<Cause>) {
        let mut state = self.state.lock().unwrap();
        if cause.is_some() {
            state.cause = cause;
        }
        let alarms = std::mem::take(&mut state.alarms);
        drop(state);
        for (_, alarm) in alarms {
            alarm.wake();
        }
    }

    /// How often somebody subscribed, and how many are subscribed.
    pub(crate) fn subscriptions(&self) -> (u64, usize) {
        let state = self.state.lock().unwrap();
        (state.next, state.alarms.len())
    }
}

/// The handle that a context is given.
pub(crate) struct Tap(pub(crate) Arc<ModelSource>);

struct Unsubscribe {
    source: Arc<ModelSource>,
    id: u64,
}

impl Drop for Unsubscribe {
    fn drop(&mut self) {
        let mut state = self.source.state.lock().unwrap();
        let at = state.alarms.iter().position(|(id, _)| *id == self.id);
        let alarm = at.map(|at| state.alarms.swap_remove(at));
        drop(state);
        drop(alarm);
    }
}

impl Source for Tap {
    fn cause(&self) -> Option<Cause> {
        self.0.state.lock().unwrap().cause.clone()
    }

    fn subscribe(&self, alarm: Waker) -> Armed {
        let mut state = self.0.state.lock().unwrap();
        let id = state.next;
        state.next += 1;
        if state.cause.is_some() {
            drop(state);
            alarm.wake();
        } else {
            state.alarms.push((id, alarm));
        }
        Armed::new(Unsubscribe {
            source: Arc::clone(&self.0),
            id,
        })
    }
}
