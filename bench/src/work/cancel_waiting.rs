//! Cancelling N tasks that each wait on a child of their own (W4): when the caller is free again,
//! and when the tasks run.
//!
//! A task's latency is the time from just before the cancel to the start of its first poll after it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::case::{Case, GO, Goal, Kind, RIPCORD, Readings, TOKIO_UTIL, Unit, WAKERS};
use crate::ours::Ripcord;
use crate::peers::{TokioUtil, Wakers};
use crate::plan::Plan;
use crate::stats;
use crate::tree::{Tree, extend_chain};

pub(crate) fn cases() -> Vec<Case> {
    let util = Goal::of_tokio_util;
    let flat_1000 = [util(0.15), util(0.85), util(0.85)];
    let flat_100000 = [util(0.01), None, util(0.75)];
    let nested = [util(0.1), util(0.5), None];
    let none = [None; 3];
    vec![
        from_worker::<1>(case(
            "cancel-waiting/1000",
            "cancel 1,000 waiting tasks",
            1_000,
            flat_1000,
        )),
        from_worker::<1>(case(
            "cancel-waiting/10000",
            "cancel 10,000 waiting tasks",
            10_000,
            none,
        )),
        from_worker::<1>(case(
            "cancel-waiting/100000",
            "cancel 100,000 waiting tasks",
            100_000,
            flat_100000,
        )),
        from_worker::<5>(case(
            "cancel-waiting/1000-nested",
            "cancel 1,000 tasks, each below 5 levels of its own",
            1_000,
            nested,
        )),
        from_outside(case(
            "cancel-waiting/1000-outside",
            "cancel 1,000 waiting tasks from an outside thread",
            1_000,
            none,
        )),
        from_outside(case(
            "cancel-waiting/100000-outside",
            "cancel 100,000 waiting tasks from an outside thread",
            100_000,
            none,
        )),
    ]
}

fn case(id: &'static str, title: &'static str, size: usize, goals: [Option<Goal>; 3]) -> Case {
    let [caller, median, last] = goals;
    Case::new(Kind::Scene, id, title)
        .size(size)
        .metric("caller", "caller's time", Unit::Nanoseconds, caller)
        .metric("p50", "median task", Unit::Nanoseconds, median)
        .metric("p99", "99th percentile", Unit::Nanoseconds, None)
        .metric("last", "last task", Unit::Nanoseconds, last)
}

fn from_worker<const DEPTH: usize>(case: Case) -> Case {
    let case = case
        .rust(RIPCORD, on_worker::<Ripcord, DEPTH>)
        .rust(TOKIO_UTIL, on_worker::<TokioUtil, DEPTH>);
    // A `Vec` of wakers has no levels.
    let case = if DEPTH == 1 {
        case.rust(WAKERS, on_worker::<Wakers, DEPTH>)
    } else {
        case
    };
    case.go(GO)
}

/// Go has no threads outside its scheduler, so it takes no part.
fn from_outside(case: Case) -> Case {
    case.rust(RIPCORD, on_outside_thread::<Ripcord>)
        .rust(TOKIO_UTIL, on_outside_thread::<TokioUtil>)
        .rust(WAKERS, on_outside_thread::<Wakers>)
}

fn on_worker<T: Tree, const DEPTH: usize>(plan: &Plan) -> Readings {
    let size = plan.size;
    repeat(plan, || {
        let canceller = plan.runtime.spawn(async move {
            let scene = Scene::<T>::set(size, DEPTH).await;
            let caller = scene.cancel();
            scene.finish(caller).await
        });
        plan.runtime
            .block_on(canceller)
            .expect("the canceller does not panic")
    })
}

fn on_outside_thread<T: Tree>(plan: &Plan) -> Readings {
    repeat(plan, || {
        // Spawned, so that only worker threads ever poll what belongs to the scene.
        let size = plan.size;
        let setting = plan
            .runtime
            .spawn(async move { Scene::<T>::set(size, 1).await });
        let scene = plan
            .runtime
            .block_on(setting)
            .expect("setting the scene does not panic");
        std::thread::sleep(SETTLING);
        let caller = scene.cancel();
        plan.runtime.block_on(scene.finish(caller))
    })
}

/// Plays the scene several times, and gives the median of each metric.
fn repeat(plan: &Plan, mut scene: impl FnMut() -> [f64; 4]) -> Readings {
    let repetitions = plan.repetitions((REPEATED_TASKS / plan.size).clamp(2, 20));
    let plays: Vec<[f64; 4]> = (0..repetitions).map(|_| scene()).collect();
    METRICS
        .iter()
        .enumerate()
        .fold(Readings::new(), |readings, (index, metric)| {
            let mut values: Vec<f64> = plays
                .iter()
                .filter_map(|play| play.get(index).copied())
                .collect();
            readings.with(metric, stats::median(&mut values))
        })
}

