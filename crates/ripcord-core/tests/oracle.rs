//! Random programs on the core and on the naive model of `ripcord_test::oracle`, and those
//! programs, shrunk, that once found a difference.
//!
//! `RIPCORD_SEED=7 cargo test -p ripcord-core --test oracle` replays one program,
//! `RIPCORD_SEEDS=100000` runs that many (best with `--release`).

use ripcord_core::Ctx;
use ripcord_test::TestClock;
use ripcord_test::oracle::{self, Op, Program};

/// How many seeds a plain `cargo test` runs.
const SEEDS: u64 = 500;

#[test]
fn the_core_agrees_with_the_model() {
    oracle::check_seeds(SEEDS);
}

/// Runs a program that once found a difference.
#[track_caller]
fn check(ops: impl IntoIterator<Item = Op>) {
    let program = Program::of(ops);
    if let Err(mismatch) = oracle::compare(&program) {
        panic!("{mismatch}\n\n{program}");
    }
}

//= C21
#[test]
fn a_cancel_above_a_later_deadline_is_the_cause_however_late_one_looks() {
    check([
        Op::Timeout(0, 2),
        Op::Advance(1),
        Op::Cancel(0),
        Op::Advance(2),
        Op::Cause(1),
    ]);
}

//= C19
//= C21
#[test]
fn a_guard_dropped_after_the_end_of_an_ancestor_changes_no_cause() {
    check([
        Op::Child(0),
        Op::Hook(0),
        Op::Cancel(0),
        Op::DropGuard(1),
        Op::Cause(1),
    ]);
}

//= C19
#[test]
fn a_guard_dropped_unwatched_keeps_its_cause_when_an_ancestor_ends_later() {
    // The shield is linked through all of them, so that the sweep comes by.
    check([
        Op::Child(0),
        Op::Child(1),
        Op::Child(2),
        Op::DropGuard(3),
        Op::DropGuard(2),
        Op::Shield(3, Some(3)),
        Op::Cancel(0),
        Op::Cause(2),
    ]);
}

//= C6
#[test]
fn a_zero_timeout_below_a_done_context_has_its_cause() {
    check([Op::Cancel(0), Op::Timeout(0, 0), Op::Cause(2)]);
}

//= C81
#[test]
fn the_grace_of_a_shield_in_a_shield_counts_from_the_end_of_the_outer_one() {
    check([
        Op::Shield(0, Some(3)),
        Op::Child(1),
        Op::Shield(2, Some(2)),
        Op::Cancel(0),
        Op::Advance(4),
        Op::IsDone(3),
        Op::Advance(1),
        Op::IsDone(3),
    ]);
}

//= C79
#[test]
fn a_timeout_in_a_shield_that_was_made_after_the_deadline_ends_it() {
    check([
        Op::Timeout(0, 1),
        Op::Advance(3),
        Op::Shield(1, Some(4)),
        Op::Timeout(3, 2),
        Op::Done(4),
        Op::Advance(2),
        Op::IsDone(4),
    ]);
}

//= C31
//= C36
#[test]
fn a_waiter_below_a_deadline_is_woken_when_a_shield_above_ends_first() {
    check([
        Op::Cancel(0),
        Op::Shield(0, Some(3)),
        Op::Timeout(2, 5),
        Op::Done(3),
        Op::Advance(3),
    ]);
}

//= C84
#[test]
fn a_force_below_a_forced_context_returns_false() {
    check([Op::Child(0), Op::Force(0), Op::Force(1), Op::Phase(1)]);
}

//= C83
#[test]
fn a_force_of_a_member_leaves_a_shield_below_an_all_of_alone() {
    check([
        Op::Child(0),
        Op::Child(0),
        Op::AllOf(vec![1, 2]),
        Op::Shield(3, Some(4)),
        Op::Cancel(1),
        Op::Cancel(2),
        Op::Force(1),
        Op::IsDone(4),
        Op::Advance(5),
    ]);
}

//= C85
#[test]
fn a_drain_wakes_who_waits_for_it_in_a_shield_below_a_cancelled_context() {
    check([
        Op::Child(0),
        Op::Shield(1, Some(3)),
        Op::Cancel(1),
        Op::Draining(2),
        Op::Drain(0),
    ]);
}

//= C65
#[test]
fn a_merge_has_the_cause_of_the_parent_that_ended_first() {
    check([
        Op::Child(0),
        Op::Child(0),
        Op::Merge(vec![1, 2]),
        Op::Cancel(2),
        Op::Cancel(1),
        Op::Cause(3),
    ]);
}

//= C65
//= C68
#[test]
fn a_merge_of_deadlines_that_nobody_saw_pass_has_the_earlier_one() {
    check([
        Op::Timeout(0, 5),
        Op::Timeout(0, 3),
        Op::Merge(vec![1, 2]),
        Op::Advance(6),
        Op::Cause(3),
    ]);
}

//= C66
#[test]
fn a_merge_of_done_parents_has_the_cause_of_the_first_in_order() {
    check([
        Op::Child(0),
        Op::Child(0),
        Op::Cancel(2),
        Op::Advance(1),
        Op::Cancel(1),
        Op::Merge(vec![1, 2]),
        Op::Cause(6),
    ]);
}

//= C66
#[test]
fn a_merge_below_one_done_parent_keeps_its_cause_when_the_other_ends() {
    check([
        Op::Child(0),
        Op::Child(0),
        Op::Cancel(2),
        Op::Merge(vec![1, 2]),
        Op::Cancel(1),
        Op::Cause(4),
    ]);
}

//= C71
#[test]
fn an_all_of_has_the_cause_of_the_member_that_ended_last() {
    check([
        Op::Child(0),
        Op::Child(0),
        Op::AllOf(vec![1, 2]),
        Op::Cancel(2),
        Op::Cancel(1),
        Op::Cause(3),
    ]);
}

//= C13
#[test]
fn a_guard_dropped_below_a_merge_that_nobody_waits_for_has_an_instant() {
    let (one, guard) = TestClock::new().ctx();
    let (other, _guard) = one.detach().child();
    let merged = Ctx::merge([&one, &other]);
    drop(guard);
    let cause = merged.cause().expect("a parent is done");
    assert_eq!(cause.at(), Some(one.clock_now()));
}

//= C112
#[test]
fn a_deadline_that_nobody_saw_pass_counts_again_when_the_clock_goes_back() {
    check([
        Op::Timeout(0, 2),
        Op::Advance(3),
        Op::SetBack(2),
        Op::IsDone(1),
        Op::Advance(2),
        Op::IsDone(1),
        Op::SetBack(3),
        Op::IsDone(1),
    ]);
}
