//! [`TestExecutor`]: one thread, first in first out, and time that jumps when all is idle.
//!
//! # Invariants
//! 1. A task's future is taken out of the table while it is polled, so it may spawn.
//! 2. Nothing is polled, woken or dropped while the table or the queue is borrowed.

mod handle;

use crate::clock::TestClock;
use crate::lock::Lock;
use handle::Seat;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// A small deterministic executor on the calling thread, with a [`TestClock`].
///
/// Tasks that are woken run in the order of their wakes. When none is, the clock jumps
/// to the next alarm; when there is none either, the test hangs, and the executor says
/// which tasks do. The same program takes the same course each time it is run.
///
/// Wakes from other threads are taken, but not waited for: a test that mixes threads
/// in has to see to it itself that one is on its way before all is idle.
///
/// # Examples
/// ```
/// use ripcord_test::{TestClock, TestExecutor};
/// use std::time::Duration;
///
/// let clock = TestClock::new();
/// let (ctx, _guard) = clock.ctx();
/// let executor = TestExecutor::new(&clock);
/// let answer = executor.run(async {
///     let nap = ctx.with_timeout(Duration::from_secs(3600));
///     let task = executor.spawn("sleeper", async move {
///         nap.done().await;
///         42
///     });
///     task.await
/// });
/// assert_eq!(answer, 42);
/// assert_eq!(clock.elapsed(), Duration::from_secs(3600));
/// ```
///
/// # Costs
/// One allocation for each task and each waker, a lock for each wake.
#[derive(Clone)]
pub struct TestExecutor {
    inner: Rc<Inner>,
}

struct Inner {
    clock: TestClock,
    ready: Arc<Ready>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    next: Cell<u64>,
}

struct Task {
    name: Cow<'static, str>,
    site: &'static Location<'static>,
    /// `None` while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// The tasks that were woken, each once.
#[derive(Default)]
struct Ready {
    queue: Lock<VecDeque<u64>>,
}

/// The number of the future given to `run`.
const MAIN: u64 = 0;

pub use handle::TestTask;

thread_local! {
    static CURRENT: RefCell<Option<TestExecutor>> = const { RefCell::new(None) };
}

/// Spawns a task on the executor that runs this code.
///
/// # Panics
/// Outside of [`TestExecutor::run`] and
/// [`with_test_context_async`](crate::with_test_context_async).
///
/// # Examples
/// ```
/// use ripcord_test::{spawn, with_test_context_async};
///
/// let sum = with_test_context_async(async |_ctx, _clock| {
///     let one = spawn("one", async { 1 });
///     let two = spawn("two", async { 2 });
///     one.await + two.await
/// });
/// assert_eq!(sum, 3);
/// ```
#[track_caller]
pub fn spawn<T: 'static>(
    name: impl Into<Cow<'static, str>>,
    future: impl Future<Output = T> + 'static,
) -> TestTask<T> {
    let current = CURRENT.with(|current| current.borrow().clone());
    let Some(executor) = current else {
        panic!("`spawn` was called outside of a test executor's `run`");
    };
    executor.spawn(name, future)
}

impl TestExecutor {
    /// Makes an executor without tasks.
    ///
    /// ```
    /// # use ripcord_test::{TestClock, TestExecutor};
    /// let executor = TestExecutor::new(&TestClock::new());
    /// assert_eq!(executor.run(async { 1 }), 1);
    /// ```
    #[must_use]
    pub fn new(clock: &TestClock) -> Self {
        let inner = Inner {
            clock: clock.clone(),
            ready: Arc::default(),
            tasks: RefCell::default(),
            next: Cell::new(MAIN + 1),
        };
        Self {
            inner: Rc::new(inner),
        }
    }

    /// The clock that jumps when all is idle.
    ///
    /// ```
    /// # use ripcord_test::{TestClock, TestExecutor};
    /// let clock = TestClock::new();
    /// assert_eq!(TestExecutor::new(&clock).clock().now(), clock.now());
    /// ```
    #[must_use]
    pub fn clock(&self) -> &TestClock {
        &self.inner.clock
    }

