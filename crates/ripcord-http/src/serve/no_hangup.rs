//! No hang-up watcher: this system has no `EPOLLRDHUP`. hyper alone notices who leaves.

use crate::serve::options::HangUp;
use crate::serve::roster::{Key, Roster};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Watches nothing, and is never made.
#[derive(Debug)]
pub(crate) struct Watcher;

impl Watcher {
    pub(crate) fn new(_: HangUp, _: &Arc<Roster>) -> io::Result<Arc<Self>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn watch(&self, _: &TcpStream, _: Key) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn forget(&self, _: &TcpStream) {}

    /// # Cancel safety
    /// It does nothing.
    pub(crate) async fn run(self: Arc<Self>) -> io::Result<()> {
        std::future::pending().await
    }
}
