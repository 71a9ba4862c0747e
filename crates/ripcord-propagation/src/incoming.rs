//! What was read from the headers of a request: [`Incoming`], and the context made of it.
//!
//! Reading and making are two steps, since in between there is something to be known that headers do
//! not say: when the request arrived, from whom, and below which context it belongs.

use crate::carried::{Carried, DeadlineSource, Peer};
use crate::propagation::Config;
use ripcord_core::{CancelGuard, Ctx, Derive, Entry};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often each kind of header was refused in one request.
///
/// A header that is refused is ignored, as if it had not been sent; nobody but the metrics learns
/// of it, since a peer must not be able to fill a log.
///
/// A request is never refused for its headers: who sends nonsense gets the answer of one who sends
/// nothing. A count that goes up after a deployment of a caller is worth a look all the same.
///
/// # Examples
/// ```
/// use http::HeaderMap;
/// use ripcord_propagation::Propagation;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-request-timeout-ms", "-5".parse().expect("a header value"));
/// headers.insert("baggage", "plan=gold,no value".parse().expect("a header value"));
/// let rejects = Propagation::default().extract(&headers).rejects;
/// let counted: Vec<_> = rejects.iter().filter(|(_, count)| *count > 0).collect();
/// assert_eq!(counted, [("deadline", 1), ("baggage", 1)]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Rejects {
    /// Deadline headers.
    pub deadline: u32,
    /// `traceparent` and B3.
    pub trace: u32,
    /// `tracestate`.
    pub tracestate: u32,
    /// Members of baggage: malformed, or over a limit.
    pub baggage: u32,
    /// Request ids.
    pub request_id: u32,
    /// `x-context-ext`, and values in it that their types refused: those are read when the context
    /// is made, so [`Incoming::rejects`] does not know of them, and [`Call::rejects`] does.
    ///
    /// [`Call::rejects`]: crate::Call::rejects
    pub ext: u32,
}

impl Rejects {
    /// Nothing was refused: so it is for nearly every request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each kind by its name, for metrics: the names are fixed, and few enough for a label.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> {
        [
            ("deadline", self.deadline),
            ("trace", self.trace),
            ("tracestate", self.tracestate),
            ("baggage", self.baggage),
            ("request_id", self.request_id),
            ("ext", self.ext),
        ]
        .into_iter()
    }
}

/// What was read from the headers of a request.
///
/// # Examples
/// ```
/// use http::HeaderMap;
/// use ripcord_core::Ctx;
/// use ripcord_propagation::Propagation;
/// use std::time::Duration;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("grpc-timeout", "250m".parse().expect("a header value"));
/// headers.append("x-request-timeout-ms", "soon".parse().expect("a header value"));
/// let incoming = Propagation::default().extract(&headers);
/// assert_eq!(incoming.budget, Some(Duration::from_millis(250)));
/// assert_eq!(incoming.rejects.deadline, 1);
///
/// let ctx = incoming.context(&Ctx::background());
/// assert!(ctx.remaining() <= Some(Duration::from_millis(250)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Incoming {
    /// What travels.
    pub carried: Carried,
    /// The time that the caller and the policy leave, counted from the arrival; zero if it has passed.
    pub budget: Option<Duration>,
    /// Who set it.
    pub deadline_source: Option<DeadlineSource>,
    /// What was refused.
    pub rejects: Rejects,
    pub(crate) config: Arc<Config>,
}

impl Incoming {
    /// The other end of the connection, for who knows it: the transport does, headers do not.
    #[must_use]
    pub fn from_peer(mut self, peer: Peer) -> Self {
        self.carried = self.carried.with_peer(peer);
        self
    }

