//! [`Sequencer`]: threads and tasks take their steps in an order that the test sets.
//!
//! # Invariants
//! 1. Steps run one at a time, in the order given; `next` is the one that runs or may.
//! 2. Wakers are woken, cloned and dropped, and panics raised, without the lock held.

mod turn;

use crate::lock::{Lock, wait};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::mem;
use std::sync::{Arc, Condvar, MutexGuard};
use std::task::Waker;

pub use turn::{AwaitTurn, Turn};

/// Makes the steps of threads and tasks run one at a time, in a set order.
///
/// Each piece of code that takes part asks for its turn by name or number, waits for
/// it, and ends it by dropping the [`Turn`]. Clones are handles of the same sequence.
///
/// # Panics
/// When the last handle is dropped although a step was never taken, and nothing else
/// panics: with the names of those steps. A test whose steps are not all reached has
/// not tested what it says.
///
/// # Examples
/// ```
/// use ripcord_core::Kind;
/// use ripcord_test::{Sequencer, TestClock};
/// use std::thread;
///
/// let (ctx, guard) = TestClock::new().ctx();
/// let steps = Sequencer::new(["look", "cancel", "look again"]);
/// thread::scope(|scope| {
///     scope.spawn(|| {
///         let _turn = steps.turn("cancel");
///         guard.cancel(Kind::Cancelled);
///     });
///     {
///         let _turn = steps.turn("look");
///         assert!(!ctx.is_done());
///     }
///     let _turn = steps.turn("look again");
///     assert!(ctx.is_done());
/// });
/// ```
///
/// # Costs
/// A turn is two locks, and wakes every thread that waits for another one.
#[derive(Clone)]
pub struct Sequencer {
    shared: Arc<Shared>,
}

struct Shared {
    steps: Vec<Cow<'static, str>>,
    state: Lock<State>,
    changed: Condvar,
}

struct State {
    next: usize,
    stages: Vec<Stage>,
    broken: Option<usize>,
}

#[derive(Debug)]
enum Stage {
    /// Nobody has asked for it.
    Free,
    /// Asked for; the task that waits, if it is one.
    Asked(Option<Waker>),
    Running,
    Over,
}

