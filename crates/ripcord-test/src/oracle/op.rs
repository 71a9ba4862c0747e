//! The operations that the core and the model both carry out, and programs of them.

use std::fmt;

/// The number of a step, and of whatever that step makes: `c3` and `g3` come from step 3.
///
/// Steps keep their numbers when others are left out, so a program can be shrunk
/// without its steps coming to mean something else.
pub type Slot = u32;

/// One operation on a tree of contexts; times are in milliseconds of the test clock.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::{Op, Program, compare};
///
/// // A shield that was made under a cancelled context is live for its grace.
/// let program = Program::of([Op::Cancel(0), Op::Shield(0, Some(3)), Op::Phase(2), Op::Advance(3)]);
/// assert_eq!(compare(&program), Ok(()));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Op {
    /// `child`: makes a context and its guard.
    Child(Slot),
    /// `with_timeout`.
    Timeout(Slot, u32),
    /// `with_deadline`, counted from the start of the clock.
    Deadline(Slot, i64),
    /// `with`, a value that spawned tasks see.
    Value(Slot, u32),
    /// `with`, a value that spawned tasks do not see.
    Local(Slot, u32),
    /// `named`.
    Named(Slot, u32),
    /// `for_task`.
    ForTask(Slot),
    /// `shield`; without a bound if `None`.
    Shield(Slot, Option<u32>),
    /// `detach`.
    Detach(Slot),
    /// `Ctx::merge`.
    Merge(Vec<Slot>),
    /// `Ctx::all_of`.
    AllOf(Vec<Slot>),
    /// Drops a context.
    DropCtx(Slot),
    /// `CancelGuard::handle`: makes a canceller.
    Handle(Slot),
    /// `cancel`, by the guard or canceller with this number.
    Cancel(Slot),
    /// `drain`, by the guard or canceller with this number.
    Drain(Slot),
    /// `force`, by the guard or canceller with this number.
    Force(Slot),
    /// Drops a guard.
    DropGuard(Slot),
    /// `CancelGuard::disarm`.
    Disarm(Slot),
    /// `on_done`: makes a hook.
    Hook(Slot),
    /// `Hook::stop`.
    StopHook(Slot),
    /// Drops a hook.
    DropHook(Slot),
    /// `Hook::detach`.
    DetachHook(Slot),
    /// Makes a `done()` future and polls it.
    Done(Slot),
    /// Makes a `draining()` future and polls it.
    Draining(Slot),
    /// Polls a future again, with the waker that it has.
    Poll(Slot),
    /// Polls a future again, with another waker.
    PollAnew(Slot),
    /// Drops a future.
    DropWait(Slot),
    /// `is_done`.
    IsDone(Slot),
    /// `cause`.
    Cause(Slot),
    /// `phase`.
    Phase(Slot),
    /// Moves the clock on.
    Advance(u32),
    /// Moves the clock to the next alarm.
    Jump,
    /// Sets the clock back.
    SetBack(u32),
}

/// A numbered operation; prints as a line of a program.
///
/// ```
/// use ripcord_test::oracle::{Op, Step};
///
/// let step = Step { slot: 4, op: Op::Timeout(0, 25) };
/// assert_eq!(step.to_string(), "c4 = c0.with_timeout(25ms)");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a step is no more than this")]
pub struct Step {
    /// The number of the step.
    pub slot: Slot,
    /// What it does.
    pub op: Op,
}

