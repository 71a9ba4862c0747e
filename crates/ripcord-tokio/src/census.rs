//! The register of live tasks: who is still there, and who should not be.
//!
//! # Costs
//! A spawn and an end each take one of 16 locks, chosen by the task's number.

use crate::task::{TaskCore, TaskInfo};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

const SHARDS: usize = 16;

type Shard = Mutex<HashMap<u64, Weak<TaskCore>>>;

fn shards() -> &'static [Shard; SHARDS] {
    static SHARDS_CELL: OnceLock<[Shard; SHARDS]> = OnceLock::new();
    SHARDS_CELL.get_or_init(Default::default)
}

fn shard(id: u64) -> MutexGuard<'static, HashMap<u64, Weak<TaskCore>>> {
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
#[must_use]
pub fn live_tasks() -> Vec<TaskInfo> {
    live().iter().map(|task| task.info()).collect()
}

/// The live tasks whose context is done: those that outlive their request.
#[must_use]
pub fn overdue_tasks() -> Vec<TaskInfo> {
    live_tasks()
        .into_iter()
        .filter(|task| task.cause.is_some())
        .collect()
}

/// The overdue tasks, with the place where each waits.
///
/// Each idle one is woken for one extra poll in which its await stack is recorded; one
/// that is being polled all the time has none. Waits for `patience` at the most.
///
/// # Cancel safety
/// Dropping the future loses only the report.
pub async fn inspect_overdue(patience: Duration) -> Vec<TaskInfo> {
    let mut tasks = live();
    tasks.retain(|task| task.info().cause.is_some());
    inspect(tasks, patience).await
}

/// Asks all of `tasks` for their stacks and waits until all have answered.
pub(crate) async fn inspect(tasks: Vec<Arc<TaskCore>>, patience: Duration) -> Vec<TaskInfo> {
    let mut is_asked = false;
    let answers = poll_fn(|cx| {
        for task in &tasks {
            if !is_asked && !task.is_blocking {
                task.ask_stack(cx.waker());
            }
        }
        is_asked = true;
        let is_open = |task: &&Arc<TaskCore>| {
            !task.is_blocking && !task.has_stack() && Arc::strong_count(task) > 1
        };
        if tasks.iter().any(|task| is_open(&task)) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    });
    let _ = tokio::time::timeout(patience, answers).await;
    tasks.iter().map(|task| task.info()).collect()
}
