//! [`Propagation`]: which headers are read, and by which policies.
//!
//! A configuration is a value that is made once and shared: extracting and injecting read it, and
//! nothing of it changes with requests but the count of refusals by absolute deadlines (`skew.rs`).
//! What cannot be is refused when it is built, so that no request meets it.
//!
//! *Read next*: `extract.rs` (reading), `inject.rs` (writing), `peer.rs` (what a peer may be told).

use crate::carrier::{Carrier, CarrierMut};
use crate::clock::Origin;
use crate::extract::Interest;
use crate::incoming::Incoming;
use crate::inject::{self, Sent};
use crate::keys::Keys;
use crate::peer::PeerPolicy;
use crate::policy::{DeadlinePolicy, PolicyError};
use crate::skew::Refusals;
use crate::values::{Registered, WireValue};
use crate::{extract, policy};
use ripcord_core::{Cancelled, Ctx};
use ripcord_wire::{baggage, ext, timeout::TimeoutHeader};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A format of trace context, for [`Builder::trace_formats`].
///
/// W3C Trace Context is what today's tracers speak; B3 is Zipkin's, and that of older meshes. All of
/// them say the same of a request: trace, parent, sampled or not. Only W3C carries vendors' entries.
///
/// # Limitations
/// Of B3, the debug flag goes out as sampled, and a trace whose sampling is left to the callee with
/// what was decided here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TraceFormat {
    /// `traceparent` and `tracestate` (W3C Trace Context, level 2).
    W3c,
    /// `b3`: everything in one header.
    B3Single,
    /// `x-b3-traceid`, `x-b3-spanid` and their fellows.
    B3Multi,
}

/// What is done with `x-context-ext`.
#[derive(Clone, Debug)]
pub(crate) enum Signatures {
    /// Neither read nor written.
    Stripped,
    /// Believed as it comes.
    Unsigned,
    /// Believed if signed for this request and this audience.
    Signed { keys: Arc<Keys>, audience: String },
}

#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches, each set by one method of the builder"
)]
pub(crate) struct Config {
    pub(crate) timeouts: Vec<TimeoutHeader>,
    pub(crate) policy: DeadlinePolicy,
    pub(crate) skew_max: Option<Duration>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) formats: Vec<TraceFormat>,
    pub(crate) samples_new: bool,
    pub(crate) takes_baggage: bool,
    pub(crate) baggage_limits: baggage::Limits,
    pub(crate) request_ids: Vec<Cow<'static, str>>,
    pub(crate) replaces_request_id: bool,
    pub(crate) signatures: Signatures,
    pub(crate) signature_age_max: Duration,
    pub(crate) ext_limits: ext::Limits,
    pub(crate) forwards_unknown: bool,
    pub(crate) values: Registered,
    pub(crate) origin: Origin,
    /// Of all names that [`owns`](Self::owns) knows; made when the configuration is complete.
    pub(crate) interest: Interest,
}

/// The largest number of entries of `tracestate` that goes out whole: more than the 512 bytes that
/// everybody has to forward, and far from the limits of servers.
pub(crate) const TRACESTATE_BYTES_MAX: usize = 4096;

