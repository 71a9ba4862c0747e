//! The seam for telemetry: who is told of each call's start and end.
//!
//! Spans, metrics, logs and audits want the same few facts at the same two moments. They are told by
//! `exchange.rs`, which knows every way in which a call ends; an observer needs not know any.
//!
//! *Order*: `start`, `attach`, then `routed`, `answered` and `cancelled` as they come, each at most
//! once, and `end` exactly once. All on the thread that works for the call, outside of locks.

use crate::carried::{Carried, DeadlineSource};
use crate::incoming::Rejects;
use crate::verdict::GrpcCode;
use ripcord_core::{Cause, Ctx};
use std::panic::Location;
use std::time::Duration;

/// Which end of a call this process is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(clippy::exhaustive_enums, reason = "a call has two ends")]
pub enum Side {
    /// It serves the call.
    Server,
    /// It makes the call.
    Client,
}

/// How a call travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP of any version.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
}

/// What is known of a call when it begins.
///
/// Everything here that came from a peer is as it came: an observer that exports it bounds it. That
/// holds for the method, too, which may be any token, and for the path, which makes no label.
///
/// # Examples
/// ```
/// use ripcord_propagation::{Call, Protocol, Side};
///
/// let call = Call::new(Side::Client, Protocol::Http, "GET", "/orders/17")
///     .with_target(Some("https"), Some("user:secret@shop.example:8443"))
///     .with_route(Some("/orders/{id}"));
/// assert_eq!(call.authority, Some("shop.example:8443"), "a password is nobody else's business");
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// Served or made.
    pub side: Side,
    /// Protocol.
    pub protocol: Protocol,
    /// HTTP method; `POST` for gRPC.
    pub method: &'a str,
    /// Path of the URI without its query; for gRPC `/package.Service/Method`.
    pub path: &'a str,
    /// Template of the route, as `/orders/{id}`, where it is known.
    pub route: Option<&'a str>,
    /// `http` or `https`.
    pub scheme: Option<&'a str>,
    /// Host and perhaps port: of the `host` header on a server, of the target on a client.
    pub authority: Option<&'a str>,
    /// `1.1` or `2`.
    pub version: Option<&'static str>,
    /// What is left of the deadline now.
    pub remaining: Option<Duration>,
    /// What was refused of the headers; nothing for a client.
    pub rejects: Rejects,
    /// The line that its context, and so its deadline, is said to be made at; by default the
    /// transport's own.
    pub site: Option<&'static Location<'static>>,
}

impl<'a> Call<'a> {
    /// A call of which only the most important is known; the rest can be set.
    ///
    /// The path is without its query, which may hold what must not be logged.
    #[must_use]
    pub fn new(side: Side, protocol: Protocol, method: &'a str, path: &'a str) -> Self {
        Self {
            side,
            protocol,
            method,
            path,
            route: None,
            scheme: None,
            authority: None,
            version: None,
            remaining: None,
            rejects: Rejects::default(),
            site: None,
        }
    }

    /// What an HTTP request says of itself.
    ///
    /// The authority is that of the URI, or of the `host` header where the URI is only a path.
    ///
    /// # Examples
    /// ```
    /// use http::Request;
    /// use ripcord_propagation::{Call, Protocol, Side};
    ///
    /// let request = Request::get("/orders?page=2").header("host", "shop.example").body(())?;
    /// let call = Call::of_request(Side::Server, Protocol::Http, &request);
    /// assert_eq!((call.path, call.authority), ("/orders", Some("shop.example")));
    /// assert_eq!((call.version, call.route), (Some("1.1"), None));
    /// # Ok::<_, http::Error>(())
    /// ```
    #[must_use]
    pub fn of_request<B>(side: Side, protocol: Protocol, request: &'a http::Request<B>) -> Self {
        let uri = request.uri();
        let host = || request.headers().get("host")?.to_str().ok();
        Self {
            scheme: uri.scheme_str(),
            authority: uri
                .authority()
                .map(http::uri::Authority::as_str)
                .or_else(host)
                .map(without_user),
            version: match request.version() {
                http::Version::HTTP_10 => Some("1.0"),
                http::Version::HTTP_11 => Some("1.1"),
                http::Version::HTTP_2 => Some("2"),
                http::Version::HTTP_3 => Some("3"),
                _ => None,
            },
            ..Self::new(side, protocol, request.method().as_str(), uri.path())
        }
    }

    /// The same call with where it goes: `http` or `https`, and host and port.
    #[must_use]
    pub fn with_target(self, scheme: Option<&'a str>, authority: Option<&'a str>) -> Self {
        Self {
            scheme,
            authority: authority.map(without_user),
            ..self
        }
    }