    /// A context below `parent` with the deadline and everything that travels.
    ///
    /// The budget is counted from now; see [`context_since`](Self::context_since). A deadline of
    /// `parent` that is tighter stays in force. There is no guard: the context ends with its deadline or
    /// with `parent`. A request that can be ended by itself is an [`Exchange`](crate::Exchange).
    #[track_caller]
    pub fn context(mut self, parent: &Ctx) -> Ctx {
        self.bound_by(parent, || parent.clock_now());
        let budget = self.budget;
        self.below(parent, |derive| match budget {
            Some(budget) => derive.with_timeout(budget),
            None => derive,
        })
    }

    /// The same for a request that arrived at `arrived`, by the clock of the tree.
    ///
    /// Time in a queue counts: the caller waits meanwhile.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_propagation::Propagation;
    /// use ripcord_test::TestClock;
    /// use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// let clock = TestClock::new();
    /// let (worker, _guard) = clock.ctx();
    /// let mut headers = HeaderMap::new();
    /// headers.insert("x-request-timeout-ms", "100".parse().expect("a header value"));
    ///
    /// let arrived = worker.clock_now();
    /// clock.advance(ms(80)); // It waits for a worker.
    /// let job = Propagation::default().extract(&headers).context_since(&worker, arrived);
    /// assert_eq!(job.remaining(), Some(ms(20)));
    /// ```
    #[track_caller]
    pub fn context_since(mut self, parent: &Ctx, arrived: Instant) -> Ctx {
        self.bound_by(parent, || arrived);
        let deadline = self.deadline(arrived);
        self.below(parent, |derive| until(derive, deadline))
    }

    #[track_caller]
    fn below(mut self, parent: &Ctx, until: impl FnOnce(Derive<'_>) -> Derive<'_>) -> Ctx {
        let read = self.read_values(parent);
        let parent = read.as_ref().unwrap_or(parent);
        let entry = self.entry();
        until(parent.derive().with(self.carried).entry(entry)).ctx()
    }

    /// The same with the right to cancel it, and without the values.
    #[track_caller]
    pub(crate) fn child(self, derive: Derive<'_>, arrived: Instant) -> (Ctx, CancelGuard) {
        let (deadline, entry) = (self.deadline(arrived), self.entry());
        until(derive.with(self.carried).entry(entry), deadline).child()
    }

    /// Known by its trace: so a recorder that does not record everything chooses the same requests in
    /// every service. What the caller says of sampling counts only where there was a caller.
    fn entry(&self) -> Entry<'static> {
        let trace = &self.carried.trace;
        let entry = Entry::new().numbered(u128::from_be_bytes(trace.trace_id.to_bytes()));
        match trace.parent_span_id {
            Some(_) => entry.sampled(trace.flags.is_sampled()),
            None => entry,
        }
    }

    fn deadline(&self, arrived: Instant) -> Option<Instant> {
        arrived.checked_add(self.budget?)
    }

    /// Where `parent` is under a deadline that is not later, that is the budget: nobody should blame the
    /// caller for it.
    pub(crate) fn bound_by(&mut self, parent: &Ctx, arrived: impl FnOnce() -> Instant) {
        let Some(above) = parent.deadline() else {
            return;
        };
        let arrived = arrived();
        if self.deadline(arrived).is_some_and(|own| own < above.at()) {
            return;
        }
        let budget = above.at().saturating_duration_since(arrived);
        (self.budget, self.deadline_source) = (Some(budget), None);
        self.carried.bound(budget);
    }

    /// `parent` with the values of registered types, if there are any.
    ///
    /// Those that are refused are added to the refusals: before anybody is told of them.
    pub(crate) fn read_values(&mut self, parent: &Ctx) -> Option<Ctx> {
        let ext = self.carried.ext();
        if ext.is_empty() {
            return None;
        }
        let values = &self.config.values;
        let (ctx, refused) = values.read(parent.clone(), |key| ext.get(key));
        self.rejects.ext = self.rejects.ext.saturating_add(refused);
        Some(ctx)
    }
}

fn until(derive: Derive<'_>, deadline: Option<Instant>) -> Derive<'_> {
    match deadline {
        Some(deadline) => derive.with_deadline(deadline),
        None => derive,
    }
}
