//! Clocks, timers, sweepers, observers and sources that panic in everything: the tree does
//! without them.

#![allow(
    clippy::disallowed_types,
    reason = "a list of reports, outside every model"
)]

mod common;

use common::{Gate, finishes, quietly};
use ripcord_core::{
    Armed, Cause, Clock, Ctx, Foreign, ForeignPanic, Info, Kind, Observer, Source, Sweep, Sweeper,
    Timer, foreign_panics, set_panic_hook,
};
use ripcord_test::ManualTask;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

static REPORTS: Mutex<Vec<(Foreign, String)>> = Mutex::new(Vec::new());

fn report(panic: &ForeignPanic<'_>) {
    let text = panic.message().unwrap_or("no text").to_owned();
    let mut reports = REPORTS.lock().unwrap_or_else(PoisonError::into_inner);
    reports.push((panic.what, text));
}

/// A runtime that panics in everything, also when it is dropped.
struct Panicking(&'static str);

impl Panicking {
    fn panic(&self) -> ! {
        panic!("a test {} panics, as it was told to", self.0)
    }
}

impl Clock for Panicking {
    fn now(&self) -> Instant {
        self.panic()
    }
}

impl Timer for Panicking {
    fn arm(&self, _: Instant, _: Waker) -> Option<Armed> {
        self.panic()
    }
}

impl Sweeper for Panicking {
    fn hand_over(&self, _: Sweep) {
        self.panic()
    }
}

impl Observer for Panicking {
    fn created(&self, _: &Info<'_>) {
        self.panic()
    }
    fn cancelled(&self, _: &Info<'_>, _: &Cause) {
        self.panic()
    }
    fn observed(&self, _: &Info<'_>, _: &Cause) {
        self.panic()
    }
    fn ended(&self, _: &Info<'_>) {
        self.panic()
    }
}

impl Source for Panicking {
    fn cause(&self) -> Option<Cause> {
        self.panic()
    }
    fn subscribe(&self, _: Waker) -> Armed {
        self.panic()
    }
}

impl Drop for Panicking {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.panic();
        }
    }
}

//= C35, C129, C133
#[test]
fn a_runtime_that_panics_is_done_without() {
    let _ = set_panic_hook(report);
    finishes(|| {
        let root = Ctx::root().clock(Arc::new(Panicking("clock")));
        let root = root.timer(Arc::new(Panicking("timer")));
        let root = root.sweeper(Arc::new(Panicking("sweeper")));
        let root = root.observer(Arc::new(Panicking("observer")));
        let (ctx, guard) = root.build();
        let timed = ctx.with_timeout(Duration::from_millis(2));
        let cause = timed.wait();
        assert_eq!(cause.kind(), Kind::DeadlineExceeded);
        let source = ctx.with_source(Arc::new(Panicking("source")));
        let mut waiters: Vec<_> = (0..100).map(|_| ManualTask::new(ctx.done())).collect();
        for waiter in &mut waiters {
            assert!(waiter.poll().is_pending());
        }
        assert!(ManualTask::new(source.done()).poll().is_pending());
        let ran = Gate::new();
        let hook = ctx.on_done({
            let ran = ran.clone();
            move |_| ran.open()
        });
        assert_eq!(quietly(|| guard.cancel("x")), Ok(true));
        ran.pass();
        assert!(waiters.iter().all(|waiter| waiter.wakes() == 1));
        assert!(!hook.stop_and_wait());
        let all = quietly(move || drop((hook, waiters, timed, source, guard, ctx)));
        assert_eq!(all, Ok(()), "not even their own destructors unwind");
    });
    let reports = REPORTS.lock().unwrap_or_else(PoisonError::into_inner);
    for what in ["clock", "timer", "sweeper", "observer", "source"] {
        let text = format!("a test {what} panics");
        assert!(
            reports.iter().any(|report| report.1.contains(&text)),
            "{what}"
        );
    }
    assert!(reports.iter().any(|report| report.0 == Foreign::Observer));
    assert!(reports.iter().any(|report| report.0 == Foreign::Runtime));
}

//= C127, C133
#[test]
fn a_source_that_panics_is_taken_for_live() {
    let before = foreign_panics();
    let result = quietly(|| {
        let ctx = Ctx::from_source(Arc::new(Panicking("source")));
        let (child, guard) = ctx.child();
        let mut waiter = ManualTask::new(child.done());
        assert!(waiter.poll().is_pending());
        assert!(!ctx.is_done() && child.cause().is_none());
        assert!(guard.cancel("x"));
        assert_eq!(waiter.wakes(), 1);
    });
    assert_eq!(result, Ok(()), "nothing unwinds, not even the drop");
    assert!(foreign_panics() >= before + 4);
}
