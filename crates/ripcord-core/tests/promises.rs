//! Chapter *Promises* of the specification: what holds whatever foreign code does, and what the
//! calls do not do: take locks, make system calls, take more steps than there are contexts.
//!
//! The allocator of this program stalls a thread at a chosen allocation. The core allocates
//! under its locks, so this holds a lock of the core for as long as a test wants.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of tests are test code, too"
)]
#![allow(clippy::disallowed_types, reason = "real threads, outside every model")]
#![allow(
    unsafe_code,
    reason = "an allocator that stalls, and a trap for system calls"
)]

mod common;

use common::{
    Bomb, BombError, Gate, HandTimer, HeldSweeper, PanickingTimer, Rng, Tally, lock, park,
};
use common::{finishes, quietly, rows_named};
use ripcord_core::{Armed, CancelGuard, Cause, Clock, Ctx, Foreign, ForeignPanic, Hook, Info};
use ripcord_core::{Kind, Observer, Phase, ShutdownPlan, Source, Sweep, Sweeper, Timer, Value};
use ripcord_core::{foreign_panics, set_panic_hook};
use ripcord_test::{ManualTask, TestClock, WakeCounter, WakerEvent};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

struct Mark(u8);
impl Value for Mark {}

static REPORTS: Mutex<Vec<(Foreign, Option<String>)>> = Mutex::new(Vec::new());

fn report(told: &ForeignPanic<'_>) {
    lock(&REPORTS).push((told.what, told.message().map(str::to_owned)));
    assert!(format!("{told:?}").contains("what"));
    panic!("the report panics, too");
}

/// Runs `f` while no other test that panics runs; what was reported meanwhile.
///
/// Each report is one more in the count, and the other way round.
#[track_caller]
fn contained<R>(f: impl FnOnce() -> R) -> (R, Vec<Foreign>) {
    static SERIAL: Mutex<()> = Mutex::new(());
    let _serial = lock(&SERIAL);
    let _first_call_wins = set_panic_hook(report);
    lock(&REPORTS).clear();
    let before = foreign_panics();
    let result = f();
    let count = foreign_panics() - before;
    let reports: Vec<Foreign> = lock(&REPORTS).iter().map(|told| told.0).collect();
    assert_eq!(u64::try_from(reports.len()).unwrap(), count, "{reports:?}");
    (result, reports)
}

fn mine<R>() -> R {
    panic!("a mine")
}

/// Foreign code that panics whenever the core calls it.
struct Mine;

impl Clock for Mine {
    fn now(&self) -> Instant {
        mine()
    }
}

impl Sweeper for Mine {
    fn hand_over(&self, _: Sweep) {
        mine::<()>();
    }
}

impl Source for Mine {
    fn cause(&self) -> Option<Cause> {
        mine()
    }

    fn subscribe(&self, _: Waker) -> Armed {
        mine()
    }
}

impl Observer for Mine {
    fn created(&self, _: &Info<'_>) {
        mine::<()>();
    }

    fn cancelled(&self, _: &Info<'_>, _: &Cause) {
        mine::<()>();
    }

    fn observed(&self, _: &Info<'_>, _: &Cause) {
        mine::<()>();
    }

    fn ended(&self, _: &Info<'_>) {
        mine::<()>();
    }
}

/// Gives timers and subscriptions that panic when they are dropped.
#[derive(Default)]
struct Brittle(Mutex<Vec<Waker>>);

impl Timer for Brittle {
    fn arm(&self, _: Instant, alarm: Waker) -> Option<Armed> {
        lock(&self.0).push(alarm);
        Some(Armed::new(Bomb(Tally::new())))
    }
}

impl Source for Brittle {
    fn cause(&self) -> Option<Cause> {
        None
    }

    fn subscribe(&self, alarm: Waker) -> Armed {
        lock(&self.0).push(alarm);
        Armed::new(Bomb(Tally::new()))
    }
}

/// Ends `ctx` with a waiter and a hook at it, which both have to notice.
#[track_caller]
fn end_with_witnesses(ctx: &Ctx, guard: &CancelGuard) {
    let mut task = ManualTask::new(ctx.done());
    let hook = ctx.on_done(|_| {});
    assert!(task.poll().is_pending());
    assert!(guard.cancel_and_sweep("x"));
    assert!(task.is_woken() && hook.has_run() && ctx.is_done());
}

type Scene = (&'static str, fn(), &'static [Foreign]);

