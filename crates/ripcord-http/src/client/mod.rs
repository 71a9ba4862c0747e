//! The layer for clients: a call goes out with what is left of the deadline, and ends with its context.
//!
//! As on the server's side one value goes from owner to owner, here the account of the call: the
//! service, the future, the body. The right to end the context is not among it: a call is under a
//! context that belongs to somebody else.
//!
//! *Read next*: `layer.rs`, `call.rs` (until the head of the answer), `body.rs` (until its last
//! byte), `peers.rs` (who may be told what), `reqwest.rs`.

mod body;
mod call;
mod error;
mod layer;
mod peers;
#[cfg(feature = "reqwest")]
mod reqwest;

#[cfg(feature = "reqwest")]
pub use self::reqwest::ReqwestClient;
pub use body::ClientBody;
pub use call::ClientFuture;
pub use error::CallError;
pub use layer::{ClientLayer, ClientService};
pub use peers::Peers;
