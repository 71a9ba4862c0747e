//! gRPC between the services: messages, codec and stubs, written by hand as `protoc` would make
//! them.
//!
//! ```proto
//! package shop;
//! message Order { uint64 id = 1; uint32 sku = 2; }
//! message Done {}
//! service Inventory { rpc Reserve(Order) returns (Done); }
//! service Risk { rpc Score(Order) returns (Done); }
//! ```

use super::entrance;
use super::failure::Failure;
use super::shop::{self, Shop};
use super::topology::Service;
use axum::http::Extensions;
use axum::http::uri::PathAndQuery;
use ripcord::Ctx;
use ripcord_grpc::{GrpcClient, GrpcClientLayer, GrpcServerLayer, RequestCtx};
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::codegen::http;
use tonic::metadata::MetadataMap;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Layer;

/// An order as it travels over gRPC.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct Order {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint32, tag = "2")]
    sku: u32,
}

/// It is done.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct Done {}

impl From<shop::Order> for Order {
    fn from(order: shop::Order) -> Self {
        let shop::Order { id, sku } = order;
        Self { id, sku }
    }
}

impl From<Order> for shop::Order {
    fn from(order: Order) -> Self {
        let Order { id, sku } = order;
        Self { id, sku }
    }
}

/// The one method of a gRPC service.
pub(super) trait Method: Send + Sync + 'static {
    const OF: Service;
    /// Package and name of the service.
    const SERVICE: &'static str;

    /// Does the work of a call under its context.
    fn handle(
        shop: Arc<Shop>,
        ctx: Ctx,
        metadata: MetadataMap,
        order: shop::Order,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Serves `M` until the context of the services behind the gateway is done.
///
/// # Errors
/// Those of tonic's server.
pub(super) async fn serve<M: Method>(
    shop: Arc<Shop>,
    listener: TcpListener,
    grace: Duration,
) -> Result<(), tonic::transport::Error> {
    let inside = shop.inside.clone();
    let layer = GrpcServerLayer::new(&inside, entrance::colleague());
    let layer = layer.observer(shop.observer(M::OF));
    let served = Server::builder()
        .layer(layer)
        .add_service(Stub::<M>(shop, PhantomData))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            async { drop(inside.done().await) },
        );
    // Connections that do not end by themselves are dropped.
    inside.shield(grace).run(served).await.unwrap_or(Ok(()))
}

/// The server's stub.
struct Stub<M>(Arc<Shop>, PhantomData<M>);

impl<M> Clone for Stub<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<M: Method> NamedService for Stub<M> {
    const NAME: &'static str = M::SERVICE;
}

impl<M: Method> UnaryService<Order> for Stub<M> {
    type Response = Done;
    type Future = BoxFuture<Response<Done>, Status>;

    fn call(&mut self, request: Request<Order>) -> Self::Future {
        let shop = Arc::clone(&self.0);
        Box::pin(async move {
            let ctx = request.ctx();
            let (metadata, _, order) = request.into_parts();
            let work = M::handle(shop, ctx, metadata, order.into());
            let done = work.await.map(|()| Response::new(Done {}));
            done.map_err(|failure| failure.to_status())
        })
    }
}

impl<M, B> tower::Service<http::Request<B>> for Stub<M>
where
    M: Method,
    B: axum::body::HttpBody + Send + 'static,
    B::Error: Into<axum::BoxError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let stub = self.clone();
        Box::pin(async move {
            if request.uri().path() != M::OF.path() {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            let codec = ProstCodec::<Done, Order>::default();
            Ok(tonic::server::Grpc::new(codec).unary(stub, request).await)
        })
    }
}

/// The client's stub of one service; a clone shares its connection.
#[derive(Clone, Debug)]
pub(super) struct RpcCaller {
    pub(super) of: Service,
    channel: GrpcClient<Channel>,
}

impl RpcCaller {
    /// Connects at the first call.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(of: Service, address: SocketAddr, layer: &GrpcClientLayer) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.expect("an address is a URI");
        let channel = endpoint.tcp_nodelay(true).connect_lazy();
        Self {
            of,
            channel: layer.layer(channel),
        }
    }

    /// Sends an order under `ctx` and waits for the answer.
    ///
    /// Dropping the future resets the stream, which is how the other side notices; the connection
    /// stays.
    pub(super) async fn call(
        &self,
        ctx: &Ctx,
        order: shop::Order,
        metadata: MetadataMap,
    ) -> Result<(), Failure> {
        let request = Request::from_parts(metadata, Extensions::new(), Order::from(order));
        let request = request.with_ctx(ctx);
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        let failed = |status: Status| Failure::from_status(self.of.name(), &status);
        grpc.ready().await.map_err(failed)?;
        let path = PathAndQuery::from_static(self.of.path());
        let codec = ProstCodec::<Order, Done>::default();
        let answer = grpc.unary(request, path, codec).await;
        answer.map(drop).map_err(failed)
    }
}
