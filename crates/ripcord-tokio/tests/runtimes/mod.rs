//! The runtimes that tests of tasks and scopes run on.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// A whole number of milliseconds and of the ticks of a tree's timer: exact on both.
pub(crate) const UNIT: Duration = Duration::from_millis(4096);

pub(crate) fn current_thread() -> Runtime {
    let built = Builder::new_current_thread().enable_all().build();
    built.expect("a runtime")
}

pub(crate) fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let built = builder.worker_threads(2).enable_all().build();
    built.expect("a runtime")
}

/// Runs a test on both kinds of runtime.
pub(crate) fn on_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    current_thread().block_on(test());
    multi_thread().block_on(test());
}