/// A root whose tasks all wait, and what they will report.
struct Scene<T: Tree> {
    root: T::Node,
    board: Arc<Board>,
}

/// Where the tasks write when they were polled.
struct Board {
    epoch: Instant,
    waiting: AtomicUsize,
    left: AtomicUsize,
    all_gone: Notify,
    /// When each task was first polled after the cancel, in nanoseconds after `epoch`; 0 before.
    polled_at: Box<[AtomicU64]>,
}

/// When the cancel began, in nanoseconds after the epoch, and how long it kept its caller.
#[derive(Clone, Copy)]
struct Cancelled {
    at: u64,
    caller: u64,
}

impl<T: Tree> Scene<T> {
    /// Spawns the tasks and returns when all of them wait and the other worker has gone to sleep.
    async fn set(size: usize, depth: usize) -> Scene<T> {
        let root = T::root();
        let board = Arc::new(Board {
            epoch: Instant::now(),
            waiting: AtomicUsize::new(0),
            left: AtomicUsize::new(size),
            all_gone: Notify::new(),
            polled_at: (0..size).map(|_| AtomicU64::new(0)).collect(),
        });
        for index in 0..size {
            let mut levels = vec![T::child(&root)];
            extend_chain::<T>(&mut levels, depth - 1);
            tokio::spawn(task::<T>(levels, index, Arc::clone(&board)));
        }
        // Relaxed: only the number matters here; the tasks are not touched before the cancel.
        while board.waiting.load(Relaxed) < size {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(SETTLING).await;
        Scene { root, board }
    }

    fn cancel(&self) -> Cancelled {
        let at = self.board.now();
        T::cancel(&self.root);
        Cancelled {
            at,
            caller: self.board.now() - at,
        }
    }

    /// Waits for the last task, and gives the metrics in the order of [`METRICS`].
    async fn finish(self, cancelled: Cancelled) -> [f64; 4] {
        self.board.wait_until_all_gone().await;
        let mut latencies: Vec<f64> = Vec::with_capacity(self.board.polled_at.len());
        for slot in &self.board.polled_at {
            // Relaxed: ordered by the Acquire in `wait_until_all_gone`.
            let at = slot.load(Relaxed);
            let latency = at
                .checked_sub(cancelled.at)
                .expect("no task is polled again before the cancel");
            latencies.push(latency as f64);
        }
        let last = latencies.iter().copied().fold(0.0, f64::max);
        [
            cancelled.caller as f64,
            stats::quantile(&mut latencies, 0.5),
            stats::quantile(&mut latencies, 0.99),
            last,
        ]
    }
}

/// Waits on the last of `levels`, and writes down the start of its second poll.
async fn task<T: Tree>(levels: Vec<T::Node>, index: usize, board: Arc<Board>) {
    let own = levels.last().expect("a task has a node");
    let mut waiting = pin!(T::wait(own));
    let mut polls = 0_u32;
    poll_fn(|cx| {
        polls += 1;
        if polls == 2 {
            board.write(index);
        }
        let polled = waiting.as_mut().poll(cx).map(drop);
        if polls == 1 {
            assert!(polled.is_pending(), "a live node lets its waiter go");
            board.waiting.fetch_add(1, Relaxed); // counter
        }
        polled
    })
    .await;
    board.leave();
}

impl Board {
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn write(&self, index: usize) {
        let slot = self.polled_at.get(index).expect("each task has a slot");
        // Relaxed: published by the Release in `leave`.
        slot.store(self.now(), Relaxed);
    }

    fn leave(&self) {
        // Release: publishes this task's slot; pairs with the Acquire in `wait_until_all_gone`
        // through the other tasks' read-modify-writes, which continue the release sequence.
        if self.left.fetch_sub(1, Release) == 1 {
            self.all_gone.notify_one();
        }
    }

    async fn wait_until_all_gone(&self) {
        // Acquire: pairs with the Release of each task in `leave`.
        while self.left.load(Acquire) > 0 {
            self.all_gone.notified().await;
        }
    }
}

const METRICS: [&str; 4] = ["caller", "p50", "p99", "last"];
/// After the last registration, until the idle worker surely sleeps.
const SETTLING: Duration = Duration::from_millis(3);
/// Small scenes are repeated, so that a sample cancels about this many tasks.
const REPEATED_TASKS: usize = 200_000;
