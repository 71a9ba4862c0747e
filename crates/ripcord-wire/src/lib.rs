//! Pure codecs of what a request carries from hop to hop: deadlines, trace context, baggage, ids.
//!
//! No I/O, no clock, no randomness, no dependency: a value of a header comes in as bytes, a typed
//! value goes out, and the other way round. Who reads headers, chooses policies and counts what is
//! refused is `ripcord-propagation`.
//!
//! # Guarantees
//! * **No panic** on any bytes, and work that is linear in their number.
//! * **What goes out parses back** to the same entries, and holds only characters that the header
//!   in question allows: a value cannot smuggle a line break or a separator.
//! * **Errors name the place**: each decoder has a small error type with the offset of the byte.
//!
//! # Where to read next
//! `trace.rs`, `tracestate.rs`, `baggage.rs`, `b3.rs`, `timeout.rs`, `request_id.rs`, `ext.rs`.

#![forbid(unsafe_code)]

mod ascii;
mod finagle;
mod hex;

pub mod b3;
pub mod baggage;
pub mod ext;
pub mod request_id;
pub mod timeout;
pub mod trace;
pub mod tracestate;

mod base64url;
mod json;
