//! One call from its arrival to its last byte, accounted for in every case.
//!
//! *Invariants*: (1) a record is ended exactly once, by whoever comes first: completion, failure,
//! or the destructor; also one that has panicked, since a gauge that it raised has to come down.
//! (2) An exchange that is dropped before its end has ended its context.
//!
//! Both need a destructor that does the whole work: a server drops what it has of a request whose
//! client is gone, and nothing after the next `.await` of a handler runs. So there is one value that
//! holds the right to end the context *and* the account, and every way out goes through its drop.
//!
//! *Order at the end*: the account is ended first and the guard dropped after it, so that an observer
//! sees the context as the work has left it. Dropped early it is the other way round: the observer is
//! told the cause, which has to be there by then.

use crate::carried::{Carried, CtxCarried as _, DeadlineSource};
use crate::incoming::Incoming;
use crate::observe::{Call, CallObserver, CallRecord, End, Ending};
use crate::policy::shown;
use crate::verdict::GrpcCode;
use ripcord_core::{CancelGuard, Canceller, Cause, Ctx, Foreign, Kind, contain};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The account of a call; empty where nobody observes it, and then nothing is kept or formatted.
///
/// Every request moves it from place to place: it is one word.
#[derive(Default)]
struct Account {
    open: Option<Box<Open>>,
}

/// Whom to tell of a call, and what is known of it so far.
struct Open {
    record: Box<dyn CallRecord>,
    /// The record has panicked: it is told of its end, and of nothing before.
    has_panicked: bool,
    started: Instant,
    source: Option<DeadlineSource>,
    status: Option<u16>,
    grpc: Option<GrpcCode>,
    error: Option<String>,
    is_cancelled: bool,
}

impl Account {
    fn start(
        observer: &Arc<dyn CallObserver>,
        call: &Call<'_>,
        carried: &mut Carried,
        started: Instant,
    ) -> Self {
        let source = carried.deadline_source();
        let record = contain(Foreign::Observer, || observer.start(call, carried));
        let open = record.map(|record| Open {
            record,
            has_panicked: false,
            started,
            source,
            status: None,
            grpc: None,
            error: None,
            is_cancelled: false,
        });
        Self {
            open: open.map(Box::new),
        }
    }

    fn attach(&mut self, ctx: Ctx) -> Ctx {
        let Some(open) = &mut self.open else {
            return ctx;
        };
        let attached = contain(Foreign::Observer, || open.record.attach(ctx.clone()));
        open.has_panicked = attached.is_none();
        attached.unwrap_or(ctx)
    }

    fn routed(&mut self, route: &str) {
        self.note(|open| open.tell(|record| record.routed(route)));
    }

    fn answered(&mut self, status: u16) {
        self.note(|open| {
            open.status = Some(status);
            open.tell(|record| record.answered(status));
        });
    }

    fn grpc_status(&mut self, code: GrpcCode) {
        self.note(|open| open.grpc = Some(code));
    }

    fn cancelled(&mut self, ctx: &Ctx, cause: &Cause) {
        self.note(|open| open.cancelled(ctx, cause));
    }

    fn failed(&mut self, error: &dyn fmt::Display) {
        self.note(|open| open.error = Some(shown(&error.to_string())));
    }

    fn note(&mut self, note: impl FnOnce(&mut Open)) {
        if let Some(open) = &mut self.open {
            note(open);
        }
    }

    fn end(&mut self, ctx: &Ctx, ending: Ending) {
        if let Some(open) = self.open.take() {
            (*open).end(ctx, ending);
        }
    }

    /// The ending of a call whose context may have been done.
    fn ending(&self) -> Ending {
        match &self.open {
            Some(open) if open.is_cancelled => Ending::Cancelled,
            Some(open) if open.error.is_some() => Ending::Failed,
            _ => Ending::Complete,
        }
    }
}

impl Open {
    fn tell(&mut self, tell: impl FnOnce(&mut dyn CallRecord)) {
        if !self.has_panicked {
            let told = contain(Foreign::Observer, || tell(&mut *self.record));
            self.has_panicked = told.is_none();
        }
    }

    fn cancelled(&mut self, ctx: &Ctx, cause: &Cause) {
        if !self.is_cancelled {
            self.is_cancelled = true;
            let depth = ctx.cause_depth();
            self.tell(|record| record.cancelled(cause, depth));
        }
    }