/// Reads what travels from headers and writes it to them, by one configuration.
///
/// Made once for a service, cheap to clone. Without configuration ([`Default`]) it takes part in
/// W3C traces, forwards baggage, keeps request ids, reads `x-request-timeout-ms`, `grpc-timeout`
/// and `connect-timeout-ms` with the default [`DeadlinePolicy`], and strips `x-context-ext`.
///
/// | header | read by default | set by | written to a peer that |
/// |---|---|---|---|
/// | `x-request-timeout-ms`, `grpc-timeout`, `connect-timeout-ms` | yes | [`read_timeouts_only`](Builder::read_timeouts_only) | has that [time-out header](PeerPolicy::with_timeout_header) |
/// | `x-envoy-expected-rq-timeout-ms` and others | no | [`read_timeout`](Builder::read_timeout) | the same |
/// | `x-request-deadline`, `l5d-ctx-deadline`, `com.twitter.finagle.deadline` | no | [`trust_clocks`](Builder::trust_clocks) | never |
/// | `traceparent`, `tracestate` | yes | [`trace_formats`](Builder::trace_formats) | is not silent |
/// | `b3`, `x-b3-…` | no | [`trace_formats`](Builder::trace_formats) | is not silent |
/// | `x-request-id` | yes | [`request_id_headers`](Builder::request_id_headers) | is not silent |
/// | `baggage` | yes, except at an [`edge`](Builder::edge) | [`baggage_limits`](Builder::baggage_limits) | may have the member |
/// | `x-context-ext` | no | [`signed_values`](Builder::signed_values), [`trust_unsigned_values`](Builder::trust_unsigned_values) | is internal |
///
/// # Examples
/// ```
/// use http::HeaderMap;
/// use ripcord_core::Ctx;
/// use ripcord_propagation::{DeadlinePolicy, PeerPolicy, Propagation};
/// use std::time::Duration;
///
/// let policy = DeadlinePolicy::new(Duration::from_millis(5), Duration::from_secs(30))?
///     .with_default(Duration::from_secs(10))?;
/// let propagation = Propagation::builder().deadline(policy).build()?;
///
/// // A request comes in …
/// let ctx = propagation.extract(&HeaderMap::new()).context(&Ctx::background());
/// assert!(ctx.remaining() <= Some(Duration::from_secs(10)));
///
/// // … and asks somebody else.
/// let mut headers = HeaderMap::new();
/// propagation.inject(&ctx, &PeerPolicy::internal(), &mut headers)?;
/// assert!(headers.contains_key("traceparent"));
/// assert!(headers.contains_key("x-request-timeout-ms"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Propagation {
    pub(crate) config: Arc<Config>,
}

impl Default for Propagation {
    fn default() -> Self {
        Self {
            config: Arc::new(Builder::default().config.complete()),
        }
    }
}

impl Propagation {
    /// Begins with the defaults; each method of the [`Builder`] changes one thing.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Reads the headers of a request.
    ///
    /// Never fails: what cannot be used is ignored and counted in [`Incoming::rejects`].
    ///
    /// Nothing of the process changes by it; the context is made by [`Incoming::context`]. The carrier
    /// may be the headers of HTTP or gRPC, or those of a message: see [`Carrier`].
    ///
    /// # Costs
    /// One pass over the headers. Work and memory are linear in their size, with the limits of the
    /// codecs on what is kept.
    #[must_use]
    pub fn extract(&self, headers: &dyn Carrier) -> Incoming {
        extract::extract(&self.config, headers)
    }

    /// Writes the headers of a call that `ctx` makes.
    ///
    /// First takes out every header of the same names: a copy that was forwarded with the rest of
    /// an incoming request is stale. What goes out then is what the peer may have; [`Sent`] says what
    /// stayed here.
    ///
    /// The call is in the span of the context, as if it were a part of it; for one that is a span of
    /// its own see [`for_call`](Self::for_call). `ripcord-http` and `ripcord-grpc` do all of this for
    /// each call: by hand it is for other carriers, as messages.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_core::Ctx;
    /// use ripcord_propagation::{PeerPolicy, Propagation};
    /// use std::time::Duration;
    ///
    /// let propagation = Propagation::default();
    /// let ctx = propagation.originate().context(&Ctx::background());
    /// let ctx = ctx.with_timeout(Duration::from_millis(80));
    /// let far_away = PeerPolicy::internal().with_reserve(Duration::from_millis(200));
    ///
    /// let mut message = HeaderMap::new();
    /// let error = propagation.inject(&ctx, &far_away, &mut message).unwrap_err();
    /// assert!(error.is_deadline() && message.is_empty(), "the answer would come too late");
    /// assert!(!ctx.is_done(), "there may be time for something else");
    /// ```
    ///
    /// # Errors
    /// When the context is done, or nothing is left of its deadline after the peer's reserve. Then
    /// nothing should be sent: the answer could not arrive in time. The headers are as they were.
    ///
    /// # Costs
    /// A pass over the names that are there, and one allocation for each header that goes out.
    pub fn inject(
        &self,
        ctx: &Ctx,
        peer: &PeerPolicy,
        headers: &mut dyn CarrierMut,
    ) -> Result<Sent, Cancelled> {
        inject::inject(&self.config, ctx, ctx.get(), peer, headers)
    }

