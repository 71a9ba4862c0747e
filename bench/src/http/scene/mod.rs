//! Servers under measurement, each in the process of its sample, with clients in another one.
//!
//! A sample starts the server, then this program again as its clients (`crowd.rs`), and gives them
//! orders through a pipe. So the sample's heap and CPU time are the server's alone.
//!
//! Read next: `servers.rs` (the contenders), `serving.rs`, `idle.rs`, `hang_up.rs` (the cases),
//! `clients.rs` (the other process), `traced.rs` (the same servers, recorded).

mod answer;
mod clients;
mod crowd;
mod hang_up;
mod idle;
mod order;
mod servers;
mod serving;
mod system;
mod traced;

pub(crate) use clients::be_clients;
pub(crate) use traced::cases as traced_cases;
#[cfg(ripcord_dial9)]
pub(crate) use traced::hyper_by;

use crate::case::Case;

/// ripcord's layer under axum's own server.
const RIPCORD_LAYER: &str = "ripcord-layer";
/// ripcord's server without its layer.
const RIPCORD_SERVER: &str = "ripcord-server";

pub(super) fn cases() -> Vec<Case> {
    [serving::cases(), idle::cases(), hang_up::cases()]
        .into_iter()
        .flatten()
        .collect()
}
