//! OpenTelemetry's context inside ripcord's: [`CtxOtel`], and futures that run under both.
//!
//! # Why it is a value
//! An OpenTelemetry [`Context`] belongs to a thread and is lost where a task is spawned. As a
//! value of a [`Ctx`] it goes wherever that goes, and is put back on the thread at each poll.
//!
//! # Invariants
//! 1. A `Context` that is put into a [`Ctx`] carries an [`Anchor`] with the id of its span.
//! 2. The thread's current context is a parent only if it has the anchor of the context that was
//!    asked for: an explicit context beats an ambient one, unless the ambient one is a span that
//!    was opened within it, as `tracing-opentelemetry` does.

use crate::convert::{current_of, move_into, span_id, with_baggage};
use crate::span::SpanGuard;
use opentelemetry::Context;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::TraceContextExt as _;
use pin_project_lite::pin_project;
use ripcord_core::{Ctx, Entered, Reach, Value};
use ripcord_propagation::CtxCarried as _;
use ripcord_wire::trace::{SpanId, TraceFlags, TraceId};
use ripcord_wire::tracestate::TraceState;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

/// The tracer that spans of one context come from; a clone is one reference count.
///
/// Kept in the context, since the global tracer need not be the one that observes.
#[derive(Clone, Debug)]
pub(crate) struct Spans(Arc<BoxedTracer>);

impl Spans {
    pub(crate) fn new(tracer: BoxedTracer) -> Self {
        Self(Arc::new(tracer))
    }

    pub(crate) fn tracer(&self) -> &BoxedTracer {
        &self.0
    }
}

/// What a [`Ctx`] carries of OpenTelemetry.
///
/// One value and not two: each costs allocations of its own when it is added to a context.
pub(crate) struct Held {
    context: Context,
    spans: Option<Spans>,
}

impl Value for Held {
    const REACH: Reach = Reach::Task;
}

/// What a `Context` of OpenTelemetry cannot hold of a trace.
///
/// The flag *random* of a span that is not sampled, and entries of `tracestate` that the API
/// refuses.
#[derive(Clone, Debug)]
pub(crate) struct WireTrace {
    pub(crate) trace_id: TraceId,
    pub(crate) flags: TraceFlags,
    pub(crate) state: TraceState,
}

/// The span of the ripcord context that a `Context` belongs to; see invariant 2.
///
/// A value in OpenTelemetry's `Context`, and therefore in whatever other code derives from that.
#[derive(Clone, Debug)]
pub(crate) struct Anchor {
    pub(crate) span: SpanId,
    pub(crate) wire: Option<WireTrace>,
}

impl Anchor {
    /// The thread's current context if it lies within the span, else another one.
    pub(crate) fn nearest(span: SpanId, otherwise: impl FnOnce() -> Context) -> Context {
        let within = Context::map_current(|current| {
            let is_anchored = current
                .get()
                .is_some_and(|anchor: &Self| anchor.span == span);
            let is_within = is_anchored && current.span().span_context().is_valid();
            is_within.then(|| current.clone())
        });
        within.unwrap_or_else(otherwise)
    }
}

/// A context with OpenTelemetry's in it, anchored at its span.
///
/// To be called after what travels was moved into the span: the anchor keeps the trace as it is
/// then.
pub(crate) fn hold(ctx: &Ctx, context: Context, spans: Option<Spans>) -> Ctx {
    let context = match span_id(context.span().span_context().span_id()) {
        Some(span) => context.with_value(Anchor {
            span,
            wire: ctx.carried().map(|carried| WireTrace {
                trace_id: carried.trace.trace_id,
                flags: carried.trace.flags,
                state: carried.trace.state.clone(),
            }),
        }),
        None => context,
    };
    ctx.with(Held { context, spans })
}

/// The tracer that the spans of a context come from, if it was told one.
pub(crate) fn spans(ctx: &Ctx) -> Option<&Spans> {
    ctx.get::<Held>()?.spans.as_ref()
}

/// OpenTelemetry on a [`Ctx`]: its current `Context`, and spans below it.
///
/// # Examples
/// ```
/// use opentelemetry::trace::TraceContextExt as _;
/// use ripcord_core::Ctx;
/// use ripcord_otel::CtxOtel as _;
///
/// let ctx = Ctx::background();
/// let load = ctx.span("load");
/// let rows = 17; // … in which `load.ctx()` is handed on …
/// load.set_attribute("rows", rows);
/// load.end();
/// assert!(!ctx.otel().has_active_span(), "without a provider a span is nothing");
/// ```
pub trait CtxOtel {
    /// The `Context` of OpenTelemetry that belongs to this context.
    ///
    /// That of the call or of the [`span`](Self::span) that it lies in. For a context that came
    /// with a request but was not observed: one with the ids that the request carries, so that
    /// spans below join the trace. Otherwise the thread's current one.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use opentelemetry::trace::TraceContextExt as _;
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::CtxOtel as _;
    /// use ripcord_propagation::{CtxCarried as _, Propagation};
    ///
    /// let ctx = Propagation::default().extract(&HeaderMap::new()).context(&Ctx::background());
    /// let ours = ctx.trace().expect("a request").trace_id.to_string();
    /// assert_eq!(ctx.otel().span().span_context().trace_id().to_string(), ours);
    /// ```
    ///
    /// # Costs
    /// Two or three reference counts; for a request that was not observed, its baggage as a map.
    fn otel(&self) -> Context;

