//! A whole program on tokio that knows nothing of a recorder, and what is recorded of it.

#![cfg(feature = "trace")]

use ripcord::trace::{Recorder, Recording, RecordingError};
use ripcord::{BuilderExt as _, CtxExt as _, Kind};
use std::sync::Arc;
use std::time::Duration;

fn dump(recorder: &Recorder) -> Vec<u8> {
    let mut trace = Vec::new();
    recorder.dump(&mut trace).expect("a vector takes all");
    trace
}

/// Texts stand in a trace as they are.
fn says(trace: &[u8], text: &str) -> bool {
    trace.windows(text.len()).any(|at| at == text.as_bytes())
}

/// One test: a process has one recording.
#[test]
fn spawns_outside_of_contexts_and_stragglers_are_recorded() {
    let recorder = Recorder::builder().program("tests").build();
    let recording = Recording::of(recorder.clone()).expect("the first one");
    let second = Recording::of(recorder.clone());
    assert!(matches!(second, Err(RecordingError::Recorded)));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_hooks(&recording.hooks())
        .build()
        .expect("two threads");
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    runtime.block_on(async {
        let plain = ripcord::spawn(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        });
        assert_eq!(plain.await.expect("it ran"), 7);

        let held = lock.lock().await;
        let (root, guard) = ripcord::root().name("the request").build();
        let deaf = root.spawn("the deaf one", {
            let lock = Arc::clone(&lock);
            |_| async move { drop(lock.lock().await) }
        });
        // Until it waits: then it is in the trace, and asked where it waits.
        while deaf.info().is_none_or(|info| info.polls == 0) {
            tokio::task::yield_now().await;
        }
        guard.cancel(Kind::PeerGone);
        while !says(&dump(&recorder), "batch_semaphore") {
            tokio::task::yield_now().await;
        }
        drop(held);
        deaf.await.expect("it has ended");
    });
    drop(runtime);
    let trace = dump(&recorder);
    for text in ["the request", "the deaf one", "recorded.rs", "tests"] {
        assert!(says(&trace, text), "{text}");
    }
    assert_eq!(recorder.losses().lost, 0);
    let streamed = recording.finish().expect("there is no file");
    assert_eq!(streamed, None);
}
