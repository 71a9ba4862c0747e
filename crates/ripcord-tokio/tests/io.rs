//! The async adapters on real sockets, pipes and files, and on in-memory streams where
//! time counts.

use ripcord_core::{Cancelled, Ctx, Grace, Kind, dump};
use ripcord_test::{ManualTask, TestClock};
use ripcord_tokio::{IdleTimeout, IoExt, READY_MAX};
use std::error::Error;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, duplex, split,
};

const SECOND: Duration = Duration::from_secs(1);

/// The kind of the cancel that an error carries.
fn kind(error: &io::Error) -> Option<Kind> {
    let inner = error.get_ref()?.downcast_ref::<Cancelled>()?;
    Some(inner.kind())
}

fn is_idle<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    let error = result.expect_err("nothing moved");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let inner = error.get_ref();
    inner.is_some_and(<dyn Error + Send + Sync>::is::<IdleTimeout>)
}

/// Polls a task that was woken; the adapter may take one turn of the driver first.
async fn settle<F: Future>(task: &mut ManualTask<F>) -> F::Output {
    for _ in 0..3 {
        assert!(task.is_woken(), "{task:?} waits for nobody");
        if let Poll::Ready(output) = task.poll() {
            return output;
        }
        tokio::task::yield_now().await;
    }
    panic!("{task:?} is pending after the end of its context");
}

/// The same where there is no driver.
fn settled<F: Future>(task: &mut ManualTask<F>) -> F::Output {
    for _ in 0..3 {
        assert!(task.is_woken(), "{task:?} waits for nobody");
        if let Poll::Ready(output) = task.poll() {
            return output;
        }
    }
    panic!("{task:?} is pending after the end of its context");
}

fn now<F: Future>(future: F) -> F::Output {
    match ManualTask::new(future).poll() {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready at once"),
    }
}

/// How many waiters there are in the tracked tree of that name.
fn waiters(tree: &str) -> usize {
    let dump = dump();
    let rows = dump.rows().iter();
    rows.filter(|row| row.name.as_deref() == Some(tree))
        .map(|row| row.waiters)
        .sum()
}

#[cfg(unix)]
mod sockets {
    use super::*;
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    async fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        Ok((one?, other?.0))
    }

    //= C103
    //= C25
    #[tokio::test]
    async fn what_is_ready_comes_before_the_error_and_the_error_stays() -> io::Result<()> {
        let (ctx, guard) = Ctx::background().child();
        let (mut peer, socket) = UnixStream::pair()?;
        let mut socket = socket.with_ctx(&ctx);
        // In the kernel, and not yet known to the driver.
        peer.write_all(b"ready").await?;
        guard.cancel(Kind::PeerGone);

        // More calls than one task may make without a turn of the scheduler.
        peer.write_all(&[7; 300]).await?;
        let mut buf = [0; 5];
        socket.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"ready");
        for _ in 0..300 {
            assert_eq!(socket.read_u8().await?, 7);
        }
        for _ in 0..2 {
            let error = socket.read_u8().await.unwrap_err();
            assert_eq!(
                (kind(&error), error.kind()),
                (Some(Kind::PeerGone), ErrorKind::Other)
            );
        }
        // Sticky: not even what has come meanwhile.
        peer.write_all(b"late").await?;
        assert!(socket.read_u8().await.is_err());
        assert!(socket.write_u8(0).await.is_err());
        assert!(socket.flush().await.is_err());

        // And no byte is lost.
        let mut socket = socket.into_inner();
        let mut buf = [0; 4];
        socket.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"late");
        Ok(())
    }

    //= C104
    #[tokio::test]
    async fn a_cancel_wakes_a_blocked_read() -> io::Result<()> {
        let (ctx, guard) = Ctx::background().child();
        let (_peer, socket) = tcp_pair().await?;
        let mut socket = socket.with_ctx(&ctx);
        let mut read = ManualTask::new(socket.read_u8());
        assert!(read.poll().is_pending());

        guard.cancel(Kind::Shutdown);
        let error = settle(&mut read).await.unwrap_err();
        assert_eq!(kind(&error), Some(Kind::Shutdown));
        Ok(())
    }

    //= C104
    //= C103
    #[tokio::test]
    async fn a_cancel_wakes_a_blocked_write_and_keeps_what_was_written() -> io::Result<()> {
        let (ctx, guard) = Ctx::background().child();
        let (mut peer, socket) = UnixStream::pair()?;
        let mut socket = socket.with_ctx(&ctx);
        let chunk = [1; 4096];
        let mut written = 0;
        let error = loop {
            let slices = [IoSlice::new(&chunk[..1000]), IoSlice::new(&chunk[1000..])];
            let mut write = ManualTask::new(socket.write_vectored(&slices));
            match write.poll() {
                Poll::Ready(bytes) => written += bytes?,
                Poll::Pending => {
                    guard.cancel(Kind::PeerGone);
                    match settle(&mut write).await {
                        // The driver had not reported yet that there was a place.
                        Ok(bytes) => written += bytes,
                        Err(error) => break error,
                    }
                }
            }
        };
        assert_eq!(kind(&error), Some(Kind::PeerGone));
        drop(socket);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).await?;
        assert_eq!(received.len(), written);
        Ok(())
    }

    //= C105
    #[tokio::test]
    async fn the_write_side_can_be_shut_down_after_the_cancel() -> io::Result<()> {
        let (ctx, guard) = Ctx::background().child();
        let (mut peer, socket) = UnixStream::pair()?;
        let mut socket = BufWriter::new(socket).with_ctx(&ctx);
        socket.write_all(b"farewell").await?;
        guard.cancel("over");
        assert!(socket.read_u8().await.is_err());
        assert!(socket.write_u8(0).await.is_err());

        socket.shutdown().await?;
        let mut received = Vec::new();
        peer.read_to_end(&mut received).await?;
        assert_eq!(received, b"farewell");
        Ok(())
    }
}

