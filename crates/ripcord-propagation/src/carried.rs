//! The value that travels with a context: [`Carried`] and what is in it.
//!
//! One type and not five, because a context finds values by type: one look-up, and one allocation
//! for a request, whatever it carries.

use ripcord_core::{Ctx, Reach, Value};
use ripcord_wire::baggage::Baggage;
use ripcord_wire::ext::Ext;
use ripcord_wire::request_id::RequestId;
use ripcord_wire::trace::{SpanId, TraceFlags, TraceId, TraceParent};
use ripcord_wire::tracestate::TraceState;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where a request stands in its distributed trace.
///
/// It is there also where nobody records spans: ids go into logs, and calls name this span as their
/// parent. A tracer that records replaces span id and flags with its own
/// ([`CallObserver::start`](crate::CallObserver::start)).
///
/// # Examples
/// ```
/// use ripcord_propagation::Propagation;
/// use http::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// headers.insert("traceparent", parent.parse().expect("a header value"));
/// let trace = Propagation::default().extract(&headers).carried.trace;
/// assert_eq!(trace.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(trace.parent_span_id.map(|id| id.to_string()).as_deref(), Some("00f067aa0ba902b7"));
/// assert_ne!(Some(trace.span_id), trace.parent_span_id, "this service is a span of its own");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Trace {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that is current here: what goes out as the parent.
    pub span_id: SpanId,
    /// The span above it: the caller's, if one was told.
    pub parent_span_id: Option<SpanId>,
    /// The parent is in another process.
    pub is_remote_parent: bool,
    /// Sampled, random.
    pub flags: TraceFlags,
    /// The vendors' entries.
    pub state: TraceState,
}

impl Trace {
    /// What goes out as `traceparent`: for a carrier or a library that wants the text.
    #[must_use]
    pub fn parent(&self) -> TraceParent {
        TraceParent {
            trace_id: self.trace_id,
            span_id: self.span_id,
            flags: self.flags,
        }
    }
}

/// Who set the deadline of a request.
///
/// It decides whose the problem is when the deadline passes: see [`verdict`](crate::verdict).
///
/// # Examples
/// ```
/// use http::HeaderMap;
/// use ripcord_propagation::{DeadlinePolicy, DeadlineSource, Propagation};
/// use std::time::Duration;
///
/// let policy = DeadlinePolicy::new(Duration::from_millis(10), Duration::from_secs(30))?
///     .with_default(Duration::from_secs(5))?;
/// let propagation = Propagation::builder().deadline(policy).build()?;
/// let source = |headers: &HeaderMap| propagation.extract(headers).deadline_source;
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(source(&headers), Some(DeadlineSource::Policy), "the default");
/// headers.insert("grpc-timeout", "1S".parse().expect("a header value"));
/// assert_eq!(source(&headers), Some(DeadlineSource::Caller));
/// headers.insert("grpc-timeout", "1H".parse().expect("a header value"));
/// assert_eq!(source(&headers), Some(DeadlineSource::Policy), "clamped to its maximum");
/// # Ok::<_, ripcord_propagation::PolicyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DeadlineSource {
    /// The caller, by a header.
    Caller,
    /// The server's policy: its default, or its maximum where the caller asked for more.
    Policy,
}

/// The other end of the connection, as the transport knows it; never what a header says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Peer {
    /// Its address; a proxy's, where there is one.
    pub address: Option<SocketAddr>,
}

impl Peer {
    /// A peer with an address. A layer of one's own can put it into a request's extensions, for servers
    /// that do not.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address: Some(address),
        }
    }
}

/// What travels with a request; a context carries it under this one type.
///
/// Made by [`Propagation::extract`](crate::Propagation::extract), written to calls by
/// [`inject`](crate::Propagation::inject), read by [`CtxCarried`].
///
/// # Costs
/// A clone is three reference counts at most: the vendors' trace state and everything that does
/// not change from span to span are shared.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The position in the trace.
    pub trace: Trace,
    pub(crate) shared: Arc<Shared>,
}

/// What does not change from span to span.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) baggage: Baggage,
    pub(crate) request_id: RequestId,
    pub(crate) external_request_id: Option<RequestId>,
    pub(crate) ext: Ext,
    pub(crate) peer: Option<Peer>,
    pub(crate) deadline_source: Option<DeadlineSource>,
    pub(crate) budget: Option<Duration>,
}

impl Value for Carried {
    const REACH: Reach = Reach::Wire;
}

impl Carried {
    /// Baggage: names and values that callers gave along. Nobody vouches for them.
    #[must_use]
    pub fn baggage(&self) -> &Baggage {
        &self.shared.baggage
    }

