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
//!
//! # Invariants
//! 1. A recording waker is worth as much as the one that it wraps: every wake goes through, in
//!    whatever thread and however long after the poll. A leaf may keep it for ever.
//! 2. It records only while the poll for which it was made is under way. Later clones, as when
//!    a leaf moves its waker about, cost one relaxed load.
//! 3. In `clone` only addresses are recorded: it may run under a lock of the leaf, where names
//!    must not be looked up.
//!
//! # Why not by other means
//! The async functions of an idle task are on no stack: they exist as states of its future, and
//! the compiler keeps no map of these. Only in a poll do they stand on a real stack, from the
//! task down to the leaf, and the leaf's clone of the waker is the one call that is sure to
//! happen at the bottom of it.

#![allow(
    unsafe_code,
    reason = "a waker whose clone can be observed needs its own vtable"
)]

use crate::stack_text;
use backtrace::{Backtrace, BacktraceFrame};
use ripcord_core::tasks::StackText;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// How many stacks one poll records: the arms of a `select!` or `join!`.
const STACKS_MAX: usize = 8;

/// How many frames of a stack are kept after it is resolved.
const FRAMES_MAX: usize = 64;

/// Where a task waits: the await stacks of its leaves, innermost frame first.
///
/// Found in [`TaskInfo::stack`](crate::TaskInfo::stack) after
/// [`inspect_overdue`](crate::inspect_overdue), and in the stragglers of a
/// [`ScopeError`](crate::ScopeError::stragglers). `Display` is short enough for a log line:
/// `src/db.rs:120 in tokio::sync::mpsc::..::recv`, or `unknown` without debug information.
///
/// A task that waits for several things at once, in a `select!` or `join!`, has a leaf for each,
/// up to eight. One whose leaf keeps no waker, such as `std::future::pending`, has none.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use ripcord_tokio::CtxExt as _;
/// let (ctx, guard) = ripcord_tokio::root().build();
/// let never = |_| async { tokio::sync::Notify::new().notified().await };
/// let task = ctx.spawn("deaf", never);
/// guard.cancel("enough");
/// let patience = std::time::Duration::from_secs(1);
/// let late = ripcord_tokio::inspect_overdue(patience).await;
/// let stack = late[0].stack.as_ref().expect("an idle task has one");
/// println!("{} waits at {stack}", late[0].name);
/// task.abort();
/// # }
/// ```
///
/// # Costs
/// Taking one records addresses only. Names and lines are looked up by the first call of a
/// method, which takes milliseconds, and far longer the first time in a process.
#[derive(Clone, Default)]
pub struct AwaitStack {
    stacks: Arc<Stacks>,
}

/// Shared by the clones of a stack, so that it is resolved once however often it is reported.
#[derive(Default)]
struct Stacks {
    /// As recorded, until somebody looks.
    recorded: Mutex<Vec<Backtrace>>,
    leaves: OnceLock<Vec<Vec<Frame>>>,
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
    /// The column, if known: two awaits of one line differ by it.
    pub column: Option<u32>,
}

impl AwaitStack {
    /// The stacks, one for each leaf that was polled.
    ///
    /// Frames run from the leaf outwards to the task, library code included; those of the runtime
    /// around the task are left out. No stack is longer than 64 frames: the far end is cut.
    #[must_use]
    pub fn leaves(&self) -> &[Vec<Frame>] {
        self.stacks.leaves()
    }

    /// The stacks for an observer, if there are any; nothing is looked up.
    pub(crate) fn text(&self) -> Option<Arc<dyn StackText>> {
        let has_any = !self.stacks.is_empty();
        has_any.then(|| Arc::<Stacks>::clone(&self.stacks) as Arc<dyn StackText>)
    }

    /// The innermost await in the program's own code: where the task waits.
    ///
    /// "Own" is judged by the path of the source file: not the standard library, not a crate from a
    /// registry or a git checkout, not ripcord. `None` if no frame has a file, as in a build
    /// without line tables.
    #[must_use]
    pub fn site(&self) -> Option<&Frame> {
        self.leaves().iter().flatten().find(|frame| frame.is_own())
    }

    /// The innermost function of a library below [`site`](Self::site): what it waits for.
    ///
    /// Precisely: the frame that the own code called. `None` if the own code is itself the leaf.
    #[must_use]
    pub fn waits_for(&self) -> Option<&str> {
        let leaf = self
            .leaves()
            .iter()
            .find(|leaf| leaf.iter().any(Frame::is_own))?;
        let own = leaf.iter().position(Frame::is_own)?;
        Some(leaf.get(own.checked_sub(1)?)?.function.as_str())
    }
}

