//! The side that serves: [`GrpcServerLayer`], its future and its two bodies.

mod answer;
mod body;
mod future;
mod layer;
mod upload;

pub use body::ServerResponseBody;
pub use future::ServerFuture;
pub use layer::{GrpcServer, GrpcServerLayer};
pub use upload::ServerRequestBody;
