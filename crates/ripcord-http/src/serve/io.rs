//! The socket of a connection, together with what has to end when it is closed: [`Io`].
//!
//! After an upgrade hyper gives the socket to whoever speaks the other protocol, and the task of
//! the connection ends. So the context of the connection belongs to the socket and not to the task:
//! it ends when the socket is dropped, wherever that is.
//!
//! *Invariant*: whatever ends, ends in this order: the socket leaves the epoll set, while its
//! descriptor is still its own; the context of the connection is done; the place in the roster is
//! given back; the socket is closed. A descriptor that the system gives to the next connection is so
//! never taken for the old one.

use crate::connection::Connection;
use ripcord_core::{CancelGuard, Cause, Kind};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// An accepted socket.
pub(crate) struct Io {
    guard: CancelGuard,
    connection: Arc<Connection>,
    stream: TcpStream,
}

impl Io {
    pub(crate) fn new(stream: TcpStream, guard: CancelGuard, connection: Arc<Connection>) -> Self {
        connection.shared().tally.begin_beside();
        Self {
            guard,
            connection,
            stream,
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Has the socket watched, where somebody watches.
    pub(crate) fn watch(&self) -> io::Result<()> {
        match &self.connection.shared().watcher {
            Some(watcher) => watcher.watch(&self.stream, self.connection.key()),
            None => Ok(()),
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(watcher) = &self.connection.shared().watcher {
            watcher.forget(&self.stream);
        }
        self.guard
            .cancel(Cause::new(Kind::PeerGone).with_message("the connection was closed"));
        self.connection.leave();
        self.connection.shared().tally.end_beside();
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        if read > 0 {
            self.connection.read(read);
        }
        polled
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
