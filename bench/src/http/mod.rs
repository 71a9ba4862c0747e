//! The workloads of `http`: a request's headers in this process, and servers with clients outside.
//!
//! Read next: `request.rs` (the micro cases), `scene/` (the servers).

mod headers;
mod ours;
mod peers;
mod request;
#[cfg(target_os = "linux")]
mod scene;

use crate::case::Case;

/// Every case that `http` knows on this system.
pub(crate) fn catalogue() -> Vec<Case> {
    let cases = request::cases().into_iter();
    #[cfg(target_os = "linux")]
    let cases = cases.chain(scene::cases());
    cases.collect()
}

#[cfg(all(ripcord_dial9, target_os = "linux"))]
pub(crate) use scene::hyper_by;
#[cfg(target_os = "linux")]
pub(crate) use scene::{be_clients, traced_cases};

/// There are no scenes to be in.
#[cfg(not(target_os = "linux"))]
pub(crate) fn be_clients(_: &crate::cli::Clients) -> Result<(), crate::Stop> {
    Err(crate::Stop::Usage("clients are Linux's only".to_owned()))
}
