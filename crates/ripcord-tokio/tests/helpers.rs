//! Sending, sleeping and connecting under a context, and what `run` loses and keeps.

use ripcord_core::{Cancelled, Ctx, Kind};
use ripcord_test::{CancelPoints, ManualTask, TestClock};
use ripcord_tokio::{connect, send, sleep, sleep_until};
use std::error::Error;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Mutex, Semaphore, mpsc};

const SECOND: Duration = Duration::from_secs(1);

fn now<F: Future>(future: F) -> F::Output {
    match ManualTask::new(future).poll() {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready at once"),
    }
}

fn kind(error: &io::Error) -> Option<Kind> {
    let inner = error.get_ref()?.downcast_ref::<Cancelled>()?;
    Some(inner.kind())
}

#[test]
fn a_cancelled_send_gives_the_value_back_and_its_place_away() {
    let (ctx, guard) = Ctx::background().child();
    let (tx, mut rx) = mpsc::channel(1);
    now(send(&ctx, &tx, 1)).unwrap();
    let mut second = ManualTask::new(send(&ctx, &tx, 2));
    assert!(second.poll().is_pending());
    guard.cancel(Kind::PeerGone);
    let Poll::Ready(Err(error)) = second.poll() else {
        panic!("the context is done");
    };
    assert_eq!(error.value, 2);
    assert!(error.to_string().contains("before there was a place"));
    assert!(error.source().is_some_and(<dyn Error>::is::<Cancelled>));
    drop(second);
    // The first message is there, and the place behind it is free again.
    assert_eq!(rx.try_recv(), Ok(1));
    assert_eq!(tx.capacity(), 1);
    assert!(rx.try_recv().is_err());
}

#[test]
fn a_send_to_nobody_gives_the_value_back_without_a_cause() {
    let (tx, rx) = mpsc::channel(1);
    drop(rx);
    let error = now(send(&Ctx::background(), &tx, "value")).unwrap_err();
    assert_eq!((error.value, error.cancelled.is_none()), ("value", true));
    assert!(error.source().is_none());
}

#[test]
fn a_send_that_has_its_place_when_the_context_ends_is_made() {
    let (ctx, guard) = Ctx::background().child();
    let (tx, mut rx) = mpsc::channel(1);
    now(send(&ctx, &tx, 1)).unwrap();
    let mut second = ManualTask::new(send(&ctx, &tx, 2));
    assert!(second.poll().is_pending());
    assert_eq!(rx.try_recv(), Ok(1));
    guard.cancel(Kind::PeerGone);
    assert!(matches!(second.poll(), Poll::Ready(Ok(()))));
    assert_eq!(rx.try_recv(), Ok(2));
}

//= C134
#[test]
fn a_send_that_is_cut_anywhere_leaves_no_place_taken() {
    let clock = TestClock::new();
    let (tx, mut rx) = mpsc::channel(1);
    now(tx.send(0)).unwrap();
    let polls = CancelPoints::new()
        .clock(&clock)
        .on_idle(|| rx.try_recv().is_ok())
        .cancel_at_each(
            |ctx| {
                let tx = tx.clone();
                async move { send(&ctx, &tx, 1).await.map_err(|error| error.value) }
            },
            |_| {},
        );
    assert!(polls > 0);
    while rx.try_recv().is_ok() {}
    assert_eq!(tx.capacity(), 1);
}

/// The table in the module's documentation: nothing that was taken is dropped.
#[test]
fn run_alone_keeps_messages_locks_and_permits() {
    let (ctx, guard) = Ctx::background().child();
    let (tx, mut rx) = mpsc::channel(1);
    let (lock, semaphore) = (Mutex::new(0), Semaphore::new(1));
    let held = (now(lock.lock()), now(semaphore.acquire()).unwrap());
    {
        let mut waiting = [
            ManualTask::new(Box::pin(async { ctx.run(rx.recv()).await.map(drop) })
                as std::pin::Pin<Box<dyn Future<Output = Result<(), Cancelled>>>>),
            ManualTask::new(Box::pin(async { ctx.run(lock.lock()).await.map(drop) })),
            ManualTask::new(Box::pin(async {
                ctx.run(semaphore.acquire()).await.map(drop)
            })),
        ];
        for task in &mut waiting {
            assert!(task.poll().is_pending());
        }
        guard.cancel("over");
        for task in &mut waiting {
            assert!(matches!(task.poll(), Poll::Ready(Err(_))));
        }
    }
    // What comes now, comes to whoever asks next.
    now(tx.send(5)).unwrap();
    assert_eq!(now(rx.recv()), Some(5));
    drop(held);
    assert!(lock.try_lock().is_ok() && semaphore.try_acquire().is_ok());
}

//= C49
#[test]
fn a_message_and_a_cancel_at_once_lose_nothing() {
    let (ctx, guard) = Ctx::background().child();
    let (tx, mut rx) = mpsc::channel(1);
    let mut recv = ManualTask::new(ctx.run(rx.recv()));
    assert!(recv.poll().is_pending());
    now(tx.send(5)).unwrap();
    guard.cancel("over");
    assert_eq!(recv.poll(), Poll::Ready(Ok(Some(5))));
}

