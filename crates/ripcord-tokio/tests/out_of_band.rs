//! `run_with_cancel`: the cancel action runs beside the operation.

use ripcord_core::{Ctx, Grace, Kind};
use ripcord_test::{ManualTask, TestClock};
use ripcord_tokio::{Certainty, Interrupted, Outcome, run_with_cancel};
use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;

const SECOND: Duration = Duration::from_secs(1);

fn interrupted<T, C>(outcome: Poll<Outcome<T, C>>) -> Interrupted<T, C> {
    match outcome {
        Poll::Ready(Outcome::Cancelled(end)) => end,
        Poll::Ready(Outcome::Finished(_)) => panic!("finished before the cancel"),
        Poll::Pending => panic!("still pending"),
    }
}

//= C107
#[test]
fn clean_only_if_both_have_finished_within_the_grace() {
    // Who finishes, in which order, and what is known then.
    let cases = [
        ("op, cancel", Certainty::Clean),
        ("cancel, op", Certainty::Clean),
        ("op", Certainty::Uncertain),
        ("cancel", Certainty::Uncertain),
        ("", Certainty::Uncertain),
    ];
    for (order, expect) in cases {
        let clock = TestClock::new();
        let (ctx, guard) = clock.ctx();
        let (end_op, op) = oneshot::channel();
        let (end_cancel, cancel) = oneshot::channel::<()>();
        let (mut end_op, mut end_cancel) = (Some(end_op), Some(end_cancel));
        let starts = Rc::new(Cell::new(0));
        let mut task = ManualTask::new(
            run_with_cancel(&ctx, op, |_| {
                starts.set(starts.get() + 1);
                cancel
            })
            .grace(2 * SECOND),
        );
        assert!(task.poll().is_pending());
        assert_eq!(starts.get(), 0, "not before the end of the context");
        guard.cancel(Kind::PeerGone);
        assert!(task.is_woken());
        assert!(task.poll().is_pending());
        for who in order.split(", ") {
            assert!(task.poll().is_pending());
            match who {
                "op" => end_op.take().unwrap().send("57014").unwrap(),
                "cancel" => end_cancel.take().unwrap().send(()).unwrap(),
                _ => {}
            }
        }
        if expect == Certainty::Uncertain {
            clock.advance((2 * SECOND).saturating_sub(Duration::from_nanos(1)));
            assert!(task.poll().is_pending(), "{order}");
            clock.advance(Duration::from_nanos(1));
        }
        assert!(task.is_woken(), "{order}");
        let end = interrupted(task.poll());
        assert_eq!((end.certainty, starts.get()), (expect, 1), "{order}");
        assert_eq!(end.cancelled.kind(), Kind::PeerGone);
        assert_eq!(end.op.is_some(), order.contains("op"), "{order}");
        assert_eq!(end.cancel.is_some(), order.contains("cancel"), "{order}");
        assert_eq!(clock.armed(), 0);
    }
}

//= C107
#[test]
fn a_cancel_action_that_fails_leaves_the_connection_uncertain() {
    let (ctx, guard) = Ctx::background().child();
    let (end_op, op) = oneshot::channel();
    let refused = |_| ready(Err::<(), _>("connection refused"));
    let mut task = ManualTask::new(run_with_cancel(&ctx, op, refused));
    assert!(task.poll().is_pending());
    guard.cancel("over");
    assert!(task.poll().is_pending());
    end_op.send(7).unwrap();
    let end = interrupted(task.poll());
    assert!(!end.is_clean());
    assert_eq!(end.op, Some(Ok(7)));
    assert_eq!(end.cancel, Some(Err("connection refused")));
}

//= C49
#[test]
fn an_operation_that_finishes_first_is_finished_also_in_the_poll_of_the_cancel() {
    for cancels in [false, true] {
        let (ctx, guard) = Ctx::background().child();
        let op = async {
            if cancels {
                guard.cancel("at the same time");
            }
            7
        };
        let never = |_: Ctx| -> std::future::Ready<()> { panic!("nothing to cancel") };
        let mut task = ManualTask::new(run_with_cancel(&ctx, op, never));
        let Poll::Ready(outcome) = task.poll() else {
            panic!("ready at once");
        };
        assert!(outcome.may_reuse());
        assert_eq!(outcome.into_result(), Ok(7));
    }
}

//= C48
#[test]
fn under_a_done_context_neither_is_begun() {
    let (ctx, guard) = Ctx::background().child();
    guard.cancel(Kind::Shutdown);
    let op = poll_fn(|_| -> Poll<()> { panic!("must not be polled") });
    let never = |_: Ctx| -> std::future::Ready<()> { panic!("nothing to cancel") };
    let end = interrupted(ManualTask::new(run_with_cancel(&ctx, op, never)).poll());
    assert!(end.is_clean(), "nothing was sent");
    assert_eq!((end.op, end.cancel), (None, None));
    assert_eq!(end.cancelled.kind(), Kind::Shutdown);
}

