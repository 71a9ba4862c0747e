//! The side that calls: [`GrpcClientLayer`], its future and its two bodies.

mod body;
mod call;
mod future;
mod layer;
mod upload;

pub use body::ClientResponseBody;
pub use future::ClientFuture;
pub use layer::{GrpcClient, GrpcClientLayer};
