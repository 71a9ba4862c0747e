//! ripcord as a contender in recording: tasks below a root that a recorder observes, or nobody.

use ripcord_core::{CancelGuard, Ctx};
use ripcord_tokio::{BuilderExt as _, CtxExt as _, ThreadHooks};
use ripcord_tracer::{Mode, Recorder};
use tokio::runtime::{Builder, Runtime};

use crate::spawner::{Spawner, Stage};

/// Tasks of ripcord that nobody is told of.
#[derive(Debug)]
pub(super) struct Untraced(Tree);

/// Tasks of a tree that was made while the recorder was off.
#[derive(Debug)]
pub(super) struct Off(
    Tree,
    #[expect(dead_code, reason = "a handle keeps it open")] Recorder,
);

/// Tasks of which everything is recorded.
#[derive(Debug)]
pub(super) struct Full(Tree, Recorder);

/// A runtime with a root on it.
#[derive(Debug)]
struct Tree {
    runtime: Runtime,
    root: Ctx,
    _guard: CancelGuard,
}

impl Tree {
    fn build(mut builder: Builder, recorder: Option<&Recorder>) -> Tree {
        if let Some(recorder) = recorder {
            builder.thread_hooks(&ThreadHooks::new(recorder.tasks()));
        }
        let runtime = builder.build().expect("a thread can be started");
        let mut root = ripcord_tokio::root_on(runtime.handle()).name("bench");
        if let Some(recorder) = recorder {
            root = root.observer(recorder.observer());
        }
        let (root, guard) = root.build();
        Tree {
            runtime,
            root,
            _guard: guard,
        }
    }
}

/// `Ctx::spawn` below the root: a task with a context of its own.
#[derive(Clone, Debug)]
pub(super) struct Below(Ctx);

impl Spawner for Below {
    fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.0.spawn(name, |_| future));
    }
}

/// A recorder with its default memory, of 16 MiB.
pub(super) fn recorder(mode: Mode) -> Recorder {
    Recorder::builder().program("bench").mode(mode).build()
}

impl Stage for Untraced {
    type Spawner = Below;

    fn build(builder: Builder) -> Untraced {
        Untraced(Tree::build(builder, None))
    }

    fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    fn spawner(&self) -> Below {
        Below(self.0.root.clone())
    }
}

impl Stage for Off {
    type Spawner = Below;

    fn build(builder: Builder) -> Off {
        let recorder = recorder(Mode::Off);
        Off(Tree::build(builder, Some(&recorder)), recorder)
    }

    fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    fn spawner(&self) -> Below {
        Below(self.0.root.clone())
    }
}

impl Stage for Full {
    type Spawner = Below;

    fn build(builder: Builder) -> Full {
        let recorder = recorder(Mode::Full);
        Full(Tree::build(builder, Some(&recorder)), recorder)
    }

    fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    fn spawner(&self) -> Below {
        Below(self.0.root.clone())
    }
}

impl Full {
    /// Ends the tree and its runtime, and gives the trace of all that was recorded.
    pub(super) fn into_trace(self) -> Vec<u8> {
        let Full(tree, recorder) = self;
        drop(tree);
        let mut trace = Vec::new();
        recorder.dump(&mut trace).expect("a vector takes all");
        let losses = recorder.losses();
        assert_eq!((losses.evicted, losses.lost), (0, 0), "the ring was filled");
        trace
    }
}
