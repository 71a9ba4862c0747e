//! [`LogIds`]: what ties a log line to its request and its span.

use ripcord_core::Ctx;
use ripcord_propagation::{Carried, CtxCarried as _};
use ripcord_wire::request_id::RequestId;
use ripcord_wire::trace::{SpanId, TraceFlags, TraceId};
use std::fmt;

/// The ids of the request that a line of a log belongs to.
///
/// Shown, it reads `trace_id=… span_id=… request_id=…`, for formats of one's own.
///
/// # Examples
/// ```
/// use http::HeaderMap;
/// use ripcord_core::Ctx;
/// use ripcord_otel::logs::LogIds;
/// use ripcord_propagation::Propagation;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-request-id", "7f3a".parse().expect("a header value"));
/// let ctx = Propagation::default().extract(&headers).context(&Ctx::background());
/// ctx.enter_sync(|| {
///     let ids = LogIds::current().expect("inside of a request");
///     assert!(ids.to_string().ends_with("request_id=7f3a"));
/// });
/// assert_eq!(LogIds::current(), None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LogIds {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that is current.
    pub span_id: SpanId,
    /// Sampled, random.
    pub flags: TraceFlags,
    /// The request.
    pub request_id: RequestId,
}

impl LogIds {
    /// Those of the current context; `None` outside of a request.
    ///
    /// # Costs
    /// Two reference counts.
    #[must_use]
    pub fn current() -> Option<Self> {
        Ctx::with_current(Self::of)
    }

    /// Those of a context; `None` outside of a request.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_core::Ctx;
    /// use ripcord_otel::logs::LogIds;
    /// use ripcord_propagation::Propagation;
    ///
    /// let ctx = Propagation::default().extract(&HeaderMap::new()).context(&Ctx::background());
    /// let ids = LogIds::of(&ctx).expect("a request");
    /// println!("{ids} loaded 17 rows");
    /// ```
    #[must_use]
    pub fn of(ctx: &Ctx) -> Option<Self> {
        ctx.carried().map(Self::new)
    }

    fn new(carried: &Carried) -> Self {
        Self {
            trace_id: carried.trace.trace_id,
            span_id: carried.trace.span_id,
            flags: carried.trace.flags,
            request_id: carried.request_id().clone(),
        }
    }
}

impl fmt::Display for LogIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (self.trace_id, self.span_id);
        let request = self.request_id.as_str();
        write!(f, "trace_id={trace} span_id={span} request_id={request}")
    }
}