/// One piece of foreign code that panics, and what has to be reported.
const SCENES: [Scene; 17] = [
    (
        "waker wake",
        || {
            let (ctx, guard) = TestClock::new().ctx();
            let counter = WakeCounter::panicking(WakerEvent::Wake);
            let mut task = ManualTask::with_counter(ctx.done(), counter);
            assert!(task.poll().is_pending());
            end_with_witnesses(&ctx, &guard);
        },
        &[Foreign::Waker],
    ),
    (
        "waker drop, `Done` dropped",
        || {
            let (ctx, guard) = TestClock::new().ctx();
            let inert = waker_that_panics_once();
            let mut done = Box::pin(ctx.done());
            assert!(
                done.as_mut()
                    .poll(&mut std::task::Context::from_waker(&inert.0))
                    .is_pending()
            );
            inert.1.store(true, Ordering::Relaxed);
            drop(done);
            end_with_witnesses(&ctx, &guard);
        },
        &[Foreign::Waker],
    ),
    (
        "hook",
        || {
            let (ctx, guard) = TestClock::new().ctx();
            let hook = ctx.on_done(|_| mine());
            end_with_witnesses(&ctx, &guard);
            assert!(hook.has_run());
        },
        &[Foreign::Hook],
    ),
    (
        "hook on a context that is done",
        || {
            let (ctx, guard) = TestClock::new().ctx();
            end_with_witnesses(&ctx, &guard);
            assert!(ctx.on_done(|_| mine()).has_run());
        },
        &[Foreign::Hook],
    ),
    (
        "closure of a stopped and of a dropped hook",
        || {
            let (ctx, guard) = TestClock::new().ctx();
            let bombs = [Bomb(Tally::new()), Bomb(Tally::new())];
            let [stopped, dropped] = bombs.map(|bomb| ctx.on_done(move |_| drop(bomb)));
            assert!(stopped.stop());
            drop(dropped);
            end_with_witnesses(&ctx, &guard);
        },
        &[Foreign::Drop, Foreign::Drop],
    ),
    (
        "value",
        || {
            let (ctx, guard) = TestClock::new().ctx();
            let (child, child_guard) = ctx.with(Bomb(Tally::new())).child();
            drop((child, child_guard));
            end_with_witnesses(&ctx, &guard);
        },
        &[Foreign::Drop],
    ),
    (
        "error",
        || {
            let (ctx, guard) = TestClock::new().ctx();
            let error = BombError(Bomb(Tally::new()));
            assert!(guard.cancel(Cause::error(error)));
            drop((ctx, guard));
        },
        &[Foreign::Drop],
    ),
    (
        "error of a cancel that comes second",
        || {
            let (ctx, guard) = TestClock::new().ctx();
            end_with_witnesses(&ctx, &guard);
            assert!(!guard.cancel(Cause::error(BombError(Bomb(Tally::new())))));
        },
        &[Foreign::Drop],
    ),
    (
        "clock",
        || {
            let (ctx, guard) = Ctx::root().clock(Arc::new(Mine)).build();
            let at = Ctx::background().clock_now();
            assert!(ctx.clock_now() >= at, "the system's clock stands in");
            guard.disarm();
        },
        &[Foreign::Runtime],
    ),
    (
        "timer",
        || {
            let (ctx, guard) = Ctx::root().timer(Arc::new(PanickingTimer)).build();
            let timed = ctx.with_timeout(Duration::from_millis(1));
            assert_eq!(
                timed.wait().kind(),
                Kind::DeadlineExceeded,
                "the core's stands in"
            );
            end_with_witnesses(&ctx, &guard);
        },
        &[Foreign::Runtime],
    ),
    (
        "an armed timer, disarmed by a cancel",
        || {
            let (ctx, guard) = Ctx::root().timer(Arc::new(Brittle::default())).build();
            let (timed, timed_guard) = ctx.with_timeout(SECOND * 3600).child();
            end_with_witnesses(&timed, &timed_guard);
            end_with_witnesses(&ctx, &guard);
        },
        &[Foreign::Runtime],
    ),
    (
        "an armed timer, and nobody is left",
        || {
            let (ctx, guard) = Ctx::root().timer(Arc::new(Brittle::default())).build();
            let timed = ctx.with_timeout(SECOND * 3600);
            drop(timed.on_done(|_| {}));
            drop(timed);
            end_with_witnesses(&ctx, &guard);
        },
        &[Foreign::Runtime],
    ),
    (
        "the timer of a shutdown whose context is gone",
        || {
            let timer = Arc::new(Brittle::default());
            let (ctx, guard) = Ctx::root().timer(Arc::clone(&timer) as _).build();
            guard.shutdown(ShutdownPlan::new(SECOND * 3600, SECOND));
            drop((ctx, guard));
            let alarms = std::mem::take(&mut *lock(&timer.0));
            alarms.into_iter().for_each(Waker::wake);
        },
        &[Foreign::Runtime],
    ),
    (
        "sweeper",
        || {
            let (ctx, guard) = Ctx::root().sweeper(Arc::new(Mine)).build();
            let gate = Gate::new();
            let hooks: Vec<_> = (0..99).map(|_| ctx.on_done(|_| {})).collect();
            let opens = gate.clone();
            let last = child(&ctx).on_done(move |_| opens.open());
            assert!(guard.cancel("x"));
            gate.pass();
            drop((hooks, last));
        },
        &[Foreign::Runtime],
    ),
    (
        "source",
        || {
            let source = Ctx::from_source(Arc::new(Mine));
            assert!(!source.is_done());
        },
        &[Foreign::Runtime, Foreign::Runtime],
    ),
    (
        "an ended subscription",
        || {
            let source = Ctx::from_source(Arc::new(Brittle::default()));
            drop(source.on_done(|_| {}));
            drop(source);
        },
        &[Foreign::Runtime],
    ),
    (
        "observer",
        || {
            let (ctx, guard) = TestClock::new().root().observer(Arc::new(Mine)).build();
            end_with_witnesses(&ctx, &guard);
            drop((ctx, guard));
        },
        &[Foreign::Observer; 4],
    ),
];

