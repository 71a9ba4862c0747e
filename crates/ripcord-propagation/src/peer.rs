//! What a peer may be told: [`PeerPolicy`].
//!
//! A policy is asked for each kind of thing by itself, and says no by default. It is applied where
//! headers are written (`inject.rs`); which peer has which policy is the transport's to know.

use ripcord_wire::timeout::TimeoutHeader;
use std::time::Duration;

/// Which baggage goes along.
#[derive(Clone, Debug, Default)]
pub(crate) enum Allowed {
    #[default]
    Nothing,
    Keys(Vec<String>),
    Everything,
}

/// What a peer may be told, and how much time is kept back from it.
///
/// Baggage and business values are told to nobody by default: they may hold what is none of a
/// third party's business.
///
/// | | deadline | trace, request id | baggage | business values |
/// |---|---|---|---|---|
/// | [`internal`](Self::internal) | sent | sent | all | sent |
/// | [`external`](Self::external), the default | sent | sent | none | not sent |
/// | … `.with_baggage(keys)` | sent | sent | these keys | not sent |
/// | [`silent`](Self::silent) | not sent | not sent | none | not sent |
///
/// The deadline ends the call in every case; what is sent is only what the callee is told of it.
///
/// # Examples
/// ```
/// use ripcord_propagation::PeerPolicy;
/// use ripcord_wire::timeout::TimeoutHeader;
/// use std::time::Duration;
///
/// // A service of one's own that answers 5 ms before the caller has to.
/// let own = PeerPolicy::internal().with_reserve(Duration::from_millis(5));
/// // A payment provider that may know the tenant's region.
/// let other = PeerPolicy::external().with_baggage(["region"]);
/// // Somebody who should learn nothing at all.
/// let stranger = PeerPolicy::silent();
/// # let _ = (own, other, stranger, TimeoutHeader::GRPC);
/// ```
#[derive(Clone, Debug)]
pub struct PeerPolicy {
    pub(crate) sends_trace: bool,
    pub(crate) sends_request_id: bool,
    pub(crate) sends_values: bool,
    pub(crate) baggage: Allowed,
    pub(crate) timeouts: Vec<TimeoutHeader>,
    pub(crate) reserve: Duration,
}

/// [`PeerPolicy::external`]: nothing that is private leaves by an oversight.
impl Default for PeerPolicy {
    fn default() -> Self {
        Self::external()
    }
}

impl PeerPolicy {
    /// Everything that travels: for services of one's own.
    ///
    /// "One's own" means that what they log, and whom *they* tell, is one's own business as well: a
    /// peer passes baggage on by its own policies.
    #[must_use]
    pub fn internal() -> Self {
        Self {
            sends_values: true,
            baggage: Allowed::Everything,
            ..Self::external()
        }
    }

    /// Deadline, trace context and request id: for partners and providers.
    ///
    /// A trace id says nothing of the request; it lets the other side tell which of its lines belong to
    /// a problem that one reports. The deadline spares both work that nobody waits for.
    #[must_use]
    pub fn external() -> Self {
        Self {
            sends_trace: true,
            sends_request_id: true,
            sends_values: false,
            baggage: Allowed::Nothing,
            timeouts: vec![TimeoutHeader::REQUEST],
            reserve: Duration::ZERO,
        }
    }

