//! Signals that shut a context down: [`Signals`].
//!
//! The first signal starts a [`ShutdownPlan`], the second one forces at once. What a
//! third one does is up to the program, see [`Signals::exit_on_third`].
//!
//! # Limits
//! What a signal handler may do is done by tokio; here signals are read from its streams, in a
//! task. So a runtime whose workers are all blocked does not shut down by a signal, and
//! `SIGKILL` is still needed for it.
//!
//! # Cancel safety
//! The task that waits is aborted with its [`SignalWatch`]. Between two signals it holds
//! nothing: a shutdown plan that was started is the context's, not the task's.

use ripcord_core::{Canceller, Cause, Kind, ShutdownPlan};
use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use tokio::task::AbortHandle;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which signals shut a context down, and how; [`watch`](Signals::watch) starts it.
///
/// Watched are `SIGTERM` and `SIGINT`, on Windows Ctrl-C. The cause of the cancel has
/// [`Kind::Signal`] and the name of the signal as its message.
///
/// # Examples
/// ```no_run
/// use ripcord_core::{Ctx, ShutdownPlan};
/// use ripcord_tokio::Signals;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let (server, guard) = Ctx::background().named("server").child();
/// let plan = ShutdownPlan::new(Duration::from_secs(20), Duration::from_secs(5));
/// let _watch = Signals::new(plan).exit_on_third().watch(guard.handle())?;
///
/// server.draining().await; // Stop accepting; requests under way go on.
/// let cause = server.done().await;
/// eprintln!("stopping: {cause}"); // "stopping: stopped by a signal: SIGTERM (..)"
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is watched before `watch`"]
pub struct Signals {
    plan: ShutdownPlan,
    exits: bool,
    #[cfg(unix)]
    kinds: Vec<SignalKind>,
}

impl Signals {
    /// Takes the plan for the first signal. Its cause is replaced by one that names the
    /// signal.
    pub fn new(plan: ShutdownPlan) -> Self {
        Self {
            plan,
            exits: false,
            #[cfg(unix)]
            kinds: vec![SignalKind::terminate(), SignalKind::interrupt()],
        }
    }

    /// Watches another signal as well, such as `SIGHUP`.
    ///
    /// It counts like the others: whichever comes first starts the plan, and the second one, of
    /// whatever kind, forces. Named twice, it is watched once.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::ShutdownPlan;
    /// use ripcord_tokio::Signals;
    /// use std::time::Duration;
    /// use tokio::signal::unix::SignalKind;
    ///
    /// let plan = ShutdownPlan::new(Duration::ZERO, Duration::from_secs(5));
    /// // The terminal was closed: as good a reason to stop as Ctrl-C.
    /// let signals = Signals::new(plan).and(SignalKind::hangup()).and(SignalKind::hangup());
    /// ```
    #[cfg(unix)]
    pub fn and(mut self, kind: SignalKind) -> Self {
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
        self
    }

    /// Ends the process on the third signal, with status 128 plus its number (Ctrl-C on
    /// Windows: 130).
    ///
    /// Without this a third signal does nothing. Buffers are not flushed and
    /// destructors do not run: it is the way out for a user at a terminal.
    pub fn exit_on_third(mut self) -> Self {
        self.exits = true;
        self
    }

    /// Watches from now on, in a task of the current runtime.
    ///
    /// A signal that comes after this returned is not lost, even if the task was not
    /// polled yet. What happens to a context that is gone is nothing.
    ///
    /// # Errors
    /// Those of the system call that installs the handlers; signals that cannot be
    /// caught, such as `SIGKILL`.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without the I/O driver.
    ///
    /// # Limits
    /// tokio's handlers stay for the life of the process: after the watch is dropped a
    /// signal neither does anything here nor kills the process as it would by default.
    /// Two signals of the *same* number that come before the task was woken count as
    /// one, as they do in the kernel.
    pub fn watch(self, canceller: Canceller) -> io::Result<SignalWatch> {
        #[cfg(unix)]
        let streams = Streams::open(&self.kinds)?;
        #[cfg(not(unix))]
        let streams = Streams::open()?;
        let watch = watch(streams, canceller, self.plan, self.exits);
        let task = tokio::spawn(watch).abort_handle();
        Ok(SignalWatch { task: Some(task) })
    }
}

/// A running watch for signals; dropping it ends the watch. Made by [`Signals::watch`].
///
/// A shutdown that has begun goes on.
#[must_use = "dropping it ends the watch"]
pub struct SignalWatch {
    task: Option<AbortHandle>,
}

impl SignalWatch {
    /// Goes on watching until the runtime ends.
    ///
    /// For a `main` that has no good place to keep the watch. The task then holds a
    /// [`Canceller`], which keeps no context alive.
    pub fn detach(mut self) {
        self.task = None;
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for SignalWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalWatch").finish_non_exhaustive()
    }
}

/// A signal that came: its name, and the exit status of a process that it ends.
struct Arrived {
    name: Cow<'static, str>,
    status: i32,
}

impl Arrived {
    fn cause(self) -> Cause {
        Cause::new(Kind::Signal).with_message(self.name)
    }
}

async fn watch(mut streams: Streams, canceller: Canceller, plan: ShutdownPlan, exits: bool) {
    let first = streams.next().await;
    canceller.shutdown(plan.with_cause(first.cause()));
    let second = streams.next().await;
    canceller.force(second.cause());
    let third = streams.next().await;
    if exits {
        #[expect(clippy::exit, reason = "the program asked for it")]
        std::process::exit(third.status);
    }
}

#[cfg(unix)]
struct Streams(Vec<(SignalKind, Signal)>);

#[cfg(unix)]
impl Streams {
    /// Installs the handlers: from here on no signal is lost.
    fn open(kinds: &[SignalKind]) -> io::Result<Self> {
        let streams = kinds.iter().map(|kind| Ok((*kind, signal(*kind)?)));
        streams.collect::<io::Result<_>>().map(Self)
    }

    async fn next(&mut self) -> Arrived {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Arrived> {
        for (kind, stream) in &mut self.0 {
            // `None`, the end of the stream, never comes: handlers stay for ever.
            if let Poll::Ready(Some(())) = stream.poll_recv(cx) {
                return Poll::Ready(Arrived {
                    name: name(*kind),
                    status: 128 + kind.as_raw_value(),
                });
            }
        }
        Poll::Pending
    }
}

#[cfg(unix)]
fn name(kind: SignalKind) -> Cow<'static, str> {
    let names = [
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::quit(), "SIGQUIT"),
        (SignalKind::user_defined1(), "SIGUSR1"),
        (SignalKind::user_defined2(), "SIGUSR2"),
        (SignalKind::alarm(), "SIGALRM"),
        (SignalKind::pipe(), "SIGPIPE"),
        (SignalKind::child(), "SIGCHLD"),
    ];
    match names.into_iter().find(|(known, _)| *known == kind) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("signal {}", kind.as_raw_value())),
    }
}

#[cfg(not(unix))]
struct Streams(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Streams {
    fn open() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> Arrived {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Arrived> {
        self.0.poll_recv(cx).map(|_| Arrived {
            name: Cow::Borrowed("Ctrl-C"),
            status: 130,
        })
    }
}