/// A waker that panics when it is dropped, once its switch is on, and the switch.
fn waker_that_panics_once() -> (Waker, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&switch);
    let counter = WakeCounter::reacting(move |event| {
        let panics = event == WakerEvent::Drop && is_on.swap(false, Ordering::Relaxed);
        assert!(!panics, "a mine");
    });
    (counter.waker(), switch)
}

//= C133
#[test]
fn a_foreign_panic_unwinds_into_nobody_and_is_reported_once() {
    for (scene, run, expect) in SCENES {
        let (outcome, reports) = contained(|| finishes(move || quietly(run)));
        assert_eq!(outcome, Ok(()), "{scene}");
        assert_eq!(reports, expect, "{scene}");
    }
}

//= C133
#[test]
fn the_report_tells_the_message_and_the_first_function_stays() {
    fn other(_: &ForeignPanic<'_>) {}
    let ((), reports) = contained(|| {
        assert!(set_panic_hook(other).is_err(), "there is one");
        let (ctx, guard) = TestClock::new().ctx();
        let text = ctx.on_done(|_| panic!("the text of {}", "a panic"));
        let opaque = ctx.on_done(|_| std::panic::panic_any(Bomb(Tally::new())));
        assert!(guard.cancel("x") && text.has_run() && opaque.has_run());
        let told: Vec<_> = lock(&REPORTS).iter().map(|told| told.1.clone()).collect();
        assert_eq!(told, [None, Some("the text of a panic".to_owned())]);
    });
    assert_eq!(reports, [Foreign::Hook; 2]);
}

//= C133
#[test]
fn a_timers_wake_does_not_unwind() {
    let (outcome, told) = contained(|| {
        let (clock, timer) = (TestClock::new(), HandTimer::new());
        let root = Ctx::root().clock(Arc::new(clock.clone()));
        let root = root.timer(Arc::new(timer.clone())).sweeper(Arc::new(Mine));
        let (ctx, _guard) = root.observer(Arc::new(Mine)).build();
        let ended = ctx.with_timeout(SECOND);
        let counter = WakeCounter::panicking(WakerEvent::Wake);
        let mut task = ManualTask::with_counter(ended.done(), counter);
        let mut other = ManualTask::new(ended.done());
        assert!(task.poll().is_pending() && other.poll().is_pending());
        clock.advance(SECOND);
        let fired = quietly(|| timer.fire());
        assert_eq!((task.wakes(), other.wakes()), (1, 1));
        fired
    });
    assert_eq!(outcome, Ok(()));
    let count = |what| told.iter().filter(|one| **one == what).count();
    assert_eq!(
        (count(Foreign::Waker), count(Foreign::Runtime)),
        (1, 0),
        "{told:?}"
    );
}

/// Stalls one thread at an allocation or at the freeing of one.
struct Stalling;

#[global_allocator]
static ALLOCATOR: Stalling = Stalling;

thread_local! {
    /// At which call this thread stalls, counted down; 0 is never.
    static STALL_AT: Cell<usize> = const { Cell::new(0) };
}
static STALLED: AtomicBool = AtomicBool::new(false);
static GO_ON: AtomicBool = AtomicBool::new(false);

fn stall() {
    let left = STALL_AT.get();
    if left > 0 {
        STALL_AT.set(left - 1);
    }
    if left == 1 {
        STALLED.store(true, Ordering::Release);
        while !GO_ON.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Stalling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        stall();
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        stall();
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// A child that nobody can cancel.
fn child(ctx: &Ctx) -> Ctx {
    let (child, guard) = ctx.child();
    guard.disarm();
    child
}

/// What the reads are done on: one of each kind of context.
fn one_of_each(root: &Ctx) -> Vec<Ctx> {
    let timed = root.named("timed").with(Mark(3));
    let timed = timed.with_timeout(3600 * SECOND);
    let (below, other) = (child(&timed), child(&Ctx::background()));
    let merged = Ctx::merge([&other, &below]);
    let all = Ctx::all_of([&below, &other]);
    let shield = below.shield(SECOND);
    let in_shield = child(&shield);
    vec![root.clone(), timed, below, merged, all, shield, in_shield]
}

/// Every read that takes no lock and makes no system call.
fn reads(all: &[Ctx]) -> usize {
    let mut done = 0;
    for ctx in all {
        done += usize::from(ctx.is_done());
        let failed = ctx.check().is_err();
        let caused = ctx
            .cause()
            .is_some_and(|cause| cause.kind() == Kind::Signal);
        assert_eq!(failed, caused);
        assert_eq!(ctx.phase() >= Phase::Cancelled, failed);
        let deadline = ctx.deadline().map(|deadline| deadline.at());
        assert_eq!(deadline.is_some(), ctx.remaining().is_some());
        let mark = ctx.get::<Mark>().map_or(0, |mark| mark.0);
        assert_eq!(mark == 3, ctx.name() == Some("timed"));
    }
    done
}

/// Takes and holds every lock of the core, for a moment each.
fn lock_everything(all: &[Ctx], guard: &CancelGuard) {
    for ctx in all {
        let mut tasks = [0; 4].map(|_| ManualTask::new(ctx.done()));
        park(&mut tasks);
        let mut drainers = [0; 3].map(|_| ManualTask::new(ctx.draining()));
        park(&mut drainers);
        let hooks = [0; 3].map(|_| ctx.on_done(|_| {}));
        let children = [0; 3].map(|_| ctx.child());
        let linked = children.each_ref().map(|(child, _)| child.on_done(|_| {}));
        assert!(ripcord_core::dump().rows().len() > 1);
        drop((tasks, drainers, linked, children, hooks));
    }
    assert!(guard.cancel(Kind::Signal));
}

//= C131
#[test]
fn reads_take_no_lock() {
    // Whatever lock is held at the n-th allocation of the other thread, for every n.
    for at in 1.. {
        let (root, guard) = Ctx::root().name("reads").tracked().build();
        let all = one_of_each(&root);
        STALLED.store(false, Ordering::Release);
        GO_ON.store(false, Ordering::Release);
        let (theirs, over) = (all.clone(), Arc::new(AtomicBool::new(false)));
        let tells = Arc::clone(&over);
        let thread = thread::spawn(move || {
            STALL_AT.set(at);
            lock_everything(&theirs, &guard);
            STALL_AT.set(0);
            tells.store(true, Ordering::Release);
        });
        let is_stalled = loop {
            if STALLED.load(Ordering::Acquire) {
                break true;
            }
            if over.load(Ordering::Acquire) {
                break false;
            }
            thread::yield_now();
        };
        let done = finishes(move || reads(&all));
        GO_ON.store(true, Ordering::Release);
        thread.join().unwrap();
        if !is_stalled {
            assert!(at > 500, "only {at} allocations");
            assert_eq!(done, 4, "root, timed, child and the merge");
            break;
        }
    }
}

/// A trap for system calls of the calling thread (*syscall user dispatch*, Linux 5.11).
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
mod trap {
    use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

    static SELECTOR: AtomicU8 = AtomicU8::new(0);
    static CAUGHT: AtomicBool = AtomicBool::new(false);
    const SIGSYS: i32 = 31;
    const SET_DISPATCH: i32 = 59;

    // SAFETY: the signatures are those of the C library on 64-bit Linux, where `prctl`
    // reads its variadic arguments as words and `signal` takes and returns an address.
    unsafe extern "C" {
        fn prctl(option: i32, mode: u64, offset: u64, len: u64, selector: *const AtomicU8) -> i32;
        fn signal(signal: i32, handler: extern "C" fn(i32)) -> usize;
    }

    extern "C" fn caught(_: i32) {
        SELECTOR.store(0, Ordering::Relaxed);
        CAUGHT.store(true, Ordering::Relaxed);
    }

    /// Whether `f` makes a system call; `None` where the kernel has no trap for that.
    pub(super) fn makes_system_call(f: impl FnOnce()) -> Option<bool> {
        CAUGHT.store(false, Ordering::Relaxed);
        // SAFETY: the handler touches two atomics only.
        unsafe { signal(SIGSYS, caught) };
        // SAFETY: the selector is a static byte.
        if unsafe { prctl(SET_DISPATCH, 1, 0, 0, &raw const SELECTOR) } != 0 {
            return None;
        }
        SELECTOR.store(1, Ordering::Relaxed);
        f();
        SELECTOR.store(0, Ordering::Relaxed);
        // SAFETY: switches the trap off.
        unsafe { prctl(SET_DISPATCH, 0, 0, 0, std::ptr::null()) };
        Some(CAUGHT.load(Ordering::Relaxed))
    }
}

//= C131
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
#[test]
fn reads_make_no_system_call() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let all = one_of_each(&root);
    let warm_up = one_of_each(&root);
    let [live, done, yielded] = finishes(move || {
        // The allocator may ask the system for memory the first time.
        let before = reads(&warm_up);
        let live = trap::makes_system_call(|| assert_eq!(reads(&all), before));
        guard.cancel(Kind::Signal);
        reads(&warm_up);
        let done = trap::makes_system_call(|| assert_eq!(reads(&all), 4));
        [live, done, trap::makes_system_call(thread::yield_now)]
    });
    if yielded.is_some() {
        assert_eq!(yielded, Some(true), "the trap works");
        assert_eq!((live, done), (Some(false), Some(false)));
    }
}

/// So many contexts below one root, hung together in some way.
type Shape = fn(&Ctx, usize) -> Vec<(Ctx, CancelGuard)>;

const SHAPES: [(&str, Shape); 4] = [
    ("star", |root, n| (0..n).map(|_| root.child()).collect()),
    ("chain", |root, n| {
        let mut chain = vec![root.child()];
        for at in 1..n {
            chain.push(chain[at - 1].0.child());
        }
        chain
    }),
    ("comb", |root, n| {
        let mut all: Vec<(Ctx, CancelGuard)> = Vec::new();
        for at in 0..n {
            let below = if at % 100 == 0 {
                root.child()
            } else {
                all[at - 1].0.child()
            };
            all.push(below);
        }
        all
    }),
    ("tree", |root, n| {
        let mut all = vec![root.child()];
        for at in 1..n {
            all.push(all[(at - 1) / 2].0.child());
        }
        all
    }),
];

//= C132
#[test]
fn a_sweep_takes_steps_in_proportion_to_what_it_finds() {
    for (shape, make) in SHAPES {
        for n in [500, 1_000, 2_000] {
            let held = HeldSweeper::new();
            let (root, guard) = Ctx::root().sweeper(Arc::new(held.clone())).build();
            let all = make(&root, n);
            let counter = WakeCounter::new();
            let mut tasks: Vec<_> = all
                .iter()
                .map(|(ctx, _)| ManualTask::with_counter(ctx.done(), counter.clone()))
                .collect();
            park(&mut tasks);
            assert!(guard.cancel("x"));
            let inline = counter.wakes();
            assert!(
                inline <= 32,
                "{shape} of {n}: {inline} on the canceller's thread"
            );
            let mut sweeps = held.take();
            assert_eq!(sweeps.len(), 1);
            let mut steps = 1;
            while sweeps[0].step() {
                steps += 1;
            }
            // A step wakes 512 or visits 512; each context is visited once and woken once.
            assert!(steps <= 2 * n / 512 + 2, "{shape} of {n}: {steps} steps");
            assert_eq!(counter.wakes(), n);
        }
    }
}

//= C132
#[test]
fn no_order_of_drops_takes_more_than_linear_time() {
    const N: usize = 100_000;
    let mut rng = Rng::new();
    let mut order: Vec<usize> = (0..N).collect();
    rng.shuffle(&mut order);
    for (shape, make) in SHAPES {
        // The orders with and without registrations, for the two extremes and between.
        let ways: &[usize] = match shape {
            "star" | "chain" => &[0, 2, 4],
            _ => &[5],
        };
        for how in ways {
            let order = order.clone();
            // What is quadratic in this does not finish.
            finishes(move || drop_all(make, shape == "chain", *how, &order));
        }
    }
}

/// Drops as many contexts as `order` has, forwards, backwards or in that order; with hooks
/// at each of them, or at the deepest one where each look would go the whole way up.
fn drop_all(make: Shape, is_deep: bool, how: usize, order: &[usize]) {
    let n = order.len();
    let (root, guard) = Ctx::background().child();
    let mut all: Vec<_> = make(&root, n)
        .into_iter()
        .map(|(ctx, own)| Some((ctx, Some(own))))
        .collect();
    let mut hooks: Vec<Option<Hook>> = all.iter().map(|_| None).collect();
    if how.is_multiple_of(2) {
        let first = if is_deep { n - 1 } else { 0 };
        for (ctx, hook) in all.iter_mut().zip(&mut hooks).skip(first) {
            *hook = ctx.as_ref().map(|(ctx, _)| ctx.on_done(|_| {}));
        }
        for (_, own) in all.iter_mut().flatten().filter(|_| is_deep) {
            own.take().unwrap().disarm();
        }
    }
    let order: Vec<usize> = match how / 2 {
        0 => (0..n).collect(),
        1 => (0..n).rev().collect(),
        _ => order.to_vec(),
    };
    for at in order {
        let taken = (all[at].take(), hooks[at].take());
        drop(taken);
    }
    assert!(guard.cancel("x"));
}

//= C132
#[test]
fn contexts_with_many_paths_to_the_root_are_looked_at_once() {
    finishes(|| {
        // 2⁶⁴ paths lead from the last of these to the root.
        let clock = TestClock::new();
        let (root, guard) = clock.ctx();
        let (mut last, mut kept) = (root.with_timeout(9 * SECOND), Vec::new());
        for _ in 0..64 {
            let two = (last.child(), last.child());
            last = Ctx::merge([&two.0.0, &two.1.0]);
            kept.push(two);
        }
        let mut task = ManualTask::new(last.done());
        let mut draining = ManualTask::new(last.draining());
        assert!(task.poll().is_pending() && draining.poll().is_pending());
        assert_eq!(last.remaining(), Some(9 * SECOND));
        assert!(!last.is_done() && guard.drain());
        assert_eq!((last.phase(), draining.wakes()), (Phase::Draining, 1));
        assert!(guard.cancel("x") && task.is_woken() && last.is_done());
        assert!(guard.force("x"));
        assert_eq!(last.phase(), Phase::Forced);
    });
}

/// Polls once, then drops; the row of the tree must not tell.
#[track_caller]
fn leaves_nothing<F: Future>(name: &str, make: impl Fn() -> F) {
    let figures = || {
        let rows = rows_named(name);
        let figures = rows
            .iter()
            .map(|row| (row.id, row.waiters, row.hooks, row.phase));
        figures.collect::<Vec<_>>()
    };
    let before = figures();
    for polls in 0..3 {
        let mut task = ManualTask::new(make());
        for _ in 0..polls {
            assert!(task.poll().is_pending());
        }
        let counter = task.counter().clone();
        drop(task);
        assert_eq!(figures(), before, "after {polls} polls");
        assert_eq!((counter.live(), counter.wakes()), (0, 0));
    }
}

//= C134
#[test]
fn a_future_that_is_dropped_leaves_the_tree_as_it_was() {
    let clock = TestClock::new();
    let name = "dropped futures";
    let (root, guard) = clock.root().name(name).tracked().build();
    let ctx = root.with_timeout(SECOND);
    leaves_nothing(name, || ctx.done());
    leaves_nothing(name, || ctx.draining());
    leaves_nothing(name, || ctx.run(pending::<()>()));
    leaves_nothing(name, || ctx.enter(ctx.run(pending::<()>())));
    leaves_nothing(name, || async {
        let (child, _guard) = ctx.child();
        child.run(ctx.done()).await.map(drop)
    });
    assert_eq!(clock.armed(), 1, "the owner's timer stays");
    let mut other = ManualTask::new(ctx.done());
    assert!(other.poll().is_pending());
    leaves_nothing(name, || ctx.done());
    let youngest = rows_named(name).pop().unwrap();
    assert_eq!(youngest.waiters, 1, "another's registration stays");
    guard.cancel("x");
    assert_eq!(other.wakes(), 1);
}
