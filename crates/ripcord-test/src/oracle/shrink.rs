//! Shrinking: leaving out steps for as long as the rest still fails.

use super::op::Program;

/// The smallest program that `fails`, as far as leaving out steps leads.
///
/// Delta debugging: first long runs of steps are left out, then shorter ones, down to
/// single steps, until none can go.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::{Op, Program, shrink};
///
/// let program = Program::of([Op::Jump, Op::Advance(1), Op::Child(0), Op::Jump]);
/// let small = shrink(&program, |it| it.steps.iter().any(|step| step.op == Op::Child(0)));
/// assert_eq!(small.steps.len(), 1);
/// assert_eq!(small.steps[0].slot, 3, "steps keep their numbers");
/// ```
///
/// # Costs
/// Quadratic in the number of steps, in runs of the program.
pub fn shrink(program: &Program, mut fails: impl FnMut(&Program) -> bool) -> Program {
    let mut best = program.clone();
    let mut run = best.steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut is_smaller = false;
        while at < best.steps.len() {
            let mut smaller = best.clone();
            let end = (at + run).min(smaller.steps.len());
            smaller.steps.drain(at..end);
            if fails(&smaller) {
                best = smaller;
                is_smaller = true;
            } else {
                at += run;
            }
        }
        if run > 1 {
            run = run.div_ceil(2);
        } else if !is_smaller {
            break;
        }
    }
    for change in [
        |it: &mut Program| it.is_tracked = false,
        |it: &mut Program| it.looks_always = false,
    ] {
        let mut simpler = best.clone();
        change(&mut simpler);
        if simpler != best && fails(&simpler) {
            best = simpler;
        }
    }
    best
}