#[test]
fn the_cancel_action_has_a_live_context_for_the_grace() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ctx = root.with_timeout(SECOND);
    let mut task = ManualTask::new(
        run_with_cancel(&ctx, pending::<()>(), |shield| async move {
            assert!(shield.check().is_ok());
            drop(shield.done().await);
        })
        .grace(2 * SECOND),
    );
    assert!(task.poll().is_pending());
    clock.advance(SECOND);
    assert!(task.poll().is_pending());
    assert!(ctx.is_done());
    clock.advance(2 * SECOND);
    let end = interrupted(task.poll());
    assert_eq!(end.certainty, Certainty::Uncertain);
}

//= C83
#[test]
fn a_force_ends_even_a_grace_without_end() {
    let (ctx, guard) = Ctx::background().child();
    let future = run_with_cancel(&ctx, pending::<()>(), |_| pending::<()>());
    let mut task = ManualTask::new(future.grace(Grace::UNBOUNDED));
    assert!(task.poll().is_pending());
    guard.cancel("over");
    assert!(task.poll().is_pending());
    guard.force("at once");
    assert!(task.is_woken());
    assert!(!interrupted(task.poll()).is_clean());
}

/// Says so when it is dropped.
struct Gone(Rc<Cell<bool>>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

//= C50
#[test]
fn what_still_runs_is_dropped_before_the_result_is_returned() {
    let (ctx, guard) = Ctx::background().child();
    let (op_gone, cancel_gone) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let until_dropped = |gone: &Rc<Cell<bool>>| {
        let gone = Gone(Rc::clone(gone));
        async move {
            pending::<()>().await;
            drop(gone);
        }
    };
    let cancel = until_dropped(&cancel_gone);
    let future = run_with_cancel(&ctx, until_dropped(&op_gone), |_| cancel);
    let mut task = ManualTask::new(future.grace(Duration::ZERO));
    assert!(task.poll().is_pending());
    guard.cancel("over");
    drop(interrupted(task.poll()));
    assert!(op_gone.get() && cancel_gone.get());
}

//= C134
#[test]
fn dropping_it_half_way_leaves_nothing() {
    let clock = TestClock::new();
    let (ctx, guard) = clock.ctx();
    let mut task = ManualTask::new(run_with_cancel(&ctx, pending::<()>(), |_| pending::<()>()));
    assert!(task.poll().is_pending());
    guard.cancel("over");
    assert!(task.poll().is_pending());
    assert_eq!(clock.armed(), 1, "the grace");
    let counter = task.counter().clone();
    drop(task);
    assert_eq!((clock.armed(), counter.live()), (0, 0));
}

//= C53
#[test]
fn a_panic_of_either_passes_through() {
    let bang = || poll_fn(|_| -> Poll<()> { panic!("bang") });
    let (ctx, guard) = Ctx::background().child();
    let mut op = ManualTask::new(run_with_cancel(&ctx, bang(), |_| pending::<()>()));
    assert!(catch_unwind(AssertUnwindSafe(|| op.poll().is_pending())).is_err());
    let mut cancel = ManualTask::new(run_with_cancel(&ctx, pending::<()>(), |_| bang()));
    assert!(cancel.poll().is_pending());
    guard.cancel("over");
    assert!(catch_unwind(AssertUnwindSafe(|| cancel.poll().is_pending())).is_err());
}

//= C107
#[test]
fn a_query_on_a_real_connection_is_cancelled_over_another_one() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    let (ctx, guard) = Ctx::background().child();
    let (mut client, mut server) = duplex(64);
    let (mut side, mut server_side) = duplex(64);
    // Answers when it is told to stop, and with an error.
    let server = async {
        let query = server.read_u8().await?;
        guard.cancel(Kind::PeerGone);
        assert_eq!(server_side.read_u8().await?, query, "the key of the query");
        server.write_all(b"E").await
    };
    let query = async {
        client.write_u8(42).await?;
        client.read_u8().await
    };
    let cancel = |_| async move { side.write_u8(42).await };
    let mut both =
        ManualTask::new(async { tokio::join!(server, run_with_cancel(&ctx, query, cancel)) });
    // Each message needs a poll or two.
    let both = (0..10).find_map(|_| match both.poll() {
        Poll::Ready(both) => Some(both),
        Poll::Pending => None,
    });
    let (told, outcome) = both.unwrap();
    told.unwrap();
    assert!(outcome.may_reuse());
    let Outcome::Cancelled(end) = outcome else {
        panic!("it was cancelled");
    };
    assert_eq!(end.op.unwrap().unwrap(), b'E');
}