    /// The same, with `carried` in place of what the context carries: for a call in a span of its own.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_core::Ctx;
    /// use ripcord_propagation::{CtxCarried as _, PeerPolicy, Propagation};
    ///
    /// let propagation = Propagation::default();
    /// let ctx = propagation.originate().context(&Ctx::background());
    /// let call = propagation.for_call(&ctx);
    /// let mut headers = HeaderMap::new();
    /// propagation.inject_as(&ctx, &call, &PeerPolicy::external(), &mut headers)?;
    ///
    /// let callee = propagation.extract(&headers).carried.trace;
    /// assert_eq!(callee.parent_span_id, Some(call.trace.span_id), "the callee is below the call");
    /// assert_eq!(call.trace.parent_span_id, ctx.trace().map(|trace| trace.span_id));
    /// # Ok::<_, ripcord_core::Cancelled>(())
    /// ```
    ///
    /// # Errors
    /// As [`inject`](Self::inject). The deadline is that of `ctx` in both.
    pub fn inject_as(
        &self,
        ctx: &Ctx,
        carried: &crate::Carried,
        peer: &PeerPolicy,
        headers: &mut dyn CarrierMut,
    ) -> Result<Sent, Cancelled> {
        inject::inject(&self.config, ctx, Some(carried), peer, headers)
    }

    /// What a call of this context carries: the same request, in a new span.
    ///
    /// Outside of a request the call is one of its own, in a new trace, with a new request id. That is
    /// not an error: a program that only calls others has no requests.
    #[must_use]
    pub fn for_call(&self, ctx: &Ctx) -> crate::Carried {
        match ctx.get::<crate::Carried>() {
            Some(carried) => carried.in_span(self.config.origin.span()),
            None => self.originate().carried,
        }
    }

    /// A request of one's own, as if it had arrived without headers: for a job that a timer starts.
    ///
    /// It gets a trace, a request id, and the default deadline of the policy. What it calls is then as
    /// easy to find as what a request from outside calls.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::Ctx;
    /// use ripcord_propagation::{CtxCarried, Propagation};
    ///
    /// let job = Propagation::default().originate().context(&Ctx::background());
    /// assert_eq!(job.request_id().map(str::len), Some(36));
    /// ```
    #[must_use]
    pub fn originate(&self) -> Incoming {
        extract::extract(&self.config, &http::HeaderMap::new())
    }

    /// True for the names of headers that are read or written: what must not be forwarded as it came.
    ///
    /// For a gateway that copies headers itself. Names are in lower case, as those of
    /// [`http::HeaderName`] are. Headers that are never read by this configuration are among them where
    /// they would be believed by others, as `x-context-ext` and `b3` are.
    ///
    /// # Examples
    /// ```
    /// use ripcord_propagation::Propagation;
    /// use ripcord_wire::timeout::{TimeoutHeader, Unit};
    ///
    /// let own = TimeoutHeader::new("timeout", Unit::Human).expect("a header name");
    /// let propagation = Propagation::builder().read_timeout(own).build()?;
    /// for name in ["traceparent", "grpc-timeout", "timeout", "x-context-ext"] {
    ///     assert!(propagation.owns(name), "{name}");
    /// }
    /// assert!(!propagation.owns("authorization"));
    /// # Ok::<_, ripcord_propagation::PolicyError>(())
    /// ```
    #[must_use]
    pub fn owns(&self, name: &str) -> bool {
        self.config.owns(name)
    }

    /// The first header in which a request id is read; calls carry it and answers echo it there.
    #[must_use]
    pub fn request_id_header(&self) -> &str {
        self.config.request_id_header()
    }

    /// The policy for deadlines that arrive: for whoever shows the configuration, or tests it.
    #[must_use]
    pub fn deadline_policy(&self) -> &DeadlinePolicy {
        &self.config.policy
    }
}

/// Names that are ours in every configuration, read or not.
const FIXED: [&[&str]; 5] = [
    &extract::ALWAYS,
    &["grpc-timeout", "connect-timeout-ms", "x-request-timeout-ms"],
    &["b3", extract::UNIX_DEADLINE],
    &extract::B3_MULTI,
    &extract::FINAGLE,
];

