//! What a task observer is told of waits: their labels, who listens, what ends them, and where
//! they are.

#![allow(
    clippy::disallowed_types,
    reason = "plain locks: no model reaches these tests"
)]

mod task_log;

use ripcord_core::tasks::{PollEnd, StackText, TaskObserver, TaskRef, Wait};
use ripcord_core::{Cancelled, Ctx, Kind, Observer};
use ripcord_tokio::{CtxExt, IoExt, StreamExt, ask_stacks, live_tasks, run_with_cancel};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use task_log::{runtime, settle, told};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

const SECOND: Duration = Duration::from_secs(1);

/// One more task that waits by `wait`, and how its first poll is told to have ended.
async fn waits<Fut>(root: &Ctx, log: &task_log::Log, wait: impl FnOnce(Ctx) -> Fut, expect: &str)
where
    Fut: Future<Output: Send> + Send + 'static,
{
    let task = root.spawn("a", |ctx| {
        let wait = wait(ctx);
        async move { drop(wait.await) }
    });
    settle().await;
    let lines = log.of("a");
    let ends = ["pending", "listening", "lost"];
    let is_end = |line: &&String| ends.iter().any(|end| line.starts_with(end));
    assert_eq!(lines.iter().find(is_end).expect("it waits"), expect);
    task.abort();
    assert!(task.await.expect_err("aborted").is_aborted());
    log.take();
}

/// Never has anything, and keeps the waker.
#[derive(Default)]
struct Silent(Option<std::task::Waker>);

impl futures_core::Stream for Silent {
    type Item = u32;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        self.0 = Some(cx.waker().clone());
        Poll::Pending
    }
}