    fn end(mut self, ctx: &Ctx, ending: Ending) {
        let cause = ctx.cause();
        if let Some(cause) = &cause {
            self.cancelled(ctx, cause);
        }
        let now = ctx.clock_now();
        let asked = cause.as_ref().and_then(|cause| cause.due().or(cause.at()));
        let end = End {
            ending,
            status: self.status,
            grpc: self.grpc,
            cause: cause.as_ref(),
            deadline_source: self.source,
            error: self.error.as_deref(),
            remaining: ctx.remaining(),
            took: now.saturating_duration_since(self.started),
            cancel_latency: asked.map(|asked| now.saturating_duration_since(asked)),
        };
        let mut record = self.record;
        let _ = contain(Foreign::Observer, || record.end(&end));
        let _ = contain(Foreign::Drop, || drop(record));
    }
}

/// One served call: its context, the right to end it, and its account.
///
/// Who serves a call keeps it until the last byte of the answer is handed over, and then calls
/// [`complete`](Self::complete). Dropped before that, as when the client leaves and the server drops
/// everything that worked for it, the exchange ends the context with [`Kind::PeerGone`]: that
/// reaches tasks, streams and calls that hold the context, which a drop of the handler would not.
/// Dropped by a panic that unwinds past it, it ends the context with [`Kind::Panicked`].
///
/// | ended by | its context | the record is told |
/// |---|---|---|
/// | [`complete`](Self::complete) | done, `Dropped` | `Complete`; `Failed` or `Cancelled` if that was said before |
/// | [`release`](Self::release) | lives on | the same |
/// | [`let_go`](Self::let_go) | lives on | `Dropped` |
/// | its drop | done, `PeerGone` | `Dropped` |
/// | its drop, after the context was done | as it was | `Cancelled` |
/// | its drop, in a panic | done, `Panicked` | `Failed` |
///
/// For transports: `ripcord-http` and `ripcord-grpc` hold one for each request. Whoever writes another
/// one makes it when the head of a request is there, runs the handler under its context, and keeps it
/// with the answer.
///
/// # Examples
/// ```
/// use http::HeaderMap;
/// use ripcord_core::{Ctx, Kind};
/// use ripcord_propagation::{Call, Exchange, Propagation, Protocol, Side};
///
/// let server = Ctx::background();
/// let incoming = Propagation::default().extract(&HeaderMap::new());
/// let call = Call::new(Side::Server, Protocol::Http, "GET", "/orders");
/// let exchange = Exchange::begin(&server, incoming, call, server.clock_now(), None);
/// let work = exchange.ctx().clone();
/// assert_eq!(work.name(), Some("GET /orders"));
///
/// drop(exchange);
/// assert_eq!(work.check().unwrap_err().kind(), Kind::PeerGone);
/// ```
///
/// A consumer of messages, which is a server with another carrier. It acknowledges what was done, and
/// what was not done in time comes again:
///
/// ```
/// use http::HeaderMap;
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{Call, CallObserver, Exchange, Propagation, Protocol, Side};
/// use std::sync::Arc;
///
/// fn consume(worker: &Ctx, headers: &HeaderMap, log: &Arc<dyn CallObserver>, work: impl FnOnce(&Ctx)) -> bool {
///     let arrived = worker.clock_now();
///     let incoming = Propagation::default().extract(headers);
///     let call = Call::new(Side::Server, Protocol::Http, "PROCESS", "orders");
///     let mut exchange = Exchange::begin(worker, incoming, call, arrived, Some(log));
///     if !exchange.ctx().is_done() {
///         work(exchange.ctx());
///     }
///     let cause = exchange.ctx().cause();
///     if let Some(cause) = &cause {
///         exchange.cancelled(cause);
///     }
///     exchange.complete();
///     cause.is_none()
/// }
/// # let log: Arc<dyn CallObserver> = Arc::new(ripcord_propagation::Observers::new());
/// assert!(consume(&Ctx::background(), &HeaderMap::new(), &log, |_ctx| {}));
/// ```
///
/// # Costs
/// One node of context with a name, a deadline and what travels; with an observer an allocation for the
/// account, and what the observer does.
pub struct Exchange {
    /// `None` once it is over.
    live: Option<Live>,
    ctx: Ctx,
}

struct Live {
    guard: CancelGuard,
    account: Account,
}

/// The longest name of a context: a path may be as long as a server allows.
const NAME_CHARS_MAX: usize = 128;

