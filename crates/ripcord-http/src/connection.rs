//! What a request knows of the connection it came in on: [`Connection`].
//!
//! The task that owns the socket counts the bytes that it reads here, so that `drive.rs` can tell a
//! client that is slow from one that has said nothing.

use crate::serve::{Key, Shared};
use ripcord_core::Ctx;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;

/// The connection of a request, in its extensions, where [`Server`](crate::Server) accepted it.
///
/// Several requests share one: those of a kept connection of HTTP/1 one after the other, those of
/// HTTP/2 at a time. Behind another server, and in tests without a socket, there is none: a handler
/// that works in both takes an `Option<Extension<Arc<Connection>>>`.
///
/// # Examples
/// ```
/// use axum::{Extension, Router, routing::get};
/// use ripcord_http::Connection;
/// use std::sync::Arc;
///
/// async fn who(Extension(connection): Extension<Arc<Connection>>) -> String {
///     connection.peer().to_string()
/// }
/// let app: Router = Router::new().route("/who", get(who));
/// # drop(app);
/// ```
///
/// # Costs
/// One allocation a connection, and one for each address of IPv6; a request adds one reference count.
pub struct Connection {
    ctx: Ctx,
    shared: Arc<Shared>,
    /// Of its row in the roster.
    key: Key,
    peer: Address,
    local: Option<Address>,
    /// Bytes that were read, up to [`PREFACE`].
    read: AtomicU8,
}

/// Bytes after which it is known which HTTP it is: the length of HTTP/2's preface (RFC 9113 §3.4).
const PREFACE: u8 = 24;

impl Connection {
    pub(crate) fn new(
        ctx: Ctx,
        shared: Arc<Shared>,
        key: Key,
        peer: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Self {
        Self {
            ctx,
            shared,
            key,
            peer: peer.into(),
            local: local.map(Address::from),
            read: AtomicU8::new(0),
        }
    }

    /// A context that ends with the connection, with [`Kind::PeerGone`](ripcord_core::Kind::PeerGone).
    ///
    /// The contexts of requests are below it. It is for what belongs to the connection itself, as a
    /// subscription that several of its requests share, or a WebSocket: it has no deadline of a
    /// request, and lives as long as the socket, also after an upgrade.
    ///
    /// # Examples
    /// ```
    /// use axum::{Extension, Router, http::StatusCode, routing::post};
    /// use ripcord_http::Connection;
    /// use ripcord_tokio::CtxExt as _;
    /// use std::{sync::Arc, time::Duration};
    ///
    /// /// Answers at once; the feed goes on until the connection is closed.
    /// async fn subscribe(Extension(connection): Extension<Arc<Connection>>) -> StatusCode {
    ///     let feed = connection.ctx().named("price feed").spawn("price feed", |ctx| async move {
    ///         while ripcord_tokio::sleep(&ctx, Duration::from_secs(1)).await.is_ok() {
    ///             // Looks whether there is something to tell.
    ///         }
    ///     });
    ///     drop(feed); // Not awaited, and not ended by this.
    ///     StatusCode::ACCEPTED
    /// }
    /// let app: Router = Router::new().route("/prices", post(subscribe));
    /// # drop(app);
    /// ```
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// Address of the other end; a proxy's, where there is one.
    ///
    /// What a proxy says of *its* client stands in headers as `forwarded`, which are not looked at
    /// here: only the proxy's operator knows whether they can be believed.
    pub fn peer(&self) -> SocketAddr {
        self.peer.get()
    }

    /// Address of this end: tells listeners apart that share a router.
    ///
    /// `None` where the system could not say, as for a socket that was closed meanwhile.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local.as_ref().map(Address::get)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Leaves the waker of the connection's task in the roster.
    pub(crate) fn register(&self, waker: &Waker) {
        self.shared.roster.register(self.key, waker);
    }

    /// The task of the connection has ended; the connection may go on as another protocol's.
    pub(crate) fn stand_up(&self) {
        self.shared.roster.stand_up(self.key);
    }

    /// The socket is closed.
    pub(crate) fn leave(&self) {
        self.shared.roster.leave(self.key);
    }

    /// Counts work that goes on beside the connection, so that the server waits for it.
    pub(crate) fn beside(self: &Arc<Self>) -> Beside {
        self.shared.tally.begin_beside();
        Beside(Arc::clone(self))
    }

    /// Counts bytes that were read. Only the task that owns the socket calls it, so that a load and a
    /// store are as good as an addition.
    pub(crate) fn read(&self, bytes: usize) {
        // Relaxed: a measure of progress that nothing is published by (counter).
        let before = self.read.load(Ordering::Relaxed);
        if before == PREFACE {
            return;
        }
        let bytes = u8::try_from(bytes).unwrap_or(PREFACE);
        let now = before.saturating_add(bytes).min(PREFACE);
        // Relaxed: as above (counter).
        self.read.store(now, Ordering::Relaxed);
    }

    /// The other end has said which protocol it speaks; from then on that has its own time limits.
    pub(crate) fn has_begun(&self) -> bool {
        // Relaxed: see `read` (counter).
        self.read.load(Ordering::Relaxed) >= PREFACE
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer())
            .field("ctx", &self.ctx)
            .finish_non_exhaustive()
    }
}

/// Work that may outlast its connection; over when this is dropped.
pub(crate) struct Beside(Arc<Connection>);

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.shared.tally.end_beside();
    }
}

/// A socket address in two words: the standard type has room for the long form in each.
enum Address {
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl Address {
    fn get(&self) -> SocketAddr {
        match self {
            Self::V4(address) => SocketAddr::V4(*address),
            Self::V6(address) => SocketAddr::V6(**address),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(address) => Self::V6(Box::new(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_two_words_and_stays_what_it_is() {
        assert_eq!(size_of::<Option<Address>>(), 2 * size_of::<usize>());
        for text in ["127.0.0.1:80", "[fe80::1%7]:443", "[::ffff:10.0.0.1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::from(address).get(), address, "{text}");
        }
    }
}
