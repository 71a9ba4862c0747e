//! Real signals, sent to this process. A binary of its own, because signals reach every
//! watch of a process; the tests take turns, with one runtime at a time.
#![cfg(unix)]

use ripcord_core::{CancelGuard, Ctx, Kind, Phase, ShutdownPlan};
use ripcord_test::TestClock;
use ripcord_tokio::{SignalWatch, Signals};
use rustix::process::{Signal, getpid, kill_process};
use std::future::Future;
use std::process::Command;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

const SECOND: Duration = Duration::from_secs(1);

/// Set in the process that is to be ended by a signal.
const CHILD: &str = "RIPCORD_TEST_SIGNALS_CHILD";

/// Runs a test on the only runtime that there is.
///
/// A second one would share the pipe that tokio's handlers write to, and wake tasks of
/// this one from another thread, at any time.
fn alone(test: impl Future<Output = ()>) {
    static TURN: Mutex<()> = Mutex::const_new(());
    let _turn = TURN.blocking_lock();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}

fn raise(sent: Signal) {
    kill_process(getpid(), sent).expect("allowed to signal itself");
}

/// Sends a signal and waits until it came and whoever waits for it has run.
async fn send(sent: Signal) {
    let mut seen = signal(SignalKind::from_raw(sent.as_raw())).expect("can be caught");
    raise(sent);
    seen.recv().await;
    settle().await;
}

/// Lets the tasks run that the last turn of the driver woke.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A server on a test clock, watched; 20 s to drain and 5 s of grace.
struct Server {
    clock: TestClock,
    ctx: Ctx,
    guard: CancelGuard,
    watch: SignalWatch,
}

fn server(change: impl FnOnce(Signals) -> Signals) -> Server {
    let clock = TestClock::new();
    let (ctx, guard) = clock.root().name("server").build();
    let plan = ShutdownPlan::new(20 * SECOND, 5 * SECOND);
    let signals = change(Signals::new(plan));
    let watch = signals.watch(guard.handle()).expect("can be caught");
    Server {
        clock,
        ctx,
        guard,
        watch,
    }
}

/// Which signal ended the context.
fn by(ctx: &Ctx) -> Option<String> {
    let cause = ctx.cause()?;
    assert_eq!((cause.kind(), cause.name()), (Kind::Signal, Some("server")));
    cause.message().map(str::to_owned)
}

//= C109
#[test]
fn the_first_signal_drains_then_cancels_then_forces() {
    alone(async {
        for (sent, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
            let server = server(|signals| signals);
            send(sent).await;
            assert_eq!(server.ctx.phase(), Phase::Draining);
            assert!(server.ctx.check().is_ok());
            server.clock.advance(20 * SECOND);
            assert_eq!(server.ctx.phase(), Phase::Cancelled);
            assert_eq!(by(&server.ctx).as_deref(), Some(name));
            server.clock.advance(5 * SECOND);
            assert_eq!(server.ctx.phase(), Phase::Forced);
        }
    });
}

//= C109
#[test]
fn the_second_signal_forces_at_once() {
    alone(async {
        // While it drains, and while it is cancelled already.
        for (elapsed, name) in [(Duration::ZERO, "SIGINT"), (20 * SECOND, "SIGTERM")] {
            let server = server(|signals| signals);
            send(Signal::TERM).await;
            server.clock.advance(elapsed);
            send(Signal::INT).await;
            assert_eq!(server.ctx.phase(), Phase::Forced);
            assert_eq!(by(&server.ctx).as_deref(), Some(name));
        }
    });
}

//= C109
#[test]
fn the_same_signal_twice_forces_as_well() {
    alone(async {
        let server = server(|signals| signals);
        send(Signal::TERM).await;
        assert_eq!(server.ctx.phase(), Phase::Draining);
        send(Signal::TERM).await;
        assert_eq!(server.ctx.phase(), Phase::Forced);
    });
}

//= C109
#[test]
fn signals_that_come_before_anybody_waits_are_not_lost() {
    alone(async {
        let server = server(|signals| signals);
        // The task of the watch was not polled yet.
        raise(Signal::TERM);
        send(Signal::INT).await;
        assert_eq!(server.ctx.phase(), Phase::Forced);
    });
}

//= C109
#[test]
fn other_signals_can_be_watched_and_keep_their_names() {
    let others = [
        (Signal::HUP, "SIGHUP"),
        (Signal::USR1, "SIGUSR1"),
        (
            Signal::WINCH,
            &*format!("signal {}", Signal::WINCH.as_raw()),
        ),
    ];
    alone(async {
        for (sent, name) in others {
            let kind = SignalKind::from_raw(sent.as_raw());
            let server = server(|signals| signals.and(kind).and(kind));
            send(sent).await;
            assert_eq!(server.ctx.phase(), Phase::Draining);
            server.clock.advance(20 * SECOND);
            assert_eq!(by(&server.ctx).as_deref(), Some(name));
        }
    });
}

#[test]
fn a_dropped_watch_watches_no_more_and_a_detached_one_goes_on() {
    alone(async {
        let server = server(|signals| signals);
        drop(server.watch);
        send(Signal::TERM).await;
        assert_eq!(server.ctx.phase(), Phase::Live);

        let signals = Signals::new(ShutdownPlan::new(SECOND, SECOND));
        signals.watch(server.guard.handle()).unwrap().detach();
        send(Signal::TERM).await;
        assert_eq!(server.ctx.phase(), Phase::Draining);
    });
}

#[test]
fn a_third_signal_and_one_after_the_end_of_the_context_do_nothing() {
    alone(async {
        let server = server(|signals| signals);
        for _ in 0..4 {
            send(Signal::TERM).await;
        }
        assert_eq!(server.ctx.phase(), Phase::Forced);

        let gone = self::server(|signals| signals);
        drop((gone.ctx, gone.guard));
        for _ in 0..4 {
            send(Signal::TERM).await;
        }
        // Still here.
        drop(gone.watch);
    });
}

#[test]
fn signals_that_cannot_be_caught_are_refused() {
    alone(async {
        let (_ctx, guard) = Ctx::background().child();
        let signals = Signals::new(ShutdownPlan::new(SECOND, SECOND));
        let kill = SignalKind::from_raw(Signal::KILL.as_raw());
        assert!(signals.and(kill).watch(guard.handle()).is_err());
    });
}

/// Runs in a process of its own, started by the test below; here it does nothing.
#[test]
fn child_process() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    alone(async {
        let _server = server(Signals::exit_on_third);
        for sent in [Signal::INT, Signal::INT, Signal::TERM] {
            send(sent).await;
        }
    });
}

#[test]
fn the_third_signal_ends_the_process_if_asked_for() {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture"])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(128 + Signal::TERM.as_raw()));
}
