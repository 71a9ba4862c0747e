//! The descriptor of a context, as `poll` sees it.
#![cfg(unix)]

use ripcord_core::{Ctx, Kind, Root, dump};
use ripcord_test::TestClock;
use ripcord_tokio::{CtxFd, ctx_fd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn is_readable(fd: &CtxFd) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&now)) == Ok(1)
}

//= C106
#[test]
fn it_is_readable_from_the_end_of_the_context_on_and_not_before() -> io::Result<()> {
    let (root, guard) = Ctx::background().child();
    let (ctx, _own) = root.child();
    let before = ctx_fd(&ctx)?;
    assert!(!is_readable(&before));
    guard.cancel(Kind::PeerGone);
    assert!(is_readable(&before));
    let after = ctx_fd(&ctx)?;
    for fd in [&before, &after] {
        // Whoever reads from it takes nothing away.
        rustix::io::read(fd, &mut [0; 8])?;
        rustix::io::read(fd, &mut [0; 8])?;
        assert!(is_readable(fd));
    }
    Ok(())
}

//= C106
#[test]
fn it_is_readable_after_a_deadline() -> io::Result<()> {
    let clock = TestClock::new();
    let (root, _guard) = clock.ctx();
    let ctx = root.with_timeout(SECOND);
    let fd = ctx_fd(&ctx)?;
    clock.advance(SECOND.saturating_sub(Duration::from_nanos(1)));
    assert!(!is_readable(&fd));
    clock.advance(Duration::from_nanos(1));
    assert!(is_readable(&fd));
    Ok(())
}

#[test]
fn that_of_the_background_is_never_readable() -> io::Result<()> {
    assert!(!is_readable(&ctx_fd(&Ctx::background())?));
    Ok(())
}

//= C106
#[test]
fn a_thread_in_poll_is_woken_by_a_cancel() -> io::Result<()> {
    let (ctx, guard) = Ctx::background().child();
    let fd = ctx_fd(&ctx)?;
    std::thread::scope(|scope| {
        scope.spawn(|| guard.cancel("over"));
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        // Ends in every order of the two threads, by the cancel or as a failure.
        let minute = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        assert_eq!(poll(&mut fds, Some(&minute)), Ok(1));
        assert!(ctx.is_done());
    });
    Ok(())
}

/// How many hooks there are in the tracked tree of that name.
fn hooks(tree: &str) -> usize {
    let dump = dump();
    let rows = dump.rows().iter();
    rows.filter(|row| row.name.as_deref() == Some(tree))
        .map(|row| row.hooks)
        .sum()
}

fn tracked(tree: &'static str) -> Root {
    Ctx::root().name(tree).tracked()
}

#[test]
fn a_dropped_descriptor_is_closed_and_its_hook_taken_back() -> io::Result<()> {
    let tree = "eventfd: dropped";
    let (ctx, guard) = tracked(tree).build();
    let fd = ctx_fd(&ctx)?;
    assert_eq!(hooks(tree), 1);
    let number = fd.as_raw_fd();
    drop(fd);
    assert_eq!(hooks(tree), 0);
    // Whoever gets the number now is not written to.
    let (reader, writer) = io::pipe()?;
    let reused = [reader.as_raw_fd(), writer.as_raw_fd()].contains(&number);
    guard.cancel("over");
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let readable = poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&now))?;
    assert_eq!(readable, 0, "written to; reused: {reused}");
    Ok(())
}
