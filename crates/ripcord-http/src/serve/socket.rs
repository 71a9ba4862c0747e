//! TCP's keep-alive: when a peer that went silent counts as gone.
//!
//! Two mechanisms, since each is blind where the other sees: keep-alive asks on a connection that is
//! idle, and the user time-out (RFC 5482) counts how long sent data stays without an answer. With
//! both, a peer is gone after the same silence whether or not something was on its way to it.

use crate::serve::options::KeepAlive;
use rustix::net::sockopt;
use std::io;
use std::os::fd::AsFd;

/// Sets it on a socket.
///
/// # Errors
/// Those of the system call; the values were brought into what it takes.
pub(crate) fn keep_alive(socket: impl AsFd, keep_alive: &KeepAlive) -> io::Result<()> {
    let socket = socket.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, keep_alive.idle)?;
    sockopt::set_tcp_keepintvl(socket, keep_alive.interval)?;
    sockopt::set_tcp_keepcnt(socket, keep_alive.count)?;
    // Keep-alive is silent while data is on its way; this counts from the first byte that is not
    // acknowledged. The system reads it as a signed number: 24 days at most.
    let silence_ms = u32::try_from(keep_alive.silence_max().as_millis()).unwrap_or(u32::MAX);
    let silence_ms = silence_ms.min(i32::MAX.unsigned_abs());
    sockopt::set_tcp_user_timeout(socket, silence_ms)?;
    Ok(())
}
