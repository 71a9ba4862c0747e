//! What the workloads of recording need of a contender: a runtime, and a way to spawn on it.

use tokio::runtime::{Builder, Runtime};

/// A way to spawn tasks that somebody may be told of.
pub(crate) trait Spawner: Clone + Send + Sync + 'static {
    fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static;
}

/// A runtime with somebody who is told of its tasks, or with nobody.
pub(crate) trait Stage: Sized {
    type Spawner: Spawner;

    /// Builds the runtime, with hooks where there are any.
    fn build(builder: Builder) -> Self;
    fn runtime(&self) -> &Runtime;
    fn spawner(&self) -> Self::Spawner;
}

/// A runtime on which tokio's own tasks run.
#[derive(Debug)]
pub(crate) struct Plain(Runtime);

/// `tokio::spawn`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokioSpawner;

impl Spawner for TokioSpawner {
    fn spawn<F>(&self, _: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(future);
    }
}

impl Stage for Plain {
    type Spawner = TokioSpawner;

    fn build(mut builder: Builder) -> Plain {
        Plain(builder.build().expect("a thread can be started"))
    }

    fn runtime(&self) -> &Runtime {
        &self.0
    }

    fn spawner(&self) -> TokioSpawner {
        TokioSpawner
    }
}

/// A builder of a runtime with one thread, the caller's.
pub(crate) fn one_thread() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    builder
}

/// A builder of a runtime with so many workers.
pub(crate) fn workers(count: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).enable_all();
    builder
}
