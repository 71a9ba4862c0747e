//! The register of live tasks: who is still there, and who should not be.
//!
//! # Costs
//! A spawn and an end each take one of 16 locks, chosen by the task's number.
//! A report takes them one after the other, so it is no snapshot: a task that is spawned
//! meanwhile may be missing, but one that lives throughout is listed.
//!
//! # Invariants
//! 1. A task is entered before it is spawned and leaves when its future was dropped.
//! 2. References here are weak. The register is never what keeps a task's record alive, and
//!    no record is dropped under its lock: the last strong one goes elsewhere.
//!
//! # Limits
//! Only tasks that were spawned by ripcord are listed: a bare `tokio::spawn` is not.

use crate::task::{TaskCore, TaskInfo};
use crate::told::AskPoint;
use ripcord_core::{Cause, Ctx};
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

const SHARDS: usize = 16;

type Tasks = HashMap<u64, Weak<TaskCore>, BuildHasherDefault<ById>>;
type Shard = Mutex<Tasks>;
type Told = HashMap<u64, Weak<AskPoint>, BuildHasherDefault<ById>>;

/// Hashes numbers that this process counts up.
///
/// Nobody outside chooses them, so two products that spread them are enough.
#[derive(Default)]
struct ById(u64);

impl Hasher for ById {
    fn finish(&self) -> u64 {
        // Tables look at both ends of a hash, and a product is spread in its upper half.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        let product = (self.0 ^ id).wrapping_mul(SPREAD);
        self.0 = (product ^ product >> 32).wrapping_mul(SPREAD);
    }
}

/// Odd, and without a pattern in its bits: 2^64 by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn shards() -> &'static [Shard; SHARDS] {
    static SHARDS_CELL: OnceLock<[Shard; SHARDS]> = OnceLock::new();
    SHARDS_CELL.get_or_init(Default::default)
}

fn shard(id: u64) -> MutexGuard<'static, Tasks> {
    // The remainder is below 16.
    let at = usize::try_from(id % SHARDS as u64).unwrap_or_default();
    shards()[at].lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness counts (counter).
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn enter(core: &Arc<TaskCore>) {
    shard(core.id).insert(core.id, Arc::downgrade(core));
}

pub(crate) fn leave(id: u64) {
    let gone = shard(id).remove(&id);
    drop(gone);
}

/// Futures that are told of as tasks: here only to be asked where they wait.
fn told(id: u64) -> MutexGuard<'static, Told> {
    static TOLD: OnceLock<[Mutex<Told>; SHARDS]> = OnceLock::new();
    // The remainder is below 16.
    let at = usize::try_from(id % SHARDS as u64).unwrap_or_default();
    let shard = &TOLD.get_or_init(Default::default)[at];
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn enter_told(id: u64, asked: &Arc<AskPoint>) {
    told(id).insert(id, Arc::downgrade(asked));
}

pub(crate) fn leave_told(id: u64) {
    let gone = told(id).remove(&id);
    drop(gone);
}

fn live() -> Vec<Arc<TaskCore>> {
    let mut tasks = Vec::new();
    for shard in shards() {
        let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.extend(shard.values().filter_map(Weak::upgrade));
    }
    tasks.sort_by_key(|task| task.id);
    tasks
}

/// All live tasks that ripcord spawned, oldest first.
///
/// Of the whole process: all trees, all runtimes, tasks of scopes and blocking tasks included.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::{CtxExt as _, live_tasks};
///
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let task = ctx.spawn("listener", |_| std::future::pending::<()>());
/// assert!(live_tasks().iter().any(|task| task.name == "listener"));
/// task.abort();
/// assert!(task.await.unwrap_err().is_aborted());
/// assert!(!live_tasks().iter().any(|task| task.name == "listener"));
/// # }
/// ```
///
/// # Costs
/// A sort and one copied name for each live task: for a report, not for a counter that is read
/// at each request.
#[must_use]
pub fn live_tasks() -> Vec<TaskInfo> {
    live().iter().map(|task| task.info()).collect()
}

/// The live tasks whose context is done: those that outlive their request.
///
/// A task is listed from the instant of the cancel, so one that is just cleaning up is among
/// them: [`TaskInfo::overdue`] tells for how long. What an operator wants to know at the end of
/// a shutdown, and a test after it cancelled everything.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::{CtxExt as _, overdue_tasks};
///
/// let (ctx, guard) = ripcord_tokio::root().build();
/// let is_listed = || overdue_tasks().iter().any(|task| task.name == "leak");
/// let task = ctx.spawn("leak", |_| std::future::pending::<()>());
/// assert!(!is_listed());
/// guard.cancel("the request is over");
/// assert!(is_listed());
/// task.abort();
/// # }
/// ```
#[must_use]
pub fn overdue_tasks() -> Vec<TaskInfo> {
    live_tasks()
        .into_iter()
        .filter(|task| task.cause.is_some())
        .collect()
}

