//! Random schedules of wakers that are cloned, called and dropped against the polls of their task.
//!
//! What is checked is what `wakers.rs` promises: no wake is lost, each poll but the first has one
//! wake, and a loss is told exactly where the task waits and can be woken by nobody.
#![cfg(ripcord_shuttle)]

/// What the file under test reaches as its crate's.
mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicUsize, Ordering};
}

#[path = "../src/wakers.rs"]
#[allow(dead_code, reason = "no task here wakes itself")]
mod wakers;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;
use wakers::Wakers;

/// A task, its runtime, and what was told of it.
struct Task {
    wakers: Wakers,
    /// Bit 0: notified. Bit 1: a poll was decided on and has not ended.
    runtime: AtomicUsize,
    /// Wakers of the task that anybody may take and use.
    kept: Mutex<Vec<Waker>>,
    /// What there is to do: a poll takes it, so each wake behind it must lead to a poll.
    work: AtomicUsize,
    told: Mutex<Vec<Told>>,
    is_freed: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Woken,
    Poll,
    /// At the end of a poll.
    Lost,
    /// Between two polls.
    LostLater,
}

const NOTIFIED: usize = 1;
const RUNNING: usize = 2;

struct Waker(Arc<Task>);

impl Waker {
    fn new(task: &Arc<Task>) -> Self {
        task.wakers.add();
        Self(Arc::clone(task))
    }

    fn wake_by_ref(&self) {
        if self.0.wakers.wake(false) {
            self.0.tell(Told::Woken);
            self.0.runtime.fetch_or(NOTIFIED, Ordering::SeqCst);
        }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Task {
    fn tell(&self, what: Told) {
        self.told.lock().unwrap().push(what);
    }

    fn give_up(&self) {
        let mut seen = self.wakers.look();
        loop {
            let is_loss = seen.is_loss();
            match self.wakers.give_up(seen) {
                Ok(false) if is_loss => break self.tell(Told::LostLater),
                Ok(false) => break,
                Ok(true) => {
                    assert!(!self.is_freed.swap(true, Ordering::SeqCst), "freed twice");
                    break;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// One poll, if the runtime was told: takes the work, and keeps some wakers or none.
    fn poll(self: &Arc<Self>) -> bool {
        if self.runtime.load(Ordering::SeqCst) & NOTIFIED == 0 {
            return false;
        }
        let was = self.runtime.swap(RUNNING, Ordering::SeqCst);
        assert_eq!(was, NOTIFIED, "one notification at a time");
        self.tell(Told::Poll);
        self.wakers.start();
        self.work.store(0, Ordering::SeqCst);
        for _ in 0..thread_rng().gen_range(0..3) {
            let waker = Waker::new(self);
            self.kept.lock().unwrap().push(waker);
        }
        let is_alone = self.wakers.is_alone();
        if is_alone {
            self.tell(Told::Lost);
        }
        if self.wakers.rest() && !is_alone {
            self.tell(Told::LostLater);
        }
        self.runtime.fetch_and(!RUNNING, Ordering::SeqCst);
        true
    }

    /// Takes a waker that is kept, and does something with it.
    fn use_one(&self) {
        let waker = self.kept.lock().unwrap().pop();
        let Some(waker) = waker else { return };
        match thread_rng().gen_range(0..4) {
            0 => {
                self.work.store(1, Ordering::SeqCst);
                waker.wake_by_ref();
            }
            1 => {
                let other = Waker::new(&waker.0);
                self.work.store(1, Ordering::SeqCst);
                other.wake_by_ref();
                drop(other);
                self.kept.lock().unwrap().push(waker);
            }
            2 => self.kept.lock().unwrap().push(Waker::new(&waker.0)),
            _ => {}
        }
    }
}

fn run() {
    let task = Arc::new(Task {
        wakers: Wakers::new(),
        runtime: AtomicUsize::new(NOTIFIED),
        kept: Mutex::new(Vec::new()),
        work: AtomicUsize::new(0),
        told: Mutex::new(Vec::new()),
        is_freed: AtomicBool::new(false),
    });
    let users = [0; 2].map(|_| {
        let task = Arc::clone(&task);
        thread::spawn(move || {
            for _ in 0..4 {
                task.use_one();
            }
        })
    });
    for _ in 0..4 {
        task.poll();
        thread::yield_now();
    }
    for user in users {
        user.join().unwrap();
    }
    while task.poll() {}
    // Every schedule ends with a task that waits: what it waits for was not missed.
    assert_eq!(task.work.load(Ordering::SeqCst), 0, "a wake without a poll");
    let told = task.told.lock().unwrap().clone();
    check(&told, task.kept.lock().unwrap().is_empty());
    task.wakers.close();
    task.give_up();
    let kept = std::mem::take(&mut *task.kept.lock().unwrap());
    drop(kept);
    assert!(task.is_freed.load(Ordering::SeqCst), "never freed");
    let after = task.told.lock().unwrap().len();
    assert_eq!(after, told.len(), "told after the end");
}

/// Polls and wakes alternate; a loss is the last word of a task, and is there if nobody has a waker.
fn check(told: &[Told], is_alone: bool) {
    let is_step = |what: &&Told| matches!(what, Told::Woken | Told::Poll);
    let mut steps = told.iter().filter(is_step);
    assert_eq!(steps.next(), Some(&Told::Poll), "{told:?}");
    while let Some(step) = steps.next() {
        assert_eq!(step, &Told::Woken, "{told:?}");
        assert_eq!(steps.next(), Some(&Told::Poll), "{told:?}");
    }
    let losses = told.iter().filter(|what| !is_step(what)).count();
    assert_eq!(losses, usize::from(is_alone), "{told:?}");
    let is_last = matches!(told.last(), Some(Told::Lost | Told::LostLater));
    assert_eq!(is_last, is_alone, "{told:?}");
}

//= C139
//= C140
#[test]
fn wakes_are_paired_with_polls_and_losses_are_exact() {
    shuttle::check_random(run, 20_000);
}

#[test]
fn wakes_are_paired_with_polls_and_losses_are_exact_with_few_switches() {
    shuttle::check_pct(run, 20_000, 3);
}
