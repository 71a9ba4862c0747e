//! A task observer that writes one line for each event, with the names of tasks for their numbers.

#![allow(
    dead_code,
    clippy::disallowed_types,
    reason = "each test file uses a part of it; plain locks: no model reaches these tests"
)]

use ripcord_core::tasks::{
    ContextRef, Ended, Mark, PollEnd, Spawned, StackText, TaskObserver, TaskRef, ThreadKind, Wait,
    WokenBy, current_task,
};
use ripcord_core::{Cause, Ctx, Info, Kind, Observer};
use ripcord_tokio::{BuilderExt, ThreadHooks};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

#[derive(Default)]
pub(crate) struct Log {
    lines: Mutex<Vec<String>>,
    names: Mutex<HashMap<TaskRef, String>>,
    contexts: Mutex<HashMap<u64, String>>,
}

/// The key that a task of this number is given.
fn key(task: u64) -> u64 {
    task + 1000
}

impl Log {
    pub(crate) fn name(&self, task: TaskRef) -> String {
        assert_eq!(task.key, key(task.id), "the key comes back");
        let names = self.names.lock().expect("no test poisons it");
        names.get(&task).cloned().unwrap_or_else(|| "?".to_owned())
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("no test poisons it"))
    }

    pub(crate) fn note(&self, line: String) {
        self.lines.lock().expect("no test poisons it").push(line);
    }

    /// What was told since the last look.
    #[track_caller]
    pub(crate) fn expect(&self, lines: &[&str]) {
        assert_eq!(self.take(), lines);
    }

    /// The lines about one task.
    pub(crate) fn of(&self, task: &str) -> Vec<String> {
        let lines = self.take();
        let is_of = |line: &String| line.split(' ').nth(1) == Some(task);
        lines.into_iter().filter(is_of).collect()
    }
}

impl Observer for Log {
    fn created(&self, context: &Info<'_>) {
        let name = context.name.unwrap_or("-").to_owned();
        let mut contexts = self.contexts.lock().expect("no test poisons it");
        contexts.insert(context.id, name);
    }

    fn cancelled(&self, _: &Info<'_>, cause: &Cause) {
        // Each task that ends drops the guard of its context.
        let is_asked = cause.kind() != Kind::Dropped;
        if let Some(task) = current_task().filter(|_| is_asked) {
            self.note(format!("cancel {} {}", self.name(task), cause.kind()));
        }
    }

    fn observed(&self, _: &Info<'_>, cause: &Cause) {
        if let Some(task) = current_task() {
            self.note(format!("look {} {}", self.name(task), cause.kind()));
        }
    }

    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

impl TaskObserver for Log {
    fn spawned(&self, task: &Spawned<'_>) -> u64 {
        assert!(task.context.is_some() && task.site.file().contains(".rs"));
        let mut names = self.names.lock().expect("no test poisons it");
        let [id, key] = [task.task, key(task.task)];
        names.insert(TaskRef { id, key }, task.name.to_owned());
        drop(names);
        let parent = task.parent.map_or("-".to_owned(), |id| self.name(id));
        let what = if task.is_blocking { "queue" } else { "spawn" };
        self.note(format!("{what} {} from {parent}", task.name));
        key
    }

    fn poll_started(&self, task: TaskRef, _: Option<u32>) {
        assert_ne!(
            current_task(),
            Some(task),
            "told before it is the current one"
        );
        self.note(format!("poll {}", self.name(task)));
    }

    fn poll_ended(&self, task: TaskRef, end: PollEnd, wait: Wait) {
        assert_eq!(current_task(), Some(task));
        let waits_for = wait.label.map(|label| format!(" {label}"));
        let waits_for = waits_for.unwrap_or_default();
        let end = match end {
            PollEnd::Pending if wait.listens => "listening".to_owned(),
            end => word(&end),
        };
        self.note(format!("{end} {}{waits_for}", self.name(task)));
    }

