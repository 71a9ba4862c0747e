//! Blocking calls of threads on real sockets and pipes.
#![cfg(unix)]

use ripcord_core::{CancelGuard, Cancelled, Ctx, Kind, dump};
use ripcord_test::TestClock;
use ripcord_tokio::{BlockingIo, READY_MAX};
use rustix::fs::{OFlags, fcntl_getfl};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn kind(error: &io::Error) -> Option<Kind> {
    let inner = error.get_ref()?.downcast_ref::<Cancelled>()?;
    Some(inner.kind())
}

fn is_blocking(fd: impl AsFd) -> bool {
    let flags = fcntl_getfl(fd).expect("an open descriptor");
    !flags.contains(OFlags::NONBLOCK)
}

fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    Ok((one, listener.accept()?.0))
}

/// Runs `blocked`, and `then` on another thread once `blocked` waits.
///
/// A call that waits makes the descriptor of the context, and with it a hook.
fn when_blocked<R>(tree: &str, then: impl FnOnce() + Send, blocked: impl FnOnce() -> R) -> R {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // A call that returns without a wait fails the test, and does not hang it.
            while hooks(tree) == 0 && !is_over.load(Ordering::Acquire) {
                thread::yield_now();
            }
            then();
        });
        let result = blocked();
        is_over.store(true, Ordering::Release);
        result
    })
}

fn cancel_when_blocked<R>(tree: &str, guard: &CancelGuard, blocked: impl FnOnce() -> R) -> R {
    let cancel = || {
        guard.cancel(Kind::PeerGone);
    };
    when_blocked(tree, cancel, blocked)
}

/// How many hooks there are in the tracked tree of that name.
fn hooks(tree: &str) -> usize {
    let dump = dump();
    let rows = dump.rows().iter();
    rows.filter(|row| row.name.as_deref() == Some(tree))
        .map(|row| row.hooks)
        .sum()
}

//= C103
#[test]
fn what_is_ready_comes_before_the_error_and_the_error_stays() -> io::Result<()> {
    let (ctx, guard) = Ctx::background().child();
    let (mut peer, socket) = UnixStream::pair()?;
    let mut socket = BlockingIo::new(socket, &ctx)?;
    peer.write_all(b"ready")?;
    guard.cancel(Kind::PeerGone);

    let mut buf = [0; 5];
    socket.read_exact(&mut buf)?;
    assert_eq!(&buf, b"ready");
    let error = socket.read(&mut buf).unwrap_err();
    assert_eq!(
        (kind(&error), error.kind()),
        (Some(Kind::PeerGone), ErrorKind::Other)
    );
    // Sticky: not even what has come meanwhile, and nothing goes out.
    peer.write_all(b"late")?;
    assert!(socket.read(&mut buf).is_err());
    assert!(socket.write(&buf).is_err());
    assert!(socket.flush().is_err());
    // And no byte is lost.
    let mut socket = socket.into_inner();
    assert_eq!(socket.read(&mut buf)?, 4);
    assert_eq!(&buf[..4], b"late");
    Ok(())
}

//= C104
#[test]
fn a_cancel_unblocks_a_thread_in_a_read() -> io::Result<()> {
    let tree = "blocking: read";
    let (ctx, guard) = Ctx::root().name(tree).tracked().build();
    let (_peer, socket) = tcp_pair()?;
    let mut socket = BlockingIo::new(socket, &ctx)?;
    let read = || socket.read(&mut [0; 8]);
    let error = cancel_when_blocked(tree, &guard, read).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::PeerGone));
    Ok(())
}

//= C104
#[test]
fn a_cancel_unblocks_a_thread_in_a_write_and_keeps_what_was_written() -> io::Result<()> {
    let tree = "blocking: write";
    let (ctx, guard) = Ctx::root().name(tree).tracked().build();
    let (mut peer, socket) = UnixStream::pair()?;
    let mut socket = BlockingIo::new(socket, &ctx)?;
    let chunk = [1; 4096];
    let mut written = 0;
    let error = cancel_when_blocked(tree, &guard, || {
        loop {
            let slices = [IoSlice::new(&chunk[..1000]), IoSlice::new(&chunk[1000..])];
            match socket.write_vectored(&slices) {
                Ok(bytes) => written += bytes,
                Err(error) => return error,
            }
        }
    });
    assert_eq!(kind(&error), Some(Kind::PeerGone));
    drop(socket);
    let mut received = Vec::new();
    peer.read_to_end(&mut received)?;
    assert_eq!(received.len(), written);
    Ok(())
}

//= C104
#[test]
fn a_cancel_unblocks_a_thread_in_a_read_of_a_pipe() -> io::Result<()> {
    let tree = "blocking: pipe";
    let (ctx, guard) = Ctx::root().name(tree).tracked().build();
    let (read, mut write) = io::pipe()?;
    let mut read = BlockingIo::new(read, &ctx)?;
    write.write_all(b"ab")?;
    let mut text = String::new();
    let all = || read.read_to_string(&mut text);
    let error = cancel_when_blocked(tree, &guard, all).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::PeerGone));
    assert_eq!(text, "ab");
    Ok(())
}

//= C104
#[test]
fn a_cancel_unblocks_a_thread_in_accept() -> io::Result<()> {
    let tree = "blocking: accept";
    let (ctx, guard) = Ctx::root().name(tree).tracked().build();
    let listener = BlockingIo::new(TcpListener::bind("127.0.0.1:0")?, &ctx)?;
    let address = listener.get_ref().local_addr()?;
    let one = TcpStream::connect(address)?;
    let (accepted, from) = listener.accept()?;
    assert_eq!(from, one.local_addr()?);
    assert!(is_blocking(&accepted));

    let error = cancel_when_blocked(tree, &guard, || listener.accept()).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::PeerGone));
    Ok(())
}

