//! A service of four kinds of calls, written by hand, and both ends to try it with.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses a part of it"
)]

pub mod observer;
pub mod raw;
pub mod service;

use http::uri::PathAndQuery;
use ripcord_core::{CancelGuard, Ctx, Kind};
use ripcord_grpc::{GrpcClient, GrpcClientLayer, GrpcServerLayer, RequestCtx as _};
use ripcord_propagation::{DeadlinePolicy, PeerPolicy, Propagation};
use service::{Answers, Codec, Service, Text};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use tower_layer::Layer as _;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A deadline that a test waits for. Nothing is asserted on how long that takes.
pub const SHORT: Duration = Duration::from_millis(20);

/// A deadline that no test reaches.
pub const LONG: Duration = Duration::from_secs(3600);

/// A server that stops when it is dropped.
pub struct Running {
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `service` on a free port, behind `layer` if there is one.
pub async fn serve(service: Service, layer: Option<GrpcServerLayer>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let incoming = TcpListenerStream::new(listener);
    let task = tokio::spawn(async move {
        let served = if let Some(layer) = layer {
            let router = Server::builder().layer(layer).add_service(service);
            router.serve_with_incoming(incoming).await
        } else {
            let router = Server::builder().add_service(service);
            router.serve_with_incoming(incoming).await
        };
        served.expect("the server runs until it is aborted");
    });
    Running { addr, task }
}

/// A server's context and the right to end it.
pub fn server_ctx() -> (Ctx, CancelGuard) {
    ripcord_tokio::root().name("server").build()
}

/// The layer of a server with the defaults.
pub fn layer(server: &Ctx) -> GrpcServerLayer {
    GrpcServerLayer::new(server, Propagation::default())
}

/// A layer whose calls have so much time if their callers ask for nothing.
pub fn limited(server: &Ctx, default: Duration) -> GrpcServerLayer {
    let policy = DeadlinePolicy::default()
        .with_default(default)
        .expect("within the bounds");
    let propagation = Propagation::builder().deadline(policy).build();
    GrpcServerLayer::new(server, propagation.expect("nothing contradicts itself"))
}

/// A connection without any layer of ours.
pub fn plain(server: &Running) -> Channel {
    endpoint(server).connect_lazy()
}

pub fn endpoint(server: &Running) -> Endpoint {
    Endpoint::from_shared(format!("http://{}", server.addr)).expect("an address is a URI")
}

/// A connection behind our layer.
pub fn layered(server: &Running) -> GrpcClient<Channel> {
    client_layer().layer(plain(server))
}

pub fn client_layer() -> GrpcClientLayer {
    GrpcClientLayer::new(Propagation::default(), PeerPolicy::internal())
}

/// One of the four calls, as generated code would make them.
pub struct Client<T>(pub tonic::client::Grpc<T>);

impl<T> Client<T>
where
    T: tonic::client::GrpcService<tonic::body::Body>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    pub fn new(channel: T) -> Self {
        Self(tonic::client::Grpc::new(channel))
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::unknown(format!("not ready: {}", error.into())))
    }

    pub async fn unary(&mut self, request: Request<Text>) -> Result<Response<Text>, Status> {
        self.ready().await?;
        self.0
            .unary(request, path("/test.Test/Unary"), Codec::default())
            .await
    }

    pub async fn server_stream(
        &mut self,
        request: Request<Text>,
    ) -> Result<Response<Streaming<Text>>, Status> {
        self.ready().await?;
        let path = path("/test.Test/ServerStream");
        self.0
            .server_streaming(request, path, Codec::default())
            .await
    }

    pub async fn client_stream(
        &mut self,
        request: Request<impl Stream<Item = Text> + Send + 'static>,
    ) -> Result<Response<Text>, Status> {
        self.ready().await?;
        let path = path("/test.Test/ClientStream");
        self.0
            .client_streaming(request, path, Codec::default())
            .await
    }

    pub async fn bidi(
        &mut self,
        request: Request<impl Stream<Item = Text> + Send + 'static>,
    ) -> Result<Response<Streaming<Text>>, Status> {
        self.ready().await?;
        let path = path("/test.Test/Bidi");
        self.0.streaming(request, path, Codec::default()).await
    }

    /// Makes a call of the kind and reads its answer to the end; gives the status that it ends with.
    ///
    /// Streams that go out send one message and stay open.
    pub async fn end_of(&mut self, call: CallKind, ctx: Option<&Ctx>) -> Status {
        let ended = self.run(call, ctx).await;
        ended.expect_err("a call that is meant to fail")
    }

    async fn run(&mut self, call: CallKind, ctx: Option<&Ctx>) -> Result<(), Status> {
        match call {
            CallKind::Unary => drop(self.unary(under(ctx, text("hello"))).await?),
            CallKind::ServerStream => {
                let answer = self.server_stream(under(ctx, text("hello"))).await?;
                drain(answer.into_inner()).await?;
            }
            CallKind::ClientStream => drop(self.client_stream(under(ctx, open_stream())).await?),
            CallKind::Bidi => {
                let answer = self.bidi(under(ctx, open_stream())).await?;
                drain(answer.into_inner()).await?;
            }
        }
        Ok(())
    }
}

