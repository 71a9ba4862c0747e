//! Where an idle task waits: its await stack, taken by a waker that notices its own clone.
//!
//! A leaf future that returns `Pending` has to keep the waker, so it clones it. The
//! waker made here records the stack in its `clone`, which runs inside the leaf, below
//! every async function of the task. One poll is made with it, on demand; all others
//! use the runtime's own waker and cost nothing.
//!
//! # Limits
//! A combinator that polls its parts with wakers of its own (such as
//! `FuturesUnordered`) hides what is below it. Function names and lines need debug
//! information: line tables are enough (`debug = "line-tables-only"`).

#![allow(
    unsafe_code,
    reason = "a waker whose clone can be observed needs its own vtable"
)]

use backtrace::Backtrace;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// How many stacks one poll records: the arms of a `select!` or `join!`.
const STACKS_MAX: usize = 8;

/// How many frames of a stack are kept after it is resolved.
const FRAMES_MAX: usize = 24;

/// Where a task waits: the await stacks of its leaves, innermost frame first.
#[derive(Clone, Debug, Default)]
pub struct AwaitStack {
    leaves: Vec<Vec<Frame>>,
}

/// One frame of an [`AwaitStack`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// The function, without its hash.
    pub function: String,
    /// The source file, if known.
    pub file: Option<String>,
    /// The line, if known.
    pub line: Option<u32>,
}

impl AwaitStack {
    /// The stacks, one for each leaf that was polled.
    #[must_use]
    pub fn leaves(&self) -> &[Vec<Frame>] {
        &self.leaves
    }

    /// The innermost await in the program's own code: where the task waits.
    #[must_use]
    pub fn site(&self) -> Option<&Frame> {
        self.leaves.iter().flatten().find(|frame| frame.is_own())
    }

    /// The innermost function of a library below [`site`](Self::site): what it waits for.
    #[must_use]
    pub fn waits_for(&self) -> Option<&str> {
        let leaf = self
            .leaves
            .iter()
            .find(|leaf| leaf.iter().any(Frame::is_own))?;
        let own = leaf.iter().position(Frame::is_own)?;
        Some(leaf.get(own.checked_sub(1)?)?.function.as_str())
    }
}

impl fmt::Display for AwaitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(site) = self.site() else {
            return f.write_str("unknown");
        };
        write!(f, "{site}")?;
        match self.waits_for() {
            Some(what) => write!(f, " in {what}"),
            None => Ok(()),
        }
    }
}

impl Frame {
    /// Whether the frame is neither of the standard library nor of a dependency.
    fn is_own(&self) -> bool {
        const FOREIGN: [&str; 5] = [
            "/rustc/",
            "/.cargo/registry/",
            "/library/std/",
            "/library/core/",
            "/cargo/git/",
        ];
        let Some(file) = &self.file else { return false };
        let is_machinery = [
            "ripcord_core::",
            "ripcord_tokio::",
            "<ripcord_core::",
            "<ripcord_tokio::",
        ]
        .iter()
        .any(|crate_name| self.function.starts_with(crate_name));
        !is_machinery && !FOREIGN.iter().any(|part| file.contains(part))
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}"),
            _ => f.write_str(&self.function),
        }
    }
}

/// Stacks as they were recorded, not yet looked up.
#[derive(Default)]
pub(crate) struct Recorded {
    stacks: Vec<Backtrace>,
}

impl Recorded {
    /// Looks up names and lines. Takes milliseconds the first time.
    pub(crate) fn resolve(mut self) -> AwaitStack {
        let leaves = self.stacks.iter_mut().map(|stack| {
            stack.resolve();
            frames(stack)
        });
        AwaitStack {
            leaves: leaves.filter(|leaf| !leaf.is_empty()).collect(),
        }
    }
}

/// The frames from the leaf up to this crate's task wrapper.
fn frames(stack: &Backtrace) -> Vec<Frame> {
    let symbols = stack
        .frames()
        .iter()
        .flat_map(backtrace::BacktraceFrame::symbols);
    let all = symbols.filter_map(|symbol| {
        let function = readable(&format!("{:#}", symbol.name()?));
        let file = symbol
            .filename()
            .map(|file| shorten(&file.to_string_lossy()));
        Some(Frame {
            function,
            file,
            line: symbol.lineno(),
        })
    });
    let below_clone = all
        .skip_while(|frame| !is_clone(frame))
        .skip_while(is_clone);
    below_clone
        .take_while(|frame| !frame.function.contains("poll_recording"))
        .take(FRAMES_MAX)
        .collect()
}

fn is_clone(frame: &Frame) -> bool {
    frame.function.contains("stack::clone_recording")
        || frame.function.contains("Waker as core::clone::Clone")
}

/// `a::b::{{closure}}` is an async body or a closure of `a::b`: readers know it by that.
fn readable(function: &str) -> String {
    function
        .replace("::{{closure}}", "")
        .replace("{closure#0}", "")
}

/// A path below the current folder is shown relative to it.
fn shorten(file: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let relative = std::path::Path::new(file).strip_prefix(&here).ok();
    relative.map_or_else(|| file.to_owned(), |path| path.display().to_string())
}

struct Recorder {
    inner: Waker,
    is_active: AtomicBool,
    recorded: Mutex<Recorded>,
}

impl Recorder {
    /// Runs inside a leaf future, perhaps under its lock: records addresses only.
    fn record(&self) {
        // Relaxed: set and cleared by the thread that polls; a clone elsewhere may miss
        // a change, and then records a stack too many or too few.
        if !self.is_active.load(Ordering::Relaxed) {
            return;
        }
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.stacks.len() < STACKS_MAX {
            recorded.stacks.push(Backtrace::new_unresolved());
        }
    }
}

/// Polls `future` once and records the stack of every leaf that keeps the waker.
pub(crate) fn poll_recording<F: Future>(
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> (Poll<F::Output>, Recorded) {
    let recorder = Arc::new(Recorder {
        inner: cx.waker().clone(),
        is_active: AtomicBool::new(true),
        recorded: Mutex::new(Recorded::default()),
    });
    let waker = waker(Arc::clone(&recorder));
    let poll = future.poll(&mut Context::from_waker(&waker));
    // Relaxed: see `record`.
    recorder.is_active.store(false, Ordering::Relaxed);
    let stacks = std::mem::take(
        &mut *recorder
            .recorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    );
    (poll, stacks)
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone_recording, wake, wake_by_ref, drop_waker);

fn waker(recorder: Arc<Recorder>) -> Waker {
    // SAFETY: the data is an `Arc<Recorder>`, whose count this waker owns, and the
    // functions of `VTABLE` treat it as that. `Recorder` is `Send` and `Sync`.
    unsafe { Waker::new(Arc::into_raw(recorder).cast(), &VTABLE) }
}

#[inline(never)]
unsafe fn clone_recording(data: *const ()) -> RawWaker {
    // SAFETY: the caller holds a waker made by `waker`, whose count keeps `data` alive;
    // `ManuallyDrop` leaves that count alone.
    let recorder = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Recorder>()) });
    recorder.record();
    RawWaker::new(Arc::into_raw(Arc::clone(&recorder)).cast(), &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: `wake` consumes the waker, and with it the count that it owns.
    let recorder = unsafe { Arc::from_raw(data.cast::<Recorder>()) };
    recorder.inner.wake_by_ref();
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the caller holds a waker made by `waker`, whose count keeps `data` alive.
    let recorder = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Recorder>()) });
    recorder.inner.wake_by_ref();
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: dropping the waker gives up the count that it owns.
    drop(unsafe { Arc::from_raw(data.cast::<Recorder>()) });
}
