//! The server of `test.Test`, with its handlers as closures.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_stream::Stream;
use tonic::codegen::BoxFuture;
use tonic::{Request, Response, Status, Streaming};

/// The only message.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Text {
    #[prost(string, tag = "1")]
    pub text: String,
}

pub type Codec = tonic_prost::ProstCodec<Text, Text>;

/// The stream of a handler; a type of its own, as one that is boxed by name confuses the compiler.
pub struct Answers(Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>);

impl Answers {
    pub fn new(stream: impl Stream<Item = Result<Text, Status>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl Stream for Answers {
    type Item = Result<Text, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

type Handler<In, Out> =
    Arc<dyn Fn(Request<In>) -> BoxFuture<Response<Out>, Status> + Send + Sync + 'static>;

fn unimplemented<In, Out>() -> Handler<In, Out> {
    Arc::new(|_| Box::pin(async { Err(Status::unimplemented("not in this test")) }))
}

/// `test.Test`.
#[derive(Clone)]
pub struct Service {
    unary: Handler<Text, Text>,
    server_stream: Handler<Text, Answers>,
    client_stream: Handler<Streaming<Text>, Text>,
    bidi: Handler<Streaming<Text>, Answers>,
    before: Arc<dyn Fn(&http::Extensions) + Send + Sync>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            unary: unimplemented(),
            server_stream: unimplemented(),
            client_stream: unimplemented(),
            bidi: unimplemented(),
            before: Arc::new(|_| {}),
        }
    }
}

macro_rules! setter {
    ($name:ident, $in:ty, $out:ty) => {
        pub fn $name<F>(
            mut self,
            handler: impl Fn(Request<$in>) -> F + Send + Sync + 'static,
        ) -> Self
        where
            F: Future<Output = Result<Response<$out>, Status>> + Send + 'static,
        {
            self.$name = Arc::new(move |request| Box::pin(handler(request)));
            self
        }
    };
}

impl Service {
    setter!(unary, Text, Text);
    setter!(server_stream, Text, Answers);
    setter!(client_stream, Streaming<Text>, Text);
    setter!(bidi, Streaming<Text>, Answers);

    /// Is shown each request before its handler is.
    pub fn before(mut self, look: impl Fn(&http::Extensions) + Send + Sync + 'static) -> Self {
        self.before = Arc::new(look);
        self
    }
}

impl tonic::server::NamedService for Service {
    const NAME: &'static str = "test.Test";
}

/// A handler in the shape that tonic's server wants.
struct Adapter<In, Out>(Handler<In, Out>);

impl tonic::server::UnaryService<Text> for Adapter<Text, Text> {
    type Response = Text;
    type Future = BoxFuture<Response<Text>, Status>;
    fn call(&mut self, request: Request<Text>) -> Self::Future {
        (self.0)(request)
    }
}

impl tonic::server::ServerStreamingService<Text> for Adapter<Text, Answers> {
    type Response = Text;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;
    fn call(&mut self, request: Request<Text>) -> Self::Future {
        (self.0)(request)
    }
}

impl tonic::server::ClientStreamingService<Text> for Adapter<Streaming<Text>, Text> {
    type Response = Text;
    type Future = BoxFuture<Response<Text>, Status>;
    fn call(&mut self, request: Request<Streaming<Text>>) -> Self::Future {
        (self.0)(request)
    }
}

impl tonic::server::StreamingService<Text> for Adapter<Streaming<Text>, Answers> {
    type Response = Text;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;
    fn call(&mut self, request: Request<Streaming<Text>>) -> Self::Future {
        (self.0)(request)
    }
}

impl<B> tower_service::Service<http::Request<B>> for Service
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        (service.before)(request.extensions());
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let mut grpc = tonic::server::Grpc::new(Codec::default());
            Ok(match path.as_str() {
                "/test.Test/Unary" => grpc.unary(Adapter(service.unary), request).await,
                "/test.Test/ServerStream" => {
                    grpc.server_streaming(Adapter(service.server_stream), request)
                        .await
                }
                "/test.Test/ClientStream" => {
                    grpc.client_streaming(Adapter(service.client_stream), request)
                        .await
                }
                "/test.Test/Bidi" => grpc.streaming(Adapter(service.bidi), request).await,
                _ => Status::unimplemented(path).into_http(),
            })
        })
    }
}