#[cfg(unix)]
mod pipes {
    use super::*;
    use tokio::net::unix::pipe;

    //= C103
    //= C104
    #[tokio::test]
    async fn a_pipe_behaves_like_a_socket() -> io::Result<()> {
        let (ctx, guard) = Ctx::background().child();
        let (mut write, read) = pipe::pipe()?;
        let mut read = BufReader::new(read).with_ctx(&ctx);
        write.write_all(b"line\npart").await?;
        let mut line = String::new();
        read.read_line(&mut line).await?;
        assert_eq!(line, "line\n");

        let mut rest = String::new();
        let mut task = ManualTask::new(read.read_line(&mut rest));
        assert!(task.poll().is_pending());
        guard.cancel(Kind::PeerGone);
        let error = settle(&mut task).await.unwrap_err();
        drop(task);
        assert_eq!(kind(&error), Some(Kind::PeerGone));
        Ok(())
    }
}

mod files {
    use super::*;

    //= C103
    #[tokio::test]
    async fn no_byte_of_a_file_is_lost_to_a_cancel() -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("ripcord-io-{}", std::process::id()));
        let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        tokio::fs::write(&path, &content).await?;
        let file = tokio::fs::File::open(&path).await?;
        // Open files outlive their names.
        tokio::fs::remove_file(&path).await?;

        let (ctx, guard) = Ctx::background().child();
        let mut file = file.with_ctx(&ctx);
        let mut read = vec![0; 1000];
        file.read_exact(&mut read).await?;
        guard.cancel("over");
        // What the file has in its buffer is ready, the rest would have to wait.
        let mut buf = [0; 1000];
        let error = loop {
            match file.read(&mut buf).await {
                Ok(bytes) => read.extend_from_slice(&buf[..bytes]),
                Err(error) => break error,
            }
            assert!(read.len() <= content.len());
            if read.len() == content.len() {
                // The blocking pool was faster than this task each time.
                return Ok(());
            }
        };
        assert_eq!(kind(&error), Some(Kind::Cancelled));
        file.into_inner().read_to_end(&mut read).await?;
        assert!(read == content);
        Ok(())
    }
}

