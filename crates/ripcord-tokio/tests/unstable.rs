//! Tasks that ripcord did not spawn, where tokio tells of them.
#![cfg(all(tokio_unstable, not(ripcord_shuttle)))]

mod task_log;

use ripcord_core::tasks::{Ended, Spawned, TaskObserver, TaskRef};
use ripcord_tokio::{CtxExt, UnstableBuilderExt};
use std::sync::Arc;
use tokio::runtime::Builder;

#[test]
fn other_tasks_are_told_as_far_as_tokio_does() {
    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicU64, std::sync::atomic::AtomicU64);
    impl TaskObserver for Count {
        fn spawned(&self, task: &Spawned<'_>) -> u64 {
            assert_eq!(task.task >> 63, 1);
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            !task.task
        }
        fn ended(&self, task: TaskRef, ended: &Ended<'_>) {
            assert_eq!((task.key, ended.spawned.task), (!task.id, task.id));
            self.1
                .fetch_add(ended.polls, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let count = Arc::new(Count::default());
    let observer: Arc<dyn TaskObserver> = Arc::<Count>::clone(&count);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.observe_other_tasks(observer).build().unwrap();
    let log = Arc::new(task_log::Log::default());
    runtime.block_on(async {
        tokio::spawn(tokio::task::yield_now()).await.unwrap();
        let root =
            ripcord_tokio::root_on(runtime.handle()).observer(Arc::<task_log::Log>::clone(&log));
        let (root, _guard) = root.build();
        root.spawn("ours", |_| std::future::ready(()))
            .await
            .unwrap();
    });
    log.expect(&[
        "spawn ours from -",
        "poll ours",
        "ready ours",
        "ended ours ready 1",
    ]);
    let told = [&count.0, &count.1].map(|n| n.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(told, [1, 2]);
}