impl Stacks {
    fn leaves(&self) -> &[Vec<Frame>] {
        self.leaves.get_or_init(|| {
            let mut recorded = take(&self.recorded);
            let leaves = recorded.iter_mut().map(|stack| {
                stack.resolve();
                frames(stack)
            });
            leaves.filter(|leaf| !leaf.is_empty()).collect()
        })
    }

    /// Whether no leaf has kept its waker, as far as is known without a look-up.
    fn is_empty(&self) -> bool {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.is_empty() && self.leaves.get().is_none_or(Vec::is_empty)
    }
}

impl StackText for Stacks {
    fn leaves(&self) -> Vec<Vec<String>> {
        let leaves = self.leaves().iter();
        leaves.map(|leaf| stack_text::text(leaf)).collect()
    }
}

/// The frames in words, for tools that take the stacks of any adapter.
///
/// # Examples
/// ```
/// use ripcord_core::tasks::StackText;
/// use ripcord_tokio::AwaitStack;
///
/// /// A leaf a line, the innermost frame first.
/// fn lines(stack: &AwaitStack) -> Vec<String> {
///     StackText::leaves(stack).iter().map(|leaf| leaf.join(" < ")).collect()
/// }
/// assert!(lines(&AwaitStack::default()).is_empty());
/// ```
impl StackText for AwaitStack {
    fn leaves(&self) -> Vec<Vec<String>> {
        StackText::leaves(&*self.stacks)
    }
}

impl fmt::Debug for AwaitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitStack")
            .field("leaves", &self.leaves())
            .finish()
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
        // The standard library, and where cargo keeps the source of dependencies.
        const FOREIGN: [&str; 4] = [
            "/rustc/",
            "/rustlib/src/",
            "/registry/src/",
            "cargo/git/checkouts/",
        ];
        let Some(file) = &self.file else { return false };
        let file = file.replace('\\', "/");
        !is_machinery(&self.function, &file) && !FOREIGN.iter().any(|part| file.contains(part))
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

