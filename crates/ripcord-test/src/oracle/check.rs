//! Running programs: one, the one of a seed, or those of many seeds.

use super::generate::generate;
use super::op::Program;
use super::shrink::shrink;
use super::world::World;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where the core and the model part.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::{check_seed, compare, generate};
///
/// if let Err(mismatch) = compare(&generate(4)) {
///     panic!("the core differs {mismatch}");
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Mismatch {
    /// The number of the step after which they do; `None` at the end of the program.
    pub slot: Option<u32>,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.slot {
            Some(slot) => write!(f, "in step {slot}: {}", self.what),
            None => write!(f, "at the end: {}", self.what),
        }
    }
}

/// Runs a program on the core and on the model.
///
/// # Errors
/// The first difference between the two. A panic of the core is one.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::{Op, Program, compare};
///
/// let program = Program::of([
///     Op::Child(0),
///     Op::Timeout(1, 3),
///     Op::Done(2),
///     Op::Advance(3),
/// ]);
/// assert_eq!(compare(&program), Ok(()));
/// ```
pub fn compare(program: &Program) -> Result<(), Mismatch> {
    let mut slot = None;
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(program);
        for step in &program.steps {
            slot = Some(step.slot);
            world.step(step)?;
        }
        slot = None;
        world.finish()
    }));
    let what = match run {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(what)) => what,
        Err(payload) => format!("a panic: {}", message(&*payload)),
    };
    Err(Mismatch { slot, what })
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// Runs the program of one seed, and shrinks it if the two sides part.
///
/// # Panics
/// If they do: with the seed, the shrunk program and the difference.
///
/// # Examples
/// ```
/// ripcord_test::oracle::check_seed(1);
/// ```
pub fn check_seed(seed: u64) {
    let program = generate(seed);
    let Err(mismatch) = compare(&program) else {
        return;
    };
    let small = shrink(&program, |program| compare(program).is_err());
    let found = compare(&small).err().unwrap_or(mismatch);
    panic!(
        "the core and the model part {found}\n\n{small}\nreplay: RIPCORD_SEED={seed} cargo test \
         ({} of {} steps are left)",
        small.steps.len(),
        program.steps.len(),
    );
}

/// Runs the programs of `count` seeds from 0 on, or as the environment says.
///
/// `RIPCORD_SEED=7` runs that seed alone; `RIPCORD_SEEDS=100000` runs so many.
///
/// # Panics
/// Like [`check_seed`], for the first seed that fails, and if a variable is not a
/// number.
///
/// # Costs
/// About a millisecond for each seed in a debug build.
///
/// # Examples
/// ```
/// // In a test: some thousand programs each time, more by hand.
/// ripcord_test::oracle::check_seeds(20);
/// ```
pub fn check_seeds(count: u64) {
    if let Some(seed) = number_in("RIPCORD_SEED") {
        check_seed(seed);
        return;
    }
    for seed in 0..number_in("RIPCORD_SEEDS").unwrap_or(count) {
        check_seed(seed);
    }
}

fn number_in(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.trim().parse().ok();
    assert!(number.is_some(), "{variable} is not a number: {text:?}");
    number
}
