//! Request context for gRPC with tonic: deadlines that are kept and travel, cancels that reach the
//! other end.
//!
//! [`GrpcServerLayer`] makes a context for each call that is served; [`GrpcClientLayer`] puts each
//! call that is made under one. Both are tower layers: generated code stays as it is.
//!
//! # How to
//! **Serve.** The layer goes into the builder; handlers take their context from the request. It is
//! the current one, too, so that calls they make are under it unasked.
//!
//! ```no_run
//! use ripcord_grpc::{GrpcServerLayer, RequestCtx as _, status_of};
//! use ripcord_propagation::{DeadlinePolicy, Propagation};
//! use std::time::Duration;
//! use tonic::{Request, Response, Status};
//!
//! async fn get_order(request: Request<u64>) -> Result<Response<u64>, Status> {
//!     let ctx = request.ctx();
//!     // Ends with the call: its deadline, its caller, the server.
//!     let ready = ctx.run(std::future::ready(7)).await;
//!     ready.map(Response::new).map_err(|error| status_of(error.cause()))
//! }
//! # let _ = get_order;
//!
//! # async fn serve(routes: tonic::service::Routes) -> Result<(), Box<dyn std::error::Error>> {
//! // No call longer than a minute, and five seconds for callers that do not say.
//! let policy = DeadlinePolicy::new(Duration::from_millis(1), Duration::from_secs(60))?
//!     .with_default(Duration::from_secs(5))?;
//! let propagation = Propagation::builder().deadline(policy).build()?;
//! let (server, _shut_down) = ripcord_tokio::root().name("orders").build();
//! tonic::transport::Server::builder()
//!     .layer(GrpcServerLayer::new(&server, propagation))
//!     .add_routes(routes)
//!     .serve("[::1]:50051".parse()?)
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! **Call.** The layer goes around the channel; a call is under the current context, or under the
//! one that it is given.
//!
//! ```no_run
//! use ripcord_core::Ctx;
//! use ripcord_grpc::{GrpcClientLayer, RequestCtx as _, StatusExt as _};
//! use ripcord_propagation::{PeerPolicy, Propagation};
//! use std::time::Duration;
//! use tonic::transport::Channel;
//! use tonic::{Request, Status};
//! use tower_layer::Layer as _;
//!
//! # async fn call(ctx: Ctx) -> Result<(), Status> {
//! let channel = Channel::from_static("http://stock.internal:50051").connect_lazy();
//! // 5 ms are kept back: for the way, and for what is done with the answer.
//! let peer = PeerPolicy::internal().with_reserve(Duration::from_millis(5));
//! let channel = GrpcClientLayer::new(Propagation::default(), peer).layer(channel);
//! # async fn stock_get<T>(_: T, _: Request<u64>) -> Result<u64, Status> { Ok(1) }
//! let lookup = ctx.named("stock").with_timeout(Duration::from_millis(200));
//! match stock_get(channel, Request::new(7).with_ctx(&lookup)).await {
//!     Ok(_) => {}
//!     // It was we: which of several limits, says the name.
//!     Err(status) if status.cancelled().is_some() => return Err(status),
//!     // It was they, and they say why.
//!     Err(status) => return Err(Status::unavailable(format!("{:?}", status.peer_cause()))),
//! }
//! # Ok(()) }
//! ```
//!
//! **Stream from a task.** hyper drops the stream when the client leaves; a task that feeds it through
//! a channel would learn of it at its next send, and until then hold what it holds. With the context
//! it ends at once, and so it does at the deadline.
//!
//! ```
//! use ripcord_grpc::RequestCtx as _;
//! use tokio::sync::mpsc;
//! use tokio_stream::wrappers::ReceiverStream;
//! use tonic::{Request, Response, Status};
//!
//! async fn next_price(symbol: &str) -> u64 {
//!     # std::future::pending::<()>().await;
//!     symbol.len() as u64
//! }
//!
//! async fn prices(
//!     request: Request<String>,
//! ) -> Result<Response<ReceiverStream<Result<u64, Status>>>, Status> {
//!     let ctx = request.ctx();
//!     let symbol = request.into_inner();
//!     let (sender, receiver) = mpsc::channel(16);
//!     ripcord_tokio::spawn(async move {
//!         while let Ok(price) = ctx.run(next_price(&symbol)).await {
//!             if ripcord_tokio::send(&ctx, &sender, Ok(price)).await.is_err() {
//!                 break;
//!             }
//!         }
//!     });
//!     Ok(Response::new(ReceiverStream::new(receiver)))
//! }
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # assert!(prices(Request::new("ABC".into())).await.is_ok());
//! # }
//! ```
//!
//! **Work that outlives the call.** A detached context keeps the request id, the trace and the
//! baggage, and nothing ends it but what it is given.
//!
//! ```
//! use ripcord_core::Ctx;
//! use ripcord_grpc::RequestCtx as _;
//! use std::time::Duration;
//! use tonic::Request;
//!
//! fn audit(ctx: &Ctx) -> Ctx {
//!     ctx.detach().named("audit").with_timeout(Duration::from_secs(30))
//! }
//!
//! let request = Request::new(());
//! assert!(audit(&request.ctx()).remaining() > Some(Duration::from_secs(29)));
//! ```
//!
//! **Shut down in stages.** Give tonic the drain of the server's context as its signal, and the
//! guard a [plan](ripcord_core::ShutdownPlan): tonic stops to accept when the context drains, and
//! calls that are still there when it is cancelled get `UNAVAILABLE`. See [`GrpcServerLayer`].
//!
//! # What ends how
//! | the context is done by | a server answers | a client's caller gets |
//! |---|---|---|
//! | a deadline | `DEADLINE_EXCEEDED` | `DEADLINE_EXCEEDED` |
//! | a shutdown, a signal | `UNAVAILABLE` | `CANCELLED` |
//! | the other end being gone | nobody to answer | `CANCELLED` |
//! | a cancel by hand, a dropped guard | `CANCELLED` | `CANCELLED` |
//! | a panic | nothing: its task is gone | `CANCELLED` |
//!
//! The answer of a server carries two more trailers, `ripcord-cancel-kind` and
//! `ripcord-cancel-name`, which [`StatusExt::peer_cause`] reads: the kind of the cause, and the name
//! of the context that ended. Both are bounded to 128 bytes of visible ASCII.
//!
//! # What tonic does by itself, and what the layers mend
//! * tonic's server ends a handler at its `grpc-timeout` with `CANCELLED`; a stream goes on for
//!   ever. Here both end, with `DEADLINE_EXCEEDED`.
//! * tonic's client passes `CANCELLED` on, and its own time-outs have that code, too. Here it is
//!   `DEADLINE_EXCEEDED` once the deadline has passed, as the gRPC specification asks.
//! * tonic takes a client's reset for the clean end of a request stream, so that half an upload
//!   looks like a whole one. Here the stream fails with `ABORTED` (`CANCELLED` cannot be said
//!   there), and the context is done before the handler sees it.
//! * A caller of a bidirectional call that drops the answer resets nothing while its own stream is
//!   open. Here it does.
//!
//! # Limitations
//! * **tonic's timer is around all layers.** It starts after ours and so comes second for
//!   `grpc-timeout`; but `Server::timeout` is out of reach: tonic answers `CANCELLED`, and the
//!   context ends with `PeerGone`. Set a [policy](ripcord_propagation::DeadlinePolicy) instead. For
//!   the same reason a policy's `min` does not lengthen what a caller asked for, and a time-out that
//!   only tonic understands (`+5S`) ends as tonic has it.
//! * **A client that does not read.** hyper does not ask for more of an answer until there is room
//!   for it. What holds the context ends in time; the handler's stream is dropped, and the status
//!   sent, when the client reads on, resets or leaves.
//! * **A client that is silent**, as behind a pulled cable, is not missed unless tonic sends it
//!   pings: `Server::http2_keepalive_interval`.
//! * **A reset has no reason.** A caller's cause stays with the caller; the callee sees `PeerGone`.
//!   A reset with `NO_ERROR` in the middle of an upload is a clean end for hyper.
//! * **gRPC-Web and plain HTTP** pass through untouched: the layer of tonic-web has to be outside of
//!   this one, and other routes want `ripcord-http`.
//! * A handler that never comes back from a poll cannot be ended. One that must run on after its
//!   client has left spawns its work under a [detached](ripcord_core::Ctx::detach) or
//!   [shielded](ripcord_core::Ctx::shield) context.
//!
//! # Where to read next
//! `server/layer.rs` and `client/layer.rs`, and from there in the order that they name; `watch.rs`,
//! `status.rs`, `peer_cause.rs`, `request.rs`.

#![forbid(unsafe_code)]

mod client;
mod peer_cause;
mod request;
mod server;
mod status;
mod watch;

pub use client::{ClientFuture, ClientResponseBody, GrpcClient, GrpcClientLayer};
pub use peer_cause::PeerCause;
pub use request::RequestCtx;
pub use server::{
    GrpcServer, GrpcServerLayer, ServerFuture, ServerRequestBody, ServerResponseBody,
};
pub use status::{StatusExt, status_of};