impl Config {
    fn complete(mut self) -> Self {
        let mut interest = Interest::default();
        let timeouts = self.timeouts.iter().map(TimeoutHeader::name);
        let ids = self.request_ids.iter().map(|name| &**name);
        let fixed = FIXED.into_iter().flatten().copied();
        timeouts.chain(ids).for_each(|name| interest.add(name));
        fixed.for_each(|name| interest.add(name));
        interest.add(self.request_id_header());
        self.interest = interest;
        self
    }

    pub(crate) fn owns(&self, name: &str) -> bool {
        self.interest.has(name)
            && (FIXED.iter().any(|names| names.contains(&name))
                || self.timeouts.iter().any(|known| known.name() == name)
                || self.request_ids.iter().any(|known| *known == name)
                || self.request_id_header() == name)
    }

    /// Where a request id goes out: also where none is read.
    pub(crate) fn request_id_header(&self) -> &str {
        self.request_ids.first().map_or("x-request-id", |name| name)
    }
}

/// Builds a [`Propagation`]; made by [`Propagation::builder`].
///
/// Methods change one thing each, and of two that change the same the later one counts. That matters
/// for [`edge`](Self::edge), which is several settings: what follows it can allow one of them again.
///
/// # Examples
/// A service behind an Envoy of one's own, in a mesh that still speaks B3:
///
/// ```
/// use http::HeaderMap;
/// use ripcord_propagation::{DeadlinePolicy, Propagation, TraceFormat};
/// use ripcord_wire::timeout::TimeoutHeader;
/// use std::time::Duration;
///
/// let policy = DeadlinePolicy::new(Duration::from_millis(10), Duration::from_secs(60))?
///     .with_default(Duration::from_secs(15))?;
/// let propagation = Propagation::builder()
///     .deadline(policy)
///     .read_timeout(TimeoutHeader::ENVOY_EXPECTED)
///     .trace_formats([TraceFormat::W3c, TraceFormat::B3Multi])
///     .build()?;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-envoy-expected-rq-timeout-ms", "250".parse().expect("a header value"));
/// headers.insert("x-request-timeout-ms", "9000".parse().expect("a header value"));
/// assert_eq!(propagation.extract(&headers).budget, Some(Duration::from_millis(250)));
/// # Ok::<_, ripcord_propagation::PolicyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    config: Config,
    /// The first thing that was wrong.
    error: Option<PolicyError>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            error: None,
            config: Config {
                timeouts: vec![
                    TimeoutHeader::REQUEST,
                    TimeoutHeader::GRPC,
                    TimeoutHeader::CONNECT,
                ],
                policy: DeadlinePolicy::default(),
                skew_max: None,
                refusals: Arc::default(),
                formats: vec![TraceFormat::W3c],
                samples_new: true,
                takes_baggage: true,
                baggage_limits: baggage::Limits::default(),
                request_ids: vec![Cow::Borrowed("x-request-id")],
                replaces_request_id: false,
                signatures: Signatures::Stripped,
                signature_age_max: Duration::from_secs(300),
                ext_limits: ext::Limits::default(),
                forwards_unknown: false,
                values: Registered::default(),
                origin: Origin::default(),
                interest: Interest::default(),
            },
        }
    }
}

impl Builder {
    /// Bounds the deadlines that callers ask for, and says what those get who ask for nothing.
    ///
    /// Without it they are clamped to between a millisecond and an hour, and nobody has a default. A
    /// default is what keeps a forgotten request from staying for ever: most services should set one.
    #[must_use]
    pub fn deadline(mut self, policy: DeadlinePolicy) -> Self {
        self.config.policy = policy;
        self
    }

    /// Also reads a deadline from this header.
    ///
    /// Of several the smallest counts. Envoy's headers are believed only if this is called for them:
    /// from the internet anybody could send them. The policy bounds what that does, and who sends one
    /// shortens no request but its own.
    ///
    /// A header of one's own is made by [`TimeoutHeader::new`]. It goes out only to peers whose policy
    /// [names it](PeerPolicy::with_timeout_header).
    #[must_use]
    pub fn read_timeout(mut self, header: TimeoutHeader) -> Self {
        if !self.config.timeouts.contains(&header) {
            self.config.timeouts.push(header);
        }
        self
    }

