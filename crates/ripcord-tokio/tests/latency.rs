//! The latency report: from "asked to stop" over "saw it" to "gone", to the microsecond
//! where the histogram is that fine (below 256 µs).

use ripcord_core::{Cancelled, Kind};
use ripcord_tokio::{CtxExt, LatencyRow, OVERFLOW, Scope, latency_report, reset_latency, scope};
use std::future::pending;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::task::yield_now;
use tokio::time::advance;

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// The report belongs to the process: one test at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let guard = ALONE.lock().await;
    reset_latency();
    guard
}

fn rows(name: &str) -> Vec<LatencyRow> {
    let report = latency_report();
    let rows = report.rows().iter().filter(|row| row.name == name);
    rows.cloned().collect()
}

/// The only row of that name.
#[track_caller]
fn row(name: &str) -> LatencyRow {
    let mut rows = rows(name);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

//= C122
#[tokio::test(start_paused = true)]
async fn asked_saw_and_gone_are_stamped() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let (look, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (may_look, may_leave) = (Arc::clone(&look), Arc::clone(&leave));
    let site = Location::caller();
    let task = root.spawn("stamped", |ctx| async move {
        may_look.notified().await;
        let seen = ctx.check();
        may_leave.notified().await;
        // A second look changes nothing.
        assert!(ctx.is_done());
        seen
    });
    yield_now().await;
    guard.cancel(Kind::PeerGone);
    advance(micros(100)).await;
    look.notify_one();
    yield_now().await;
    advance(micros(50)).await;
    leave.notify_one();
    assert_eq!(
        task.await.unwrap().map_err(|error| error.kind()),
        Err(Kind::PeerGone)
    );

    let row = row("stamped");
    assert_eq!(
        (row.saw.count, row.saw.p50, row.saw.p99, row.saw.max),
        (1, micros(100), micros(100), micros(100))
    );
    assert_eq!((row.gone.count, row.gone.max), (1, micros(150)));
    assert_eq!((row.unseen, row.undated), (0, 0));
    assert_eq!(row.causes, [(Kind::PeerGone, 1)]);
    let spawned = row.site.unwrap();
    assert_eq!(
        (spawned.file(), spawned.line()),
        (site.file(), site.line() + 1)
    );
}

//= C122
#[tokio::test(start_paused = true)]
async fn for_a_deadline_the_clock_starts_at_the_deadline() {
    let _alone = alone().await;
    let (root, _guard) = ripcord_tokio::root().build();
    let request = root.with_timeout(micros(200));
    let task = request.spawn("expired", |ctx| async move { drop(ctx.done().await) });
    yield_now().await;
    // Noticed by the flag before any timer.
    advance(micros(250)).await;
    assert!(request.is_done());
    let info = task.info().unwrap();
    assert_eq!(info.overdue, Some(micros(50)));
    advance(micros(750)).await;
    task.await.unwrap();
    let row = row("expired");
    // To two significant digits.
    assert_eq!(row.gone.count, 1);
    assert!(
        (micros(790)..micros(810)).contains(&row.gone.max),
        "{:?}",
        row.gone
    );
    assert_eq!(row.causes, [(Kind::DeadlineExceeded, 1)]);
}

//= C122
#[tokio::test(start_paused = true)]
async fn an_observation_anywhere_below_counts() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let look = Arc::new(Notify::new());
    let may_look = Arc::clone(&look);
    let task = root.spawn("deep", |ctx| async move {
        let (deep, _guard) = ctx.named("query").child();
        may_look.notified().await;
        assert!(deep.with_timeout(micros(1)).is_done());
        pending::<()>().await;
    });
    yield_now().await;
    guard.cancel(Kind::Shutdown);
    advance(micros(10)).await;
    look.notify_one();
    yield_now().await;
    advance(micros(10)).await;
    task.abort();
    assert!(task.await.unwrap_err().is_aborted());
    let row = row("deep");
    assert_eq!((row.saw.max, row.gone.max), (micros(10), micros(20)));
}

