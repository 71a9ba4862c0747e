//! [`SpanGuard`]: a span of one's own below a context.

use crate::CtxOtel as _;
use crate::cancel::{self, bounded};
use crate::context::{Spans, hold, spans};
use crate::convert::move_into;
use crate::names::{OTHER, SCOPE, attribute};
use opentelemetry::global;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, Key, KeyValue, Value};
use ripcord_core::{Cause, Ctx};
use ripcord_propagation::{Carried, CtxCarried as _, Side, SpanStatus, verdict};
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::thread;

/// An open span, and the context of the work inside it.
///
/// Made by [`CtxOtel::span`](crate::CtxOtel::span). Dropped, it ends the span and looks at its
/// context: if that is done, the span gets the event `ripcord.cancel` and the status that the
/// cause has in the table of answers, an error for a deadline, none for a peer that went away.
/// Dropped by a panic, the span is an error. Work that came to its end says so by
/// [`end`](Self::end), and then the context does not matter.
///
/// # Examples
/// ```
/// use ripcord_core::{Cancelled, Ctx};
/// use ripcord_otel::CtxOtel as _;
///
/// fn load(ctx: &Ctx) -> Result<i64, Cancelled> {
///     let span = ctx.span("load");
///     span.ctx().check()?; // Gives up: the span tells the cause.
///     let rows = 17;
///     span.set_attribute("rows", rows);
///     span.end();
///     Ok(rows)
/// }
/// assert_eq!(load(&Ctx::background())?, 17);
/// # Ok::<(), Cancelled>(())
/// ```
///
/// # Limitations
/// The look at the context counts as an observation in the latency accounts of ripcord-core: a
/// task that never looks by itself is listed as having seen its end when its span was dropped.
#[must_use = "a span that is dropped at once has no length"]
pub struct SpanGuard {
    ctx: Ctx,
    context: Context,
    is_over: bool,
    is_failed: bool,
}

impl SpanGuard {
    /// The tracer is the one that the context was given with its call, so that a span lands where
    /// its parent does, also where several providers live in one process.
    #[track_caller]
    pub(crate) fn open(ctx: &Ctx, name: Cow<'static, str>) -> Self {
        let spans = spans(ctx)
            .cloned()
            .unwrap_or_else(|| Spans::new(global::tracer(SCOPE)));
        let parent = ctx.otel();
        let builder = SpanBuilder::from_name(name);
        let span = spans.tracer().build_with_context(builder, &parent);
        let above: SpanContext = parent.span().span_context().clone();
        let moved = ctx.carried().and_then(|carried| {
            let mut carried = carried.clone();
            let previous = carried.trace.span_id;
            move_into(&mut carried.trace, &above, span.span_context()).then(|| {
                carried.trace.parent_span_id = Some(previous);
                carried.trace.is_remote_parent = false;
                ctx.with(carried)
            })
        });
        let context = parent.with_span(span);
        let ctx = hold(moved.as_ref().unwrap_or(ctx), context.clone(), Some(spans));
        Self {
            ctx,
            context,
            is_over: false,
            is_failed: false,
        }
    }

    /// The context of the work inside: calls made with it have this span as their parent.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::CtxOtel as _;
    ///
    /// fn query(ctx: &Ctx) -> usize {
    ///     ctx.name().map_or(0, str::len)
    /// }
    /// let ctx = Ctx::background().named("orders");
    /// let span = ctx.span("query");
    /// // A view of the context: name, deadline and cancel state are the same.
    /// assert_eq!(query(span.ctx()), 6);
    /// span.end();
    /// ```
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// OpenTelemetry's context with this span in it.
    ///
    /// For libraries that take one as an argument, and for code without futures, to be attached:
    ///
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::CtxOtel as _;
    ///
    /// let span = Ctx::background().span("parse");
    /// let attached = span.context().clone().attach();
    /// // … a library that asks for the current context …
    /// drop(attached);
    /// span.end();
    /// ```
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether anybody records what is set here.
    ///
    /// `false` without a provider, and where the trace is not sampled: then what is costly to
    /// compute need not be.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::CtxOtel as _;
    ///
    /// let span = Ctx::background().span("plan");
    /// if span.is_recording() {
    ///     span.set_attribute("plan.text", "a long text that is built for this only");
    /// }
    /// span.end();
    /// ```
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.context.span().is_recording()
    }

    /// Adds an attribute. Set one key once: the SDK keeps both entries of two.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::CtxOtel as _;
    ///
    /// let span = Ctx::background().span("load");
    /// span.set_attribute("rows", 17);
    /// span.set_attribute("cache.hit", false);
    /// span.end();
    /// ```
    pub fn set_attribute(&self, key: impl Into<Key>, value: impl Into<Value>) {
        self.context.span().set_attribute(KeyValue::new(key, value));
    }

    /// Adds an event.
    ///
    /// # Examples
    /// ```
    /// use opentelemetry::KeyValue;
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::CtxOtel as _;
    ///
    /// let span = Ctx::background().span("load");
    /// span.add_event("retry", vec![KeyValue::new("attempt", 2)]);
    /// span.end();
    /// ```
    pub fn add_event(&self, name: impl Into<Cow<'static, str>>, attributes: Vec<KeyValue>) {
        self.context.span().add_event(name, attributes);
    }

    /// Marks the span as an error; its text is cut to 1024 bytes.
    ///
    /// A cause of the context does not change that any more.
    ///
    /// The kind of the error, `error.type`, is `_OTHER`: its text could be anything, and a kind has
    /// to be one of few.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::CtxOtel as _;
    ///
    /// let mut span = Ctx::background().span("parse");
    /// if let Err(error) = "x".parse::<u8>() {
    ///     span.fail(&error);
    /// }
    /// span.end();
    /// ```
    pub fn fail(&mut self, error: &dyn Error) {
        self.set_error(&error.to_string(), OTHER);
    }

    /// Ends the span: its work came to an end, whatever became of the context.
    ///
    /// Without it, work that finished just after its context was done would look as if it had been
    /// given up.
    pub fn end(mut self) {
        self.finish();
    }

    /// Marks the span once: the SDK keeps every entry that it is given, also of one key.
    fn set_error(&mut self, description: &str, error_type: &'static str) {
        if !self.is_failed {
            self.is_failed = true;
            let span = self.context.span();
            span.set_attribute(KeyValue::new(attribute::ERROR_TYPE, error_type));
            span.set_status(Status::error(bounded(description).to_owned()));
        }
    }

    /// Tells why the context is done, by the same table as for served calls.
    fn give_up(&mut self, cause: &Cause) {
        let source = self.ctx.carried().and_then(Carried::deadline_source);
        let said = verdict(cause, source, Side::Server);
        let span = self.context.span();
        cancel::add_event(&span, cause, said.label, self.ctx.cause_depth());
        span.set_attribute(KeyValue::new(attribute::CANCEL_CAUSE, said.label));
        if said.span == SpanStatus::Error {
            self.set_error(
                &cancel::description(cause),
                said.error_type.unwrap_or(OTHER),
            );
        }
    }

    /// Ends the span, though others may still hold its `Context`.
    fn finish(&mut self) {
        self.is_over = true;
        self.context.span().end();
    }
}

impl Drop for SpanGuard {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(cause) = self.ctx.cause() {
            self.give_up(&cause);
        }
        if thread::panicking() {
            self.set_error("panicked", "panic");
        }
        self.finish();
    }
}

impl fmt::Debug for SpanGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanGuard")
            .field("ctx", &self.ctx)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