impl Exchange {
    /// Makes the context of the call below `parent`, and tells the observer.
    ///
    /// `arrived`: when the head of the request was there, by the clock of the tree. Time in a queue
    /// counts. A call whose deadline has passed has a context that is done: do not begin the work.
    ///
    /// The observer is told before the context is made, so that what travels can be moved into a span
    /// of its own; a panic of it is contained, and the call goes on without it.
    #[track_caller]
    #[must_use = "dropped at once, it ends the context of the call"]
    pub fn begin(
        parent: &Ctx,
        mut incoming: Incoming,
        call: Call<'_>,
        arrived: Instant,
        observer: Option<&Arc<dyn CallObserver>>,
    ) -> Self {
        incoming.bound_by(parent, || arrived);
        let read = incoming.read_values(parent);
        let parent = read.as_ref().unwrap_or(parent);
        let mut account = Account::default();
        if let Some(observer) = observer {
            let call = Call {
                remaining: incoming.budget,
                rejects: incoming.rejects,
                ..call
            };
            account = Account::start(observer, &call, &mut incoming.carried, arrived);
        }
        let derive = parent.derive().named(name(&call));
        let derive = match call.site {
            Some(site) => derive.at(site),
            None => derive,
        };
        let (ctx, guard) = incoming.child(derive, arrived);
        tag(&ctx);
        let ctx = account.attach(ctx);
        Self {
            live: Some(Live { guard, account }),
            ctx,
        }
    }

    /// The context of the call: for the handler, and for everything that works for it.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// A right to end the context that does not keep it alive: for whoever sees the peer leave.
    ///
    /// `None` after the end.
    #[must_use]
    pub fn canceller(&self) -> Option<Canceller> {
        Some(self.live.as_ref()?.guard.handle())
    }

    /// The route became known: by its template, as `/orders/{id}`, which is what metrics can bear.
    pub fn routed(&mut self, route: &str) {
        self.tell(|account| account.routed(route));
    }

    /// The head of the answer is there, with an HTTP status. The call goes on with its body.
    pub fn answered(&mut self, status: u16) {
        self.tell(|account| account.answered(status));
    }

    /// The gRPC status of the answer is there; the record is told of it at the end.
    pub fn grpc_status(&mut self, code: GrpcCode) {
        self.tell(|account| account.grpc_status(code));
    }

    /// The context is done, and the call is answered because of it; said once, before the end.
    ///
    /// Without it a call whose context was done by its end counts as complete, with a cause: it was
    /// answered late, and not cut short.
    pub fn cancelled(&mut self, cause: &Cause) {
        if let Some(live) = &mut self.live {
            live.account.cancelled(&self.ctx, cause);
        }
    }

    /// The handler or the transport failed with `error`, of which 64 characters are kept.
    ///
    /// An answer that says 500 is no failure in this sense: the exchange has done its work.
    pub fn failed(&mut self, error: &dyn fmt::Display) {
        self.tell(|account| account.failed(error));
    }

    fn tell(&mut self, tell: impl FnOnce(&mut Account)) {
        if let Some(live) = &mut self.live {
            tell(&mut live.account);
        }
    }

    /// The last byte of the answer is handed over: the context ends, as the work is over.
    pub fn complete(mut self) {
        if let Some(mut live) = self.live.take() {
            let ending = live.account.ending();
            live.account.end(&self.ctx, ending);
        }
    }

    /// The call is over for the peer, while its context lives on as long as somebody holds it.
    ///
    /// For work that may outlive its request: its deadline and its ancestors still end it.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_propagation::{Call, Exchange, Propagation, Protocol, Side};
    ///
    /// let (server, stop) = Ctx::background().child();
    /// let incoming = Propagation::default().originate();
    /// let call = Call::new(Side::Server, Protocol::Http, "GET", "/socket");
    /// let exchange = Exchange::begin(&server, incoming, call, server.clock_now(), None);
    /// let session = exchange.ctx().clone();
    /// exchange.release(); // It speaks another protocol from here on.
    /// assert!(!session.is_done());
    /// stop.cancel("deploy");
    /// assert!(session.is_done());
    /// ```
    pub fn release(mut self) {
        if let Some(mut live) = self.live.take() {
            let ending = live.account.ending();
            live.account.end(&self.ctx, ending);
            live.guard.disarm();
        }
    }