//= C103
#[test]
fn a_done_context_ends_the_first_call_that_would_wait() {
    let (ctx, guard) = Ctx::background().child();
    let (mut peer, socket) = duplex(64);
    now(peer.write_all(b"ab")).unwrap();
    guard.cancel(Kind::Signal);
    let mut socket = BufReader::new(socket).with_ctx(&ctx);
    assert_eq!(now(socket.fill_buf()).unwrap(), b"ab");
    socket.consume(2);
    let mut task = ManualTask::new(socket.fill_buf());
    assert!(task.poll().is_pending(), "the driver has its turn");
    assert_eq!(kind(&settled(&mut task).unwrap_err()), Some(Kind::Signal));
}

//= C25
#[test]
fn a_deadline_is_a_time_out() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ctx = root.with_timeout(SECOND);
    let (_peer, socket) = duplex(1);
    let mut socket = socket.with_ctx(&ctx);
    let mut read = ManualTask::new(socket.read_u8());
    assert!(read.poll().is_pending());
    clock.advance(SECOND);
    let error = settled(&mut read).unwrap_err();
    assert_eq!(
        (kind(&error), error.kind()),
        (Some(Kind::DeadlineExceeded), ErrorKind::TimedOut)
    );
}

//= C104
#[test]
fn two_tasks_on_the_two_directions_are_both_woken() {
    let (ctx, guard) = Ctx::background().child();
    let (_peer, socket) = duplex(1);
    let (mut read, mut write) = split(socket.with_ctx(&ctx));
    let mut read = ManualTask::new(read.read_u8());
    let mut write = ManualTask::new(async move { write.write_all(b"two").await });
    assert!(read.poll().is_pending());
    assert!(write.poll().is_pending());
    assert!(read.poll().is_pending(), "the last poll of one direction");

    guard.cancel(Kind::PeerGone);
    for error in [
        settled(&mut read).unwrap_err(),
        settled(&mut write).unwrap_err(),
    ] {
        assert_eq!(kind(&error), Some(Kind::PeerGone));
    }
}

//= C104
//= C134
#[test]
fn a_dropped_adapter_leaves_nothing_registered() {
    let tree = "io: dropped adapter";
    let (ctx, _guard) = Ctx::root().name(tree).tracked().build();
    let (peer, socket) = duplex(1);
    let mut socket = socket.with_ctx(&ctx).idle_timeout(SECOND);
    let mut read = ManualTask::new(socket.read_u8());
    assert!(read.poll().is_pending());
    let counter = read.counter().clone();
    assert_eq!(waiters(tree), 1);
    drop(read);
    // The peer has a waker of its own.
    drop((socket, peer));
    assert_eq!((waiters(tree), counter.live()), (0, 0));
    assert_eq!(
        dump()
            .rows()
            .iter()
            .filter(|row| row.name.as_deref() == Some(tree))
            .count(),
        1
    );
}

/// A writer whose shutdown never ends.
struct Stuck;

impl AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

//= C105
#[test]
fn a_shutdown_that_does_not_end_is_given_the_grace_and_no_more() {
    let clock = TestClock::new();
    // Begun before the end, the grace counts from the end; begun later, from then on.
    for begins_late in [false, true] {
        let (ctx, guard) = clock.ctx();
        let mut stuck = Stuck.with_ctx(&ctx).shutdown_grace(2 * SECOND);
        let mut shutdown = ManualTask::new(stuck.shutdown());
        if begins_late {
            guard.cancel(Kind::PeerGone);
            clock.advance(5 * SECOND);
            assert!(shutdown.poll().is_pending());
        } else {
            assert!(shutdown.poll().is_pending());
            clock.advance(5 * SECOND);
            guard.cancel(Kind::PeerGone);
        }
        clock.advance((2 * SECOND).saturating_sub(Duration::from_millis(1)));
        assert!(shutdown.poll().is_pending());
        clock.advance(Duration::from_millis(1));
        assert!(shutdown.is_woken());
        let Poll::Ready(Err(error)) = shutdown.poll() else {
            panic!("the grace is over");
        };
        assert_eq!(kind(&error), Some(Kind::PeerGone));
    }
}