    /// The same call with its route; the context of the call is named after it.
    #[must_use]
    pub fn with_route(self, route: Option<&'a str>) -> Self {
        Self { route, ..self }
    }

    /// Names a line of the user's, as where the layer was made, for causes and reports.
    #[must_use]
    pub fn with_site(self, site: &'static Location<'static>) -> Self {
        Self {
            site: Some(site),
            ..self
        }
    }
}

/// Host and port: a name and a password before them are nobody else's business.
fn without_user(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or(authority)
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Ending {
    /// The last byte of the answer was handed over, or received. Whatever the status was: a 500 that
    /// was answered is complete.
    Complete,
    /// The handler or the transport failed.
    Failed,
    /// The context ended first.
    Cancelled,
    /// Whoever drove the call let it go: a client that left, a future that was not awaited. In a log
    /// of a server these are the requests that took too long for somebody.
    Dropped,
}

/// What is known of a call when it ends.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct End<'a> {
    /// How.
    pub ending: Ending,
    /// HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// gRPC status, if there was one.
    pub grpc: Option<GrpcCode>,
    /// Why the context of the call was done, if it was before the call's own end.
    pub cause: Option<&'a Cause>,
    /// Who set the deadline.
    pub deadline_source: Option<DeadlineSource>,
    /// What the handler or the transport said of its failure.
    pub error: Option<&'a str>,
    /// What is left of the deadline now.
    pub remaining: Option<Duration>,
    /// From the start to now.
    pub took: Duration,
    /// From the instant at which the end was asked for to now, if the context was done: how long work
    /// went on for nobody. For a deadline that instant is the deadline.
    pub cancel_latency: Option<Duration>,
}

/// Is told of calls: opens spans, counts.
///
/// It runs on the path of each request, and outside of all locks. A panic is contained and counted
/// ([`ripcord_core::foreign_panics`]).
///
/// One observer serves both sides and all protocols; [`Call::side`] and [`Call::protocol`] tell them
/// apart. [`AccessLog`](crate::AccessLog) and [`Audit`](crate::Audit) are ready-made,
/// `ripcord-otel` has spans and metrics, and [`Observers`](crate::Observers) makes one of several.
///
/// # Examples
/// ```
/// use ripcord_propagation::{Call, CallObserver, CallRecord, Carried, End};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicI64, Ordering};
///
/// /// How many calls are in flight; right also for those that are dropped.
/// #[derive(Default)]
/// struct InFlight(Arc<AtomicI64>);
/// struct One(Arc<AtomicI64>);
///
/// impl CallObserver for InFlight {
///     fn start(&self, _call: &Call<'_>, _carried: &mut Carried) -> Box<dyn CallRecord> {
///         self.0.fetch_add(1, Ordering::Relaxed);
///         Box::new(One(Arc::clone(&self.0)))
///     }
/// }
/// impl CallRecord for One {
///     fn end(&mut self, _end: &End<'_>) {
///         self.0.fetch_sub(1, Ordering::Relaxed);
///     }
/// }
/// ```
pub trait CallObserver: Send + Sync + 'static {
    /// A call begins.
    ///
    /// May move `carried` into a span of its own, ids and flags, before the context is made, and
    /// gives who is to be told of the end. For a call that goes out it is what the headers will say.
    ///
    /// The call has not begun: what takes long here is time that the deadline counts.
    fn start(&self, call: &Call<'_>, carried: &mut Carried) -> Box<dyn CallRecord>;
}

/// One call in flight.
///
/// [`end`](Self::end) is called exactly once, from a `Drop` if need be. A record that panics is told
/// nothing more until then.
pub trait CallRecord: Send {
    /// Adds values to the context of a served call: what the handler and its tasks shall find there.
    ///
    /// Called once, after `start`. It should return a context below `ctx` or a view of it; anything
    /// else would take the call out of its deadline.
    fn attach(&self, ctx: Ctx) -> Ctx {
        ctx
    }

    /// The route became known after the start; where it was known then, it stands in the [`Call`].
    fn routed(&mut self, _route: &str) {}

    /// The head of the answer is there: the time to the first byte, for those who want it.
    fn answered(&mut self, _status: u16) {}

    /// The context is done while the call goes on; called at most once, before the end.
    ///
    /// The cause is in [`End::cause`] as well: this is for those who want the moment.
    ///
    /// `depth`: how many levels above the call's context the end came from, see
    /// [`Ctx::cause_depth`].
    fn cancelled(&mut self, _cause: &Cause, _depth: Option<usize>) {}

    /// The call is over. It may run in a destructor, and while a thread unwinds: hand on what is known,
    /// and wait for nothing.
    fn end(&mut self, end: &End<'_>);
}
