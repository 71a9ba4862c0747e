//! What `#[ripcord::main]` calls; not for anybody else.

use std::future::Future;
use tokio::runtime::Builder;

/// Runs a `main`.
///
/// # Panics
/// If the operating system gives the runtime no thread.
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
    recorded(&mut builder, |builder| {
        let runtime = builder.build().expect("the runtime needs threads");
        runtime.block_on(body)
    })
}

#[cfg(not(feature = "trace"))]
fn recorded<R>(builder: &mut Builder, run: impl FnOnce(&mut Builder) -> R) -> R {
    run(builder)
}

/// A program is not kept from running by what only looks at it.
#[cfg(feature = "trace")]
fn recorded<R>(builder: &mut Builder, run: impl FnOnce(&mut Builder) -> R) -> R {
    use crate::program::Recording;
    use ripcord_tokio::BuilderExt as _;

    let recording = Recording::from_env().unwrap_or_else(|error| {
        say(&error);
        Recording::default()
    });
    let result = run(builder.thread_hooks(&recording.hooks()));
    if let Err(error) = recording.finish() {
        say(&error);
    }
    result
}

#[cfg(feature = "trace")]
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
