//! Threads of a test: a race from one start, a small stack, a watchdog, a gate.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::disallowed_types, reason = "real threads, outside every model")]

use std::hash::{BuildHasher, RandomState};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// So long no test takes; a test that does hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `f` on a thread of its own, and fails instead of hanging if it does not return.
#[track_caller]
pub(crate) fn finishes<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || drop(tell.send(f())));
    match told.recv_timeout(PATIENCE) {
        Ok(result) => {
            assert!(thread.join().is_ok(), "it panicked on its way out");
            result
        }
        Err(RecvTimeoutError::Timeout) => panic!("deadlock: it did not return"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => unreachable!("it returned without telling"),
            Err(payload) => std::panic::resume_unwind(payload),
        },
    }
}

/// Runs `f` on a thread with a stack of so many bytes.
#[track_caller]
pub(crate) fn on_stack<R: Send + 'static>(
    bytes: usize,
    f: impl FnOnce() -> R + Send + 'static,
) -> R {
    let thread = thread::Builder::new().stack_size(bytes).spawn(f).unwrap();
    match thread.join() {
        Ok(result) => result,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// Runs `f(0)`, `f(1)`, … on threads of their own, from one start; the results in order.
pub(crate) fn together<R: Send>(threads: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|at| {
                let (start, f) = (&start, &f);
                scope.spawn(move || {
                    start.wait();
                    f(at)
                })
            })
            .collect();
        let joined = running.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(Result::unwrap).collect()
    })
}

/// Closed until it is opened, then open for ever. Clones are the same gate.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open.
    #[track_caller]
    pub(crate) fn pass(&self) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open);
        let is_open = *waited.unwrap_or_else(PoisonError::into_inner).0;
        assert!(is_open, "deadlock: the gate was never opened");
    }
}

/// A small generator; prints its seed, and takes it from `RIPCORD_SEED` to repeat a run.
pub(crate) struct Rng(u64);

impl Rng {
    #[track_caller]
    #[allow(clippy::print_stdout, reason = "a failed test shows its seed")]
    pub(crate) fn new() -> Self {
        let given = std::env::var("RIPCORD_SEED").ok();
        let seed = given
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| RandomState::new().hash_one(0_u8))
            .max(1);
        println!("RIPCORD_SEED={seed} at {}", std::panic::Location::caller());
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}