    /// Adds a task; it runs while [`run`](Self::run) does.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::{TestClock, TestExecutor};
    /// let executor = TestExecutor::new(&TestClock::new());
    /// let (one, two) = (executor.spawn("one", async { 1 }), executor.spawn("two", async { 2 }));
    /// assert_eq!(executor.run(async { one.await + two.await }), 3);
    /// ```
    #[track_caller]
    pub fn spawn<T: 'static>(
        &self,
        name: impl Into<Cow<'static, str>>,
        future: impl Future<Output = T> + 'static,
    ) -> TestTask<T> {
        let number = self.inner.next.get();
        self.inner.next.set(number + 1);
        let seat = Seat::empty();
        let task = Task {
            name: name.into(),
            site: Location::caller(),
            future: Some(Box::pin(Seat::filled_by(Rc::clone(&seat), future))),
        };
        self.inner.tasks.borrow_mut().insert(number, task);
        self.inner.ready.push(number);
        TestTask::new(&self.inner, number, seat)
    }

    /// Runs until `main` is ready. Spawned tasks that are not stay for the next call.
    ///
    /// # Panics
    /// If all is idle and no alarm is armed: with the names of the tasks that hang. A
    /// panic of a task passes through.
    ///
    /// # Examples
    /// ```
    /// # use ripcord_test::{TestClock, TestExecutor};
    /// let executor = TestExecutor::new(&TestClock::new());
    /// let task = executor.spawn("later", async { 2 });
    /// assert!(!task.is_finished(), "nothing runs outside of `run`");
    /// assert_eq!(executor.run(task), 2);
    /// ```
    #[track_caller]
    pub fn run<F: Future>(&self, main: F) -> F::Output {
        let _current = Entered::new(self.clone());
        let mut main = pin!(main);
        let waker = self.inner.waker(MAIN);
        self.inner.ready.push(MAIN);
        loop {
            match self.inner.ready.pop() {
                Some(MAIN) => {
                    if let Poll::Ready(output) =
                        main.as_mut().poll(&mut Context::from_waker(&waker))
                    {
                        return output;
                    }
                }
                Some(number) => self.inner.poll(number),
                None => {
                    let jumped = self.inner.clock.advance_to_next();
                    assert!(
                        jumped.is_some() || !self.inner.ready.is_empty(),
                        "the test hangs: nothing is woken and no alarm is armed; pending: the \
                         main future{}",
                        self.list("; "),
                    );
                }
            }
        }
    }

    /// The names of the spawned tasks that are not over, in the order of their spawns.
    ///
    /// ```
    /// # use ripcord_test::{TestClock, TestExecutor};
    /// let executor = TestExecutor::new(&TestClock::new());
    /// let _task = executor.spawn("forever", std::future::pending::<()>());
    /// executor.run(async {});
    /// assert_eq!(executor.pending(), ["forever"]);
    /// ```
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        let tasks = self.inner.tasks.borrow();
        tasks.values().map(|task| task.name.to_string()).collect()
    }

    /// Drops every task, the one spawned first before the others.
    ///
    /// ```
    /// # use ripcord_test::{TestClock, TestExecutor};
    /// let executor = TestExecutor::new(&TestClock::new());
    /// let task = executor.spawn("forever", std::future::pending::<()>());
    /// executor.clear();
    /// assert!(task.is_finished() && executor.pending().is_empty());
    /// ```
    pub fn clear(&self) {
        loop {
            let task = self.inner.tasks.borrow_mut().pop_first();
            match task {
                Some(task) => drop(task),
                None => return,
            }
        }
    }

    /// The pending tasks with their spawn sites, each after `separator`.
    pub(crate) fn list(&self, separator: &str) -> String {
        let tasks = self.inner.tasks.borrow();
        let lines = tasks
            .values()
            .map(|task| format!("{separator}`{}` (spawned at {})", task.name, task.site));
        lines.collect()
    }
}

impl fmt::Debug for TestExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestExecutor")
            .field("clock", &self.inner.clock)
            .field("pending", &self.pending())
            .finish()
    }
}

impl Inner {
    /// Takes a task out of the table, wherever it is.
    fn remove(&self, number: u64) {
        let task = self.tasks.borrow_mut().remove(&number);
        drop(task);
    }

    fn has(&self, number: u64) -> bool {
        self.tasks.borrow().contains_key(&number)
    }

    fn waker(&self, number: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker {
            number,
            ready: Arc::clone(&self.ready),
        }))
    }

    fn poll(&self, number: u64) {
        let mut tasks = self.tasks.borrow_mut();
        let future = tasks.get_mut(&number).and_then(|task| task.future.take());
        drop(tasks);
        let Some(mut future) = future else { return };
        let waker = self.waker(number);
        let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut tasks = self.tasks.borrow_mut();
        let gone = match (poll, tasks.get_mut(&number)) {
            (Poll::Pending, Some(task)) => {
                task.future = Some(future);
                return;
            }
            // Ready, or aborted by itself.
            _ => (tasks.remove(&number), future),
        };
        drop(tasks);
        drop(gone);
    }
}

impl Ready {
    fn push(&self, number: u64) {
        let mut queue = self.queue.lock();
        if !queue.contains(&number) {
            queue.push_back(number);
        }
    }

    fn pop(&self) -> Option<u64> {
        self.queue.lock().pop_front()
    }

    fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }
}

struct TaskWaker {
    number: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.number);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.push(self.number);
    }
}

/// Makes an executor the current one of the thread, and puts the previous one back.
struct Entered(Option<TestExecutor>);

impl Entered {
    fn new(executor: TestExecutor) -> Self {
        Self(CURRENT.with(|current| current.replace(Some(executor))))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let previous = self.0.take();
        drop(CURRENT.with(|current| current.replace(previous)));
    }
}
