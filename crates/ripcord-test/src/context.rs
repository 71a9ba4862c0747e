//! [`with_test_context`] and its async twin: a root for one test, and a clean-up check.

use crate::clock::TestClock;
use crate::executor::TestExecutor;
use ripcord_core::{CancelGuard, Ctx, Info, Observer, Row, dump};
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

/// Runs a test with a root context on a [`TestClock`], and checks that it left nothing.
///
/// Nothing means: no context below the root is alive, no handle of the root itself is
/// kept, and no timer is armed. Contexts made by `detach`, `merge` or `all_of` stand in no
/// register: of them, only the timers and the parents that they hold are found.
///
/// The clock moves when the test moves it; for code that
/// waits see [`with_test_context_async`].
///
/// # Panics
/// If `test` panics, with that; otherwise if something is left, with a list of it.
///
/// # Examples
/// ```
/// use ripcord_test::with_test_context;
/// use std::time::Duration;
///
/// with_test_context(|ctx, clock| {
///     let query = ctx.named("query").with_timeout(Duration::from_secs(1));
///     clock.advance(Duration::from_secs(1));
///     assert!(query.is_done());
/// });
/// ```
/// A context that is kept is found:
/// ```should_panic
/// # use ripcord_test::with_test_context;
/// # use ripcord_core::Ctx;
/// # use std::sync::OnceLock;
/// static CACHE: OnceLock<Ctx> = OnceLock::new();
/// with_test_context(|ctx, _clock| {
///     let request = ctx.named("request");
///     CACHE.get_or_init(|| request.clone());
/// });
/// ```
///
/// # Costs
/// The root keeps a register: making and dropping a context takes a lock.
#[track_caller]
pub fn with_test_context<R>(test: impl FnOnce(&Ctx, &TestClock) -> R) -> R {
    let bench = Bench::new();
    let result = test(&bench.ctx, &bench.clock);
    bench.assert_clean();
    result
}

/// Runs an async test with a root context whose clock jumps when all is idle.
///
/// The test runs on a [`TestExecutor`], which [`spawn`](crate::spawn) adds tasks to.
/// When it returns, the same is checked as by [`with_test_context`], and that no
/// spawned task is left.
///
/// # Panics
/// If `test` or one of its tasks panics, with that; if the test hangs (see
/// [`TestExecutor::run`]); or if something is left, with a list of it.
///
/// # Examples
/// ```
/// use ripcord_core::Kind;
/// use ripcord_test::with_test_context_async;
/// use std::time::Duration;
///
/// with_test_context_async(async |ctx, clock| {
///     let query = ctx.with_timeout(Duration::from_secs(3600));
///     let cause = query.done().await; // An hour, at once.
///     assert_eq!(cause.kind(), Kind::DeadlineExceeded);
///     assert_eq!(clock.elapsed(), Duration::from_secs(3600));
/// });
/// ```
#[track_caller]
pub fn with_test_context_async<R>(test: impl AsyncFnOnce(&Ctx, &TestClock) -> R) -> R {
    let bench = Bench::new();
    let executor = TestExecutor::new(&bench.clock);
    let result = executor.run(test(&bench.ctx, &bench.clock));
    let tasks = executor.list("\n  ");
    executor.clear();
    assert!(tasks.is_empty(), "tasks outlived the test:{tasks}");
    bench.assert_clean();
    result
}

/// The root of one test.
struct Bench {
    clock: TestClock,
    ctx: Ctx,
    guard: CancelGuard,
    number: Arc<RootNumber>,
}

/// Learns the number that [`dump`] gives the root: that of the first context made.
#[derive(Default)]
struct RootNumber(OnceLock<u64>);

impl Observer for RootNumber {
    fn created(&self, context: &Info<'_>) {
        self.0.get_or_init(|| context.id);
    }
}

impl Bench {
    fn new() -> Self {
        let clock = TestClock::new();
        let number = Arc::new(RootNumber::default());
        let root = clock.root().name("test").tracked();
        let (ctx, guard) = root.observer(Arc::<RootNumber>::clone(&number)).build();
        Self {
            clock,
            ctx,
            guard,
            number,
        }
    }

    #[track_caller]
    fn assert_clean(self) {
        let Self {
            clock,
            ctx,
            guard,
            number,
        } = self;
        let root = number.0.get().copied();
        let below = list(&rows_of(root), root);
        drop((ctx, guard));
        assert!(below.is_empty(), "contexts outlived the test:{below}");
        let kept = list(&rows_of(root), None);
        assert!(
            kept.is_empty(),
            "a handle of the root outlived the test:{kept}"
        );
        let armed = clock.armed();
        assert!(
            armed == 0,
            "timers outlived the test: {armed} still armed, although every context is gone",
        );
    }
}

/// The rows of one tree, from those of all trees of the process.
fn rows_of(root: Option<u64>) -> Vec<Row> {
    let dump = dump();
    let mut inside: HashSet<u64> = root.into_iter().collect();
    // Parents are older than their children, and the rows stand by age.
    let rows = dump.rows().iter().filter(|row| {
        let is_inside =
            inside.contains(&row.id) || row.parent.is_some_and(|up| inside.contains(&up));
        if is_inside {
            inside.insert(row.id);
        }
        is_inside
    });
    rows.cloned().collect()
}

/// One line for each row but one.
fn list(rows: &[Row], except: Option<u64>) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| Some(row.id) != except) {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {row}");
    }
    text
}