#[test]
fn a_listener_takes_nobody_in_after_the_end() -> io::Result<()> {
    let path = std::env::temp_dir().join(format!("ripcord-accept-{}", std::process::id()));
    let (ctx, guard) = Ctx::background().child();
    let listener = UnixListener::bind(&path)?;
    let connected = [UnixStream::connect(&path), UnixStream::connect(&path)];
    std::fs::remove_file(&path)?;
    let listener = BlockingIo::new(listener, &ctx)?;
    assert!(is_blocking(&listener.accept()?.0));
    guard.cancel("over");
    assert!(kind(&listener.accept().unwrap_err()).is_some());
    // The second one is still in the queue.
    listener.into_inner().accept()?;
    for socket in connected {
        socket?;
    }
    Ok(())
}

//= C25
#[test]
fn a_deadline_unblocks_with_a_time_out() -> io::Result<()> {
    // On the standard clock, by its timer or by the time-out of `poll`.
    let ctx = Ctx::background().with_timeout(Duration::from_millis(2));
    let (_peer, socket) = UnixStream::pair()?;
    let error = BlockingIo::new(socket, &ctx)?
        .read(&mut [0; 8])
        .unwrap_err();
    assert_eq!(
        (kind(&error), error.kind()),
        (Some(Kind::DeadlineExceeded), ErrorKind::TimedOut)
    );
    Ok(())
}

#[test]
fn a_deadline_on_a_clock_of_its_own_unblocks_when_that_clock_says_so() -> io::Result<()> {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ctx = root.with_timeout(3600 * SECOND);
    let (_peer, socket) = UnixStream::pair()?;
    let mut socket = BlockingIo::new(socket, &ctx)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            // Armed by the hook of the descriptor, so by the call that waits.
            while clock.armed() == 0 {
                thread::yield_now();
            }
            clock.advance(3600 * SECOND);
        });
        let error = socket.read(&mut [0; 8]).unwrap_err();
        assert_eq!(kind(&error), Some(Kind::DeadlineExceeded));
    });
    Ok(())
}

//= C104
#[test]
fn two_threads_on_the_two_directions_are_both_unblocked() -> io::Result<()> {
    let tree = "blocking: both";
    let (ctx, guard) = Ctx::root().name(tree).tracked().build();
    let (_peer, socket) = UnixStream::pair()?;
    let socket = BlockingIo::new(socket, &ctx)?;
    let errors = cancel_when_blocked(tree, &guard, || {
        thread::scope(|scope| {
            let read = scope.spawn(|| (&socket).read(&mut [0; 8]).map(drop));
            let write = scope.spawn(|| (&socket).write_all(&vec![0; 64 << 20]));
            [read.join(), write.join()].map(|result| result.unwrap().unwrap_err())
        })
    });
    for error in errors {
        assert_eq!(kind(&error), Some(Kind::PeerGone));
    }
    Ok(())
}

#[test]
fn the_descriptor_blocks_again_afterwards() -> io::Result<()> {
    let ctx = Ctx::background();
    let (one, other) = UnixStream::pair()?;
    let wrapped = BlockingIo::new(one, &ctx)?;
    assert!(!is_blocking(wrapped.get_ref()));
    assert!(is_blocking(wrapped.into_inner()));
    // By reference, and dropped.
    drop(BlockingIo::new(&other, &ctx)?);
    assert!(is_blocking(&other));
    other.set_nonblocking(true)?;
    drop(BlockingIo::new(&other, &ctx)?);
    assert!(!is_blocking(&other), "as it was");
    Ok(())
}

//= C105
#[test]
fn the_write_side_can_be_shut_down_after_the_cancel() -> io::Result<()> {
    let (ctx, guard) = Ctx::background().child();
    let (mut peer, socket) = UnixStream::pair()?;
    let mut socket = BlockingIo::new(socket, &ctx)?;
    socket.write_all(b"farewell")?;
    guard.cancel("over");
    socket.get_ref().shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    peer.read_to_end(&mut received)?;
    assert_eq!(received, b"farewell");
    Ok(())
}

//= C103
#[test]
fn a_file_that_is_always_ready_ends_after_a_bounded_number_of_bytes() -> io::Result<()> {
    let (ctx, guard) = Ctx::background().child();
    let mut zeros = BlockingIo::new(std::fs::File::open("/dev/zero")?, &ctx)?;
    let mut buf = vec![0; 1 << 20];
    for _ in 0..2 * READY_MAX / buf.len() {
        zeros.read_exact(&mut buf)?;
    }
    guard.cancel("over");
    for _ in 0..READY_MAX / buf.len() {
        zeros.read_exact(&mut buf)?;
    }
    assert!(kind(&zeros.read(&mut buf).unwrap_err()).is_some());
    Ok(())
}

//= C104
//= C134
#[test]
fn a_dropped_adapter_leaves_no_hook() -> io::Result<()> {
    let tree = "blocking: dropped";
    let (ctx, _guard) = Ctx::root().name(tree).tracked().build();
    let (mut peer, socket) = UnixStream::pair()?;
    let mut socket = BlockingIo::new(socket, &ctx)?;
    let answer = || peer.write_all(b"x").unwrap();
    assert_eq!(when_blocked(tree, answer, || socket.read(&mut [0; 8]))?, 1);
    assert_eq!(hooks(tree), 1, "kept for the next wait");
    drop(socket);
    assert_eq!(hooks(tree), 0);
    Ok(())
}
