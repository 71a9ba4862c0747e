//! The oracle itself: the model by hand, the generator, the shrinker, and that a wrong
//! core would be found.

mod support;

use ripcord_core::{Kind, Phase};
use ripcord_test::oracle::{Model, Op, Program, Rng, compare, generate, shrink};
use std::collections::BTreeSet;
use support::message_of;

fn kind(model: &Model, id: usize) -> Option<Kind> {
    model.reason(id).map(|reason| reason.kind)
}

#[test]
fn the_model_ends_what_is_below() {
    let mut model = Model::new();
    let one = model.child(Model::ROOT);
    let below = model.child(one);
    let sibling = model.child(Model::ROOT);
    assert!(model.cancel(one, "enough"));
    assert!(!model.cancel(below, "late"));
    let message = model.reason(below).and_then(|reason| reason.message);
    assert_eq!(message.as_deref(), Some("enough"));
    assert_eq!(model.phase(sibling), Phase::Live);
}

#[test]
fn the_model_lets_the_earlier_instant_decide_and_ties_go_to_the_deadline() {
    for (cancelled_at, expected) in [(1, Kind::Cancelled), (2, Kind::DeadlineExceeded)] {
        let mut model = Model::new();
        let timed = model.with_deadline(Model::ROOT, 2);
        model.advance_to(cancelled_at);
        model.cancel(Model::ROOT, "x");
        model.advance_to(3);
        assert_eq!(kind(&model, timed), Some(expected), "{cancelled_at}");
    }
}

#[test]
fn the_model_shields_for_the_grace_and_not_from_a_force() {
    let mut model = Model::new();
    let shield = model.shield(Model::ROOT, Some(5));
    let inner = model.shield(shield, Some(2));
    model.cancel(Model::ROOT, "x");
    model.advance_to(6);
    assert!(model.reason(shield).is_some() && model.reason(inner).is_none());
    assert!(model.force(Model::ROOT, "now"));
    assert_eq!(model.phase(inner), Phase::Forced);
    assert!(!model.force(inner, "again"));
}

#[test]
fn the_model_joins() {
    let mut model = Model::new();
    let (a, b) = (model.child(Model::ROOT), model.child(Model::ROOT));
    let (any, all) = (model.merge(&[a, b]), model.all_of(&[a, b]));
    model.cancel(b, "b");
    assert!(model.reason(any).is_some() && model.reason(all).is_none());
    model.cancel(a, "a");
    let message = |id| model.reason(id).and_then(|reason| reason.message);
    assert_eq!(
        (message(any), message(all)),
        (Some("b".to_owned()), Some("a".to_owned()))
    );
}

#[test]
fn a_deadline_that_was_seen_stays_past() {
    let mut model = Model::new();
    let timed = model.with_deadline(Model::ROOT, 2);
    model.advance_to(3);
    model.set_back(2);
    assert!(!model.is_done(timed));
    model.advance_to(2);
    assert!(model.is_done(timed));
    model.set_back(2);
    assert!(model.is_done(timed));
}

#[test]
fn seeds_make_different_programs_of_every_operation() {
    let programs: Vec<Program> = (0..300).map(generate).collect();
    let texts: BTreeSet<String> = programs.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), programs.len());
    let name = |op: &Op| {
        let text = format!("{op:?}");
        let end = text.find('(').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let steps = programs.iter().flat_map(|program| &program.steps);
    let names: BTreeSet<String> = steps.map(|step| name(&step.op)).collect();
    assert_eq!(names.len(), 33, "an operation is never made: {names:?}");
}

#[test]
fn a_difference_is_found_and_shrunk() {
    // In place of a broken core: a program "fails" if its root is cancelled while
    // somebody waits. The shrinker has to keep just these two steps.
    let fails = |program: &Program| {
        let at = |wanted: &Op| program.steps.iter().position(|step| step.op == *wanted);
        let waits = at(&Op::Done(0));
        waits.is_some_and(|waits| at(&Op::Cancel(0)).is_some_and(|cancel| waits < cancel))
    };
    let found = (0..20_000)
        .map(generate)
        .find(fails)
        .expect("some seed does both");
    let small = shrink(&found, fails);
    let ops: Vec<&Op> = small.steps.iter().map(|step| &step.op).collect();
    assert_eq!(ops, [&Op::Done(0), &Op::Cancel(0)]);
}

#[test]
fn steps_that_refer_to_nothing_are_skipped() {
    let nothing = 99;
    let program = Program::of([
        Op::Child(nothing),
        Op::Cancel(nothing),
        Op::Poll(nothing),
        Op::StopHook(nothing),
        Op::Merge(vec![nothing]),
        Op::DropGuard(nothing),
    ]);
    assert_eq!(compare(&program), Ok(()));
}

#[test]
fn programs_print_as_code() {
    let program = Program::of([Op::Child(0), Op::Shield(1, Some(3)), Op::Cancel(1)]);
    let expected = "   0  (c0, g0) = clock.root().build()\n   \
                    1  (c1, g1) = c0.child()\n   \
                    2  c2 = c1.shield(3ms)\n   \
                    3  g1.cancel(\"3\")\n";
    assert_eq!(program.to_string(), expected);
}

#[test]
fn numbers_stay_below_their_bound_and_reach_all_of_it() {
    let mut rng = Rng::new(1);
    let seen: BTreeSet<usize> = (0..1_000).map(|_| rng.below(7)).collect();
    assert_eq!(seen, (0..7).collect());
    assert_eq!(rng.pick::<u8>(&[]), None);
    assert!(rng.chance(1, 1) && !rng.chance(0, 5));
    let text = message_of(|| rng.below(0));
    assert_eq!(text, "there is no number below zero");
}