/// Tells of each live task whose context is done why it is, and for how long.
///
/// For numbers that are asked for every few seconds: nothing is copied, and nothing is in order.
/// Otherwise as [`overdue_tasks`]. The time is unknown where nobody knows when the end was asked for.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_core::Kind;
/// use ripcord_tokio::{CtxExt as _, each_overdue};
///
/// let (ctx, guard) = ripcord_tokio::root().build();
/// let task = ctx.spawn("leak", |_| std::future::pending::<()>());
/// guard.cancel(Kind::PeerGone);
/// let mut late = 0;
/// each_overdue(|cause, _| late += u32::from(cause.kind() == Kind::PeerGone));
/// assert_eq!(late, 1);
/// task.abort();
/// # }
/// ```
///
/// # Costs
/// One of 16 locks at a time, for as long as a reference to each of its tasks is taken; then a look at
/// each task's context.
pub fn each_overdue(mut tell: impl FnMut(&Cause, Option<Duration>)) {
    let mut tasks: Vec<Arc<TaskCore>> = Vec::new();
    for shard in shards() {
        let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.extend(shard.values().filter_map(Weak::upgrade));
        drop(shard);
        for task in tasks.drain(..) {
            if let Some((cause, since)) = task.overdue() {
                tell(&cause, since);
            }
        }
    }
}

/// The overdue tasks, with the place where each waits.
///
/// Each idle one is woken for one extra poll in which its await stack is recorded; one
/// that is being polled all the time has none. Waits for `patience` at the most, by the
/// clock of the oldest overdue task.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::{CtxExt as _, inspect_overdue};
///
/// let (ctx, guard) = ripcord_tokio::root().build();
/// let never = |_| async { tokio::sync::Notify::new().notified().await };
/// let task = ctx.spawn("deaf", never);
/// guard.cancel("enough");
/// let late = inspect_overdue(std::time::Duration::from_secs(1)).await;
/// let deaf = late.iter().find(|task| task.name == "deaf").expect("it is overdue");
/// // With debug information `{deaf}` names file and line of the await.
/// assert!(!deaf.has_seen && deaf.stack.is_some());
/// task.abort();
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future loses only the report.
pub async fn inspect_overdue(patience: Duration) -> Vec<TaskInfo> {
    let mut tasks = live();
    tasks.retain(|task| task.info().cause.is_some());
    let limit = tasks.first().map(|task| task.ctx.detach());
    let limit = limit.map_or_else(Ctx::background, |clock| clock.with_timeout(patience));
    inspect(&tasks, &limit).await
}

/// Asks tasks where they wait, and does not wait for the answers.
///
/// For a tool that is a [`TaskObserver`](ripcord_core::tasks::TaskObserver) and has seen in what it
/// was told that these hang: the answers come to its
/// [`stack_taken`](ripcord_core::tasks::TaskObserver::stack_taken), from the polls that found them.
/// [`inspect_overdue`] and [`live_tasks`] show them, too.
///
/// `ids` are those of [`TaskInfo::id`]. A task that is gone, that runs on a blocking thread, or
/// that another process or library has numbered, is passed over. One that is in a poll answers in
/// its next one; one that keeps no waker has no answer.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use ripcord_tokio::{CtxExt as _, ask_stacks, live_tasks};
///
/// let (ctx, _guard) = ripcord_tokio::root().build();
/// let task = ctx.spawn("waits", |_| async { tokio::sync::Notify::new().notified().await });
/// let find = || live_tasks().into_iter().find(|task| task.name == "waits").expect("it lives");
/// tokio::task::yield_now().await; // Its first poll.
/// ask_stacks(&[find().id, 0]);
/// tokio::task::yield_now().await; // The one that answers.
/// assert!(find().stack.is_some());
/// task.abort();
/// # }
/// ```
///
/// # Costs
/// For each task two short locks, a wake, and one poll more than it would have had, in which each
/// leaf that keeps the waker walks the stack: some microseconds to tens of them. Ask for those that
/// hang, and not for all, again and again.
///
/// The first call of a process with no ids at all looks up the names of one stack, so that debug
/// information is loaded before it is needed: hundreds of milliseconds, on this thread.
pub fn ask_stacks(ids: &[u64]) {
    if ids.is_empty() {
        crate::stack::load_names();
    }
    for &id in ids {
        let task = shard(id).get(&id).and_then(Weak::upgrade);
        if let Some(task) = task.filter(|task| !task.is_blocking) {
            task.ask_stack();
            continue;
        }
        let asked = told(id).get(&id).and_then(Weak::upgrade);
        if let Some(asked) = asked {
            asked.ask();
        }
    }
}

/// Asks all of `tasks` for their stacks, and waits until all have answered or `limit` is
/// done.
///
/// All are asked before the first one is waited for, so their polls overlap. Blocking tasks are
/// reported, and not asked: nobody polls them.
pub(crate) async fn inspect(tasks: &[Arc<TaskCore>], limit: &Ctx) -> Vec<TaskInfo> {
    let idle = || tasks.iter().filter(|task| !task.is_blocking);
    let mut is_asked = false;
    let answers = poll_fn(|cx| {
        if !is_asked {
            idle().for_each(|task| task.ask_stack());
            is_asked = true;
        }
        // Of all, so that each knows whom to wake.
        let open = idle().filter(|task| !task.has_answered(cx.waker()));
        if open.count() == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    let _ = limit.run(answers).await;
    tasks.iter().map(|task| task.info()).collect()
}

#[cfg(all(test, not(ripcord_shuttle)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// What a table looks at: the lowest bits for the place, the highest for what is there.
    #[test]
    fn numbers_of_one_shard_are_spread() {
        let hash = |id| {
            let mut hasher = ById::default();
            hasher.write_u64(id);
            hasher.finish()
        };
        let hashes: Vec<u64> = (0..1_024).map(|at| hash(7 + at * SHARDS as u64)).collect();
        let places: HashSet<u64> = hashes.iter().map(|hash| hash % 1_024).collect();
        let marks: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        // Of so many thrown at random into as many places 632 would be hit.
        assert!(places.len() > 600, "{}", places.len());
        assert_eq!(marks.len(), 128);
    }
}