/// The four kinds of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallKind {
    Unary,
    ServerStream,
    ClientStream,
    Bidi,
}

impl CallKind {
    pub const ALL: [Self; 4] = [
        Self::Unary,
        Self::ServerStream,
        Self::ClientStream,
        Self::Bidi,
    ];

    pub fn path(self) -> &'static str {
        match self {
            Self::Unary => "/test.Test/Unary",
            Self::ServerStream => "/test.Test/ServerStream",
            Self::ClientStream => "/test.Test/ClientStream",
            Self::Bidi => "/test.Test/Bidi",
        }
    }
}

pub async fn drain(mut answer: Streaming<Text>) -> Result<Vec<String>, Status> {
    let mut all = Vec::new();
    while let Some(message) = answer.message().await? {
        all.push(message.text);
    }
    Ok(all)
}

pub fn text(text: &str) -> Text {
    Text {
        text: text.to_owned(),
    }
}

/// One message, and no end.
pub fn open_stream() -> impl Stream<Item = Text> + Send + 'static {
    tokio_stream::once(text("hello")).chain(tokio_stream::pending())
}

pub fn under<T>(ctx: Option<&Ctx>, message: T) -> Request<T> {
    let request = Request::new(message);
    match ctx {
        Some(ctx) => request.with_ctx(ctx),
        None => request,
    }
}

fn path(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}

/// Answers of a stream that never pauses and never ends.
pub fn flowing() -> Answers {
    Answers::new(tokio_stream::iter(std::iter::repeat_with(|| {
        Ok(text(&"more".repeat(2_000)))
    })))
}

/// One answer, and then nothing.
pub fn idle(held: OnDrop) -> Answers {
    Answers::new(
        tokio_stream::once(Ok(text("one")))
            .chain(tokio_stream::pending())
            .map(move |answer| {
                let _ = &held;
                answer
            }),
    )
}

/// A service that never comes to an end by itself.
pub fn endless(seen: &Seen) -> Service {
    let [a, b, c, d] = [seen.clone(), seen.clone(), seen.clone(), seen.clone()];
    Service::default()
        .unary(move |request| {
            let held = OnDrop(a.clone(), request.ctx());
            async move {
                let _held = held;
                std::future::pending().await
            }
        })
        .server_stream(move |request| {
            let held = OnDrop(b.clone(), request.ctx());
            async move { Ok(Response::new(idle(held))) }
        })
        .client_stream(move |request| {
            let held = OnDrop(c.clone(), request.ctx());
            async move {
                let _held = held;
                let mut stream = request.into_inner();
                while stream.message().await?.is_some() {}
                Ok(Response::new(text("complete")))
            }
        })
        .bidi(move |request| {
            let held = OnDrop(d.clone(), request.ctx());
            async move {
                let answers = Answers::new(request.into_inner().map(move |message| {
                    let _ = &held;
                    message
                }));
                Ok(Response::new(answers))
            }
        })
}

/// What handlers saw: the kind with which each context ended, in order.
pub struct Ends(mpsc::UnboundedReceiver<(&'static str, Kind)>);

#[derive(Clone)]
pub struct Seen(mpsc::UnboundedSender<(&'static str, Kind)>);

pub fn ends() -> (Seen, Ends) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Seen(sender), Ends(receiver))
}

impl Seen {
    /// Tells when the context is done, from a task of its own, which outlives the handler.
    pub fn watch(&self, who: &'static str, ctx: &Ctx) {
        let (seen, done) = (self.clone(), ctx.done());
        tokio::spawn(async move { seen.tell(who, done.await.kind()) });
    }

    pub fn tell(&self, who: &'static str, kind: Kind) {
        let _ = self.0.send((who, kind));
    }
}

impl Ends {
    pub async fn next(&mut self) -> (&'static str, Kind) {
        self.0.recv().await.expect("somebody still tells")
    }

    /// The next two, whichever came first.
    pub async fn two(&mut self) -> [(&'static str, Kind); 2] {
        let mut two = [self.next().await, self.next().await];
        two.sort_by_key(|(who, _)| *who);
        two
    }
}

/// Tells when it is dropped, and what the context says at that moment.
pub struct OnDrop(pub Seen, pub Ctx);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let kind = self.1.cause().map_or(Kind::Custom, |cause| cause.kind());
        self.0.tell("dropped", kind);
    }
}
