//! The layer for servers: makes the context of a request, and ends it.
//!
//! A request goes through three owners of one exchange, which is the right to end the context and the
//! account of the request in one value: the service, which makes it; the future, which has it until
//! there is an answer; the body of the answer. Whoever is dropped with it ends the context, so that
//! no way out can be forgotten.
//!
//! *Read next*: `layer.rs`, `future.rs` (until the head of the answer), `body.rs` (until its last
//! byte), `disconnect.rs` (what a hang-up does), `answer.rs` (what is answered in place of the handler).

mod answer;
#[cfg(feature = "axum")]
mod axum;
mod body;
mod disconnect;
mod future;
mod layer;

#[cfg(feature = "axum")]
pub use axum::{Ended, NoCtx, RequestCtx};
pub use body::{RequestBody, ServerBody};
pub use disconnect::{OnDisconnect, OnDisconnectFuture, OnDisconnectLayer, OnDisconnectService};
pub use future::HttpFuture;
pub use layer::{HttpLayer, HttpService};
