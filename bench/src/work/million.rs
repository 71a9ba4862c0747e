//! A million contexts with deadlines of their own, all waiting (W6): lateness, CPU and memory.
//!
//! The deadlines lie in random order within ten seconds per million, so that the runtime is busy and
//! not overloaded: a scene in which it falls behind would measure only how far.

use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use crate::alloc::{self, Counts};
use crate::case::{Case, GO, GO_PARENT, Goal, Kind, RIPCORD, Readings, TOKIO, TOKIO_UTIL, Unit};
use crate::ours::Ripcord;
use crate::peers::{Tokio, TokioUtil};
use crate::plan::Plan;
use crate::process;
use crate::stats::{self, Rng};
use crate::tree::Deadlines;

pub(crate) fn cases() -> Vec<Case> {
    let case = Case::new(
        Kind::Heavy,
        "million-deadlines",
        "1,000,000 contexts with own deadlines, all waiting",
    )
    .size(1_000_000)
    .metric("late_p50", "lateness, median", Unit::Nanoseconds, None)
    .metric(
        "late_p99",
        "lateness, 99th percentile",
        Unit::Nanoseconds,
        Goal::of_tokio_util(1.0),
    )
    .metric("late_max", "lateness, worst", Unit::Nanoseconds, None)
    .metric(
        "early",
        "fired before its deadline",
        Unit::Count,
        Goal::at_most(0.0),
    )
    .metric(
        "cpu",
        "CPU per expiry",
        Unit::Nanoseconds,
        Goal::of_tokio_util(1.0),
    )
    .metric(
        "heap",
        "heap per waiting task, task included",
        Unit::Bytes,
        Goal::of_tokio_util(0.9),
    )
    .metric("rss", "resident memory per waiting task", Unit::Bytes, None)
    .rust(RIPCORD, expire::<Ripcord>)
    .rust(TOKIO_UTIL, expire::<TokioUtil>)
    .rust(TOKIO, expire::<Tokio>)
    .go(GO)
    .go(GO_PARENT);
    vec![case]
}

fn expire<T: Deadlines>(plan: &Plan) -> Readings {
    let mut lead = Duration::from_secs(1) + Duration::from_micros(4) * plan.size as u32;
    let mut first_attempt = true;
    loop {
        if let Some(readings) = try_expire::<T>(plan, lead, first_attempt) {
            return readings;
        }
        lead *= 2;
        let limit = Duration::from_secs(60);
        assert!(
            lead < limit,
            "setting up {} tasks took more than 30 s",
            plan.size
        );
        first_attempt = false;
    }
}

/// Plays the scene once; `None` when the first deadline came before the last task waited.
fn try_expire<T: Deadlines>(plan: &Plan, lead: Duration, first_attempt: bool) -> Option<Readings> {
    let board = Board::new(plan.size);
    let resident_before = process::resident_bytes();
    let (first, counts) = alloc::count(|| spawn_all::<T>(plan, board, lead));
    let resident = process::resident_bytes().zip(resident_before);
    if Instant::now() >= first {
        board.wait_until_all_gone();
        return None;
    }
    let cpu_before = process::cpu_time();
    board.wait_until_all_gone();
    let cpu = process::cpu_time().zip(cpu_before);
    let per_task = |total: f64| total / plan.size as f64;
    let mut readings = board.readings(counts);
    // A second attempt finds the memory of the first one resident.
    if let Some((after, before)) = resident.filter(|_| first_attempt) {
        readings = readings.with("rss", per_task(after as f64 - before as f64));
    }
    if let Some((after, before)) = cpu {
        readings = readings.with(
            "cpu",
            per_task(after.saturating_sub(before).as_nanos() as f64),
        );
    }
    Some(readings)
}