    /// Reads a deadline from these headers only; from none, if there are none.
    ///
    /// Copies of the usual ones are still taken out of what is forwarded.
    #[must_use]
    pub fn read_timeouts_only(mut self, headers: impl IntoIterator<Item = TimeoutHeader>) -> Self {
        self.config.timeouts = headers.into_iter().collect();
        self
    }

    /// Also reads absolute deadlines, of peers whose clocks differ from this one's by `skew_max` at most.
    ///
    /// They are `x-request-deadline` (Unix milliseconds) and Finagle's `l5d-ctx-deadline` and
    /// `com.twitter.finagle.deadline`. One that has passed by less than `skew_max` leaves the
    /// policy's minimum. Should clocks be worse than that, at most a fifth of the requests in ten
    /// seconds is refused; for the others the header is ignored and counted.
    ///
    /// Relative time-outs need no clocks: prefer them wherever a call is answered at once. For what
    /// rests in a queue they count from the wrong moment, and an absolute deadline is right. It is the
    /// sender's to write: [`Propagation::inject`] never does.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_core::Ctx;
    /// use ripcord_propagation::Propagation;
    /// use std::time::{Duration, SystemTime, UNIX_EPOCH};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The producer: whoever takes this message has half a minute from now, queueing included.
    /// let deadline = SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(30);
    /// let mut message = HeaderMap::new();
    /// message.insert("x-request-deadline", deadline.as_millis().to_string().parse()?);
    ///
    /// // A consumer, later and elsewhere:
    /// let queue = Propagation::builder().trust_clocks(Duration::from_millis(500)).build()?;
    /// let job = queue.extract(&message).context(&Ctx::background());
    /// assert!(job.remaining() <= Some(Duration::from_secs(30)));
    ///
    /// // One that is years late is not begun.
    /// message.insert("x-request-deadline", "1000000000000".parse()?);
    /// assert!(queue.extract(&message).context(&Ctx::background()).is_done());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn trust_clocks(mut self, skew_max: Duration) -> Self {
        self.config.skew_max = Some(skew_max);
        self
    }

    /// Reads and writes trace context in these formats; the first that is there counts.
    ///
    /// B3 is read in both forms, whichever of them is written, and the single header wins over the
    /// several.
    ///
    /// All formats that are listed are written, so that a mesh can change from one to the other: list
    /// both everywhere, then only the new one. With none, no trace is read or written, and each request
    /// begins one of its own.
    #[must_use]
    pub fn trace_formats(mut self, formats: impl IntoIterator<Item = TraceFormat>) -> Self {
        self.config.formats = Vec::new();
        for format in formats {
            if !self.config.formats.contains(&format) {
                self.config.formats.push(format);
            }
        }
        self
    }

    /// Whether a trace that begins here is sampled; yes by default.
    ///
    /// It is a flag for those who record, here and further on. An [observer](crate::CallObserver) that
    /// samples decides by itself and overwrites it; without one, `false` keeps callees that honour the
    /// flag from recording every request of a service that nobody traces. What a caller decided stands.
    #[must_use]
    pub fn sample_new(mut self, is_sampled: bool) -> Self {
        self.config.samples_new = is_sampled;
        self
    }

    /// Limits on the baggage that comes in and goes out: 64 members and 8,192 bytes by default.
    ///
    /// They hold for all header lines together, and again for what goes out, which a handler may have
    /// added to. A member is kept or left out whole; see [`Rejects::baggage`](crate::Rejects::baggage)
    /// and [`Sent::baggage_dropped`]. Less than the default is against the standard (W3C Baggage
    /// §3.3.2), and sensible where headers are short.
    #[must_use]
    pub fn baggage_limits(mut self, limits: baggage::Limits) -> Self {
        self.config.baggage_limits = limits;
        self
    }

    /// Reads the request id from the first of these headers that has one; answers echo the first name.
    ///
    /// First by the order given here, whatever the order on the wire.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_propagation::Propagation;
    ///
    /// let names = ["x-request-id", "x-correlation-id"];
    /// let propagation = Propagation::builder().request_id_headers(names).build()?;
    /// let mut headers = HeaderMap::new();
    /// headers.insert("x-correlation-id", "order-17".parse().expect("a header value"));
    /// let carried = propagation.extract(&headers).carried;
    /// assert_eq!(carried.request_id().as_str(), "order-17");
    /// assert_eq!(propagation.request_id_header(), "x-request-id");
    /// # Ok::<_, ripcord_propagation::PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// [`build`](Self::build) fails with [`PolicyError::HeaderName`] for a name that is no token.
    #[must_use]
    pub fn request_id_headers(
        mut self,
        names: impl IntoIterator<Item = impl Into<Cow<'static, str>>>,
    ) -> Self {
        self.config.request_ids = Vec::new();
        for name in names {
            let mut name = name.into();
            name.to_mut().make_ascii_lowercase();
            if http::HeaderName::try_from(&*name).is_err() {
                self.fail(PolicyError::HeaderName(policy::shown(&name)));
            }
            self.config.request_ids.push(name);
        }
        self
    }

    /// Callers are strangers: what they claim is not believed.
    ///
    /// Baggage and `x-context-ext` are dropped, request ids replaced (the client's is kept as
    /// [`external_request_id`](crate::Carried::external_request_id)), clocks not trusted. Deadlines
    /// still count, within the policy, and so do traces: a forged one harms its forger.
    ///
    /// It is for the first service behind the internet, and for that one only: those behind it keep
    /// what it has decided. What the edge itself puts into baggage goes on to its peers.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_propagation::Propagation;
    ///
    /// let edge = Propagation::builder().edge().build()?;
    /// let mut headers = HeaderMap::new();
    /// headers.insert("baggage", "role=admin".parse().expect("a header value"));
    /// headers.insert("x-request-id", "mine".parse().expect("a header value"));
    /// let carried = edge.extract(&headers).carried;
    /// assert!(carried.baggage().is_empty());
    /// assert_ne!(carried.request_id().as_str(), "mine");
    /// assert_eq!(carried.external_request_id().map(|id| id.as_str()), Some("mine"));
    /// # Ok::<_, ripcord_propagation::PolicyError>(())
    /// ```
    ///
    /// # Limitations
    /// It is several settings, and of two that contradict each other the later call counts:
    /// `edge().signed_values(..)` lets an edge sign what it knows of its users, and verifies what comes
    /// in; `signed_values(..).edge()` does neither.
    #[must_use]
    pub fn edge(mut self) -> Self {
        self.config.takes_baggage = false;
        self.config.replaces_request_id = true;
        self.config.signatures = Signatures::Stripped;
        self.config.skew_max = None;
        self
    }

    /// Reads and writes business values that are signed with `keys`.
    ///
    /// `audience` names who they are for, the same on both sides: what one system signed means
    /// nothing to another. A signature is bound to the trace id and the request id, so that it
    /// cannot be moved to another request, and expires after five minutes.
    ///
    /// Each service that sends values on signs them anew, with the key that it has: a signature says
    /// that the *last* hop vouches for them. What arrives without a good signature counts as absent.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_core::{Ctx, Reach, Value};
    /// use ripcord_propagation::{Keys, PeerPolicy, Propagation, WireValue};
    /// use ripcord_wire::ext::Json;
    ///
    /// #[derive(PartialEq, Debug)]
    /// struct Seats(i64);
    /// impl Value for Seats { const REACH: Reach = Reach::Wire; }
    /// impl WireValue for Seats {
    ///     const KEY: &'static str = "seats";
    ///     fn to_wire(&self) -> Json { Json::Int(self.0) }
    ///     fn from_wire(json: &Json) -> Option<Self> { json.as_int().map(Self) }
    /// }
    ///
    /// let service = |audience| {
    ///     let keys = Keys::new("2026-11", b"32 random bytes, from a vault ..").expect("a good key");
    ///     Propagation::builder().value::<Seats>().signed_values(keys, audience).build()
    /// };
    /// let (here, there, others) = (service("shop")?, service("shop")?, service("payroll")?);
    /// let ctx = here.originate().context(&Ctx::background()).with(Seats(12));
    /// let mut headers = HeaderMap::new();
    /// here.inject(&ctx, &PeerPolicy::internal(), &mut headers)?;
    /// assert_eq!(there.extract(&headers).context(&Ctx::background()).get(), Some(&Seats(12)));
    /// assert_eq!(others.extract(&headers).rejects.ext, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Costs
    /// A SHA-256 over the values, some hundred bytes, for each call that has any, and for each request
    /// that brings some.
    ///
    /// # Limitations
    /// The values are signed, and not secret. They go only to peers that are also told the trace and the
    /// request id; to others they count as [dropped](Sent::values_dropped). Clocks may differ by half a
    /// minute.
    #[must_use]
    pub fn signed_values(mut self, keys: Keys, audience: impl Into<String>) -> Self {
        self.config.signatures = Signatures::Signed {
            keys: Arc::new(keys),
            audience: audience.into(),
        };
        self
    }

    /// For how long a signature is good, five minutes by default; whole seconds.
    ///
    /// As long as a message may rest between being signed and being read: seconds for calls, longer for
    /// queues. Who has seen the header can use it for as long, on the same request.
    #[must_use]
    pub fn signature_age_max(mut self, age: Duration) -> Self {
        self.config.signature_age_max = age;
        self
    }

    /// Reads and writes business values without signatures: whatever a peer says is believed.
    ///
    /// Only where nobody but services of one's own can send headers: one open port, or one proxy that
    /// forwards what it does not know, and a stranger chooses the tenant.
    #[must_use]
    pub fn trust_unsigned_values(mut self) -> Self {
        self.config.signatures = Signatures::Unsigned;
        self
    }

    /// Limits on `x-context-ext`: 2,048 bytes of JSON, 32 keys and four levels by default.
    ///
    /// A header that comes in over a limit is refused as a whole; of what goes out, what does not fit
    /// stays here, and is counted in [`Sent::values_dropped`]. No limit goes beyond
    /// [`ext::Limits::HARD`], 8 KiB on the wire.
    #[must_use]
    pub fn ext_limits(mut self, limits: ext::Limits) -> Self {
        self.config.ext_limits = limits;
        self
    }

    /// Sends values on that arrived and that no type is registered for.
    ///
    /// For a service in the middle that need not know what its callees are told. With signatures it
    /// vouches for what it does not know; without this such values end here, though handlers can read
    /// them as [`Carried::ext`](crate::Carried::ext).
    #[must_use]
    pub fn forward_unknown_values(mut self) -> Self {
        self.config.forwards_unknown = true;
        self
    }

    /// Registers a type whose value travels, in both directions.
    ///
    /// The order of registration is the order of importance: where not everything fits, the last ones
    /// stay here. It takes effect only with [`signed_values`](Self::signed_values) or
    /// [`trust_unsigned_values`](Self::trust_unsigned_values).
    ///
    /// # Errors
    /// [`build`](Self::build) fails for a key that is none, or that another type has. A type that is
    /// not [`Reach::Wire`](ripcord_core::Reach::Wire) does not compile.
    #[must_use]
    pub fn value<T: WireValue>(mut self) -> Self {
        if let Err(error) = self.config.values.add::<T>() {
            self.fail(error);
        }
        self
    }

    /// Ids and time stamps from `origin`: for tests that expect fixed ones.
    #[cfg(test)]
    pub(crate) fn origin(mut self, origin: Origin) -> Self {
        self.config.origin = origin;
        self
    }

    fn fail(&mut self, error: PolicyError) {
        self.error.get_or_insert(error);
    }

    /// Checks the configuration.
    ///
    /// # Examples
    /// ```
    /// use ripcord_propagation::Propagation;
    ///
    /// let error = Propagation::builder().request_id_headers(["request id"]).build().unwrap_err();
    /// assert_eq!(error.to_string(), r#"use "request id" as the name of a header: it is no token"#);
    /// ```
    ///
    /// # Errors
    /// [`PolicyError`] for the first setting that cannot be.
    pub fn build(self) -> Result<Propagation, PolicyError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Propagation {
                config: Arc::new(self.config.complete()),
            }),
        }
    }
}
