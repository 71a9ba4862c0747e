//! Contexts from tokens and tokens from contexts.
#![cfg(feature = "token")]

use ripcord_core::{Ctx, Kind, dump};
use ripcord_test::{ManualTask, TestClock};
use ripcord_tokio::{CtxTokenExt, TokenExt};
use std::task::Poll;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);

//= C128
//= C125
#[test]
fn a_context_from_a_token_is_done_once_the_token_is_cancelled() {
    let parent = CancellationToken::new();
    let token = parent.child_token();
    let ctx = token.to_ctx();
    let (work, _guard) = ctx.named("work").child();
    assert!(!work.is_done() && work.can_be_cancelled());
    parent.cancel();
    let cause = work.cause().unwrap();
    assert_eq!(cause.kind(), Kind::Cancelled);
    assert!(
        cause
            .message()
            .is_some_and(|text| text.contains("CancellationToken"))
    );
    // At birth, too.
    assert!(token.to_ctx().is_done());
}

//= C128
//= C126
#[test]
fn a_waiter_below_a_token_is_woken_without_a_task() {
    // There is no runtime here that could run one.
    let token = CancellationToken::new();
    let ctx = token.to_ctx();
    let mut tasks: Vec<_> = (0..3)
        .map(|_| {
            let (child, guard) = ctx.child();
            guard.disarm();
            ManualTask::new(child.done())
        })
        .collect();
    for task in &mut tasks {
        assert!(task.poll().is_pending());
    }
    token.cancel();
    for task in &mut tasks {
        assert_eq!(task.wakes(), 1);
        assert!(task.poll().is_ready());
    }
}

//= C126
#[tokio::test]
async fn a_task_that_has_used_up_its_budget_can_wait_below_a_token() {
    let token = CancellationToken::new();
    let ctx = token.to_ctx();
    while tokio::task::coop::has_budget_remaining() {
        tokio::task::coop::consume_budget().await;
    }
    let mut task = ManualTask::new(ctx.done());
    assert!(task.poll().is_pending());
    assert!(!task.is_woken());
    token.cancel();
    assert!(task.is_woken() && task.poll().is_ready());
}

//= C128
#[test]
fn nothing_that_happens_to_the_context_cancels_the_token() {
    let token = CancellationToken::new();
    let (child, guard) = token.to_ctx().child();
    guard.cancel("only this");
    assert!(child.is_done() && !token.is_cancelled());
    drop(child);
    assert!(!token.is_cancelled());
}

//= C128
#[test]
fn a_context_with_a_token_ends_with_either_and_says_with_which() {
    let clock = TestClock::new();
    for by_token in [true, false] {
        let (root, guard) = clock.ctx();
        let ctx = root.named("request").with_timeout(SECOND);
        let token = CancellationToken::new();
        let both = ctx.with_token(&token);
        assert_eq!(both.name(), Some("request"));
        assert_eq!(both.remaining(), Some(SECOND));
        assert_eq!(both.clock_now(), clock.now());
        let mut task = ManualTask::new(both.done());
        assert!(task.poll().is_pending());
        if by_token {
            token.cancel();
            assert!(!ctx.is_done());
        } else {
            guard.cancel(Kind::PeerGone);
            assert!(!token.is_cancelled());
        }
        let Poll::Ready(cause) = task.poll() else {
            panic!("one of the two is done");
        };
        let expect = if by_token {
            Kind::Cancelled
        } else {
            Kind::PeerGone
        };
        assert_eq!(cause.kind(), expect);
    }
}

//= C128
#[test]
fn a_token_from_a_context_is_cancelled_once_the_context_is_done() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    let ctx = root.with_timeout(SECOND);
    let by_deadline = ctx.to_token();
    let by_cancel = root.to_token();
    assert!(!by_deadline.is_cancelled());
    clock.advance(SECOND);
    assert!(by_deadline.is_cancelled() && !by_cancel.is_cancelled());
    let child = by_cancel.child_token();
    guard.cancel("over");
    assert!(child.is_cancelled());
    assert!(root.to_token().is_cancelled(), "at birth, too");
}

//= C128
#[test]
fn cancelling_a_made_token_does_not_end_its_context() {
    let (ctx, _guard) = Ctx::background().child();
    let linked = ctx.to_token();
    linked.cancel();
    drop(linked);
    let token = ctx.to_token().into_token();
    token.cancel();
    assert!(!ctx.is_done());
}

#[test]
fn a_dropped_link_takes_its_hook_back_and_leaves_no_clone_deaf() {
    let tree = "token: link";
    let (ctx, guard) = Ctx::root().name(tree).tracked().build();
    let hooks = || {
        let dump = dump();
        let rows = dump.rows().iter();
        rows.filter(|row| row.name.as_deref() == Some(tree))
            .map(|row| row.hooks)
            .sum::<usize>()
    };
    let linked = ctx.to_token();
    let clone = linked.clone();
    assert_eq!(hooks(), 1);
    drop(linked);
    assert_eq!(hooks(), 0);
    assert!(clone.is_cancelled() && !ctx.is_done());

    let token = ctx.to_token().into_token();
    assert_eq!(hooks(), 1);
    assert!(!token.is_cancelled());
    drop(ctx);
    guard.cancel("over");
    assert!(token.is_cancelled());
}
