//! The watch: a thread that looks for tasks that overrun, and asks them where they wait.
//!
//! It has a thread and a runtime of its own, so that a task that blocks the service's threads
//! does not blind it. What it notes is what was to be seen every 20 ms: a task that ends in
//! between is in the latency report, and not here.

use super::tally::lock;
use crate::exit::ExpectedError;
use ripcord::{TaskInfo, inspect_overdue, overdue_tasks};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A task that goes on for so long after it was asked to stop overruns.
pub(super) const OVERDUE_AFTER: Duration = Duration::from_millis(50);

/// What was seen of one task that overran.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// As of the last look that brought something new.
    pub(super) task: TaskInfo,
    /// It was in the same poll at two looks.
    pub(super) blocks: bool,
    /// The scope that it belonged to aborted it.
    pub(super) was_aborted: bool,
    /// It was still there at the very end.
    pub(super) was_left: bool,
    /// How often it was asked in vain where it waits.
    asked: u32,
}

impl Sample {
    pub(super) fn new(task: TaskInfo) -> Self {
        Self {
            task,
            blocks: false,
            was_aborted: false,
            was_left: false,
            asked: 0,
        }
    }

    /// Takes over what a later look shows.
    pub(super) fn update(&mut self, task: TaskInfo) {
        let is_same_poll = task.polls == self.task.polls;
        self.blocks |= self.task.is_in_poll && task.is_in_poll && is_same_poll;
        let stack = task.stack.clone().or_else(|| self.task.stack.take());
        self.task = task;
        self.task.stack = stack;
    }

    /// Whether it is worth a question where the task waits.
    fn is_open(&self) -> bool {
        !self.task.is_blocking && self.task.stack.is_none() && self.asked < ASKED_MAX
    }
}

/// All that the watch has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) tasks: HashMap<u64, Sample>,
    /// How many more tasks there were than are kept.
    pub(super) dropped: u64,
}

impl Seen {
    /// Notes a task, if there is room; its sample.
    pub(super) fn note(&mut self, task: TaskInfo) -> Option<&mut Sample> {
        let id = task.id;
        if let Some(sample) = self.tasks.get_mut(&id) {
            sample.update(task);
        } else if self.tasks.len() < TASKS_MAX {
            self.tasks.insert(id, Sample::new(task));
        } else {
            self.dropped += 1;
        }
        self.tasks.get_mut(&id)
    }
}

#[derive(Debug)]
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    overdue_now: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    /// Starts to watch.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start() -> Result<Self, ExpectedError> {
        let failed = |error: std::io::Error| ExpectedError::demo("start the watch", error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(failed)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let overdue_now = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let watch = (Arc::clone(&seen), Arc::clone(&overdue_now));
        let thread = thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || watch_until(&runtime, &watch.0, &watch.1, stopped))
            .map_err(failed)?;
        Ok(Self {
            seen,
            overdue_now,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// How many tasks overrun at the moment.
    pub(super) fn overdue_now(&self) -> usize {
        // Relaxed: a number to be shown (counter).
        self.overdue_now.load(Ordering::Relaxed)
    }

    /// Ends the watch; what it has seen.
    pub(super) fn stop(mut self) -> Seen {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A watch that panicked has said so; what it noted before is good.
            let _ = thread.join();
        }
        std::mem::take(&mut *lock(&self.seen))
    }
}

fn watch_until(
    runtime: &Runtime,
    seen: &Mutex<Seen>,
    overdue_now: &AtomicUsize,
    mut stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        while tokio::time::timeout(EVERY, &mut stopped).await.is_err() {
            let count = look(seen).await;
            // Relaxed: a number to be shown (counter).
            overdue_now.store(count, Ordering::Relaxed);
        }
    });
}

/// One look at all tasks; how many overrun. Those that are new are asked where they wait.
async fn look(seen: &Mutex<Seen>) -> usize {
    let tasks = overrunning(overdue_tasks());
    let count = tasks.len();
    let is_open = tasks.into_iter().fold(false, |is_open, task| {
        let mut seen = lock(seen);
        let sample = seen.note(task);
        is_open | sample.is_some_and(|sample| sample.is_open())
    });
    if is_open {
        for task in overrunning(inspect_overdue(PATIENCE).await) {
            if let Some(sample) = lock(seen).note(task) {
                sample.asked += 1;
            }
        }
    }
    count
}

fn overrunning(mut tasks: Vec<TaskInfo>) -> Vec<TaskInfo> {
    tasks.retain(|task| task.overdue.is_some_and(|time| time > OVERDUE_AFTER));
    tasks
}

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(20);

/// How long a look waits for tasks to say where they wait.
const PATIENCE: Duration = Duration::from_millis(30);

/// A task that does not say where it waits is asked so often.
const ASKED_MAX: u32 = 5;

/// So many tasks are kept; the rest is counted.
const TASKS_MAX: usize = 4096;