    /// The peer is gone, while the context lives on as long as somebody holds it.
    ///
    /// As [`release`](Self::release), for a call that nobody will get an answer of.
    pub fn let_go(mut self) {
        if let Some(mut live) = self.live.take() {
            live.account.end(&self.ctx, Ending::Dropped);
            live.guard.disarm();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(mut live) = self.live.take() else {
            return;
        };
        // A deadline that has passed, and whatever else came before, is the cause that counts.
        let was_done = self.ctx.is_done();
        let is_panicking = std::thread::panicking();
        let cause = if is_panicking {
            Cause::new(Kind::Panicked).with_message("the call was dropped by a panic")
        } else {
            Cause::new(Kind::PeerGone).with_message("the call was dropped by its server")
        };
        let was_done = !live.guard.cancel(cause) || was_done;
        let ending = match live.account.ending() {
            Ending::Complete if was_done => Ending::Cancelled,
            Ending::Complete if is_panicking => Ending::Failed,
            Ending::Complete => Ending::Dropped,
            known => known,
        };
        live.account.end(&self.ctx, ending);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("ctx", &self.ctx)
            .field("is_live", &self.live.is_some())
            .finish_non_exhaustive()
    }
}

/// Tells the observer of the tree under what ids the logs and the traces know the call.
///
/// Both are of a bounded length and have no control characters: see their types.
fn tag(ctx: &Ctx) {
    if ctx.recorded().is_none() {
        return;
    }
    if let Some(carried) = ctx.carried() {
        ctx.tag("request.id", carried.request_id().as_str());
        ctx.tag("trace.id", &carried.trace.trace_id.to_string());
    }
}

/// `GET /orders/{id}`, or with the path where the route is not known.
fn name(call: &Call<'_>) -> String {
    let mut name = String::with_capacity(call.method.len() + call.path.len() + 1);
    if call.protocol == crate::Protocol::Http {
        name.push_str(call.method);
        name.push(' ');
    }
    name.push_str(call.route.unwrap_or(call.path));
    if let Some((at, _)) = name.char_indices().nth(NAME_CHARS_MAX) {
        name.truncate(at);
    }
    name
}

/// One call that this process makes: its account, ended from `Drop` if need be.
///
/// The counterpart of [`Exchange`], without the right to end anything: the context of a call belongs
/// to whoever makes it. Dropped before its end, the call counts as given up: `Cancelled` if its context
/// is done, `Dropped` if somebody just stopped waiting.
///
/// # Examples
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{Call, CallSpan, Propagation, Protocol, Side};
///
/// let ctx = Ctx::background();
/// let mut carried = Propagation::default().for_call(&ctx);
/// let call = Call::new(Side::Client, Protocol::Http, "GET", "/stock");
/// let mut span = CallSpan::begin(&ctx, &mut carried, call, None);
/// span.answered(200);
/// span.complete();
/// ```
pub struct CallSpan {
    account: Account,
    ctx: Ctx,
    is_over: bool,
}

impl CallSpan {
    /// Tells the observer, which may move `carried` into the span of the call.
    ///
    /// So it comes before the headers are written, with what
    /// [`for_call`](crate::Propagation::for_call) gave, and
    /// [`inject_as`](crate::Propagation::inject_as) after it.
    #[must_use = "dropped at once, the call counts as given up"]
    pub fn begin(
        ctx: &Ctx,
        carried: &mut Carried,
        call: Call<'_>,
        observer: Option<&Arc<dyn CallObserver>>,
    ) -> Self {
        let account = observer.map(|observer| {
            let call = Call {
                remaining: ctx.remaining(),
                ..call
            };
            Account::start(observer, &call, carried, ctx.clock_now())
        });
        Self {
            account: account.unwrap_or_default(),
            ctx: ctx.clone(),
            is_over: false,
        }
    }

    /// The context under which the call is made.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// The head of the answer is there.
    pub fn answered(&mut self, status: u16) {
        self.account.answered(status);
    }

    /// The gRPC status of the answer is there.
    pub fn grpc_status(&mut self, code: GrpcCode) {
        self.account.grpc_status(code);
    }

    /// The context is done, and the call was given up because of it.
    pub fn cancelled(&mut self, cause: &Cause) {
        self.account.cancelled(&self.ctx, cause);
    }

    /// The transport failed with `error`.
    pub fn failed(&mut self, error: &dyn fmt::Display) {
        self.account.failed(error);
    }

    /// The answer is received to its end, or there will be none: after [`failed`](Self::failed) or
    /// [`cancelled`](Self::cancelled) it ends as that.
    pub fn complete(mut self) {
        self.is_over = true;
        let ending = self.account.ending();
        self.account.end(&self.ctx, ending);
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        if !self.is_over {
            let ending = match self.account.ending() {
                // Nobody waits for it any more: because of the context, or for a reason of theirs.
                Ending::Complete if self.ctx.is_done() => Ending::Cancelled,
                Ending::Complete => Ending::Dropped,
                known => known,
            };
            self.account.end(&self.ctx, ending);
        }
    }
}

impl fmt::Debug for CallSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallSpan")
            .field("ctx", &self.ctx)
            .finish_non_exhaustive()
    }
}
