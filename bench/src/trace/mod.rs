//! The workloads of `trace`: what it costs to record, how large that is, and how fast it is read.
//!
//! Read next: `event.rs` (one event), `cycle.rs` (a poll and its wake), `size.rs` (bytes),
//! `http/scene/traced.rs` (a whole service), `read.rs` (decoding and analysis); `ours.rs`, `peers.rs` and
//! `dial9.rs` are the contenders, `load.rs` and `made.rs` what is recorded and read.

mod cycle;
#[cfg(ripcord_dial9)]
mod dial9;
mod event;
mod load;
mod made;
mod ours;
mod peers;
mod read;
mod size;

#[cfg(target_os = "linux")]
pub(crate) use peers::Monitored;

use crate::case::Case;
#[cfg(not(ripcord_dial9))]
use crate::case::DIAL9;

/// ripcord's tasks without a recorder.
const RIPCORD_UNTRACED: &str = "ripcord-untraced";
/// The recorder's clock alone.
const CLOCK: &str = "clock";

/// Every case that `trace` knows on this system.
pub(crate) fn catalogue() -> Vec<Case> {
    let cases = [event::cases(), cycle::cases(), size::cases(), read::cases()]
        .into_iter()
        .flatten();
    #[cfg(target_os = "linux")]
    let cases = cases.chain(crate::http::traced_cases());
    #[cfg(ripcord_dial9)]
    let cases = cases.map(dial9::join);
    #[cfg(not(ripcord_dial9))]
    let cases = cases.map(without_dial9);
    cases.collect()
}

/// Says in each case that dial9 would take part in that it does not.
#[cfg(not(ripcord_dial9))]
fn without_dial9(case: Case) -> Case {
    const WHY: &str = "this program was built without it; `cargo xtask bench trace` builds it";
    match case.id {
        "cycle/recorded" | "cycle/off" | "size/rpc" | "serve/peers" => case.without(DIAL9, WHY),
        _ => case,
    }
}