//= C122
#[tokio::test(start_paused = true)]
async fn what_the_report_itself_reads_is_no_observation() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let task = root.spawn("unseen", |_| pending::<()>());
    yield_now().await;
    guard.cancel(Kind::Shutdown);
    advance(micros(7)).await;
    assert!(!task.info().unwrap().has_seen);
    let overdue = ripcord_tokio::inspect_overdue(micros(1)).await;
    let mine = overdue.iter().find(|task| task.name == "unseen").unwrap();
    assert!(!mine.has_seen && mine.overdue == Some(micros(7)));
    task.abort();
    assert!(task.await.is_err());
    let row = row("unseen");
    assert_eq!((row.unseen, row.saw.count, row.gone.max), (1, 0, micros(7)));
    assert_eq!(row.saw.max, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_without_an_instant_is_counted_and_not_timed() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let end = Arc::new(Notify::new());
    let may_end = Arc::clone(&end);
    let task = root.spawn("undated", |_| async move { may_end.notified().await });
    yield_now().await;
    drop(guard);
    advance(micros(9)).await;
    assert_eq!(task.info().unwrap().overdue, None);
    end.notify_one();
    task.await.unwrap();
    let row = row("undated");
    assert_eq!(
        (row.undated, row.gone.count, row.saw.count, row.unseen),
        (1, 0, 0, 0)
    );
    assert_eq!(row.causes, [(Kind::Dropped, 1)]);
}

#[tokio::test(start_paused = true)]
async fn who_ends_while_live_or_never_starts_is_not_counted() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    root.spawn("fine", |_| async {}).await.unwrap();
    let task = root.spawn("aborted", |_| pending::<()>());
    task.abort();
    assert!(task.await.is_err());
    guard.cancel(Kind::Shutdown);
    assert!(root.spawn("refused", |_| async {}).await.is_err());
    assert!(latency_report().rows().is_empty(), "{:?}", latency_report());
}