    /// The id of the request: the caller's, or one that was made here.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.shared.request_id
    }

    /// The id that a client outside sent, where it was replaced at the edge.
    #[must_use]
    pub fn external_request_id(&self) -> Option<&RequestId> {
        self.shared.external_request_id.as_ref()
    }

    /// Business values that arrived: those that no [`WireValue`](crate::WireValue) stands for, too.
    ///
    /// For a look at what a caller sends; registered types are read from the context by their type.
    /// Empty unless the configuration believes them.
    #[must_use]
    pub fn ext(&self) -> &Ext {
        &self.shared.ext
    }

    /// The other end of the connection, where the transport said.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.shared.peer.as_ref()
    }

    /// Who set the deadline; `None` where there is none, or a context above the request has a tighter
    /// one.
    #[must_use]
    pub fn deadline_source(&self) -> Option<DeadlineSource> {
        self.shared.deadline_source
    }

    /// How much time was left when the request arrived, after the policy. What is left now is
    /// `ctx.remaining()`.
    #[must_use]
    pub fn budget(&self) -> Option<Duration> {
        self.shared.budget
    }

    /// Under a deadline that neither the caller nor the policy has set.
    pub(crate) fn bound(&mut self, budget: Duration) {
        let shared = Arc::make_mut(&mut self.shared);
        (shared.budget, shared.deadline_source) = (Some(budget), None);
    }

    /// The same request in another span, below the current one: what a tracer does for a call.
    ///
    /// # Examples
    /// ```
    /// use ripcord_propagation::Propagation;
    /// use ripcord_wire::trace::SpanId;
    /// use http::HeaderMap;
    ///
    /// let request = Propagation::default().extract(&HeaderMap::new()).carried;
    /// let query = request.in_span(SpanId::from_bytes([7; 8]).expect("not zero"));
    /// assert_eq!(query.trace.parent_span_id, Some(request.trace.span_id));
    /// assert_eq!(query.request_id(), request.request_id());
    /// ```
    #[must_use]
    pub fn in_span(&self, span_id: SpanId) -> Self {
        Self {
            trace: Trace {
                parent_span_id: Some(self.trace.span_id),
                is_remote_parent: false,
                span_id,
                ..self.trace.clone()
            },
            shared: Arc::clone(&self.shared),
        }
    }

    /// The same request with other baggage, for the calls below.
    #[must_use]
    pub fn with_baggage(mut self, baggage: Baggage) -> Self {
        Arc::make_mut(&mut self.shared).baggage = baggage;
        self
    }

    /// The same request from a known peer.
    #[must_use]
    pub fn with_peer(mut self, peer: Peer) -> Self {
        Arc::make_mut(&mut self.shared).peer = Some(peer);
        self
    }
}

/// Reads what travels with a context: methods of [`Ctx`], wherever one is at hand.
///
/// All of them are `None` outside of a request, so that library code needs no second way for jobs and
/// tests.
///
/// # Examples
/// ```
/// use http::HeaderMap;
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{CtxCarried, Propagation};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-request-id", "7f3a".parse().expect("a header value"));
/// let incoming = Propagation::default().extract(&headers);
/// let ctx = incoming.context(&Ctx::background());
/// assert_eq!(ctx.request_id(), Some("7f3a"));
/// assert_eq!(Ctx::background().request_id(), None);
/// ```
///
/// Baggage that a handler reads, and adds to for those that it calls:
///
/// ```
/// use http::HeaderMap;
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{CtxCarried as _, PeerPolicy, Propagation};
///
/// let propagation = Propagation::default();
/// let mut request = HeaderMap::new();
/// request.insert("baggage", "plan=gold".parse().expect("a header value"));
/// let ctx = propagation.extract(&request).context(&Ctx::background());
///
/// let baggage = ctx.baggage().expect("a request");
/// let is_gold = baggage.get("plan").is_some_and(|plan| plan == "gold");
/// let queue = if is_gold { "fast" } else { "slow" };
/// let ctx = ctx.with_baggage(baggage.with("queue", queue)?);
///
/// let mut call = HeaderMap::new();
/// propagation.inject(&ctx, &PeerPolicy::internal(), &mut call)?;
/// assert_eq!(call["baggage"], "plan=gold,queue=fast");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
/// One look-up by type; no lock. Adding baggage makes a node of context.
pub trait CtxCarried {
    /// What travels with it, if it belongs to a request.
    fn carried(&self) -> Option<&Carried>;

    /// The id of the request: for log lines, and for whoever reports a problem.
    fn request_id(&self) -> Option<&str> {
        Some(self.carried()?.request_id().as_str())
    }

    /// Its position in the trace.
    fn trace(&self) -> Option<&Trace> {
        Some(&self.carried()?.trace)
    }

    /// Its baggage; empty for a request that brought none.
    fn baggage(&self) -> Option<&Baggage> {
        Some(self.carried()?.baggage())
    }

    /// The same context with other baggage, which goes out with the calls below.
    ///
    /// Outside of a request there is nothing to add it to: the context comes back as it was. A job gets
    /// what a request has from [`Propagation::originate`](crate::Propagation::originate).
    #[must_use]
    fn with_baggage(&self, baggage: Baggage) -> Self;
}

impl CtxCarried for Ctx {
    fn carried(&self) -> Option<&Carried> {
        self.get()
    }

    fn with_baggage(&self, baggage: Baggage) -> Self {
        match self.carried() {
            Some(carried) => self.with(carried.clone().with_baggage(baggage)),
            None => self.clone(),
        }
    }
}