/// A program: steps, and how it is run. `c0` and `g0` are the root and its guard.
///
/// Prints as one line for each step.
///
/// # Examples
/// ```
/// use ripcord_test::oracle::{Op, Program, compare};
///
/// let program = Program {
///     looks_always: true,
///     ..Program::of([Op::Child(0), Op::Done(1), Op::Cancel(0)])
/// };
/// print!("{program}");
/// assert_eq!(compare(&program), Ok(()));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "tests write programs by hand")]
pub struct Program {
    /// Whether the tree keeps a register.
    pub is_tracked: bool,
    /// Whether every context is looked at after each step, or only as the steps say.
    pub looks_always: bool,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Program {
    /// Numbers operations from 1 on.
    ///
    /// ```
    /// # use ripcord_test::oracle::{Op, Program};
    /// let program = Program::of([Op::Child(0), Op::Cancel(1)]);
    /// let slots: Vec<u32> = program.steps.iter().map(|step| step.slot).collect();
    /// assert_eq!(slots, [1, 2]);
    /// ```
    #[must_use]
    pub fn of(ops: impl IntoIterator<Item = Op>) -> Self {
        let steps = (1..).zip(ops).map(|(slot, op)| Step { slot, op });
        Self {
            is_tracked: false,
            looks_always: false,
            steps: steps.collect(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.slot;
        match &self.op {
            Op::Child(of) => write!(f, "(c{n}, g{n}) = c{of}.child()"),
            Op::Timeout(of, ms) => write!(f, "c{n} = c{of}.with_timeout({ms}ms)"),
            Op::Deadline(of, at) => write!(f, "c{n} = c{of}.with_deadline(start + {at}ms)"),
            Op::Value(of, value) => write!(f, "c{n} = c{of}.with(Task({value}))"),
            Op::Local(of, value) => write!(f, "c{n} = c{of}.with(Local({value}))"),
            Op::Named(of, name) => write!(f, "c{n} = c{of}.named(\"n{name}\")"),
            Op::ForTask(of) => write!(f, "c{n} = c{of}.for_task()"),
            Op::Shield(of, Some(ms)) => write!(f, "c{n} = c{of}.shield({ms}ms)"),
            Op::Shield(of, None) => write!(f, "c{n} = c{of}.shield(UNBOUNDED)"),
            Op::Detach(of) => write!(f, "c{n} = c{of}.detach()"),
            Op::Merge(of) => write!(f, "c{n} = merge([{}])", contexts(of)),
            Op::AllOf(of) => write!(f, "c{n} = all_of([{}])", contexts(of)),
            Op::DropCtx(of) => write!(f, "drop(c{of})"),
            Op::Handle(of) => write!(f, "k{n} = g{of}.handle()"),
            Op::Cancel(of) => write!(f, "g{of}.cancel(\"{n}\")"),
            Op::Drain(of) => write!(f, "g{of}.drain()"),
            Op::Force(of) => write!(f, "g{of}.force(\"{n}\")"),
            Op::DropGuard(of) => write!(f, "drop(g{of})"),
            Op::Disarm(of) => write!(f, "g{of}.disarm()"),
            Op::Hook(of) => write!(f, "h{n} = c{of}.on_done(..)"),
            Op::StopHook(of) => write!(f, "h{of}.stop()"),
            Op::DropHook(of) => write!(f, "drop(h{of})"),
            Op::DetachHook(of) => write!(f, "h{of}.detach()"),
            Op::Done(of) => write!(f, "w{n} = c{of}.done(); w{n}.poll()"),
            Op::Draining(of) => write!(f, "w{n} = c{of}.draining(); w{n}.poll()"),
            Op::Poll(of) => write!(f, "w{of}.poll()"),
            Op::PollAnew(of) => write!(f, "w{of}.poll() with another waker"),
            Op::DropWait(of) => write!(f, "drop(w{of})"),
            Op::IsDone(of) => write!(f, "c{of}.is_done()"),
            Op::Cause(of) => write!(f, "c{of}.cause()"),
            Op::Phase(of) => write!(f, "c{of}.phase()"),
            Op::Advance(ms) => write!(f, "clock.advance({ms}ms)"),
            Op::Jump => write!(f, "clock.advance_to_next()"),
            Op::SetBack(ms) => write!(f, "clock.set_back({ms}ms)"),
        }
    }
}

fn contexts(slots: &[Slot]) -> String {
    let names: Vec<String> = slots.iter().map(|slot| format!("&c{slot}")).collect();
    names.join(", ")
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tracked = if self.is_tracked { ".tracked()" } else { "" };
        writeln!(f, "   0  (c0, g0) = clock.root(){tracked}.build()")?;
        for step in &self.steps {
            writeln!(f, "{:>4}  {step}", step.slot)?;
        }
        if self.looks_always {
            writeln!(f, "      (every context is looked at after each step)")?;
        }
        Ok(())
    }
}