    /// No header at all; the deadline still ends the call here.
    ///
    /// For URLs that users choose, and for servers that choke on headers that they do not know. What was
    /// forwarded of such headers is taken out, too.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            sends_trace: false,
            sends_request_id: false,
            timeouts: Vec::new(),
            ..Self::external()
        }
    }

    /// Also the members of baggage with these keys; more of them with each call.
    ///
    /// Keys are compared as they stand, and their case counts. After [`internal`](Self::internal) it
    /// changes nothing: that sends all of them.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_core::Ctx;
    /// use ripcord_propagation::{PeerPolicy, Propagation};
    ///
    /// let propagation = Propagation::default();
    /// let mut request = HeaderMap::new();
    /// request.insert("baggage", "region=eu,user=ada,plan=gold".parse().expect("a header value"));
    /// let ctx = propagation.extract(&request).context(&Ctx::background());
    ///
    /// let shipper = PeerPolicy::external().with_baggage(["region", "plan"]);
    /// let mut call = HeaderMap::new();
    /// let sent = propagation.inject(&ctx, &shipper, &mut call)?;
    /// assert_eq!(call["baggage"], "region=eu,plan=gold");
    /// assert_eq!(sent.baggage_dropped, 1);
    /// # Ok::<_, ripcord_core::Cancelled>(())
    /// ```
    #[must_use]
    pub fn with_baggage(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let keys = keys.into_iter().map(Into::into);
        match &mut self.baggage {
            Allowed::Everything => {}
            Allowed::Keys(known) => known.extend(keys),
            Allowed::Nothing => self.baggage = Allowed::Keys(keys.collect()),
        }
        self
    }

    /// Keeps this much of the deadline back: for the way, and for what is done with the answer.
    ///
    /// A relative deadline does not count the time on the wire, so a callee that is far away gets the
    /// round trip kept back; and who has work to do with the answer keeps that. A call that would have
    /// less than nothing left is not made.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_core::Ctx;
    /// use ripcord_propagation::{PeerPolicy, Propagation};
    /// use std::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// let ctx = Ctx::background().with_timeout(ms(1_000));
    /// let overseas = PeerPolicy::external().with_reserve(ms(150));
    /// let sent = Propagation::default().inject(&ctx, &overseas, &mut HeaderMap::new())?;
    /// assert!(sent.budget <= Some(ms(850)));
    /// # Ok::<_, ripcord_core::Cancelled>(())
    /// ```
    #[must_use]
    pub fn with_reserve(mut self, reserve: Duration) -> Self {
        self.reserve = reserve;
        self
    }

    /// Sends the deadline in this header instead of `x-request-timeout-ms`: the one that the peer reads.
    ///
    /// For a peer with a header of its own there is [`TimeoutHeader::new`].
    #[must_use]
    pub fn with_timeout_header(mut self, header: TimeoutHeader) -> Self {
        self.timeouts = vec![header];
        self
    }

    /// Sends the deadline in this header, too: `x-envoy-upstream-rq-timeout-ms` for an Envoy in between.
    ///
    /// The proxy then gives up, with its retries, when the caller does; without that it goes by the
    /// time-out of its route, and may try for nobody.
    ///
    /// # Examples
    /// ```
    /// use http::HeaderMap;
    /// use ripcord_core::Ctx;
    /// use ripcord_propagation::{PeerPolicy, Propagation};
    /// use ripcord_wire::timeout::TimeoutHeader;
    /// use std::time::Duration;
    ///
    /// let ctx = Ctx::background().with_timeout(Duration::from_secs(2));
    /// let by_envoy = PeerPolicy::internal().and_timeout_header(TimeoutHeader::ENVOY_UPSTREAM);
    /// let mut headers = HeaderMap::new();
    /// Propagation::default().inject(&ctx, &by_envoy, &mut headers)?;
    /// assert_eq!(headers["x-envoy-upstream-rq-timeout-ms"], headers["x-request-timeout-ms"]);
    /// # Ok::<_, ripcord_core::Cancelled>(())
    /// ```
    #[must_use]
    pub fn and_timeout_header(mut self, header: TimeoutHeader) -> Self {
        self.timeouts.push(header);
        self
    }

    /// Sends the deadline as `grpc-timeout` where it would go out as `x-request-timeout-ms`, which
    /// no gRPC server reads.
    ///
    /// A policy that sends no deadline stays silent about it.
    #[must_use]
    pub fn for_grpc(mut self) -> Self {
        for header in &mut self.timeouts {
            if *header == TimeoutHeader::REQUEST {
                *header = TimeoutHeader::GRPC;
            }
        }
        self
    }

    /// What is kept back; zero unless it was set.
    #[must_use]
    pub fn reserve(&self) -> Duration {
        self.reserve
    }

    /// Whether a member of baggage may go out.
    pub(crate) fn allows(&self, key: &str) -> bool {
        match &self.baggage {
            Allowed::Nothing => false,
            Allowed::Keys(keys) => keys.iter().any(|known| known == key),
            Allowed::Everything => true,
        }
    }
}