#[tokio::test(start_paused = true)]
async fn rows_are_by_name_and_site_the_slowest_first() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let spawn = |name: &'static str, at: u64| {
        root.spawn(name, move |ctx| async move {
            ctx.done().await;
            tokio::time::sleep(Duration::from_millis(at)).await;
        })
    };
    let tasks = [
        spawn("b", 1),
        spawn("a", 1),
        spawn("slow", 3),
        spawn("a", 2),
    ];
    let other = root.spawn("a", |ctx| async move { drop(ctx.done().await) });
    yield_now().await;
    guard.cancel(Kind::Shutdown);
    for task in tasks {
        task.await.unwrap();
    }
    other.await.unwrap();
    let report = latency_report();
    let names: Vec<_> = report
        .rows()
        .iter()
        .map(|row| (row.name.as_str(), row.gone.count))
        .collect();
    assert_eq!(names, [("slow", 1), ("a", 2), ("b", 1), ("a", 1)]);
    let both = &report.rows()[1];
    assert!(both.gone.p50 < both.gone.max && both.gone.p99 == both.gone.max);
    assert_eq!(both.saw.max, Duration::ZERO);
    reset_latency();
    assert!(latency_report().rows().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_kinds_of_the_causes_are_counted() {
    let _alone = alone().await;
    let (root, _guard) = ripcord_tokio::root().build();
    for kind in [
        Kind::PeerGone,
        Kind::Shutdown,
        Kind::PeerGone,
        Kind::Cancelled,
    ] {
        let task = root.spawn("kinds", |ctx| async move { drop(ctx.done().await) });
        task.cancel(kind);
        task.await.unwrap();
    }
    let row = row("kinds");
    assert_eq!(
        row.causes,
        [
            (Kind::PeerGone, 2),
            (Kind::Cancelled, 1),
            (Kind::Shutdown, 1)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn latencies_beyond_an_hour_count_as_one() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let task = root.spawn("ages", |_| pending::<()>());
    yield_now().await;
    guard.cancel(Kind::Shutdown);
    advance(Duration::from_secs(100 * 24 * 3600)).await;
    task.abort();
    assert!(task.await.is_err());
    let max = row("ages").gone.max;
    assert!(
        (Duration::from_secs(3_570)..Duration::from_secs(3_640)).contains(&max),
        "{max:?}"
    );
}

#[tokio::test]
async fn tasks_of_scopes_and_blocking_tasks_are_counted() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let ended = scope(&root, async |s: Scope<Cancelled>| {
        let _task = s.spawn("in scope", |ctx| async move {
            ctx.done().await;
            Ok(())
        })?;
        let _task = s.spawn_blocking("blocking", |ctx| {
            let _ = ctx.wait();
            Ok(())
        })?;
        let _deaf = s.spawn("aborted", |_| pending::<Result<(), _>>())?;
        yield_now().await;
        guard.cancel(Kind::PeerGone);
        Ok(())
    });
    assert_eq!(
        ended
            .grace(Duration::from_millis(5))
            .await
            .unwrap_err()
            .stragglers()
            .len(),
        1
    );
    assert_eq!(
        (row("in scope").saw.count, row("in scope").gone.count),
        (1, 1)
    );
    assert_eq!(
        (row("blocking").saw.count, row("blocking").gone.count),
        (1, 1)
    );
    assert_eq!((row("aborted").unseen, row("aborted").gone.count), (1, 1));
}

#[tokio::test]
async fn names_beyond_the_limit_share_a_row() {
    let _alone = alone().await;
    let (root, guard) = ripcord_tokio::root().build();
    let mut tasks: Vec<_> = (0..600)
        .map(|at| {
            root.spawn(
                format!("name {at}"),
                |ctx| async move { drop(ctx.done().await) },
            )
        })
        .collect();
    guard.cancel(Kind::Shutdown);
    for task in &mut tasks {
        task.await.unwrap();
    }
    let other = row(OVERFLOW);
    assert_eq!((other.site, other.gone.count), (None, 600 - 512));
    assert_eq!(latency_report().rows().len(), 513);

    // Those that have a row of their own keep it.
    let (root, guard) = ripcord_tokio::root().build();
    for name in ["name 0", "name 599"] {
        tasks.push(root.spawn(name, |ctx| async move { drop(ctx.done().await) }));
    }
    guard.cancel(Kind::Shutdown);
    for task in tasks.drain(600..) {
        task.await.unwrap();
    }
    assert_eq!(
        row(OVERFLOW).gone.count,
        600 - 512 + 2,
        "another site is another row"
    );
    assert_eq!(row("name 0").gone.count, 1);
}

//= C122
#[tokio::test(start_paused = true)]
async fn who_fails_a_scope_is_not_counted_as_stopped_by_it() {
    let _alone = alone().await;
    let (root, _guard) = ripcord_tokio::root().build();
    let ended = scope(&root, async |s: Scope<Cancelled>| {
        let _waits = s.spawn("waits", |ctx| async move { ctx.run(pending::<()>()).await })?;
        let _late = s.spawn("fails late", |ctx| async move {
            Err::<(), _>(Cancelled::new(ctx.done().await))
        })?;
        let _blocks = s.spawn_blocking("fails", |_| Err::<(), _>(Cancelled::new("a")))?;
        Ok(())
    })
    .await;
    assert!(ended.is_err());
    assert_eq!(rows("fails").len(), 0);
    for name in ["waits", "fails late"] {
        assert_eq!(row(name).causes, [(Kind::SiblingFailed, 1)], "{name}");
    }
    reset_latency();
    let ended = scope(&root, async |s: Scope<Cancelled>| {
        let _waits = s.spawn("waits", |ctx| async move { ctx.run(pending::<()>()).await })?;
        let _fails = s.spawn("fails", |_| async { Err::<(), _>(Cancelled::new("b")) })?;
        Ok(())
    })
    .await;
    assert!(ended.is_err());
    assert_eq!(rows("fails").len(), 0);
    assert_eq!(row("waits").causes, [(Kind::SiblingFailed, 1)]);
}