/// The frames from the leaf up to this crate's task wrapper.
///
/// Below the waker's `clone` stand the recorder and the unwinder, above `poll_recording` the
/// runtime: both are cut off by name, so who renames one of the two functions has to do so
/// here as well.
fn frames(stack: &Backtrace) -> Vec<Frame> {
    let symbols = stack.frames().iter().flat_map(BacktraceFrame::symbols);
    let all = symbols.filter_map(|symbol| {
        let function = readable(&format!("{:#}", symbol.name()?));
        let file = symbol
            .filename()
            .map(|file| shorten(&file.to_string_lossy()));
        Some(Frame {
            function,
            file,
            line: symbol.lineno(),
            column: symbol.colno(),
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

/// Whether a frame is of the ripcord crates that stand between a task and what it waits for.
///
/// Line tables alone name an inlined function without its module (`poll`), so the file counts
/// as well.
pub(crate) fn is_machinery(function: &str, file: &str) -> bool {
    let function = function.strip_prefix('<').unwrap_or(function);
    let is_of = |module| {
        let rest = function.strip_prefix(module);
        rest.is_some_and(|rest: &str| rest.starts_with("::"))
    };
    if MACHINERY.iter().any(|(_, module)| is_of(*module)) {
        return true;
    }
    let is_crate = |part: &&str| MACHINERY.iter().any(|(name, _)| part.starts_with(name));
    let mut folders = file.split('/').skip_while(|part| !is_crate(part));
    folders.nth(1) == Some("src")
}

/// Those crates: the folder of their source, perhaps with a version behind it, and their module.
const MACHINERY: [(&str, &str); 6] = [
    ("ripcord-core", "ripcord_core"),
    ("ripcord-tokio", "ripcord_tokio"),
    ("ripcord-propagation", "ripcord_propagation"),
    ("ripcord-http", "ripcord_http"),
    ("ripcord-grpc", "ripcord_grpc"),
    ("ripcord-otel", "ripcord_otel"),
];

/// Line tables alone name an inlined function without its module: see [`is_machinery`].
fn is_clone(frame: &Frame) -> bool {
    let is_in_waker = || {
        let file = frame.file.as_deref().unwrap_or_default();
        file.replace('\\', "/").ends_with("/core/src/task/wake.rs")
    };
    frame.function.contains("clone_recording")
        || frame.function.contains("Waker as core::clone::Clone")
        || frame.function == "clone" && is_in_waker()
}

/// `a::b::{{closure}}` is an async body or a closure of `a::b`: readers know it by that.
fn readable(function: &str) -> String {
    function
        .replace("::{{closure}}", "")
        .replace("{closure#0}", "")
}

/// A path below the current folder is shown relative to it, unless that is the root, below
/// which everything is.
fn shorten(file: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    if here.parent().is_none() {
        return file.to_owned();
    }
    let relative = std::path::Path::new(file).strip_prefix(&here).ok();
    relative.map_or_else(|| file.to_owned(), |path| path.display().to_string())
}

/// What a recording waker points to: the real waker, and the stacks of one poll.
struct Recorder {
    inner: Waker,
    is_active: AtomicBool,
    recorded: Mutex<Vec<Backtrace>>,
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
        if recorded.len() < STACKS_MAX {
            recorded.push(capture());
        }
    }
}

/// Polls a future once and records the stack of every leaf that keeps the waker.
///
/// It is an ordinary poll: what becomes ready in it is returned, and the wakers that the leaves
/// keep wake the task. A leaf that compares wakers before it clones (`will_wake`) sees a new
/// one here, and its old one again in the next poll; that costs it a clone each.
pub(crate) fn poll_recording<T>(
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    cx: &mut Context<'_>,
) -> (Poll<T>, AwaitStack) {
    let recorder = Arc::new(Recorder {
        inner: cx.waker().clone(),
        is_active: AtomicBool::new(true),
        recorded: Mutex::default(),
    });
    let waker = waker(Arc::clone(&recorder));
    let poll = poll(&mut Context::from_waker(&waker));
    // Relaxed: see `record`.
    recorder.is_active.store(false, Ordering::Relaxed);
    let stack = AwaitStack {
        stacks: Arc::new(Stacks {
            recorded: Mutex::new(take(&recorder.recorded)),
            leaves: OnceLock::new(),
        }),
    };
    (poll, stack)
}

/// The addresses of the stack that this runs on.
///
/// Runs inside a leaf, perhaps under its lock: it allocates once, and looks nothing up.
///
/// `Backtrace::new_unresolved` would take the one lock of its crate, which is held for as long as
/// somebody looks up names: hundreds of milliseconds, in which a worker would be stuck here.
fn capture() -> Backtrace {
    let mut frames: Vec<BacktraceFrame> = Vec::with_capacity(CAPTURED_MAX);
    let keep = |frame: &backtrace::Frame| {
        frames.push(frame.clone().into());
        frames.len() < CAPTURED_MAX
    };
    #[cfg(windows)]
    backtrace::trace(keep);
    // SAFETY: what has to be synchronised is the library that Windows has for this. Elsewhere it is the
    // unwinder that panics use, which any thread may call at any time.
    #[cfg(not(windows))]
    unsafe {
        backtrace::trace_unsynchronized(keep);
    }
    frames.into()
}

/// Frames that are captured: those of the unwinder and of the runtime are among them.
const CAPTURED_MAX: usize = 192;

/// Loads what is needed to give stacks their names; once for a process, and not quick.
///
/// The first look-up of a process maps the debug information of the program and of its libraries, and reads
/// their tables: hundreds of milliseconds in a large program, in which nobody else can look up a name.
/// Later ones take some milliseconds each. Who wants the first stack soon calls this early, on a thread
/// that has time.
pub(crate) fn load_names() {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        let mut stack = capture();
        stack.resolve();
    });
}

fn take(stacks: &Mutex<Vec<Backtrace>>) -> Vec<Backtrace> {
    std::mem::take(&mut *stacks.lock().unwrap_or_else(PoisonError::into_inner))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_ripcord_is_not_the_programs_own() {
        let own = "/srv/shop/src/main.rs";
        for (function, file, expect) in [
            ("ripcord_core::run::Run<F>::poll", own, true),
            (
                "<ripcord_http::client::ClientFuture<F> as core::Future>::poll",
                own,
                true,
            ),
            ("poll", "crates/ripcord-http/src/client/call.rs", true),
            ("poll", "/x/ripcord-grpc-0.1.0/src/client/future.rs", true),
            ("shop::order::place", own, false),
            ("ripcord_http_demo::place", own, false),
            ("place", "crates/ripcord-cli/src/demo/order.rs", false),
            ("waits", "crates/ripcord-tokio/tests/stack.rs", false),
        ] {
            assert_eq!(is_machinery(function, file), expect, "{function} {file}");
        }
    }
}