    fn woken(&self, task: TaskRef, by: WokenBy) {
        let by = match by {
            WokenBy::Task(task) => format!("task {}", self.name(task)),
            WokenBy::Completion(task) => format!("end of {}", self.name(task)),
            WokenBy::Cancel(None) => "an end".to_owned(),
            WokenBy::Cancel(Some(context)) => {
                let contexts = self.contexts.lock().expect("no test poisons it");
                format!("end of context {}", contexts[&context])
            }
            WokenBy::Driver(_) => "driver".to_owned(),
            WokenBy::Runtime(_) => "runtime".to_owned(),
            by => word(&by),
        };
        self.note(format!("woken {} by {by}", self.name(task)));
    }

    fn lost(&self, task: TaskRef) {
        self.note(format!("forgotten {}", self.name(task)));
    }

    fn ended(&self, task: TaskRef, ended: &Ended<'_>) {
        let spawned = &ended.spawned;
        assert_eq!((spawned.task, spawned.name), (task.id, &*self.name(task)));
        assert!(spawned.context.is_some() && spawned.site.file().contains(".rs"));
        let (name, polls) = (spawned.name, ended.polls);
        self.note(format!("ended {name} {} {polls}", word(&ended.end)));
    }

    fn context_changed(&self, task: TaskRef, context: Option<ContextRef>) {
        let what = if context.is_some() { "one" } else { "none" };
        self.note(format!("context {} {what}", self.name(task)));
    }

    fn blocking_started(&self, task: TaskRef) {
        self.note(format!("run {}", self.name(task)));
    }

    fn stack_taken(&self, task: TaskRef, stack: &Arc<dyn StackText>) {
        assert_eq!(current_task(), Some(task));
        let leaves = stack.leaves().len();
        self.note(format!("stack {} {leaves}", self.name(task)));
    }

    fn thread_started(&self) {
        self.note("thread started".to_owned());
    }

    fn thread_stopped(&self, kind: ThreadKind) {
        self.note(format!("thread stopped {}", word(&kind)));
    }

    fn parked(&self, worker: Option<u32>) {
        self.note(format!("parked {worker:?}"));
    }

    fn unparked(&self, worker: Option<u32>) {
        self.note(format!("unparked {worker:?}"));
    }

    fn region_begun(&self, region: &Mark<'static>) {
        self.note(format!("begin {} {}", self.task_of(region), region.text));
    }

    fn region_ended(&self, region: u64) {
        assert_ne!(region, 0);
        self.note("end region".to_owned());
    }

    fn logged(&self, line: &Mark<'_>) {
        assert_eq!(line.id, 0);
        self.note(format!("log {} {}", self.task_of(line), line.text));
    }

    fn user_task_begun(&self, user_task: &Mark<'_>) {
        let task = self.task_of(user_task);
        self.note(format!("begin {task} {}", user_task.text));
    }

    fn user_task_ended(&self, user_task: u64) {
        assert_ne!(user_task, 0);
        self.note("end user task".to_owned());
    }
}

impl Log {
    fn task_of(&self, mark: &Mark<'_>) -> String {
        assert!(mark.context.is_some() && mark.site.file().contains(".rs"));
        mark.task.map_or("-".to_owned(), |task| self.name(task))
    }
}

fn word(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// One thread, a paused clock, hooks that tell nobody.
pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let builder = builder.enable_all().start_paused(true);
    builder
        .thread_hooks(&ThreadHooks::default())
        .build()
        .expect("a runtime")
}

/// Runs `test` with the root of an observed tree.
pub(crate) fn told<R>(test: impl AsyncFnOnce(Ctx, Arc<Log>) -> R) -> R {
    runtime().block_on(async {
        let log = Arc::new(Log::default());
        let root = ripcord_tokio::root().observer(Arc::<Log>::clone(&log));
        let (root, _guard) = root.name("root").build();
        test(root, log).await
    })
}

/// Lets everything run that can.
pub(crate) async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

/// Wakes itself and is pending, once.
pub(crate) async fn wakes_itself() {
    let mut is_first = true;
    poll_fn(|cx| {
        if std::mem::take(&mut is_first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}
