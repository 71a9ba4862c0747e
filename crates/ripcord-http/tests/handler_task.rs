//! A handler is told of as a task: by exact sequences, from its call to its end.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::Request;
use ripcord_core::tasks::{
    ContextRef, Ended, PollEnd, Spawned, StackText, TaskObserver, TaskRef, Wait, WokenBy,
};
use ripcord_core::{CancelGuard, Detail, Entry, Info, Kind, Observer};
use ripcord_http::HttpLayer;
use ripcord_propagation::Propagation;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use tower::ServiceExt as _;

/// A line for each event; names of contexts and tasks instead of numbers, but for stacks.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    names: Mutex<Vec<(u64, String)>>,
    tasks: Mutex<Vec<u64>>,
    declines: bool,
    counts: bool,
}

impl Log {
    fn note(&self, line: String) {
        self.lines.lock().expect("no test poisons it").push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("no test poisons it"))
    }

    fn name(&self, context: Option<u64>) -> String {
        let names = self.names.lock().expect("no test poisons it");
        let known = names.iter().find(|(id, _)| Some(*id) == context);
        known.map_or("-".to_owned(), |(_, name)| name.clone())
    }

    /// The number of the task that was told of last.
    fn task(&self) -> u64 {
        let tasks = self.tasks.lock().expect("no test poisons it");
        *tasks.last().expect("a task was told of")
    }
}

impl Observer for Log {
    fn wants(&self, _: &Entry<'_>) -> bool {
        !self.declines
    }

    fn announced(&self) -> Detail {
        if self.counts {
            Detail::Count
        } else {
            Detail::Each
        }
    }

    fn created(&self, context: &Info<'_>) {
        let name = context.own_name.unwrap_or("-").to_owned();
        let mut names = self.names.lock().expect("no test poisons it");
        names.push((context.id, name));
    }

    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

impl TaskObserver for Log {
    fn spawned(&self, task: &Spawned<'_>) -> u64 {
        self.tasks
            .lock()
            .expect("no test poisons it")
            .push(task.task);
        let context = self.name(task.context.map(|context| context.id));
        assert!(task.size > 0, "the size of the handler");
        self.note(format!("spawn {} under {context}", task.name));
        1
    }

    fn poll_started(&self, _: TaskRef, _: Option<u32>) {
        self.note("poll".to_owned());
    }

    fn poll_ended(&self, _: TaskRef, end: PollEnd, wait: Wait) {
        let listens = if wait.listens { " listening" } else { "" };
        self.note(format!("{end:?}{listens}"));
    }

    fn woken(&self, _: TaskRef, by: WokenBy) {
        let by = match by {
            WokenBy::Cancel(context) => format!("the end of {}", self.name(context)),
            by => format!("{by:?}"),
        };
        self.note(format!("woken by {by}"));
    }

    fn lost(&self, _: TaskRef) {
        self.note("lost".to_owned());
    }

    fn context_changed(&self, _: TaskRef, context: Option<ContextRef>) {
        let context = self.name(context.map(|context| context.id));
        self.note(format!("in {context}"));
    }

    fn stack_taken(&self, task: TaskRef, stack: &Arc<dyn StackText>) {
        assert_eq!(task.id, self.task());
        let leaves = stack.leaves();
        let mut lines = leaves.iter().flatten();
        let own = lines.find(|line| line.contains("handler_task.rs"));
        self.note(format!("stack with {}", own.is_some()));
    }

    fn ended(&self, _: TaskRef, ended: &Ended<'_>) {
        self.note(format!("ended {:?} after {}", ended.end, ended.polls));
    }
}

/// A request of a handler that waits until it is notified.
struct Call {
    log: Arc<Log>,
    go_on: Arc<Notify>,
    answer: Pin<Box<dyn Future<Output = Result<Response, Infallible>>>>,
    guard: CancelGuard,
}

impl Call {
    fn new() -> Self {
        Self::of(Log::default())
    }

    fn of(log: Log) -> Self {
        let log = Arc::new(log);
        let observer: Arc<dyn Observer> = Arc::<Log>::clone(&log);
        let (server, guard) = ripcord_tokio::root().observer(observer).build();
        let go_on = Arc::new(Notify::new());
        let waits = Arc::clone(&go_on);
        let handler = async move || {
            waits.notified().await;
            "done"
        };
        let app = Router::new()
            .route("/wait", get(handler))
            .layer(HttpLayer::new(&server, Propagation::default()));
        let request = Request::get("/wait").body(Body::empty());
        let answer = app.oneshot(request.expect("a request"));
        Self {
            log,
            go_on,
            answer: Box::pin(answer),
            guard,
        }
    }

    /// One poll of the connection; the status of the answer.
    fn poll(&mut self) -> Option<u16> {
        let cx = &mut Context::from_waker(Waker::noop());
        match self.answer.as_mut().poll(cx) {
            Poll::Pending => None,
            Poll::Ready(Ok(answer)) => Some(answer.status().as_u16()),
            Poll::Ready(Err(never)) => match never {},
        }
    }
}

//= C138
//= C139
#[tokio::test]
async fn a_handler_is_told_from_its_call_to_its_answer() {
    let mut call = Call::new();
    assert_eq!(call.poll(), None);
    call.go_on.notify_one();
    assert_eq!(call.poll(), Some(200));
    assert_eq!(
        call.log.take(),
        [
            "spawn handler under GET /wait",
            "poll",
            "Pending listening",
            "woken by Runtime(0)",
            "poll",
            "Ready",
            "ended Ready after 2",
        ]
    );
}

#[tokio::test]
async fn a_handler_whose_server_ends_is_woken_by_that_and_dropped() {
    let mut call = Call::new();
    assert_eq!(call.poll(), None);
    call.log.take();
    call.guard.handle().cancel(Kind::Shutdown);
    assert_eq!(call.poll(), Some(503));
    assert_eq!(
        call.log.take(),
        [
            "woken by the end of -",
            "poll",
            "Ready",
            "ended Ready after 2"
        ]
    );
}

#[tokio::test]
async fn a_handler_whose_client_leaves_was_dropped() {
    let mut call = Call::new();
    assert_eq!(call.poll(), None);
    let Call { log, answer, .. } = call;
    drop(answer);
    let lines = log.take();
    assert_eq!(
        lines.last().map(String::as_str),
        Some("ended Dropped after 1")
    );
    // Its wakers go with it, and that is no loss.
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[tokio::test]
async fn a_handler_is_asked_where_it_waits() {
    let mut call = Call::new();
    assert_eq!(call.poll(), None);
    call.log.take();
    ripcord_tokio::ask_stacks(&[call.log.task()]);
    assert_eq!(call.poll(), None);
    let lines = call.log.take();
    let expected = [
        "woken by Runtime(0)",
        "poll",
        "stack with true",
        "Pending listening",
    ];
    assert_eq!(lines, expected);
    // It is asked once: the next poll is one like any other. Nobody asked for that, but the connection.
    assert_eq!(call.poll(), None);
    let lines = call.log.take();
    assert_eq!(lines, ["woken by Runtime(0)", "poll", "Pending listening"]);
}

//= C154
//= C157
#[tokio::test]
async fn of_a_request_that_is_not_chosen_or_only_counted_nothing_is_told() {
    for (declines, counts) in [(true, false), (false, true)] {
        let mut call = Call::of(Log {
            declines,
            counts,
            ..Log::default()
        });
        assert_eq!(call.poll(), None);
        call.go_on.notify_one();
        assert_eq!(call.poll(), Some(200));
        assert!(call.log.take().is_empty(), "{declines} {counts}");
    }
}
