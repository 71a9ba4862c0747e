//! A context tree on smol: deadlines, `run`, merges, and sweeps.

use ripcord_core::{Ctx, FutureExt, Kind};
use ripcord_test::ManualTask;
use smol::channel::{bounded, unbounded};
use smol::future::{pending, yield_now};
use smol::{Executor, block_on};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(2);
const HOUR: Duration = Duration::from_secs(3600);

//= C34
//= C35
#[test]
fn a_deadline_ends_a_run_and_is_not_early() {
    let (server, _guard) = ripcord_smol::root().name("server").build();
    let request = server
        .with_timeout(HOUR)
        .named("request")
        .with_timeout(SOON);
    let error = block_on(pending::<()>().within(&request)).unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
    assert_eq!(error.cause().name(), Some("request"));
    let due = error.cause().due().unwrap();
    assert!(error.cause().at().unwrap() >= due && request.clock_now() >= due);
    assert!(!server.is_done());
}

//= C26
#[test]
fn a_deadline_that_has_passed_needs_no_timer() {
    let (server, _guard) = ripcord_smol::root().build();
    let late = server.with_deadline(server.clock_now());
    assert!(late.is_done());
    assert_eq!(block_on(server.run(async { 7 })), Ok(7));
    assert!(block_on(late.run(async {})).is_err());
}

//= C32
#[test]
fn many_tasks_share_a_deadline() {
    let executor = Arc::new(Executor::new());
    let (server, _guard) = ripcord_smol::root_on(&executor).build();
    let request = server.with_timeout(SOON);
    let tasks: Vec<_> = (0..1000)
        .map(|_| executor.spawn(request.run(pending::<()>())))
        .collect();
    block_on(executor.run(async {
        for task in tasks {
            assert!(task.await.unwrap_err().is_deadline());
        }
    }));
}

//= C45
//= C47
#[test]
fn a_large_cancel_is_swept_to_its_end_by_the_executor() {
    let executor = Arc::new(Executor::new());
    let (server, guard) = ripcord_smol::root_on(&executor).build();
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let (child, own) = server.child();
            own.disarm();
            executor.spawn(async move { child.done().await.kind() })
        })
        .collect();
    // Each registers its waiter.
    while executor.try_tick() {}
    let (tell, told) = unbounded();
    let _hook = server.on_done(move |_| assert!(tell.try_send(thread::current().id()).is_ok()));
    guard.cancel(Kind::Shutdown);
    assert!(told.is_empty(), "hooks come after the wakes");
    block_on(executor.run(async {
        for task in tasks {
            assert_eq!(task.await, Kind::Shutdown);
        }
        assert_eq!(told.recv().await, Ok(thread::current().id()));
    }));
}

//= C65
#[test]
fn a_merge_of_two_trees_ends_with_the_first() {
    block_on(async {
        let (server, _server_guard) = ripcord_smol::root().name("server").build();
        let (client, guard) = Ctx::background().named("client").child();
        let both = Ctx::merge([&server.with_timeout(HOUR), &client]);
        let (ready, is_ready) = bounded(1);
        let work = smol::spawn(async move {
            ready.send(()).await.ok();
            both.run(pending::<()>()).await
        });
        is_ready.recv().await.unwrap();
        yield_now().await;
        guard.cancel(Kind::PeerGone);
        let error = work.await.unwrap_err();
        assert_eq!(error.cause().name(), Some("client"));
        assert!(!server.is_done());
    });
}

//= C47
#[test]
fn what_a_dropped_executor_leaves_is_swept_by_the_core() {
    for dropped_before in [false, true] {
        let executor = Arc::new(Executor::new());
        let (server, guard) = ripcord_smol::root_on(&executor).build();
        let mut tasks: Vec<_> = (0..1000)
            .map(|_| {
                let (child, own) = server.child();
                own.disarm();
                ManualTask::new(child.done())
            })
            .collect();
        for task in &mut tasks {
            assert!(task.poll().is_pending());
        }
        // Hooks come after every wake.
        let (tell, told) = bounded(1);
        let _hook = server.on_done(move |_| assert!(tell.try_send(()).is_ok()));
        let executor = (!dropped_before).then_some(executor);
        guard.cancel("over");
        // Nobody runs it.
        assert!(dropped_before || told.is_empty());
        drop(executor);
        assert_eq!(told.recv_blocking(), Ok(()));
        for task in &tasks {
            assert_eq!(task.wakes(), 1);
        }
    }
}
