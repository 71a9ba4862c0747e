//! An adapter by hand: tasks that are told of as a runtime's adapter would, on the clock of a test.

#![allow(
    dead_code,
    reason = "not every test that shares this file needs all of it"
)]

use ripcord_core::tasks::{Ended, Spawned, TaskEnd, TaskRef, Tasks, current_task};
use ripcord_core::{CancelGuard, Cause, Ctx, Root};
use ripcord_test::TestClock;
use ripcord_trace_format::{Reader, text};
use ripcord_tracer::{Builder, Recorder};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// A recorder, and what it is told through.
pub(crate) struct Told {
    pub(crate) clock: TestClock,
    pub(crate) recorder: Recorder,
    pub(crate) tasks: Tasks,
    names: RefCell<BTreeMap<u64, &'static str>>,
}

/// A task as an adapter keeps it.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    pub(crate) by: TaskRef,
    spawned: Spawned<'static>,
}

impl Told {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        Self::made(|builder| change(builder).build())
    }

    pub(crate) fn made(make: impl FnOnce(Builder) -> Recorder) -> Self {
        let clock = TestClock::new();
        let recorder = make(Recorder::builder().clock(Arc::new(clock.clone())));
        Self {
            clock,
            tasks: Tasks::new(recorder.tasks()),
            recorder,
            names: RefCell::default(),
        }
    }

    /// So many ticks go by.
    pub(crate) fn pass(&self, ticks: u64) {
        self.clock.advance(Duration::from_nanos(64 * ticks));
    }

    /// In what is dumped, the context is called this.
    pub(crate) fn call(&self, ctx: &Ctx, name: &'static str) {
        let id = ctx.recorded_id().expect("its tree is observed");
        self.names.borrow_mut().insert(id, name);
    }

    /// A root that is called by its name in what is dumped.
    pub(crate) fn root(&self, name: &'static str) -> (Ctx, CancelGuard) {
        let (root, guard) = self.tree().name(name).build();
        self.call(&root, name);
        (root, guard)
    }

    /// One that may be unknown to the recorder.
    pub(crate) fn root_unnamed(&self) -> (Ctx, CancelGuard) {
        self.tree().build()
    }

    fn tree(&self) -> Root {
        Ctx::root()
            .clock(Arc::new(self.clock.clone()))
            .timer(Arc::new(self.clock.clone()))
            .observer(self.recorder.observer())
    }

    /// A task of that number, under that context.
    #[track_caller]
    pub(crate) fn spawn(&self, number: u64, ctx: &Ctx, name: &'static str) -> Task {
        self.begin(number, ctx, name, false)
    }

    #[track_caller]
    pub(crate) fn begin(
        &self,
        number: u64,
        ctx: &Ctx,
        name: &'static str,
        is_blocking: bool,
    ) -> Task {
        let spawned = Spawned {
            task: number,
            parent: current_task(),
            context: ctx.recorded(),
            name,
            site: Location::caller(),
            size: 96,
            is_blocking,
        };
        Task {
            by: self.tasks.spawned(&spawned),
            spawned,
        }
    }

    pub(crate) fn end(&self, task: Task, end: TaskEnd, polls: u64) {
        self.end_by(task, end, polls, None);
    }

    /// The end of a task whose context was done by that cause.
    pub(crate) fn end_by(&self, task: Task, end: TaskEnd, polls: u64, cause: Option<&Cause>) {
        let Task { by, spawned } = task;
        let ended = Ended {
            spawned,
            end,
            polls,
            cause,
        };
        self.tasks.ended(by, &ended);
    }

    /// Everything that is remembered, as bytes.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let mut trace = Vec::new();
        let dumped = self.recorder.dump(&mut trace).expect("a vector takes all");
        assert_eq!(dumped.bytes, trace.len() as u64);
        trace
    }

    /// The events that are remembered, a line each, with names for contexts.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.block_lines("events")
    }

    /// The same of what the registry says is live.
    pub(crate) fn registry(&self) -> Vec<String> {
        self.block_lines("registry")
    }

    fn block_lines(&self, kind: &str) -> Vec<String> {
        self.lines_in(&self.dump(), kind)
    }

    /// The events of the blocks of one kind of any trace of it.
    pub(crate) fn lines_in(&self, trace: &[u8], kind: &str) -> Vec<String> {
        let twin = twin(trace);
        let mut is_in = false;
        let mut lines = Vec::new();
        for line in twin.lines() {
            if let Some(block) = line.strip_prefix("block ") {
                is_in = block.starts_with(&format!("{kind} "));
            } else if is_in {
                lines.push(self.named(line.trim_start()));
            }
        }
        lines
    }

    /// Ids of contexts depend on what else has run in the process.
    fn named(&self, line: &str) -> String {
        let names = self.names.borrow();
        let event = line.split(' ').nth(1).unwrap_or_default();
        let words = line.split(' ').map(|word| {
            let Some((key, value)) = word.split_once('=') else {
                return word.to_owned();
            };
            let is_context = key == "ctx"
                || event.starts_with("ctx_") && matches!(key, "id" | "parent")
                || line.contains("by=cancel") && key == "waker";
            let name = value.parse().ok().and_then(|id: u64| names.get(&id));
            match name.filter(|_| is_context) {
                Some(name) => format!("{key}={name}"),
                None => word.to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// A trace as text.
pub(crate) fn twin(trace: &[u8]) -> String {
    let mut twin = Vec::new();
    let mut reader = Reader::new(trace).expect("a trace");
    text::write(&mut reader, &mut twin).expect("a vector takes all");
    String::from_utf8(twin).expect("text")
}
