//! How a server treats its connections: the settings of [`Server`](crate::Server).
//!
//! Values that the system or hyper would choke on are brought into range where they are set, so that
//! a setting cannot make every connection fail later on.

use std::time::Duration;

/// Which end of the client's stream ends its requests.
///
/// TCP has two ways to end: FIN closes one direction in order, RST breaks both off. A FIN alone does
/// not say whether its sender still reads. HTTP clients close both directions, so a FIN means that
/// nobody waits; some tools on a command line close only the one that they have sent everything on.
///
/// | the client | `Close` | `Reset` |
/// |---|---|---|
/// | resets, or its process dies with data unread | ends at once | ends at once |
/// | closes | ends at once | ends with the first byte that is sent to it |
/// | closes its sending side and reads on | cut off | gets its answer |
///
/// # Examples
/// For a service that is fed by `nc -N`, or by scripts over a bare socket:
///
/// ```
/// use ripcord_core::Ctx;
/// use ripcord_http::{HangUp, Server};
///
/// let (ctx, _guard) = Ctx::background().child();
/// let patient = Server::new(&ctx).hang_up(HangUp::Reset);
/// # drop(patient);
/// ```
///
/// # Costs
/// One entry in an epoll set a connection, and nothing as long as clients stay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum HangUp {
    /// A FIN or a RST: the client has closed, or it is gone.
    ///
    /// A client that closes only its sending side and goes on reading (`shutdown(SHUT_WR)`, as `nc -N`
    /// does) looks the same and is cut off. Browsers, proxies and HTTP libraries do not do that.
    #[default]
    Close,
    /// A RST only: the answer is still sent to a client that has closed its sending side.
    ///
    /// A client that closed altogether is noticed at the first byte that is sent to it.
    Reset,
}

/// When a peer that went silent counts as gone: TCP keep-alive.
///
/// A peer whose machine lost power, or whose network dropped the connection, sends neither FIN nor
/// RST. The kernel asks such a peer after `idle`, every `interval`, and gives up after `count`
/// questions; data that is not acknowledged for as long (`TCP_USER_TIMEOUT`) ends the connection, too.
/// Over HTTP/2 the server pings with the same patience, which crosses proxies of TCP.
///
/// # Examples
/// Inside one data centre, where 30 s of work for nobody are too long:
///
/// ```
/// use ripcord_http::KeepAlive;
/// use std::time::Duration;
///
/// assert_eq!(KeepAlive::default().silence_max(), Duration::from_secs(30));
/// let near = KeepAlive::new(Duration::from_secs(3), Duration::from_secs(1), 2);
/// assert_eq!(near.silence_max(), Duration::from_secs(5));
/// ```
///
/// # Costs
/// A packet each way after `idle` on every connection that is silent; phones pay for it with their
/// battery. Traffic that flows costs nothing.
///
/// # Limitations
/// TCP's is set on Linux only. It speaks to the next hop: behind a proxy that is the proxy, which is
/// alive when its client is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KeepAlive {
    /// Silence before the first question, rounded up to seconds.
    pub idle: Duration,
    /// From question to question, rounded up to seconds.
    pub interval: Duration,
    /// Questions without an answer before the peer counts as gone.
    pub count: u32,
}

/// 15 s, then three questions 5 s apart: a silent peer is gone after 30 s.
impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(15),
            interval: Duration::from_secs(5),
            count: 3,
        }
    }
}

impl KeepAlive {
    /// Other times, which count in whole seconds, from 1 s to 32,767 s, and 1 to 127 questions.
    ///
    /// What is outside of that is brought into it by [`Server::keep_alive`](crate::Server::keep_alive):
    /// what the system would refuse must not make each connection fail.
    #[must_use]
    pub fn new(idle: Duration, interval: Duration, count: u32) -> Self {
        Self {
            idle,
            interval,
            count,
        }
    }

    /// After how much silence a peer counts as gone: the longest that work goes on for nobody.
    #[must_use]
    pub fn silence_max(&self) -> Duration {
        self.idle
            .saturating_add(self.interval.saturating_mul(self.count))
    }

    /// Brought into what the system takes. It would refuse each connection otherwise.
    pub(crate) fn clamped(self) -> Self {
        let seconds = |time: Duration| time.clamp(Duration::from_secs(1), KEEP_ALIVE_MAX);
        Self {
            idle: seconds(self.idle),
            interval: seconds(self.interval),
            count: self.count.clamp(1, KEEP_ALIVE_COUNT_MAX),
        }
    }
}

/// Linux's `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL`: some nine hours.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(32_767);
/// Linux's `MAX_TCP_KEEPCNT`.
const KEEP_ALIVE_COUNT_MAX: u32 = 127;

/// The longest time-out that is given to hyper, which adds it to an instant without looking: a year.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 86_400);

/// See [`Server`](crate::Server), whose methods set them.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) connections_max: usize,
    pub(crate) header_read_timeout: Duration,
    pub(crate) hang_up: Option<HangUp>,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) streams_max: u32,
    pub(crate) header_bytes_max: u32,
    pub(crate) grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            header_read_timeout: Duration::from_secs(30),
            hang_up: Some(HangUp::Close),
            keep_alive: Some(KeepAlive::default()),
            streams_max: 200,
            header_bytes_max: 65_536,
            grace: Duration::from_secs(5),
        }
    }
}