async fn first(stream: impl futures_core::Stream<Item = u32>) -> Option<u32> {
    let mut stream = std::pin::pin!(stream);
    poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

//= C141
//= C147
#[test]
fn waits_of_ripcord_have_labels_and_listen() {
    told(async |root, log| {
        let log = &*log;
        let sleep = |ctx: Ctx| async move { ripcord_tokio::sleep(&ctx, SECOND).await };
        waits(&root, log, sleep, "listening a sleep").await;
        let join = |ctx: Ctx| async move { ctx.spawn("b", |_| pending::<()>()).await };
        waits(&root, log, join, "pending a join").await;
        let read = |ctx: Ctx| async move {
            let (_peer, socket) = tokio::io::duplex(1);
            socket.with_ctx(&ctx).read_u8().await
        };
        waits(&root, log, read, "listening a read").await;
        let write = |ctx: Ctx| async move {
            let (_peer, socket) = tokio::io::duplex(1);
            socket.with_ctx(&ctx).write_all(b"long").await
        };
        waits(&root, log, write, "listening a write").await;
        let next = |ctx: Ctx| async move { first(Silent::default().until_done(&ctx)).await };
        waits(&root, log, next, "listening a next").await;
        let send = |ctx: Ctx| async move {
            let (tell, _hear) = mpsc::channel(1);
            tell.try_send(1).expect("there is a place");
            ripcord_tokio::send(&ctx, &tell, 2).await.is_ok()
        };
        waits(&root, log, send, "listening a send").await;
        let operation =
            |ctx: Ctx| async move { run_with_cancel(&ctx, pending::<()>(), |_| async {}).await };
        waits(&root, log, operation, "listening a operation").await;
        // What is not ripcord's has no label, and does not listen.
        let bell = Arc::new(Notify::new());
        let deaf = |_| async move { bell.notified().await };
        waits(&root, log, deaf, "pending a").await;
    });
}

//= C141
#[test]
fn a_connection_that_is_not_there_yet_is_waited_for() {
    let builder = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    let log = Arc::new(task_log::Log::default());
    builder().expect("a runtime").block_on(async {
        let observer: Arc<dyn Observer> = Arc::<task_log::Log>::clone(&log);
        let (root, _guard) = ripcord_tokio::root().observer(observer).build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let connect = |ctx: Ctx| async move { drop(ripcord_tokio::connect(&ctx, addr).await) };
        let task = root.spawn("a", connect);
        task.await.expect("it connects");
        assert_eq!(log.of("a")[2], "listening a connect");
    });
}

//= C147
#[test]
fn a_scope_listens_while_it_waits_for_its_tasks() {
    told(async |root, log| {
        let outer = root.spawn("outer", |ctx| async move {
            let scope = ripcord_tokio::scope(&ctx, async |s| {
                drop(s.spawn("inner", |_| pending::<Result<(), Cancelled>>())?);
                Ok::<_, Cancelled>(())
            });
            scope.grace(SECOND).await.is_err()
        });
        settle().await;
        let lines = log.take();
        assert!(
            lines.contains(&"listening outer join".to_owned()),
            "{lines:?}"
        );
        assert!(outer.cancel(Kind::Shutdown));
        settle().await;
        let lines = log.of("outer");
        assert_eq!(
            lines[..2],
            ["woken outer by end of context outer", "poll outer"]
        );
        // Its own context is over; that of the grace is what it listens to now.
        assert!(
            lines.contains(&"listening outer join".to_owned()),
            "{lines:?}"
        );
        assert!(outer.await.expect("it comes back"));
    });
}

//= C139
#[test]
fn the_end_of_its_context_wakes_who_listens_and_nobody_else() {
    told(async |root, log| {
        let (request, guard) = root.named("request").child();
        let hears = request.spawn("hears", |ctx| async move { ctx.done().await.kind() });
        let bell = Arc::new(Notify::new());
        let wait = Arc::clone(&bell);
        let deaf = request.spawn("deaf", |_| async move { wait.notified().await });
        let stops = guard.handle();
        settle().await;
        log.take();
        let other = root.spawn("other", |_| async move { stops.cancel(Kind::PeerGone) });
        assert!(other.await.expect("it ran"));
        assert_eq!(hears.await.expect("it ended"), Kind::PeerGone);
        std::thread::spawn(move || bell.notify_one())
            .join()
            .expect("no panic");
        deaf.await.expect("it ended");
        let lines = log.take();
        let wakes: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with("woken"))
            .collect();
        assert_eq!(
            wakes,
            [
                "woken hears by end of context request",
                "woken deaf by foreign"
            ]
        );
        // A deadline ends a context as anybody does; the timer's thread only helps.
        let late = root.named("late").with_timeout(SECOND);
        let a = late.spawn("a", |ctx| async move { ctx.run(pending::<()>()).await });
        assert!(a.await.expect("it ended").is_err());
        assert_eq!(
            log.of("a"),
            [
                "spawn a from -",
                "poll a",
                "listening a",
                "woken a by end of context late",
                "poll a",
                "look a deadline exceeded",
                "ready a",
                "ended a ready 2",
            ]
        );
    });
}

/// Keeps the stacks that it is told of.
#[derive(Default)]
struct Stacks(Mutex<Vec<(TaskRef, Arc<dyn StackText>)>>);

impl TaskObserver for Stacks {
    fn stack_taken(&self, task: TaskRef, stack: &Arc<dyn StackText>) {
        let mut stacks = self.0.lock().expect("no test poisons it");
        stacks.push((task, Arc::clone(stack)));
    }
}

