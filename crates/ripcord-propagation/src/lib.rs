//! What a request carries from hop to hop, as context: deadline, trace, baggage, request id, signed values.
//!
//! Headers of any carrier go in, a [`Ctx`](ripcord_core::Ctx) comes out; and the other way round.
//! HTTP, gRPC and messages differ in how a request ends, not in what it carries: the policies, the
//! refusals, the seam for telemetry and the table of answers are here, once.
//!
//! ```
//! use http::HeaderMap;
//! use ripcord_core::Ctx;
//! use ripcord_propagation::{CtxCarried, PeerPolicy, Propagation};
//!
//! let mut request = HeaderMap::new();
//! request.insert("x-request-timeout-ms", "1500".parse().expect("a header value"));
//! request.insert("x-request-id", "7f3a".parse().expect("a header value"));
//!
//! let propagation = Propagation::default();
//! let ctx = propagation.extract(&request).context(&Ctx::background());
//! assert_eq!(ctx.request_id(), Some("7f3a"));
//!
//! let mut call = HeaderMap::new();
//! let sent = propagation.inject(&ctx, &PeerPolicy::external(), &mut call).expect("time is left");
//! assert!(sent.budget <= Some(std::time::Duration::from_millis(1500)));
//! assert_eq!(call["x-request-id"], "7f3a");
//! ```
//!
//! # Rules
//! * **Relative deadlines**, rounded up, never zero; less the time already spent and a reserve.
//!   Absolute ones only from peers whose clocks are trusted.
//! * **What arrives is hostile**: bounded, clamped, refused in silence and counted. Of duplicates
//!   the smallest deadline counts; a header that is malformed counts as absent.
//! * **What goes out parses back** to the same entries, and replaces what was forwarded.
//! * **Private by default**: baggage and business values go to peers that may have them, and to
//!   nobody else.
//!
//! # How to
//! | to | see |
//! |---|---|
//! | choose which headers are read, and by which policies | [`Propagation`], [`Builder`] |
//! | bound what callers ask for, and give others a default | [`DeadlinePolicy`] |
//! | stand at the edge, where strangers call | [`Builder::edge`] |
//! | believe an Envoy in front, or tell one in between | [`Builder::read_timeout`], [`PeerPolicy::and_timeout_header`] |
//! | give a deadline to a message in a queue | [`Builder::trust_clocks`] |
//! | read and add baggage | [`CtxCarried`] |
//! | send a value of one's own along, signed | [`WireValue`], [`Builder::signed_values`], [`Keys`] |
//! | decide who may be told what | [`PeerPolicy`] |
//! | find out what was refused, and what stayed here | [`Rejects`], [`Sent`] |
//! | run a job as if it were a request | [`Propagation::originate`] |
//! | serve another protocol, or consume messages | [`Carrier`], [`Exchange`] |
//! | write an access log or an audit; tell a tracer | [`AccessLog`], [`Audit`], [`CallObserver`] |
//! | map the end of a context to a status | [`verdict`] |
//! | go through all of it step by step | the guide, `docs/guide/propagation.md` |
//!
//! # Costs
//! Reading is one pass over the headers; what is kept is bounded by the limits of the codecs. A context
//! carries all of it under one type: one look-up, and a clone is a few reference counts. Without an
//! observer nothing is formatted.
//!
//! # Limitations
//! A relative deadline does not count the time on the wire: a callee may work longer than its
//! caller waits, by that time.
//!
//! # Where to read next
//! `propagation.rs` (the configuration), `extract.rs`, `inject.rs`, `peer.rs`, `policy.rs`,
//! `carried.rs` (what travels), `values.rs`, `keys.rs`, then `exchange.rs` (a call from arrival to
//! end), `observe.rs` and `verdict.rs`.

#![forbid(unsafe_code)]

mod access_log;
mod audit;
mod carried;
mod carrier;
mod clock;
mod exchange;
mod extract;
mod incoming;
mod inject;
mod json;
mod keys;
mod observe;
mod observers;
mod peer;
mod policy;
mod propagation;
mod skew;
mod sync;
mod values;
mod verdict;

pub use access_log::{AccessLine, AccessLog};
pub use audit::{AUDIT_ENTRIES_MAX, Audit, AuditEntry, AuditReport, CtxAudit};
pub use carried::{Carried, CtxCarried, DeadlineSource, Peer, Trace};
pub use carrier::{Carrier, CarrierMut};
pub use exchange::{CallSpan, Exchange};
pub use incoming::{Incoming, Rejects};
pub use inject::Sent;
pub use keys::{KeyError, Keys, SECRET_BYTES_MIN};
pub use observe::{Call, CallObserver, CallRecord, End, Ending, Protocol, Side};
pub use observers::Observers;
pub use peer::PeerPolicy;
pub use policy::{DeadlinePolicy, PolicyError};
pub use propagation::{Builder, Propagation, TraceFormat};
pub use values::WireValue;
pub use verdict::{GrpcCode, SpanStatus, Verdict, verdict};