//= C34
#[test]
fn sleep_uses_the_clock_of_the_tree() {
    let clock = TestClock::new();
    let (ctx, _guard) = clock.ctx();
    for until in [false, true] {
        let mut nap = ManualTask::new(if until {
            sleep_until(&ctx, clock.now() + 3 * SECOND)
        } else {
            sleep(&ctx, 3 * SECOND)
        });
        assert!(nap.poll().is_pending());
        clock.advance((3 * SECOND).saturating_sub(Duration::from_nanos(1)));
        assert!(nap.poll().is_pending());
        clock.advance(Duration::from_nanos(1));
        assert!(nap.is_woken());
        assert_eq!(nap.poll(), Poll::Ready(Ok(())));
    }
}

#[test]
fn a_sleep_ends_with_its_context() {
    let clock = TestClock::new();
    let (root, guard) = clock.ctx();
    // The deadline first; both at once; the cancel first.
    for longer in [2 * SECOND, SECOND] {
        let ctx = root.with_timeout(SECOND);
        let mut nap = ManualTask::new(sleep(&ctx, longer));
        assert!(nap.poll().is_pending());
        clock.advance(SECOND);
        let Poll::Ready(Err(error)) = nap.poll() else {
            panic!("the context is done");
        };
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
    }
    let mut nap = ManualTask::new(sleep(&root, SECOND));
    assert!(nap.poll().is_pending());
    guard.cancel(Kind::Shutdown);
    assert!(nap.is_woken());
    let Poll::Ready(Err(error)) = nap.poll() else {
        panic!("the context is done");
    };
    assert_eq!(error.kind(), Kind::Shutdown);
    assert!(now(sleep(&root, Duration::ZERO)).is_err());
}

//= C111
//= C110
#[test]
fn a_sleep_of_zero_is_ready_and_one_without_end_waits_for_the_context() {
    let clock = TestClock::new();
    let (ctx, guard) = clock.ctx();
    assert_eq!(now(sleep(&ctx, Duration::ZERO)), Ok(()));
    assert_eq!(now(sleep_until(&ctx, clock.now())), Ok(()));
    let mut nap = ManualTask::new(sleep(&ctx, Duration::MAX));
    assert!(nap.poll().is_pending());
    assert_eq!(clock.armed(), 0);
    guard.cancel("over");
    assert!(matches!(nap.poll(), Poll::Ready(Err(_))));
}

//= C134
#[test]
fn a_dropped_sleep_leaves_no_timer() {
    let clock = TestClock::new();
    let (ctx, _guard) = clock.ctx();
    let mut nap = ManualTask::new(sleep(&ctx, SECOND));
    assert!(nap.poll().is_pending());
    assert_eq!(clock.armed(), 1);
    drop(nap);
    assert_eq!(clock.armed(), 0);
}

#[tokio::test]
async fn a_connect_under_a_done_context_connects_nowhere() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (ctx, guard) = Ctx::background().child();
    let socket = connect(&ctx, listener.local_addr()?).await?;
    assert_eq!(listener.accept().await?.1, socket.local_addr()?);

    guard.cancel(Kind::PeerGone);
    let error = connect(&ctx, listener.local_addr()?).await.unwrap_err();
    assert_eq!(
        (kind(&error), error.kind()),
        (Some(Kind::PeerGone), ErrorKind::Other)
    );
    tokio::task::yield_now().await;
    let mut accept = ManualTask::new(listener.accept());
    assert!(accept.poll().is_pending());
    Ok(())
}

/// The listener's queue is full, so its system answers no further connection.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connect_that_hangs_ends_with_its_context() -> io::Result<()> {
    let listener = TcpSocket::new_v4()?;
    listener.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = listener.listen(0)?;
    let address = listener.local_addr()?;
    let _queued = tokio::net::TcpStream::connect(address).await?;

    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ctx = root.with_timeout(SECOND);
    let mut hangs = ManualTask::new(connect(&ctx, address));
    assert!(hangs.poll().is_pending());
    clock.advance(SECOND);
    let Poll::Ready(Err(error)) = hangs.poll() else {
        panic!("the context is done");
    };
    assert_eq!(
        (kind(&error), error.kind()),
        (Some(Kind::DeadlineExceeded), ErrorKind::TimedOut)
    );
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_connects_and_reports_its_own_errors() -> io::Result<()> {
    use ripcord_tokio::connect_unix;
    let path = std::env::temp_dir().join(format!("ripcord-connect-{}", std::process::id()));
    let ctx = Ctx::background();
    let error = connect_unix(&ctx, &path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let listener = tokio::net::UnixListener::bind(&path)?;
    let connected = connect_unix(&ctx, &path).await;
    std::fs::remove_file(&path)?;
    connected?;
    drop(listener);
    Ok(())
}