//= C105
//= C83
#[test]
fn a_forced_context_gives_a_shutdown_no_grace() {
    let (ctx, guard) = Ctx::background().child();
    let mut stuck = Stuck.with_ctx(&ctx).shutdown_grace(Grace::UNBOUNDED);
    let mut shutdown = ManualTask::new(stuck.shutdown());
    guard.cancel("over");
    assert!(shutdown.poll().is_pending());
    guard.force("at once");
    assert!(shutdown.is_woken());
    assert!(shutdown.poll().is_ready());
}

#[test]
fn the_idle_time_counts_from_the_last_byte_in_either_direction() {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ctx = root.with_timeout(100 * SECOND);
    let (mut peer, socket) = duplex(64);
    let (mut read, mut write) = split(socket.with_ctx(&ctx).idle_timeout(3 * SECOND));
    // Work before and between calls is not idle.
    clock.advance(10 * SECOND);

    let mut first = ManualTask::new(read.read_u8());
    assert!(first.poll().is_pending());
    clock.advance(2 * SECOND);
    now(peer.write_u8(1)).unwrap();
    assert_eq!(settled(&mut first).unwrap(), 1);
    drop(first);
    clock.advance(10 * SECOND);

    let mut second = ManualTask::new(read.read_u8());
    assert!(second.poll().is_pending());
    clock.advance(2 * SECOND);
    now(write.write_u8(2)).unwrap();
    clock.advance(2 * SECOND);
    assert!(second.poll().is_pending(), "the other direction moved");
    clock.advance(SECOND);
    assert!(is_idle(settled(&mut second)));
    drop(second);
    assert!(!ctx.is_done());
    // Sticky, as the end of the context is.
    now(peer.write_u8(3)).unwrap();
    assert!(is_idle(now(read.read_u8())));
    assert!(is_idle(now(write.write_u8(4))));
}

#[test]
fn a_cancel_and_a_deadline_end_a_call_with_an_idle_time_as_well() {
    let clock = TestClock::new();
    let (ctx, guard) = clock.ctx();
    for (tight, expect) in [(true, Kind::DeadlineExceeded), (false, Kind::PeerGone)] {
        let ctx = if tight {
            ctx.with_timeout(SECOND)
        } else {
            ctx.clone()
        };
        let (_peer, socket) = duplex(1);
        let mut socket = socket.with_ctx(&ctx).idle_timeout(3 * SECOND);
        let mut read = ManualTask::new(socket.read_u8());
        assert!(read.poll().is_pending());
        if tight {
            clock.advance(SECOND);
        } else {
            guard.cancel(Kind::PeerGone);
        }
        assert_eq!(kind(&settled(&mut read).unwrap_err()), Some(expect));
    }
}

//= C110
#[test]
fn an_idle_time_beyond_the_clock_is_none() {
    let clock = TestClock::new();
    let (ctx, guard) = clock.ctx();
    let (_peer, socket) = duplex(1);
    let mut socket = socket.with_ctx(&ctx).idle_timeout(Duration::MAX);
    let mut read = ManualTask::new(socket.read_u8());
    assert!(read.poll().is_pending());
    assert_eq!(clock.armed(), 0);
    guard.cancel("over");
    assert!(kind(&settled(&mut read).unwrap_err()).is_some());
}

//= C103
#[test]
fn a_stream_that_is_always_ready_ends_after_a_bounded_number_of_bytes() {
    let (ctx, guard) = Ctx::background().child();
    let mut endless = tokio::io::repeat(1).with_ctx(&ctx);
    let mut sink = tokio::io::sink().with_ctx(&ctx);
    let mut buf = vec![0; 64 << 10];
    for _ in 0..2 * READY_MAX / buf.len() {
        now(endless.read_exact(&mut buf)).unwrap();
        now(sink.write_all(&buf)).unwrap();
    }
    guard.cancel("over");
    for _ in 0..READY_MAX / buf.len() {
        now(endless.read_exact(&mut buf)).unwrap();
        now(sink.write_all(&buf)).unwrap();
    }
    assert!(kind(&now(endless.read_u8()).unwrap_err()).is_some());
    assert!(kind(&now(sink.write_u8(0)).unwrap_err()).is_some());
}
