//! Models of foreign sources: their alarms against registrations, cancels and drops.
#![cfg(ripcord_loom)]

mod loom_support;

use loom::thread;
use loom_support::{ModelSource, Tap, Tree, Waiting, model, secs, top};
use ripcord_core::{Cause, Ctx};
use std::sync::Arc;

/// A context that ends with `source`.
fn tap(source: &Arc<ModelSource>) -> Ctx {
    let (base, _guard) = top();
    base.with_source(Arc::new(Tap(Arc::clone(source))))
}

fn over() -> Option<Cause> {
    Some(Cause::custom("over"))
}

//= C125
//= C126
//= C44
#[test]
fn the_end_of_a_source_and_a_registration() {
    model(|| {
        let source = ModelSource::new();
        let ctx = tap(&source);
        let telling = Arc::clone(&source);
        let news = thread::spawn(move || telling.news(over()));
        let waiting = Waiting::on(&ctx);
        news.join().unwrap();
        assert_eq!(waiting.assert_over().message(), Some("over"));
        let (ever, now) = source.subscriptions();
        assert!(ever <= 1 && now == 0);
    });
}

//= C125
//= C44
#[test]
fn the_end_of_a_source_and_a_registration_below() {
    model(|| {
        let source = ModelSource::new();
        let above = tap(&source);
        let (ctx, _own) = above.child();
        let telling = Arc::clone(&source);
        let news = thread::spawn(move || telling.news(over()));
        let waiting = Waiting::on(&ctx);
        news.join().unwrap();
        waiting.assert_over();
    });
}

//= C127
#[test]
fn a_false_alarm_while_the_subscription_is_made() {
    model(|| {
        let source = ModelSource::new();
        let ctx = tap(&source);
        let telling = Arc::clone(&source);
        let news = thread::spawn(move || telling.news(None));
        let waiting = Waiting::on(&ctx);
        news.join().unwrap();
        waiting.assert_waits();
        assert_eq!(
            source.subscriptions().1,
            1,
            "there is one that is not spent"
        );
        source.news(over());
        waiting.assert_over();
        assert_eq!(source.subscriptions().1, 0);
    });
}

//= C127
#[test]
fn two_false_alarms_in_a_row() {
    model(|| {
        let source = ModelSource::new();
        let ctx = tap(&source);
        let waiting = Waiting::on(&ctx);
        let telling = Arc::clone(&source);
        let news = thread::spawn(move || telling.news(None));
        source.news(None);
        news.join().unwrap();
        waiting.assert_waits();
        assert_eq!(source.subscriptions().1, 1);
        source.news(over());
        waiting.assert_over();
    });
}

//= C127
//= C125
#[test]
fn a_false_alarm_and_the_end() {
    model(|| {
        let source = ModelSource::new();
        let ctx = tap(&source);
        let waiting = Waiting::on(&ctx);
        let telling = Arc::clone(&source);
        let news = thread::spawn(move || telling.news(None));
        source.news(over());
        news.join().unwrap();
        waiting.assert_over();
        assert_eq!(source.subscriptions().1, 0);
    });
}

//= C126
#[test]
fn two_registrations_subscribe_once() {
    model(|| {
        let source = ModelSource::new();
        let ctx = tap(&source);
        let other = ctx.clone();
        let first = thread::spawn(move || Waiting::on(&other));
        let second = Waiting::on(&ctx);
        let first = first.join().unwrap();
        assert_eq!(source.subscriptions(), (1, 1));
        source.news(over());
        first.assert_over();
        second.assert_over();
    });
}

//= C126
//= C127
#[test]
fn the_context_is_dropped_while_the_source_ends() {
    model(|| {
        let source = ModelSource::new();
        let ctx = tap(&source);
        let (below, own) = ctx.child();
        let alive = own.handle();
        own.disarm();
        let gone = Waiting::on(&below);
        let dropping = thread::spawn(move || drop((ctx, below, gone)));
        source.news(over());
        dropping.join().unwrap();
        assert!(!alive.is_alive());
        assert_eq!(source.subscriptions().1, 0);
        assert_eq!(Arc::strong_count(&source), 1);
    });
}

//= C24
//= C36
#[test]
fn the_end_of_a_source_and_a_cancel_below() {
    model(|| {
        let source = ModelSource::new();
        let above = tap(&source);
        let (ctx, own) = above.child();
        let waiting = Waiting::on(&ctx);
        let telling = Arc::clone(&source);
        let news = thread::spawn(move || telling.news(over()));
        let own_won = own.cancel("own");
        news.join().unwrap();
        let message = if own_won { "own" } else { "over" };
        assert_eq!(waiting.assert_over().message(), Some(message));
        assert_eq!(ctx.cause().unwrap().message(), Some(message));
    });
}

//= C125
//= C44
#[test]
fn the_end_of_a_source_above_a_deadline_and_a_registration_below() {
    model(|| {
        let tree = Tree::new();
        let source = ModelSource::new();
        let above = tree.ctx.with_source(Arc::new(Tap(Arc::clone(&source))));
        let ctx = above.with_timeout(secs(9));
        let telling = Arc::clone(&source);
        let news = thread::spawn(move || telling.news(over()));
        let waiting = Waiting::on(&ctx);
        news.join().unwrap();
        assert_eq!(waiting.assert_over().message(), Some("over"));
        assert_eq!(tree.timer.waiting(), 0);
    });
}

//= C24
//= C70
#[test]
fn a_source_and_a_parent_end_a_merge_at_once() {
    model(|| {
        let source = ModelSource::new();
        let one = tap(&source);
        let (two, guard) = top();
        let merged = Ctx::merge([&one, &two]);
        let waiting = Waiting::on(&merged);
        let telling = Arc::clone(&source);
        let news = thread::spawn(move || telling.news(over()));
        guard.cancel("two");
        let seen = merged.cause();
        assert!(seen.is_some());
        news.join().unwrap();
        assert_eq!(merged.cause(), seen);
        assert_eq!(Some(waiting.assert_over()), seen);
    });
}