/// Names a step of a [`Sequencer`]: its name, or its number counted from zero.
///
/// ```
/// # use ripcord_test::Sequencer;
/// let steps = Sequencer::new(["open", "close"]);
/// drop(steps.turn("open"));
/// drop(steps.turn(1));
/// ```
pub trait Step: sealed::Sealed {
    /// The number of the step among `steps`.
    #[doc(hidden)]
    fn find(&self, steps: &[Cow<'static, str>]) -> Option<usize>;

    /// The step for a message.
    #[doc(hidden)]
    fn show(&self) -> String;
}

mod sealed {
    /// Keeps the trait to names and numbers.
    #[expect(unnameable_types, reason = "that is the point")]
    pub trait Sealed {}
    impl Sealed for usize {}
    impl Sealed for &str {}
}

impl Step for usize {
    fn find(&self, steps: &[Cow<'static, str>]) -> Option<usize> {
        (*self < steps.len()).then_some(*self)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Step for &str {
    fn find(&self, steps: &[Cow<'static, str>]) -> Option<usize> {
        steps.iter().position(|step| step == self)
    }

    fn show(&self) -> String {
        (*self).to_owned()
    }
}

impl Sequencer {
    /// Makes a sequence of named steps, in the order given.
    ///
    /// # Panics
    /// If two steps have the same name.
    ///
    /// ```
    /// # use ripcord_test::Sequencer;
    /// let steps = Sequencer::new(["read", "write"]);
    /// for step in ["read", "write"] {
    ///     drop(steps.turn(step));
    /// }
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new<S: Into<Cow<'static, str>>>(steps: impl IntoIterator<Item = S>) -> Self {
        let steps: Vec<Cow<'static, str>> = steps.into_iter().map(Into::into).collect();
        let mut seen = HashSet::new();
        for step in &steps {
            assert!(seen.insert(step), "the sequencer has two steps `{step}`");
        }
        let state = State {
            next: 0,
            stages: steps.iter().map(|_| Stage::Free).collect(),
            broken: None,
        };
        Self {
            shared: Arc::new(Shared {
                steps,
                state: Lock::new(state),
                changed: Condvar::new(),
            }),
        }
    }

    /// Makes a sequence of `steps` steps, called 0, 1, 2, …
    ///
    /// ```
    /// # use ripcord_test::Sequencer;
    /// let steps = Sequencer::numbered(2);
    /// drop(steps.turn(0));
    /// drop(steps.turn(1));
    /// assert!(steps.is_over());
    /// ```
    #[must_use]
    pub fn numbered(steps: usize) -> Self {
        Self::new((0..steps).map(|step| step.to_string()))
    }

    /// Blocks the thread until it is this step's turn. The turn lasts until it is dropped.
    ///
    /// If nobody takes one of the steps before, this blocks for ever.
    ///
    /// # Panics
    /// If there is no such step, if it was asked for before, or if a step before it
    /// panicked.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`turn(0)` and `turn(\"a\")` read better"
    )]
    pub fn turn(&self, step: impl Step) -> Turn {
        let number = self.ask(&step);
        let mut state = self.shared.state.lock();
        loop {
            if let Some(broken) = state.broken {
                drop(state);
                self.shared.refuse(number, broken);
            }
            if state.next == number {
                return self.shared.begin(number, state);
            }
            state = wait(&self.shared.changed, state);
        }
    }

    /// Waits for this step's turn without blocking the thread.
    ///
    /// The step is asked for at the call, so misuse is reported there. Dropping the
    /// future before its turn gives the step back.
    ///
    /// # Panics
    /// Like [`turn`](Self::turn); the poll panics if a step before it did.
    ///
    /// # Examples
    /// ```
    /// use ripcord_test::{Sequencer, spawn, with_test_context_async};
    ///
    /// with_test_context_async(async |_ctx, _clock| {
    ///     let steps = Sequencer::new(["first", "second"]);
    ///     let theirs = steps.clone();
    ///     let task = spawn("first", async move { drop(theirs.turn_async("first").await) });
    ///     drop(steps.turn_async("second").await);
    ///     assert!(task.is_finished());
    /// });
    /// ```
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "like `turn`")]
    pub fn turn_async(&self, step: impl Step) -> AwaitTurn {
        AwaitTurn::new(&self.shared, self.ask(&step))
    }

    /// Whether every step was taken and is over.
    ///
    /// ```
    /// # use ripcord_test::Sequencer;
    /// let steps = Sequencer::new(["only"]);
    /// let turn = steps.turn("only");
    /// assert!(!steps.is_over());
    /// drop(turn);
    /// assert!(steps.is_over());
    /// ```
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.state.lock().next == self.shared.steps.len()
    }

    #[track_caller]
    fn ask(&self, step: &impl Step) -> usize {
        let shared = &self.shared;
        let Some(number) = step.find(&shared.steps) else {
            let known = shared.steps.join("`, `");
            panic!(
                "the sequencer has no step `{}`: it has `{known}`",
                step.show()
            );
        };
        let mut state = shared.state.lock();
        if matches!(state.stages[number], Stage::Free) {
            state.stages[number] = Stage::Asked(None);
            return number;
        }
        drop(state);
        panic!(
            "step `{}` of the sequencer was asked for twice",
            shared.steps[number]
        );
    }
}

impl fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("Sequencer")
            .field("steps", &self.shared.steps)
            .field("next", &self.shared.steps.get(state.next))
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Begins a step whose turn it is.
    fn begin(self: &Arc<Self>, number: usize, mut state: MutexGuard<'_, State>) -> Turn {
        let asked = mem::replace(&mut state.stages[number], Stage::Running);
        drop(state);
        drop(asked);
        Turn::new(self, number)
    }

    #[track_caller]
    fn refuse(&self, number: usize, broken: usize) -> ! {
        let (step, broken) = (&self.steps[number], &self.steps[broken]);
        panic!("step `{step}` of the sequencer will never come: step `{broken}` panicked");
    }

    /// Wakes who may go on after a change: the next step, or all if one panicked.
    fn announce(&self, mut state: MutexGuard<'_, State>) {
        let mut wakers = Vec::new();
        let is_broken = state.broken.is_some();
        let next = state.next;
        for (number, stage) in state.stages.iter_mut().enumerate() {
            if let Stage::Asked(waker) = stage
                && (is_broken || number == next)
            {
                wakers.extend(waker.take());
            }
        }
        drop(state);
        self.changed.notify_all();
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.lock();
        let is_excused = state.broken.is_some() || std::thread::panicking();
        let left = self.steps[state.next..].join("`, `");
        drop(state);
        assert!(
            is_excused || left.is_empty(),
            "the sequencer was dropped before its last steps were taken: `{left}`",
        );
    }
}