    /// Makes a context that carries another `Context` of OpenTelemetry.
    ///
    /// If that has a span, what travels with the request is moved into it: calls that are made
    /// below name it as their parent.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry::Context;
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::CtxOtel as _;
    ///
    /// #[derive(PartialEq, Debug)]
    /// struct Tenant(&'static str);
    /// let ctx = Ctx::background().with_otel_context(Context::new().with_value(Tenant("blue")));
    /// assert_eq!(ctx.otel().get(), Some(&Tenant("blue")));
    /// ```
    fn with_otel_context(&self, context: Context) -> Ctx;

    /// Opens a span below this context.
    ///
    /// It ends when the guard is dropped; if the context is done by then, the span says why.
    ///
    /// # Costs
    /// Two values on a context (see [`Ctx::with`]), and the span.
    ///
    /// The name says what is done, in few words that do not change from request to request; what
    /// does change is an attribute.
    ///
    /// # Limitations
    /// Outside of a request (without anything that travels) calls that are made below do not find
    /// the span by the context alone, but by the thread: run them [under
    /// it](OtelFutureExt::with_otel), or begin the job with
    /// [`originate`](ripcord_propagation::Propagation::originate).
    fn span(&self, name: impl Into<Cow<'static, str>>) -> SpanGuard;
}

impl CtxOtel for Ctx {
    fn otel(&self) -> Context {
        if let Some(held) = self.get::<Held>() {
            let own = || held.context.clone();
            let span = held.context.span().span_context().span_id();
            return span_id(span).map_or_else(own, |id| Anchor::nearest(id, own));
        }
        match self.carried() {
            Some(carried) => {
                let context = Context::new().with_remote_span_context(current_of(&carried.trace));
                with_baggage(&context, carried.baggage())
            }
            None => Context::current(),
        }
    }

    #[track_caller]
    fn with_otel_context(&self, context: Context) -> Ctx {
        let spans = spans(self).cloned();
        let moved = self.carried().and_then(|carried| {
            let mut carried = carried.clone();
            let above = current_of(&carried.trace);
            let previous = carried.trace.span_id;
            let span = context.span();
            let is_same_trace = span.span_context().trace_id() == above.trace_id();
            move_into(&mut carried.trace, &above, span.span_context()).then(|| {
                carried.trace.parent_span_id = is_same_trace.then_some(previous);
                carried.trace.is_remote_parent = false;
                self.with(carried)
            })
        });
        hold(moved.as_ref().unwrap_or(self), context, spans)
    }

    #[track_caller]
    fn span(&self, name: impl Into<Cow<'static, str>>) -> SpanGuard {
        SpanGuard::open(self, name.into())
    }
}

/// Futures under a context of ripcord and its `Context` of OpenTelemetry.
pub trait OtelFutureExt: Future + Sized {
    /// Runs the future with `ctx` as the current context of both kinds in each poll.
    ///
    /// Libraries that ask OpenTelemetry for the current context, `tracing-opentelemetry` and the
    /// log bridges among them, then see the span of the request. It ends nothing: to end
    /// with the context as well, [`run`](Ctx::run) what is passed in.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry::{Context, trace::TraceContextExt as _};
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::{CtxOtel as _, OtelFutureExt as _};
    /// # fn block_on<F: Future>(f: F) -> F::Output {
    /// #     let mut f = std::pin::pin!(f);
    /// #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop { if let std::task::Poll::Ready(out) = f.as_mut().poll(&mut cx) { return out } }
    /// # }
    /// #[derive(Debug, PartialEq)]
    /// struct Tenant(&'static str);
    /// let ctx = Ctx::background().with_otel_context(Context::new().with_value(Tenant("blue")));
    /// let seen = async { Context::current().get::<Tenant>().is_some() }.with_otel(&ctx);
    /// assert!(block_on(seen));
    /// assert!(Context::current().get::<Tenant>().is_none());
    /// ```
    ///
    /// # Cancel safety
    /// That of the future itself. Between two polls nothing is attached to any thread.
    ///
    /// # Costs
    /// Three reference counts and two exchanges of thread-local state a poll.
    fn with_otel(self, ctx: &Ctx) -> WithOtel<Self> {
        WithOtel {
            inner: ctx.enter(self),
            context: ctx.otel(),
        }
    }
}

impl<F: Future> OtelFutureExt for F {}

pin_project! {
    /// A future under a context of both kinds; made by [`OtelFutureExt::with_otel`].
    ///
    /// # Cancel safety
    /// That of the future inside. It is dropped with neither context attached.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::{OtelFutureExt as _, WithOtel};
    ///
    /// async fn load() {}
    /// let loading: WithOtel<_> = load().with_otel(&Ctx::background());
    /// # drop(loading);
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct WithOtel<F> {
        #[pin]
        inner: Entered<F>,
        context: Context,
    }
}

impl<F: Future> Future for WithOtel<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _attached = this.context.clone().attach();
        this.inner.poll(cx)
    }
}

impl<F> fmt::Debug for WithOtel<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithOtel")
            .field("ctx", self.inner.ctx())
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
