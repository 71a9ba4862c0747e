//! What `#[ripcord::main]` calls; not for anybody else.
//!
//! One function for all programs: the macro writes a call of it and nothing more. The recording, if there
//! is one, begins before the runtime and ends after it.
//!
//! # Costs
//! Where nothing is recorded: a look at the environment, and a branch for each poll of `main`.

use ripcord_core::{CancelGuard, Ctx};
use std::future::Future;
use tokio::runtime::{Builder, Runtime};

#[cfg(not(feature = "trace"))]
use unrecorded as recorded;

/// Runs a `main`, which is a task in a recording.
///
/// It is polled by `block_on`, so it is no task of the runtime: it need not be `Send`, and stays on the thread
/// of the program. Under what it is told to run, and why that is not the current context, is said at
/// [`as_task`](ripcord_tokio::as_task).
///
/// # Panics
/// If the operating system gives the runtime no thread.
#[track_caller]
pub fn main<F: Future>(is_one_thread: bool, workers: Option<usize>, body: F) -> F::Output {
    let mut builder = if is_one_thread {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    builder.enable_all();
    let recording = recorded::begin(&mut builder);
    let runtime = builder.build().expect("the runtime needs threads");
    let (ctx, guard) = recorded::root(&recording, &runtime);
    let output = runtime.block_on(ripcord_tokio::as_task(&ctx, "main", body));
    // The context of `main` first, then the runtime with all tasks: what they do at their end is recorded.
    drop((ctx, guard));
    drop(runtime);
    recorded::end(recording);
    output
}

/// Without the feature nobody is told of anything.
#[cfg(not(feature = "trace"))]
mod unrecorded {
    use super::{Builder, CancelGuard, Ctx, Runtime};

    /// Nothing to begin.
    pub(super) fn begin(_: &mut Builder) {}

    /// A context of which nobody is told.
    pub(super) fn root((): &(), _: &Runtime) -> (Ctx, Option<CancelGuard>) {
        (Ctx::background(), None)
    }

    /// Nothing to write.
    pub(super) fn end((): ()) {}
}

/// A program is not kept from running by what only looks at it.
#[cfg(feature = "trace")]
mod recorded {
    use super::{Builder, CancelGuard, Ctx, Runtime};
    use crate::program::Recording;
    use ripcord_tokio::BuilderExt as _;

    /// Records if the environment asks for it, and has the threads of the runtime told.
    ///
    /// What is wrong with that is said, and the program runs without it.
    pub(super) fn begin(builder: &mut Builder) -> Recording {
        let recording = Recording::from_env().unwrap_or_else(|error| {
            say(&error);
            Recording::default()
        });
        builder.thread_hooks(&recording.hooks());
        recording
    }

    /// The context that `main` is told to be under: a root of its own, so that `main` is recorded also
    /// where requests are sampled. Made where `main` stands.
    #[track_caller]
    pub(super) fn root(recording: &Recording, runtime: &Runtime) -> (Ctx, Option<CancelGuard>) {
        if recording.recorder().is_none() {
            return (Ctx::background(), None);
        }
        let root = ripcord_tokio::root_on(runtime.handle()).name("main");
        let (ctx, guard) = root.build();
        (ctx, Some(guard))
    }

    /// Writes what is left; call it when the runtime is gone.
    pub(super) fn end(recording: Recording) {
        if let Err(error) = recording.finish() {
            say(&error);
        }
    }

    /// An error and its sources, in a line on standard error.
    #[expect(
        clippy::print_stderr,
        reason = "there is no other way out of a macro around `main`"
    )]
    fn say(error: &dyn std::error::Error) {
        eprint!("ripcord: failed to {error}");
        let mut source = error.source();
        while let Some(error) = source {
            eprint!(": {error}");
            source = error.source();
        }
        eprintln!();
    }
}