impl Observer for Stacks {
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

//= C148
#[test]
fn a_stack_that_was_asked_for_is_told_in_words() {
    async fn waits_for_the_bell(bell: Arc<Notify>) {
        bell.notified().await;
    }
    task_log::runtime().block_on(async {
        let stacks = Arc::new(Stacks::default());
        let observer: Arc<dyn Observer> = Arc::<Stacks>::clone(&stacks);
        let (root, _guard) = ripcord_tokio::root().observer(observer).build();
        let bell = Arc::new(Notify::new());
        let waits = root.spawn("waits for the bell", |_| waits_for_the_bell(bell));
        let silent = root.spawn("silent", |_| pending::<()>());
        let job = root.spawn_blocking("job", |ctx| ctx.wait());
        settle().await;
        assert!(
            stacks.0.lock().expect("unpoisoned").is_empty(),
            "nobody asked"
        );
        // Other tests of the process have tasks, too, and count their wakes.
        let names = ["waits for the bell", "silent", "job"];
        let live = live_tasks().into_iter();
        let own = live.filter(|task| names.contains(&task.name.as_str()));
        let ids: Vec<u64> = own.map(|task| task.id).collect();
        assert_eq!(ids.len(), names.len());
        ask_stacks(&ids);
        ask_stacks(&[0, u64::MAX]);
        settle().await;
        let taken = std::mem::take(&mut *stacks.0.lock().expect("unpoisoned"));
        // The silent one keeps no waker, and nobody polls a job.
        let [(task, stack)] = &taken[..] else {
            panic!("{} stacks", taken.len());
        };
        assert_eq!(task.id, waits.info().expect("it lives").id);
        // Names are looked up later and elsewhere.
        let stack = Arc::clone(stack);
        let leaves = std::thread::spawn(move || stack.leaves())
            .join()
            .expect("no panic");
        let own = leaves[0]
            .iter()
            .find(|frame| frame.contains("waits_for_the_bell"));
        let own = own.expect("it is on the stack");
        let (function, place) = own.split_once(" at ").expect("it has a place");
        assert!(!function.contains(' '), "{own}");
        let mut numbers = place.rsplitn(3, ':');
        let [right, left] = [(); 2].map(|()| numbers.next().and_then(|n| n.parse::<u32>().ok()));
        assert!(
            right > Some(0) && left > Some(0),
            "a column and a line: {own}"
        );
        assert!(
            numbers
                .next()
                .is_some_and(|file| file.ends_with("task_waits.rs")),
            "{own}"
        );
        assert_eq!(leaves.len(), 1);
        waits.abort();
        silent.abort();
        job.cancel(Kind::Shutdown);
    });
}

/// Where the waits of one task were, by line of this file; the last one that was told.
#[derive(Default)]
struct Places(Mutex<Vec<(&'static str, u32)>>);

impl TaskObserver for Places {
    fn poll_ended(&self, _: TaskRef, _: PollEnd, wait: Wait) {
        let (Some(label), Some(site)) = (wait.label, wait.site) else {
            return;
        };
        if site.file() == file!() {
            let mut places = self.0.lock().expect("no test poisons it");
            places.push((label, site.line()));
        }
    }
}

impl Observer for Places {
    fn tasks(self: Arc<Self>) -> Option<Arc<dyn TaskObserver>> {
        Some(self)
    }
}

//= C141
#[test]
fn the_leaves_of_this_crate_wait_where_they_are_awaited() {
    let places = Arc::new(Places::default());
    let (root, _guard) = Ctx::root().observer(Arc::<Places>::clone(&places)).build();
    let first = line!() + 2;
    let waits = async move |ctx: Ctx| {
        drop(ripcord_tokio::sleep(&ctx, SECOND).await);
        let task = ctx.spawn("a", |_| tokio::task::yield_now());
        drop(task.await);
        let scope = ripcord_tokio::scope(&ctx, async |scope| {
            drop(scope.spawn("b", async |_| {
                tokio::task::yield_now().await;
                Ok(())
            }));
            Ok::<(), ()>(())
        });
        drop(scope.await);
    };
    runtime().block_on(async {
        let task = root.spawn("waits", waits);
        assert!(task.await.is_ok());
    });
    let places = places.0.lock().expect("no test poisons it");
    assert_eq!(
        *places,
        [("sleep", first), ("join", first + 2), ("join", first + 10)]
    );
}