/// Spawns the tasks, waits until all of them wait, and gives the first moment a deadline may have.
fn spawn_all<T: Deadlines>(plan: &Plan, board: &'static Board, lead: Duration) -> Instant {
    let _entered = plan.runtime.enter();
    let parent = T::parent();
    let first = Instant::now() + lead;
    // Always the same order: the contenders get the same deadlines in every round.
    let mut random = Rng::new(1);
    let spread = (SPREAD_PER_DEADLINE * plan.size as u32).as_nanos() as u64;
    for index in 0..plan.size {
        let at = first + Duration::from_nanos(random.below(spread));
        board.set_deadline(index, at);
        let child = T::bounded(&parent, at);
        plan.runtime.spawn(async move {
            board.waiting.fetch_add(1, Relaxed); // counter
            T::expire(&child).await;
            board.leave(index);
        });
    }
    // Relaxed: a counter, which carries nothing.
    while board.waiting.load(Relaxed) < plan.size {
        std::thread::sleep(Duration::from_millis(1));
    }
    // A task counts itself at the start of its first poll, so the last ones may still be in it.
    std::thread::sleep(Duration::from_millis(20));
    // The parent has to outlive its children; the process ends with the sample.
    std::mem::forget(parent);
    first
}

/// Where the tasks write how late they were.
struct Board {
    waiting: AtomicUsize,
    left: AtomicUsize,
    early: AtomicU64,
    epoch: Instant,
    /// Each task's deadline in nanoseconds after `epoch`, and then its lateness. The deadlines are
    /// kept here so that a task holds no more than it would elsewhere.
    slots: Box<[AtomicU64]>,
}

impl Board {
    /// Leaks the board, so that a task holds a plain reference and not a counted one.
    fn new(size: usize) -> &'static Board {
        Box::leak(Box::new(Board {
            waiting: AtomicUsize::new(0),
            left: AtomicUsize::new(size),
            early: AtomicU64::new(0),
            epoch: Instant::now(),
            // Not zero, so that the pages are resident before the memory is measured.
            slots: (0..size).map(|_| AtomicU64::new(u64::MAX)).collect(),
        }))
    }

    fn slot(&self, index: usize) -> &AtomicU64 {
        self.slots.get(index).expect("each task has a slot")
    }

    fn set_deadline(&self, index: usize, at: Instant) {
        let after = at.duration_since(self.epoch).as_nanos() as u64;
        // Relaxed: spawning the task, which follows, publishes it.
        self.slot(index).store(after, Relaxed);
    }

    fn leave(&self, index: usize) {
        let now = self.epoch.elapsed().as_nanos() as u64;
        // Relaxed: written before the task was spawned.
        let deadline = self.slot(index).load(Relaxed);
        if now < deadline {
            self.early.fetch_add(1, Relaxed); // counter
        }
        // Relaxed: published by the Release below.
        self.slot(index)
            .store(now.saturating_sub(deadline), Relaxed);
        // Release: publishes the slot; pairs with the Acquire in `wait_until_all_gone` through the
        // other tasks' read-modify-writes, which continue the release sequence.
        self.left.fetch_sub(1, Release);
    }

    fn wait_until_all_gone(&self) {
        // Acquire: pairs with the Release of each task in `leave`.
        while self.left.load(Acquire) > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn readings(&self, counts: Counts) -> Readings {
        // Relaxed: ordered by the Acquire in `wait_until_all_gone`.
        let mut late: Vec<f64> = self
            .slots
            .iter()
            .map(|slot| slot.load(Relaxed) as f64)
            .collect();
        Readings::new()
            .with("late_p50", stats::quantile(&mut late, 0.5))
            .with("late_p99", stats::quantile(&mut late, 0.99))
            .with("late_max", late.last().copied().unwrap_or(f64::NAN))
            .with("early", self.early.load(Relaxed) as f64) // counter
            .with("heap", counts.bytes_held() / late.len() as f64)
    }
}

const SPREAD_PER_DEADLINE: Duration = Duration::from_micros(10);
